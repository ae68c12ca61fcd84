/* iq2_s.c: 256 values: eight at a time from a codebook of 1024 with 8 signs, a 4-bit scale on 16. */
#include "quant/types.h"
#include "quant/grids.h"

struct block {
	uint16_t d;           /* binary16 */
	uint8_t qs[BT_K / 8]; /* low 8 bits of the index into bt_iq2_s_grid */
	uint8_t signs[BT_K / 8];
	uint8_t qh[BT_K / 32];     /* bits 2s, 2s + 1 of byte g: high bits of index 4g + s */
	uint8_t scales[BT_K / 32]; /* nibble g: d * (0.5 + scale) / 4 on 16 values */
} BT_BLOCK;
_Static_assert(sizeof(struct block) == 82, "layout of IQ2_S");

static void unpack_i8(const void *src, int8_t *q, float *scale, float *min, size_t n)
{
	const struct block *b = src;
	(void)min;
	for (size_t i = 0; i < n / BT_K; i++, b++) {
		float d = bt_f16_to_f32(b->d);
		for (int g = 0; g < BT_K / 16; g++)
			*scale++ = d * (0.5f + (float)(b->scales[g / 2] >> g % 2 * 4 & 15)) * 0.25f;
		for (int k = 0; k < BT_K / 8; k++, q += 8) {
			int index = b->qs[k] | (b->qh[k / 4] >> k % 4 * 2 & 3) << 8;
			bt_iq_apply(bt_iq2_s_grid[index], b->signs[k], q, 8);
		}
	}
}

static void unpack(const void *src, float *dst, size_t n)
{
	bt_unpack_from_i8(&bt_type_iq2_s, src, dst, n);
}

const struct bt_type bt_type_iq2_s = {
	.id = BT_TYPE_IQ2_S,
	.name = "IQ2_S",
	.block = BT_K,
	.bytes = sizeof(struct block),
	.group = 16,
	.q_min = -43,
	.q_max = 43,
	.unpack = unpack,
	.unpack_i8 = unpack_i8,
};
