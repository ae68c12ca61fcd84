/* matmul_int.c: the matrix product of integer weights: one token straight from the rows, more through panels. */
#include "backend/cpu/x86/matmul_int.h"

struct int_class LEVEL_NAME(int_class)(const struct bt_type *type)
{
	struct int_class c = {.groups = type->group == 16 ? 2 : 1,
	                      .has_min = type->has_min,
	                      .has_offset = type->q_min != 0};
	int low = -type->q_min;
	while (1 << c.shift < low) c.shift++;
	int range = type->q_max + (low ? 1 << c.shift : 0);
#if defined __AVX512VNNI__
	(void)range;
	c.steps = 8;
#else
	/* two neighbours' products, summed over `steps` steps, stay within 16 bits: 2 * 127 * range * steps <= 32767 */
	int most = 8 / c.groups;
	while (most > 0 && 2 * 127 * range * most > 32767) most /= 2;
	c.steps = (uint8_t)most;
	if (!most) c.has_offset = false;
#endif
	return c;
}

static const float *x_d(const struct bt_cpu_matmul *m, size_t row)
{
	return m->x->d + row * (m->k / 32);
}

/* ---- one token ---- */

static uint8_t *carve(uint8_t **at, size_t bytes)
{
	uint8_t *p = *at;
	*at += (bytes + 63) / 64 * 64;
	return p;
}

static void vector_x(struct vector_x *v, const struct bt_cpu_matmul *m, size_t row, const struct int_class *c,
                     bool quads, uint8_t **scratch)
{
	const size_t step = 8 * ROWS, nb = m->k / 32, padded = (nb + step - 1) / step * step;
	const int32_t *sum = m->x->sum + row * 2 * nb;
	const int8_t *xq = m->x->q + row * m->k;
	uint8_t *q = carve(scratch, padded * 32);
	float *d = (float *)carve(scratch, padded * 4);
	if (nb < padded) memset(q + 32 * (padded - step), 0, 32 * step);
	for (size_t b = 0; b < nb; b++) {
		__m256i xb = _mm256_loadu_si256((const __m256i *)(xq + 32 * b));
		if (quads) {
			uint8_t *out = q + 32 * (b / 4 * 4) + 16 * (b % 4);
			_mm_storeu_si128((__m128i *)out, _mm256_castsi256_si128(xb));
			_mm_storeu_si128((__m128i *)(out + 64), _mm256_extracti128_si256(xb, 1));
		} else {
			size_t at = b / step * step + b % 8 * ROWS + b / 8 % ROWS;
			_mm256_storeu_si256((__m256i *)(q + 32 * at), xb);
		}
	}
	memcpy(d, x_d(m, row), nb * 4);
	memset(d + nb, 0, (padded - nb) * 4);
	*v = (struct vector_x){.q = (int8_t *)q, .d = d};
	for (int g = 0; g < c->groups; g++) {
		uint8_t *out = carve(scratch, padded * 4);
		memset(out, 0, padded * 4);
		int32_t *off = (int32_t *)out;
		float *fsum = (float *)out;
		for (size_t b = 0; b < nb; b++) {
			int32_t s = c->groups == 2 ? sum[2 * b + (size_t)g] : sum[2 * b] + sum[2 * b + 1];
			if (c->has_min) fsum[b] = (float)s;
			else off[b] = s * (1 << c->shift);
		}
		v->off[g] = off;
		v->sum[g] = fsum;
	}
}

static void one_token(const struct bt_cpu_matmul *m, size_t row0, size_t row1, const struct int_class *c,
                      uint8_t *scratch)
{
	struct vector_x x;
	vector_fn quads = LEVEL_NAME(vector_quads)(m->type), fn = quads ? quads : LEVEL_NAME(vector)(m->type);
	vector_x(&x, m, m->x_row ? m->x_row[0] : 0, c, quads != NULL, &scratch);
	float *y = m->y + (m->y_row ? m->y_row[0] : 0) * m->y_stride + row0;
	const uint8_t *w = (const uint8_t *)m->w + row0 * m->row_bytes;
	fn(m->type, w, m->row_bytes, row1 - row0, m->k / 32, &x, y);
}

/* ---- many tokens ---- */

