/* lower.c: the walk over the plan, barriers, and the operations that are neither products nor attention. */
#include "backend/gpu/lower.h"

#include <string.h>

uint64_t bt_gpu_value(const struct bt_gpu_lowering *l, uint32_t v)
{
	return l->e->values.address + l->e->offset[v];
}

uint32_t bt_gpu_rows(const struct bt_gpu_lowering *l, uint32_t v)
{
	return (uint32_t)bt_plan_rows(l->e->c.plan, v, l->shape.n_tokens, l->shape.n_logits);
}

uint32_t bt_gpu_width(const struct bt_gpu_lowering *l, uint32_t v)
{
	return l->e->c.plan->value[v].width;
}

static struct bt_gpu_range range_of(const struct bt_gpu_lowering *l, uint32_t v, bool write)
{
	uint64_t bytes = (uint64_t)bt_gpu_rows(l, v) * bt_gpu_width(l, v) * sizeof(float);
	return (struct bt_gpu_range){bt_gpu_value(l, v), bytes, write};
}

struct bt_gpu_range bt_gpu_reads(const struct bt_gpu_lowering *l, uint32_t v)
{
	return range_of(l, v, false);
}

struct bt_gpu_range bt_gpu_writes(const struct bt_gpu_lowering *l, uint32_t v)
{
	return range_of(l, v, true);
}

/* Room for one more element of a growing array; without memory the lowering has failed. */
static bool room(struct bt_gpu_lowering *l, void **array, uint32_t n, uint32_t *cap, size_t size)
{
	if (n < *cap) return true;
	uint32_t want = *cap ? *cap * 2 : 256;
	void *p = bt_mem_realloc(BT_MEM_HOST, *array, want * size);
	if (!p) {
		l->status = bt_fail_nomem(l->err, want * size, "a step's commands");
		return false;
	}
	*array = p;
	*cap = want;
	return true;
}

void bt_gpu_emit(struct bt_gpu_lowering *l, struct bt_gpu_cmd cmd, const struct bt_gpu_range *touched, uint32_t n)
{
	const struct bt_gpu_caps *caps = &l->e->dev->gpu->caps;
	if (l->status) return;
	for (int i = 0; i < 3; i++) {
		if (!cmd.grid[i]) return; /* nothing to do */
		if (cmd.grid[i] <= caps->max_grid[i]) continue;
		l->status = bt_fail(l->err, BATON_ERR_LIMIT,
		                    "%s: %u workgroups in a row; this device takes %u (a smaller -ub needs fewer)",
		                    bt_gpu_kernel_table[cmd.kernel].name, cmd.grid[i], caps->max_grid[i]);
		return;
	}
	for (uint32_t i = 0; i < n; i++) {
		void *array = l->range;
		if (!room(l, &array, l->n_ranges, &l->cap_ranges, sizeof *l->range)) return;
		l->range = array;
		l->range[l->n_ranges++] = touched[i];
	}
	void *array = l->emitted;
	if (!room(l, &array, l->n, &l->cap, sizeof *l->emitted)) return;
	l->emitted = array;
	l->emitted[l->n++] = (struct bt_gpu_emitted){.cmd = cmd,
	                                             .first = l->n_ranges - n,
	                                             .n = n,
	                                             .product = l->product};
}

void bt_gpu_emit_copy(struct bt_gpu_lowering *l, uint64_t dst, uint64_t src, uint64_t bytes,
                      const struct bt_gpu_range *touched)
{
	struct bt_gpu_copy_words p = {.x = src, .y = dst, .n = (uint32_t)(bytes / 4)};
	bt_gpu_emit(l, bt_gpu_cmd(BT_GPU_K_copy, &p, (p.n + 1023) / 1024, 1, 1), touched, 1);
}

static void lower_embed(struct bt_gpu_lowering *l)
{
	const struct bt_exec *e = l->e;
	uint32_t v = l->op->out[0];
	struct bt_gpu_range touched = bt_gpu_writes(l, v);
	bt_gpu_emit_copy(l, touched.address, e->step.address + e->at_embed, touched.size, &touched);
}

