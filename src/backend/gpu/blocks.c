#include "backend/gpu/blocks.h"
#include "quant/grids.h"
#include "quant/k_scales.h"
#include "quant/types.h"

#include <string.h>

/* A half at so many bytes into a block. */
static float half_at(const uint8_t *b, int at)
{
	return bt_f16_to_f32((uint16_t)bt_load_u16(b + at));
}

static int nibble(const uint8_t *b, int i)
{
	return b[i / 2] >> i % 2 * 4 & 15;
}

/* scale[0 .. 7] of 32 values each become those of 16. */
static void twice(int *scale)
{
	for (int g = 15; g >= 0; g--) scale[g] = scale[g / 2];
}

void bt_gpu_super_q2_k(const void *block, float *d, float *dmin, int *scale, int *min)
{
	const uint8_t *b = block;
	for (int g = 0; g < 16; g++) {
		scale[g] = b[g] & 15;
		min[g] = b[g] >> 4;
	}
	*d = half_at(b, 80);
	*dmin = half_at(b, 82);
}

void bt_gpu_super_q3_k(const void *block, float *d, float *dmin, int *scale, int *min)
{
	const uint8_t *b = block, *s = b + 96;
	(void)min;
	for (int g = 0; g < 16; g++)
		scale[g] = ((s[g % 8] >> g / 8 * 4 & 15) | (s[8 + g % 4] >> g / 4 * 2 & 3) << 4) - 32;
	*d = half_at(b, 108);
	*dmin = 0;
}

void bt_gpu_super_q4_k(const void *block, float *d, float *dmin, int *scale, int *min)
{
	const uint8_t *b = block;
	*d = half_at(b, 0);
	*dmin = half_at(b, 2);
	for (int g = 0; g < 8; g++) bt_k_scale_min(b + 4, g, &scale[g], &min[g]);
}

void bt_gpu_super_q6_k(const void *block, float *d, float *dmin, int *scale, int *min)
{
	const uint8_t *b = block;
	(void)min;
	for (int g = 0; g < 16; g++) scale[g] = (int8_t)b[192 + g];
	*d = half_at(b, 208);
	*dmin = 0;
}

void bt_gpu_super_iq4_xs(const void *block, float *d, float *dmin, int *scale, int *min)
{
	const uint8_t *b = block;
	(void)min;
	for (int g = 0; g < 8; g++) scale[g] = (nibble(b + 4, g) | (int)(bt_load_u16(b + 2) >> 2 * g & 3) << 4) - 32;
	*d = half_at(b, 0);
	*dmin = 0;
}

void bt_gpu_super_iq1_s(const void *block, float *d, float *dmin, int *scale, int *min)
{
	const uint8_t *b = block;
	(void)min;
	for (int g = 0; g < 8; g++) scale[g] = (int)(2 * (bt_load_u16(b + 34 + 2 * g) >> 12 & 7) + 1);
	twice(scale);
	*d = half_at(b, 0);
	*dmin = 0;
}

void bt_gpu_super_iq1_m(const void *block, float *d, float *dmin, int *scale, int *min)
{
	const uint8_t *s = (const uint8_t *)block + 48;
	uint32_t bits = 0;
	(void)min;
	for (int k = 0; k < 4; k++) bits |= bt_load_u16(s + 2 * k) >> 12 << 4 * k;
	for (int g = 0; g < 16; g++) scale[g] = (int)(2 * (bt_load_u16(s + g / 4 * 2) >> g % 4 * 3 & 7) + 1);
	*d = bt_f16_to_f32((uint16_t)bits);
	*dmin = 0;
}

static void super_ternary(float at, float *d, float *dmin, int *scale)
{
	for (int g = 0; g < 16; g++) scale[g] = 1;
	*d = at;
	*dmin = 0;
}

void bt_gpu_super_tq1_0(const void *block, float *d, float *dmin, int *scale, int *min)
{
	(void)min;
	super_ternary(half_at(block, 52), d, dmin, scale);
}

void bt_gpu_super_tq2_0(const void *block, float *d, float *dmin, int *scale, int *min)
{
	(void)min;
	super_ternary(half_at(block, 64), d, dmin, scale);
}

/* d (0.5 + s) / 4 is d / 8 (2s + 1), and both are exact in float; likewise for IQ3_XXS. */
void bt_gpu_super_iq2_xxs(const void *block, float *d, float *dmin, int *scale, int *min)
{
	const uint8_t *b = block;
	(void)min;
	for (int g = 0; g < 8; g++) scale[g] = (int)(bt_load_u32(b + 2 + 8 * g + 4) >> 28);
	twice(scale);
	*d = half_at(b, 0) * 0.125f;
	*dmin = 0;
}

void bt_gpu_super_iq2_xs(const void *block, float *d, float *dmin, int *scale, int *min)
{
	const uint8_t *b = block;
	(void)min;
	for (int g = 0; g < 16; g++) scale[g] = nibble(b + 66, g);
	*d = half_at(b, 0) * 0.125f;
	*dmin = 0;
}

void bt_gpu_super_iq2_s(const void *block, float *d, float *dmin, int *scale, int *min)
{
	const uint8_t *b = block;
	(void)min;
	for (int g = 0; g < 16; g++) scale[g] = nibble(b + 74, g);
	*d = half_at(b, 0) * 0.125f;
	*dmin = 0;
}

