/* formats.h: from weights as GGUF has them to matrices as the kernels read them (kernels/weights.k).
 *
 * Every weight type has a row in formats.c, which gives it a format; without one it would stand as floats. Packing never rounds:
 * a product on the device means the same numbers as on the CPU.
 */
#ifndef BT_BACKEND_GPU_FORMATS_H
#define BT_BACKEND_GPU_FORMATS_H

#include "gguf/gguf.h"

enum bt_gpu_format {
#define FORMAT(name, ...) BT_GPU_F_##name,
#include "backend/gpu/kernels/formats.inc"
#undef FORMAT
	BT_GPU_F_f32, /* rows of floats, padded with zeros to whole blocks of 32 */
	BT_GPU_F_f16,
	BT_GPU_F_bf16,
	BT_GPU_FORMATS
};

/* Bytes of one row in each plane. q comes first in memory, then high, scale, super, each for all rows and aligned to 256
 * bytes. In formats of types that are looked up a book stands in front of the rows of super. */
enum { BT_GPU_PLANE_Q, BT_GPU_PLANE_HIGH, BT_GPU_PLANE_SCALE, BT_GPU_PLANE_SUPER, BT_GPU_PLANES };
struct bt_gpu_row_bytes {
	uint32_t plane[BT_GPU_PLANES];
};

/* The format for a weight type; exact: floats throughout. */
enum bt_gpu_format bt_gpu_format_of(const struct bt_type *type, bool exact);
bool bt_gpu_format_is_float(enum bt_gpu_format f);
struct bt_gpu_row_bytes bt_gpu_row_bytes(enum bt_gpu_format f, uint64_t k);
/* Bytes of the book; 0: the format has none. */
uint32_t bt_gpu_book_bytes(enum bt_gpu_format f);
/* A type's book: as many bytes as its format has. */
void bt_gpu_pack_book(const struct bt_type *type, uint32_t *words);
/* Do types of one format look the same numbers up? */
bool bt_gpu_same_book(const struct bt_type *a, const struct bt_type *b);
/* Byte offset of each plane in a matrix of n_rows; returns the bytes of all. */
uint64_t bt_gpu_plane_offsets(enum bt_gpu_format f, uint64_t k, uint64_t n_rows, uint64_t offset[BT_GPU_PLANES]);

/* Kernels address by 32 bits behind a plane's base (AT in the kernel language). */
#define BT_GPU_REACH ((uint64_t)1 << 32)
/* Rows of each part but the last, when no part of a tensor may take more than `most` bytes: all of them where one part will do;
 * else whole matrices of a stack, or else a multiple of 32 rows, so that no block of rounded results lies in two parts. 0: that
 * little takes more already. */
uint64_t bt_gpu_part_rows(enum bt_gpu_format f, const struct bt_tensor *t, uint64_t most);

/* Working space of a packer: rows of k values. */
struct bt_gpu_packer {
	int8_t *q;          /* [k] */
	float *scale, *min; /* [k / 16] */
	float *f32;         /* [k] */
};
/* Pack one row of k values from src (GGUF layout) to dst[plane]. */
void bt_gpu_pack_row(enum bt_gpu_format f, const struct bt_type *type, const void *src, uint64_t k,
                     const struct bt_gpu_packer *space, void *const dst[BT_GPU_PLANES]);

#endif