/* How many rounded forms of other values than v an operation may leave behind. */
static uint32_t rounds_others(const struct bt_gpu_node *node, const struct bt_op *op, uint32_t v)
{
	if (op->kind == BT_OP_RMS_NORM || op->kind == BT_OP_ATTENTION || op->kind == BT_OP_GATE) return 1;
	if (!bt_gpu_reads_rounded(node, op)) return 0;
	return (op->in[0] != v) + (op->matmul.epilogue == BT_EPI_SILU_GATE);
}

void bt_gpu_readers(const struct bt_gpu_lowering *l, uint32_t v, bool *floats, bool *rounded)
{
	const struct bt_plan *p = l->e->c.plan;
	struct bt_part part = bt_plan_part(p, l->shape.part);
	bool lost = false; /* the rounded form is overwritten: who wants it makes it again from the floats */
	uint32_t others = 0;
	*floats = *rounded = false;
	/* What another device reads, and what a later part rounds again. */
	for (uint32_t i = 0; i < p->n_keeps; i++) *floats |= p->keep[i].value == v;
	for (uint32_t i = (uint32_t)(l->op - p->op) + 1; i < p->n_ops; i++) {
		const struct bt_op *op = &p->op[i];
		lost |= i >= part.first + part.n;
		for (uint32_t j = 0; j < BT_MAX_INS; j++) {
			if (op->in[j] != v) continue;
			bool as_int = j == 0 && bt_gpu_reads_rounded(&l->e->node[i], op);
			*rounded |= as_int && !lost;
			*floats |= !as_int || lost;
			for (uint32_t m = 0; as_int && m < op->matmul.n_mats; m++)
				*floats |= bt_gpu_format_is_float(l->e->node[i].mat[m]->format);
		}
		for (uint32_t j = 0; j < BT_MAX_MATS; j++) {
			if (op->out[j] != v) continue;
			*floats |= bt_op_adds(op);
			return;
		}
		others += rounds_others(&l->e->node[i], op, v);
		lost |= others >= BT_GPU_ROUNDED;
	}
}

uint32_t bt_gpu_results(struct bt_gpu_lowering *l, uint32_t v, bool can_round, uint64_t *y, uint64_t *xq,
                        struct bt_gpu_range *touched)
{
	bool floats, rounded;
	uint32_t n = 0;
	bt_gpu_readers(l, v, &floats, &rounded);
	rounded = rounded && can_round;
	*y = *xq = 0;
	if (floats || !rounded) {
		touched[n] = bt_gpu_writes(l, v);
		*y = touched[n++].address;
	}
	if (rounded) {
		touched[n] = bt_gpu_take_rounded(l, v);
		*xq = touched[n++].address;
	}
	return n;
}

uint32_t bt_gpu_weight_stride(const struct bt_op *norm)
{
	const struct bt_tensor *w = norm->norm.w;
	if (!norm->norm.per_group || !w) return 0;
	if (w->n_rows > 1) return (uint32_t)((w->dim[0] + 31) / 32 * 32); /* rows of a matrix are padded */
	return (uint32_t)w->dim[0] / norm->norm.n_groups;
}

static void lower_norm(struct bt_gpu_lowering *l)
{
	const struct bt_op *op = l->op;
	uint32_t x = op->in[0], y = op->out[0], width = bt_gpu_width(l, x), n = width / op->norm.n_groups;
	struct bt_gpu_range touched[3] = {bt_gpu_reads(l, x)};
	struct bt_gpu_norm p = {.x = bt_gpu_value(l, x),
	                        .w = l->node->small[0],
	                        .n = n,
	                        .n_groups = op->norm.n_groups,
	                        .n_total = bt_gpu_rows(l, x) * op->norm.n_groups,
	                        .w_stride = bt_gpu_weight_stride(op),
	                        .eps = op->norm.eps};
	/* A block of 32 must not lie in two groups, nor may a team's eight threads. */
	uint32_t n_touched = 1 + bt_gpu_results(l, y, x != y && n % 32 == 0, &p.y, &p.xq, touched + 1);
	bool per_team = bt_gpu_norm_by_team(n, p.n_total);
	uint32_t groups = per_team ? (p.n_total + 31) / 32 : p.n_total;
	bt_gpu_emit(l, bt_gpu_cmd(per_team ? BT_GPU_K_rms_norm_team : BT_GPU_K_rms_norm, &p, groups, 1, 1), touched,
	            n_touched);
}

