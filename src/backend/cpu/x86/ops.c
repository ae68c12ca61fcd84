/* ops.c: norms, element-wise operations, rope, softmax, activations to 8 bits, writing the KV cache. */
#include "backend/cpu/x86/ops.h"
#include "backend/cpu/levels.h"

/* Magnitudes as integers: ordered like the magnitudes, NaN above all. */
INLINE vi magnitude(vf x)
{
	return VI_AND(VF_BITS(x), VI(set1_epi32)(0x7FFFFFFF));
}

INLINE uint32_t largest(vi x)
{
#if defined __AVX512F__
	__m256i y = _mm256_max_epu32(_mm512_castsi512_si256(x), _mm512_extracti64x4_epi64(x, 1));
#else
	__m256i y = x;
#endif
	__m128i z = _mm_max_epu32(_mm256_castsi256_si128(y), _mm256_extracti128_si256(y, 1));
	z = _mm_max_epu32(z, _mm_unpackhi_epi64(z, z));
	z = _mm_max_epu32(z, _mm_shuffle_epi32(z, 1));
	return (uint32_t)_mm_cvtsi128_si32(z);
}

/* 32 floats times scale to bytes, to nearest even; NaN and what is out of range become -127. */
INLINE __m256i to_bytes(const float *x, float scale)
{
	const __m256i lowest = _mm256_set1_epi8(-127);
	vf s = VF(set1_ps)(scale);
#if defined __AVX512F__
	__m128i a = _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x), s)));
	__m128i b = _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + 16), s)));
	return _mm256_max_epi8(_mm256_set_m128i(b, a), lowest);
#else
	__m256i i[4];
	UNROLL
	for (int j = 0; j < 4; j++) i[j] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 8 * j), s));
	__m256i a = _mm256_packs_epi32(i[0], i[1]), b = _mm256_packs_epi32(i[2], i[3]);
	/* packs works within 128-bit lanes: bring groups of 4 bytes back into order */
	__m256i q = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(a, b), _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
	return _mm256_max_epi8(q, lowest);
#endif
}

void LEVEL_NAME(quantize_row)(const float *x, size_t k, int8_t *q, float *d, int32_t *sum)
{
	for (size_t b = 0; b < k / 32; b++, x += 32, q += 32, sum += 2) {
		vi m = magnitude(VF(loadu_ps)(x));
		UNROLL
		for (int i = WIDTH; i < 32; i += WIDTH) m = VI(max_epu32)(m, magnitude(VF(loadu_ps)(x + i)));
		float max = bt_float_from_bits(largest(m));
		d[b] = max / 127.0f;
		__m256i v = _mm256_setzero_si256();
		if (max > 1e-30f && max < INFINITY) v = to_bytes(x, 127.0f / max);
		_mm256_storeu_si256((__m256i *)q, v);
		__m256i s = _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), v), _mm256_set1_epi16(1));
		s = _mm256_add_epi32(s, _mm256_srli_epi64(s, 32)); /* even words hold sums of 8 */
		s = _mm256_add_epi32(s, _mm256_unpackhi_epi64(s, s));
		sum[0] = _mm_cvtsi128_si32(_mm256_castsi256_si128(s));
		sum[1] = _mm_cvtsi128_si32(_mm256_extracti128_si256(s, 1));
	}
}

void LEVEL_NAME(rms_norm)(const float *x, const float *w, float eps, size_t n, float *y)
{
	struct lanes acc = lanes_zero();
	for (size_t i = 0; i < n; i += 16) UNROLL
	for (int h = 0; h < PARTS; h++) {
		size_t at = i + (size_t)(WIDTH * h);
		vf v = load_part(x + at, (ptrdiff_t)n - (ptrdiff_t)at);
		acc.v[h] = VF(fmadd_ps)(v, v, acc.v[h]);
	}
	float scale = 1.0f / sqrtf(tree16(acc) / (float)n + eps);
	vf s = VF(set1_ps)(scale);
	for (size_t i = 0; i < n; i += WIDTH) {
		ptrdiff_t left = (ptrdiff_t)(n - i);
		vf v = VF(mul_ps)(load_part(x + i, left), s);
		if (w) v = VF(mul_ps)(v, load_part(w + i, left));
		store_part(y + i, left, v);
	}
}

