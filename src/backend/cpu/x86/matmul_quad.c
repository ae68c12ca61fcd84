/* matmul_quad.c: products with a single token for types of 32 nibbles a block, with 512-bit vectors.
 *
 * A vector holds the 16 bytes of each of 4 blocks, a *quad*; low nibbles meet the lower 16 activations of the blocks, high
 * nibbles the upper ones, in the same four sums per block. So 16 blocks need 8 multiplications and 9 steps of adding up,
 * a quarter of what vectors of two blocks take.
 */
#include "backend/cpu/x86/matmul_int.h"
#include "backend/cpu/x86/unpack.h"

#if defined __AVX512F__

/* 16 blocks of a row: quad q's bytes, and each block's scale and minimum. */
struct sixteen {
	vi quad[4];
	vf scale, min;
};

/* The first n quads; all scales of them. Reads whole quads, nothing beyond. */
typedef void (*quads_fn)(const uint8_t *p, size_t n, struct sixteen *out);

/* Scales and quads of blocks of 18 bytes (binary16, 16 bytes): words 0, 9, 18, 27 and what is between */
INLINE void quads_18(const uint8_t *p, size_t n, struct sixteen *out)
{
	const vi order = _mm512_set_epi16(63, 62, 61, 60, 59, 58, 57, 56, 26, 25, 24, 23, 22, 21, 20, 19, 17, 16, 15,
	                                  14, 13, 12, 11, 10, 8, 7, 6, 5, 4, 3, 2, 1);
	const vi scales = _mm512_set_epi16(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 59,
	                                   50, 41, 32, 27, 18, 9, 0);
	vi a[4];
	UNROLL
	for (size_t q = 0; q < 4; q++) {
		a[q] = VI_ZERO();
		out->quad[q] = VI_ZERO();
		if (q >= n) continue;
		a[q] = VI_LOAD(p + 72 * q);
		out->quad[q] = _mm512_permutex2var_epi16(a[q], order, VI_LOAD(p + 72 * q + 8));
	}
	__m128i low = _mm512_castsi512_si128(_mm512_permutex2var_epi16(a[0], scales, a[1]));
	__m128i high = _mm512_castsi512_si128(_mm512_permutex2var_epi16(a[2], scales, a[3]));
	out->scale = _mm512_cvtph_ps(_mm256_set_m128i(high, low));
}

INLINE void quads_q4_0(const uint8_t *p, size_t n, struct sixteen *out)
{
	quads_18(p, n, out);
}

/* Q4_1: blocks of 5 words of 32 bits, the first is scale and minimum */
INLINE void quads_q4_1(const uint8_t *p, size_t n, struct sixteen *out)
{
	const vi order = _mm512_setr_epi32(1, 2, 3, 4, 6, 7, 8, 9, 11, 12, 13, 14, 28, 29, 30, 31);
	const vi firsts = _mm512_setr_epi32(0, 5, 10, 15, 16, 21, 26, 31, 0, 5, 10, 15, 16, 21, 26, 31);
	vi a[4];
	UNROLL
	for (size_t q = 0; q < 4; q++) {
		a[q] = VI_ZERO();
		out->quad[q] = VI_ZERO();
		if (q >= n) continue;
		a[q] = VI_LOAD(p + 80 * q);
		out->quad[q] = _mm512_permutex2var_epi32(a[q], order, VI_LOAD(p + 80 * q + 16));
	}
	vi both = _mm512_permutex2var_epi32(a[0], firsts, a[1]);
	both = _mm512_inserti64x4(both, _mm512_castsi512_si256(_mm512_permutex2var_epi32(a[2], firsts, a[3])), 1);
	out->scale = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(both));
	out->min = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(both, 16)));
}

/* Four sums each of blocks 4q + j, in 128-bit lane j of vector q, to the sums of the 16 blocks in order */
INLINE vi reduce_quads(const vi d[4])
{
	vi a = _mm512_add_epi32(_mm512_unpacklo_epi32(d[0], d[1]), _mm512_unpackhi_epi32(d[0], d[1]));
	vi b = _mm512_add_epi32(_mm512_unpacklo_epi32(d[2], d[3]), _mm512_unpackhi_epi32(d[2], d[3]));
	vi c = _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
	return _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), c);
}

INLINE vi dot2(vi low, vi high, const int8_t *x, bool is_signed)
{
#if defined __AVX512VNNI__
	(void)is_signed;
	return _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(VI_ZERO(), low, VI_LOAD(x)), high, VI_LOAD(x + 64));
