/* tq1_0.c: 256 values of {-1, 0, 1}, five to a byte, and a scale. */
#include "quant/types.h"

struct block {
	uint8_t qs[48]; /* bytes 0..31: value 32k + l is trit k of byte l; bytes 32..47: value 160 + 16k + l likewise */
	uint8_t qh[4];  /* value 240 + 4k + l is trit k of byte l */
	uint16_t d;     /* binary16 */
} BT_BLOCK;
_Static_assert(sizeof(struct block) == 54, "layout of TQ1_0");

/* A byte holds up to five trits as a fraction of 256 in base 3, rounded up: multiplying by 3 brings the next one to the
 * top. `bytes` bytes give `count` trits each; returns the next q. */
static int8_t *trits(const uint8_t *p, int bytes, int count, int8_t *q)
{
	for (uint32_t k = 0, pow3 = 1; k < (uint32_t)count; k++, pow3 *= 3)
		for (int l = 0; l < bytes; l++) *q++ = (int8_t)((int)((p[l] * pow3 & 255) * 3 >> 8) - 1);
	return q;
}

static void unpack_i8(const void *src, int8_t *q, float *scale, float *min, size_t n)
{
	const struct block *b = src;
	(void)min;
	for (size_t i = 0; i < n / BT_K; i++, b++) {
		for (int g = 0; g < BT_K / 32; g++) *scale++ = bt_f16_to_f32(b->d);
		q = trits(b->qs, 32, 5, q);
		q = trits(b->qs + 32, 16, 5, q);
		q = trits(b->qh, 4, 4, q);
	}
}

static void unpack(const void *src, float *dst, size_t n)
{
	bt_unpack_from_i8(&bt_type_tq1_0, src, dst, n);
}

const struct bt_type bt_type_tq1_0 = {
	.id = BT_TYPE_TQ1_0,
	.name = "TQ1_0",
	.block = BT_K,
	.bytes = sizeof(struct block),
	.group = 32,
	.q_min = -1,
	.q_max = 1,
	.unpack = unpack,
	.unpack_i8 = unpack_i8,
};
