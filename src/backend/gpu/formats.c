#include "backend/gpu/formats.h"
#include "backend/gpu/blocks.h"
#include "quant/types.h"

#include <string.h>

enum scales {
	SCALES_HALF,
	SCALES_HALF_MIN,
	SCALES_SUPER_MIN,
	SCALES_SUPER_16,
	SCALES_HALF_SUPER,
	SCALES_ODD,
	SCALES_ODD_16,
	SCALES_NIBBLES_MIN
};

/* Bits of a value, or how it is looked up: what 32 of them take, and the entries of a book, in words (kernels/weights.k). */
enum bits { BOOK_4 = 12, BOOK_2, GRID_3, GRID_2 };
static const struct bits_shape {
	uint8_t q, high;
	uint16_t book;
} bits_shapes[] = {
	[3] = {8, 4, 0},        [4] = {16, 0, 0},       [5] = {16, 4, 0},
	[6] = {16, 8, 0},       [8] = {32, 0, 0},       [BOOK_4] = {16, 0, 256},
	[BOOK_2] = {8, 0, 256}, [GRID_3] = {8, 4, 512}, [GRID_2] = {8, 0, 2048},
};

/* kernels/formats.inc */
static const struct shape {
	uint8_t bits;
	enum scales scales;
	int8_t offset;
} shapes[] = {
#define FORMAT(name, bits, scales, offset) [BT_GPU_F_##name] = {bits, scales, offset},
#include "backend/gpu/kernels/formats.inc"
#undef FORMAT
};

/* Which type takes which format; super and book where the format has scales of scales and a book (blocks.h). */
static const struct row {
	bool set;
	enum bt_gpu_format format;
	bt_gpu_super_fn super;
	const struct bt_gpu_book *book;
} rows[BT_TYPE_COUNT] = {
	[BT_TYPE_F32] = {true, BT_GPU_F_f32, NULL, NULL},
	[BT_TYPE_F16] = {true, BT_GPU_F_f16, NULL, NULL},
	[BT_TYPE_BF16] = {true, BT_GPU_F_bf16, NULL, NULL},
	[BT_TYPE_Q4_0] = {true, BT_GPU_F_i4_half, NULL, NULL},
	[BT_TYPE_Q4_1] = {true, BT_GPU_F_i4_half_min, NULL, NULL},
	[BT_TYPE_Q5_0] = {true, BT_GPU_F_i5_half, NULL, NULL},
	[BT_TYPE_Q5_1] = {true, BT_GPU_F_i5_half_min, NULL, NULL},
	[BT_TYPE_Q8_0] = {true, BT_GPU_F_i8_half, NULL, NULL},
	[BT_TYPE_Q2_K] = {true, BT_GPU_F_i2_book, bt_gpu_super_q2_k, &bt_gpu_book_q2_k},
	[BT_TYPE_Q3_K] = {true, BT_GPU_F_i3_super_16, bt_gpu_super_q3_k, NULL},
	[BT_TYPE_Q4_K] = {true, BT_GPU_F_i4_super_min, bt_gpu_super_q4_k, NULL},
	[BT_TYPE_Q5_K] = {true, BT_GPU_F_i5_super_min, bt_gpu_super_q4_k, NULL},
	[BT_TYPE_Q6_K] = {true, BT_GPU_F_i6_super_16, bt_gpu_super_q6_k, NULL},
	[BT_TYPE_IQ1_S] = {true, BT_GPU_F_i2_book, bt_gpu_super_iq1_s, &bt_gpu_book_iq1},
	[BT_TYPE_IQ1_M] = {true, BT_GPU_F_i2_book, bt_gpu_super_iq1_m, &bt_gpu_book_iq1},
	[BT_TYPE_IQ2_XXS] = {true, BT_GPU_F_i2_grid, bt_gpu_super_iq2_xxs, &bt_gpu_book_iq2_xxs},
	[BT_TYPE_IQ2_XS] = {true, BT_GPU_F_i2_grid, bt_gpu_super_iq2_xs, &bt_gpu_book_iq2_xs},
	[BT_TYPE_IQ2_S] = {true, BT_GPU_F_i2_grid, bt_gpu_super_iq2_s, &bt_gpu_book_iq2_s},
	[BT_TYPE_IQ3_XXS] = {true, BT_GPU_F_i3_grid, bt_gpu_super_iq3_xxs, &bt_gpu_book_iq3_xxs},
	[BT_TYPE_IQ3_S] = {true, BT_GPU_F_i3_grid, bt_gpu_super_iq3_s, &bt_gpu_book_iq3_s},
	[BT_TYPE_IQ4_NL] = {true, BT_GPU_F_i4_book, NULL, &bt_gpu_book_iq4},
	[BT_TYPE_IQ4_XS] = {true, BT_GPU_F_i4_book, bt_gpu_super_iq4_xs, &bt_gpu_book_iq4},
	[BT_TYPE_MXFP4] = {true, BT_GPU_F_i4_book, NULL, &bt_gpu_book_mxfp4},
	[BT_TYPE_TQ1_0] = {true, BT_GPU_F_i2_book, bt_gpu_super_tq1_0, &bt_gpu_book_tq},
	[BT_TYPE_TQ2_0] = {true, BT_GPU_F_i2_book, bt_gpu_super_tq2_0, &bt_gpu_book_tq},
};

