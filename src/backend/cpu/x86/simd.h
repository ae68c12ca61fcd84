/* simd.h: the vector words of the x86 levels. The files of this folder are compiled once per level with that level's
 * compiler flags and BT_LEVEL set to its name; these words are all that differs.
 *
 * Integer words hold rows of weights: a 256-bit vector one row, a 512-bit vector two (row 0 in the lower half). Words of
 * float results hold 8 lanes a row likewise. Elsewhere (norms, attention) a float vector is just WIDTH values.
 */
#ifndef BT_BACKEND_CPU_X86_SIMD_H
#define BT_BACKEND_CPU_X86_SIMD_H

#if defined __AVX2__ && defined BT_LEVEL

#include "backend/cpu/order.h"

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define BT_PASTE_(a, b, c) a##b##c
#define BT_PASTE(a, b, c)  BT_PASTE_(a, b, c)
/* The name of this level's copy of a function: LEVEL_NAME(matmul) is bt_avx2_matmul. */
#define LEVEL_NAME(name) BT_PASTE(bt_, BT_LEVEL, _##name)

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 32")

#if defined __AVX512F__

enum { ROWS = 2, WIDTH = 16, PANEL = 16 }; /* rows in a vector, floats in a vector, rows of a panel */
typedef __m512i vi;
typedef __m512 vf;
#define VI(op)   _mm512_##op
#define VF(op)   _mm512_##op
#define VI_AND   _mm512_and_si512
#define VI_OR    _mm512_or_si512
#define VI_XOR   _mm512_xor_si512
#define VI_LOAD  _mm512_loadu_si512
#define VI_STORE _mm512_storeu_si512
#define VI_ZERO  _mm512_setzero_si512
#define VF_BITS  _mm512_castps_si512

INLINE vi load32(const uint8_t *p0, const uint8_t *p1)
{
	return _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)p0)),
	                          _mm256_loadu_si256((const __m256i *)p1), 1);
}

/* 16 bytes of each row, twice */
INLINE vi load16_twice(const uint8_t *p0, const uint8_t *p1)
{
	__m512i a = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)p0));
	return _mm512_mask_broadcast_i32x4(a, 0xFF00, _mm_loadu_si128((const __m128i *)p1));
}

/* The same 32 bytes for each row */
INLINE vi load32_all(const void *p)
{
	return _mm512_broadcast_i64x4(_mm256_loadu_si256(p));
}

/* 16 bytes in every 128-bit lane */
INLINE vi all128(__m128i x)
{
	return _mm512_broadcast_i32x4(x);
}

/* 8 floats for each row */
INLINE vf load8_all(const float *p)
{
	return _mm512_broadcast_f32x8(_mm256_loadu_ps(p));
}

INLINE vi load8_all_i32(const int32_t *p)
{
	return _mm512_broadcast_i32x8(_mm256_loadu_si256((const __m256i *)p));
}

/* One value per row, in all lanes of the row */
INLINE vf rows_set(float r0, float r1)
{
	return _mm512_insertf32x8(_mm512_set1_ps(r0), _mm256_set1_ps(r1), 1);
}

INLINE vf rows_join(__m256 r0, __m256 r1)
{
	return _mm512_insertf32x8(_mm512_castps256_ps512(r0), r1, 1);
}

/* Even and odd 128-bit lanes of two vectors: rows of a and b keep their halves together (transposes). */
INLINE vi even128(vi a, vi b)
{
	return _mm512_shuffle_i32x4(a, b, 0x88);
}

INLINE vi odd128(vi a, vi b)
{
	return _mm512_shuffle_i32x4(a, b, 0xDD);
}

/* Per row: the lower halves of a and b, the upper halves */
INLINE vi low_halves(vi a, vi b)
{
	return _mm512_permutex2var_epi64(a, _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13), b);
}

INLINE vi high_halves(vi a, vi b)
{
	return _mm512_permutex2var_epi64(a, _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15), b);
}

/* Shift the upper 16 bytes of each row (all of them, as 64-bit words) right by 4 bits, the lower ones by none */
INLINE vi shift_upper4(vi x)
{
	return _mm512_srlv_epi64(x, _mm512_setr_epi64(0, 0, 4, 4, 0, 0, 4, 4));
}

#else

enum { ROWS = 1, WIDTH = 8, PANEL = 8 };
typedef __m256i vi;
typedef __m256 vf;
#define VI(op)         _mm256_##op
#define VF(op)         _mm256_##op
#define VI_AND         _mm256_and_si256
#define VI_OR          _mm256_or_si256
#define VI_XOR         _mm256_xor_si256
#define VI_LOAD(p)     _mm256_loadu_si256((const __m256i *)(p))
#define VI_STORE(p, x) _mm256_storeu_si256((__m256i *)(p), x)
#define VI_ZERO        _mm256_setzero_si256
#define VF_BITS        _mm256_castps_si256

