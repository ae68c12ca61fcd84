/* walk_matmul.c: activations to 8 bits, and the matrix products of every type. */
#include "walk.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct acts {
	struct bt_cpu_acts a;
	float *f32;
};

/* With packed activations half of the time, made in two calls. */
static void acts_make(struct walk *w, struct acts *x, enum walk_pattern p, size_t n, size_t k)
{
	size_t stride = k + 3; /* rows at odd addresses */
	*x = (struct acts){.f32 = walk_alloc(n * stride * sizeof(float))};
	walk_fill(w, p, x->f32, n * stride);
	x->a = (struct bt_cpu_acts){.n_tokens = n, .k = k, .f32 = x->f32, .f32_stride = stride};
	if (k % 32) return;
	x->a.q = walk_alloc(n * k);
	x->a.d = walk_alloc(n * (k / 32) * sizeof(float));
	x->a.sum = walk_alloc(n * (k / 16) * sizeof(int32_t));
	for (size_t t = 0; t < n; t++)
		w->ref.quantize_row(x->f32 + t * stride, k, x->a.q + t * k, x->a.d + t * (k / 32),
		                    x->a.sum + t * (k / 16));
	if (walk_random(w) % 2) return;
	size_t tile = w->k.pack_tile, cut = walk_random(w) % (n / tile + 1) * tile;
	x->a.packed = walk_alloc(n * (k / 32) * w->k.pack_block);
	if (cut) w->k.pack(&x->a, 0, cut);
	if (cut < n) w->k.pack(&x->a, cut, n);
}

static void acts_free(struct walk *w, struct acts *x)
{
	walk_free(w, x->f32);
	if (!x->a.q) return;
	walk_free(w, x->a.q);
	walk_free(w, x->a.d);
	walk_free(w, x->a.sum);
	if (x->a.packed) walk_free(w, x->a.packed);
}

static void quantize_against_double(struct walk *w, const float *x, const int8_t *q, const float *d, size_t k)
{
	double unit = walk_tolerance(WALK_QUANTIZE, NULL, k);
	float *back = malloc(k * sizeof *back);
	double *want = malloc(k * sizeof *want), *of = malloc(k * sizeof *of);
	for (size_t i = 0; i < k; i++) {
		back[i] = (float)((double)d[i / 32] * q[i]);
		want[i] = x[i];
		of[i] = d[i / 32];
	}
	walk_close(w, back, want, of, k, unit);
	free(back);
	free(want);
	free(of);
}

void walk_quantize(struct walk *w)
{
	static const size_t sizes[] = {32, 64, 96, 320, 576, 1536, 8960};
	for (unsigned s = 0; s < sizeof sizes / sizeof *sizes; s++)
		for (int p = 0; p < WALK_PATTERNS + 2; p++) {
			size_t k = sizes[s], nb = k / 32;
			walk_case(w, "quantize_row k %zu %s", k,
			          p < WALK_PATTERNS ? walk_pattern_name((enum walk_pattern)p) : "inf or NaN");
			float *x = walk_alloc(k * sizeof *x), *d = walk_alloc(nb * sizeof *d),
			      *rd = walk_alloc(nb * sizeof *d);
			int8_t *q = walk_alloc(k), *rq = walk_alloc(k);
			int32_t *sum = walk_alloc(2 * nb * sizeof *sum), *rsum = walk_alloc(2 * nb * sizeof *sum);
			walk_fill(w, p < WALK_PATTERNS ? (enum walk_pattern)p : WALK_RANDOM, x, k);
			if (p >= WALK_PATTERNS) x[walk_random(w) % k] = p == WALK_PATTERNS ? -INFINITY : NAN;
			w->ref.quantize_row(x, k, rq, rd, rsum);
			w->k.quantize_row(x, k, q, d, sum);
			walk_same_bytes(w, q, rq, k);
			walk_same_bits(w, d, rd, nb);
			walk_same_bytes(w, sum, rsum, 2 * nb * sizeof *sum);
			if (w->oracle && p < WALK_TINY) quantize_against_double(w, x, rq, rd, k);
			void *all[] = {x, d, rd, q, rq, sum, rsum};
			for (unsigned i = 0; i < 7; i++) walk_free(w, all[i]);
		}
}

