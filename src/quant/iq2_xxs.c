/* iq2_xxs.c: 256 values: eight at a time from a codebook of 256 with 7 bits of signs, a 4-bit scale on 32. */
#include "quant/types.h"
#include "quant/grids.h"

struct block {
	uint16_t d; /* binary16 */
	struct {
		uint8_t index[4]; /* into bt_iq2_xxs_grid */
		uint8_t signs[4]; /* 4 times 7 bits of signs, then 4 bits of scale: d * (0.5 + scale) / 4 */
	} groups[BT_K / 32];
} BT_BLOCK;
_Static_assert(sizeof(struct block) == 66, "layout of IQ2_XXS");

static void unpack_i8(const void *src, int8_t *q, float *scale, float *min, size_t n)
{
	const struct block *b = src;
	(void)min;
	for (size_t i = 0; i < n / BT_K; i++, b++) {
		float d = bt_f16_to_f32(b->d);
		for (int g = 0; g < BT_K / 32; g++) {
			uint32_t signs = bt_load_u32(b->groups[g].signs);
			*scale++ = d * (0.5f + (float)(signs >> 28)) * 0.25f;
			for (int k = 0; k < 4; k++, q += 8)
				bt_iq_apply(bt_iq2_xxs_grid[b->groups[g].index[k]], bt_iq_signs(signs >> 7 * k & 127),
				            q, 8);
		}
	}
}

static void unpack(const void *src, float *dst, size_t n)
{
	bt_unpack_from_i8(&bt_type_iq2_xxs, src, dst, n);
}

const struct bt_type bt_type_iq2_xxs = {
	.id = BT_TYPE_IQ2_XXS,
	.name = "IQ2_XXS",
	.block = BT_K,
	.bytes = sizeof(struct block),
	.group = 32,
	.q_min = -43,
	.q_max = 43,
	.unpack = unpack,
	.unpack_i8 = unpack_i8,
};
