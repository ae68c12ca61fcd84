/* matmul_int.c: the matrix product of integer weights: one token straight from the rows, more through panels. */
#include "backend/cpu/x86/matmul_int.h"

static struct int_class class_of(const struct bt_type *type)
{
	int range = type->q_max - type->q_min;
	struct int_class c = {.groups = type->group == 16 ? 2 : 1, .has_min = type->has_min, .offset = -type->q_min};
#if defined __AVX512VNNI__
	c.steps = 8;
	if (range > 128) c.offset = 128;
#else
	/* two neighbours' products, summed over `steps` steps, stay within 16 bits: 2 * 127 * range * steps <= 32767 */
	int most = 8 / c.groups;
	while (most > 0 && 2 * 127 * range * most > 32767) most /= 2;
	c.steps = (uint8_t)most;
	if (range > 128) {
		c.steps = 0;
		c.offset = 0;
	}
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

/* Activations padded to whole groups of 8 blocks, with their sums as the type wants them. */
static void vector_x(struct vector_x *v, const struct bt_cpu_matmul *m, size_t row, const struct int_class *c,
                     uint8_t **scratch)
{
	size_t nb = m->k / 32, padded = (nb + 7) / 8 * 8;
	const int32_t *sum = m->x->sum + row * 2 * nb;
	int8_t *q = (int8_t *)carve(scratch, padded * 32);
	float *d = (float *)carve(scratch, padded * 4);
	memcpy(q, m->x->q + row * m->k, m->k);
	memset(q + m->k, 0, padded * 32 - m->k);
	memcpy(d, x_d(m, row), nb * 4);
	memset(d + nb, 0, (padded - nb) * 4);
	*v = (struct vector_x){.q = q, .d = d};
	for (int g = 0; g < c->groups; g++) {
		uint8_t *out = carve(scratch, padded * 4);
		memset(out, 0, padded * 4);
		int32_t *off = (int32_t *)out;
		float *fsum = (float *)out;
		for (size_t b = 0; b < nb; b++) {
			int32_t s = c->groups == 2 ? sum[2 * b + (size_t)g] : sum[2 * b] + sum[2 * b + 1];
			if (c->has_min) fsum[b] = (float)s;
			else off[b] = c->offset * s;
		}
		v->off[g] = off;
		v->sum[g] = fsum;
	}
}

static void one_token(const struct bt_cpu_matmul *m, size_t row0, size_t row1, size_t t, const struct int_class *c,
                      uint8_t *scratch)
{
	struct vector_x x;
	vector_x(&x, m, m->x_row ? m->x_row[t] : t, c, &scratch);
	float *y = m->y + (m->y_row ? m->y_row[t] : t) * m->y_stride + row0;
	LEVEL_NAME(int_type)
	(m->type)->vector(m->type, (const uint8_t *)m->w + row0 * m->row_bytes, m->row_bytes, row1 - row0, m->k / 32,
	                  &x, y);
}

/* ---- many tokens ---- */

/* Tokens first .. first + n of the call, lane by lane (matmul_int.h). */
static void x_tile(const struct bt_cpu_matmul *m, const struct int_class *c, size_t first, size_t n, uint8_t *tile)
{
	const size_t nb = m->k / 32, record = tile_record(c, n), groups = c->groups;
	size_t start[8];
	lane_starts(nb, start);
	for (size_t t = 0; t < n; t++) {
		size_t row = m->x_row ? m->x_row[first + t] : first + t;
		const int8_t *q = m->x->q + row * m->k;
		const float *d = x_d(m, row);
		const int32_t *sum = m->x->sum + row * 2 * nb;
		for (size_t lane = 0; lane < 8; lane++) {
			uint8_t *out = tile + start[lane] * record;
			for (size_t b = lane; b < nb; b += 8, out += record) {
				_mm256_storeu_si256((__m256i *)(out + 32 * t),
				                    _mm256_loadu_si256((const __m256i *)(q + 32 * b)));
				memcpy(out + 32 * n + 4 * t, d + b, 4);
				for (size_t g = 0; g < groups; g++) {
					int32_t s = groups == 2 ? sum[2 * b + g] : sum[2 * b] + sum[2 * b + 1];
					float f = (float)s;
					int32_t start_at = -c->offset * s;
					memcpy(out + 36 * n + 4 * (n * g + t),
					       c->has_min ? (const void *)&f : &start_at, 4);
				}
			}
		}
	}
}

static void many_tokens(const struct bt_cpu_matmul *m, size_t row0, size_t row1, const struct int_class *c,
                        uint8_t *scratch)
{
	const size_t nb = m->k / 32, panel_bytes = nb * panel_record(c);
	size_t n_panels = PANEL_BUDGET / panel_bytes;
	if (!n_panels) n_panels = 1;
	uint8_t *tile = carve(&scratch, nb * tile_record(c, TILE_MAX)), *panels = scratch;
	panel_fn unpack = LEVEL_NAME(int_type)(m->type)->panel;
	for (size_t r = row0; r < row1; r += n_panels * PANEL) {
		size_t end = r + n_panels * PANEL < row1 ? r + n_panels * PANEL : row1;
		for (size_t p = r, i = 0; p < end; p += PANEL, i++)
			unpack(m->type, (const uint8_t *)m->w + p * m->row_bytes, m->row_bytes,
			       end - p < PANEL ? end - p : PANEL, nb, panels + i * panel_bytes);
		for (size_t t = 0; t < m->n_tokens;) {
			size_t n = LEVEL_NAME(tile_size)(m->n_tokens - t);
			tile_fn fn = LEVEL_NAME(tile)(c, n);
			x_tile(m, c, t, n, tile);
			for (size_t p = r, i = 0; p < end; p += PANEL, i++) {
				float *y[TILE_MAX];
				for (size_t j = 0; j < n; j++)
					y[j] = m->y + (m->y_row ? m->y_row[t + j] : t + j) * m->y_stride + p;
				fn(panels + i * panel_bytes, tile, nb, end - p < PANEL ? end - p : PANEL, y);
			}
			t += n;
		}
	}
}

void LEVEL_NAME(matmul_int)(const struct bt_cpu_matmul *m, size_t row0, size_t row1, void *scratch)
{
	struct int_class c = class_of(m->type);
	if (row0 >= row1) return;
	if (m->n_tokens == 1) one_token(m, row0, row1, 0, &c, scratch);
	else many_tokens(m, row0, row1, &c, scratch);
}

size_t LEVEL_NAME(matmul_int_scratch)(size_t k_max)
{
	struct int_class widest = {.groups = 2, .has_min = true};
	size_t nb = k_max / 32 + 8, panels = nb * panel_record(&widest);
	if (panels < PANEL_BUDGET) panels = PANEL_BUDGET;
	return panels + nb * tile_record(&widest, TILE_MAX) + 4096;
}
