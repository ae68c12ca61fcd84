/* type.h: the table of weight types. One file per type fills one row; everything else looks the row up.
 *
 * A type stores rows of values in blocks: `block` values in `bytes` bytes. Type numbers and layouts are those of GGUF
 * (ggml's enum ggml_type and ggml-common.h).
 *
 * Every quantised type here, from Q4_0 to IQ1_M, is "a small integer times a scale, plus perhaps a minimum" on groups
 * of 16 or 32 values. unpack_i8 gives exactly that form, so that one int8 kernel serves them all:
 *     value[i] = scale[i / group] * q[i] + min[i / group]
 * with float rounding only in forming scale and min, never in q.
 */
#ifndef BT_QUANT_TYPE_H
#define BT_QUANT_TYPE_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

enum bt_type_id {
	BT_TYPE_F32 = 0,
	BT_TYPE_F16 = 1,
	BT_TYPE_Q4_0 = 2,
	BT_TYPE_Q4_1 = 3,
	BT_TYPE_Q5_0 = 6,
	BT_TYPE_Q5_1 = 7,
	BT_TYPE_Q8_0 = 8,
	BT_TYPE_Q8_1 = 9,
	BT_TYPE_Q2_K = 10,
	BT_TYPE_Q3_K = 11,
	BT_TYPE_Q4_K = 12,
	BT_TYPE_Q5_K = 13,
	BT_TYPE_Q6_K = 14,
	BT_TYPE_Q8_K = 15,
	BT_TYPE_IQ2_XXS = 16,
	BT_TYPE_IQ2_XS = 17,
	BT_TYPE_IQ3_XXS = 18,
	BT_TYPE_IQ1_S = 19,
	BT_TYPE_IQ4_NL = 20,
	BT_TYPE_IQ3_S = 21,
	BT_TYPE_IQ2_S = 22,
	BT_TYPE_IQ4_XS = 23,
	BT_TYPE_IQ1_M = 29,
	BT_TYPE_BF16 = 30,
	BT_TYPE_TQ1_0 = 34,
	BT_TYPE_TQ2_0 = 35,
	BT_TYPE_MXFP4 = 39,
	BT_TYPE_COUNT = 48 /* one past the largest number that the table holds */
};

struct bt_type {
	enum bt_type_id id;
	const char *name; /* "Q4_K", as llama.cpp's tools print it */
	uint32_t block;   /* values in a block; a row's length is a multiple of it */
	uint32_t bytes;   /* bytes of a block */
	/* Integer form (see above). All 0 / NULL for F32, F16 and BF16. */
	uint32_t group; /* 16 or 32: values that share a scale */
	bool has_min;
	int8_t q_min, q_max; /* the range of q that any file, also a hostile one, can give: kernels pick their
	                        unsigned offset and their 16-bit shortcuts from it */

	/* Reference: n values (a multiple of block) from src to dst, bit for bit what ggml's dequantiser gives. */
	void (*unpack)(const void *src, float *dst, size_t n);
	/* Reference: the integer form. q[n], scale[n / group], min[n / group] (min NULL unless has_min). */
	void (*unpack_i8)(const void *src, int8_t *q, float *scale, float *min, size_t n);
	/* Quantise n values; NULL where baton can't write the type. importance is NULL or n weights of the squared error
	 * (may be ignored). Byte-compatible with ggml's reference quantiser for Q4_0 .. Q8_0, F16, BF16. */
	void (*pack)(const float *src, void *dst, size_t n, const float *importance);
};

/* The row of a type number, or NULL when it is unknown (or was removed from ggml). */
const struct bt_type *bt_type_get(uint32_t id);
/* By name, without regard to case ("q4_k", "Q4_K"); NULL when unknown. */
const struct bt_type *bt_type_by_name(const char *name);
/* "F32, F16, Q4_0, ...": every type that the table holds, for messages. Static. */
const char *bt_type_list(void);
/* Bytes of a row of n values; n must be a multiple of t->block. */
static inline size_t bt_type_row_bytes(const struct bt_type *t, size_t n)
{
	return n / t->block * t->bytes;
}

#endif
