/* unpack.h: 8 blocks of 32 weights of ROWS rows into vectors: the integer form of src/quant/type.h, for the types that
 * are worth it; all others go through type->unpack_i8.
 *
 * Layouts: the block structs of src/quant/<type>.c. Each function reads exactly 8 blocks of each row.
 */
#ifndef BT_BACKEND_CPU_X86_UNPACK_H
#define BT_BACKEND_CPU_X86_UNPACK_H

#include "backend/cpu/x86/simd.h"
#include "quant/grids.h"

#if defined __AVX2__ && defined BT_LEVEL

/* 8 blocks of each row. q: block b's 32 bytes, unsigned with the type's offset or signed (see LARGE_SIGNED); scale and
 * min: lane b is block b's, [1] only for groups of 16 (the block's upper 16 values). */
struct eight {
	vi q[8];
	vf scale[2], min[2];
};

/* Types with more than 128 steps: unsigned with offset 128 where VNNI is, signed elsewhere. */
#if defined __AVX512VNNI__
enum { LARGE_SIGNED = 0 };
#else
enum { LARGE_SIGNED = 1 };
#endif

INLINE uint32_t load_u32(const uint8_t *p)
{
	uint32_t x;
	memcpy(&x, p, sizeof x);
	return x;
}

INLINE uint64_t load_u64(const uint8_t *p)
{
	uint64_t x;
	memcpy(&x, p, sizeof x);
	return x;
}

INLINE short load_i16(const uint8_t *p)
{
	short x;
	memcpy(&x, p, sizeof x);
	return x;
}

INLINE float load_f16(const uint8_t *p)
{
	return _cvtsh_ss((unsigned short)load_i16(p));
}

INLINE vi bytes(int x)
{
	return VI(set1_epi8)((char)x);
}

/* Shifts of all bytes by 16-bit words; the bits that cross over must be masked off. */
#define SRL(x, n) VI(srli_epi16)(x, n)
#define SLL(x, n) VI(slli_epi16)(x, n)

/* SRL by a loop's variable: a constant once the loop is unrolled. */
INLINE vi shift_right(vi x, int n)
{
	switch (n) {
	case 1: return SRL(x, 1);
	case 2: return SRL(x, 2);
	case 3: return SRL(x, 3);
	case 4: return SRL(x, 4);
	case 5: return SRL(x, 5);
	case 6: return SRL(x, 6);
	default: return x;
	}
}

/* A binary16 at the start of each of 8 blocks. */
INLINE __m256 f16_of_blocks(const uint8_t *p, size_t stride)
{
	__m128i h = _mm_setr_epi16(load_i16(p), load_i16(p + stride), load_i16(p + 2 * stride),
	                           load_i16(p + 3 * stride), load_i16(p + 4 * stride), load_i16(p + 5 * stride),
	                           load_i16(p + 6 * stride), load_i16(p + 7 * stride));
	return _mm256_cvtph_ps(h);
}

INLINE vf scales_of_blocks(const uint8_t *p0, const uint8_t *p1, size_t stride)
{
	return rows_join(f16_of_blocks(p0, stride), ROWS == 2 ? f16_of_blocks(p1, stride) : _mm256_setzero_ps());
}

/* Scale and minimum, two binary16, at the start of each of 8 blocks. */
INLINE void pairs_of_blocks(const uint8_t *p, size_t stride, __m256 *scale, __m256 *min)
{
	__m128i a = _mm_setr_epi32((int)load_u32(p), (int)load_u32(p + stride), (int)load_u32(p + 2 * stride),
	                           (int)load_u32(p + 3 * stride));
	__m128i b = _mm_setr_epi32((int)load_u32(p + 4 * stride), (int)load_u32(p + 5 * stride),
	                           (int)load_u32(p + 6 * stride), (int)load_u32(p + 7 * stride));
	/* put the scales of 4 blocks before their minima */
	const __m128i order = _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
	a = _mm_shuffle_epi8(a, order);
	b = _mm_shuffle_epi8(b, order);
	*scale = _mm256_cvtph_ps(_mm_unpacklo_epi64(a, b));
	*min = _mm256_cvtph_ps(_mm_unpackhi_epi64(a, b));
}

