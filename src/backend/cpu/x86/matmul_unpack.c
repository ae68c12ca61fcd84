/* matmul_unpack.c: where weights are unpacked: panels for many tokens, and the products with a single token. */
#include "backend/cpu/x86/matmul_int.h"
#include "backend/cpu/x86/unpack.h"

/* Unpack any type's 8 blocks through its reference. n: blocks that are there, the rest becomes 0. */
static void unpack_any(const struct bt_type *type, const struct int_class *c, const uint8_t *p0, const uint8_t *p1,
                       size_t n, struct eight *e)
{
	int8_t q[ROWS][256];
	float scale[ROWS][16], min[ROWS][16], s[2][16], m[2][16];
	memset(q, 0, sizeof q);
	memset(scale, 0, sizeof scale);
	memset(min, 0, sizeof min);
	for (int r = 0; r < ROWS; r++)
		type->unpack_i8(r ? p1 : p0, q[r], scale[r], type->has_min ? min[r] : NULL, n * 32);
	int groups = type->group == 16 ? 2 : 1;
	for (int i = 0; i < 8 * ROWS; i++)
		for (int g = 0; g < groups; g++) {
			s[g][i] = scale[i / 8][i % 8 * groups + g];
			m[g][i] = min[i / 8][i % 8 * groups + g];
		}
	vi offset = bytes(c->has_offset ? 1 << c->shift : 0);
	for (int b = 0; b < 8; b++)
		e->q[b] = VI(add_epi8)(load32((uint8_t *)q[0] + 32 * b, (uint8_t *)q[ROWS - 1] + 32 * b), offset);
	for (int g = 0; g < groups; g++) {
		e->scale[g] = VF(loadu_ps)(s[g]);
		e->min[g] = VF(loadu_ps)(m[g]);
	}
}

/* ---- panels ---- */

INLINE void store_panel(const struct eight e[8], bool two, bool has_min, size_t group, size_t n_blocks,
                        const size_t start[8], uint8_t *panel)
{
	const size_t groups = two ? 2 : 1, record = (size_t)PANEL * (32 + 4 * groups * (has_min ? 2 : 1));
	vi in[8], out[8];
	uint8_t *at[8];
	size_t n = n_blocks - 8 * group < 8 ? n_blocks - 8 * group : 8;
	for (size_t b = 0; b < n; b++) {
		at[b] = panel + (start[b] + group) * record;
		UNROLL for (int i = 0; i < 8; i++) in[i] = e[i].q[b];
		transpose(in, out);
		UNROLL for (int i = 0; i < 8; i++) VI_STORE(at[b] + 4 * PANEL * i, out[i]);
	}
	for (size_t f = 0; f < groups * (has_min ? 2 : 1); f++) {
		UNROLL for (int i = 0; i < 8; i++) in[i] = VF_BITS(f < groups ? e[i].scale[f] : e[i].min[f - groups]);
		transpose(in, out);
		for (size_t b = 0; b < n; b++) VI_STORE(at[b] + 4 * PANEL * (8 + f), out[b]);
	}
}

/* A type's block of 8, also the last one of fewer than 8 blocks. */
typedef void (*unpack_fn)(const uint8_t *p0, const uint8_t *p1, struct eight *e);

INLINE void make_panel(unpack_fn unpack, size_t eight_bytes, size_t bytes32, bool two, bool has_min, const uint8_t *w,
                       size_t row_bytes, size_t n_rows, size_t n_blocks, uint8_t *panel)
{
	size_t start[8];
	struct eight e[8];
	lane_starts(n_blocks, start);
	for (size_t g = 0; g * 8 < n_blocks; g++) {
		for (int i = 0; i < 8; i++) {
			size_t r0 = (size_t)panel_row(i, 0), r1 = (size_t)panel_row(i, 1);
			const uint8_t *p0 = w + (r0 < n_rows ? r0 : n_rows - 1) * row_bytes + g * eight_bytes;
			const uint8_t *p1 = w + (r1 < n_rows ? r1 : n_rows - 1) * row_bytes + g * eight_bytes;
			uint8_t tail[2][272];
			if (bytes32 && n_blocks - 8 * g < 8) {
				memset(tail, 0, sizeof tail);
				memcpy(tail[0], p0, (n_blocks - 8 * g) * bytes32);
				memcpy(tail[1], p1, (n_blocks - 8 * g) * bytes32);
				p0 = tail[0];
				p1 = tail[1];
			}
			unpack(p0, p1, &e[i]);
		}
		store_panel(e, two, has_min, g, n_blocks, start, panel);
	}
}

