/* q3_k.c: 256 values of 3 bits in groups of 16 with a 6-bit scale: value = d * (sc - 32) * (q - 4). */
#include "quant/fit.h"

#include <string.h>

struct block {
	uint8_t hmask[BT_K / 8]; /* bit k of byte l: the third bit of value 32k + l */
	uint8_t qs[BT_K / 4];    /* byte l of half h: bits 2s, 2s + 1 are the low bits of value 128h + 32s + l */
	uint8_t scales[12];      /* scale g: low 4 bits in nibble g / 8 of byte g % 8, high 2 bits in bits g / 4 * 2 of
	                            byte 8 + g % 4 */
	uint16_t d;              /* binary16 */
} BT_BLOCK;
_Static_assert(sizeof(struct block) == 110, "layout of Q3_K");

static void unpack_i8(const void *src, int8_t *q, float *scale, float *min, size_t n)
{
	const struct block *b = src;
	(void)min;
	for (size_t i = 0; i < n / BT_K; i++, b++, q += BT_K) {
		float d = bt_f16_to_f32(b->d);
		for (int g = 0; g < BT_K / 16; g++) {
			int sc = (b->scales[g % 8] >> g / 8 * 4 & 15) | (b->scales[8 + g % 4] >> g / 4 * 2 & 3) << 4;
			*scale++ = d * (float)(sc - 32);
		}
		for (int k = 0; k < 8; k++)
			for (int l = 0; l < 32; l++) {
				int low = b->qs[k / 4 * 32 + l] >> k % 4 * 2 & 3, high = b->hmask[l] >> k & 1;
				q[32 * k + l] = (int8_t)(low + 4 * high - 4);
			}
	}
}

static void unpack(const void *src, float *dst, size_t n)
{
	bt_unpack_from_i8(&bt_type_q3_k, src, dst, n);
}

static void pack(const float *src, void *dst, size_t n, const float *importance)
{
	static const struct bt_fit_scale fit = {
		.groups = 16, .group = 16, .sc_min = -32, .sc_max = 31, .lo = -4, .hi = 3, .step = 0.1f, .steps = 9};
	struct bt_fit_scale_result r;
	struct block *b = dst;
	for (size_t i = 0; i < n; i += BT_K, b++) {
		bt_fit_scale(&fit, src + i, importance ? importance + i : NULL, &r);
		memset(b, 0, sizeof *b);
		b->d = r.d;
		for (int g = 0; g < BT_K / 16; g++) {
			int sc = r.sc[g] + 32;
			b->scales[g % 8] |= (uint8_t)((sc & 15) << g / 8 * 4);
			b->scales[8 + g % 4] |= (uint8_t)(sc >> 4 << g / 4 * 2);
		}
		for (int v = 0; v < BT_K; v++) {
			int q = r.q[v] + 4;
			b->qs[v / 128 * 32 + v % 32] |= (uint8_t)((q & 3) << v / 32 % 4 * 2);
			b->hmask[v % 32] |= (uint8_t)(q >> 2 << v / 32);
		}
	}
}

const struct bt_type bt_type_q3_k = {
	.id = BT_TYPE_Q3_K,
	.name = "Q3_K",
	.block = BT_K,
	.bytes = sizeof(struct block),
	.group = 16,
	.q_min = -4,
	.q_max = 3,
	.unpack = unpack,
	.unpack_i8 = unpack_i8,
	.pack = pack,
};
