/* q8_0.c: 32 values of 8 bits and a scale: value = d * q. */
#include "quant/types.h"

#include <math.h>
#include <string.h>

enum { BLOCK = 32 };

struct block {
	uint16_t d; /* binary16 */
	int8_t qs[BLOCK];
} BT_BLOCK;
_Static_assert(sizeof(struct block) == 34, "layout of Q8_0");

static void unpack(const void *src, float *dst, size_t n)
{
	bt_unpack_from_i8(&bt_type_q8_0, src, dst, n);
}

static void unpack_i8(const void *src, int8_t *q, float *scale, float *min, size_t n)
{
	const struct block *b = src;
	(void)min;
	for (size_t i = 0; i < n / BLOCK; i++, q += BLOCK) {
		scale[i] = bt_f16_to_f32(b[i].d);
		memcpy(q, b[i].qs, BLOCK);
	}
}

/* As ggml's quantize_row_q8_0_ref: the largest magnitude becomes 127; halves round away from zero. */
static void pack(const float *src, void *dst, size_t n, const float *importance)
{
	struct block *b = dst;
	(void)importance;
	for (size_t i = 0; i < n / BLOCK; i++, src += BLOCK) {
		float amax = 0.0f;
		for (int j = 0; j < BLOCK; j++) amax = fmaxf(amax, fabsf(src[j]));
		float d = amax / 127, id = d != 0.0f ? 1.0f / d : 0.0f;
		b[i].d = bt_f32_to_f16(d);
		for (int j = 0; j < BLOCK; j++) b[i].qs[j] = (int8_t)bt_clamp_int(roundf(src[j] * id), -127, 127);
	}
}

const struct bt_type bt_type_q8_0 = {
	.id = BT_TYPE_Q8_0,
	.name = "Q8_0",
	.block = BLOCK,
	.bytes = sizeof(struct block),
	.group = 32,
	.q_min = -128,
	.q_max = 127,
	.unpack = unpack,
	.unpack_i8 = unpack_i8,
	.pack = pack,
};