INLINE void minima_of_blocks(const uint8_t *p0, const uint8_t *p1, size_t stride, struct eight *e)
{
	__m256 s0, m0, s1, m1;
	pairs_of_blocks(p0, stride, &s0, &m0);
	if (ROWS == 2) pairs_of_blocks(p1, stride, &s1, &m1);
	else s1 = m1 = _mm256_setzero_ps();
	e->scale[0] = rows_join(s0, s1);
	e->min[0] = rows_join(m0, m1);
}

/* 16 bytes of nibbles: low nibbles first, high nibbles after them */
INLINE vi nibbles(const uint8_t *p0, const uint8_t *p1)
{
	return VI_AND(shift_upper4(load16_twice(p0, p1)), bytes(15));
}

/* 32 bits to 32 bytes of 16 or 0: bit i of row r's word for byte i */
INLINE vi fifth_bits(const uint8_t *p0, const uint8_t *p1)
{
#if defined __AVX512F__
	__mmask64 m = load_u32(p0) | (uint64_t)load_u32(p1) << 32;
	return _mm512_maskz_mov_epi8(m, bytes(16));
#else
	(void)p1;
	const __m256i spread = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
	const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201);
	__m256i x = _mm256_shuffle_epi8(_mm256_set1_epi32((int)load_u32(p0)), spread);
	return _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_and_si256(x, bit), bit), bytes(16));
#endif
}

INLINE void unpack_q4_0(const uint8_t *p0, const uint8_t *p1, struct eight *e)
{
	UNROLL
	for (int b = 0; b < 8; b++) e->q[b] = nibbles(p0 + 18 * b + 2, p1 + 18 * b + 2);
	e->scale[0] = scales_of_blocks(p0, p1, 18);
}

INLINE void unpack_q4_1(const uint8_t *p0, const uint8_t *p1, struct eight *e)
{
	UNROLL
	for (int b = 0; b < 8; b++) e->q[b] = nibbles(p0 + 20 * b + 4, p1 + 20 * b + 4);
	minima_of_blocks(p0, p1, 20, e);
}

INLINE void unpack_q5_0(const uint8_t *p0, const uint8_t *p1, struct eight *e)
{
	UNROLL
	for (int b = 0; b < 8; b++)
		e->q[b] = VI_OR(nibbles(p0 + 22 * b + 6, p1 + 22 * b + 6),
		                fifth_bits(p0 + 22 * b + 2, p1 + 22 * b + 2));
	e->scale[0] = scales_of_blocks(p0, p1, 22);
}

INLINE void unpack_q5_1(const uint8_t *p0, const uint8_t *p1, struct eight *e)
{
	UNROLL
	for (int b = 0; b < 8; b++)
		e->q[b] = VI_OR(nibbles(p0 + 24 * b + 8, p1 + 24 * b + 8),
		                fifth_bits(p0 + 24 * b + 4, p1 + 24 * b + 4));
	minima_of_blocks(p0, p1, 24, e);
}

INLINE void unpack_q8_0(const uint8_t *p0, const uint8_t *p1, struct eight *e)
{
	UNROLL
	for (int b = 0; b < 8; b++) {
		e->q[b] = load32(p0 + 34 * b + 2, p1 + 34 * b + 2);
		if (!LARGE_SIGNED) e->q[b] = VI_XOR(e->q[b], bytes(0x80));
	}
	e->scale[0] = scales_of_blocks(p0, p1, 34);
}

/* The 16 levels of IQ4_NL and IQ4_XS */
INLINE vi iq4_levels(void)
{
	__m128i t = _mm_loadu_si128((const __m128i *)bt_iq4_values);
	if (!LARGE_SIGNED) t = _mm_xor_si128(t, _mm_set1_epi8((char)0x80));
	return all128(t);
}

INLINE void unpack_iq4_nl(const uint8_t *p0, const uint8_t *p1, struct eight *e)
{
	vi levels = iq4_levels();
	UNROLL
	for (int b = 0; b < 8; b++) e->q[b] = VI(shuffle_epi8)(levels, nibbles(p0 + 18 * b + 2, p1 + 18 * b + 2));
	e->scale[0] = scales_of_blocks(p0, p1, 18);
}

