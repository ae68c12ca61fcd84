/* matmul_tile.c: the matrix product's inner part: a panel of PANEL rows times a tile of T tokens.
 *
 * VNNI: 8 instructions a block and token multiply 32 values of 16 rows. Without it neighbours' products add up in 16
 * bits over as many steps as the type's range allows, and are widened then.
 */
#include "backend/cpu/x86/matmul_int.h"

INLINE vi broadcast4(const uint8_t *p)
{
	int x;
	memcpy(&x, p, sizeof x);
	return VI(set1_epi32)(x);
}

INLINE vf broadcast_float(const uint8_t *p)
{
	float x;
	memcpy(&x, p, sizeof x);
	return VF(set1_ps)(x);
}

/* Have x in a register here: gcc would put the sums off until all products are made, and spill these. */
#define PIN(x) __asm__("" : "+v"(x))

#if !defined __AVX512VNNI__
/* isum[t] += n <= 4 steps of 4 values from panel step `first`, whose products' sums fit 16 bits */
INLINE void add_few_steps(const uint8_t *q, const uint8_t *x, int first, int n, int T, bool is_signed, vi *isum)
{
	const vi ones = VI(set1_epi16)(1);
	vi w[4], u[4];
	UNROLL
	for (int i = 0; i < n; i++) {
		w[i] = VI_LOAD(q + 4 * PANEL * (first + i));
		u[i] = is_signed ? VI(abs_epi8)(w[i]) : w[i];
	}
	UNROLL
	for (int t = 0; t < T; t++) {
		vi s = VI_ZERO();
		UNROLL
		for (int i = 0; i < n; i++) {
			vi xt = broadcast4(x + 32 * t + 4 * (first + i));
			vi p = VI(maddubs_epi16)(u[i], is_signed ? move_sign(xt, w[i]) : xt);
			s = i ? VI(add_epi16)(s, p) : p;
		}
		isum[t] = VI(add_epi32)(isum[t], VI(madd_epi16)(s, ones));
		PIN(isum[t]);
	}
}

/* The same for all 8 steps of a block: more weights than registers, so tokens' sums stay there instead. */
INLINE void add_eight_steps(const uint8_t *q, const uint8_t *x, int T, vi *isum)
{
	const vi ones = VI(set1_epi16)(1);
	vi s[TILE_MAX];
	UNROLL
	for (int i = 0; i < 8; i++) {
		vi w = VI_LOAD(q + 4 * PANEL * i);
		UNROLL
		for (int t = 0; t < T; t++) {
			vi p = VI(maddubs_epi16)(w, broadcast4(x + 32 * t + 4 * i));
			s[t] = i ? VI(add_epi16)(s[t], p) : p;
			PIN(s[t]);
		}
	}
	UNROLL
	for (int t = 0; t < T; t++) isum[t] = VI(add_epi32)(isum[t], VI(madd_epi16)(s[t], ones));
}
#endif

/* isum[t] += n steps of 4 values from panel step `first`; without VNNI through 16 bits, `steps` at a time (0: signed) */
INLINE void add_steps(const uint8_t *q, const uint8_t *x, int first, int n, int T, int steps, vi *isum)
{
#if defined __AVX512VNNI__
	(void)steps;
	UNROLL
	for (int j = first; j < first + n; j++) {
		vi w = VI_LOAD(q + 4 * PANEL * j);
		UNROLL
		for (int t = 0; t < T; t++) isum[t] = VI(dpbusd_epi32)(isum[t], w, broadcast4(x + 32 * t + 4 * j));
	}
#else
	int together = steps < 1 ? 1 : steps < n ? steps : n;
	if (together < 8) UNROLL
	for (int j = first; j < first + n; j += together) add_few_steps(q, x, j, together, T, steps == 0, isum);
	else add_eight_steps(q, x, T, isum);
#endif
}

INLINE void store_tile_row(float *y, size_t n_rows, vf v)
{
	if (n_rows >= PANEL) {
		VF(storeu_ps)(y, v);
		return;
	}
	float tmp[PANEL];
	VF(storeu_ps)(tmp, v);
	memcpy(y, tmp, n_rows * sizeof *y);
}

/* y = tree8 over the lanes */
INLINE void store_tile(const vf lanes[8][TILE_MAX], int T, size_t n_rows, float *const *y)
{
	for (int t = 0; t < T; t++) {
		vf a = VF(add_ps)(VF(add_ps)(lanes[0][t], lanes[4][t]), VF(add_ps)(lanes[2][t], lanes[6][t]));
		vf b = VF(add_ps)(VF(add_ps)(lanes[1][t], lanes[5][t]), VF(add_ps)(lanes[3][t], lanes[7][t]));
		store_tile_row(y[t], n_rows, VF(add_ps)(a, b));
	}
}

