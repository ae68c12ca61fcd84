/* walk_parts.c: products with matrices in parts (backend/gpu/device.h), lowered as in a model: every format and every kind of
 * product gives the bits that the same matrix gives in one part, in as many levels between barriers. The parts are what a device
 * would need that gives little memory at once; cuts lie at odd places, and the last part is small. */
#include "walk.h"

enum { E = 5, USED = 2, MOST = 40, VALUES = 5 };
/* Tokens: every kind of kernel has its turn. */
static const uint32_t steps[] = {1, 20, 3, 6, MOST};
enum { ALL = sizeof steps / sizeof *steps };

/* A small feed-forward: y = gate of x, z += a product of y; and v, a product of x with a bias, or, where there are no experts,
 * logits. All matrices are of one type. */
struct feed {
	const struct bt_type *type;
	bool experts;
	uint32_t k, ff, out; /* widths of x, y, z */
	uint32_t n_steps;
};

struct model {
	struct bt_tensor gate, up, down, side, bias[2];
	struct bt_plan plan;
	struct bt_part part;
	struct bt_keep keep[2 * VALUES];
};
enum { X, CHOICE, Y, SPARE, Z };

static struct bt_tensor stack_of(struct walk *w, const struct feed *f, uint32_t k, uint32_t rows)
{
	uint32_t n = f->experts ? E : 1;
	struct bt_tensor t = matrix_of(w, f->type, k, (uint64_t)rows * n);
	t.dim[1] = rows;
	t.dim[2] = n;
	t.n_dims = f->experts ? 3 : 2;
	t.matrix_bytes = t.row_bytes * rows;
	return t;
}

static struct bt_tensor bias_of(struct walk *w, uint32_t n)
{
	struct bt_tensor t = matrix_of(w, bt_type_get(BT_TYPE_F32), n, 1);
	t.n_dims = 1;
	return t;
}

static void cross(struct model *m, uint32_t v, bool in, bool out)
{
	if (in) m->plan.keep[m->plan.n_keeps++] = (struct bt_keep){.value = v};
	if (out) m->plan.keep[m->plan.n_keeps++] = (struct bt_keep){v, m->plan.n_ops - 1, 0, true};
}

static void make_plan(struct model *m, const struct feed *f)
{
	struct bt_plan *p = &m->plan;
	enum bt_rows rows = f->experts ? BT_ROWS_EXPERTS : BT_ROWS_TOKENS;
	enum bt_op_kind kind = f->experts ? BT_OP_MATMUL_EXPERTS : BT_OP_MATMUL;
	bt_plan_init(p);
	bt_plan_value(p, "x", f->k, BT_ROWS_TOKENS);
	bt_plan_value(p, "choice", 2 * USED, BT_ROWS_TOKENS);
	bt_plan_value(p, "y", f->ff, rows);
	bt_plan_value(p, "spare", f->ff, rows);
	bt_plan_value(p, "z", (uint32_t)m->down.dim[1], rows);
	p->n_expert_used = f->experts ? USED : 0;
	p->n_vocab = (uint32_t)m->side.dim[1];
	for (int i = 0; i < 2; i++) {
		struct bt_op *op = bt_plan_op(p, kind, 0);
		op->in[0] = i ? Y : X;
		if (f->experts) op->in[1] = CHOICE;
		op->out[0] = i ? Z : Y;
		if (!i) op->out[1] = SPARE;
		op->matmul.mat[0] = (struct bt_mat){i ? &m->down : &m->gate, i || f->experts ? NULL : &m->bias[0]};
		if (!i) op->matmul.mat[1] = (struct bt_mat){&m->up, f->experts ? NULL : &m->bias[1]};
		op->matmul.n_mats = i ? 1 : 2;
		op->matmul.epilogue = !i ? BT_EPI_SILU_GATE : f->experts ? BT_EPI_RELU2 : BT_EPI_ADD;
	}
	if (!f->experts) {
		struct bt_op *op = bt_plan_op(p, BT_OP_LOGITS, 0);
		op->in[0] = X;
		op->matmul.mat[0].w = &m->side;
		op->matmul.n_mats = 1;
	}
	m->part = (struct bt_part){0, p->n_ops};
	p->part = &m->part;
	p->n_parts = 1;
	p->keep = m->keep;
	cross(m, X, true, false);
	cross(m, CHOICE, f->experts, false);
	cross(m, Y, false, true);
	cross(m, Z, true, true);
}

static float *window(struct bt_exec *e, uint32_t v, bool leaves)
{
	uint32_t i = 0;
	while (e->c.plan->keep[i].value != v || e->c.plan->keep[i].leaves != leaves) i++;
	return bt_gpu_window(e, i);
}

static size_t floats_of(const struct bt_plan *p, uint32_t v, uint32_t n)
{
	return bt_plan_rows(p, v, n, n) * p->value[v].width;
}

