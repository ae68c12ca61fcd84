/* types.h: what the files of the weight types share: the rows they export, and loads of their blocks.
 *
 * Layouts are facts of the format: ggml's ggml-common.h (block_q4_0 and so on). Blocks in a file may stand at any
 * address, so every block struct is BT_BLOCK: packed, of alignment 1.
 */
#ifndef BT_QUANT_TYPES_H
#define BT_QUANT_TYPES_H

#include "base/half.h"
#include "quant/type.h"

#define BT_BLOCK __attribute__((packed, aligned(1)))

enum { BT_K = 256 }; /* values in a block of the K types and their relatives (ggml's QK_K) */

/* Every type that the table holds: X(NAME as printed and in enum bt_type_id, name of the row's symbol). */
#define BT_TYPES_FIRST(X) X(F32, f32)
#define BT_TYPES_REST(X)    \
	X(F16, f16)         \
	X(BF16, bf16)       \
	X(Q4_0, q4_0)       \
	X(Q4_1, q4_1)       \
	X(Q5_0, q5_0)       \
	X(Q5_1, q5_1)       \
	X(Q8_0, q8_0)       \
	X(Q2_K, q2_k)       \
	X(Q3_K, q3_k)       \
	X(Q4_K, q4_k)       \
	X(Q5_K, q5_k)       \
	X(Q6_K, q6_k)       \
	X(IQ1_S, iq1_s)     \
	X(IQ1_M, iq1_m)     \
	X(IQ2_XXS, iq2_xxs) \
	X(IQ2_XS, iq2_xs)   \
	X(IQ2_S, iq2_s)     \
	X(IQ3_XXS, iq3_xxs) \
	X(IQ3_S, iq3_s)     \
	X(IQ4_NL, iq4_nl)   \
	X(IQ4_XS, iq4_xs)   \
	X(TQ1_0, tq1_0)     \
	X(TQ2_0, tq2_0)     \
	X(MXFP4, mxfp4)
#define BT_TYPES(X) BT_TYPES_FIRST(X) BT_TYPES_REST(X)

#define BT_DECLARE_TYPE(NAME, symbol) extern const struct bt_type bt_type_##symbol;
BT_TYPES(BT_DECLARE_TYPE)
#undef BT_DECLARE_TYPE

/* unpack through t->unpack_i8: multiplying out the integer form rounds exactly as ggml's dequantisers do (one product, one
 * sum, not contracted), for every type that has it. */
void bt_unpack_from_i8(const struct bt_type *t, const void *src, float *dst, size_t n);

/* Little-endian numbers at any address. */
static inline uint32_t bt_load_u16(const uint8_t *p)
{
	return (uint32_t)(p[0] | p[1] << 8);
}

static inline uint32_t bt_load_u32(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline void bt_store_u32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> 8 * i);
}

/* x towards zero, kept in lo..hi (lo for NaN): the conversion in C alone is undefined outside of int's range. */
static inline int bt_clamp_int(float x, int lo, int hi)
{
	if (!(x > (float)lo)) return lo;
	return x < (float)hi ? (int)x : hi;
}

#endif