static void lower_router(struct bt_gpu_lowering *l)
{
	const struct bt_op *op = l->op;
	struct bt_gpu_router p = {.x = bt_gpu_value(l, op->in[0]),
	                          .bias = l->node->small[0],
	                          .y = bt_gpu_value(l, op->out[0]),
	                          .n_rows = bt_gpu_rows(l, op->in[0]),
	                          .n_expert = op->router.n_expert,
	                          .n_used = op->router.n_used,
	                          .sigmoid = op->router.sigmoid,
	                          .normalize = op->router.normalize,
	                          .n_group = op->router.n_group > 1 ? op->router.n_group : 0,
	                          .n_group_used = op->router.n_group_used,
	                          .scale = op->router.scale};
	struct bt_gpu_range touched[] = {bt_gpu_reads(l, op->in[0]), bt_gpu_writes(l, op->out[0])};
	bt_gpu_emit(l, bt_gpu_cmd(BT_GPU_K_router, &p, p.n_rows, 1, 1), touched, 2);
}

static void lower_expert_sum(struct bt_gpu_lowering *l)
{
	const struct bt_op *op = l->op;
	struct bt_gpu_expert_sum p = {.x = bt_gpu_value(l, op->in[0]),
	                              .choice = bt_gpu_value(l, op->in[1]),
	                              .y = bt_gpu_value(l, op->out[0]),
	                              .n_rows = bt_gpu_rows(l, op->out[0]),
	                              .n_used = l->e->c.plan->n_expert_used,
	                              .n = bt_gpu_width(l, op->out[0]),
	                              .set = op->expert_sum.set};
	struct bt_gpu_range touched[] = {bt_gpu_reads(l, op->in[0]), bt_gpu_reads(l, op->in[1]),
	                                 bt_gpu_writes(l, op->out[0])};
	bt_gpu_emit(l, bt_gpu_cmd(BT_GPU_K_expert_sum, &p, (p.n + 255) / 256, p.n_rows, 1), touched, 3);
}

static void lower_gather(struct bt_gpu_lowering *l)
{
	const struct bt_op *op = l->op;
	struct bt_gpu_gather p = {.x = bt_gpu_value(l, op->in[0]),
	                          .row = l->e->step.address + l->e->at_logit_row,
	                          .y = bt_gpu_value(l, op->out[0]),
	                          .n_rows = bt_gpu_rows(l, op->out[0]),
	                          .n = bt_gpu_width(l, op->out[0])};
	struct bt_gpu_range touched[] = {bt_gpu_reads(l, op->in[0]), bt_gpu_writes(l, op->out[0])};
	bt_gpu_emit(l, bt_gpu_cmd(BT_GPU_K_gather, &p, (p.n + 255) / 256, p.n_rows, 1), touched, 2);
}

static const bt_gpu_lower_fn lower_table[BT_OP_KINDS] = {
	[BT_OP_EMBED] = lower_embed,
	[BT_OP_RMS_NORM] = lower_norm,
	[BT_OP_MATMUL] = bt_gpu_lower_matmul,
	[BT_OP_ROPE] = bt_gpu_lower_rope,
	[BT_OP_KV_STORE] = bt_gpu_lower_kv_store,
	[BT_OP_ATTENTION] = bt_gpu_lower_attention,
	[BT_OP_ROUTER] = lower_router,
	[BT_OP_MATMUL_EXPERTS] = bt_gpu_lower_experts,
	[BT_OP_EXPERT_SUM] = lower_expert_sum,
	[BT_OP_SPLIT] = bt_gpu_lower_split,
	[BT_OP_GATE] = bt_gpu_lower_gate,
	[BT_OP_CONV] = bt_gpu_lower_conv,
	[BT_OP_DELTA_NET] = bt_gpu_lower_recurrence,
	[BT_OP_MAMBA2] = bt_gpu_lower_recurrence,
	[BT_OP_GATHER] = lower_gather,
	[BT_OP_LOGITS] = bt_gpu_lower_matmul,
};