/* A row of weights in double precision, and the magnitude of its parts scale * q and min, which may cancel. */
static void row_in_double(const struct bt_type *type, bool ints, const void *src, size_t k, double *row, double *mag)
{
	if (!ints) {
		float *f = malloc(k * sizeof *f);
		type->unpack(src, f, k);
		for (size_t i = 0; i < k; i++) mag[i] = fabs(row[i] = f[i]);
		free(f);
		return;
	}
	int8_t *q = malloc(k);
	float *scale = malloc(k / type->group * sizeof *scale), *min = calloc(k / type->group, sizeof *min);
	type->unpack_i8(src, q, scale, type->has_min ? min : NULL, k);
	for (size_t i = 0; i < k; i++) {
		double a = (double)scale[i / type->group] * q[i], b = min[i / type->group];
		row[i] = a + b;
		mag[i] = fabs(a) + fabs(b);
	}
	free(q);
	free(scale);
	free(min);
}

/* The product in double precision of the weights with the activations as the kernel sees them (8 bits for integer
 * types unless exact). */
static void matmul_against_double(struct walk *w, const struct bt_cpu_matmul *m, size_t rows, bool exact,
                                  const float *y)
{
	bool ints = m->type->group && !exact;
	double unit = walk_tolerance(WALK_MATMUL, ints ? m->type : NULL, m->k);
	float *got = malloc(m->n_tokens * sizeof *got);
	double *row = malloc(m->k * sizeof *row), *mag = malloc(m->k * sizeof *mag);
	double *want = malloc(m->n_tokens * sizeof *want), *of = malloc(m->n_tokens * sizeof *of);
	for (size_t r = 0; r < rows; r++) {
		row_in_double(m->type, ints, (const char *)m->w + r * m->row_bytes, m->k, row, mag);
		for (size_t t = 0; t < m->n_tokens; t++) {
			size_t xr = m->x_row ? m->x_row[t] : t;
			want[t] = of[t] = 0;
			for (size_t i = 0; i < m->k; i++) {
				double x = ints ? (double)m->x->d[xr * (m->k / 32) + i / 32] * m->x->q[xr * m->k + i]
				                : m->x->f32[xr * m->x->f32_stride + i];
				want[t] += row[i] * x;
				of[t] += mag[i] * fabs(x);
			}
			got[t] = y[(m->y_row ? m->y_row[t] : t) * m->y_stride + r];
		}
		walk_close(w, got, want, of, m->n_tokens, unit);
	}
	free(got);
	free(row);
	free(mag);
	free(want);
	free(of);
}

/* The same product with the rows cut anywhere and the tokens in two batches. */
static void cut_anywhere(struct walk *w, const struct bt_cpu_matmul *m, bt_cpu_matmul_fn fn, size_t rows)
{
	size_t n = m->n_tokens, n_out = m->y_row ? n + 3 : n;
	size_t cut = walk_random(w) % (rows + 1), split = walk_random(w) % (n + 1);
	memset(m->y, 0xA5, n_out * m->y_stride * sizeof *m->y);
	for (int part = 0; part < 2; part++) {
		struct bt_cpu_matmul h = *m;
		uint32_t x_row[512];
		size_t t0 = part ? split : 0, t1 = part ? n : split;
		if (t0 == t1) continue;
		for (size_t t = t0; t < t1; t++) x_row[t - t0] = m->x_row ? m->x_row[t] : (uint32_t)t;
		h.n_tokens = t1 - t0;
		h.x_row = x_row;
		h.y = m->y_row ? m->y : m->y + t0 * m->y_stride;
		h.y_row = m->y_row ? m->y_row + t0 : NULL;
		if (cut) fn(&h, 0, cut, w->scratch);
		if (cut < rows) fn(&h, cut, rows, w->scratch);
	}
}

