#include "engine/check.h"
#include "engine/cache.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Both devices round activations and keys alike, so results differ by the order of sums and by exp: some 1e-6. A value that
 * falls to the other side of a rounding step moves a result by about 1e-3. */
#define ALLOWED 4e-3

static const uint32_t steps[] = {70, 1, 5};
#define N_STEPS  (sizeof steps / sizeof *steps)
#define MOST     70u /* tokens in a step */
#define N_PAGES  2u
#define N_SLOTS  2u
#define N_LOGITS 3u

/* One of the two devices. */
struct side {
	const struct bt_backend *backend;
	struct bt_device *dev;
	struct bt_exec *exec;
	struct bt_cache *cache;   /* [n_caches]: that of the operation is there */
	struct bt_dev_mem *state; /* [n_states]: likewise */
	float *logits;
};

struct check {
	const struct bt_plan *whole;
	struct bt_plan plan; /* the operations under test */
	struct bt_op op[2];
	struct bt_part part;
	struct bt_keep keep[4 * (BT_MAX_INS + BT_MAX_MATS)];
	struct side side[2]; /* host, device */
	uint32_t n_expert, seed;
	float *input;
	size_t cap; /* floats of input */
	struct bt_check out;
};

static float draw(struct check *c)
{
	c->seed = c->seed * 1664525u + 1013904223u;
	return (float)(c->seed >> 8) * 0x1p-23f - 1;
}

static bool gated(const struct bt_op *op)
{
	return (op->kind == BT_OP_MATMUL || op->kind == BT_OP_MATMUL_EXPERTS) &&
	       op->matmul.epilogue == BT_EPI_SILU_GATE;
}

/* Is this value of the operation a choice of experts: ids, as integers, and weights? */
static bool is_choice(const struct bt_op *op, bool out, uint32_t j)
{
	if (out) return op->kind == BT_OP_ROUTER && !j;
	return (op->kind == BT_OP_MATMUL_EXPERTS || op->kind == BT_OP_EXPERT_SUM) && j == 1;
}

static void keep_value(struct check *c, uint32_t v)
{
	if (v == BT_NO_VALUE) return;
	c->keep[c->plan.n_keeps++] = (struct bt_keep){v, 0, 0, false};
	c->keep[c->plan.n_keeps++] = (struct bt_keep){v, c->plan.n_ops - 1, 0, true};
}

static bool is_state_op(const struct bt_op *op, uint32_t *state)
{
	if (op->kind == BT_OP_CONV) *state = op->conv.state;
	else if (op->kind == BT_OP_DELTA_NET || op->kind == BT_OP_MAMBA2) *state = op->recurrence.state;
	else return false;
	return true;
}

/* The plan of operation i alone; attention comes with what fills its cache. */
static bool make_plan(struct check *c, uint32_t i)
{
	const struct bt_op *op = &c->whole->op[i];
	uint32_t n = 0;
	if (op->kind == BT_OP_ATTENTION) {
		for (uint32_t j = 0; j < i && !n; j++)
			if (c->whole->op[j].kind == BT_OP_KV_STORE && c->whole->op[j].kv.cache == op->attention.cache)
				c->op[n++] = c->whole->op[j];
		if (!n) return false;
	}
	c->op[n++] = *op;
	c->plan = *c->whole;
	c->plan.op = c->op;
	c->plan.n_ops = n;
	c->part = (struct bt_part){0, n};
	c->plan.part = &c->part;
	c->plan.n_parts = 1;
	c->plan.keep = c->keep;
	c->plan.n_keeps = 0;
	for (uint32_t k = 0; k < n; k++) {
		for (uint32_t j = 0; j < BT_MAX_INS; j++) keep_value(c, c->op[k].in[j]);
		for (uint32_t j = 0; j < BT_MAX_MATS; j++) keep_value(c, c->op[k].out[j]);
	}
	return true;
}