enum bt_gpu_format bt_gpu_format_of(const struct bt_type *type, bool exact)
{
	return exact || !rows[type->id].set ? BT_GPU_F_f32 : rows[type->id].format;
}

bool bt_gpu_format_is_float(enum bt_gpu_format f)
{
	return f >= BT_GPU_F_f32;
}

struct bt_gpu_row_bytes bt_gpu_row_bytes(enum bt_gpu_format f, uint64_t k)
{
	uint32_t n = (uint32_t)((k + 31) / 32);
	struct bt_gpu_row_bytes b = {{0}};
	if (bt_gpu_format_is_float(f)) {
		b.plane[BT_GPU_PLANE_Q] = n * (f == BT_GPU_F_f32 ? 128 : 64);
		return b;
	}
	const struct shape *s = &shapes[f];
	b.plane[BT_GPU_PLANE_Q] = n * bits_shapes[s->bits].q;
	b.plane[BT_GPU_PLANE_HIGH] = n * bits_shapes[s->bits].high;
	b.plane[BT_GPU_PLANE_SCALE] = s->scales == SCALES_HALF_MIN ? n * 4 : (n + 1) / 2 * 4;
	if (s->scales != SCALES_HALF && s->scales != SCALES_HALF_MIN) b.plane[BT_GPU_PLANE_SUPER] = (n + 7) / 8 * 4;
	return b;
}

uint32_t bt_gpu_book_bytes(enum bt_gpu_format f)
{
	uint32_t words = bt_gpu_format_is_float(f) ? 0 : bits_shapes[shapes[f].bits].book;
	return words ? BT_GPU_BOOK_HEAD + words * 4 : 0;
}

void bt_gpu_pack_book(const struct bt_type *type, uint32_t *words)
{
	uint32_t bytes = bt_gpu_book_bytes(rows[type->id].format);
	bt_gpu_book_write(rows[type->id].book, (bytes - BT_GPU_BOOK_HEAD) / 4, words);
}

bool bt_gpu_same_book(const struct bt_type *a, const struct bt_type *b)
{
	return rows[a->id].book == rows[b->id].book;
}

uint64_t bt_gpu_plane_offsets(enum bt_gpu_format f, uint64_t k, uint64_t n_rows, uint64_t offset[BT_GPU_PLANES])
{
	struct bt_gpu_row_bytes b = bt_gpu_row_bytes(f, k);
	uint64_t at = 0;
	for (int p = 0; p < BT_GPU_PLANES; p++) {
		offset[p] = at;
		at += b.plane[p] * n_rows;
		if (p == BT_GPU_PLANE_SUPER) at += bt_gpu_book_bytes(f);
		at = (at + 255) & ~(uint64_t)255;
	}
	return at;
}

uint64_t bt_gpu_part_rows(enum bt_gpu_format f, const struct bt_tensor *t, uint64_t most)
{
	struct bt_gpu_row_bytes b = bt_gpu_row_bytes(f, t->dim[0]);
	uint64_t offset[BT_GPU_PLANES], row = 0, rest = bt_gpu_book_bytes(f) + 256 * BT_GPU_PLANES;
	if (bt_gpu_plane_offsets(f, t->dim[0], t->n_rows, offset) <= most) return t->n_rows;
	for (int p = 0; p < BT_GPU_PLANES; p++) row += b.plane[p];
	uint64_t fit = most > rest ? (most - rest) / row : 0, unit = fit < 128 ? 32 : 128; /* 128: the rows of a tile */
	if (t->n_rows > t->dim[1]) unit = t->dim[1];
	fit = fit / unit * unit;
	if (!fit) return 0;
	/* No more parts than that makes, and all of about the same size. */
	uint64_t parts = (t->n_rows + fit - 1) / fit, each = (t->n_rows + parts - 1) / parts;
	return (each + unit - 1) / unit * unit;
}

