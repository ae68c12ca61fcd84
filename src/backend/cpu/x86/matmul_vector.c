/* matmul_vector.c: products with a single token, straight from the rows.
 *
 * A step takes ROWS groups of 8 blocks from one row: a 512-bit vector holds a block of each of two neighbouring groups. So
 * memory is read in one straight line.
 */
#include "backend/cpu/x86/matmul_int.h"
#include "backend/cpu/x86/unpack.h"

enum { STEP_BLOCKS = 8 * ROWS };

/* What a dot product needs to know of the type. */
struct vector_kind {
	bool two, has_min, is_signed, has_offset;
};

/* The terms t of kernels.h of a step's blocks. */
INLINE vf terms(const struct eight *e, struct vector_kind k, const struct vector_x *x, size_t step)
{
	const size_t at = STEP_BLOCKS * step;
	vi d[8], low, high;
	UNROLL
	for (int b = 0; b < 8; b++) {
		vi xb = VI_LOAD(x->q + 32 * at + (size_t)(32 * ROWS * b));
		d[b] = k.is_signed ? dot_signed(e->q[b], xb) : dot_unsigned(e->q[b], xb);
	}
	reduce_blocks(d, &low, &high);
	vf t;
	if (k.two) {
		if (k.has_offset) {
			low = VI(sub_epi32)(low, VI_LOAD(x->off[0] + at));
			high = VI(sub_epi32)(high, VI_LOAD(x->off[1] + at));
		}
		t = VF(mul_ps)(e->scale[0], VF(cvtepi32_ps)(low));
		t = VF(fmadd_ps)(e->scale[1], VF(cvtepi32_ps)(high), t);
	} else {
		low = VI(add_epi32)(low, high);
		if (k.has_offset) low = VI(sub_epi32)(low, VI_LOAD(x->off[0] + at));
		t = VF(mul_ps)(e->scale[0], VF(cvtepi32_ps)(low));
	}
	if (k.has_min) t = VF(fmadd_ps)(e->min[0], VF(loadu_ps)(x->sum[0] + at), t);
	if (k.has_min && k.two) t = VF(fmadd_ps)(e->min[1], VF(loadu_ps)(x->sum[1] + at), t);
	return t;
}

/* acc += d * t, group after group */
INLINE __m256 add_terms(__m256 acc, const float *d, vf t)
{
#if defined __AVX512F__
	acc = _mm256_fmadd_ps(_mm256_loadu_ps(d), _mm512_castps512_ps256(t), acc);
	return _mm256_fmadd_ps(_mm256_loadu_ps(d + 8), _mm512_extractf32x8_ps(t, 1), acc);
#else
	return _mm256_fmadd_ps(_mm256_loadu_ps(d), t, acc);
#endif
}

/* The first n terms, others 0 */
INLINE vf first_terms(vf t, size_t n)
{
#if defined __AVX512F__
	return _mm512_maskz_mov_ps((__mmask16)((1u << n) - 1), t);
#else
	__m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
	return _mm256_and_ps(t, _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), index)));
#endif
}

/* The last step of a row: fewer groups, or a group of fewer than 8 blocks. It is read in whole, into the rows that follow,
 * as far as these are there; what does not belong is dropped. */
INLINE __m256 last_step(unpack_fn unpack, size_t eight_bytes, size_t bytes32, struct vector_kind k, const uint8_t *p,
                        const uint8_t *end, size_t blocks, const struct vector_x *x, size_t step, __m256 acc)
{
	uint8_t copy[ROWS * 272];
	struct eight e;
	if ((size_t)(end - p) < ROWS * eight_bytes) {
		size_t bytes = bytes32 ? blocks * bytes32 : blocks / 8 * eight_bytes;
		memset(copy, 0, ROWS * eight_bytes);
		memcpy(copy, p, bytes);
		p = copy;
	}
	unpack(p, p + (ROWS - 1) * eight_bytes, &e);
	return add_terms(acc, x->d + STEP_BLOCKS * step, first_terms(terms(&e, k, x, step), blocks));
}

INLINE void vector_rows(unpack_fn unpack, size_t eight_bytes, size_t bytes32, struct vector_kind k, const uint8_t *w,
                        size_t row_bytes, size_t n_rows, size_t n_blocks, const struct vector_x *x, float *y)
{
	const size_t steps = n_blocks / STEP_BLOCKS, rest = n_blocks % STEP_BLOCKS, bytes = ROWS * eight_bytes;
	const uint8_t *end = w + n_rows * row_bytes;
	for (size_t r = 0; r < n_rows; r++, w += row_bytes) {
		__m256 acc = _mm256_setzero_ps();
		for (size_t s = 0; s < steps; s++) {
			const uint8_t *p = w + s * bytes;
			struct eight e;
			prefetch(p, bytes);
			unpack(p, p + (ROWS - 1) * eight_bytes, &e);
			acc = add_terms(acc, x->d + STEP_BLOCKS * s, terms(&e, k, x, s));
		}
		if (rest) acc = last_step(unpack, eight_bytes, bytes32, k, w + steps * bytes, end, rest, x, steps, acc);
		y[r] = tree8(acc);
	}
}

static void vector_any(const struct bt_type *type, const uint8_t *w, size_t row_bytes, size_t n_rows, size_t n_blocks,
                       const struct vector_x *x, float *y)
{
	struct int_class c = LEVEL_NAME(int_class)(type);
	struct vector_kind k = {c.groups == 2, c.has_min, c.steps == 0, c.has_offset};
	for (size_t r = 0; r < n_rows; r++, w += row_bytes) {
		__m256 acc = _mm256_setzero_ps();
		for (size_t s = 0; s * STEP_BLOCKS < n_blocks; s++) {
			size_t left = n_blocks - s * STEP_BLOCKS, n0 = left < 8 ? left : 8,
			       n1 = left - n0 < 8 ? left - n0 : 8;
			const uint8_t *p = w + bt_type_row_bytes(type, 32 * STEP_BLOCKS * s);
			struct eight e;
			LEVEL_NAME(unpack_any)(type, &c, p, p + bt_type_row_bytes(type, n1 ? 256 : 0), n0, n1, &e);
			acc = add_terms(acc, x->d + STEP_BLOCKS * s, terms(&e, k, x, s));
		}
		y[r] = tree8(acc);
	}
}

#define DEFINE(NAME, name, eight_bytes, bytes32, two, has_min, is_signed, has_offset)                            \
	static void vector_##name(const struct bt_type *type, const uint8_t *w, size_t row_bytes, size_t n_rows, \
	                          size_t n_blocks, const struct vector_x *x, float *y)                           \
	{                                                                                                        \
		const struct vector_kind k = {two, has_min, is_signed, (has_offset) && !(is_signed)};            \
		(void)type;                                                                                      \
		vector_rows(unpack_##name, eight_bytes, bytes32, k, w, row_bytes, n_rows, n_blocks, x, y);       \
	}
UNPACK_TYPES(DEFINE)

vector_fn LEVEL_NAME(vector)(const struct bt_type *type)
{
#define ROW(NAME, name, ...) [BT_TYPE_##NAME] = vector_##name,
	static const vector_fn table[BT_TYPE_COUNT] = {UNPACK_TYPES(ROW)};
	return table[type->id] ? table[type->id] : vector_any;
}
