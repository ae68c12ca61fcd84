/* walk_recurrent.c: convolution, gated delta rule and Mamba-2 over several sequences in one launch, of different lengths, with
 * states from anywhere to anywhere.
 */
#include "walk.h"

enum { SLOTS = 6, SEQS = 4 };

/* The sequences of a case: n[i] rows each; one begins, one stays in its slot, slots are out of order. */
struct seqs {
	uint32_t n[SEQS], count;
};
static const uint32_t slot_in[SEQS] = {3, BT_GPU_NONE, 1, 5}, slot_out[SEQS] = {0, 2, 1, 4};

static uint32_t rows_in(const struct seqs *s)
{
	uint32_t rows = 0;
	for (uint32_t i = 0; i < s->count; i++) rows += s->n[i];
	return rows;
}

static void table_of(const struct seqs *s, uint32_t *seq)
{
	uint32_t row = 0;
	for (uint32_t i = 0; i < s->count; i++) {
		seq[i * 4] = row;
		seq[i * 4 + 1] = s->n[i];
		seq[i * 4 + 2] = slot_in[i];
		seq[i * 4 + 3] = slot_out[i];
		row += s->n[i];
	}
}

/* ---- convolution ---- */

static void cpu_conv(struct walk *w, const struct seqs *s, uint32_t channels, uint32_t taps, const float *u,
                     const float *wt, const float *bias, float *state, float *y)
{
	float *turned = calloc((size_t)taps * channels, sizeof *turned),
	      *old = calloc(SLOTS, (size_t)taps * channels * 4);
	size_t slot = (size_t)(taps - 1) * channels;
	for (uint32_t c = 0; c < channels; c++)
		for (uint32_t i = 0; i < taps; i++) turned[i * channels + c] = wt[c * 32 + i];
	memcpy(old, state, SLOTS * slot * 4);
	for (uint32_t i = 0, row = 0; i < s->count; row += s->n[i++]) {
		struct bt_cpu_conv c = {.u = u + (size_t)row * channels,
		                        .y = y + (size_t)row * channels,
		                        .n = s->n[i],
		                        .channels = channels,
		                        .taps = taps,
		                        .w = turned,
		                        .bias = bias,
		                        .in = slot_in[i] == BT_GPU_NONE ? NULL : old + slot_in[i] * slot,
		                        .out = state + slot_out[i] * slot};
		w->cpu.conv(&c, 0, channels);
	}
	free(turned);
	free(old);
}

static uint32_t chunks_of(const struct seqs *s, uint32_t *chunk, uint32_t most)
{
	uint32_t n = 0, row = 0;
	for (uint32_t i = 0; i < s->count; row += s->n[i++])
		for (uint32_t at = 0; at < s->n[i]; at += BT_GPU_CONV_CHUNK, n++) {
			chunk[2 * n] = i;
			chunk[2 * n + 1] = row + at;
		}
	for (uint32_t i = n; i < most; i++) chunk[2 * i + 1] = BT_GPU_NONE;
	return n;
}

static void walk_conv(struct walk *w, const struct seqs *s, uint32_t channels, uint32_t taps, bool with_bias)
{
	uint32_t rows = rows_in(s), seq[SEQS * 4], chunk[2 * 64],
		 most = (rows - s->count) / BT_GPU_CONV_CHUNK + s->count;
	size_t n = (size_t)rows * channels, kept = (size_t)SLOTS * (taps - 1) * channels;
	snprintf(w->what, sizeof w->what, "conv of %u taps, %u channels, %u sequences, %u rows", taps, channels,
	         s->count, rows);
	float *u = rows_of(w, n), *wt = rows_of(w, channels * 32), *bias = rows_of(w, channels),
	      *state = rows_of(w, kept + 1);
	float *want = calloc(n, 4), *got = calloc(n, 4), *after = calloc(kept + 1, 4);
	table_of(s, seq);
	w->cases++;
	if (chunks_of(s, chunk, most) > most) fail(w, "more chunks than were thought possible");
	struct bt_dev_mem m[] = {put(w, u, n * 4),           put(w, wt, channels * 32 * 4), put(w, bias, channels * 4),
	                         put(w, seq, sizeof seq),    put(w, chunk, sizeof chunk),   put(w, NULL, n * 4),
	                         put(w, state, kept * 4 + 4)};
	struct bt_gpu_conv p = {.u = at(&m[0]),
	                        .w = at(&m[1]),
	                        .bias = with_bias ? at(&m[2]) : 0,
	                        .state = at(&m[6]),
	                        .y = at(&m[5]),
	                        .seq = at(&m[3]),
	                        .chunk = at(&m[4]),
	                        .channels = channels,
	                        .taps = taps,
	                        .w_stride = 32,
	                        .slot_bytes = (taps - 1) * channels * 4};
	launch(w, taps > 4 ? BT_GPU_K_conv_16 : BT_GPU_K_conv_4, &p, (channels + 63) / 64, most, 1);
	take(w, got, &m[5], n * 4);
	take(w, after, &m[6], kept * 4 + 4);
	cpu_conv(w, s, channels, taps, u, wt, with_bias ? bias : NULL, state, want);
	judge(w, OP_CONV, got, want, n);
	judge(w, OP_COPY, after, state, kept);
	drop(w, m, 5);
	free(u), free(wt), free(bias), free(state), free(want), free(got), free(after);
}

