/* q4_k.c: 256 values of 4 bits in groups of 32 with a 6-bit scale and minimum: value = d * sc * q - dmin * m. */
#include "quant/fit.h"
#include "quant/k_scales.h"

#include <string.h>

struct block {
	uint16_t d, dmin;     /* binary16 */
	uint8_t scales[12];   /* see k_scales.h */
	uint8_t qs[BT_K / 2]; /* byte 32j + l: low nibble value 64j + l, high nibble value 64j + 32 + l */
} BT_BLOCK;
_Static_assert(sizeof(struct block) == 144, "layout of Q4_K");

static void unpack_i8(const void *src, int8_t *q, float *scale, float *min, size_t n)
{
	const struct block *b = src;
	for (size_t i = 0; i < n / BT_K; i++, b++, q += BT_K) {
		bt_k_scales(b->d, b->dmin, b->scales, &scale, &min);
		for (int k = 0; k < 8; k++)
			for (int l = 0; l < 32; l++) q[32 * k + l] = (int8_t)(b->qs[k / 2 * 32 + l] >> k % 2 * 4 & 15);
	}
}

static void unpack(const void *src, float *dst, size_t n)
{
	bt_unpack_from_i8(&bt_type_q4_k, src, dst, n);
}

static void pack(const float *src, void *dst, size_t n, const float *importance)
{
	static const struct bt_fit_min fit = {.groups = 8,
	                                      .group = 32,
	                                      .sc_max = 63,
	                                      .q_max = 15,
	                                      .step = 0.3f,
	                                      .offset = 0.25f,
	                                      .steps = 3,
	                                      .offsets = 2};
	struct bt_fit_min_result r;
	struct block *b = dst;
	for (size_t i = 0; i < n; i += BT_K, b++) {
		bt_fit_min(&fit, src + i, importance ? importance + i : NULL, &r);
		memset(b, 0, sizeof *b);
		for (int j = 0; j < BT_K / 32; j++) bt_k_put_scale_min(b->scales, j, r.sc[j], r.m[j]);
		for (int v = 0; v < BT_K; v++) b->qs[v / 64 * 32 + v % 32] |= (uint8_t)(r.q[v] << v / 32 % 2 * 4);
		b->d = r.d;
		b->dmin = r.dmin;
	}
}

const struct bt_type bt_type_q4_k = {
	.id = BT_TYPE_Q4_K,
	.name = "Q4_K",
	.block = BT_K,
	.bytes = sizeof(struct block),
	.group = 32,
	.has_min = true,
	.q_min = 0,
	.q_max = 15,
	.unpack = unpack,
	.unpack_i8 = unpack_i8,
	.pack = pack,
};
