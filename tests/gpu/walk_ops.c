/* walk_ops.c: what stands between products: positions, routing, experts, gates, rows moved about. */
#include "walk.h"

static void walk_rope(struct walk *w, uint32_t rows, uint32_t n_head, uint32_t d, uint32_t n_pairs, bool neox)
{
	size_t n = (size_t)rows * n_head * d, angles = (size_t)rows * n_pairs;
	float *x = rows_of(w, n), *c = rows_of(w, angles), *s = rows_of(w, angles), *got = calloc(n, 4);
	snprintf(w->what, sizeof w->what, "rope %u x %u heads of %u, %u pairs%s", rows, n_head, d, n_pairs,
	         neox ? ", neox" : "");
	struct bt_dev_mem m[] = {put(w, c, angles * 4), put(w, s, angles * 4), put(w, x, n * 4)};
	struct bt_gpu_rope p = {at(&m[2]), at(&m[0]), at(&m[1]), rows, n_head, d, n_pairs, neox};
	launch(w, BT_GPU_K_rope, &p, (rows * n_head * n_pairs + 255) / 256, 1, 1);
	take(w, got, &m[2], n * 4);
	for (uint32_t t = 0; t < rows; t++)
		for (uint32_t h = 0; h < n_head; h++)
			w->cpu.rope(x + ((size_t)t * n_head + h) * d, c + (size_t)t * n_pairs, s + (size_t)t * n_pairs,
			            n_pairs, neox);
	judge(w, OP_ROPE, got, x, n);
	drop(w, m, 2);
	free(x), free(c), free(s), free(got);
}

static void walk_copy(struct walk *w, uint32_t n)
{
	float *x = rows_of(w, n), *got = calloc(n + 1, 4);
	snprintf(w->what, sizeof w->what, "copy of %u words", n);
	struct bt_dev_mem m[] = {put(w, x, (size_t)n * 4), put(w, NULL, (size_t)n * 4 + 4)};
	struct bt_gpu_copy_words p = {at(&m[0]), at(&m[1]), n};
	launch(w, BT_GPU_K_copy, &p, (n + 1023) / 1024, 1, 1);
	take(w, got, &m[1], (size_t)n * 4 + 4);
	judge(w, OP_COPY, got, x, n);
	judge(w, OP_COPY, got + n, &(float){0}, 1); /* what stands behind is left alone */
	drop(w, m, 1);
	free(x), free(got);
}

static void walk_gather(struct walk *w, uint32_t rows, uint32_t n)
{
	const uint32_t wanted[] = {0, rows / 2, rows - 1}, k = 3;
	float *x = rows_of(w, (size_t)rows * n), *got = calloc((size_t)k * n, 4), *want = calloc((size_t)k * n, 4);
	snprintf(w->what, sizeof w->what, "gather of %u rows of %u", rows, n);
	struct bt_dev_mem m[] = {put(w, x, (size_t)rows * n * 4), put(w, wanted, sizeof wanted),
	                         put(w, NULL, (size_t)k * n * 4)};
	struct bt_gpu_gather p = {at(&m[0]), at(&m[1]), at(&m[2]), k, n};
	launch(w, BT_GPU_K_gather, &p, (n + 255) / 256, k, 1);
	take(w, got, &m[2], (size_t)k * n * 4);
	for (uint32_t i = 0; i < k; i++) memcpy(want + (size_t)i * n, x + (size_t)wanted[i] * n, n * 4);
	judge(w, OP_COPY, got, want, (size_t)k * n);
	drop(w, m, 2);
	free(x), free(got), free(want);
}