INLINE void tile(int T, int groups, bool has_min, bool has_offset, int steps, const uint8_t *panel, const uint8_t *x,
                 size_t n_blocks, int shift, size_t n_rows, float *const *y)
{
	const __m128i count = _mm_cvtsi32_si128(shift);
	const size_t record = (size_t)PANEL * (32 + 4 * (size_t)groups * (has_min ? 2 : 1));
	const size_t x_record = (size_t)T * PACK_BLOCK;
	vf lanes[8][TILE_MAX];
	for (size_t lane = 0; lane < 8; lane++) {
		vf acc[TILE_MAX];
		UNROLL
		for (int t = 0; t < T; t++) acc[t] = VF(setzero_ps)();
		for (size_t n = lane_count(n_blocks, lane); n > 0; n--, panel += record, x += x_record) {
			const uint8_t *factors = panel + 32 * PANEL, *d = x + 32 * T;
			const uint8_t *sums = d + (groups == 2 ? 8 : 4) * T;
			vf term[TILE_MAX];
			UNROLL
			for (int g = 0; g < groups; g++) {
				vi isum[TILE_MAX];
				UNROLL
				for (int t = 0; t < T; t++)
					isum[t] = has_offset ? VI(sll_epi32)(broadcast4(sums + 4 * (T * g + t)), count)
					                     : VI_ZERO();
				add_steps(panel, x, 8 / groups * g, 8 / groups, T, steps, isum);
				vf scale = VF(loadu_ps)((const float *)(factors + 4 * PANEL * g));
				UNROLL
				for (int t = 0; t < T; t++) {
					vf f = VF(cvtepi32_ps)(isum[t]);
					term[t] = g ? VF(fmadd_ps)(scale, f, term[t]) : VF(mul_ps)(scale, f);
				}
			}
			UNROLL
			for (int g = 0; g < groups && has_min; g++) {
				vf min = VF(loadu_ps)((const float *)(factors + 4 * PANEL * (groups + g)));
				UNROLL
				for (int t = 0; t < T; t++)
					term[t] = VF(fnmadd_ps)(min,
					                        VF(cvtepi32_ps)(broadcast4(sums + 4 * (T * g + t))),
					                        term[t]);
			}
			UNROLL
			for (int t = 0; t < T; t++) acc[t] = VF(fmadd_ps)(broadcast_float(d + 4 * t), term[t], acc[t]);
		}
		UNROLL
		for (int t = 0; t < T; t++) lanes[lane][t] = acc[t];
	}
	store_tile(lanes, T, n_rows, y);
}

/* The kinds of types: groups, minima, offset, steps of 4 values whose products fit 16-bit sums (0: signed weights). With
 * VNNI steps don't matter and all weights are unsigned. */
#if defined __AVX512VNNI__
#define KINDS(X)      \
	X(1, 0, 1, 8) \
	X(1, 1, 0, 8) \
	X(2, 0, 1, 8) \
	X(2, 1, 0, 8)
#else
#define KINDS(X)                                      \
	X(1, 0, 1, 8) /* Q4_0, TQ1_0, TQ2_0 */        \
	X(1, 0, 1, 4) /* Q5_0, IQ1_S, IQ3_S, MXFP4 */ \
	X(1, 0, 1, 1) /* IQ2_XXS, IQ3_XXS */          \
	X(1, 0, 0, 0) /* Q8_0, IQ4_NL, IQ4_XS */      \
	X(1, 1, 0, 8) /* Q4_1, Q4_K */                \
	X(1, 1, 0, 4) /* Q5_1, Q5_K */                \
	X(2, 0, 1, 4) /* Q3_K, IQ1_M */               \
	X(2, 0, 1, 2) /* Q6_K */                      \
	X(2, 0, 1, 1) /* IQ2_XS, IQ2_S */             \
	X(2, 1, 0, 4) /* Q2_K */
#endif

#if defined __AVX512F__
#define SIZES(X, ...)      \
	X(12, __VA_ARGS__) \
	X(8, __VA_ARGS__)  \
	X(4, __VA_ARGS__)  \
	X(2, __VA_ARGS__)  \
	X(1, __VA_ARGS__)
#else
#define SIZES(X, ...)     \
	X(6, __VA_ARGS__) \
	X(4, __VA_ARGS__) \
	X(2, __VA_ARGS__) \
	X(1, __VA_ARGS__)
#endif

#define DEFINE(T, g, m, o, s)                                                                                   \
	static void tile_##T##_##g##m##o##s(const uint8_t *panel, const uint8_t *x, size_t n_blocks, int shift, \
	                                    size_t n_rows, float *const *y)                                     \
	{                                                                                                       \
		tile(T, g, m, o, s, panel, x, n_blocks, shift, n_rows, y);                                      \
	}
#define DEFINE_SIZES(g, m, o, s) SIZES(DEFINE, g, m, o, s)
KINDS(DEFINE_SIZES)

tile_fn LEVEL_NAME(tile)(const struct int_class *c, size_t tokens)
{
#define NAME(T, g, m, o, s) tile_##T##_##g##m##o##s,
#define ROW(g, m, o, s)     {g, m, o, s, {SIZES(NAME, g, m, o, s)}},
#define SIZE(T, ...)        T,
	static const struct {
		uint8_t groups, has_min, has_offset, steps;
		tile_fn fn[6];
	} kinds[] = {KINDS(ROW)};
	static const uint8_t sizes[] = {SIZES(SIZE, 0)};
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		if (kinds[i].groups != c->groups || kinds[i].has_min != c->has_min ||
		    kinds[i].has_offset != c->has_offset || kinds[i].steps != c->steps)
			continue;
		for (size_t j = 0; j < sizeof sizes; j++)
			if (sizes[j] == tokens) return kinds[i].fn[j];
	}
	return NULL;
}

size_t LEVEL_NAME(tile_size)(size_t tokens)
{
	static const uint8_t sizes[] = {SIZES(SIZE, 0)};
	size_t j = 0;
	while (sizes[j] > tokens) j++;
	return sizes[j];
}
