/* iq3_xxs.c: 256 values: four at a time from a codebook of 256, 7 bits of signs on 8, a 4-bit scale on 32. */
#include "quant/types.h"
#include "quant/grids.h"

struct block {
	uint16_t d;                  /* binary16 */
	uint8_t qs[BT_K / 4];        /* index into bt_iq3_xxs_grid */
	uint8_t signs[BT_K / 32][4]; /* 4 times 7 bits of signs, then 4 bits of scale: d * (0.5 + scale) / 2 */
} BT_BLOCK;
_Static_assert(sizeof(struct block) == 98, "layout of IQ3_XXS");

static void unpack_i8(const void *src, int8_t *q, float *scale, float *min, size_t n)
{
	const struct block *b = src;
	(void)min;
	for (size_t i = 0; i < n / BT_K; i++, b++) {
		float d = bt_f16_to_f32(b->d);
		for (int k = 0; k < BT_K / 8; k++, q += 8) {
			uint32_t word = bt_load_u32(b->signs[k / 4]), signs = bt_iq_signs(word >> k % 4 * 7 & 127);
			if (k % 4 == 0) *scale++ = d * (0.5f + (float)(word >> 28)) * 0.5f;
			bt_iq_apply(bt_iq3_xxs_grid[b->qs[2 * k]], signs, q, 4);
			bt_iq_apply(bt_iq3_xxs_grid[b->qs[2 * k + 1]], signs >> 4, q + 4, 4);
		}
	}
}

static void unpack(const void *src, float *dst, size_t n)
{
	bt_unpack_from_i8(&bt_type_iq3_xxs, src, dst, n);
}

const struct bt_type bt_type_iq3_xxs = {
	.id = BT_TYPE_IQ3_XXS,
	.name = "IQ3_XXS",
	.block = BT_K,
	.bytes = sizeof(struct block),
	.group = 32,
	.q_min = -62,
	.q_max = 62,
	.unpack = unpack,
	.unpack_i8 = unpack_i8,
};