static void walk_split(struct walk *w, uint32_t rows, uint32_t runs, uint32_t d)
{
	size_t n = (size_t)rows * runs * d;
	float *x = rows_of(w, 2 * n), *got[2] = {calloc(n, 4), calloc(n, 4)}, *want[2] = {calloc(n, 4), calloc(n, 4)};
	snprintf(w->what, sizeof w->what, "split of %u rows, %u runs of %u", rows, runs, d);
	struct bt_dev_mem m[] = {put(w, x, 2 * n * 4), put(w, NULL, n * 4), put(w, NULL, n * 4)};
	struct bt_gpu_split p = {at(&m[0]), at(&m[1]), at(&m[2]), (uint32_t)n, d};
	launch(w, BT_GPU_K_split, &p, (p.n_total + 255) / 256, 1, 1);
	const float *from = x;
	for (uint32_t r = 0; r < rows * runs; r++)
		for (int i = 0; i < 2; i++, from += d) memcpy(want[i] + (size_t)r * d, from, d * 4);
	for (int i = 0; i < 2; i++) {
		take(w, got[i], &m[i + 1], n * 4);
		judge(w, OP_COPY, got[i], want[i], n);
		free(got[i]), free(want[i]);
	}
	drop(w, m, 1);
	free(x);
}

/* The rounded form must be that of the floats that were written. */
static void judge_rounded(struct walk *w, const float *got, const uint32_t *blocks, size_t rows, size_t n)
{
	struct bt_cpu_acts a = acts_of(w, got, rows, n);
	uint32_t *want = blocks_of(&a);
	judge_blocks(w, blocks, want, (uint32_t)(rows * n / 32));
	free(want);
	free_acts(&a);
}

static void walk_gate_act(struct walk *w, uint32_t rows, uint32_t n, bool one, bool sigmoid)
{
	size_t total = (size_t)rows * n, by = one ? 1 : n, bytes = (total / 32 + 1) * 48;
	float *x = rows_of(w, total), *g = rows_of(w, rows * by), *got = calloc(total, 4), *want = calloc(total, 4);
	uint32_t *blocks = calloc(1, bytes);
	bool rounded = n % 32 == 0;
	snprintf(w->what, sizeof w->what, "gate by %s of %u x %u%s", sigmoid ? "sigmoid" : "silu", rows, n,
	         one ? ", one for a row" : "");
	g[0] = -100, g[rows * by - 1] = 60;
	struct bt_dev_mem m[] = {put(w, g, rows * by * 4), put(w, x, total * 4), put(w, NULL, bytes)};
	struct bt_gpu_gate_act p = {.x = at(&m[1]),
	                            .g = at(&m[0]),
	                            .y = at(&m[1]),
	                            .xq = rounded ? at(&m[2]) : 0,
	                            .n = n,
	                            .n_total = (uint32_t)total,
	                            .one = one,
	                            .sigmoid = sigmoid};
	launch(w, BT_GPU_K_gate_act, &p, (p.n_total + 1023) / 1024, 1, 1);
	take(w, got, &m[1], total * 4);
	take(w, blocks, &m[2], bytes);
	for (size_t i = 0; i < total; i++)
		(sigmoid ? w->cpu.sigmoid_mul : w->cpu.silu_mul)(g + (one ? i / n : i), x + i, 1, want + i);
	judge(w, OP_GATE, got, want, total);
	if (rounded) judge_rounded(w, got, blocks, rows, n);
	drop(w, m, 1);
	free(x), free(g), free(got), free(want), free(blocks);
}