/* 8 bytes to floats */
INLINE __m256 floats_of_u8(uint64_t x)
{
	return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)x)));
}

INLINE __m256 floats_of_i8(uint64_t x)
{
	return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_cvtsi64_si128((long long)x)));
}

INLINE __m256 k_iq4_xs(const uint8_t *p)
{
	/* low nibbles of the 8 scales are the nibbles of 4 bytes in order, high bits pairs of bits of 16 */
	uint64_t low = _mm_cvtsi128_si64(
		_mm_unpacklo_epi8(_mm_cvtsi32_si128((int)(load_u32(p + 4) & 0x0F0F0F0F)),
	                          _mm_cvtsi32_si128((int)(load_u32(p + 4) >> 4 & 0x0F0F0F0F))));
	uint64_t high = (uint16_t)load_i16(p + 2);
	high = (high | high << 24) & 0x000000FF000000FF;
	high = (high | high << 12) & 0x000F000F000F000F;
	high = (high | high << 6) & 0x0303030303030303;
	__m256i sc = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)(low | high << 4)));
	return _mm256_mul_ps(_mm256_set1_ps(load_f16(p)),
	                     _mm256_cvtepi32_ps(_mm256_sub_epi32(sc, _mm256_set1_epi32(32))));
}

INLINE void unpack_iq4_xs(const uint8_t *p0, const uint8_t *p1, struct eight *e)
{
	vi levels = iq4_levels();
	UNROLL
	for (int b = 0; b < 8; b++) e->q[b] = VI(shuffle_epi8)(levels, nibbles(p0 + 16 * b + 8, p1 + 16 * b + 8));
	e->scale[0] = rows_join(k_iq4_xs(p0), ROWS == 2 ? k_iq4_xs(p1) : _mm256_setzero_ps());
}

/* Scales and minima of Q4_K and Q5_K: src/quant/k_scales.h for all eight at once. A block begins with words of 32 bits
 * {d, dmin}, a, b, c; the eight scales are the bytes of {a & 0x3F.., c & 0x0F.. | a >> 2 & 0x30..}, the minima those of
 * {b & 0x3F.., c >> 4 & 0x0F.. | b >> 2 & 0x30..}. */
#if defined __AVX512F__
INLINE void k_scales_of_rows(const uint8_t *p0, const uint8_t *p1, struct eight *e)
{
	const __m256i shift = _mm256_setr_epi32(0, 0, 0, 4, 0, 0, 0, 4);
	const __m256i m1 = _mm256_set1_epi64x(0x0F0F0F0F3F3F3F3F), m2 = _mm256_set1_epi64x(0x3030303000000000);
	__m256i h = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)p0)),
	                                    _mm_loadu_si128((const __m128i *)p1), 1);
	__m256i low = _mm256_and_si256(_mm256_srlv_epi32(_mm256_shuffle_epi32(h, _MM_SHUFFLE(3, 2, 3, 1)), shift), m1);
	__m256i high = _mm256_and_si256(_mm256_srli_epi32(_mm256_shuffle_epi32(h, _MM_SHUFFLE(2, 0, 1, 0)), 2), m2);
	__m256i s = _mm256_permute4x64_epi64(_mm256_or_si256(low, high), _MM_SHUFFLE(3, 1, 2, 0));
	__m128i d2 = _mm_unpacklo_epi32(_mm256_castsi256_si128(h), _mm256_extracti128_si256(h, 1));
	vf d = _mm512_castps128_ps512(_mm_xor_ps(_mm_cvtph_ps(d2), _mm_setr_ps(0.0f, -0.0f, 0.0f, -0.0f)));
	vf scale = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm256_castsi256_si128(s)));
	vf min = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm256_extracti128_si256(s, 1)));
	const vi first = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 2, 2, 2, 2, 2, 2);
	e->scale[0] = _mm512_mul_ps(_mm512_permutexvar_ps(first, d), scale);
	e->min[0] = _mm512_mul_ps(_mm512_permutexvar_ps(_mm512_add_epi32(first, _mm512_set1_epi32(1)), d), min);
}
#else
INLINE void k_scales_of_rows(const uint8_t *p0, const uint8_t *p1, struct eight *e)
{
	(void)p1;
	const __m128i shift = _mm_setr_epi32(0, 0, 0, 4), m1 = _mm_set1_epi64x(0x0F0F0F0F3F3F3F3F);
	const __m128i m2 = _mm_set1_epi64x(0x3030303000000000);
	__m128i h = _mm_loadu_si128((const __m128i *)p0);
	__m128i low = _mm_and_si128(_mm_srlv_epi32(_mm_shuffle_epi32(h, _MM_SHUFFLE(3, 2, 3, 1)), shift), m1);
	__m128i high = _mm_and_si128(_mm_srli_epi32(_mm_shuffle_epi32(h, _MM_SHUFFLE(2, 0, 1, 0)), 2), m2);
	__m128i s = _mm_or_si128(low, high);
	__m128 d = _mm_xor_ps(_mm_cvtph_ps(h), _mm_setr_ps(0.0f, -0.0f, 0.0f, 0.0f));
	e->scale[0] = _mm256_mul_ps(_mm256_broadcastss_ps(d), _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(s)));
	s = _mm_unpackhi_epi64(s, s);
	e->min[0] = _mm256_mul_ps(_mm256_broadcastss_ps(_mm_movehdup_ps(d)),
	                          _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(s)));
}
#endif