static enum baton_status open_side(struct check *c, struct side *s, struct baton_error *err)
{
	const struct bt_op *op = &c->op[c->plan.n_ops - 1];
	const struct bt_type *half = bt_type_get(BT_TYPE_F16);
	enum baton_status status = BATON_OK;
	uint32_t state;
	if (op->kind == BT_OP_ATTENTION) {
		uint32_t i = op->attention.cache;
		struct bt_cache_need need = {&c->plan.cache[i], half, half, N_PAGES};
		status = bt_cache_open(s->backend, s->dev, 0, &need, &s->cache[i], err);
	}
	if (is_state_op(op, &state))
		status = s->backend->alloc(s->dev, BT_MEM_STATE,
		                           (size_t)N_SLOTS * c->plan.state[state].floats * sizeof(float),
		                           &s->state[state], err);
	struct bt_compile compile = {.plan = &c->plan,
	                             .n_tokens = MOST,
	                             .n_logits = N_LOGITS,
	                             .type_k = half,
	                             .type_v = half,
	                             .cache = s->cache,
	                             .state = s->state};
	return status ? status : s->backend->compile(s->dev, &compile, &s->exec, err);
}

static void close_side(struct check *c, struct side *s)
{
	const struct bt_op *op = &c->op[c->plan.n_ops - 1];
	uint32_t state;
	if (s->exec) s->backend->release(s->exec);
	s->exec = NULL;
	if (op->kind == BT_OP_ATTENTION) bt_cache_close(s->backend, s->dev, &s->cache[op->attention.cache]);
	if (is_state_op(op, &state)) s->backend->free(s->dev, &s->state[state]);
}

/* A value that goes in or comes out, on one side. */
static float *window(struct check *c, int side, uint32_t v, bool leaves)
{
	uint32_t i = 0;
	while (c->keep[i].value != v || c->keep[i].leaves != leaves) i++;
	return c->side[side].backend->window(c->side[side].exec, i);
}

/* Values to read: the same on both sides. */
static void put_value(struct check *c, uint32_t v, bool choice, const struct bt_step *step)
{
	uint32_t width = c->plan.value[v].width, used = width / 2;
	size_t rows = bt_plan_rows(&c->plan, v, step->n_tokens, step->n_logits);
	for (size_t i = 0; i < rows * width; i++) c->input[i] = draw(c);
	for (size_t r = 0; r < rows && choice; r++)
		for (uint32_t j = 0; j < used; j++) {
			int32_t id = (int32_t)((r * 5 + j) % c->n_expert);
			memcpy(&c->input[r * width + j], &id, sizeof id);
		}
	for (int s = 0; s < 2; s++) memcpy(window(c, s, v, false), c->input, rows * width * sizeof(float));
}

static void put_inputs(struct check *c, const struct bt_step *step)
{
	for (uint32_t k = 0; k < c->plan.n_ops; k++) {
		const struct bt_op *op = &c->op[k];
		for (uint32_t j = 0; j < BT_MAX_INS; j++)
			if (op->in[j] != BT_NO_VALUE) put_value(c, op->in[j], is_choice(op, false, j), step);
		if (bt_op_adds(op)) put_value(c, op->out[0], false, step);
	}
}

double bt_check_values(const float *want, const float *got, size_t n)
{
	double most = 0, worst = 0;
	for (size_t i = 0; i < n; i++) {
		double d = fabs((double)got[i] - want[i]);
		if (isnan(d)) return INFINITY;
		most = fmax(most, fabs((double)want[i]));
		worst = fmax(worst, d);
	}
	return worst == 0 ? 0 : isinf(worst) ? INFINITY : worst / most;
}

/* Take n values into the result. */
static void compare(struct check *c, const float *want, const float *got, size_t n)
{
	c->out.error = fmax(c->out.error, bt_check_values(want, got, n));
}

/* Ids must be the same; weights count like other values. */
static void compare_choice(struct check *c, const float *want, const float *got, size_t rows, uint32_t width)
{
	for (size_t r = 0; r < rows; r++) {
		if (memcmp(want + r * width, got + r * width, width / 2 * sizeof(float))) c->out.error = INFINITY;
		compare(c, want + r * width + width / 2, got + r * width + width / 2, width - width / 2);
	}
}