/* Bit `bit` of the values of a block, in the order that weights.k has for single bits. */
static uint32_t bits_of(const int8_t *q, int offset, uint32_t bit)
{
	uint32_t out = 0;
	for (uint32_t i = 0; i < 32; i++) out |= ((uint32_t)(q[i] + offset) >> bit & 1) << (i % 4 * 8 + i / 4);
	return out;
}

/* Two bits, from `bit` on, of 16 values. */
static uint32_t twos_of(const int8_t *q, int offset, uint32_t bit)
{
	uint32_t out = 0;
	for (uint32_t i = 0; i < 16; i++) out |= ((uint32_t)(q[i] + offset) >> bit & 3) << (i % 4 * 8 + i / 4 * 2);
	return out;
}

/* Values of block b as the bits that weights.k describes. */
static void pack_quants(const struct shape *s, const int8_t *q, uint32_t b, void *const dst[BT_GPU_PLANES])
{
	uint32_t n = bits_shapes[s->bits].q, n_high = bits_shapes[s->bits].high, high[2] = {0, 0};
	uint8_t *low = (uint8_t *)dst[BT_GPU_PLANE_Q] + (size_t)b * n;
	switch (s->bits) {
	case 8: memcpy(low, q, 32); break;
	case 3:
		memcpy(low, (uint32_t[2]){twos_of(q, s->offset, 0), twos_of(q + 16, s->offset, 0)}, 8);
		high[0] = bits_of(q, s->offset, 2);
		break;
	default:
		for (uint32_t i = 0; i < 16; i++)
			low[i] = (uint8_t)(((q[i] + s->offset) & 15) | (q[i + 16] + s->offset) << 4);
	}
	for (uint32_t i = 0; s->bits == 5 && i < 32; i++) high[0] |= ((uint32_t)(q[i] + s->offset) >> 4 & 1) << i;
	for (uint32_t i = 0; s->bits == 6 && i < 2; i++) high[i] = twos_of(q + 16 * i, s->offset, 4);
	if (n_high) memcpy((uint8_t *)dst[BT_GPU_PLANE_HIGH] + (size_t)b * n_high, high, n_high);
}

/* The numbers of 256 values in a grid, from block `src` of the file, and their signs. */
static void pack_grid(const struct shape *s, const struct bt_gpu_book *book, const void *src, const int8_t *q,
                      uint64_t block, void *const dst[BT_GPU_PLANES])
{
	uint16_t number[BT_K / 4];
	uint32_t per = 32u / book->width, bits = 8 / per; /* numbers of 32 values, and their bits above the eighth */
	book->numbers(src, number);
	for (uint32_t b = 0; b < 8; b++) {
		uint64_t at = block * 8 + b;
		uint8_t *low = (uint8_t *)dst[BT_GPU_PLANE_Q] + at * 8,
			*high = (uint8_t *)dst[BT_GPU_PLANE_SCALE] + at * 2 + 1;
		uint32_t signs = bits_of(q + b * 32, 0, 31), above = 0;
		for (uint32_t i = 0; i < per; i++) {
			low[i] = (uint8_t)number[b * per + i];
			above |= (uint32_t)number[b * per + i] >> 8 << i * bits;
		}
		*high = (uint8_t)above;
		memcpy(s->bits == GRID_2 ? low + 4 : (uint8_t *)dst[BT_GPU_PLANE_HIGH] + at * 4, &signs, 4);
	}
}

static void put_half(void *plane, uint32_t i, float v)
{
	uint16_t h = bt_f32_to_f16(v);
	memcpy((uint8_t *)plane + (size_t)i * 2, &h, 2);
}

