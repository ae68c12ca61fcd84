/* iq4_xs.c: 256 values of 4 bits through the levels of IQ4_NL, in groups of 32 with a 6-bit scale. */
#include "quant/fit.h"
#include "quant/grids.h"

#include <string.h>

struct block {
	uint16_t d;          /* binary16 */
	uint8_t scales_h[2]; /* bits 2g, 2g + 1: high bits of scale g; the group is scaled by d * (scale - 32) */
	uint8_t scales_l[BT_K / 64];
	uint8_t qs[BT_K / 2]; /* byte 16g + l: low nibble value 32g + l, high nibble value 32g + 16 + l */
} BT_BLOCK;
_Static_assert(sizeof(struct block) == 136, "layout of IQ4_XS");

static void unpack_i8(const void *src, int8_t *q, float *scale, float *min, size_t n)
{
	const struct block *b = src;
	(void)min;
	for (size_t i = 0; i < n / BT_K; i++, b++, q += BT_K) {
		float d = bt_f16_to_f32(b->d);
		uint32_t high = bt_load_u16(b->scales_h);
		for (int g = 0; g < BT_K / 32; g++) {
			int sc = (b->scales_l[g / 2] >> g % 2 * 4 & 15) | (int)(high >> 2 * g & 3) << 4;
			*scale++ = d * (float)(sc - 32);
		}
		for (int v = 0; v < BT_K; v++) q[v] = bt_iq4_values[b->qs[v / 32 * 16 + v % 16] >> v / 16 % 2 * 4 & 15];
	}
}

static void unpack(const void *src, float *dst, size_t n)
{
	bt_unpack_from_i8(&bt_type_iq4_xs, src, dst, n);
}

static void pack(const float *src, void *dst, size_t n, const float *importance)
{
	static const struct bt_fit_scale fit = {.groups = 8,
	                                        .group = 32,
	                                        .sc_min = -32,
	                                        .sc_max = 31,
	                                        .lo = -127,
	                                        .hi = 113,
	                                        .levels = bt_iq4_values,
	                                        .step = 2,
	                                        .steps = 8};
	struct bt_fit_scale_result r;
	struct block *b = dst;
	for (size_t i = 0; i < n; i += BT_K, b++) {
		bt_fit_scale(&fit, src + i, importance ? importance + i : NULL, &r);
		memset(b, 0, sizeof *b);
		b->d = r.d;
		for (int g = 0; g < BT_K / 32; g++) {
			int sc = r.sc[g] + 32;
			b->scales_l[g / 2] |= (uint8_t)((sc & 15) << g % 2 * 4);
			b->scales_h[g / 4] |= (uint8_t)(sc >> 4 << g % 4 * 2);
		}
		for (int v = 0; v < BT_K; v++)
			b->qs[v / 32 * 16 + v % 16] |= (uint8_t)(bt_iq4_index(r.q[v]) << v / 16 % 2 * 4);
	}
}

const struct bt_type bt_type_iq4_xs = {
	.id = BT_TYPE_IQ4_XS,
	.name = "IQ4_XS",
	.block = BT_K,
	.bytes = sizeof(struct block),
	.group = 32,
	.q_min = -127,
	.q_max = 113,
	.unpack = unpack,
	.unpack_i8 = unpack_i8,
	.pack = pack,
};