/* Norm and gate of groups of n values; the gate first or last. w_stride 0: all groups have the same weights. */
static void walk_gated_norm_by(struct walk *w, uint32_t rows, uint32_t groups, uint32_t n, bool gate_first,
                               uint32_t w_stride, bool team)
{
	static const uint16_t kernels[2][2] = {{BT_GPU_K_gated_norm, BT_GPU_K_gated_norm_team},
	                                       {BT_GPU_K_gate_first_norm, BT_GPU_K_gate_first_norm_team}};
	size_t width = (size_t)groups * n, total = rows * width, n_w = w_stride ? (size_t)groups * w_stride : n;
	size_t bytes = (total / 32 + 1) * 48;
	float *x = rows_of(w, total), *g = rows_of(w, total), *wt = rows_of(w, n_w), *got = calloc(total, 4),
	      *want = calloc(total, 4);
	uint32_t *blocks = calloc(1, bytes);
	bool rounded = n % 32 == 0;
	snprintf(w->what, sizeof w->what, "norm and gate of %u x %u x %u, %s first%s", rows, groups, n,
	         gate_first ? "gate" : "norm", team ? ", by teams" : "");
	struct bt_dev_mem m[] = {put(w, x, total * 4), put(w, g, total * 4), put(w, wt, n_w * 4), put(w, NULL, bytes)};
	struct bt_gpu_gated_norm p = {.x = at(&m[0]),
	                              .g = at(&m[1]),
	                              .w = at(&m[2]),
	                              .y = at(&m[0]),
	                              .xq = rounded ? at(&m[3]) : 0,
	                              .n = n,
	                              .n_groups = groups,
	                              .n_total = rows * groups,
	                              .w_stride = w_stride,
	                              .sigmoid = n % 3 == 0,
	                              .eps = 1e-3f};
	launch(w, kernels[gate_first][team], &p, team ? (p.n_total + 31) / 32 : p.n_total, 1, 1);
	take(w, got, &m[0], total * 4);
	take(w, blocks, &m[3], bytes);
	for (uint32_t i = 0; i < p.n_total; i++) {
		const float *wi = wt + i % groups * w_stride;
		float *xi = x + (size_t)i * n, *gi = g + (size_t)i * n, *yi = want + (size_t)i * n;
		if (gate_first) (p.sigmoid ? w->cpu.sigmoid_mul : w->cpu.silu_mul)(gi, xi, n, xi);
		w->cpu.rms_norm(xi, wi, p.eps, n, yi);
		if (!gate_first) (p.sigmoid ? w->cpu.sigmoid_mul : w->cpu.silu_mul)(gi, yi, n, yi);
	}
	judge(w, OP_GATE, got, want, total);
	if (rounded) judge_rounded(w, got, blocks, rows, width);
	drop(w, m + 1, 2);
	free(x), free(g), free(wt), free(got), free(want), free(blocks);
}

static void walk_gated_norm(struct walk *w, uint32_t rows, uint32_t groups, uint32_t n, bool gate_first,
                            uint32_t w_stride)
{
	walk_gated_norm_by(w, rows, groups, n, gate_first, w_stride, false);
	if (n <= 512) walk_gated_norm_by(w, rows, groups, n, gate_first, w_stride, true);
}

/* ---- routing ---- */

struct rules {
	uint32_t n_expert, n_used, n_group, n_group_used;
	bool sigmoid, bias, normalize;
};

/* Does a come before b: larger, or equal and of the lower number? */
static uint32_t rank_of(const double *x, uint32_t n, uint32_t i)
{
	uint32_t rank = 0;
	for (uint32_t j = 0; j < n; j++) rank += j != i && (x[j] > x[i] || (x[j] == x[i] && j < i));
	return rank;
}

/* What expert e counts for; -1: not chosen. */
static void expect(const struct rules *r, const float *logit, const float *bias, double *weight)
{
	double *key = calloc(r->n_expert, sizeof *key), *group = calloc(r->n_expert, sizeof *group), sum = 0,
	       chosen = 0;
	uint32_t n_group = r->n_group ? r->n_group : 1, size = r->n_expert / n_group;
	for (uint32_t e = 0; e < r->n_expert; e++) sum += exp(logit[e]);
	for (uint32_t e = 0; e < r->n_expert; e++) {
		weight[e] = r->sigmoid ? 1 / (1 + exp(-(double)logit[e])) : exp(logit[e]) / sum;
		key[e] = weight[e] + (r->bias ? (double)bias[e] : 0);
	}
	for (uint32_t g = 0; g < n_group; g++)
		for (uint32_t i = 0; i < size; i++)
			if (rank_of(key + g * size, size, i) < 2) group[g] += key[g * size + i];
	for (uint32_t e = 0; e < r->n_expert && r->n_group; e++)
		if (rank_of(group, n_group, e / size) >= r->n_group_used) key[e] = -INFINITY;
	for (uint32_t e = 0; e < r->n_expert; e++) {
		if (rank_of(key, r->n_expert, e) >= r->n_used) weight[e] = -1;
		else chosen += weight[e];
	}
	for (uint32_t e = 0; e < r->n_expert; e++)
		if (weight[e] >= 0) weight[e] *= 2.5 / (r->normalize ? chosen : 1);
	free(key);
	free(group);
}