#else
	if (is_signed) return _mm512_add_epi32(dot_signed(low, VI_LOAD(x)), dot_signed(high, VI_LOAD(x + 64)));
	/* nibbles: sums of four products fit 16 bits */
	vi s = _mm512_add_epi16(_mm512_maddubs_epi16(low, VI_LOAD(x)), _mm512_maddubs_epi16(high, VI_LOAD(x + 64)));
	return _mm512_madd_epi16(s, _mm512_set1_epi16(1));
#endif
}

/* acc += n <= 16 blocks from p on */
INLINE __m256 sixteen_blocks(quads_fn load, bool has_min, bool levels, const uint8_t *p, size_t n,
                             const struct vector_x *x, size_t step, __m256 acc)
{
	struct sixteen e;
	vi d[4], table = iq4_levels();
	load(p, (n + 3) / 4, &e);
	UNROLL
	for (size_t q = 0; q < 4; q++) {
		vi low = VI_AND(e.quad[q], bytes(15)), high = VI_AND(SRL(e.quad[q], 4), bytes(15));
		if (levels) {
			low = _mm512_shuffle_epi8(table, low);
			high = _mm512_shuffle_epi8(table, high);
		}
		d[q] = dot2(low, high, x->q + 512 * step + 128 * q, levels && LARGE_SIGNED);
	}
	vi isum = reduce_quads(d);
	if (!has_min && !(levels && LARGE_SIGNED)) isum = _mm512_sub_epi32(isum, VI_LOAD(x->off[0] + 16 * step));
	vf t = _mm512_mul_ps(e.scale, _mm512_cvtepi32_ps(isum));
	if (has_min) t = _mm512_fmadd_ps(e.min, _mm512_loadu_ps(x->sum[0] + 16 * step), t);
	if (n < 16) t = _mm512_maskz_mov_ps((__mmask16)((1u << n) - 1), t);
	const float *dx = x->d + 16 * step;
	acc = _mm256_fmadd_ps(_mm256_loadu_ps(dx), _mm512_castps512_ps256(t), acc);
	return _mm256_fmadd_ps(_mm256_loadu_ps(dx + 8), _mm512_extractf32x8_ps(t, 1), acc);
}

INLINE void quad_rows(quads_fn load, size_t bytes32, bool has_min, bool levels, const uint8_t *w, size_t row_bytes,
                      size_t n_rows, size_t n_blocks, const struct vector_x *x, float *y)
{
	const size_t steps = n_blocks / 16, rest = n_blocks % 16;
	const uint8_t *end = w + n_rows * row_bytes;
	for (size_t r = 0; r < n_rows; r++, w += row_bytes) {
		__m256 acc = _mm256_setzero_ps();
		const uint8_t *p = w;
		for (size_t s = 0; s < steps; s++, p += 16 * bytes32) {
			prefetch(p, 16 * bytes32);
			acc = sixteen_blocks(load, has_min, levels, p, 16, x, s, acc);
		}
		if (rest) {
			uint8_t copy[16 * 24];
			if ((size_t)(end - p) < (rest + 3) / 4 * 4 * bytes32) {
				memset(copy, 0, sizeof copy);
				p = memcpy(copy, p, rest * bytes32);
			}
			acc = sixteen_blocks(load, has_min, levels, p, rest, x, steps, acc);
		}
		y[r] = tree8(acc);
	}
}

#define DEFINE(name, load, bytes32, has_min, levels)                                                             \
	static void vector_##name(const struct bt_type *type, const uint8_t *w, size_t row_bytes, size_t n_rows, \
	                          size_t n_blocks, const struct vector_x *x, float *y)                           \
	{                                                                                                        \
		(void)type;                                                                                      \
		quad_rows(load, bytes32, has_min, levels, w, row_bytes, n_rows, n_blocks, x, y);                 \
	}
DEFINE(q4_0, quads_q4_0, 18, false, false)
DEFINE(q4_1, quads_q4_1, 20, true, false)
DEFINE(iq4_nl, quads_18, 18, false, true)

vector_fn LEVEL_NAME(vector_quads)(const struct bt_type *type)
{
	switch (type->id) {
	case BT_TYPE_Q4_0: return vector_q4_0;
	case BT_TYPE_Q4_1: return vector_q4_1;
	case BT_TYPE_IQ4_NL: return vector_iq4_nl;
	default: return NULL;
	}
}

#else

vector_fn LEVEL_NAME(vector_quads)(const struct bt_type *type)
{
	(void)type;
	return NULL;
}

#endif
