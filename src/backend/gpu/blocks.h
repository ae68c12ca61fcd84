/* blocks.h: what stands in blocks of weights of 256 values, as the formats of formats.c want it: scales of scales, and numbers in
 * codebooks.
 *
 * A *book* is the codebook of a type whose values are looked up on the device (kernels/weights.k): a head of four words, then
 * entries of so many values as one number stands for. It is part of every matrix.
 */
#ifndef BT_BACKEND_GPU_BLOCKS_H
#define BT_BACKEND_GPU_BLOCKS_H

#include "quant/type.h"

/* A block's scale of scales, its 8 (or 16) scales and minima. A type without minima leaves min alone. */
typedef void (*bt_gpu_super_fn)(const void *block, float *d, float *dmin, int *scale, int *min);
void bt_gpu_super_q2_k(const void *block, float *d, float *dmin, int *scale, int *min);
void bt_gpu_super_q3_k(const void *block, float *d, float *dmin, int *scale, int *min);
void bt_gpu_super_q4_k(const void *block, float *d, float *dmin, int *scale, int *min); /* and Q5_K */
void bt_gpu_super_q6_k(const void *block, float *d, float *dmin, int *scale, int *min);
void bt_gpu_super_iq4_xs(const void *block, float *d, float *dmin, int *scale, int *min);
void bt_gpu_super_iq1_s(const void *block, float *d, float *dmin, int *scale, int *min);
void bt_gpu_super_iq1_m(const void *block, float *d, float *dmin, int *scale, int *min);
void bt_gpu_super_tq1_0(const void *block, float *d, float *dmin, int *scale, int *min);
void bt_gpu_super_tq2_0(const void *block, float *d, float *dmin, int *scale, int *min);
/* Scales s of 16 values each that mean d (2s + 1). */
void bt_gpu_super_iq2_xxs(const void *block, float *d, float *dmin, int *scale, int *min);
void bt_gpu_super_iq2_xs(const void *block, float *d, float *dmin, int *scale, int *min);
void bt_gpu_super_iq2_s(const void *block, float *d, float *dmin, int *scale, int *min);
void bt_gpu_super_iq3_xxs(const void *block, float *d, float *dmin, int *scale, int *min);
void bt_gpu_super_iq3_s(const void *block, float *d, float *dmin, int *scale, int *min);

struct bt_gpu_book {
	uint32_t head;
	uint8_t width; /* values that one number stands for: 2, 4 or 8 */
	/* Entries made of levels: `sets` sets of `n` levels, value l of number i is level[i / n^width][i / n^l % n]. */
	const int8_t *level; /* [sets][n]; NULL: entries are a grid */
	uint8_t sets, n;
	/* A grid of magnitudes, [n_grid][width], and what a block has for numbers: number[256 / width]. */
	const uint8_t *grid;
	uint32_t n_grid;
	void (*numbers)(const void *block, uint16_t *number);
};
extern const struct bt_gpu_book bt_gpu_book_iq4, bt_gpu_book_mxfp4, bt_gpu_book_q2_k, bt_gpu_book_iq1, bt_gpu_book_tq,
	bt_gpu_book_iq2_xxs, bt_gpu_book_iq2_xs, bt_gpu_book_iq2_s, bt_gpu_book_iq3_xxs, bt_gpu_book_iq3_s;

#define BT_GPU_BOOK_HEAD 16 /* bytes */

/* The book as it stands on the device: BT_GPU_BOOK_HEAD bytes and `entries` words, zeros behind the last entry. */
void bt_gpu_book_write(const struct bt_gpu_book *b, uint32_t entries, uint32_t *words);
/* Numbers of n values, every one of which is a level: number[n / width]. */
void bt_gpu_book_numbers(const struct bt_gpu_book *b, const int8_t *q, uint64_t n, uint8_t *number);

#endif