static void walk_router(struct walk *w, const struct rules *r)
{
	enum { TOKENS = 5 };
	size_t n = (size_t)TOKENS * r->n_expert, out = (size_t)TOKENS * 2 * r->n_used;
	float *x = rows_of(w, n), *bias = rows_of(w, r->n_expert), *got = calloc(n, 4), *want = calloc(n, 4);
	uint32_t *choice = calloc(out, 4);
	snprintf(w->what, sizeof w->what, "router: %u of %u experts, %u of %u groups%s%s", r->n_used, r->n_expert,
	         r->n_group_used, r->n_group, r->sigmoid ? ", sigmoid" : "", r->bias ? ", bias" : "");
	memcpy(x, x + r->n_expert, r->n_expert * 4);
	for (uint32_t e = 0; e < r->n_expert; e++) {
		bias[e] *= 0.3f;
		x[e] = (float)(int)(x[e] * 2); /* a row of many ties */
	}
	struct bt_dev_mem m[] = {put(w, x, n * 4), put(w, bias, r->n_expert * 4), put(w, NULL, out * 4)};
	struct bt_gpu_router p = {.x = at(&m[0]),
	                          .bias = r->bias ? at(&m[1]) : 0,
	                          .y = at(&m[2]),
	                          .n_rows = TOKENS,
	                          .n_expert = r->n_expert,
	                          .n_used = r->n_used,
	                          .sigmoid = r->sigmoid,
	                          .normalize = r->normalize,
	                          .n_group = r->n_group,
	                          .n_group_used = r->n_group_used,
	                          .scale = 2.5f};
	launch(w, BT_GPU_K_router, &p, TOKENS, 1, 1);
	take(w, choice, &m[2], out * 4);
	double *weight = calloc(r->n_expert, sizeof *weight);
	for (uint32_t t = 0; t < TOKENS; t++) {
		expect(r, x + (size_t)t * r->n_expert, bias, weight);
		const uint32_t *row = choice + (size_t)t * 2 * r->n_used;
		for (uint32_t e = 0; e < r->n_expert; e++) want[t * r->n_expert + e] = (float)weight[e];
		for (uint32_t e = 0; e < r->n_expert; e++) got[t * r->n_expert + e] = -1;
		for (uint32_t s = 0; s < r->n_used; s++)
			if (row[s] < r->n_expert) memcpy(got + t * r->n_expert + row[s], row + r->n_used + s, 4);
	}
	judge(w, OP_ROUTER, got, want, n);
	drop(w, m, 2);
	free(x), free(bias), free(got), free(want), free(choice), free(weight);
}

/* ---- experts ---- */

enum { EXPERTS = 3, USED = 2 };

/* [n][2][USED]: expert (t + s) % EXPERTS, weights at random. */
static uint32_t *choice_of(struct walk *w, uint32_t n)
{
	uint32_t *c = calloc((size_t)n * 2 * USED, 4);
	for (uint32_t t = 0; t < n; t++)
		for (uint32_t s = 0; s < USED; s++) {
			float weight = draw(w);
			c[t * 2 * USED + s] = (t * 2 + s * 5 + 1) % EXPERTS;
			memcpy(&c[t * 2 * USED + USED + s], &weight, 4);
		}
	return c;
}