/* ---- recurrences ---- */

struct recurrence {
	bool delta;
	uint32_t n_head, n_group, d_state, d_head;
	uint16_t kernel;
	bool neighbours; /* of the delta rule: they share a group */
};

struct values {
	uint32_t width, rows, heads, keys;
	float *x, *dt, *beta, *a, *bias, *d; /* a and d: columns, 32 floats apart */
	float *state, *y;
};

/* x / sqrt(sum x^2 + 1e-6) * by */
static void unit(const float *x, size_t n, double by, float *y)
{
	double sum = 1e-6;
	for (size_t i = 0; i < n; i++) sum += (double)x[i] * x[i];
	for (size_t i = 0; i < n; i++) y[i] = (float)(x[i] / sqrt(sum) * by);
}

/* One head of one sequence: rows from `row` on. */
static void cpu_head(struct walk *w, const struct recurrence *c, const struct values *v, uint32_t row, uint32_t n,
                     uint32_t h, const float *in, float *out)
{
	uint32_t group = c->delta && !c->neighbours ? h % c->n_group : h / (c->n_head / c->n_group), ds = c->d_state;
	uint32_t k_at = (c->delta ? v->keys : v->heads) + group * ds;
	uint32_t q_at = (c->delta ? 0 : v->heads + v->keys) + group * ds;
	float *k = calloc((size_t)n * ds, 4), *q = calloc((size_t)n * ds, 4), *decay = calloc(n, 4),
	      *gain = calloc(n, 4);
	for (uint32_t t = 0; t < n; t++) {
		const float *x = v->x + (size_t)(row + t) * v->width;
		uint32_t at_t = (row + t) * c->n_head + h;
		double step = log1p(exp((double)v->dt[at_t] + v->bias[h]));
		decay[t] = (float)exp(v->a[h * 32] * step);
		gain[t] = (float)(c->delta ? 1 / (1 + exp(-(double)v->beta[at_t])) : step);
		memcpy(k + t * ds, x + k_at, ds * 4);
		memcpy(q + t * ds, x + q_at, ds * 4);
		if (!c->delta) continue;
		unit(x + k_at, ds, 1, k + t * ds);
		unit(x + q_at, ds, 1 / sqrt(ds), q + t * ds);
	}
	struct bt_cpu_recurrence r = {.k = k,
	                              .q = q,
	                              .v = v->x + (size_t)row * v->width + (c->delta ? 2 * v->keys : 0) + h * c->d_head,
	                              .y = v->y + (size_t)row * v->heads + h * c->d_head,
	                              .kq_stride = ds,
	                              .v_stride = v->width,
	                              .y_stride = v->heads,
	                              .n = n,
	                              .d_state = ds,
	                              .d_head = c->d_head,
	                              .decay = decay,
	                              .gain = gain,
	                              .skip = v->d[h * 32],
	                              .in = in,
	                              .out = out};
	(c->delta ? w->cpu.delta_net : w->cpu.mamba2)(&r, 0, c->d_head);
	free(k), free(q), free(decay), free(gain);
}

static void cpu_recurrence(struct walk *w, const struct seqs *s, const struct recurrence *c, const struct values *v)
{
	size_t head = (size_t)c->d_state * c->d_head, slot = head * c->n_head;
	float *old = calloc(SLOTS * slot, 4);
	memcpy(old, v->state, SLOTS * slot * 4);
	for (uint32_t i = 0, row = 0; i < s->count; row += s->n[i++])
		for (uint32_t h = 0; h < c->n_head; h++)
			cpu_head(w, c, v, row, s->n[i], h,
			         slot_in[i] == BT_GPU_NONE ? NULL : old + slot_in[i] * slot + h * head,
			         v->state + slot_out[i] * slot + h * head);
	free(old);
}

static struct values values_of(struct walk *w, const struct recurrence *c, uint32_t rows)
{
	struct values v = {.rows = rows, .heads = c->n_head * c->d_head, .keys = c->n_group * c->d_state};
	v.width = v.heads + 2 * v.keys;
	v.x = rows_of(w, (size_t)rows * v.width);
	v.dt = rows_of(w, (size_t)rows * c->n_head);
	v.beta = rows_of(w, (size_t)rows * c->n_head);
	v.a = rows_of(w, c->n_head * 32);
	v.bias = rows_of(w, c->n_head);
	v.d = rows_of(w, c->n_head * 32);
	v.state = rows_of(w, (size_t)SLOTS * v.heads * c->d_state);
	v.y = calloc((size_t)rows * v.heads, 4);
	for (uint32_t h = 0; h < c->n_head; h++) v.a[h * 32] = -fabsf(v.a[h * 32]) * 0.3f;
	v.dt[0] = -20; /* steps of almost nothing, and long ones */
	v.dt[rows * c->n_head - 1] = 40;
	/* Mamba-2 does not norm its keys: let its states stay as they are. */
	for (size_t i = 0; i < (size_t)rows * v.width && !c->delta; i++) v.x[i] *= 0.3f;
	return v;
}