static void panel_any(const struct bt_type *type, const uint8_t *w, size_t row_bytes, size_t n_rows, size_t n_blocks,
                      uint8_t *panel)
{
	size_t start[8];
	struct eight e[8];
	struct int_class c = LEVEL_NAME(int_class)(type);
	lane_starts(n_blocks, start);
	for (size_t g = 0; g * 8 < n_blocks; g++) {
		size_t n = n_blocks - 8 * g < 8 ? n_blocks - 8 * g : 8, at = bt_type_row_bytes(type, 256 * g);
		for (int i = 0; i < 8; i++) {
			size_t r0 = (size_t)panel_row(i, 0), r1 = (size_t)panel_row(i, 1);
			const uint8_t *p0 = w + (r0 < n_rows ? r0 : n_rows - 1) * row_bytes + at;
			const uint8_t *p1 = w + (r1 < n_rows ? r1 : n_rows - 1) * row_bytes + at;
			unpack_any(type, &c, p0, p1, n, &e[i]);
		}
		store_panel(e, type->group == 16, type->has_min, g, n_blocks, start, panel);
	}
}

/* ---- one token ---- */

/* What a dot product of 8 blocks needs to know of the type. */
struct vector_kind {
	bool two, has_min, is_signed, has_offset;
};

/* acc += 8 blocks of each row; see kernels.h for the order. */
INLINE vf vector_step(const struct eight *e, struct vector_kind k, const struct vector_x *x, size_t group, vf acc)
{
	vi d[8], low, high;
	UNROLL for (int b = 0; b < 8; b++)
	{
		vi xb = load32_all(x->q + 256 * group + 32 * b);
		d[b] = k.is_signed ? dot_signed(e->q[b], xb) : dot_unsigned(e->q[b], xb);
	}
	reduce_blocks(d, &low, &high);
	vf t;
	if (k.two) {
		if (k.has_offset) {
			low = VI(sub_epi32)(low, load8_all_i32(x->off[0] + 8 * group));
			high = VI(sub_epi32)(high, load8_all_i32(x->off[1] + 8 * group));
		}
		t = VF(mul_ps)(e->scale[0], VF(cvtepi32_ps)(low));
		t = VF(fmadd_ps)(e->scale[1], VF(cvtepi32_ps)(high), t);
	} else {
		low = VI(add_epi32)(low, high);
		if (k.has_offset) low = VI(sub_epi32)(low, load8_all_i32(x->off[0] + 8 * group));
		t = VF(mul_ps)(e->scale[0], VF(cvtepi32_ps)(low));
	}
	if (k.has_min) t = VF(fmadd_ps)(e->min[0], load8_all(x->sum[0] + 8 * group), t);
	if (k.has_min && k.two) t = VF(fmadd_ps)(e->min[1], load8_all(x->sum[1] + 8 * group), t);
	return VF(fmadd_ps)(load8_all(x->d + 8 * group), t, acc);
}

INLINE void store_rows(vf acc, float *y, size_t n)
{
#if defined __AVX512F__
	y[0] = tree8(_mm512_castps512_ps256(acc));
	if (n > 1) y[1] = tree8(_mm512_extractf32x8_ps(acc, 1));
#else
	(void)n;
	y[0] = tree8(acc);
#endif
}

/* Rows are read in order, but from memory that no prefetcher foresees across pages: ask for it ahead. */
enum { AHEAD = 2048 };

INLINE void prefetch(const uint8_t *p, size_t bytes)
{
	for (size_t i = 0; i < bytes; i += 64) _mm_prefetch((const char *)p + i + AHEAD, _MM_HINT_T0);
}

INLINE void vector_rows(unpack_fn unpack, size_t eight_bytes, size_t bytes32, struct vector_kind k, const uint8_t *w,
                        size_t row_bytes, size_t n_rows, size_t n_blocks, const struct vector_x *x, float *y)
{
	size_t whole = n_blocks / 8, rest = n_blocks % 8;
	for (size_t r = 0; r < n_rows; r += ROWS) {
		const uint8_t *p0 = w + r * row_bytes, *p1 = r + 1 < n_rows ? p0 + row_bytes : p0;
		vf acc = VF(setzero_ps)();
		struct eight e;
		for (size_t g = 0; g < whole; g++) {
			prefetch(p0 + g * eight_bytes * ROWS, eight_bytes * ROWS);
			unpack(p0 + g * eight_bytes, p1 + g * eight_bytes, &e);
			acc = vector_step(&e, k, x, g, acc);
		}
		if (bytes32 && rest) {
			uint8_t tail[2][272] = {{0}};
			memcpy(tail[0], p0 + whole * eight_bytes, rest * bytes32);
			memcpy(tail[1], p1 + whole * eight_bytes, rest * bytes32);
			unpack(tail[0], tail[1], &e);
			acc = vector_step(&e, k, x, whole, acc);
		}
		store_rows(acc, y + r, n_rows - r);
	}
}

