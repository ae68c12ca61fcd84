#include "backend/gpu/formats.h"
#include "quant/k_scales.h"
#include "quant/types.h"

#include <string.h>

enum scales { SCALES_HALF, SCALES_HALF_MIN, SCALES_SUPER_MIN, SCALES_SUPER_16, SCALES_FLOAT, SCALES_FLOAT_32 };

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

/* A block's scale of scales, its 8 (or 16) scales and minima. */
typedef void (*super_fn)(const void *block, float *d, float *dmin, int *scale, int *min);

struct half_head {
	uint16_t d, dmin;
	uint8_t scales[12];
} BT_BLOCK;

static void super_q4_k(const void *block, float *d, float *dmin, int *scale, int *min)
{
	const struct half_head *b = block;
	*d = bt_f16_to_f32(b->d);
	*dmin = bt_f16_to_f32(b->dmin);
	for (int g = 0; g < 8; g++) bt_k_scale_min(b->scales, g, &scale[g], &min[g]);
}

static void super_q6_k(const void *block, float *d, float *dmin, int *scale, int *min)
{
	const uint8_t *b = block;
	(void)min;
	for (int g = 0; g < 16; g++) scale[g] = (int8_t)b[192 + g];
	*d = bt_f16_to_f32((uint16_t)bt_load_u16(b + 208));
	*dmin = 0;
}

static void super_q3_k(const void *block, float *d, float *dmin, int *scale, int *min)
{
	const uint8_t *b = block, *s = b + 96;
	(void)min;
	for (int g = 0; g < 16; g++)
		scale[g] = ((s[g % 8] >> g / 8 * 4 & 15) | (s[8 + g % 4] >> g / 4 * 2 & 3) << 4) - 32;
	*d = bt_f16_to_f32((uint16_t)bt_load_u16(b + 108));
	*dmin = 0;
}

/* Which type takes which format; the rest takes i8_float or, with a scale per 32 values, i8_float_32. */
static const struct row {
	bool set;
	enum bt_gpu_format format;
	super_fn super;
} rows[BT_TYPE_COUNT] = {
	[BT_TYPE_F32] = {true, BT_GPU_F_f32, NULL},
	[BT_TYPE_F16] = {true, BT_GPU_F_f16, NULL},
	[BT_TYPE_BF16] = {true, BT_GPU_F_bf16, NULL},
	[BT_TYPE_Q4_0] = {true, BT_GPU_F_i4_half, NULL},
	[BT_TYPE_Q4_1] = {true, BT_GPU_F_i4_half_min, NULL},
	[BT_TYPE_Q5_0] = {true, BT_GPU_F_i5_half, NULL},
	[BT_TYPE_Q5_1] = {true, BT_GPU_F_i5_half_min, NULL},
	[BT_TYPE_Q8_0] = {true, BT_GPU_F_i8_half, NULL},
	[BT_TYPE_Q3_K] = {true, BT_GPU_F_i4_super_16, super_q3_k},
	[BT_TYPE_Q4_K] = {true, BT_GPU_F_i4_super_min, super_q4_k},
	[BT_TYPE_Q5_K] = {true, BT_GPU_F_i5_super_min, super_q4_k},
	[BT_TYPE_Q6_K] = {true, BT_GPU_F_i6_super_16, super_q6_k},
	[BT_TYPE_IQ4_NL] = {true, BT_GPU_F_i8_half, NULL},
	[BT_TYPE_TQ1_0] = {true, BT_GPU_F_i8_half, NULL},
	[BT_TYPE_TQ2_0] = {true, BT_GPU_F_i8_half, NULL},
};

enum bt_gpu_format bt_gpu_format_of(const struct bt_type *type, bool exact)
{
	if (exact) return BT_GPU_F_f32;
	if (rows[type->id].set) return rows[type->id].format;
	return type->group == 32 ? BT_GPU_F_i8_float_32 : BT_GPU_F_i8_float;
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
	b.plane[BT_GPU_PLANE_Q] = n * (s->bits == 8 ? 32 : 16);
	b.plane[BT_GPU_PLANE_HIGH] = s->bits == 8 ? 0 : n * 4u * (s->bits - 4u);
	switch (s->scales) {
	case SCALES_HALF: b.plane[BT_GPU_PLANE_SCALE] = (n + 1) / 2 * 4; break;
	case SCALES_HALF_MIN: b.plane[BT_GPU_PLANE_SCALE] = n * 4; break;
	case SCALES_FLOAT: b.plane[BT_GPU_PLANE_SCALE] = n * 16; break;
	case SCALES_FLOAT_32: b.plane[BT_GPU_PLANE_SCALE] = n * 8; break;
	case SCALES_SUPER_MIN:
	case SCALES_SUPER_16:
		b.plane[BT_GPU_PLANE_SCALE] = n * 2;
		b.plane[BT_GPU_PLANE_SUPER] = n / 8 * 4;
		break;
	}
	return b;
}

