/* matmul_int.h: what the parts of the integer matrix product share.
 *
 * A *panel* is PANEL rows of weights as unsigned (or signed, see unpack.h) bytes, block by block, 4 values of every row
 * in turn, so that one 4-byte broadcast of activations meets all rows. Blocks stand lane by lane (0, 8, 16, .., 1, 9, ..),
 * as the product walks them. A block's record: int8 q[8][PANEL][4], float scale[G][PANEL], float min[G][PANEL] if any,
 * where G is the number of groups in a block, 1 or 2.
 *
 * An *x tile* holds T tokens' activations in the same order of blocks. A block's record: int8 q[T][32], float d[T], then
 * the sums of q with their signs turned: int32 n[T] of all 32 values, n0[T] of the lower 16 and n1[T] of the upper 16. Tiles
 * of the sizes that tile_size gives follow each other; a token takes PACK_BLOCK bytes a block in all of them.
 */
#ifndef BT_BACKEND_CPU_X86_MATMUL_INT_H
#define BT_BACKEND_CPU_X86_MATMUL_INT_H

#include "backend/cpu/kernels.h"
#include "backend/cpu/x86/simd.h"

#if defined __AVX2__ && defined BT_LEVEL

/* How the product treats a type. */
struct int_class {
	uint8_t groups; /* per block: 1 or 2 */
	bool has_min;
	uint8_t steps;   /* without VNNI: how many steps of 4 values fit 16-bit sums; 0: signed weights */
	bool has_offset; /* u = q + (1 << shift); not where q_min is 0 or weights stay signed */
	uint8_t shift;
};

enum {
	TILE_MAX = WIDTH == 16 ? 12 : 6, /* tokens in an x tile */
	PANEL_BUDGET = 384 * 1024,       /* bytes of panels that are kept at a time: well within a second-level cache */
};

static inline size_t panel_record(const struct int_class *c)
{
	return (size_t)PANEL * (32 + 4 * c->groups * (c->has_min ? 2 : 1));
}

enum { PACK_BLOCK = 32 + 4 * 4 };

/* Where lane l begins in the order of blocks: lanes before l have (n_blocks + 7 - lane) / 8 blocks each. */
static inline size_t lane_count(size_t n_blocks, size_t lane)
{
	return (n_blocks + 7 - lane) / 8;
}

static inline void lane_starts(size_t n_blocks, size_t start[8])
{
	start[0] = 0;
	for (size_t l = 1; l < 8; l++) start[l] = start[l - 1] + lane_count(n_blocks, l - 1);
}

/* matmul_panel.c: fill a panel from rows w, w + row_bytes, ..; rows from n_rows on repeat the last one. */
typedef void (*panel_fn)(const struct bt_type *type, const uint8_t *w, size_t row_bytes, size_t n_rows, size_t n_blocks,
                         uint8_t *panel);
panel_fn LEVEL_NAME(panel)(const struct bt_type *type);

struct eight;
/* 8 blocks of two places (of one with 256-bit vectors) through the type's reference; n0 and n1 are there, others 0. */
void LEVEL_NAME(unpack_any)(const struct bt_type *type, const struct int_class *c, const uint8_t *p0, const uint8_t *p1,
                            size_t n0, size_t n1, struct eight *e);

/* Activations of one token, padded with zeros to whole steps of ROWS * 8 blocks. */
struct vector_x {
	const int8_t *q;       /* [step][8][ROWS][32]: block b of each of the step's groups of 8 blocks; for quads
	                          [step of 16 blocks][quad][2][4][16]: the lower 16 values of 4 blocks, the upper 16 */
	const float *d;        /* [blocks] */
	const int32_t *off[2]; /* [blocks] for each group of a block: offset * sum of x */
	const float *sum[2];   /* [blocks] or: sum of x */
};

/* matmul_vector.c: one token, y[r] for n_rows rows from w on. */
typedef void (*vector_fn)(const struct bt_type *type, const uint8_t *w, size_t row_bytes, size_t n_rows,
                          size_t n_blocks, const struct vector_x *x, float *y);
vector_fn LEVEL_NAME(vector)(const struct bt_type *type);
/* matmul_quad.c: the same with x->q in quads; NULL where it has nothing for the type. */
vector_fn LEVEL_NAME(vector_quads)(const struct bt_type *type);

/* matmul_tile.c: y[t][0 .. n_rows) for T tokens and the rows of a panel. y: T rows. */
typedef void (*tile_fn)(const uint8_t *panel, const uint8_t *x_tile, size_t n_blocks, int shift, size_t n_rows,
                        float *const *y);
/* The largest tile that at most `tokens` (> 0) fill, and its function. */
size_t LEVEL_NAME(tile_size)(size_t tokens);
tile_fn LEVEL_NAME(tile)(const struct int_class *c, size_t tokens);

/* matmul_int.c: how the product treats a type; the slots, and the scratch memory that it needs. */
struct int_class LEVEL_NAME(int_class)(const struct bt_type *type);
void LEVEL_NAME(pack)(const struct bt_cpu_acts *x, size_t t0, size_t t1);
void LEVEL_NAME(matmul_int)(const struct bt_cpu_matmul *m, size_t row0, size_t row1, void *scratch);
size_t LEVEL_NAME(matmul_int_scratch)(size_t k_max);

#endif
#endif
