/* iq4_nl.c: 32 values of 4 bits through a table of 16 levels, and a scale: value = d * level[q]. */
#include "quant/fit.h"
#include "quant/grids.h"

#include <string.h>

enum { BLOCK = 32 };

struct block {
	uint16_t d;     /* binary16 */
	uint8_t qs[16]; /* low nibbles are values 0..15, high ones 16..31 */
} BT_BLOCK;
_Static_assert(sizeof(struct block) == 18, "layout of IQ4_NL");

/* Source: kvalues_iq4nl of ggml's ggml-common.h. */
const int8_t bt_iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

static void unpack_i8(const void *src, int8_t *q, float *scale, float *min, size_t n)
{
	const struct block *b = src;
	(void)min;
	for (size_t i = 0; i < n / BLOCK; i++, b++, q += BLOCK) {
		*scale++ = bt_f16_to_f32(b->d);
		for (int j = 0; j < BLOCK; j++) q[j] = bt_iq4_values[b->qs[j % 16] >> j / 16 * 4 & 15];
	}
}

static void unpack(const void *src, float *dst, size_t n)
{
	bt_unpack_from_i8(&bt_type_iq4_nl, src, dst, n);
}

static void pack(const float *src, void *dst, size_t n, const float *importance)
{
	static const struct bt_fit_scale fit = {.groups = 1,
	                                        .group = 32,
	                                        .sc_min = 1,
	                                        .sc_max = 1,
	                                        .lo = -127,
	                                        .hi = 113,
	                                        .levels = bt_iq4_values,
	                                        .step = 2,
	                                        .steps = 8};
	struct bt_fit_scale_result r;
	struct block *b = dst;
	for (size_t i = 0; i < n; i += BLOCK, b++) {
		bt_fit_scale(&fit, src + i, importance ? importance + i : NULL, &r);
		memset(b, 0, sizeof *b);
		b->d = r.d;
		for (int j = 0; j < BLOCK; j++) b->qs[j % 16] |= (uint8_t)(bt_iq4_index(r.q[j]) << j / 16 * 4);
	}
}

const struct bt_type bt_type_iq4_nl = {
	.id = BT_TYPE_IQ4_NL,
	.name = "IQ4_NL",
	.block = BLOCK,
	.bytes = sizeof(struct block),
	.group = 32,
	.q_min = -127,
	.q_max = 113,
	.unpack = unpack,
	.unpack_i8 = unpack_i8,
	.pack = pack,
};