uint64_t bt_gpu_plane_offsets(enum bt_gpu_format f, uint64_t k, uint64_t n_rows, uint64_t offset[BT_GPU_PLANES])
{
	struct bt_gpu_row_bytes b = bt_gpu_row_bytes(f, k);
	uint64_t at = 0;
	for (int p = 0; p < BT_GPU_PLANES; p++) {
		offset[p] = at;
		at += (b.plane[p] * n_rows + 255) & ~(uint64_t)255;
	}
	return at;
}

/* Values of block b as the bits that weights.k describes. */
static void pack_quants(const struct shape *s, const int8_t *q, uint32_t b, void *const dst[BT_GPU_PLANES])
{
	uint8_t *low = (uint8_t *)dst[BT_GPU_PLANE_Q] + (size_t)b * (s->bits == 8 ? 32 : 16);
	if (s->bits == 8) {
		memcpy(low, q, 32);
		return;
	}
	uint32_t high[2] = {0, 0};
	for (uint32_t i = 0; i < 32; i++) {
		uint32_t v = (uint32_t)(q[i] + s->offset);
		if (i < 16) low[i] = (uint8_t)(v & 15);
		else low[i - 16] |= (uint8_t)(v << 4);
		if (s->bits == 5) high[0] |= (v >> 4 & 1) << i;
		if (s->bits == 6) high[i / 16] |= (v >> 4 & 3) << (i % 4 * 8 + i / 4 % 4 * 2);
	}
	uint32_t n = s->bits - 4u;
	if (n) memcpy((uint8_t *)dst[BT_GPU_PLANE_HIGH] + (size_t)b * 4 * n, high, (size_t)4 * n);
}

static void put_half(void *plane, uint32_t i, float v)
{
	uint16_t h = bt_f32_to_f16(v);
	memcpy((uint8_t *)plane + (size_t)i * 2, &h, 2);
}

static void pack_scales(enum scales kind, const struct bt_type *type, const struct bt_gpu_packer *w, uint32_t b,
                        void *plane)
{
	uint32_t per = 32 / type->group;
	if (kind == SCALES_HALF) {
		put_half(plane, b, w->scale[b * per]);
	} else if (kind == SCALES_HALF_MIN) {
		put_half(plane, 2 * b, w->scale[b]);
		put_half(plane, 2 * b + 1, w->min[b]);
	} else if (kind == SCALES_FLOAT_32) {
		float v[2] = {w->scale[b], type->has_min ? w->min[b] : 0.0f};
		memcpy((uint8_t *)plane + (size_t)b * 8, v, sizeof v);
	} else {
		float v[4];
		for (uint32_t i = 0; i < 2; i++) {
			v[i] = w->scale[b * per + i % per];
			v[2 + i] = type->has_min ? w->min[b * per + i % per] : 0.0f;
		}
		memcpy((uint8_t *)plane + (size_t)b * 16, v, sizeof v);
	}
}

static void pack_super(const struct row *row, const struct shape *s, const struct bt_type *type, const void *src,
                       uint64_t k, void *const dst[BT_GPU_PLANES])
{
	for (uint64_t i = 0; i < k / BT_K; i++) {
		float d, dmin;
		int scale[16], min[16] = {0};
		row->super((const uint8_t *)src + i * type->bytes, &d, &dmin, scale, min);
		uint8_t *bytes = (uint8_t *)dst[BT_GPU_PLANE_SCALE] + i * 16,
			*super = (uint8_t *)dst[BT_GPU_PLANE_SUPER] + i * 4;
		for (int g = 0; g < 8; g++) {
			bool halves = s->scales == SCALES_SUPER_16;
			bytes[2 * g] = (uint8_t)scale[halves ? 2 * g : g];
			bytes[2 * g + 1] = (uint8_t)(halves ? scale[2 * g + 1] : min[g]);
		}
		if (s->scales == SCALES_SUPER_MIN) {
			put_half(super, 0, d);
			put_half(super, 1, dmin);
		} else {
			memcpy(super, &d, sizeof d);
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
	type->unpack_i8(src, w->q, w->scale, type->has_min ? w->min : NULL, k);
	for (uint32_t b = 0; b < k / 32; b++) {
		pack_quants(s, w->q + (size_t)b * 32, b, dst);
		if (!row->super) pack_scales(s->scales, type, w, b, dst[BT_GPU_PLANE_SCALE]);
	}
	if (row->super) pack_super(row, s, type, src, k, dst);
}
