/* walk_recurrent.c: causal convolution, gated delta rule, Mamba-2 scan: levels against plain C bit for bit, plain C against
 * double precision, and the step form against the chunked form of the papers. */
#include "walk.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- convolution ---- */

struct conv_size {
	size_t n, channels, taps;
};

static void conv_case(struct walk *w, struct conv_size s, enum walk_pattern p, bool fresh, bool in_place)
{
	const size_t before = s.taps - 1, rows = s.n * s.channels, kept = before * s.channels;
	float *u = walk_alloc(rows * sizeof *u), *taps = walk_alloc(s.taps * s.channels * sizeof *taps);
	float *bias = walk_alloc(s.channels * sizeof *bias), *in = walk_alloc((kept + 1) * sizeof *in);
	float *y[2], *out[2];
	walk_case(w, "conv n %zu channels %zu taps %zu %s%s%s", s.n, s.channels, s.taps, walk_pattern_name(p),
	          fresh ? ", from the beginning" : "", in_place ? ", in place" : "");
	walk_fill(w, p, u, rows);
	walk_fill(w, WALK_RANDOM, taps, s.taps * s.channels);
	walk_fill(w, WALK_RANDOM, bias, s.channels);
	walk_fill(w, p, in, kept);
	for (int i = 0; i < 2; i++) {
		y[i] = walk_alloc(rows * sizeof(float));
		out[i] = walk_alloc((kept + 1) * sizeof(float));
		memcpy(out[i], in, kept * sizeof(float));
		struct bt_cpu_conv c = {u,
		                        y[i],
		                        s.n,
		                        s.channels,
		                        s.taps,
		                        taps,
		                        s.n % 2 ? bias : NULL,
		                        fresh ? NULL : in_place ? out[i] : in,
		                        out[i]};
		const struct bt_cpu_kernels *k = i ? &w->k : &w->ref;
		size_t cut = s.channels / 3; /* channels in two calls */
		k->conv(&c, 0, cut);
		k->conv(&c, cut, s.channels);
	}
	walk_same_bits(w, y[1], y[0], rows);
	walk_same_bits(w, out[1], out[0], kept);
	if (w->oracle && p != WALK_TINY) {
		double *want = malloc(rows * sizeof *want), *of = malloc(rows * sizeof *of);
		for (size_t i = 0; i < rows; i++) {
			size_t t = i / s.channels, c = i % s.channels;
			double sum = s.n % 2 ? bias[c] : 0, mag = fabs(sum);
			for (size_t j = 0; j < s.taps; j++) {
				size_t row = t + j;
				double x = row >= before ? (double)u[(row - before) * s.channels + c]
				           : fresh       ? 0
				                         : (double)in[row * s.channels + c];
				sum += x * taps[j * s.channels + c];
				mag += fabs(x * taps[j * s.channels + c]);
			}
			want[i] = sum / (1 + exp(-sum));
			/* silu's slope is at most 1.1; exp is clamped below -87 */
			of[i] = sum < -87 ? INFINITY : 1.1 * mag;
		}
		walk_close(w, y[0], want, of, rows, walk_tolerance(WALK_CONV, NULL, s.taps));
		free(want);
		free(of);
	}
	void *all[] = {u, taps, bias, in, y[0], y[1], out[0], out[1]};
	for (unsigned i = 0; i < 8; i++) walk_free(w, all[i]);
}

/* ---- recurrences ---- */

/* One head over n rows, the state [d_state][d_head]. */
struct head {
	size_t n, d_state, d_head, kq_stride, v_stride;
	float *k, *q, *v, *decay, *gain, *in, skip;
	bool fresh;
};

/* Keys and queries of length 1, as the delta rule has them: with longer ones its state may grow without bound. */
static void unit_rows(float *x, size_t n, size_t d, size_t stride)
{
	for (size_t t = 0; t < n; t++) {
		double sum = 1e-6;
		for (size_t i = 0; i < d; i++) sum += (double)x[t * stride + i] * x[t * stride + i];
		for (size_t i = 0; i < d; i++) x[t * stride + i] = (float)(x[t * stride + i] / sqrt(sum));
	}
}

