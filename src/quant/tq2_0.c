/* tq2_0.c: 256 values of {-1, 0, 1} in 2 bits each, and a scale: value = d * (q - 1). */
#include "quant/types.h"

#include <math.h>
#include <string.h>

struct block {
	uint8_t qs[BT_K / 4]; /* byte l of half h: bits 2s, 2s + 1 are value 128h + 32s + l */
	uint16_t d;           /* binary16 */
} BT_BLOCK;
_Static_assert(sizeof(struct block) == 66, "layout of TQ2_0");

static void unpack_i8(const void *src, int8_t *q, float *scale, float *min, size_t n)
{
	const struct block *b = src;
	(void)min;
	for (size_t i = 0; i < n / BT_K; i++, b++, q += BT_K) {
		for (int g = 0; g < BT_K / 32; g++) *scale++ = bt_f16_to_f32(b->d);
		for (int k = 0; k < 8; k++)
			for (int l = 0; l < 32; l++)
				q[32 * k + l] = (int8_t)((b->qs[k / 4 * 32 + l] >> k % 4 * 2 & 3) - 1);
	}
}

static void unpack(const void *src, float *dst, size_t n)
{
	bt_unpack_from_i8(&bt_type_tq2_0, src, dst, n);
}

/* As ggml's quantize_row_tq2_0_ref: the scale is the largest magnitude. */
static void pack(const float *src, void *dst, size_t n, const float *importance)
{
	struct block *b = dst;
	(void)importance;
	for (size_t i = 0; i < n / BT_K; i++, b++, src += BT_K) {
		float amax = 0;
		for (int v = 0; v < BT_K; v++) amax = fmaxf(amax, fabsf(src[v]));
		float id = amax > 0 ? 1 / amax : 0;
		b->d = bt_f32_to_f16(amax);
		memset(b->qs, 0, sizeof b->qs);
		for (int v = 0; v < BT_K; v++) {
			unsigned q = (unsigned)(bt_clamp_int(roundf(src[v] * id), -1, 1) + 1);
			b->qs[v / 128 * 32 + v % 32] |= (uint8_t)(q << v / 32 % 4 * 2);
		}
	}
}

const struct bt_type bt_type_tq2_0 = {
	.id = BT_TYPE_TQ2_0,
	.name = "TQ2_0",
	.block = BT_K,
	.bytes = sizeof(struct block),
	.group = 32,
	.q_min = -1,
	.q_max = 2,
	.unpack = unpack,
	.unpack_i8 = unpack_i8,
	.pack = pack,
};