static void vector_any(const struct bt_type *type, const uint8_t *w, size_t row_bytes, size_t n_rows, size_t n_blocks,
                       const struct vector_x *x, float *y)
{
	struct int_class c = LEVEL_NAME(int_class)(type);
	struct vector_kind k = {c.groups == 2, c.has_min, c.steps == 0, c.has_offset};
	for (size_t r = 0; r < n_rows; r += ROWS) {
		const uint8_t *p0 = w + r * row_bytes, *p1 = r + 1 < n_rows ? p0 + row_bytes : p0;
		vf acc = VF(setzero_ps)();
		for (size_t g = 0; g * 8 < n_blocks; g++) {
			struct eight e;
			size_t at = bt_type_row_bytes(type, 256 * g), n = n_blocks - 8 * g < 8 ? n_blocks - 8 * g : 8;
			unpack_any(type, &c, p0 + at, p1 + at, n, &e);
			acc = vector_step(&e, k, x, g, acc);
		}
		store_rows(acc, y + r, n_rows - r);
	}
}

/* ---- the types that have vector code ---- */

/* name, bytes of 8 blocks of 32, bytes of one where rows may end within the 8 (else 0), two groups a block, minima,
 * more than 128 steps, offset */
#define TYPES(X)                                          \
	X(Q4_0, q4_0, 144, 18, 0, 0, 0, 1)                \
	X(Q4_1, q4_1, 160, 20, 0, 1, 0, 0)                \
	X(Q5_0, q5_0, 176, 22, 0, 0, 0, 1)                \
	X(Q5_1, q5_1, 192, 24, 0, 1, 0, 0)                \
	X(Q8_0, q8_0, 272, 34, 0, 0, LARGE_SIGNED, 1)     \
	X(Q2_K, q2_k, 84, 0, 1, 1, 0, 0)                  \
	X(Q3_K, q3_k, 110, 0, 1, 0, 0, 1)                 \
	X(Q4_K, q4_k, 144, 0, 0, 1, 0, 0)                 \
	X(Q5_K, q5_k, 176, 0, 0, 1, 0, 0)                 \
	X(Q6_K, q6_k, 210, 0, 1, 0, 0, 1)                 \
	X(IQ4_NL, iq4_nl, 144, 18, 0, 0, LARGE_SIGNED, 1) \
	X(IQ4_XS, iq4_xs, 136, 0, 0, 0, LARGE_SIGNED, 1)

#define DEFINE(NAME, name, eight_bytes, bytes32, two, has_min, is_signed, has_offset)                                 \
	static void panel_##name(const struct bt_type *type, const uint8_t *w, size_t row_bytes, size_t n_rows,       \
	                         size_t n_blocks, uint8_t *panel)                                                     \
	{                                                                                                             \
		(void)type;                                                                                           \
		make_panel(unpack_##name, eight_bytes, bytes32, two, has_min, w, row_bytes, n_rows, n_blocks, panel); \
	}                                                                                                             \
	static void vector_##name(const struct bt_type *type, const uint8_t *w, size_t row_bytes, size_t n_rows,      \
	                          size_t n_blocks, const struct vector_x *x, float *y)                                \
	{                                                                                                             \
		const struct vector_kind k = {two, has_min, is_signed, (has_offset) && !(is_signed)};                 \
		(void)type;                                                                                           \
		vector_rows(unpack_##name, eight_bytes, bytes32, k, w, row_bytes, n_rows, n_blocks, x, y);            \
	}
TYPES(DEFINE)

const struct int_type *LEVEL_NAME(int_type)(const struct bt_type *type)
{
#define ROW(NAME, name, ...) [BT_TYPE_##NAME] = {panel_##name, vector_##name},
	static const struct int_type table[BT_TYPE_COUNT] = {TYPES(ROW)};
	static const struct int_type any = {panel_any, vector_any};
	return table[type->id].panel ? &table[type->id] : &any;
}
