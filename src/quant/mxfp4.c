/* mxfp4.c: 32 values of OCP microscaling FP4 (E2M1) with a power of two (E8M0) as scale. */
#include "quant/types.h"
#include "quant/grids.h"

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
};