INLINE void unpack_q4_k(const uint8_t *p0, const uint8_t *p1, struct eight *e)
{
	UNROLL
	for (int j = 0; j < 4; j++) {
		vi x = load32(p0 + 16 + 32 * j, p1 + 16 + 32 * j);
		e->q[2 * j] = VI_AND(x, bytes(15));
		e->q[2 * j + 1] = VI_AND(SRL(x, 4), bytes(15));
	}
	k_scales_of_rows(p0, p1, e);
}

INLINE void unpack_q5_k(const uint8_t *p0, const uint8_t *p1, struct eight *e)
{
	vi high = load32(p0 + 16, p1 + 16);
	UNROLL
	for (int j = 0; j < 4; j++) {
		vi x = load32(p0 + 48 + 32 * j, p1 + 48 + 32 * j);
		vi h = shift_right(high, 2 * j), h1 = VI_AND(h, bytes(1)), h2 = VI_AND(h, bytes(2));
		e->q[2 * j] = VI_OR(VI_AND(x, bytes(15)), SLL(h1, 4));
		e->q[2 * j + 1] = VI_OR(VI_AND(SRL(x, 4), bytes(15)), SLL(h2, 3));
	}
	k_scales_of_rows(p0, p1, e);
}

/* 16 factors of groups of 16, as bytes: even ones (lower 16 values of a block) in the lower half, odd ones above */
INLINE __m128i split_groups(__m128i x)
{
	return _mm_shuffle_epi8(x, _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15));
}

INLINE __m256 scaled_low(__m128i x, float d)
{
	return _mm256_mul_ps(_mm256_set1_ps(d), _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(x)));
}

INLINE __m256 scaled_high(__m128i x, float d)
{
	return scaled_low(_mm_unpackhi_epi64(x, x), d);
}

INLINE void groups_of_rows(__m128i x0, float d0, __m128i x1, float d1, vf out[2])
{
	x0 = split_groups(x0);
	x1 = split_groups(x1);
	out[0] = rows_join(scaled_low(x0, d0), scaled_low(x1, d1));
	out[1] = rows_join(scaled_high(x0, d0), scaled_high(x1, d1));
}

INLINE void unpack_q6_k(const uint8_t *p0, const uint8_t *p1, struct eight *e)
{
	UNROLL
	for (int h = 0; h < 2; h++) {
		vi a = load32(p0 + 64 * h, p1 + 64 * h), b = load32(p0 + 64 * h + 32, p1 + 64 * h + 32);
		vi c = load32(p0 + 128 + 32 * h, p1 + 128 + 32 * h);
		e->q[4 * h] = VI_OR(VI_AND(a, bytes(15)), VI_AND(SLL(c, 4), bytes(0x30)));
		e->q[4 * h + 1] = VI_OR(VI_AND(b, bytes(15)), VI_AND(SLL(c, 2), bytes(0x30)));
		e->q[4 * h + 2] = VI_OR(VI_AND(SRL(a, 4), bytes(15)), VI_AND(c, bytes(0x30)));
		e->q[4 * h + 3] = VI_OR(VI_AND(SRL(b, 4), bytes(15)), VI_AND(SRL(c, 2), bytes(0x30)));
	}
	groups_of_rows(_mm_loadu_si128((const __m128i *)(p0 + 192)), load_f16(p0 + 208),
	               _mm_loadu_si128((const __m128i *)(p1 + 192)), load_f16(p1 + 208), e->scale);
}

