/* q6_k.c: 256 values of 6 bits in groups of 16 with an 8-bit scale: value = d * sc * (q - 32). */
#include "quant/fit.h"

#include <string.h>

struct block {
	uint8_t ql[BT_K /
	           2]; /* half h, byte l < 64: low nibble the low bits of value 128h + l, high of 128h + 64 + l */
	uint8_t qh[BT_K / 4]; /* half h, byte l < 32: bits 2s, 2s + 1 the high bits of value 128h + 32s + l */
	int8_t scales[BT_K / 16];
	uint16_t d; /* binary16 */
} BT_BLOCK;
_Static_assert(sizeof(struct block) == 210, "layout of Q6_K");

static void unpack_i8(const void *src, int8_t *q, float *scale, float *min, size_t n)
{
	const struct block *b = src;
	(void)min;
	for (size_t i = 0; i < n / BT_K; i++, b++, q += BT_K) {
		float d = bt_f16_to_f32(b->d);
		for (int g = 0; g < BT_K / 16; g++) *scale++ = d * (float)b->scales[g];
		for (int k = 0; k < 8; k++)
			for (int l = 0; l < 32; l++) {
				int low = b->ql[k / 4 * 64 + k % 2 * 32 + l] >> k / 2 % 2 * 4 & 15;
				int high = b->qh[k / 4 * 32 + l] >> k % 4 * 2 & 3;
				q[32 * k + l] = (int8_t)(low + 16 * high - 32);
			}
	}
}

static void unpack(const void *src, float *dst, size_t n)
{
	bt_unpack_from_i8(&bt_type_q6_k, src, dst, n);
}

static void pack(const float *src, void *dst, size_t n, const float *importance)
{
	static const struct bt_fit_scale fit = {.groups = 16,
	                                        .group = 16,
	                                        .sc_min = -128,
	                                        .sc_max = 127,
	                                        .lo = -32,
	                                        .hi = 31,
	                                        .step = 0.1f,
	                                        .steps = 9};
	struct bt_fit_scale_result r;
	struct block *b = dst;
	for (size_t i = 0; i < n; i += BT_K, b++) {
		bt_fit_scale(&fit, src + i, importance ? importance + i : NULL, &r);
		memset(b, 0, sizeof *b);
		b->d = r.d;
		memcpy(b->scales, r.sc, sizeof b->scales);
		for (int v = 0; v < BT_K; v++) {
			int q = r.q[v] + 32;
			b->ql[v / 128 * 64 + v % 64] |= (uint8_t)((q & 15) << v / 64 % 2 * 4);
			b->qh[v / 128 * 32 + v % 32] |= (uint8_t)(q >> 4 << v / 32 % 4 * 2);
		}
	}
}

const struct bt_type bt_type_q6_k = {
	.id = BT_TYPE_Q6_K,
	.name = "Q6_K",
	.block = BT_K,
	.bytes = sizeof(struct block),
	.group = 16,
	.q_min = -32,
	.q_max = 31,
	.unpack = unpack,
	.unpack_i8 = unpack_i8,
	.pack = pack,
};
