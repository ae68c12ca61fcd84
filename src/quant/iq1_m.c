/* iq1_m.c: 256 values of {-1, 0, 1} + delta, eight at a time from a codebook of 2048; scale on 16, delta on 8. */
#include "quant/types.h"
#include "quant/grids.h"

struct block {
	uint8_t qs[BT_K / 8];  /* low 8 bits of the index into bt_iq1_grid */
	uint8_t qh[BT_K / 16]; /* nibble k: 3 high bits of index k, then 1 for delta -1/8 instead of 1/8 */
	uint8_t scales[BT_K / 64]
		      [2]; /* bits 3s .. 3s + 2: d * (1 + 2 * scale) on 16 values; the top nibbles of the four
	                               together, first one lowest, are d as binary16 */
} BT_BLOCK;
_Static_assert(sizeof(struct block) == 56, "layout of IQ1_M");

static void unpack_i8(const void *src, int8_t *q, float *scale, float *min, size_t n)
{
	const struct block *b = src;
	(void)min;
	for (size_t i = 0; i < n / BT_K; i++, b++) {
		uint32_t bits = 0;
		for (int k = 0; k < 4; k++) bits |= bt_load_u16(b->scales[k]) >> 12 << 4 * k;
		float d = bt_f16_to_f32((uint16_t)bits);
		for (int g = 0; g < BT_K / 16; g++)
			*scale++ = d * (float)(2 * (bt_load_u16(b->scales[g / 4]) >> g % 4 * 3 & 7) + 1) * 0.125f;
		for (int k = 0; k < BT_K / 8; k++, q += 8) {
			int qh = b->qh[k / 2] >> k % 2 * 4, delta = (qh & 8) ? -1 : 1; /* in eighths, as in IQ1_S */
			const int8_t *grid = bt_iq1_grid[b->qs[k] | (qh & 7) << 8];
			for (int j = 0; j < 8; j++) q[j] = (int8_t)(8 * grid[j] + delta);
		}
	}
}

static void unpack(const void *src, float *dst, size_t n)
{
	bt_unpack_from_i8(&bt_type_iq1_m, src, dst, n);
}

const struct bt_type bt_type_iq1_m = {
	.id = BT_TYPE_IQ1_M,
	.name = "IQ1_M",
	.block = BT_K,
	.bytes = sizeof(struct block),
	.group = 16,
	.q_min = -9,
	.q_max = 9,
	.unpack = unpack,
	.unpack_i8 = unpack_i8,
};
