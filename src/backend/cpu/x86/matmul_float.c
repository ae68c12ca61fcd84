/* matmul_float.c: the matrix product in floats: F32, F16 and BF16 weights, and every type in exact mode.
 *
 * A dot product has 16 lanes along k. Several tokens: a block of rows is turned into floats once, then tiles of TILE_ROWS
 * rows and TILE_TOKENS tokens keep their lanes in registers. One token: straight from the row.
 */
#include "backend/cpu/x86/matmul_float.h"

#include "backend/cpu/x86/simd.h"

enum {
	TILE_ROWS = WIDTH == 16 ? 4 : 2,
	TILE_TOKENS = WIDTH == 16 ? 6 : 3,
	ROWS_BUDGET = 256 * 1024, /* bytes of rows turned into floats at a time */
	BLOCK_ROWS = 64,          /* rows of such a block at most */
};

/* WIDTH weights as floats */
typedef vf (*load_fn)(const uint8_t *p);

INLINE vf load_f32(const uint8_t *p)
{
	return VF(loadu_ps)((const float *)p);
}

#if defined __AVX512F__
INLINE vf load_f16(const uint8_t *p)
{
	return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}

INLINE vf load_bf16(const uint8_t *p)
{
	return _mm512_castsi512_ps(
		_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p)), 16));
}
#else
INLINE vf load_f16(const uint8_t *p)
{
	return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
}

INLINE vf load_bf16(const uint8_t *p)
{
	return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p)), 16));
}
#endif

/* ---- one token, k a multiple of 16 ---- */

/* y[0 .. n) = rows at w times x; n rows run together, so that no row waits for its own sums. */
INLINE void dot_rows(load_fn load, size_t bytes, int n, const uint8_t *w, size_t row_bytes, const float *x, size_t k,
                     float *y)
{
	struct lanes acc[8];
	UNROLL
	for (int r = 0; r < n; r++) acc[r] = lanes_zero();
	for (size_t i = 0; i < k; i += 16) {
		UNROLL
		for (int h = 0; h < PARTS; h++) {
			vf xi = VF(loadu_ps)(x + i + WIDTH * h);
			UNROLL
			for (int r = 0; r < n; r++) {
				const uint8_t *p = w + (size_t)r * row_bytes + (i + (size_t)(WIDTH * h)) * bytes;
				acc[r].v[h] = VF(fmadd_ps)(load(p), xi, acc[r].v[h]);
			}
		}
	}
	UNROLL
	for (int r = 0; r < n; r++) y[r] = tree16(acc[r]);
}

INLINE void one_token(load_fn load, size_t bytes, const struct bt_cpu_matmul *m, size_t row0, size_t row1)
{
	const float *x = m->x->f32 + (m->x_row ? m->x_row[0] : 0) * m->x->f32_stride;
	float *y = m->y + (m->y_row ? m->y_row[0] : 0) * m->y_stride;
	const uint8_t *w = m->w;
	size_t r = row0;
	for (; r + 4 <= row1; r += 4) dot_rows(load, bytes, 4, w + r * m->row_bytes, m->row_bytes, x, m->k, y + r);
	for (; r < row1; r++) dot_rows(load, bytes, 1, w + r * m->row_bytes, m->row_bytes, x, m->k, y + r);
}

/* ---- several tokens ---- */

INLINE void tile(int R, int T, const float *w, size_t w_stride, const float *const *x, size_t k, float *const *y)
{
	struct lanes acc[TILE_ROWS][TILE_TOKENS];
	UNROLL
	for (int r = 0; r < R; r++) UNROLL
	for (int t = 0; t < T; t++) acc[r][t] = lanes_zero();
	for (size_t i = 0; i < k; i += 16) {
		UNROLL
		for (int h = 0; h < PARTS; h++) {
			vf wr[TILE_ROWS];
			size_t at = i + (size_t)(WIDTH * h);
			UNROLL
			for (int r = 0; r < R; r++) wr[r] = VF(loadu_ps)(w + (size_t)r * w_stride + at);
			UNROLL
			for (int t = 0; t < T; t++) {
				vf xt = VF(loadu_ps)(x[t] + at);
				UNROLL
				for (int r = 0; r < R; r++) acc[r][t].v[h] = VF(fmadd_ps)(wr[r], xt, acc[r][t].v[h]);
			}
		}
	}
	UNROLL
	for (int t = 0; t < T; t++) UNROLL
	for (int r = 0; r < R; r++) y[t][r] = tree16(acc[r][t]);
}

static void tile_whole(const float *w, size_t w_stride, const float *const *x, size_t k, float *const *y)
{
	tile(TILE_ROWS, TILE_TOKENS, w, w_stride, x, k, y);
}

static void tile_token(const float *w, size_t w_stride, const float *const *x, size_t k, float *const *y)
{
	tile(TILE_ROWS, 1, w, w_stride, x, k, y);
}