static void walk_one(struct walk *w, const struct seqs *s, const struct recurrence *c)
{
	struct values v = values_of(w, c, rows_in(s));
	uint32_t seq[SEQS * 4];
	size_t n = (size_t)v.rows * v.heads, kept = (size_t)SLOTS * v.heads * c->d_state,
	       steps = (size_t)v.rows * c->n_head;
	float *got = calloc(n, 4), *after = calloc(kept, 4);
	snprintf(w->what, sizeof w->what, "%s, %u/%u heads, state %u x %u, %u sequences, %u rows",
	         c->delta ? "delta_net" : "mamba2", c->n_head, c->n_group, c->d_state, c->d_head, s->count, v.rows);
	table_of(s, seq);
	struct bt_dev_mem m[] = {put(w, v.x, (size_t)v.rows * v.width * 4),
	                         put(w, v.dt, steps * 4),
	                         put(w, v.beta, steps * 4),
	                         put(w, v.a, c->n_head * 32 * 4),
	                         put(w, v.bias, c->n_head * 4),
	                         put(w, v.d, c->n_head * 32 * 4),
	                         put(w, seq, sizeof seq),
	                         put(w, v.state, kept * 4),
	                         put(w, NULL, n * 4)};
	struct bt_gpu_recurrence p = {.x = at(&m[0]),
	                              .dt = at(&m[1]),
	                              .beta = c->delta ? at(&m[2]) : 0,
	                              .a = at(&m[3]),
	                              .dt_bias = at(&m[4]),
	                              .d = c->delta ? 0 : at(&m[5]),
	                              .state = at(&m[7]),
	                              .y = at(&m[8]),
	                              .seq = at(&m[6]),
	                              .width = v.width,
	                              .n_head = c->n_head,
	                              .n_group = c->n_group,
	                              .d_state = c->d_state,
	                              .d_head = c->d_head,
	                              .q_at = c->delta ? 0 : v.heads + v.keys,
	                              .k_at = c->delta ? v.keys : v.heads,
	                              .v_at = c->delta ? 2 * v.keys : 0,
	                              .a_stride = 32,
	                              .d_stride = 32,
	                              .slot_bytes = v.heads * c->d_state * 4,
	                              .by_turns = c->delta && !c->neighbours};
	launch(w, c->kernel, &p, (c->d_head + 31) / 32, c->n_head, s->count);
	take(w, got, &m[8], n * 4);
	take(w, after, &m[7], kept * 4);
	cpu_recurrence(w, s, c, &v);
	judge(w, OP_RECURRENCE, got, v.y, n);
	judge(w, OP_RECURRENCE, after, v.state, kept);
	drop(w, m, 7);
	float *all[] = {v.x, v.dt, v.beta, v.a, v.bias, v.d, v.state, v.y, got, after};
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

void walk_recurrent(struct walk *w)
{
	static const struct seqs seqs[] = {{{1}, 1}, {{1, 1, 1, 1}, 4}, {{40, 3, 17, 1}, 4}, {{16, 8, 9}, 3}};
	static const uint32_t channels[] = {70, 64, 200, 33}, taps[] = {4, 3, 1, 16, 2, 9};
	for (uint32_t i = 0; i < 24; i++) walk_conv(w, &seqs[i % 4], channels[i / 3 % 4], taps[i % 6], i % 5 < 3);
	static const struct recurrence sizes[] = {
		{true, 4, 2, 128, 128, BT_GPU_K_delta_net_128},      {false, 4, 2, 128, 64, BT_GPU_K_mamba2_128},
		{true, 6, 3, 64, 33, BT_GPU_K_delta_net_64},         {false, 2, 2, 6, 10, BT_GPU_K_mamba2_64},
		{true, 2, 1, 200, 20, BT_GPU_K_delta_net_256},       {false, 6, 2, 256, 7, BT_GPU_K_mamba2_256},
		{true, 4, 2, 100, 16, BT_GPU_K_delta_net_128, true}, {false, 2, 1, 1, 80, BT_GPU_K_mamba2_64},
	};
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
		for (size_t k = 0; k < sizeof seqs / sizeof *seqs; k++)
			/* the widest ones not over many rows: the emulator takes its time */
			if (i > 1 || k != 2) walk_one(w, &seqs[k], &sizes[i]);
}