/* The words of an x tile that go with its bytes, for blocks 8g .. 8g + 7 (the first `blocks` exist) of up to 8 tokens:
 * word[i] holds token i's 8 values; store them, token after token, in each block's record. */
static void store_words(const __m256i word[8], size_t tokens, size_t blocks, const size_t start[8], size_t g,
                        size_t record, uint8_t *tile)
{
	__m256i a[8], b[8];
	UNROLL
	for (int i = 0; i < 8; i += 2) {
		a[i] = _mm256_unpacklo_epi32(word[i], word[i + 1]);
		a[i + 1] = _mm256_unpackhi_epi32(word[i], word[i + 1]);
	}
	UNROLL
	for (int i = 0; i < 8; i += 4) {
		b[i] = _mm256_unpacklo_epi64(a[i], a[i + 2]);
		b[i + 1] = _mm256_unpackhi_epi64(a[i], a[i + 2]);
		b[i + 2] = _mm256_unpacklo_epi64(a[i + 1], a[i + 3]);
		b[i + 3] = _mm256_unpackhi_epi64(a[i + 1], a[i + 3]);
	}
	UNROLL
	for (int i = 0; i < 4; i++) {
		a[i] = _mm256_permute2x128_si256(b[i], b[i + 4], 0x20);
		a[i + 4] = _mm256_permute2x128_si256(b[i], b[i + 4], 0x31);
	}
	for (size_t l = 0; l < blocks; l++) {
		uint8_t *out = tile + (start[l] + g) * record;
		if (tokens == 8) {
			_mm256_storeu_si256((__m256i *)out, a[l]);
		} else {
			uint8_t tmp[32];
			_mm256_storeu_si256((__m256i *)tmp, a[l]);
			memcpy(out, tmp, 4 * tokens);
		}
	}
}

/* The first n (1 .. 8) of 8 words, others 0. */
INLINE __m256i load_words(const void *p, size_t n)
{
	if (n == 8) return _mm256_loadu_si256(p);
	__m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
	return _mm256_maskload_epi32(p, _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), index));
}

/* Sums of q over 16 values, 2 a block, to those of the lower 16, of the upper 16 and of both, signs turned. */
INLINE void sum_words(const int32_t *sum, size_t blocks, __m256i *both, __m256i *low, __m256i *high)
{
	__m256i a = load_words(sum, 2 * blocks < 8 ? 2 * blocks : 8);
	__m256i b = blocks > 4 ? load_words(sum + 8, 2 * blocks - 8) : _mm256_setzero_si256();
	__m256 even = _mm256_shuffle_ps(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b), 0x88);
	__m256 odd = _mm256_shuffle_ps(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b), 0xDD);
	*low = _mm256_permute4x64_epi64(_mm256_castps_si256(even), 0xD8);
	*high = _mm256_permute4x64_epi64(_mm256_castps_si256(odd), 0xD8);
	*low = _mm256_sub_epi32(_mm256_setzero_si256(), *low);
	*high = _mm256_sub_epi32(_mm256_setzero_si256(), *high);
	*both = _mm256_add_epi32(*low, *high);
}

/* n rows of x to a tile (matmul_int.h). */
static void x_tile(const struct bt_cpu_acts *x, const size_t row[TILE_MAX], size_t n, uint8_t *tile)
{
	const size_t nb = x->k / 32, record = n * PACK_BLOCK;
	size_t start[8];
	lane_starts(nb, start);
	for (size_t g = 0; 8 * g < nb; g++) {
		size_t blocks = nb - 8 * g < 8 ? nb - 8 * g : 8;
		for (size_t l = 0; l < blocks; l++) {
			uint8_t *out = tile + (start[l] + g) * record;
			for (size_t t = 0; t < n; t++) {
				const int8_t *q = x->q + row[t] * x->k + 32 * (8 * g + l);
				_mm256_storeu_si256((__m256i *)(out + 32 * t), _mm256_loadu_si256((const __m256i *)q));
			}
		}
		for (size_t t0 = 0; t0 < n; t0 += 8) {
			size_t tokens = n - t0 < 8 ? n - t0 : 8;
			uint8_t *out = tile + 32 * n + 4 * t0;
			__m256i d[8], both[8], low[8], high[8];
			for (size_t t = 0; t < 8; t++) {
				size_t r = row[t0 + t % tokens];
				d[t] = load_words(x->d + r * nb + 8 * g, blocks);
				sum_words(x->sum + r * 2 * nb + 16 * g, blocks, &both[t], &low[t], &high[t]);
			}
			store_words(d, tokens, blocks, start, g, record, out);
			store_words(both, tokens, blocks, start, g, record, out + 4 * n);
			store_words(low, tokens, blocks, start, g, record, out + 8 * n);
			store_words(high, tokens, blocks, start, g, record, out + 12 * n);
		}
	}
}