static void take_results(struct check *c, const struct bt_step *step)
{
	const struct bt_op *op = &c->op[c->plan.n_ops - 1];
	if (op->kind == BT_OP_LOGITS)
		compare(c, c->side[0].logits, c->side[1].logits, (size_t)step->n_logits * c->plan.n_vocab);
	for (uint32_t j = 0; j < (gated(op) ? 1 : BT_MAX_MATS); j++) {
		uint32_t v = op->out[j];
		if (v == BT_NO_VALUE) continue;
		size_t rows = bt_plan_rows(&c->plan, v, step->n_tokens, step->n_logits), width = c->plan.value[v].width;
		const float *result[2];
		for (int s = 0; s < 2; s++) result[s] = window(c, s, v, true);
		if (is_choice(op, true, j)) compare_choice(c, result[0], result[1], rows, (uint32_t)width);
		else compare(c, result[0], result[1], rows * width);
	}
}

/* All steps of the operations at hand, on both sides. */
static enum baton_status run(struct check *c, struct baton_error *err)
{
	static const uint32_t pages[N_PAGES] = {1, 0};
	int32_t token[MOST], pos[MOST];
	uint32_t pos0 = 0;
	enum baton_status status = BATON_OK;
	for (size_t k = 0; k < N_STEPS && !status; k++) {
		uint32_t n = steps[k], rows[N_LOGITS] = {0, n / 2, n - 1};
		for (uint32_t i = 0; i < n; i++) {
			token[i] = (int32_t)((i * 37 + k * 11 + 5) % (c->plan.n_vocab ? c->plan.n_vocab : 1));
			pos[i] = (int32_t)(pos0 + i);
		}
		struct bt_step_seq seq = {.n = n,
		                          .pos0 = pos0,
		                          .pages = pages,
		                          .state_in = k ? (uint32_t)(k + 1) % N_SLOTS : BT_NO_SLOT,
		                          .state_out = (uint32_t)k % N_SLOTS};
		struct bt_step step = {.n_tokens = n,
		                       .n_seqs = 1,
		                       .n_logits = n < N_LOGITS ? 1 : N_LOGITS,
		                       .token = token,
		                       .pos = pos,
		                       .seq = &seq,
		                       .logit_row = rows};
		put_inputs(c, &step);
		for (int s = 0; s < 2 && !status; s++) {
			step.logits = c->side[s].logits;
			status = c->side[s].backend->run(c->side[s].exec, &step, err);
		}
		if (!status) take_results(c, &step);
		pos0 += n;
	}
	return status;
}

static bool same_tensors(const struct bt_op *a, const struct bt_op *b)
{
	const struct bt_tensor *x[BT_OP_TENSORS], *y[BT_OP_TENSORS];
	uint32_t n = bt_op_tensors(a, x), m = bt_op_tensors(b, y);
	for (uint32_t i = 0; i < n && n == m; i++)
		if (x[i]->type != y[i]->type || memcmp(x[i]->dim, y[i]->dim, sizeof x[i]->dim)) return false;
	return n == m;
}

static bool same_width(const struct bt_plan *p, uint32_t a, uint32_t b)
{
	if (a == BT_NO_VALUE || b == BT_NO_VALUE) return a == b;
	return p->value[a].width == p->value[b].width && p->value[a].rows == p->value[b].rows;
}

