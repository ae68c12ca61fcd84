/* walk_large.c: matrices and stacks of experts that really take more than kernels reach, 4 GiB; a product with each, of one token and
 * of many, compared with the CPU's in sampled rows: the first, those around the cuts, the last. `gpu_walk Vulkan large` wants some
 * 12 GB of the card and of the machine each. With `small` everything is 1/256 of that, so that the usual walk sees this file work. */
#include "walk.h"

enum { USED = 2, MOST = 40, SAMPLES = 16 };

struct large {
	struct bt_tensor t;
	struct bt_plan plan;
	struct bt_part part;
	struct bt_keep keep[3];
	struct bt_exec *e;
	uint32_t sample[SAMPLES], n_samples; /* rows, or experts */
};
enum { X, CHOICE, Y };

/* Noise of Q8_0 or F16, with scales and exponents such that no value is very large. */
static void fill(struct walk *w, struct bt_tensor *t)
{
	uint64_t *words = malloc(t->size), seed = w->rng, n = t->size / 8;
	bool half = t->type->id == BT_TYPE_F16;
	for (uint64_t i = 0; words && i < n; i++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		uint64_t v = seed ^ seed >> 29;
		words[i] = half ? (v & 0x83FF83FF83FF83FFu) | 0x2C002C002C002C00u : v;
	}
	for (uint64_t at = 0; words && !half && at < t->size; at += 34) {
		uint16_t scale = (uint16_t)(0x1C00 | at / 34 % 1024);
		memcpy((char *)words + at, &scale, sizeof scale);
	}
	t->data = words;
}

static void make(struct walk *w, struct large *l, const struct bt_type *type, uint32_t k, uint32_t rows, uint32_t n)
{
	struct bt_tensor *t = &l->t;
	struct bt_plan *p = &l->plan;
	*t = (struct bt_tensor){.type = type, .n_dims = n ? 3 : 2, .dim = {k, rows, n ? n : 1, 1}};
	t->n_rows = rows * t->dim[2];
	t->row_bytes = bt_type_row_bytes(type, k);
	t->matrix_bytes = t->row_bytes * rows;
	t->size = t->row_bytes * t->n_rows;
	fill(w, t);
	bt_plan_init(p);
	bt_plan_value(p, "x", k, BT_ROWS_TOKENS);
	bt_plan_value(p, "choice", 2 * USED, BT_ROWS_TOKENS);
	bt_plan_value(p, "y", n ? rows : 1, n ? BT_ROWS_EXPERTS : BT_ROWS_TOKENS);
	p->n_expert_used = n ? USED : 0;
	p->n_vocab = n ? 1 : rows;
	struct bt_op *op = bt_plan_op(p, n ? BT_OP_MATMUL_EXPERTS : BT_OP_LOGITS, 0);
	op->in[0] = X;
	if (n) op->in[1] = CHOICE, op->out[0] = Y;
	op->matmul.mat[0].w = t;
	op->matmul.n_mats = 1;
	l->part = (struct bt_part){0, 1};
	l->keep[0].value = X;
	l->keep[1].value = CHOICE;
	l->keep[2] = (struct bt_keep){Y, 0, 0, true};
	p->part = &l->part;
	p->n_parts = 1;
	p->keep = l->keep;
	p->n_keeps = n ? 3 : 1;
}

/* The first, the last, and both sides of every cut. */
static void pick_samples(struct large *l)
{
	const struct bt_gpu_matrix *m = l->e->node[0].mat[0];
	uint64_t one = l->t.dim[2] > 1 ? m->n_rows : 1, n = l->t.n_rows / one;
	uint32_t *to = l->sample;
	*to++ = 0;
	*to++ = 1;
	for (uint32_t i = 1; i < m->n_parts && to + 6 < l->sample + SAMPLES; i++) {
		*to++ = (uint32_t)(m->part[i].first / one) - 1;
		*to++ = (uint32_t)(m->part[i].first / one);
	}
	*to++ = (uint32_t)n - 2;
	*to++ = (uint32_t)n - 1;
	l->n_samples = (uint32_t)(to - l->sample);
}

/* Row r of all rows times row `x`, by the CPU. */
static float cpu_row(struct walk *w, const struct large *l, const float *x, uint64_t r)
{
	struct bt_tensor one = l->t;
	float y = 0;
	one.dim[1] = one.n_rows = 1;
	one.data = bt_tensor_row(&l->t, r);
	struct bt_cpu_acts a = acts_of(w, x, 1, l->t.dim[0]);
	cpu_product(w, &one, &a, bt_gpu_format_is_float(bt_gpu_format_of(one.type, false)), &y);
	free_acts(&a);
	return y;
}

/* What a step gave and what the CPU gives: of all tokens together, as a tolerance is a share of the largest value. */
struct compared {
	float got[MOST * SAMPLES], want[MOST * SAMPLES];
	uint32_t n;
};

/* All sampled rows of a token. */
static void add_rows(struct walk *w, const struct large *l, const float *x, const float *logits, struct compared *c)
{
	for (uint32_t i = 0; i < l->n_samples; i++) {
		c->got[c->n] = logits[l->sample[i]];
		c->want[c->n++] = cpu_row(w, l, x, l->sample[i]);
	}
}