static void walk_expert_sum(struct walk *w, uint32_t tokens, uint32_t n, bool set)
{
	size_t rows = (size_t)tokens * USED;
	float *x = rows_of(w, rows * n), *y = rows_of(w, (size_t)tokens * n), *got = calloc((size_t)tokens * n, 4);
	uint32_t *choice = choice_of(w, tokens);
	snprintf(w->what, sizeof w->what, "expert_sum of %u x %u%s", tokens, n, set ? ", set" : "");
	struct bt_dev_mem m[] = {put(w, x, rows * n * 4), put(w, choice, rows * 8), put(w, y, (size_t)tokens * n * 4)};
	struct bt_gpu_expert_sum p = {at(&m[0]), at(&m[1]), at(&m[2]), tokens, USED, n, set};
	launch(w, BT_GPU_K_expert_sum, &p, (n + 255) / 256, tokens, 1);
	take(w, got, &m[2], (size_t)tokens * n * 4);
	for (uint32_t t = 0; t < tokens; t++)
		for (uint32_t i = 0; i < n; i++) {
			double sum = set ? 0 : y[t * n + i];
			for (uint32_t s = 0; s < USED; s++) {
				float weight;
				memcpy(&weight, &choice[t * 2 * USED + USED + s], 4);
				sum += (double)weight * x[(t * USED + s) * n + i];
			}
			y[t * n + i] = (float)sum;
		}
	judge(w, OP_EXPERT_SUM, got, y, (size_t)tokens * n);
	drop(w, m, 2);
	free(x), free(y), free(got), free(choice);
}

/* A stack of matrices of `rows` rows each as the device has it, and as rows for the CPU. */
struct stack {
	struct bt_tensor t;
	const struct bt_gpu_matrix *m;
};

/* The device knows matrices by the addresses of their tensors: *s stays where it is. */
static void make_stack(struct walk *w, const struct bt_type *type, bool exact, uint32_t k, uint32_t rows, uint32_t n,
                       struct stack *s)
{
	*s = (struct stack){.t = matrix_of(w, type, k, (uint64_t)rows * n)};
	s->t.dim[1] = rows;
	s->t.dim[2] = n;
	s->t.n_dims = 3;
	s->t.matrix_bytes = s->t.row_bytes * rows;
	if (bt_gpu_weights_get((struct bt_gpu_device *)w->device, &s->t, exact, &s->m, &w->err)) fail(w, w->err.text);
}

static void forget(struct stack *s)
{
	/* The tensor goes away, and with it what the device knows of it. */
	if (s->m) ((struct bt_gpu_matrix *)s->m)->tensor = NULL;
	free((void *)s->t.data);
}

/* All rows of all matrices times all rows of x: [n][dim[2]][dim[1]]. */
static float *all_products(struct walk *w, const struct stack *s, const struct bt_cpu_acts *a, bool floats)
{
	struct bt_tensor t = s->t;
	t.dim[1] *= t.dim[2];
	float *y = calloc(a->n_tokens * t.dim[1], 4);
	cpu_product(w, &t, a, floats, y);
	return y;
}

static const uint16_t matvec_experts[BT_GPU_FORMATS] = {
#define FORMAT(name, ...) [BT_GPU_F_##name] = BT_GPU_K_matvec_##name##_x,
#include "backend/gpu/kernels/formats.inc"
#undef FORMAT
	[BT_GPU_F_f32] = BT_GPU_K_matvec_f32_x,
	[BT_GPU_F_f16] = BT_GPU_K_matvec_f16_x,
	[BT_GPU_F_bf16] = BT_GPU_K_matvec_bf16_x,
};
static const uint16_t gate_experts[BT_GPU_FORMATS][2] = {
#define FORMAT(name, ...) [BT_GPU_F_##name] = {BT_GPU_K_gate_##name##_x, BT_GPU_K_gate_##name##_wide_x},
#include "backend/gpu/kernels/formats.inc"
#undef FORMAT
};

struct sizes {
	uint32_t k, rows, tokens;
	bool per_slot;
	uint32_t split; /* teams that share a row */
};

static void launch_experts(struct walk *w, const struct stack *s, const struct sizes *c, uint64_t x, uint64_t y,
                           uint64_t choice)
{
	uint32_t flags = c->per_slot ? BT_GPU_X_PER_SLOT : 0, slots = c->tokens * USED;
	if (bt_gpu_format_is_float(s->m->format)) {
		struct bt_gpu_matvec_float p = {.w = s->m->part[0].plane[0],
		                                .x = x,
		                                .y = y,
		                                .choice = choice,
		                                .n_rows = c->rows,
		                                .n_k = c->k,
		                                .n_blocks = s->m->n_blocks,
		                                .n_tokens = c->tokens,
		                                .n_used = USED,
		                                .flags = flags,
		                                .part = BT_GPU_PART_EXPERTS(0, EXPERTS),
		                                .split = c->split};
		launch(w, matvec_experts[s->m->format], &p, (c->rows * c->split + 15) / 16, slots, 1);
		return;
	}
	struct bt_gpu_matvec p = {.w = bt_gpu_planes(s->m->part),
	                          .xq = x,
	                          .y = y,
	                          .choice = choice,
	                          .n_rows = c->rows,
	                          .n_blocks = s->m->n_blocks,
	                          .n_tokens = c->tokens,
	                          .n_used = USED,
	                          .flags = flags,
	                          .part = BT_GPU_PART_EXPERTS(0, EXPERTS),
	                          .split = c->split};
	uint32_t tall = 32 / c->split;
	launch(w, matvec_experts[s->m->format], &p, (c->rows + tall - 1) / tall, slots, 1);
}

