/* q5_1.c: 32 values of 5 bits, a scale and a minimum: value = d * q + m. Bits as in Q5_0. */
#include "quant/types.h"

#include <float.h>

enum { BLOCK = 32 };

struct block {
	uint16_t d, m; /* binary16 */
	uint8_t qh[4]; /* 32 bits, little-endian */
	uint8_t qs[BLOCK / 2];
} BT_BLOCK;
_Static_assert(sizeof(struct block) == 24, "layout of Q5_1");

static void unpack_q(const struct block *b, int8_t *q)
{
	uint32_t qh = bt_load_u32(b->qh);
	for (int j = 0; j < BLOCK / 2; j++) {
		q[j] = (int8_t)((b->qs[j] & 15) | (qh >> j & 1) << 4);
		q[j + 16] = (int8_t)(b->qs[j] >> 4 | (qh >> (j + 16) & 1) << 4);
	}
}

static void unpack(const void *src, float *dst, size_t n)
{
	bt_unpack_from_i8(&bt_type_q5_1, src, dst, n);
}

static void unpack_i8(const void *src, int8_t *q, float *scale, float *min, size_t n)
{
	const struct block *b = src;
	for (size_t i = 0; i < n / BLOCK; i++, q += BLOCK) {
		scale[i] = bt_f16_to_f32(b[i].d);
		min[i] = bt_f16_to_f32(b[i].m);
		unpack_q(b + i, q);
	}
}

/* As ggml's quantize_row_q5_1_ref: smallest and largest value become 0 and 31. */
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
		float d = (max - min) / 31, id = d != 0.0f ? 1.0f / d : 0.0f;
		uint32_t qh = 0;
		b[i].d = bt_f32_to_f16(d);
		b[i].m = bt_f32_to_f16(min);
		for (int j = 0; j < BLOCK / 2; j++) {
			uint32_t lo = (uint32_t)bt_clamp_int((src[j] - min) * id + 0.5f, 0, 31);
			uint32_t hi = (uint32_t)bt_clamp_int((src[j + 16] - min) * id + 0.5f, 0, 31);
			b[i].qs[j] = (uint8_t)((lo & 15) | (hi & 15) << 4);
			qh |= lo >> 4 << j | hi >> 4 << (j + 16);
		}
		bt_store_u32(b[i].qh, qh);
	}
}

const struct bt_type bt_type_q5_1 = {
	.id = BT_TYPE_Q5_1,
	.name = "Q5_1",
	.block = BLOCK,
	.bytes = sizeof(struct block),
	.group = 32,
	.has_min = true,
	.q_min = 0,
	.q_max = 31,
	.unpack = unpack,
	.unpack_i8 = unpack_i8,
	.pack = pack,
};
