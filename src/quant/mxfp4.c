/* mxfp4.c: 32 values of OCP microscaling FP4 (E2M1) with a power of two (E8M0) as scale. */
#include "quant/types.h"
#include "quant/grids.h"

#include <float.h>
#include <math.h>

enum { BLOCK = 32 };

struct block {
	uint8_t e;      /* the scale is 2^(e - 128) for the doubled values of bt_mxfp4_values */
	uint8_t qs[16]; /* low nibbles are values 0..15, high ones 16..31 */
} BT_BLOCK;
_Static_assert(sizeof(struct block) == 17, "layout of MXFP4");

/* Source: OCP Microscaling Formats specification 1.0, E2M1; doubled to be integers, as in ggml. */
const int8_t bt_mxfp4_values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/* 2^(e - 128); the two smallest are subnormal. */
static float exp2_half(uint32_t e)
{
	return bt_float_from_bits(e < 2 ? 0x00200000u << e : (e - 1) << 23);
}

static void unpack_i8(const void *src, int8_t *q, float *scale, float *min, size_t n)
{
	const struct block *b = src;
	(void)min;
	for (size_t i = 0; i < n / BLOCK; i++, b++, q += BLOCK) {
		*scale++ = exp2_half(b->e);
		for (int j = 0; j < BLOCK; j++) q[j] = bt_mxfp4_values[b->qs[j % 16] >> j / 16 * 4 & 15];
	}
}

static void unpack(const void *src, float *dst, size_t n)
{
	bt_unpack_from_i8(&bt_type_mxfp4, src, dst, n);
}

/* Index of the value nearest to v, the smaller one on a tie. */
static unsigned nearest(float v)
{
	static const float middle[7] = {0.5f, 1.5f, 2.5f, 3.5f, 5, 7, 10};
	unsigned i = 0;
	for (int k = 0; k < 7; k++) i += fabsf(v) > middle[k];
	return v < 0 && i > 0 ? i + 8 : i;
}

/* Squared error of a block under exponent e, and its values' indices. */
static float try_exponent(const float *src, int e, uint8_t index[BLOCK])
{
	float d = exp2_half((uint32_t)e), id = 1 / d, error = 0;
	for (int j = 0; j < BLOCK; j++) {
		index[j] = (uint8_t)nearest(src[j] * id);
		float diff = src[j] - d * (float)bt_mxfp4_values[index[j]];
		error += diff * diff;
	}
	return error;
}

/* The exponent puts the largest magnitude between 4 and 8 of E2M1's units, whose largest value is 6, as OCP's
 * specification and ggml do; or one step higher where that clips too much. */
static void pack(const float *src, void *dst, size_t n, const float *importance)
{
	struct block *b = dst;
	(void)importance;
	for (size_t i = 0; i < n / BLOCK; i++, b++, src += BLOCK) {
		uint8_t index[2][BLOCK];
		float amax = 0;
		for (int j = 0; j < BLOCK; j++)
			if (fabsf(src[j]) > amax) amax = fabsf(src[j]);
		int e = amax > 0 && amax <= FLT_MAX ? ilogbf(amax) - 2 + 127 : 0, higher;
		e = e < 0 ? 0 : e; /* at most 252: e + 1 is no special value */
		float error = try_exponent(src, e, index[0]);
		higher = amax > 0 && try_exponent(src, e + 1, index[1]) < error;
		b->e = (uint8_t)(e + higher);
		for (int j = 0; j < BLOCK / 2; j++)
			b->qs[j] = (uint8_t)(index[higher][j] | index[higher][j + BLOCK / 2] << 4);
	}
}

const struct bt_type bt_type_mxfp4 = {
	.id = BT_TYPE_MXFP4,
	.name = "MXFP4",
	.block = BLOCK,
	.bytes = sizeof(struct block),
	.group = 32,
	.q_min = -12,
	.q_max = 12,
	.unpack = unpack,
	.unpack_i8 = unpack_i8,
	.pack = pack,
};
