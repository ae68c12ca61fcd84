#include "plan/plan.h"

#include <stdio.h>
#include <string.h>

const struct bt_op_info bt_op_table[BT_OP_KINDS] = {
	[BT_OP_EMBED] = {"embed", 0, 1, 1},
	[BT_OP_RMS_NORM] = {"rms_norm", 1, 1, 1},
	[BT_OP_MATMUL] = {"matmul", 1, 1, 3, true},
	[BT_OP_ROPE] = {"rope", 2, 2, 2},
	[BT_OP_KV_STORE] = {"kv_store", 2, 0, 0},
	[BT_OP_ATTENTION] = {"attention", 1, 1, 1, true},
	[BT_OP_ROUTER] = {"router", 1, 1, 1},
	[BT_OP_MATMUL_EXPERTS] = {"matmul_experts", 2, 1, 2, true},
	[BT_OP_EXPERT_SUM] = {"expert_sum", 2, 1, 1},
	[BT_OP_SPLIT] = {"split", 1, 2, 2},
	[BT_OP_GATE] = {"gate", 2, 1, 1},
	[BT_OP_CONV] = {"conv", 1, 1, 1},
	[BT_OP_DELTA_NET] = {"delta_net", 3, 1, 1, true},
	[BT_OP_MAMBA2] = {"mamba2", 2, 1, 1, true},
	[BT_OP_GATHER] = {"gather", 1, 1, 1},
	[BT_OP_LOGITS] = {"logits", 1, 0, 0, true},
};

void bt_plan_init(struct bt_plan *p)
{
	*p = (struct bt_plan){0};
	bt_arena_init(&p->arena, BT_MEM_HOST, 0);
}

void bt_plan_free(struct bt_plan *p)
{
	bt_arena_free(&p->arena);
	bt_mem_free(p->op);
	bt_mem_free(p->value);
	bt_mem_free(p->cache);
	bt_mem_free(p->state);
	bt_plan_init(p);
}

/* Room for one more element at the end of a growing array; false (and sticky) without memory. */
static bool grow(struct bt_plan *p, void *array, uint32_t n, uint32_t *cap, size_t size)
{
	if (n < *cap) return true;
	uint32_t want = *cap ? *cap * 2 : 64;
	void *old, *now;
	memcpy(&old, array, sizeof old);
	now = bt_mem_realloc(BT_MEM_HOST, old, want * size);
	if (!now) {
		p->status = BATON_ERR_NOMEM;
		return false;
	}
	memcpy(array, &now, sizeof now);
	*cap = want;
	return true;
}

uint32_t bt_plan_value(struct bt_plan *p, const char *name, uint32_t width, enum bt_rows rows)
{
	if (!grow(p, &p->value, p->n_values, &p->cap_values, sizeof *p->value)) return 0;
	struct bt_value *v = &p->value[p->n_values];
	*v = (struct bt_value){.width = width, .rows = rows, .first = UINT32_MAX};
	snprintf(v->name, sizeof v->name, "%s", name);
	return p->n_values++;
}

struct bt_op *bt_plan_op(struct bt_plan *p, enum bt_op_kind kind, uint32_t layer)
{
	struct bt_op *op = &p->dummy;
	if (grow(p, &p->op, p->n_ops, &p->cap_ops, sizeof *p->op)) op = &p->op[p->n_ops++];
	*op = (struct bt_op){.kind = kind, .layer = layer};
	for (size_t i = 0; i < sizeof op->in / sizeof *op->in; i++) op->in[i] = BT_NO_VALUE;
	for (size_t i = 0; i < sizeof op->out / sizeof *op->out; i++) op->out[i] = BT_NO_VALUE;
	return op;
}

uint32_t bt_plan_cache(struct bt_plan *p, uint32_t layer, uint32_t n_head_kv, uint32_t d_k, uint32_t d_v)
{
	if (!grow(p, &p->cache, p->n_caches, &p->cap_caches, sizeof *p->cache)) return 0;
	p->cache[p->n_caches] = (struct bt_cache_shape){layer, n_head_kv, d_k, d_v};
	return p->n_caches++;
}

uint32_t bt_plan_state(struct bt_plan *p, uint32_t layer, uint32_t floats)
{
	if (!grow(p, &p->state, p->n_states, &p->cap_states, sizeof *p->state)) return 0;
	p->state[p->n_states] = (struct bt_state_shape){layer, floats};
	return p->n_states++;
}

size_t bt_plan_rows(const struct bt_plan *p, uint32_t v, uint32_t n_tokens, uint32_t n_logits)
{
	switch (p->value[v].rows) {
	case BT_ROWS_TOKENS: return n_tokens;
	case BT_ROWS_EXPERTS: return (size_t)n_tokens * p->n_expert_used;
	case BT_ROWS_LOGITS: return n_logits;
	case BT_ROWS_LOGITS_EXPERTS: return (size_t)n_logits * p->n_expert_used;
	}
	return 0;
}