/* Do two operations do the same work on other numbers? */
static bool alike(const struct bt_plan *p, const struct bt_op *a, const struct bt_op *b)
{
	if (a->kind != b->kind || !same_tensors(a, b)) return false;
	for (uint32_t j = 0; j < BT_MAX_INS; j++)
		if (!same_width(p, a->in[j], b->in[j])) return false;
	for (uint32_t j = 0; j < BT_MAX_MATS; j++)
		if (!same_width(p, a->out[j], b->out[j])) return false;
	switch (a->kind) {
	case BT_OP_MATMUL:
	case BT_OP_MATMUL_EXPERTS: return a->matmul.epilogue == b->matmul.epilogue;
	case BT_OP_RMS_NORM: return a->norm.n_groups == b->norm.n_groups && a->norm.per_group == b->norm.per_group;
	case BT_OP_ROPE: return a->rope.rope == b->rope.rope && a->rope.d == b->rope.d;
	case BT_OP_ATTENTION:
		return a->attention.n_head == b->attention.n_head && a->attention.window == b->attention.window &&
		       a->attention.softcap == b->attention.softcap;
	case BT_OP_EXPERT_SUM: return a->expert_sum.set == b->expert_sum.set;
	case BT_OP_GATE: return a->gate.act == b->gate.act;
	case BT_OP_DELTA_NET:
	case BT_OP_MAMBA2:
		return a->recurrence.n_head == b->recurrence.n_head && a->recurrence.n_group == b->recurrence.n_group;
	default: return true;
	}
}

/* Is there an operation before i that does its work? */
static bool was_done(const struct bt_plan *p, uint32_t i)
{
	for (uint32_t j = 0; j < i; j++)
		if (alike(p, &p->op[j], &p->op[i])) return true;
	return false;
}

static void describe(struct check *c, uint32_t i)
{
	const struct bt_op *op = &c->whole->op[i];
	size_t len = 0;
	c->out = (struct bt_check){.op = bt_op_table[op->kind].name, .layer = op->layer, .allowed = ALLOWED};
	for (uint32_t j = i; j < c->whole->n_ops; j++) c->out.n_alike += alike(c->whole, op, &c->whole->op[j]);
	for (uint32_t j = 0; bt_op_multiplies(op) && j < op->matmul.n_mats && len < sizeof c->out.types; j++) {
		const char *name = op->matmul.mat[j].w->type->name;
		if (j && op->matmul.mat[j].w->type == op->matmul.mat[0].w->type) continue;
		len += (size_t)snprintf(c->out.types + len, sizeof c->out.types - len, "%s%s", len ? "/" : "", name);
	}
}

/* Operation i on both sides. A failure of the host is the check's own. */
static enum baton_status check_op(struct check *c, uint32_t i, struct baton_error *err)
{
	struct baton_error fault = {0};
	describe(c, i);
	enum baton_status status = open_side(c, &c->side[0], err), device = BATON_OK;
	if (!status) device = open_side(c, &c->side[1], &fault);
	if (!status && !device) device = run(c, &fault);
	if (!status && device) snprintf(c->out.text, sizeof c->out.text, "%.255s", fault.text);
	close_side(c, &c->side[0]);
	close_side(c, &c->side[1]);
	c->out.ok = !device && c->out.error <= ALLOWED;
	if (!device && !c->out.ok) snprintf(c->out.text, sizeof c->out.text, "other values than the CPU's");
	return status;
}

/* Room for the widest value of the plan. */
static enum baton_status open_check(struct check *c, struct baton_error *err)
{
	const struct bt_plan *p = c->whole;
	c->cap = 1;
	c->n_expert = p->n_expert_used ? p->n_expert_used : 1;
	for (uint32_t v = 0; v < p->n_values; v++) {
		size_t n = bt_plan_rows(p, v, MOST, N_LOGITS) * p->value[v].width;
		if (c->cap < n) c->cap = n;
	}
	for (uint32_t i = 0; i < p->n_ops; i++)
		if (p->op[i].kind == BT_OP_ROUTER) c->n_expert = p->op[i].router.n_expert;
	c->input = bt_mem_array(BT_MEM_HOST, c->cap, sizeof(float));
	bool ok = c->input != NULL;
	for (int s = 0; s < 2; s++) {
		struct side *side = &c->side[s];
		side->logits = bt_mem_array(BT_MEM_HOST, (size_t)p->n_vocab * N_LOGITS + 1, sizeof(float));
		side->cache = bt_mem_array(BT_MEM_HOST, p->n_caches + 1u, sizeof *side->cache);
		side->state = bt_mem_array(BT_MEM_HOST, p->n_states + 1u, sizeof *side->state);
		ok = ok && side->logits && side->cache && side->state;
	}
	return ok ? BATON_OK : bt_fail_nomem(err, c->cap * sizeof(float), "checking a device");
}