const char *bt_gpu_check_op(const struct bt_plan *plan, const struct bt_op *op, bool exact, uint64_t most)
{
	if (!lower_table[op->kind]) return "there is no GPU kernel for it yet";
	switch (op->kind) {
	case BT_OP_MATMUL:
	case BT_OP_MATMUL_EXPERTS:
	case BT_OP_LOGITS: return bt_gpu_check_product(op, exact, most);
	case BT_OP_ROUTER:
		return op->router.n_expert > 2048 || op->router.n_used > 64
		               ? "the GPU kernel chooses at most 64 of at most 2048 experts"
		               : NULL;
	case BT_OP_CONV:
	case BT_OP_DELTA_NET:
	case BT_OP_MAMBA2: return bt_gpu_check_recurrent(op);
	case BT_OP_KV_STORE:
	case BT_OP_ATTENTION: return bt_gpu_check_attention(plan, op);
	default: return NULL;
	}
}

bool bt_gpu_supports(uint32_t index, const struct bt_plan *plan, const struct bt_op *op)
{
	(void)index;
	return !bt_gpu_check_op(plan, op, false, BT_GPU_REACH);
}

enum baton_status bt_gpu_check(const struct bt_compile *c, uint64_t most, struct baton_error *err)
{
	for (uint32_t i = 0; i < c->plan->n_ops; i++) {
		const struct bt_op *op = &c->plan->op[i];
		const char *what = bt_gpu_check_op(c->plan, op, c->exact, most);
		if (!what && (op->kind == BT_OP_KV_STORE || op->kind == BT_OP_ATTENTION)) what = bt_gpu_check_cache(c);
		if (what)
			return bt_fail(err, BATON_ERR_UNSUPPORTED, "%s of layer %u: %s; -dev CPU computes it",
			               bt_op_table[op->kind].name, op->layer, what);
	}
	return BATON_OK;
}

/* What an operation writes is no longer what was rounded before, unless it has just been rounded, nor what was grouped. */
static void forget(struct bt_gpu_lowering *l)
{
	for (uint32_t j = 0; j < BT_MAX_MATS; j++) {
		if (l->op->out[j] == l->grouped) l->grouped = BT_NO_VALUE;
		if (l->op->out[j] == l->halved) l->halved = BT_NO_VALUE;
	}
	for (uint32_t i = 0; i < BT_GPU_ROUNDED; i++)
		for (uint32_t j = 0; j < BT_MAX_MATS && !l->fresh; j++)
			if (l->op->out[j] == l->rounded[i]) l->rounded[i] = BT_NO_VALUE;
	l->fresh = false;
}

/* Values that come from other devices, or go there. */
static void lower_crossings(struct bt_gpu_lowering *l, bool leaves)
{
	const struct bt_exec *e = l->e;
	for (uint32_t i = 0; i < e->c.plan->n_keeps; i++) {
		uint32_t v = e->c.plan->keep[i].value;
		if (!bt_gpu_crosses(e, i, l->shape.part, leaves)) continue;
		struct bt_gpu_range touched = leaves ? bt_gpu_reads(l, v) : bt_gpu_writes(l, v);
		if (!touched.size) continue;
		uint64_t box = (leaves ? e->outbox.address : e->inbox.address) + e->window[i];
		bt_gpu_emit_copy(l, leaves ? box : touched.address, leaves ? touched.address : box, touched.size,
		                 &touched);
	}
}

enum baton_status bt_gpu_lower(const struct bt_exec *e, struct bt_gpu_shape shape, struct bt_gpu_cmd **cmds,
                               uint32_t *n, struct baton_error *err)
{
	struct bt_gpu_lowering l = {.e = e, .shape = shape, .halved = BT_NO_VALUE, .grouped = BT_NO_VALUE, .err = err};
	struct bt_part part = bt_plan_part(e->c.plan, shape.part);
	for (uint32_t i = 0; i < BT_GPU_ROUNDED; i++) l.rounded[i] = BT_NO_VALUE;
	lower_crossings(&l, false);
	for (uint32_t i = part.first; i < part.first + part.n && !l.status; i++) {
		l.op = &e->c.plan->op[i];
		l.node = &e->node[i];
		if (i + 1 < part.first + part.n && (bt_gpu_lower_gated_norm(&l) || bt_gpu_lower_rope_store(&l))) i++;
		else lower_table[l.op->kind](&l);
		forget(&l);
	}
	lower_crossings(&l, true);
	enum baton_status status = bt_gpu_schedule(&l, cmds, n);
	bt_mem_free(l.emitted);
	bt_mem_free(l.range);
	return status;
}
