/* iq3_s.c: 256 values: four at a time from a codebook of 512, with 4 signs, a 4-bit scale on 32. */
#include "quant/types.h"
#include "quant/grids.h"

struct block {
	uint16_t d;            /* binary16 */
	uint8_t qs[BT_K / 4];  /* low 8 bits of the index into bt_iq3_s_grid */
	uint8_t qh[BT_K / 32]; /* bit s of byte g: the ninth bit of index 8g + s */
	uint8_t signs[BT_K / 8];
	uint8_t scales[BT_K / 64]; /* nibble g: d * (1 + 2 * scale) on 32 values */
} BT_BLOCK;
_Static_assert(sizeof(struct block) == 110, "layout of IQ3_S");

static void unpack_i8(const void *src, int8_t *q, float *scale, float *min, size_t n)
{
	const struct block *b = src;
	(void)min;
	for (size_t i = 0; i < n / BT_K; i++, b++) {
		float d = bt_f16_to_f32(b->d);
		for (int g = 0; g < BT_K / 32; g++)
			*scale++ = d * (float)(1 + 2 * (b->scales[g / 2] >> g % 2 * 4 & 15));
		for (int k = 0; k < BT_K / 4; k++, q += 4) {
			int index = b->qs[k] | (b->qh[k / 8] >> k % 8 & 1) << 8;
			bt_iq_apply(bt_iq3_s_grid[index], (uint32_t)b->signs[k / 2] >> k % 2 * 4, q, 4);
		}
	}
}

static void unpack(const void *src, float *dst, size_t n)
{
	bt_unpack_from_i8(&bt_type_iq3_s, src, dst, n);
}

const struct bt_type bt_type_iq3_s = {
	.id = BT_TYPE_IQ3_S,
	.name = "IQ3_S",
	.block = BT_K,
	.bytes = sizeof(struct block),
	.group = 32,
	.q_min = -15,
	.q_max = 15,
	.unpack = unpack,
	.unpack_i8 = unpack_i8,
};