static enum baton_status bad_op(const struct bt_plan *p, uint32_t i, const char *what, struct baton_error *err)
{
	return bt_fail(err, BATON_ERR_FORMAT, "plan: operation %u (%s of layer %u): %s", i,
	               bt_op_table[p->op[i].kind].name, p->op[i].layer, what);
}

/* A matrix takes rows of width `in` and gives rows of width `out`. */
static bool mat_fits(const struct bt_mat *m, uint64_t in, uint64_t out)
{
	return m->w && m->w->dim[0] == in && m->w->dim[1] == out && (!m->bias || m->bias->dim[0] == out);
}

static const char *check_mats(const struct bt_plan *p, const struct bt_op *op)
{
	uint32_t n = op->matmul.n_mats, gate = op->matmul.epilogue == BT_EPI_SILU_GATE;
	if (n < 1 || n > BT_MAX_MATS || (gate && n != 2)) return "wrong number of matrices";
	if (op->matmul.epilogue == BT_EPI_ADD && n != 1) return "a residual takes one matrix";
	for (uint32_t i = 0; i < n; i++) {
		uint64_t width = op->kind == BT_OP_LOGITS ? p->n_vocab : 0;
		if (op->kind != BT_OP_LOGITS) {
			if (op->out[i] == BT_NO_VALUE) return "a matrix without a result";
			width = p->value[op->out[i]].width;
		}
		if (!mat_fits(&op->matmul.mat[i], p->value[op->in[0]].width, width)) return "a matrix does not fit";
	}
	return NULL;
}

/* Are its inputs and outputs there, and the inputs written already? */
static const char *check_values(const struct bt_plan *p, const struct bt_op *op, bool *written)
{
	const struct bt_op_info *info = &bt_op_table[op->kind];
	for (uint32_t i = 0; i < info->n_in; i++) {
		if (op->in[i] == BT_NO_VALUE || op->in[i] >= p->n_values) return "an input is missing";
		if (!written[op->in[i]]) return "an input is read before it is written";
	}
	uint32_t n_out = 0;
	while (n_out < BT_MAX_MATS && op->out[n_out] != BT_NO_VALUE) {
		if (op->out[n_out] >= p->n_values) return "an output is missing";
		written[op->out[n_out++]] = true;
	}
	return n_out < info->n_out_min || n_out > info->n_out_max ? "wrong number of outputs" : NULL;
}

static bool holds(const struct bt_tensor *t, uint64_t n)
{
	return t && t->dim[0] * t->n_rows == n;
}

static const char *check_recurrence(const struct bt_plan *p, const struct bt_op *op)
{
	const struct bt_recurrence *r = &op->recurrence;
	uint64_t groups = 2 * (uint64_t)r->n_group * r->d_state, heads = (uint64_t)r->n_head * r->d_head;
	if (!r->n_head || !r->n_group || !r->d_state || !r->d_head || r->n_head % r->n_group)
		return "heads are no multiple of groups";
	if (p->value[op->in[0]].width != groups + heads || p->value[op->out[0]].width != heads ||
	    p->value[op->in[1]].width != r->n_head)
		return "widths do not fit";
	if (r->state >= p->n_states || p->state[r->state].floats != heads * r->d_state) return "no such state";
	if (!holds(r->a, r->n_head) || !holds(r->dt_bias, r->n_head)) return "a tensor does not fit";
	if (op->kind == BT_OP_MAMBA2) return holds(r->d, r->n_head) ? NULL : "a tensor does not fit";
	return p->value[op->in[2]].width == r->n_head ? NULL : "widths do not fit";
}

static const char *check_conv(const struct bt_plan *p, const struct bt_op *op)
{
	uint64_t width = p->value[op->in[0]].width, taps = op->conv.w->dim[0];
	if (width != p->value[op->out[0]].width || op->conv.w->n_rows != width) return "widths do not fit";
	if (op->conv.bias && !holds(op->conv.bias, width)) return "the bias does not fit";
	return op->conv.state < p->n_states && p->state[op->conv.state].floats == (taps - 1) * width ? NULL
	                                                                                             : "no such state";
}

static const char *check_gate(const struct bt_plan *p, const struct bt_op *op)
{
	uint32_t width = p->value[op->in[0]].width, by = p->value[op->in[1]].width;
	return width == p->value[op->out[0]].width && (by == width || by == 1) ? NULL : "widths do not fit";
}