static void close_check(struct check *c)
{
	bt_mem_free(c->input);
	for (int s = 0; s < 2; s++) {
		bt_mem_free(c->side[s].logits);
		bt_mem_free(c->side[s].cache);
		bt_mem_free(c->side[s].state);
	}
}

enum baton_status bt_check_plan(const struct bt_plan *plan, const struct bt_backend *backend, uint32_t index,
                                struct bt_device *dev, bt_check_fn fn, void *user, uint32_t *n_skipped,
                                struct baton_error *err)
{
	struct check c = {.whole = plan, .seed = 1};
	struct bt_device_params params = {0};
	const struct bt_backend *const *host = bt_backend_table;
	*n_skipped = 0;
	while (*host && !(*host)->host) host++;
	if (!*host) return bt_fail(err, BATON_ERR_UNSUPPORTED, "this build has no back end for the host");
	c.side[0].backend = *host;
	c.side[1].backend = backend;
	c.side[1].dev = dev;
	enum baton_status status = (*host)->open(0, &params, &c.side[0].dev, err);
	if (!status) status = open_check(&c, err);
	for (uint32_t i = 0; i < plan->n_ops && !status; i++) {
		const struct bt_op *op = &plan->op[i];
		if (op->kind == BT_OP_KV_STORE || was_done(plan, i)) continue; /* goes with attention */
		if (backend->supports && !backend->supports(index, plan, op)) {
			++*n_skipped;
			continue;
		}
		if (!make_plan(&c, i)) continue;
		status = check_op(&c, i, err);
		if (!status && !fn(user, &c.out)) status = bt_fail(err, BATON_ERR_CANCELLED, "cancelled");
	}
	close_check(&c);
	if (c.side[0].dev) (*host)->close(c.side[0].dev);
	return status;
}

enum baton_status bt_check_memory(const struct bt_backend *backend, struct bt_device *dev, struct baton_error *err)
{
	enum { WORDS = 5000011, SHIFT = 1234567 }; /* about 20 MB, in no round numbers */
	struct bt_dev_mem a = {0}, b = {0};
	size_t bytes = (size_t)WORDS * 4, at = (size_t)SHIFT * 4;
	uint32_t *x = bt_mem_alloc(BT_MEM_HOST, bytes), *y = bt_mem_zalloc(BT_MEM_HOST, bytes);
	enum baton_status status = x && y ? BATON_OK : bt_fail_nomem(err, 2 * bytes, "checking memory");
	for (uint32_t i = 0; x && i < WORDS; i++) x[i] = i * 2654435761u + 1;
	if (!status) status = backend->alloc(dev, BT_MEM_SCRATCH, bytes, &a, err);
	if (!status) status = backend->alloc(dev, BT_MEM_SCRATCH, bytes, &b, err);
	if (!status) status = backend->upload(dev, &a, 0, x, bytes, err);
	if (!status) status = backend->copy(dev, &b, 0, &a, at, bytes - at, err);
	if (!status) status = backend->copy(dev, &b, bytes - at, &a, 0, at, err);
	if (!status) status = backend->download(dev, y, &b, 0, bytes, err);
	if (!status && (memcmp(y, x + SHIFT, bytes - at) || memcmp(y + WORDS - SHIFT, x, at)))
		status = bt_fail(err, BATON_ERR_DEVICE, "bytes came back from its memory as others");
	if (a.size) backend->free(dev, &a);
	if (b.size) backend->free(dev, &b);
	bt_mem_free(x);
	bt_mem_free(y);
	return status;
}