static void tile_row(const float *w, size_t w_stride, const float *const *x, size_t k, float *const *y)
{
	tile(1, TILE_TOKENS, w, w_stride, x, k, y);
}

static void tile_one(const float *w, size_t w_stride, const float *const *x, size_t k, float *const *y)
{
	tile(1, 1, w, w_stride, x, k, y);
}

/* rows x tokens (at most TILE_TOKENS) of a block */
static void tiles(const float *w, size_t w_stride, size_t rows, const float *const *x, size_t tokens, size_t k,
                  float *const *y)
{
	for (size_t r = 0; r < rows;) {
		size_t n = rows - r >= TILE_ROWS ? TILE_ROWS : 1;
		float *yr[TILE_TOKENS];
		for (size_t t = 0; t < tokens; t++) yr[t] = y[t] + r;
		if (tokens == TILE_TOKENS) {
			(n > 1 ? tile_whole : tile_row)(w + r * w_stride, w_stride, x, k, yr);
		} else {
			for (size_t t = 0; t < tokens; t++)
				(n > 1 ? tile_token : tile_one)(w + r * w_stride, w_stride, x + t, k, yr + t);
		}
		r += n;
	}
}

/* A row of weights as floats, padded with zeros to a multiple of 16. */
static void row_to_float(const struct bt_type *type, const uint8_t *src, size_t k, float *dst)
{
	size_t whole = k / 16 * 16, i = 0;
	if (type->id == BT_TYPE_F16)
		for (; i < whole; i += WIDTH) VF(storeu_ps)(dst + i, load_f16(src + 2 * i));
	if (type->id == BT_TYPE_BF16)
		for (; i < whole; i += WIDTH) VF(storeu_ps)(dst + i, load_bf16(src + 2 * i));
	if (i < k) type->unpack(src + bt_type_row_bytes(type, i), dst + i, k - i);
	for (i = k; i % 16; i++) dst[i] = 0.0f;
}

/* Scratch: a block of rows, then TILE_TOKENS rows of x where k is no multiple of 16. */
static void many_tokens(const struct bt_cpu_matmul *m, size_t row0, size_t row1, float *scratch)
{
	const size_t k = (m->k + 15) / 16 * 16;
	size_t block = ROWS_BUDGET / (k * 4) / TILE_ROWS * TILE_ROWS;
	if (block < TILE_ROWS) block = TILE_ROWS;
	if (block > BLOCK_ROWS) block = BLOCK_ROWS;
	float *padded = scratch + block * k;
	bool in_place = m->type->id == BT_TYPE_F32 && k == m->k && m->row_bytes % 4 == 0;
	for (size_t r = row0; r < row1; r += block) {
		size_t rows = row1 - r < block ? row1 - r : block;
		const uint8_t *src = (const uint8_t *)m->w + r * m->row_bytes;
		for (size_t i = 0; i < rows && !in_place; i++)
			row_to_float(m->type, src + i * m->row_bytes, m->k, scratch + i * k);
		for (size_t t = 0; t < m->n_tokens; t += TILE_TOKENS) {
			size_t tokens = m->n_tokens - t < TILE_TOKENS ? m->n_tokens - t : TILE_TOKENS;
			const float *x[TILE_TOKENS];
			float *y[TILE_TOKENS];
			for (size_t i = 0; i < tokens; i++) {
				x[i] = m->x->f32 + (m->x_row ? m->x_row[t + i] : t + i) * m->x->f32_stride;
				y[i] = m->y + (m->y_row ? m->y_row[t + i] : t + i) * m->y_stride + r;
				if (k == m->k) continue;
				memcpy(padded + i * k, x[i], m->k * sizeof(float));
				memset(padded + i * k + m->k, 0, (k - m->k) * sizeof(float));
				x[i] = padded + i * k;
			}
			tiles(in_place ? (const float *)src : scratch, in_place ? m->row_bytes / 4 : k, rows, x, tokens,
			      k, y);
		}
	}
}

void LEVEL_NAME(matmul_float)(const struct bt_cpu_matmul *m, size_t row0, size_t row1, void *scratch)
{
	bool straight = m->n_tokens == 1 && m->k % 16 == 0;
	if (straight && m->type->id == BT_TYPE_F32) one_token(load_f32, 4, m, row0, row1);
	else if (straight && m->type->id == BT_TYPE_F16) one_token(load_f16, 2, m, row0, row1);
	else if (straight && m->type->id == BT_TYPE_BF16) one_token(load_bf16, 2, m, row0, row1);
	else many_tokens(m, row0, row1, scratch);
}

size_t LEVEL_NAME(matmul_float_scratch)(size_t k_max)
{
	size_t row = (k_max + 16) * sizeof(float), rows = TILE_ROWS * row;
	if (rows < ROWS_BUDGET) rows = ROWS_BUDGET;
	return rows + TILE_TOKENS * row;
}