INLINE vi load32(const uint8_t *p0, const uint8_t *p1)
{
	(void)p1;
	return VI_LOAD(p0);
}

INLINE vi load16_twice(const uint8_t *p0, const uint8_t *p1)
{
	(void)p1;
	return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)p0));
}

INLINE vi load32_all(const void *p)
{
	return VI_LOAD(p);
}

INLINE vi all128(__m128i x)
{
	return _mm256_broadcastsi128_si256(x);
}

INLINE vf load8_all(const float *p)
{
	return _mm256_loadu_ps(p);
}

INLINE vi load8_all_i32(const int32_t *p)
{
	return VI_LOAD(p);
}

INLINE vf rows_set(float r0, float r1)
{
	(void)r1;
	return _mm256_set1_ps(r0);
}

INLINE vf rows_join(__m256 r0, __m256 r1)
{
	(void)r1;
	return r0;
}

INLINE vi even128(vi a, vi b)
{
	return _mm256_permute2x128_si256(a, b, 0x20);
}

INLINE vi odd128(vi a, vi b)
{
	return _mm256_permute2x128_si256(a, b, 0x31);
}

INLINE vi low_halves(vi a, vi b)
{
	return _mm256_permute2x128_si256(a, b, 0x20);
}

INLINE vi high_halves(vi a, vi b)
{
	return _mm256_permute2x128_si256(a, b, 0x31);
}

INLINE vi shift_upper4(vi x)
{
	return _mm256_srlv_epi64(x, _mm256_setr_epi64x(0, 0, 4, 4));
}

#endif

/* How a type's weights meet 8-bit activations. Offset: u = q - q_min, unsigned, at most `u_max`; the sum of x times the
 * offset is taken off the integer sum. Where u_max is above 128, products of neighbours leave 16 bits, and without VNNI
 * the sign moves to x instead. */
INLINE vi dot_unsigned(vi u, vi x)
{
#if defined __AVX512VNNI__
	return _mm512_dpbusd_epi32(VI_ZERO(), u, x);
#else
	return VI(madd_epi16)(VI(maddubs_epi16)(u, x), VI(set1_epi16)(1));
#endif
}

/* x with w's sign */
INLINE vi move_sign(vi x, vi w)
{
#if defined __AVX512F__
	return _mm512_mask_sub_epi8(x, _mm512_movepi8_mask(w), VI_ZERO(), x);
#else
	return _mm256_sign_epi8(x, w);
#endif
}

/* Signed weights where there is no VNNI; -128 is fine, x is -127 at least. */
INLINE vi dot_signed(vi w, vi x)
{
	return VI(madd_epi16)(VI(maddubs_epi16)(VI(abs_epi8)(w), move_sign(x, w)), VI(set1_epi16)(1));
}

/* Eight vectors of 8 partial sums a row (4 of the block's lower 16 bytes, 4 of the upper ones) to the 8 blocks' sums. */
INLINE void reduce_blocks(const vi d[8], vi *low, vi *high)
{
	vi s[4], t[2];
	UNROLL
	for (int i = 0; i < 4; i++)
		s[i] = VI(add_epi32)(VI(unpacklo_epi32)(d[2 * i], d[2 * i + 1]),
		                     VI(unpackhi_epi32)(d[2 * i], d[2 * i + 1]));
	UNROLL
	for (int i = 0; i < 2; i++)
		t[i] = VI(add_epi32)(VI(unpacklo_epi64)(s[2 * i], s[2 * i + 1]),
		                     VI(unpackhi_epi64)(s[2 * i], s[2 * i + 1]));
	*low = low_halves(t[0], t[1]);
	*high = high_halves(t[0], t[1]);
}

/* PANEL rows of 8 words of 32 bits (in the order that panel_row gives: vector i holds rows i, or panel_row(i, 0 and 1))
 * to 8 vectors of one word of every row. */
INLINE void transpose(const vi in[8], vi out[8])
{
	vi a[8], b[8];
	UNROLL
	for (int i = 0; i < 8; i += 2) {
		a[i] = VI(unpacklo_epi32)(in[i], in[i + 1]);
		a[i + 1] = VI(unpackhi_epi32)(in[i], in[i + 1]);
	}
	UNROLL
	for (int i = 0; i < 8; i += 4) {
		b[i] = VI(unpacklo_epi64)(a[i], a[i + 2]);
		b[i + 1] = VI(unpackhi_epi64)(a[i], a[i + 2]);
		b[i + 2] = VI(unpacklo_epi64)(a[i + 1], a[i + 3]);
		b[i + 3] = VI(unpackhi_epi64)(a[i + 1], a[i + 3]);
	}
	UNROLL
	for (int i = 0; i < 4; i++) {
		out[i] = even128(b[i], b[i + 4]);
		out[i + 4] = odd128(b[i], b[i + 4]);
	}
}