static void walk_experts(struct walk *w, const struct bt_type *type, bool exact, const struct sizes *c)
{
	uint32_t slots = c->tokens * USED, n_x = c->per_slot ? slots : c->tokens;
	snprintf(w->what, sizeof w->what, "experts of %s%s, %u x %u, %u tokens%s", type->name, exact ? " exact" : "",
	         c->rows, c->k, c->tokens, c->per_slot ? ", a row for each slot" : "");
	struct stack s;
	make_stack(w, type, exact, c->k, c->rows, EXPERTS, &s);
	if (!s.m) return;
	float *x = rows_of(w, (size_t)n_x * c->k), *got = calloc((size_t)slots * c->rows, 4),
	      *want = calloc((size_t)slots * c->rows, 4);
	struct bt_cpu_acts a = acts_of(w, x, n_x, c->k);
	uint32_t *blocks = blocks_of(&a), *choice = choice_of(w, c->tokens);
	bool floats = bt_gpu_format_is_float(s.m->format);
	struct bt_dev_mem m[] = {floats ? put(w, x, (size_t)n_x * c->k * 4)
	                                : put(w, blocks, (size_t)n_x * c->k / 32 * 48),
	                         put(w, choice, (size_t)slots * 8), put(w, NULL, (size_t)slots * c->rows * 4)};
	launch_experts(w, &s, c, at(&m[0]), at(&m[2]), at(&m[1]));
	take(w, got, &m[2], (size_t)slots * c->rows * 4);
	float *all = all_products(w, &s, &a, floats);
	for (uint32_t i = 0; i < slots; i++) {
		uint32_t expert = choice[i / USED * 2 * USED + i % USED], row = c->per_slot ? i : i / USED;
		memcpy(want + (size_t)i * c->rows, all + ((size_t)row * EXPERTS + expert) * c->rows, c->rows * 4);
	}
	judge(w, product_op(s.m, c->split), got, want, (size_t)slots * c->rows);
	drop(w, m, 2);
	forget(&s);
	free_acts(&a);
	free(x), free(got), free(want), free(blocks), free(choice), free(all);
}