/* Scales that stand alone. */
static void pack_scales(const struct row *row, const struct shape *s, const struct bt_type *type,
                        const struct bt_gpu_packer *w, uint32_t b, void *const dst[BT_GPU_PLANES])
{
	void *plane = dst[BT_GPU_PLANE_SCALE];
	float scale = w->scale[b * (32 / type->group)], one = 1;
	if (s->scales == SCALES_HALF_MIN) {
		put_half(plane, 2 * b, scale);
		put_half(plane, 2 * b + 1, w->min[b]);
		return;
	}
	put_half(plane, b, scale);
	if (s->scales != SCALES_HALF_SUPER) return;
	memcpy((uint8_t *)dst[BT_GPU_PLANE_SUPER] + b / 8 * 4, &one, sizeof one);
	if (row->book && row->book->head) memcpy((uint8_t *)plane + (size_t)b * 2, (const uint8_t *)&scale + 2, 2);
}

/* The scales of block i of 256 values, of which grids leave every second byte alone. */
static void pack_super(const struct row *row, const struct shape *s, const void *src, uint64_t i,
                       void *const dst[BT_GPU_PLANES])
{
	float d, dmin;
	int scale[16], min[16] = {0};
	row->super(src, &d, &dmin, scale, min);
	uint8_t *bytes = (uint8_t *)dst[BT_GPU_PLANE_SCALE] + i * 16,
		*super = (uint8_t *)dst[BT_GPU_PLANE_SUPER] + i * 4;
	memcpy(super, &d, sizeof d);
	if (s->scales == SCALES_SUPER_MIN || s->scales == SCALES_NIBBLES_MIN) {
		put_half(super, 0, d);
		put_half(super, 1, dmin);
	}
	for (uint32_t g = 0; g < 8; g++) {
		const int *sc = scale + 2 * g, *m = min + 2 * g;
		uint8_t *to = bytes + 2 * g;
		switch (s->scales) {
		case SCALES_SUPER_MIN:
			to[0] = (uint8_t)scale[g];
			to[1] = (uint8_t)min[g];
			break;
		case SCALES_HALF_SUPER: put_half(bytes, g, (float)scale[g]); break;
		case SCALES_ODD:
		case SCALES_ODD_16: to[0] = (uint8_t)(sc[0] | sc[1] << 4); break;
		case SCALES_NIBBLES_MIN:
			to[0] = (uint8_t)(sc[0] | m[0] << 4);
			to[1] = (uint8_t)(sc[1] | m[1] << 4);
			break;
		default: to[0] = (uint8_t)sc[0], to[1] = (uint8_t)sc[1];
		}
	}
}

static void pack_floats(enum bt_gpu_format f, const struct bt_type *type, const void *src, uint64_t k,
                        const struct bt_gpu_packer *w, void *dst)
{
	uint64_t bytes = k * (f == BT_GPU_F_f32 ? 4 : 2), all = bt_gpu_row_bytes(f, k).plane[BT_GPU_PLANE_Q];
	if (f == BT_GPU_F_f32 && type->id != BT_TYPE_F32) {
		type->unpack(src, w->f32, k);
		src = w->f32;
	}
	memcpy(dst, src, bytes);
	memset((char *)dst + bytes, 0, all - bytes);
}

void bt_gpu_pack_row(enum bt_gpu_format f, const struct bt_type *type, const void *src, uint64_t k,
                     const struct bt_gpu_packer *w, void *const dst[BT_GPU_PLANES])
{
	if (bt_gpu_format_is_float(f)) {
		pack_floats(f, type, src, k, w, dst[BT_GPU_PLANE_Q]);
		return;
	}
	const struct shape *s = &shapes[f];
	const struct row *row = &rows[type->id];
	bool grid = row->book && row->book->grid;
	type->unpack_i8(src, w->q, w->scale, type->has_min ? w->min : NULL, k);
	for (uint64_t i = 0; row->super && i < k / BT_K; i++) {
		const void *block = (const uint8_t *)src + i * type->bytes;
		pack_super(row, s, block, i, dst);
		if (grid) pack_grid(s, row->book, block, w->q + i * BT_K, i, dst);
	}
	for (uint32_t b = 0; b < k / 32; b++) {
		if (!row->book) pack_quants(s, w->q + (size_t)b * 32, b, dst);
		if (!row->super) pack_scales(row, s, type, w, b, dst);
	}
	if (row->book && !grid) bt_gpu_book_numbers(row->book, w->q, k, dst[BT_GPU_PLANE_Q]);
}
