/* Making a plan ready, and running it: one walk over the list of operations. */
#include "backend/cpu/exec.h"

#include <string.h>

/* The widest row that a matrix product of the plan reads, the widest head, and the most values that a residual product
 * gives. */
static void plan_widths(const struct bt_plan *p, size_t *k_max, size_t *d_max, size_t *residual)
{
	*k_max = 32;
	*d_max = 32;
	*residual = 0;
	for (uint32_t i = 0; i < p->n_caches; i++) {
		if (*d_max < p->cache[i].d_k) *d_max = p->cache[i].d_k;
		if (*d_max < p->cache[i].d_v) *d_max = p->cache[i].d_v;
	}
	for (uint32_t i = 0; i < p->n_ops; i++) {
		const struct bt_op *op = &p->op[i];
		if (!bt_op_multiplies(op)) continue;
		size_t k = p->value[op->in[0]].width;
		if (*k_max < k) *k_max = k;
		if (op->matmul.epilogue != BT_EPI_ADD) continue;
		size_t n = p->value[op->out[0]].width;
		if (*residual < n) *residual = n;
	}
}

static size_t small_size(const struct bt_tensor *t)
{
	return (t->dim[0] * t->n_rows + 15) & ~(size_t)15;
}

/* [channels][taps] in the file, [taps][channels] for the kernel */
static void unpack_taps(const struct bt_tensor *t, float *out)
{
	size_t taps = t->dim[0], channels = t->n_rows;
	for (size_t c = 0; c < channels; c++) {
		float w[BT_LIMIT_CONV_TAPS];
		t->type->unpack((const char *)t->data + c * t->row_bytes, w, taps);
		for (size_t i = 0; i < taps; i++) out[i * channels + c] = w[i];
	}
}

static enum baton_status load_small(struct bt_exec *e, struct baton_error *err)
{
	const struct bt_plan *p = e->c.plan;
	const struct bt_tensor *t[BT_MAX_MATS];
	size_t total = 0;
	for (uint32_t i = 0; i < p->n_ops; i++)
		for (uint32_t j = 0, n = bt_op_small(&p->op[i], t); j < n; j++)
			if (t[j]) total += small_size(t[j]);
	e->small = bt_mem_array(BT_MEM_WEIGHTS, total + 1, sizeof *e->small);
	e->allocated += total * sizeof *e->small;
	if (!e->small) return bt_fail_nomem(err, total * sizeof *e->small, "norm weights and biases");
	float *at = e->small;
	for (uint32_t i = 0; i < p->n_ops; i++) {
		for (uint32_t j = 0, n = bt_op_small(&p->op[i], t); j < n; j++) {
			if (!t[j]) continue;
			if (p->op[i].kind == BT_OP_CONV && !j) unpack_taps(t[j], at);
			else t[j]->type->unpack(t[j]->data, at, t[j]->dim[0] * t[j]->n_rows);
			e->node[i].f32[j] = at;
			at += small_size(t[j]);
		}
	}
	return BATON_OK;
}

static enum baton_status make_ropes(struct bt_exec *e, struct baton_error *err)
{
	const struct bt_plan *p = e->c.plan;
	e->rope = bt_mem_array(BT_MEM_SCRATCH, p->n_ops + 1, sizeof *e->rope);
	if (!e->rope) return bt_fail_nomem(err, 0, "rope tables");
	for (uint32_t i = 0; i < p->n_ops; i++) {
		if (p->op[i].kind != BT_OP_ROPE) continue;
		const struct bt_rope *rope = p->op[i].rope.rope;
		uint32_t j = 0;
		while (j < e->n_ropes && e->rope[j].rope != rope) j++;
		if (j == e->n_ropes) {
			size_t n = (size_t)e->c.n_tokens * rope->n_pairs;
			struct bt_cpu_rope *r = &e->rope[e->n_ropes++];
			r->rope = rope;
			r->cos = bt_mem_array(BT_MEM_SCRATCH, n + 1, sizeof *r->cos);
			r->sin = bt_mem_array(BT_MEM_SCRATCH, n + 1, sizeof *r->sin);
			if (!r->cos || !r->sin) return bt_fail_nomem(err, 2 * n * sizeof *r->cos, "rope tables");
			e->allocated += 2 * n * sizeof *r->cos;
		}
		e->node[i].rope = &e->rope[j];
	}
	return BATON_OK;
}

/* An array of scratch memory, counted. */
static void *scratch_array(struct bt_exec *e, size_t n, size_t size)
{
	e->allocated += n * size;
	return bt_mem_array(BT_MEM_SCRATCH, n + 1, size);
}