void bt_gpu_super_iq3_xxs(const void *block, float *d, float *dmin, int *scale, int *min)
{
	const uint8_t *b = block;
	(void)min;
	for (int g = 0; g < 8; g++) scale[g] = (int)(bt_load_u32(b + 66 + 4 * g) >> 28);
	twice(scale);
	*d = half_at(b, 0) * 0.25f;
	*dmin = 0;
}

void bt_gpu_super_iq3_s(const void *block, float *d, float *dmin, int *scale, int *min)
{
	const uint8_t *b = block;
	(void)min;
	for (int g = 0; g < 8; g++) scale[g] = nibble(b + 106, g);
	twice(scale);
	*d = half_at(b, 0);
	*dmin = 0;
}

static void numbers_iq2_xxs(const void *block, uint16_t *number)
{
	const uint8_t *b = block;
	for (int k = 0; k < 32; k++) number[k] = b[2 + k / 4 * 8 + k % 4];
}

static void numbers_iq2_xs(const void *block, uint16_t *number)
{
	const uint8_t *b = block;
	for (int k = 0; k < 32; k++) number[k] = (uint16_t)(bt_load_u16(b + 2 + 2 * k) & 511);
}

static void numbers_iq2_s(const void *block, uint16_t *number)
{
	const uint8_t *b = block;
	for (int k = 0; k < 32; k++) number[k] = (uint16_t)(b[2 + k] | (b[66 + k / 4] >> k % 4 * 2 & 3) << 8);
}

static void numbers_iq3_xxs(const void *block, uint16_t *number)
{
	const uint8_t *b = block;
	for (int k = 0; k < 64; k++) number[k] = b[2 + k];
}

static void numbers_iq3_s(const void *block, uint16_t *number)
{
	const uint8_t *b = block;
	for (int k = 0; k < 64; k++) number[k] = (uint16_t)(b[2 + k] | (b[66 + k / 8] >> k % 8 & 1) << 8);
}

#define ONE    0x3F800000u /* 1.0f */
#define EIGHTH 0x3E000000u /* 0.125f */

static const int8_t q2_k_levels[4] = {0, 1, 2, 3}, tq_levels[4] = {-1, 0, 1, 2};
/* 8 {-1, 0, 1} - 1 and + 1: which of both is the same for eight values. */
static const int8_t iq1_levels[6] = {-9, -1, 7, -7, 1, 9};

const struct bt_gpu_book bt_gpu_book_iq4 = {.head = 0, .width = 2, .level = bt_iq4_values, .sets = 1, .n = 16};
/* Scales are powers of two, of which a half has not enough. */
const struct bt_gpu_book bt_gpu_book_mxfp4 = {
	.head = 0xFFFFFFFFu, .width = 2, .level = bt_mxfp4_values, .sets = 1, .n = 16};
const struct bt_gpu_book bt_gpu_book_q2_k = {.head = ONE, .width = 4, .level = q2_k_levels, .sets = 1, .n = 4};
const struct bt_gpu_book bt_gpu_book_tq = {.head = ONE, .width = 4, .level = tq_levels, .sets = 1, .n = 4};
const struct bt_gpu_book bt_gpu_book_iq1 = {.head = EIGHTH, .width = 4, .level = iq1_levels, .sets = 2, .n = 3};
#define GRID(name, w, entries)                          \
	const struct bt_gpu_book bt_gpu_book_##name = { \
		.width = w,                             \
		.grid = bt_##name##_grid[0],            \
		.n_grid = entries,                      \
		.numbers = numbers_##name,              \
	}
GRID(iq2_xxs, 8, 256);
GRID(iq2_xs, 8, 512);
GRID(iq2_s, 8, 1024);
GRID(iq3_xxs, 4, 256);
GRID(iq3_s, 4, 512);

void bt_gpu_book_write(const struct bt_gpu_book *b, uint32_t entries, uint32_t *words)
{
	uint8_t *to = (uint8_t *)words + BT_GPU_BOOK_HEAD;
	memset(words, 0, BT_GPU_BOOK_HEAD + (size_t)entries * 4);
	words[0] = b->head;
	if (b->grid) {
		memcpy(to, b->grid, (size_t)b->n_grid * b->width);
		return;
	}
	uint32_t each = 1;
	for (int l = 0; l < b->width; l++) each *= b->n;
	for (uint32_t i = 0; i < b->sets * each; i++)
		for (uint32_t l = 0, left = i % each; l < b->width; l++, left /= b->n)
			to[i * 4 + l] = (uint8_t)b->level[i / each * b->n + left % b->n];
}

void bt_gpu_book_numbers(const struct bt_gpu_book *b, const int8_t *q, uint64_t n, uint8_t *number)
{
	uint8_t place[256] = {0};
	for (int i = 0; i < b->sets * b->n; i++) place[(uint8_t)b->level[i]] = (uint8_t)i;
	for (uint64_t i = 0; i < n / b->width; i++, q += b->width) {
		uint32_t at = place[(uint8_t)q[0]] / b->n;
		for (int l = b->width - 1; l >= 0; l--) at = at * b->n + place[(uint8_t)q[l]] % b->n;
		number[i] = (uint8_t)at;
	}
}
