/* q4_0.c: 32 values of 4 bits and a scale: value = d * (q - 8). Low nibbles are values 0..15, high ones 16..31. */
#include "quant/types.h"

#include <math.h>

enum { BLOCK = 32 };

struct block {
	uint16_t d; /* binary16 */
	uint8_t qs[BLOCK / 2];
} BT_BLOCK;
_Static_assert(sizeof(struct block) == 18, "layout of Q4_0");

static void unpack(const void *src, float *dst, size_t n)
{
	bt_unpack_from_i8(&bt_type_q4_0, src, dst, n);
}

static void unpack_i8(const void *src, int8_t *q, float *scale, float *min, size_t n)
{
	const struct block *b = src;
	(void)min;
	for (size_t i = 0; i < n / BLOCK; i++, q += BLOCK) {
		scale[i] = bt_f16_to_f32(b[i].d);
		for (int j = 0; j < BLOCK / 2; j++) {
			q[j] = (int8_t)((b[i].qs[j] & 15) - 8);
			q[j + 16] = (int8_t)((b[i].qs[j] >> 4) - 8);
		}
	}
}

/* As ggml's quantize_row_q4_0_ref: the value of largest magnitude becomes -8 exactly. */
static void pack(const float *src, void *dst, size_t n, const float *importance)
{
	struct block *b = dst;
	(void)importance;
	for (size_t i = 0; i < n / BLOCK; i++, src += BLOCK) {
		float amax = 0.0f, max = 0.0f;
		for (int j = 0; j < BLOCK; j++)
			if (fabsf(src[j]) > amax) amax = fabsf(max = src[j]);
		float d = max / -8, id = d != 0.0f ? 1.0f / d : 0.0f;
		b[i].d = bt_f32_to_f16(d);
		for (int j = 0; j < BLOCK / 2; j++) {
			int lo = bt_clamp_int(src[j] * id + 8.5f, 0, 15);
			int hi = bt_clamp_int(src[j + 16] * id + 8.5f, 0, 15);
			b[i].qs[j] = (uint8_t)(lo | hi << 4);
		}
	}
}

const struct bt_type bt_type_q4_0 = {
	.id = BT_TYPE_Q4_0,
	.name = "Q4_0",
	.block = BLOCK,
	.bytes = sizeof(struct block),
	.group = 32,
	.q_min = -8,
	.q_max = 7,
	.unpack = unpack,
	.unpack_i8 = unpack_i8,
	.pack = pack,
};
