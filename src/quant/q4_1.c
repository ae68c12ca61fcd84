/* q4_1.c: 32 values of 4 bits, a scale and a minimum: value = d * q + m. Low nibbles are values 0..15. */
#include "quant/types.h"

#include <float.h>

enum { BLOCK = 32 };

struct block {
	uint16_t d, m; /* binary16 */
	uint8_t qs[BLOCK / 2];
} BT_BLOCK;
_Static_assert(sizeof(struct block) == 20, "layout of Q4_1");

static void unpack(const void *src, float *dst, size_t n)
{
	bt_unpack_from_i8(&bt_type_q4_1, src, dst, n);
}

static void unpack_i8(const void *src, int8_t *q, float *scale, float *min, size_t n)
{
	const struct block *b = src;
	for (size_t i = 0; i < n / BLOCK; i++, q += BLOCK) {
		scale[i] = bt_f16_to_f32(b[i].d);
		min[i] = bt_f16_to_f32(b[i].m);
		for (int j = 0; j < BLOCK / 2; j++) {
			q[j] = (int8_t)(b[i].qs[j] & 15);
			q[j + 16] = (int8_t)(b[i].qs[j] >> 4);
		}
	}
}

/* As ggml's quantize_row_q4_1_ref: smallest and largest value become 0 and 15. */
static void pack(const float *src, void *dst, size_t n, const float *importance)
{
	struct block *b = dst;
	(void)importance;
	for (size_t i = 0; i < n / BLOCK; i++, src += BLOCK) {
		float min = FLT_MAX, max = -FLT_MAX;
		for (int j = 0; j < BLOCK; j++) {
			if (src[j] < min) min = src[j];
			if (src[j] > max) max = src[j];
		}
		float d = (max - min) / 15, id = d != 0.0f ? 1.0f / d : 0.0f;
		b[i].d = bt_f32_to_f16(d);
		b[i].m = bt_f32_to_f16(min);
		for (int j = 0; j < BLOCK / 2; j++) {
			int lo = bt_clamp_int((src[j] - min) * id + 0.5f, 0, 15);
			int hi = bt_clamp_int((src[j + 16] - min) * id + 0.5f, 0, 15);
			b[i].qs[j] = (uint8_t)(lo | hi << 4);
		}
	}
}

const struct bt_type bt_type_q4_1 = {
	.id = BT_TYPE_Q4_1,
	.name = "Q4_1",
	.block = BLOCK,
	.bytes = sizeof(struct block),
	.group = 32,
	.has_min = true,
	.q_min = 0,
	.q_max = 15,
	.unpack = unpack,
	.unpack_i8 = unpack_i8,
	.pack = pack,
};