static enum baton_status make_scratch(struct bt_exec *e, struct baton_error *err)
{
	const struct bt_plan *p = e->c.plan;
	size_t k_max, d_max, residual, rows = e->c.n_tokens;
	plan_widths(p, &k_max, &d_max, &residual);
	bt_cpu_kernels_init(&e->kernels, e->dev->level, k_max, d_max);
	if (p->n_expert_used) {
		rows *= p->n_expert_used;
		/* the router's scores, ranks and groups */
		if (e->kernels.scratch < 3 * BT_LIMIT_EXPERTS * sizeof(float))
			e->kernels.scratch = 3 * BT_LIMIT_EXPERTS * sizeof(float);
	}
	e->acts_rows = rows;
	e->acts_k = (k_max + 31) & ~(size_t)31;
	e->acts.q = scratch_array(e, rows * e->acts_k, 1);
	e->acts.d = scratch_array(e, rows * (e->acts_k / 32), sizeof *e->acts.d);
	e->acts.sum = scratch_array(e, rows * (e->acts_k / 16), sizeof *e->acts.sum);
	e->packed = scratch_array(e, e->c.n_tokens * (e->acts_k / 32), e->kernels.pack_block);
	e->residual = scratch_array(e, (size_t)e->c.n_tokens * residual, sizeof *e->residual);
	size_t recurrence = 0;
	for (uint32_t i = 0; i < p->n_ops; i++) {
		size_t n = bt_cpu_recurrence_floats(&p->op[i], e->c.n_tokens);
		if (recurrence < n) recurrence = n;
	}
	e->recurrence = scratch_array(e, recurrence, sizeof *e->recurrence);
	e->query_row = scratch_array(e, e->c.n_tokens, sizeof *e->query_row);
	e->thread_scratch = scratch_array(e, bt_pool_threads(e->dev->pool), e->kernels.scratch);
	bool ok = e->packed && e->acts.q && e->acts.d && e->acts.sum && e->residual && e->query_row && e->recurrence &&
	          e->thread_scratch;
	if (ok && p->n_expert_used) {
		e->expert_row = scratch_array(e, rows, sizeof *e->expert_row);
		e->expert_token = scratch_array(e, rows, sizeof *e->expert_token);
		e->expert_first = scratch_array(e, BT_LIMIT_EXPERTS + 1, sizeof *e->expert_first);
		ok = e->expert_row && e->expert_token && e->expert_first;
	}
	if (!ok) return bt_fail_nomem(err, e->allocated, "working memory; a smaller -ub needs less");
	for (uint32_t i = 0; i < e->c.n_tokens; i++) e->query_row[i] = i;
	return BATON_OK;
}

void bt_cpu_release(struct bt_exec *e)
{
	if (!e) return;
	for (uint32_t i = 0; i < e->n_ropes; i++) {
		bt_mem_free(e->rope[i].cos);
		bt_mem_free(e->rope[i].sin);
	}
	bt_mem_free(e->rope);
	bt_mem_free(e->offset);
	bt_mem_free_pages(BT_MEM_SCRATCH, e->scratch, e->scratch_size);
	bt_mem_free(e->node);
	bt_mem_free(e->small);
	bt_mem_free(e->acts.q);
	bt_mem_free(e->acts.d);
	bt_mem_free(e->acts.sum);
	bt_mem_free(e->packed);
	bt_mem_free(e->residual);
	bt_mem_free(e->recurrence);
	bt_mem_free(e->thread_scratch);
	bt_mem_free(e->expert_row);
	bt_mem_free(e->expert_token);
	bt_mem_free(e->expert_first);
	bt_mem_free(e->query_row);
	bt_mem_free(e->parts);
	bt_mem_free(e);
}

size_t bt_cpu_scratch(const struct bt_exec *e)
{
	return e->scratch_size + e->allocated;
}

float *bt_cpu_window(struct bt_exec *e, uint32_t keep)
{
	return bt_cpu_value(e, e->c.plan->keep[keep].value);
}

enum baton_status bt_cpu_compile(struct bt_device *dev, const struct bt_compile *c, struct bt_exec **out,
                                 struct baton_error *err)
{
	*out = NULL;
	struct bt_exec *e = bt_mem_zalloc(BT_MEM_HOST, sizeof *e);
	if (!e) return bt_fail_nomem(err, sizeof *e, "a plan");
	e->c = *c;
	e->dev = (struct bt_cpu_device *)dev;
	enum baton_status status = BATON_OK;
	e->offset = bt_mem_array(BT_MEM_HOST, c->plan->n_values + 1, sizeof *e->offset);
	e->node = bt_mem_array(BT_MEM_HOST, c->plan->n_ops + 1, sizeof *e->node);
	if (!e->offset || !e->node) status = bt_fail_nomem(err, 0, "a plan");
	for (uint32_t i = 0; !status && i < c->plan->n_ops; i++) e->node[i].op = &c->plan->op[i];
	if (!status) status = bt_plan_layout(c->plan, c->n_tokens, c->n_logits, 0, e->offset, &e->scratch_size, err);
	if (!status) {
		e->scratch = bt_mem_pages(BT_MEM_SCRATCH, e->scratch_size);
		if (!e->scratch)
			status = bt_fail_nomem(err, e->scratch_size, "working memory; a smaller -ub needs less");
	}
	if (!status) status = load_small(e, err);
	if (!status) status = make_ropes(e, err);
	if (!status) status = make_scratch(e, err);
	if (status) bt_cpu_release(e);
	else *out = e;
	return status;
}

enum baton_status bt_cpu_run(struct bt_exec *e, const struct bt_step *step, struct baton_error *err)
{
	if (step->n_tokens > e->c.n_tokens || step->n_logits > e->c.n_logits)
		return bt_fail(err, BATON_ERR_LIMIT, "a step of %u tokens and %u logits; %u and %u were planned",
		               step->n_tokens, step->n_logits, e->c.n_tokens, e->c.n_logits);
	struct bt_part part = bt_plan_part(e->c.plan, step->part);
	enum baton_status status = step->part ? BATON_OK : bt_cpu_attention_room(e, step, err);
	if (status) return status;
	if (!step->part) bt_ahead_step(&e->ahead);
	for (uint32_t i = 0; i < e->n_ropes && !step->part; i++) bt_cpu_rope_fill(&e->rope[i], step);
	for (uint32_t i = part.first; i < part.first + part.n; i++) {
		const struct bt_cpu_node *node = &e->node[i];
		bt_cpu_op_table[node->op->kind](e, node, step);
	}
	return BATON_OK;
}

void bt_cpu_parallel(struct bt_exec *e, bt_task_fn fn, void *arg, size_t n_items, size_t floats)
{
	if (n_items > 1 && n_items * floats >= BT_CPU_PARALLEL_MIN) bt_pool_run(e->dev->pool, fn, arg, n_items, 0);
	else if (n_items) fn(arg, 0, n_items, 0);
}