static struct head head_make(struct walk *w, size_t n, size_t d_state, size_t d_head, enum walk_pattern p, bool fresh)
{
	struct head h = {
		.n = n, .d_state = d_state, .d_head = d_head, .kq_stride = 2 * d_state + 3, .v_stride = d_head + 5};
	h.fresh = fresh;
	h.k = walk_alloc(n * h.kq_stride * sizeof(float));
	h.q = walk_alloc(n * h.kq_stride * sizeof(float));
	h.v = walk_alloc(n * h.v_stride * sizeof(float));
	h.decay = walk_alloc(n * sizeof(float));
	h.gain = walk_alloc(n * sizeof(float));
	h.in = walk_alloc(d_state * d_head * sizeof(float));
	walk_fill(w, WALK_RANDOM, h.k, n * h.kq_stride);
	walk_fill(w, WALK_RANDOM, h.q, n * h.kq_stride);
	walk_fill(w, p, h.v, n * h.v_stride);
	walk_fill(w, p, h.in, d_state * d_head);
	unit_rows(h.k, n, d_state, h.kq_stride);
	unit_rows(h.q, n, d_state, h.kq_stride);
	for (size_t t = 0; t < n; t++) {
		h.decay[t] = (float)(walk_random(w) % 1000 + 1) / 1000.0f;
		h.gain[t] = (float)(walk_random(w) % 1000) / 1000.0f;
	}
	h.skip = 0.7f;
	return h;
}

static void head_free(struct walk *w, struct head *h)
{
	void *all[] = {h->k, h->q, h->v, h->decay, h->gain, h->in};
	for (unsigned i = 0; i < 6; i++) walk_free(w, all[i]);
}

static struct bt_cpu_recurrence head_call(const struct head *h, float *y, float *out, bool in_place)
{
	return (struct bt_cpu_recurrence){.k = h->k,
	                                  .q = h->q,
	                                  .v = h->v,
	                                  .y = y,
	                                  .kq_stride = h->kq_stride,
	                                  .v_stride = h->v_stride,
	                                  .y_stride = h->d_head,
	                                  .n = h->n,
	                                  .d_state = h->d_state,
	                                  .d_head = h->d_head,
	                                  .decay = h->decay,
	                                  .gain = h->gain,
	                                  .skip = h->skip,
	                                  .in = h->fresh   ? NULL
	                                        : in_place ? out
	                                                   : h->in,
	                                  .out = out};
}

/* The equations of plan.h in double precision; of[]: the same with all terms positive, which bounds what roundings are
 * proportional to. */
static void head_double(const struct head *h, bool delta, double *y, double *of)
{
	size_t ds = h->d_state, dh = h->d_head;
	double *s = calloc(ds * dh, sizeof *s), *m = calloc(ds * dh, sizeof *m);
	for (size_t i = 0; i < ds * dh && !h->fresh; i++) m[i] = fabs(s[i] = h->in[i]);
	for (size_t t = 0; t < h->n; t++) {
		const float *k = h->k + t * h->kq_stride, *q = h->q + t * h->kq_stride, *v = h->v + t * h->v_stride;
		for (size_t j = 0; j < dh; j++) {
			double u = 0, um = 0, o = 0, om = 0;
			for (size_t i = 0; i < ds && delta; i++) {
				u += s[i * dh + j] * k[i];
				um += m[i * dh + j] * fabs(k[i]);
			}
			double e = h->gain[t] * (v[j] - h->decay[t] * u),
			       em = h->gain[t] * (fabs(v[j]) + h->decay[t] * um);
			for (size_t i = 0; i < ds; i++) {
				s[i * dh + j] = h->decay[t] * s[i * dh + j] + k[i] * e;
				m[i * dh + j] = h->decay[t] * m[i * dh + j] + fabs(k[i]) * em;
				o += s[i * dh + j] * q[i];
				om += m[i * dh + j] * fabs(q[i]);
			}
			y[t * dh + j] = delta ? o : o + h->skip * v[j];
			of[t * dh + j] = delta ? om : om + fabs(h->skip * v[j]);
		}
	}
	free(s);
	free(m);
}

