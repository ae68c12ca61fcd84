/* q5_0.c: 32 values of 5 bits and a scale: value = d * (q - 16). Nibbles as in Q4_0; bit i of qh is value i's fifth. */
#include "quant/types.h"

#include <math.h>

enum { BLOCK = 32 };

struct block {
	uint16_t d;    /* binary16 */
	uint8_t qh[4]; /* 32 bits, little-endian */
	uint8_t qs[BLOCK / 2];
} BT_BLOCK;
_Static_assert(sizeof(struct block) == 22, "layout of Q5_0");

static void unpack_q(const struct block *b, int8_t *q)
{
	uint32_t qh = bt_load_u32(b->qh);
	for (int j = 0; j < BLOCK / 2; j++) {
		q[j] = (int8_t)(((b->qs[j] & 15) | (qh >> j & 1) << 4) - 16);
		q[j + 16] = (int8_t)((b->qs[j] >> 4 | (qh >> (j + 16) & 1) << 4) - 16);
	}
}

static void unpack(const void *src, float *dst, size_t n)
{
	bt_unpack_from_i8(&bt_type_q5_0, src, dst, n);
}

static void unpack_i8(const void *src, int8_t *q, float *scale, float *min, size_t n)
{
	const struct block *b = src;
	(void)min;
	for (size_t i = 0; i < n / BLOCK; i++, q += BLOCK) {
		scale[i] = bt_f16_to_f32(b[i].d);
		unpack_q(b + i, q);
	}
}

/* As ggml's quantize_row_q5_0_ref: the value of largest magnitude becomes -16 exactly. */
static void pack(const float *src, void *dst, size_t n, const float *importance)
{
	struct block *b = dst;
	(void)importance;
	for (size_t i = 0; i < n / BLOCK; i++, src += BLOCK) {
		float amax = 0.0f, max = 0.0f;
		for (int j = 0; j < BLOCK; j++)
			if (fabsf(src[j]) > amax) amax = fabsf(max = src[j]);
		float d = max / -16, id = d != 0.0f ? 1.0f / d : 0.0f;
		uint32_t qh = 0;
		b[i].d = bt_f32_to_f16(d);
		for (int j = 0; j < BLOCK / 2; j++) {
			uint32_t lo = (uint32_t)bt_clamp_int(src[j] * id + 16.5f, 0, 31);
			uint32_t hi = (uint32_t)bt_clamp_int(src[j + 16] * id + 16.5f, 0, 31);
			b[i].qs[j] = (uint8_t)((lo & 15) | (hi & 15) << 4);
			qh |= lo >> 4 << j | hi >> 4 << (j + 16);
		}
		bt_store_u32(b[i].qh, qh);
	}
}

const struct bt_type bt_type_q5_0 = {
	.id = BT_TYPE_Q5_0,
	.name = "Q5_0",
	.block = BLOCK,
	.bytes = sizeof(struct block),
	.group = 32,
	.q_min = -16,
	.q_max = 15,
	.unpack = unpack,
	.unpack_i8 = unpack_i8,
	.pack = pack,
};