/* Do its parameters fit its values? */
static const char *check_params(const struct bt_plan *p, const struct bt_op *op)
{
	switch (op->kind) {
	case BT_OP_MATMUL:
	case BT_OP_MATMUL_EXPERTS:
	case BT_OP_LOGITS: return check_mats(p, op);
	case BT_OP_EMBED:
		return op->embed.w->dim[0] == p->value[op->out[0]].width ? NULL : "the embedding's width does not fit";
	case BT_OP_RMS_NORM: {
		uint64_t width = p->value[op->in[0]].width, n = op->norm.n_groups;
		if (!n || width % n || width != p->value[op->out[0]].width) return "widths do not fit";
		if (op->norm.w && op->norm.w->dim[0] * op->norm.w->dim[1] != (op->norm.per_group ? width : width / n))
			return "the weight's width does not fit";
		return NULL;
	}
	case BT_OP_KV_STORE: return op->kv.cache < p->n_caches ? NULL : "no such cache";
	case BT_OP_ATTENTION: {
		if (op->attention.cache >= p->n_caches) return "no such cache";
		const struct bt_cache_shape *c = &p->cache[op->attention.cache];
		if (!c->n_head_kv || op->attention.n_head % c->n_head_kv) return "heads are no multiple of KV heads";
		return NULL;
	}
	case BT_OP_ROPE:
		return op->rope.rope && op->rope.rope->n_pairs * 2 <= op->rope.d
		               ? NULL
		               : "more values rotated than a head has";
	case BT_OP_SPLIT: {
		uint32_t width = p->value[op->out[0]].width, d = op->split.d;
		return d && width % d == 0 && width == p->value[op->out[1]].width &&
		                       2 * width == p->value[op->in[0]].width
		               ? NULL
		               : "widths do not fit";
	}
	case BT_OP_GATE: return check_gate(p, op);
	case BT_OP_CONV: return check_conv(p, op);
	case BT_OP_DELTA_NET:
	case BT_OP_MAMBA2: return check_recurrence(p, op);
	default: return NULL;
	}
}

enum baton_status bt_plan_check(const struct bt_plan *p, struct baton_error *err)
{
	if (p->status) return bt_fail_nomem(err, 0, "the plan");
	bool *written = bt_mem_array(BT_MEM_HOST, p->n_values + 1, sizeof *written);
	if (!written) return bt_fail_nomem(err, p->n_values, "checking the plan");
	enum baton_status status = BATON_OK;
	for (uint32_t i = 0; i < p->n_ops && !status; i++) {
		const char *what = check_values(p, &p->op[i], written);
		if (!what) what = check_params(p, &p->op[i]);
		if (what) status = bad_op(p, i, what, err);
	}
	bt_mem_free(written);
	return status;
}

bool bt_op_multiplies(const struct bt_op *op)
{
	return op->kind == BT_OP_MATMUL || op->kind == BT_OP_MATMUL_EXPERTS || op->kind == BT_OP_LOGITS;
}

uint32_t bt_op_small(const struct bt_op *op, const struct bt_tensor *t[BT_MAX_MATS])
{
	switch (op->kind) {
	case BT_OP_MATMUL:
	case BT_OP_MATMUL_EXPERTS:
	case BT_OP_LOGITS:
		for (uint32_t i = 0; i < op->matmul.n_mats; i++) t[i] = op->matmul.mat[i].bias;
		return op->matmul.n_mats;
	case BT_OP_RMS_NORM: t[0] = op->norm.w; return 1;
	case BT_OP_ROUTER: t[0] = op->router.select_bias; return 1;
	case BT_OP_CONV:
		t[0] = op->conv.w;
		t[1] = op->conv.bias;
		return 2;
	case BT_OP_DELTA_NET:
	case BT_OP_MAMBA2:
		t[0] = op->recurrence.a;
		t[1] = op->recurrence.dt_bias;
		t[2] = op->recurrence.d;
		return 3;
	default: return 0;
	}
}

uint32_t bt_op_tensors(const struct bt_op *op, const struct bt_tensor *t[BT_OP_TENSORS])
{
	const struct bt_tensor *small[BT_MAX_MATS];
	uint32_t n = 0, n_small = bt_op_small(op, small);
	if (op->kind == BT_OP_EMBED) t[n++] = op->embed.w;
	for (uint32_t i = 0; bt_op_multiplies(op) && i < op->matmul.n_mats; i++) t[n++] = op->matmul.mat[i].w;
	for (uint32_t i = 0; i < n_small; i++)
		if (small[i]) t[n++] = small[i];
	return n;
}

bool bt_op_adds(const struct bt_op *op)
{
	if (op->kind == BT_OP_EXPERT_SUM) return !op->expert_sum.set;
	return op->kind == BT_OP_MATMUL && op->matmul.epilogue == BT_EPI_ADD;
}
