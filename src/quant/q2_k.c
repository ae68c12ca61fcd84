/* q2_k.c: 256 values of 2 bits in groups of 16 with a 4-bit scale and minimum: value = d * sc * q - dmin * m. */
#include "quant/fit.h"

#include <string.h>

struct block {
	uint8_t scales[BT_K / 16]; /* low nibble the scale, high nibble the minimum, of 16 values */
	uint8_t qs[BT_K / 4];      /* byte l of half h: bits 2s, 2s + 1 are value 128h + 32s + l */
	uint16_t d, dmin;          /* binary16 */
} BT_BLOCK;
_Static_assert(sizeof(struct block) == 84, "layout of Q2_K");

static void unpack_i8(const void *src, int8_t *q, float *scale, float *min, size_t n)
{
	const struct block *b = src;
	for (size_t i = 0; i < n / BT_K; i++, b++, q += BT_K) {
		float d = bt_f16_to_f32(b->d), dmin = bt_f16_to_f32(b->dmin);
		for (int g = 0; g < BT_K / 16; g++) {
			*scale++ = d * (float)(b->scales[g] & 15);
			*min++ = -(dmin * (float)(b->scales[g] >> 4));
		}
		for (int k = 0; k < 8; k++)
			for (int l = 0; l < 32; l++) q[32 * k + l] = (int8_t)(b->qs[k / 4 * 32 + l] >> k % 4 * 2 & 3);
	}
}

static void unpack(const void *src, float *dst, size_t n)
{
	bt_unpack_from_i8(&bt_type_q2_k, src, dst, n);
}

static void pack(const float *src, void *dst, size_t n, const float *importance)
{
	static const struct bt_fit_min fit = {.groups = 16,
	                                      .group = 16,
	                                      .sc_max = 15,
	                                      .q_max = 3,
	                                      .step = 0.3f,
	                                      .offset = 0.25f,
	                                      .steps = 3,
	                                      .offsets = 2};
	struct bt_fit_min_result r;
	struct block *b = dst;
	for (size_t i = 0; i < n; i += BT_K, b++) {
		bt_fit_min(&fit, src + i, importance ? importance + i : NULL, &r);
		memset(b, 0, sizeof *b);
		for (int g = 0; g < BT_K / 16; g++) b->scales[g] = (uint8_t)(r.sc[g] | r.m[g] << 4);
		for (int v = 0; v < BT_K; v++) b->qs[v / 128 * 32 + v % 32] |= (uint8_t)(r.q[v] << v / 32 % 4 * 2);
		b->d = r.d;
		b->dmin = r.dmin;
	}
}

const struct bt_type bt_type_q2_k = {
	.id = BT_TYPE_Q2_K,
	.name = "Q2_K",
	.block = BT_K,
	.bytes = sizeof(struct block),
	.group = 16,
	.has_min = true,
	.q_min = 0,
	.q_max = 3,
	.unpack = unpack,
	.unpack_i8 = unpack_i8,
	.pack = pack,
};