void LEVEL_NAME(add)(const float *a, const float *b, size_t n, float *y)
{
	for (size_t i = 0; i < n; i += WIDTH) {
		ptrdiff_t left = (ptrdiff_t)(n - i);
		store_part(y + i, left, VF(add_ps)(load_part(a + i, left), load_part(b + i, left)));
	}
}

void LEVEL_NAME(silu_mul)(const float *g, const float *u, size_t n, float *y)
{
	for (size_t i = 0; i < n; i += WIDTH) {
		ptrdiff_t left = (ptrdiff_t)(n - i);
		vf v = load_part(g + i, left);
		store_part(y + i, left, VF(mul_ps)(VF(div_ps)(v, one_plus_exp_minus(v)), load_part(u + i, left)));
	}
}

void LEVEL_NAME(sigmoid_mul)(const float *g, const float *u, size_t n, float *y)
{
	const vf one = VF(set1_ps)(1.0f);
	for (size_t i = 0; i < n; i += WIDTH) {
		ptrdiff_t left = (ptrdiff_t)(n - i);
		vf s = VF(div_ps)(one, one_plus_exp_minus(load_part(g + i, left)));
		store_part(y + i, left, VF(mul_ps)(s, load_part(u + i, left)));
	}
}

void LEVEL_NAME(relu2)(const float *x, size_t n, float *y)
{
	for (size_t i = 0; i < n; i += WIDTH) {
		ptrdiff_t left = (ptrdiff_t)(n - i);
		vf v = load_part(x + i, left);
		v = VF(max_ps)(VF(setzero_ps)(), v); /* in this order NaN comes through */
		store_part(y + i, left, VF(mul_ps)(v, v));
	}
}

/* cos and sin in turn, for the pairs 2i, 2i + 1 of the lower (half 0) or upper half of WIDTH pairs */
INLINE vf interleave(vf c, vf s, int half)
{
#if defined __AVX512F__
	const __m512i order = half ? _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
	                           : _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
	return _mm512_permutex2var_ps(c, order, s);
#else
	__m256 a = _mm256_unpacklo_ps(c, s), b = _mm256_unpackhi_ps(c, s);
	return half ? _mm256_permute2f128_ps(a, b, 0x31) : _mm256_permute2f128_ps(a, b, 0x20);
#endif
}

void LEVEL_NAME(rope)(float *x, const float *cos, const float *sin, size_t n_pairs, bool neox)
{
	for (size_t i = 0; i < n_pairs && neox; i += WIDTH) {
		ptrdiff_t left = (ptrdiff_t)(n_pairs - i);
		float *near = x + i, *far = near + n_pairs;
		vf a = load_part(near, left), b = load_part(far, left);
		vf c = load_part(cos + i, left), s = load_part(sin + i, left);
		store_part(near, left, VF(fmsub_ps)(a, c, VF(mul_ps)(b, s)));
		store_part(far, left, VF(fmadd_ps)(a, s, VF(mul_ps)(b, c)));
	}
	for (size_t i = 0; i < n_pairs && !neox; i += WIDTH) {
		ptrdiff_t left = (ptrdiff_t)(n_pairs - i);
		vf c = load_part(cos + i, left), s = load_part(sin + i, left);
		UNROLL
		for (int half = 0; half < 2; half++) {
			float *p = x + 2 * i + (size_t)(half * WIDTH);
			ptrdiff_t n = 2 * left - half * WIDTH;
			vf v = load_part(p, n), cs = interleave(c, s, half);
			vf far = VF(mul_ps)(VF(movehdup_ps)(v), VF(permute_ps)(cs, 0xB1));
			store_part(p, n, VF(fmaddsub_ps)(VF(moveldup_ps)(v), cs, far));
		}
	}
}