void LEVEL_NAME(pack)(const struct bt_cpu_acts *x, size_t t0, size_t t1)
{
	while (t0 < t1) {
		size_t n = LEVEL_NAME(tile_size)(x->n_tokens - t0), row[TILE_MAX];
		for (size_t t = 0; t < n; t++) row[t] = t0 + t;
		x_tile(x, row, n, (uint8_t *)x->packed + t0 * (x->k / 32) * PACK_BLOCK);
		t0 += n;
	}
}

/* Tokens t .. t + n of the call as a tile: packed before, or now, in scratch. */
static const uint8_t *tile_at(const struct bt_cpu_matmul *m, size_t t, size_t n, uint8_t *scratch)
{
	if (m->x->packed && !m->x_row && m->n_tokens == m->x->n_tokens)
		return (const uint8_t *)m->x->packed + t * (m->k / 32) * PACK_BLOCK;
	size_t row[TILE_MAX];
	for (size_t i = 0; i < n; i++) row[i] = m->x_row ? m->x_row[t + i] : t + i;
	x_tile(m->x, row, n, scratch);
	return scratch;
}

static void many_tokens(const struct bt_cpu_matmul *m, size_t row0, size_t row1, const struct int_class *c,
                        uint8_t *scratch)
{
	const size_t nb = m->k / 32, panel_bytes = nb * panel_record(c);
	size_t n_panels = PANEL_BUDGET / panel_bytes;
	if (!n_panels) n_panels = 1;
	uint8_t *own_tile = carve(&scratch, nb * TILE_MAX * PACK_BLOCK), *panels = scratch;
	panel_fn unpack = LEVEL_NAME(panel)(m->type);
	for (size_t r = row0; r < row1; r += n_panels * PANEL) {
		size_t end = r + n_panels * PANEL < row1 ? r + n_panels * PANEL : row1;
		for (size_t p = r, i = 0; p < end; p += PANEL, i++)
			unpack(m->type, (const uint8_t *)m->w + p * m->row_bytes, m->row_bytes,
			       end - p < PANEL ? end - p : PANEL, nb, panels + i * panel_bytes);
		for (size_t t = 0; t < m->n_tokens;) {
			size_t n = LEVEL_NAME(tile_size)(m->n_tokens - t);
			tile_fn fn = LEVEL_NAME(tile)(c, n);
			const uint8_t *tile = tile_at(m, t, n, own_tile);
			for (size_t p = r, i = 0; p < end; p += PANEL, i++) {
				float *y[TILE_MAX];
				for (size_t j = 0; j < n; j++)
					y[j] = m->y + (m->y_row ? m->y_row[t + j] : t + j) * m->y_stride + p;
				fn(panels + i * panel_bytes, tile, nb, c->shift, end - p < PANEL ? end - p : PANEL, y);
			}
			t += n;
		}
	}
}

void LEVEL_NAME(matmul_int)(const struct bt_cpu_matmul *m, size_t row0, size_t row1, void *scratch)
{
	struct int_class c = LEVEL_NAME(int_class)(m->type);
	if (row0 >= row1) return;
	if (m->n_tokens == 1) one_token(m, row0, row1, &c, scratch);
	else many_tokens(m, row0, row1, &c, scratch);
}

size_t LEVEL_NAME(matmul_int_scratch)(size_t k_max)
{
	struct int_class widest = {.groups = 2, .has_min = true};
	size_t nb = k_max / 32 + 8 * ROWS, panels = nb * panel_record(&widest);
	if (panels < PANEL_BUDGET) panels = PANEL_BUDGET;
	return panels + nb * TILE_MAX * PACK_BLOCK + 4096;
}