/* One shape: whole and cut at odd rows, with and without gathers, whole batch and every token alone. */
static void matmul_case(struct walk *w, const struct bt_type *type, bool exact, size_t k, size_t rows, size_t n,
                        enum walk_pattern wp, enum walk_pattern xp, bool gather)
{
	bt_cpu_matmul_fn ref = exact ? w->ref.matmul_exact : w->ref.matmul[type->id];
	bt_cpu_matmul_fn fn = exact ? w->k.matmul_exact : w->k.matmul[type->id];
	walk_case(w, "%s%s k %zu rows %zu tokens %zu weights %s activations %s%s", exact ? "exact " : "", type->name, k,
	          rows, n, walk_pattern_name(wp), walk_pattern_name(xp), gather ? " gathered" : "");
	struct bt_cpu_matmul m = {.type = type, .row_bytes = bt_type_row_bytes(type, k), .k = k, .n_tokens = n};
	unsigned char *weights = walk_alloc(rows * m.row_bytes);
	m.w = weights;
	if (!walk_weights(w, type, wp, weights, rows * k)) {
		walk_free(w, weights);
		w->cases--;
		return;
	}
	size_t n_acts = gather ? n / 2 + 1 : n, n_out = gather ? n + 3 : n;
	struct acts x;
	acts_make(w, &x, xp, n_acts, k);
	uint32_t *x_row = malloc(n * sizeof *x_row), *y_row = malloc(n * sizeof *y_row);
	for (size_t t = 0; t < n; t++) {
		x_row[t] = (uint32_t)(walk_random(w) % n_acts);
		y_row[t] = (uint32_t)(n_out - 1 - t);
	}
	m.x = &x.a;
	if (gather) m.x_row = x_row, m.y_row = y_row;
	m.y_stride = rows + 5;
	size_t out = n_out * m.y_stride;
	float *want = walk_alloc(out * sizeof *want), *got = walk_alloc(out * sizeof *got);
	m.y = want;
	ref(&m, 0, rows, w->ref_scratch);
	if (w->oracle && xp != WALK_TINY) matmul_against_double(w, &m, rows, exact, want);
	m.y = got;
	fn(&m, 0, rows, w->scratch);
	walk_same_bits(w, got, want, out); /* the columns and rows in between still hold the guard pattern */
	cut_anywhere(w, &m, fn, rows);
	walk_same_bits(w, got, want, out);
	free(x_row);
	free(y_row);
	walk_free(w, want);
	walk_free(w, got);
	walk_free(w, weights);
	acts_free(w, &x);
}

void walk_matmul(struct walk *w, const struct bt_type *type, bool exact)
{
	static const size_t k_small[] = {32, 64, 96, 224, 256, 288, 576, 1536}, k_super[] = {256, 512, 1536, 2304},
			    k_float[] = {1, 7, 16, 33, 64, 100, 576, 1531};
	static const size_t rows[] = {1, 7, 16, 33, 2, 40}, tokens[] = {1, 2, 3, 4, 5, 8, 13, 17, 64, 130};
	const size_t *ks = !type->group && !exact ? k_float : type->block == 256 ? k_super : k_small;
	size_t n_k = type->block == 256 ? 4 : 8;
	for (size_t i = 0; i < n_k; i++)
		for (size_t j = 0; j < 10; j++) {
			size_t n = tokens[j], r = rows[(i + j) % 6];
			if (n > 16 && ks[i] > 300 && r > 16) r = 16;
			matmul_case(w, type, exact, ks[i], r, n, WALK_RANDOM, (enum walk_pattern)((i + j) % 3 ? 0 : 2),
			            j % 3 == 1);
		}
	/* every pattern of weights with every pattern of activations */
	for (int wp = 0; wp < WALK_PATTERNS; wp++)
		for (int xp = 0; xp < WALK_PATTERNS; xp++)
			for (int j = 0; j < 3; j++)
				matmul_case(w, type, exact, 512, 18, (size_t[]){1, 3, 14}[j], (enum walk_pattern)wp,
				            (enum walk_pattern)xp, j == 1);
	matmul_case(w, type, exact, WALK_K_MAX, 17, 1, WALK_RANDOM, WALK_RANDOM, false);
	matmul_case(w, type, exact, WALK_K_MAX, 17, 14, WALK_RANDOM, WALK_RANDOM, false);
}