/* Two experts for each token, all of them in turn. */
static void put_choice(struct bt_exec *e, uint32_t n)
{
	float *to = window(e, CHOICE, false);
	for (uint32_t t = 0; t < n; t++) {
		uint32_t first = t * t % E;
		int32_t id[USED] = {(int32_t)first, (int32_t)((first + 1 + t % (E - 1)) % E)};
		memcpy(to + t * 2 * USED, id, sizeof id);
	}
}

/* A step of n tokens: y, z and logits one behind the other into out; how many floats. */
static size_t run(struct walk *w, struct bt_exec *e, const float *in, uint32_t n, float *out)
{
	const struct bt_plan *p = e->c.plan;
	int32_t token[MOST] = {0}, pos[MOST] = {0};
	uint32_t rows[MOST];
	size_t n_y = floats_of(p, Y, n), n_z = floats_of(p, Z, n), n_logits = (size_t)n * p->n_vocab;
	struct bt_step_seq seq = {.n = n, .state_in = BT_NO_SLOT, .state_out = BT_NO_SLOT, .pages = (uint32_t[1]){0}};
	struct bt_step step = {.n_tokens = n,
	                       .n_seqs = 1,
	                       .n_logits = n,
	                       .token = token,
	                       .pos = pos,
	                       .seq = &seq,
	                       .logit_row = rows,
	                       .logits = out + n_y + n_z};
	for (uint32_t i = 0; i < n; i++) rows[i] = i;
	memcpy(window(e, X, false), in, floats_of(p, X, n) * 4);
	memcpy(window(e, Z, false), in, n_z * 4);
	if (p->n_expert_used) put_choice(e, n);
	if (bt_gpu_run(e, &step, &w->err)) fail(w, w->err.text);
	memcpy(out, window(e, Y, true), n_y * 4);
	memcpy(out + n_y, window(e, Z, true), n_z * 4);
	return n_y + n_z + (p->n_expert_used ? 0 : n_logits);
}

/* Of a step: commands, barriers, and the parts of the matrix that has fewest. */
static void count(struct walk *w, const struct bt_exec *e, uint32_t n, uint32_t counted[3])
{
	struct bt_gpu_shape shape = {.n_tokens = n, .n_logits = n};
	struct bt_gpu_cmd *cmd = NULL;
	counted[0] = counted[1] = 0;
	counted[2] = UINT32_MAX;
	if (bt_gpu_lower(e, shape, &cmd, &counted[0], &w->err)) fail(w, w->err.text);
	for (uint32_t i = 0; i < counted[0]; i++) counted[1] += cmd[i].barrier;
	for (uint32_t i = 0; i < e->c.plan->n_ops; i++)
		for (uint32_t j = 0; j < e->c.plan->op[i].matmul.n_mats; j++)
			if (counted[2] > e->node[i].mat[j]->n_parts) counted[2] = e->node[i].mat[j]->n_parts;
	bt_mem_free(cmd);
}

/* The same numbers under other addresses, by which the device knows them. */
static struct bt_exec *compile(struct walk *w, struct model *m, uint64_t most)
{
	struct bt_compile c = {.plan = &m->plan,
	                       .n_tokens = MOST,
	                       .n_logits = MOST,
	                       .n_threads = 1,
	                       .type_k = bt_type_get(BT_TYPE_F16),
	                       .type_v = bt_type_get(BT_TYPE_F16)};
	struct bt_exec *e = NULL;
	w->gpu->caps.part = most;
	if (bt_gpu_compile(w->device, &c, &e, &w->err)) fail(w, w->err.text);
	w->gpu->caps.part = 0;
	return e;
}

static void compare(struct walk *w, struct bt_exec *e[2], const float *in, const struct feed *f)
{
	const struct bt_plan *p = e[0]->c.plan;
	size_t most = floats_of(p, Y, MOST) + floats_of(p, Z, MOST) + (size_t)MOST * p->n_vocab;
	float *out[2] = {malloc(most * 4), malloc(most * 4)};
	for (uint32_t i = 0; i < f->n_steps; i++) {
		uint32_t counted[2][3];
		size_t n[2];
		snprintf(w->what, sizeof w->what, "parts of %s, %u x %u%s, %u tokens", f->type->name, f->ff, f->k,
		         f->experts ? ", experts" : "", steps[i]);
		for (int s = 0; s < 2; s++) {
			n[s] = run(w, e[s], in, steps[i], out[s]);
			count(w, e[s], steps[i], counted[s]);
		}
		w->cases++;
		if (n[0] != n[1] || memcmp(out[0], out[1], n[0] * 4)) fail(w, "other bits than in one part");
		if (counted[0][1] != counted[1][1]) fail(w, "parts of a matrix wait for each other");
		if (counted[0][2] != 1 || counted[1][2] < 2) fail(w, "a matrix in other parts than it should be");
		if (counted[1][0] < counted[0][0] + 4) fail(w, "too few commands");
	}
	free(out[0]), free(out[1]);
}