static void head_case(struct walk *w, const struct head *h, bool delta, bool in_place, bool oracle)
{
	size_t state = h->d_state * h->d_head, rows = h->n * h->d_head, cut = h->d_head > 40 ? 32 : h->d_head / 2;
	float *y[2], *out[2];
	for (int i = 0; i < 2; i++) {
		y[i] = walk_alloc(rows * sizeof(float));
		out[i] = walk_alloc(state * sizeof(float));
		memcpy(out[i], h->in, state * sizeof(float));
		struct bt_cpu_recurrence r = head_call(h, y[i], out[i], in_place);
		const struct bt_cpu_kernels *k = i ? &w->k : &w->ref;
		void (*fn)(const struct bt_cpu_recurrence *, size_t, size_t) = delta ? k->delta_net : k->mamba2;
		fn(&r, 0, cut); /* columns in two calls */
		fn(&r, cut, h->d_head);
	}
	walk_same_bits(w, y[1], y[0], rows);
	walk_same_bits(w, out[1], out[0], state);
	if (w->oracle && oracle) {
		double *want = malloc(rows * sizeof *want), *of = malloc(rows * sizeof *of);
		head_double(h, delta, want, of);
		walk_close(w, y[0], want, of, rows, walk_tolerance(WALK_RECURRENCE, NULL, h->n * 16 + h->d_state));
		free(want);
		free(of);
	}
	for (int i = 0; i < 2; i++) {
		walk_free(w, y[i]);
		walk_free(w, out[i]);
	}
}

/* ---- the chunked form ----
 *
 * Within a chunk that starts from state S, with g[t] the product of the decays up to and with row t (Yang et al., section
 * 3.3; the WY representation):
 *     e[t] = gain[t] * (v[t] - g[t] S^T k[t] - sum over s < t of g[t] / g[s] (k[s] . k[t]) e[s])
 *     y[t] = g[t] S^T q[t] + sum over s <= t of g[t] / g[s] (k[s] . q[t]) e[s]
 *     S    = g[last] S + sum over s of g[last] / g[s] k[s] e[s]^T
 * Mamba-2 (Dao and Gu, section 6) is the same with e[t] = gain[t] * v[t]. All sums over s are matrix products of a chunk,
 * which is how a GPU computes prompts; here they are loops in single precision, to show that both forms agree. */
static void chunk_errors(const struct head *h, bool delta, size_t t0, size_t n, const float *s, const float *g,
                         float *e)
{
	size_t dh = h->d_head;
	for (size_t t = 0; t < n; t++) {
		const float *k = h->k + (t0 + t) * h->kq_stride, *v = h->v + (t0 + t) * h->v_stride;
		for (size_t j = 0; j < dh; j++) {
			float sum = 0;
			for (size_t i = 0; i < h->d_state && delta; i++) sum += s[i * dh + j] * k[i];
			e[t * dh + j] = v[j] - (delta ? g[t] * sum : 0);
		}
		for (size_t b = 0; b < t && delta; b++) {
			float kk = 0;
			for (size_t i = 0; i < h->d_state; i++) kk += h->k[(t0 + b) * h->kq_stride + i] * k[i];
			for (size_t j = 0; j < dh; j++) e[t * dh + j] -= g[t] / g[b] * kk * e[b * dh + j];
		}
		for (size_t j = 0; j < dh; j++) e[t * dh + j] *= h->gain[t0 + t];
	}
}

static void chunk_step(const struct head *h, bool delta, size_t t0, size_t n, float *s, float *y)
{
	size_t dh = h->d_head, ds = h->d_state;
	float *g = malloc(n * sizeof *g), *e = malloc(n * dh * sizeof *e);
	for (size_t t = 0; t < n; t++) g[t] = h->decay[t0 + t] * (t ? g[t - 1] : 1);
	chunk_errors(h, delta, t0, n, s, g, e);
	for (size_t t = 0; t < n; t++) {
		const float *q = h->q + (t0 + t) * h->kq_stride, *v = h->v + (t0 + t) * h->v_stride;
		float *o = y + (t0 + t) * dh;
		for (size_t j = 0; j < dh; j++) {
			float sum = 0;
			for (size_t i = 0; i < ds; i++) sum += s[i * dh + j] * q[i];
			o[j] = g[t] * sum + (delta ? 0 : h->skip * v[j]);
		}
		for (size_t b = 0; b <= t; b++) {
			float kq = 0;
			for (size_t i = 0; i < ds; i++) kq += h->k[(t0 + b) * h->kq_stride + i] * q[i];
			for (size_t j = 0; j < dh; j++) o[j] += g[t] / g[b] * kq * e[b * dh + j];
		}
	}
	for (size_t i = 0; i < ds * dh; i++) s[i] *= g[n - 1];
	for (size_t b = 0; b < n; b++)
		for (size_t i = 0; i < ds; i++)
			for (size_t j = 0; j < dh; j++)
				s[i * dh + j] += g[n - 1] / g[b] * h->k[(t0 + b) * h->kq_stride + i] * e[b * dh + j];
	free(g);
	free(e);
}