/* 64 bytes of 2-bit values, as Q2_K, Q3_K and TQ2_0 have them */
INLINE void two_bits(const uint8_t *p0, const uint8_t *p1, vi q[8])
{
	UNROLL
	for (int h = 0; h < 2; h++) {
		vi x = load32(p0 + 32 * h, p1 + 32 * h);
		UNROLL
		for (int s = 0; s < 4; s++) q[4 * h + s] = VI_AND(shift_right(x, 2 * s), bytes(3));
	}
}

INLINE void unpack_q2_k(const uint8_t *p0, const uint8_t *p1, struct eight *e)
{
	two_bits(p0 + 16, p1 + 16, e->q);
	__m128i low = _mm_set1_epi8(15), x0 = _mm_loadu_si128((const __m128i *)p0),
		x1 = _mm_loadu_si128((const __m128i *)p1);
	groups_of_rows(_mm_and_si128(x0, low), load_f16(p0 + 80), _mm_and_si128(x1, low), load_f16(p1 + 80), e->scale);
	x0 = _mm_and_si128(_mm_srli_epi16(x0, 4), low);
	x1 = _mm_and_si128(_mm_srli_epi16(x1, 4), low);
	groups_of_rows(x0, -load_f16(p0 + 82), x1, -load_f16(p1 + 82), e->min);
}

/* The 16 scales of Q3_K less 32: low nibbles in two halves of 8 bytes, pairs of high bits in 4 bytes. */
INLINE __m128i k3_scales(const uint8_t *p)
{
	uint64_t low = load_u64(p + 96);
	uint32_t high = load_u32(p + 104);
	uint64_t a = (uint64_t)(high & 0x03030303) | (uint64_t)(high >> 2 & 0x03030303) << 32;
	uint64_t b = (uint64_t)(high >> 4 & 0x03030303) | (uint64_t)(high >> 6 & 0x03030303) << 32;
	__m128i sc = _mm_set_epi64x((long long)((low >> 4 & 0x0F0F0F0F0F0F0F0F) | b << 4),
	                            (long long)((low & 0x0F0F0F0F0F0F0F0F) | a << 4));
	return _mm_sub_epi8(sc, _mm_set1_epi8(32));
}

INLINE void unpack_q3_k(const uint8_t *p0, const uint8_t *p1, struct eight *e)
{
	vi high = load32(p0, p1);
	two_bits(p0 + 32, p1 + 32, e->q);
	UNROLL
	for (int b = 0; b < 8; b++) {
		vi h = b == 0 ? SLL(high, 2) : b == 1 ? SLL(high, 1) : shift_right(high, b - 2);
		e->q[b] = VI_OR(e->q[b], VI_AND(h, bytes(4)));
	}
	groups_of_rows(k3_scales(p0), load_f16(p0 + 108), k3_scales(p1), load_f16(p1 + 108), e->scale);
}

/* Rows are read in order, but no prefetcher looks beyond a page: ask for it ahead. */
enum { AHEAD = 256 };

INLINE void prefetch(const uint8_t *p, size_t bytes)
{
	for (size_t i = 0; i < bytes; i += 64) _mm_prefetch((const char *)p + i + AHEAD, _MM_HINT_T0);
}

/* A type's function of the above. */
typedef void (*unpack_fn)(const uint8_t *p0, const uint8_t *p1, struct eight *e);

/* The types that have one. */
/* name, bytes of 8 blocks of 32, bytes of one where rows may end within the 8 (else 0), two groups a block, minima,
 * more than 128 steps, offset */
#define UNPACK_TYPES(X)                                   \
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

#endif
#endif
