/* tq1_0.c: 256 values of {-1, 0, 1}, five to a byte, and a scale. */
#include "quant/types.h"

#include <math.h>

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

/* The trits of bytes[count][bytes] values, first one on top, as trits() reads them. */
static void put_trits(const float *src, int bytes, int count, float id, uint8_t *p)
{
	for (int l = 0; l < bytes; l++) {
		uint32_t v = 0;
		for (int k = 0; k < 5; k++)
			v = v * 3 +
			    (k < count ? (uint32_t)(bt_clamp_int(roundf(src[k * bytes + l] * id), -1, 1) + 1) : 0);
		p[l] = (uint8_t)((v * 256 + 242) / 243);
	}
}

/* As ggml's quantize_row_tq1_0_ref: the scale is the largest magnitude. */
static void pack(const float *src, void *dst, size_t n, const float *importance)
{
	struct block *b = dst;
	(void)importance;
	for (size_t i = 0; i < n / BT_K; i++, b++, src += BT_K) {
		float amax = 0;
		for (int v = 0; v < BT_K; v++) amax = fmaxf(amax, fabsf(src[v]));
		float id = amax > 0 ? 1 / amax : 0;
		b->d = bt_f32_to_f16(amax);
		put_trits(src, 32, 5, id, b->qs);
		put_trits(src + 160, 16, 5, id, b->qs + 32);
		put_trits(src + 240, 4, 4, id, b->qh);
	}
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
	.pack = pack,
};