/* The row of a panel that half `half` of the i-th vector holds before transpose. */
INLINE int panel_row(int i, int half)
{
	return ROWS == 1 ? i : i / 4 * 8 + i % 4 + 4 * half;
}

/* tree8 of kernels.h for 8 lanes */
INLINE float tree8(__m256 l)
{
	__m128 s = _mm_add_ps(_mm256_castps256_ps128(l), _mm256_extractf128_ps(l, 1));
	s = _mm_add_ps(s, _mm_movehl_ps(s, s));
	return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

/* 16 lanes of partial sums: value i of a row belongs to lane i % 16. */
enum { PARTS = 16 / WIDTH };
struct lanes {
	vf v[PARTS];
};

INLINE struct lanes lanes_zero(void)
{
	struct lanes l;
	UNROLL
	for (int i = 0; i < PARTS; i++) l.v[i] = VF(setzero_ps)();
	return l;
}

INLINE float tree16(struct lanes l)
{
#if defined __AVX512F__
	return tree8(_mm256_add_ps(_mm512_castps512_ps256(l.v[0]), _mm512_extractf32x8_ps(l.v[0], 1)));
#else
	return tree8(_mm256_add_ps(l.v[0], l.v[1]));
#endif
}

/* The first n of WIDTH floats (n may be anything, also negative or more), others 0. */
INLINE vf load_part(const float *p, ptrdiff_t n)
{
	if (n >= WIDTH) return VF(loadu_ps)(p);
	if (n <= 0) return VF(setzero_ps)();
#if defined __AVX512F__
	return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#else
	__m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
	return _mm256_maskload_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), index));
#endif
}

INLINE void store_part(float *p, ptrdiff_t n, vf x)
{
	if (n >= WIDTH) {
		VF(storeu_ps)(p, x);
		return;
	}
	if (n <= 0) return;
#if defined __AVX512F__
	_mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), x);
#else
	__m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
	_mm256_maskstore_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), index), x);
#endif
}

/* bt_expf of order.h, step by step */
INLINE vf vector_exp(vf x)
{
	const vf round = VF(set1_ps)(BT_EXP_ROUND), low = VF(set1_ps)(BT_EXP_MIN);
	vf c = VF(max_ps)(low, VF(min_ps)(VF(set1_ps)(BT_EXP_MAX), x)); /* in this order NaN comes through */
	vf z = VF(fmadd_ps)(c, VF(set1_ps)(BT_EXP_LOG2E), round), n = VF(sub_ps)(z, round);
	vf r = VF(fmadd_ps)(n, VF(set1_ps)(-BT_EXP_LN2_HI), c);
	r = VF(fmadd_ps)(n, VF(set1_ps)(-BT_EXP_LN2_LO), r);
	vf p = VF(fmadd_ps)(VF(set1_ps)(BT_EXP_P4), r, VF(set1_ps)(BT_EXP_P3));
	p = VF(fmadd_ps)(p, r, VF(set1_ps)(BT_EXP_P2));
	p = VF(fmadd_ps)(p, r, VF(set1_ps)(BT_EXP_P1));
	p = VF(fmadd_ps)(p, r, VF(set1_ps)(BT_EXP_P0));
	p = VF(add_ps)(VF(fmadd_ps)(VF(mul_ps)(r, r), p, r), VF(set1_ps)(1.0f));
	vi two_n = VI(add_epi32)(VI(slli_epi32)(VF_BITS(z), 23), VI(set1_epi32)(0x3F800000));
#if defined __AVX512F__
	return _mm512_maskz_mul_ps(_mm512_cmp_ps_mask(x, low, _CMP_NLT_UQ), p, _mm512_castsi512_ps(two_n));
#else
	return _mm256_andnot_ps(_mm256_cmp_ps(x, low, _CMP_LT_OQ), _mm256_mul_ps(p, _mm256_castsi256_ps(two_n)));
#endif
}

/* 1 + e^-x */
INLINE vf one_plus_exp_minus(vf x)
{
	return VF(add_ps)(VF(set1_ps)(1.0f), vector_exp(VF(xor_ps)(x, VF(set1_ps)(-0.0f))));
}

#endif
#endif