/* Two stacks of matrices of integers with a gate between them. */
static void walk_gates(struct walk *w, const struct bt_type *type, const struct sizes *c, bool wide)
{
	uint32_t out = c->tokens * USED;
	snprintf(w->what, sizeof w->what, "gate of %s, %u x %u, %u tokens, split by %u, experts%s", type->name, c->rows,
	         c->k, c->tokens, c->split, wide ? ", many threads" : "");
	struct stack s[2];
	for (int i = 0; i < 2; i++) make_stack(w, type, false, c->k, c->rows, EXPERTS, &s[i]);
	if (!s[0].m || !s[1].m || bt_gpu_format_is_float(s[0].m->format)) {
		forget(&s[0]), forget(&s[1]);
		return;
	}
	float *x = rows_of(w, (size_t)c->tokens * c->k), *got = calloc((size_t)out * c->rows, 4),
	      *want = calloc((size_t)out * c->rows, 4);
	struct bt_cpu_acts a = acts_of(w, x, c->tokens, c->k);
	uint32_t *blocks = blocks_of(&a), *choice = choice_of(w, c->tokens);
	struct bt_dev_mem m[] = {put(w, blocks, (size_t)c->tokens * c->k / 32 * 48), put(w, choice, (size_t)out * 8),
	                         put(w, NULL, (size_t)out * c->rows * 4)};
	struct bt_gpu_gate p = {.gate = bt_gpu_planes(s[0].m->part),
	                        .up = bt_gpu_planes(s[1].m->part),
	                        .xq = at(&m[0]),
	                        .y = at(&m[2]),
	                        .gate_bias = at(&m[1]),
	                        .n_rows = c->rows,
	                        .part = BT_GPU_PART_EXPERTS(0, EXPERTS),
	                        .n_blocks = s[0].m->n_blocks,
	                        .n_tokens = c->tokens,
	                        .n_used = USED,
	                        .split = wide ? 4 : c->split};
	launch(w, gate_experts[s[0].m->format][wide], &p, (c->rows + 31) / 32, out, 1);
	take(w, got, &m[2], (size_t)out * c->rows * 4);
	float *all[2] = {all_products(w, &s[0], &a, false), all_products(w, &s[1], &a, false)};
	for (uint32_t i = 0; i < out; i++) {
		uint32_t e = choice[i / USED * 2 * USED + i % USED], row = i / USED;
		for (uint32_t r = 0; r < c->rows; r++) {
			size_t from = ((size_t)row * EXPERTS + e) * c->rows + r;
			double g = all[0][from], u = all[1][from];
			want[(size_t)i * c->rows + r] = (float)(g / (1 + exp(-g)) * u);
		}
	}
	judge(w, OP_GATE, got, want, (size_t)out * c->rows);
	drop(w, m, 2);
	for (int i = 0; i < 2; i++) forget(&s[i]), free(all[i]);
	free_acts(&a);
	free(x), free(got), free(want), free(blocks), free(choice);
}

static void walk_all_experts(struct walk *w)
{
	static const struct sizes c[] = {{256, 33, 1, false, 1}, {512, 18, 3, true, 2}, {256, 35, 5, false, 4}};
	for (uint32_t id = 0; id < BT_TYPE_COUNT; id++) {
		const struct bt_type *type = bt_type_get(id);
		if (!type) continue;
		for (uint32_t i = 0; i < 2; i++) {
			walk_experts(w, type, false, &c[i]);
			walk_gates(w, type, &c[i * 2], false);
			walk_gates(w, type, &c[i * 2], true);
		}
		walk_experts(w, type, true, &c[id % 2]);
	}
}

void walk_ops(struct walk *w)
{
	walk_rope(w, 3, 5, 64, 32, true);
	walk_rope(w, 7, 2, 80, 16, false);
	walk_rope(w, 1, 1, 6, 3, false);
	walk_copy(w, 1);
	walk_copy(w, 1500);
	walk_gather(w, 9, 300);
	walk_gather(w, 4, 17);
	walk_split(w, 3, 4, 64);
	walk_split(w, 5, 3, 7);
	for (uint32_t i = 0; i < 8; i++) walk_gate_act(w, i % 3 + 1, i < 4 ? 96 : 50, i % 2, i / 2 % 2);
	for (uint32_t i = 0; i < 2; i++) {
		walk_gated_norm(w, 3, 5, 128, i, 0);
		walk_gated_norm(w, 2, 2, 48, i, 64);
		walk_gated_norm(w, 35, 1, 20, i, 0);
		walk_gated_norm(w, 2, 3, 1024, i, 1024);
		walk_gated_norm(w, 1, 2, 1030, i, 1056);
	}
	static const struct rules rules[] = {{24, 4, 0, 0, false, false, true},    {8, 2, 0, 0, true, true, false},
	                                     {24, 4, 4, 2, true, true, true},      {256, 8, 8, 4, true, true, true},
	                                     {100, 6, 50, 7, false, true, true},   {70, 3, 70, 5, false, false, false},
	                                     {2048, 16, 64, 3, true, false, true}, {160, 6, 8, 3, false, false, false}};
	for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) walk_router(w, &rules[i]);
	walk_expert_sum(w, 3, 300, false);
	walk_expert_sum(w, 2, 17, true);
	walk_all_experts(w);
}