void LEVEL_NAME(softmax)(const float *x, size_t n, float *p)
{
	vf m = VF(set1_ps)(-INFINITY);
	size_t i = 0;
	for (; i + WIDTH <= n; i += WIDTH) m = VF(max_ps)(VF(loadu_ps)(x + i), m);
	float lane[WIDTH], max = -INFINITY;
	VF(storeu_ps)(lane, m);
	for (int l = 0; l < WIDTH; l++) max = lane[l] > max ? lane[l] : max;
	for (; i < n; i++) max = x[i] > max ? x[i] : max;
	struct lanes acc = lanes_zero();
	m = VF(set1_ps)(max);
	for (i = 0; i < n; i += 16) UNROLL
	for (int h = 0; h < PARTS; h++) {
		size_t at = i + (size_t)(WIDTH * h);
		ptrdiff_t left = (ptrdiff_t)n - (ptrdiff_t)at;
		if (left <= 0) break;
		vf e = vector_exp(VF(sub_ps)(load_part(x + at, left), m));
		store_part(p + at, left, e);
		acc.v[h] = VF(add_ps)(acc.v[h], load_part(p + at, left));
	}
	vf s = VF(set1_ps)(1.0f / tree16(acc));
	for (i = 0; i < n; i += WIDTH) {
		ptrdiff_t left = (ptrdiff_t)(n - i);
		store_part(p + i, left, VF(mul_ps)(load_part(p + i, left), s));
	}
}

static void pack_f16(const float *x, uint8_t *dst, size_t n)
{
	size_t i = 0;
	for (; i + 8 <= n; i += 8)
		_mm_storeu_si128((__m128i *)(dst + 2 * i),
		                 _mm256_cvtps_ph(_mm256_loadu_ps(x + i),
		                                 _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
	for (; i < n; i++) {
		uint16_t h = bt_f32_to_f16(x[i]);
		memcpy(dst + 2 * i, &h, 2);
	}
}

/* As the type's own pack: d = max / 127, q = x / d with halves away from zero. Adding the float before 0.5 with x's sign
 * and cutting off rounds so: a half then reaches the next integer by rounding, all below stays below. */
static void pack_q8_0(const float *x, uint8_t *dst, size_t n)
{
	const __m256 sign = _mm256_set1_ps(-0.0f), half = _mm256_set1_ps(0x1.fffffep-2f);
	for (size_t b = 0; b < n / 32; b++, x += 32, dst += 34) {
		__m256 v[4], m = _mm256_setzero_ps();
		UNROLL
		for (int i = 0; i < 4; i++) {
			v[i] = _mm256_loadu_ps(x + 8 * i);
			m = _mm256_max_ps(_mm256_andnot_ps(sign, v[i]), m);
		}
		__m128 z = _mm_max_ps(_mm256_castps256_ps128(m), _mm256_extractf128_ps(m, 1));
		z = _mm_max_ps(z, _mm_movehl_ps(z, z));
		z = _mm_max_ss(z, _mm_movehdup_ps(z));
		float d = _mm_cvtss_f32(z) / 127.0f, id = d != 0.0f ? 1.0f / d : 0.0f;
		uint16_t h = bt_f32_to_f16(d);
		memcpy(dst, &h, 2);
		__m256i q[4];
		UNROLL
		for (int i = 0; i < 4; i++) {
			v[i] = _mm256_mul_ps(v[i], _mm256_set1_ps(id));
			q[i] = _mm256_cvttps_epi32(_mm256_add_ps(v[i], _mm256_or_ps(_mm256_and_ps(v[i], sign), half)));
		}
		__m256i a = _mm256_packs_epi32(q[0], q[1]), c = _mm256_packs_epi32(q[2], q[3]);
		a = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(a, c), _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
		_mm256_storeu_si256((__m256i *)(dst + 2), _mm256_max_epi8(a, _mm256_set1_epi8(-127)));
	}
}

void LEVEL_NAME(kv_pack)(const struct bt_type *type, const float *x, void *dst, size_t n)
{
	if (type->id == BT_TYPE_F16) pack_f16(x, dst, n);
	else if (type->id == BT_TYPE_Q8_0) pack_q8_0(x, dst, n);
	else bt_ref_kv_pack(type, x, dst, n);
}