static void walk_feed(struct walk *w, const struct feed *f)
{
	struct model m[2] = {{.gate = stack_of(w, f, f->k, f->ff),
	                      .up = stack_of(w, f, f->k, f->ff),
	                      .down = stack_of(w, f, f->ff, f->out),
	                      .side = matrix_of(w, f->type, f->k, 250),
	                      .bias = {bias_of(w, f->ff), bias_of(w, f->ff)}}};
	struct bt_exec *e[2];
	enum bt_gpu_format format = bt_gpu_format_of(f->type, false);
	struct bt_gpu_row_bytes row = bt_gpu_row_bytes(format, f->k);
	uint64_t bytes = 0;
	for (int i = 0; i < BT_GPU_PLANES; i++) bytes += row.plane[i];
	/* Two experts, or 96 rows, and not much more. */
	uint64_t most = bytes * (f->experts ? 2 * f->ff : 96) + bt_gpu_book_bytes(format) + 256 * BT_GPU_PLANES + 31;
	m[1] = m[0];
	for (int i = 0; i < 2; i++) {
		make_plan(&m[i], f);
		e[i] = compile(w, &m[i], i ? most : 0);
	}
	float *in = rows_of(w, (size_t)MOST * (f->k + USED * f->out));
	if (e[0] && e[1]) compare(w, e, in, f);
	for (int i = 0; i < 2; i++) release_plan(e[i], &m[i].plan);
	const struct bt_tensor *t[] = {&m->gate, &m->up, &m->down, &m->side, &m->bias[0], &m->bias[1]};
	for (size_t i = 0; i < sizeof t / sizeof *t; i++) free((void *)t[i]->data);
	free(in);
}

/* As many rows as fit; whole matrices of a stack; blocks of 32. And what must not be cut so. */
static void walk_cuts(struct walk *w)
{
	const struct bt_type *type = bt_type_get(BT_TYPE_Q8_0);
	const uint64_t gib = (uint64_t)1 << 30;
	struct {
		uint64_t k, rows, n, most, want;
	} c[] = {
		{1024, 96, 1, gib, 96},
		{1024, 4000000, 1, 4 * gib, 2000000}, /* 4.35 GB: two halves, of whole tiles */
		{1024, 4000001, 1, 4 * gib, 2000128},
		{7168, 2048, 384, 4 * gib, 192 * 2048}, /* 6.0 GB */
		{7168, 2048, 383, 4 * gib, 192 * 2048},
		{7168, 2048, 384, gib, 64 * 2048},
		{1 << 25, 2048, 2, gib, 0}, /* an expert of 71 GB */
		{1 << 25, 64, 1, gib, 0},   /* 32 rows of 36 MB */
		{1 << 24, 64, 1, gib, 32},
	};
	for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
		struct bt_tensor t = {.type = type,
		                      .dim = {c[i].k, c[i].rows, c[i].n, 1},
		                      .n_rows = c[i].rows * c[i].n};
		uint64_t got = bt_gpu_part_rows(bt_gpu_format_of(type, false), &t, c[i].most);
		snprintf(w->what, sizeof w->what, "cut of %llu x %llu x %llu into parts of %llu",
		         (unsigned long long)c[i].k, (unsigned long long)c[i].rows, (unsigned long long)c[i].n,
		         (unsigned long long)c[i].most);
		w->cases++;
		if (got == c[i].want) continue;
		printf("%llu rows, not %llu\n", (unsigned long long)got, (unsigned long long)c[i].want);
		fail(w, "cut elsewhere");
	}
}

void walk_parts(struct walk *w)
{
	bool walked[BT_GPU_FORMATS] = {false};
	walk_cuts(w);
	for (uint32_t id = 0; id < BT_TYPE_COUNT; id++) {
		const struct bt_type *type = bt_type_get(id);
		if (!type || walked[bt_gpu_format_of(type, false)]) continue;
		walked[bt_gpu_format_of(type, false)] = true;
		/* Formats differ in how a block is read, which one kernel shows: the emulator is slow. */
		bool some = id < BT_TYPE_Q4_1 || id == BT_TYPE_BF16 || id == BT_TYPE_IQ4_NL;
		uint32_t n = some || !w->fused ? ALL : 1;
		walk_feed(w, &(struct feed){type, false, 256, 256, 131, n});
		walk_feed(w, &(struct feed){type, true, 256, 256, 200, n});
	}
	/* Long rows, which many threads share. */
	for (int experts = 0; experts < 2; experts++)
		walk_feed(w, &(struct feed){bt_type_get(BT_TYPE_Q4_0), experts, 1024, 256, 1200, 1});
}