/* Largest difference relative to the rows' root mean square. */
static double apart(const float *a, const float *b, size_t n)
{
	double most = 0, sum = 0;
	for (size_t i = 0; i < n; i++) {
		most = fmax(most, fabs((double)a[i] - b[i]));
		sum += (double)b[i] * b[i];
	}
	return most / sqrt(sum / (double)n);
}

static void chunked_case(struct walk *w, bool delta, size_t chunk)
{
	/* decays near 1, as trained models have them: g[t] / g[s] must stay a number over a chunk of 256 */
	struct head h = head_make(w, 256, 64, 48, WALK_RANDOM, false);
	for (size_t t = 0; t < h.n; t++) h.decay[t] = 1 - (1 - h.decay[t]) / 16;
	size_t rows = h.n * h.d_head, state = h.d_state * h.d_head;
	float *y = walk_alloc(rows * sizeof *y), *got = walk_alloc(rows * sizeof *got);
	float *out = walk_alloc(state * sizeof *out), *s = walk_alloc(state * sizeof *s);
	walk_case(w, "%s in chunks of %zu", delta ? "delta_net" : "mamba2", chunk);
	struct bt_cpu_recurrence r = head_call(&h, y, out, false);
	(delta ? w->k.delta_net : w->k.mamba2)(&r, 0, h.d_head);
	memcpy(s, h.in, state * sizeof *s);
	for (size_t t = 0; t < h.n; t += chunk) chunk_step(&h, delta, t, h.n - t < chunk ? h.n - t : chunk, s, got);
	double rows_apart = apart(got, y, rows), states_apart = apart(s, out, state);
	if (!(rows_apart <= 1e-5 && states_apart <= 1e-5))
		walk_fail(w, "rows are %.2e apart, states %.2e; 1e-5 is allowed", rows_apart, states_apart);
	void *all[] = {y, got, out, s};
	for (unsigned i = 0; i < 4; i++) walk_free(w, all[i]);
	head_free(w, &h);
}

void walk_recurrent(struct walk *w)
{
	static const struct conv_size convs[] = {{1, 1, 4},  {1, 17, 4}, {2, 40, 4},  {3, 33, 4},   {4, 96, 4},
	                                         {7, 64, 1}, {9, 50, 2}, {33, 31, 3}, {5, 1000, 4}, {2, 20, 8}};
	for (unsigned i = 0; i < sizeof convs / sizeof *convs; i++)
		for (int p = 0; p < WALK_PATTERNS; p++)
			for (int how = 0; how < 3; how++)
				conv_case(w, convs[i], (enum walk_pattern)p, how == 0, how == 2);
	static const size_t sizes[][3] = {{1, 128, 128}, {2, 128, 64}, {5, 64, 32}, {3, 4, 8},   {4, 6, 10},
	                                  {17, 16, 80},  {70, 32, 40}, {1, 1, 1},   {3, 256, 33}};
	for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++)
		for (int p = 0; p < WALK_PATTERNS; p++)
			for (int how = 0; how < 6; how++) {
				struct head h = head_make(w, sizes[i][0], sizes[i][1], sizes[i][2],
				                          (enum walk_pattern)p, how / 2 == 0);
				walk_case(w, "%s n %zu state %zu x %zu %s%s", how % 2 ? "delta_net" : "mamba2", h.n,
				          h.d_state, h.d_head, walk_pattern_name((enum walk_pattern)p),
				          how / 2 == 2 ? ", in place" : "");
				head_case(w, &h, how % 2, how / 2 == 2, p != WALK_TINY);
				head_free(w, &h);
			}
	static const size_t chunks[] = {1, 2, 3, 16, 64, 100, 128, 256};
	for (unsigned i = 0; i < sizeof chunks / sizeof *chunks; i++) {
		chunked_case(w, true, chunks[i]);
		chunked_case(w, false, chunks[i]);
	}
}
