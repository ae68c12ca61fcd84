/* iq1_s.c: 256 values of {-1, 0, 1} + delta, eight at a time from a codebook of 2048; scale and delta on 32. */
#include "quant/types.h"
#include "quant/grids.h"

struct block {
	uint16_t d;               /* binary16 */
	uint8_t qs[BT_K / 8];     /* low 8 bits of the index into bt_iq1_grid */
	uint8_t qh[BT_K / 32][2]; /* bits 3s .. 3s + 2: high bits of index 4g + s; bits 12..14: d * (1 + 2 * scale);
	                             bit 15: delta is -1/8 instead of 1/8 */
} BT_BLOCK;
_Static_assert(sizeof(struct block) == 50, "layout of IQ1_S");

static void unpack_i8(const void *src, int8_t *q, float *scale, float *min, size_t n)
{
	const struct block *b = src;
	(void)min;
	for (size_t i = 0; i < n / BT_K; i++, b++) {
		float d = bt_f16_to_f32(b->d);
		for (int g = 0; g < BT_K / 32; g++) {
			uint32_t qh = bt_load_u16(b->qh[g]);
			int delta = (qh & 0x8000) ? -1 : 1; /* in eighths, as q and scale are here: exact in float */
			*scale++ = d * (float)(2 * (qh >> 12 & 7) + 1) * 0.125f;
			for (int s = 0; s < 4; s++, q += 8) {
				const int8_t *grid = bt_iq1_grid[b->qs[4 * g + s] | (qh >> 3 * s & 7) << 8];
				for (int j = 0; j < 8; j++) q[j] = (int8_t)(8 * grid[j] + delta);
			}
		}
	}
}

static void unpack(const void *src, float *dst, size_t n)
{
	bt_unpack_from_i8(&bt_type_iq1_s, src, dst, n);
}

const struct bt_type bt_type_iq1_s = {
	.id = BT_TYPE_IQ1_S,
	.name = "IQ1_S",
	.block = BT_K,
	.bytes = sizeof(struct block),
	.group = 32,
	.q_min = -9,
	.q_max = 9,
	.unpack = unpack,
	.unpack_i8 = unpack_i8,
};