/* Some rows of a token's expert. */
static void add_expert(struct walk *w, const struct large *l, const float *x, const float *y, uint32_t expert,
                       struct compared *c)
{
	const uint64_t rows = l->t.dim[1], at[] = {0, 1, rows / 2, rows - 2, rows - 1};
	for (uint32_t i = 0; i < 5; i++) {
		c->got[c->n] = y[at[i]];
		c->want[c->n++] = cpu_row(w, l, x, expert * rows + at[i]);
	}
}

static void run(struct walk *w, struct large *l, uint32_t n)
{
	const uint64_t k = l->t.dim[0], rows = l->t.dim[1];
	bool experts = l->plan.n_expert_used;
	int32_t token[MOST] = {0}, pos[MOST] = {0}, choice[MOST][2 * USED] = {{0}};
	uint32_t row[MOST], page = 0;
	struct compared c = {.n = 0};
	float *x = rows_of(w, n * k), *logits = calloc(n, l->plan.n_vocab * sizeof(float));
	struct bt_step_seq seq = {.n = n, .state_in = BT_NO_SLOT, .state_out = BT_NO_SLOT, .pages = &page};
	struct bt_step step = {.n_tokens = n,
	                       .n_seqs = 1,
	                       .n_logits = n,
	                       .token = token,
	                       .pos = pos,
	                       .seq = &seq,
	                       .logit_row = row,
	                       .logits = logits};
	for (uint32_t t = 0; t < n; t++) {
		row[t] = t;
		/* Neighbours among the samples: of two parts where there is a cut. */
		for (uint32_t s = 0; s < USED; s++) choice[t][s] = (int32_t)l->sample[(t + s) % l->n_samples];
	}
	memcpy(bt_gpu_window(l->e, 0), x, n * k * sizeof *x);
	if (experts) memcpy(bt_gpu_window(l->e, 1), choice, n * sizeof *choice);
	if (bt_gpu_run(l->e, &step, &w->err)) fail(w, w->err.text);
	for (uint32_t t = 0; t < n; t++)
		for (uint32_t s = 0; s < (experts ? USED : 1); s++) {
			if (!experts) add_rows(w, l, x + t * k, logits + t * rows, &c);
			else
				add_expert(w, l, x + t * k, bt_gpu_window(l->e, 2) + (t * USED + s) * rows,
				           (uint32_t)choice[t][s], &c);
		}
	judge(w, OP_MATRIX_TILE, c.got, c.want, c.n);
	free(x);
	free(logits);
}

/* n experts, 0: a matrix; in so many parts at least. */
static void walk_one(struct walk *w, const struct bt_type *type, uint32_t k, uint32_t rows, uint32_t n, uint64_t most,
                     uint32_t n_parts)
{
	static const uint32_t tokens[] = {1, 3, 20, MOST};
	struct large l = {.e = NULL};
	struct bt_device *dev = w->device;
	make(w, &l, type, k, rows, n);
	snprintf(w->what, sizeof w->what, "%.1f GB of %s, %u x %u%s", (double)l.t.size * 1e-9, type->name, rows, k,
	         n ? ", experts" : "");
	struct bt_compile c = {.plan = &l.plan,
	                       .n_tokens = MOST,
	                       .n_logits = MOST,
	                       .type_k = bt_type_get(BT_TYPE_F16),
	                       .type_v = bt_type_get(BT_TYPE_F16)};
	w->gpu->caps.part = most;
	if (!l.t.data) fail(w, "no memory for it on this machine");
	else if (bt_gpu_compile(dev, &c, &l.e, &w->err)) fail(w, w->err.text);
	w->gpu->caps.part = 0;
	if (l.e) {
		if (l.e->node[0].mat[0]->n_parts < n_parts) fail(w, "too few parts");
		pick_samples(&l);
		for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++) run(w, &l, tokens[i]);
		if (!most) printf("%s: %u parts, compared\n", w->what, l.e->node[0].mat[0]->n_parts);
	}
	release_plan(l.e, &l.plan);
	bt_gpu_weights_trim((struct bt_gpu_device *)dev);
	free((void *)l.t.data);
}

void walk_large(struct walk *w, bool small)
{
	const struct bt_type *q8 = bt_type_get(BT_TYPE_Q8_0), *half = bt_type_get(BT_TYPE_F16);
	const uint32_t less = small ? 16 : 1;
	const uint64_t most = small ? BT_GPU_REACH / 256 : 0;
	walk_one(w, q8, 8192 / less, 600000 / less, 0, most, 2); /* 5.2 GB */
	walk_one(w, q8, 8192 / less, 480000 / less, 0, most, 1); /* 4.2 GB: nearly what kernels reach */
	walk_one(w, half, 8192 / less, 600000 / less, 0, most, 2);
	walk_one(w, q8, 7168 / less, 2048 / less, 384, most, 2); /* 6.0 GB */
	walk_one(w, half, 7168 / less, 2048 / less, 384, most, 2);
}
