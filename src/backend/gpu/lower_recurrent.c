/* lower_recurrent.c: split, gates, and the operations that carry a state along each sequence. */
#include "backend/gpu/lower.h"

/* Convolutions by the most taps, recurrences by the most rows of a state. */
static const struct bound {
	uint32_t most, wide; /* channels, or columns of a state, of a workgroup */
	uint16_t kernel[2];  /* recurrences: delta rule, Mamba-2 */
} convs[] = {{4, 64, {BT_GPU_K_conv_4}}, {16, 64, {BT_GPU_K_conv_16}}};
static const struct bound recurrences[] = {{64, 32, {BT_GPU_K_delta_net_64, BT_GPU_K_mamba2_64}},
                                           {128, 32, {BT_GPU_K_delta_net_128, BT_GPU_K_mamba2_128}},
                                           {256, 32, {BT_GPU_K_delta_net_256, BT_GPU_K_mamba2_256}}};
#define N_CONVS       (sizeof convs / sizeof *convs)
#define N_RECURRENCES (sizeof recurrences / sizeof *recurrences)

/* The first that is large enough, or NULL. */
static const struct bound *pick(const struct bound *b, size_t n, uint64_t want)
{
	size_t i = 0;
	while (i < n && b[i].most < want) i++;
	return i < n ? &b[i] : NULL;
}

const char *bt_gpu_check_recurrent(const struct bt_op *op)
{
	if (op->kind == BT_OP_CONV)
		return pick(convs, N_CONVS, op->conv.w->dim[0]) ? NULL : "a convolution of more than 16 taps";
	return pick(recurrences, N_RECURRENCES, op->recurrence.d_state) ? NULL : "a state of more than 256 rows";
}

/* Floats from one row of a small tensor to the next, as weights.c stores them. */
static uint32_t row_floats(const struct bt_tensor *t)
{
	return (uint32_t)((t->dim[0] + 31) / 32 * 32);
}

/* Floats between the values of a list, which files have as a row or as a column. */
static uint32_t stride_of(const struct bt_tensor *t)
{
	return t && t->dim[0] == 1 ? row_floats(t) : 1;
}

static struct bt_gpu_range state_of(const struct bt_gpu_lowering *l, uint32_t state)
{
	const struct bt_gpu_mem *m = l->e->c.state[state].handle;
	return (struct bt_gpu_range){m->address, m->size, true};
}

void bt_gpu_lower_split(struct bt_gpu_lowering *l)
{
	const struct bt_op *op = l->op;
	struct bt_gpu_split p = {.x = bt_gpu_value(l, op->in[0]),
	                         .a = bt_gpu_value(l, op->out[0]),
	                         .b = bt_gpu_value(l, op->out[1]),
	                         .n_total = bt_gpu_rows(l, op->out[0]) * bt_gpu_width(l, op->out[0]),
	                         .d = op->split.d};
	struct bt_gpu_range touched[] = {bt_gpu_reads(l, op->in[0]), bt_gpu_writes(l, op->out[0]),
	                                 bt_gpu_writes(l, op->out[1])};
	bt_gpu_emit(l, bt_gpu_cmd(BT_GPU_K_split, &p, (p.n_total + 255) / 256, 1, 1), touched, 3);
}

void bt_gpu_lower_gate(struct bt_gpu_lowering *l)
{
	const struct bt_op *op = l->op;
	uint32_t x = op->in[0], g = op->in[1], y = op->out[0], n = bt_gpu_width(l, x);
	struct bt_gpu_gate_act p = {.x = bt_gpu_value(l, x),
	                            .g = bt_gpu_value(l, g),
	                            .n = n,
	                            .n_total = bt_gpu_rows(l, x) * n,
	                            .one = bt_gpu_width(l, g) != n,
	                            .sigmoid = op->gate.act == BT_ACT_SIGMOID};
	struct bt_gpu_range touched[4] = {bt_gpu_reads(l, x), bt_gpu_reads(l, g)};
	uint32_t n_touched = 2 + bt_gpu_results(l, y, n % 32 == 0, &p.y, &p.xq, touched + 2);
	bt_gpu_emit(l, bt_gpu_cmd(BT_GPU_K_gate_act, &p, (p.n_total + 1023) / 1024, 1, 1), touched, n_touched);
}

/* The norm and the gate of a pair of operations on one value, in either order; false: they are no such pair. */
static bool gated_norm(const struct bt_gpu_lowering *l, const struct bt_op **norm, const struct bt_op **gate)
{
	const struct bt_op *a = l->op, *b = a + 1;
	bool gate_first = a->kind == BT_OP_GATE && b->kind == BT_OP_RMS_NORM;
	if (!gate_first && (a->kind != BT_OP_RMS_NORM || b->kind != BT_OP_GATE)) return false;
	*norm = gate_first ? b : a;
	*gate = gate_first ? a : b;
	return b->in[0] == a->out[0] && b->out[0] == a->out[0] && (*gate)->in[1] != a->out[0] &&
	       bt_gpu_width(l, (*gate)->in[1]) == bt_gpu_width(l, a->out[0]);
}

bool bt_gpu_lower_gated_norm(struct bt_gpu_lowering *l)
{
	static const uint16_t kernels[2][2] = {{BT_GPU_K_gated_norm, BT_GPU_K_gated_norm_team},
	                                       {BT_GPU_K_gate_first_norm, BT_GPU_K_gate_first_norm_team}};
	const struct bt_op *norm, *gate, *plan = l->e->c.plan->op;
	if (!gated_norm(l, &norm, &gate)) return false;
	uint32_t x = l->op->in[0], y = l->op->out[0], g = gate->in[1], n = bt_gpu_width(l, x) / norm->norm.n_groups;
	l->op++;
	l->node++;
	struct bt_gpu_range touched[4] = {bt_gpu_reads(l, x), bt_gpu_reads(l, g)};
	struct bt_gpu_gated_norm p = {.x = bt_gpu_value(l, x),
	                              .g = bt_gpu_value(l, g),
	                              .w = l->e->node[norm - plan].small[0],
	                              .n = n,
	                              .n_groups = norm->norm.n_groups,
	                              .n_total = bt_gpu_rows(l, x) * norm->norm.n_groups,
	                              .w_stride = bt_gpu_weight_stride(norm),
	                              .sigmoid = gate->gate.act == BT_ACT_SIGMOID,
	                              .eps = norm->norm.eps};
	uint32_t n_touched = 2 + bt_gpu_results(l, y, n % 32 == 0, &p.y, &p.xq, touched + 2);
	bool team = bt_gpu_norm_by_team(n, p.n_total);
	uint32_t groups = team ? (p.n_total + 31) / 32 : p.n_total;
	bt_gpu_emit(l, bt_gpu_cmd(kernels[gate < norm][team], &p, groups, 1, 1), touched, n_touched);
	return true;
}

void bt_gpu_lower_conv(struct bt_gpu_lowering *l)
{
	const struct bt_op *op = l->op;
	const struct bt_exec *e = l->e;
	struct bt_gpu_range touched[] = {bt_gpu_reads(l, op->in[0]), bt_gpu_writes(l, op->out[0]),
	                                 state_of(l, op->conv.state)};
	struct bt_gpu_conv p = {.u = bt_gpu_value(l, op->in[0]),
	                        .w = l->node->small[0],
	                        .bias = l->node->small[1],
	                        .state = touched[2].address,
	                        .y = bt_gpu_value(l, op->out[0]),
	                        .seq = e->step.address + e->at_seq,
	                        .chunk = e->step.address + e->at_chunk,
	                        .channels = bt_gpu_width(l, op->in[0]),
	                        .taps = (uint32_t)op->conv.w->dim[0],
	                        .w_stride = row_floats(op->conv.w),
	                        .slot_bytes = e->c.plan->state[op->conv.state].floats * (uint32_t)sizeof(float)};
	const struct bound *b = pick(convs, N_CONVS, p.taps);
	uint32_t chunks = bt_gpu_chunks(l->shape.n_tokens, l->shape.n_seqs);
	bt_gpu_emit(l, bt_gpu_cmd(b->kernel[0], &p, (p.channels + b->wide - 1) / b->wide, chunks, 1), touched, 3);
}

void bt_gpu_lower_recurrence(struct bt_gpu_lowering *l)
{
	const struct bt_op *op = l->op;
	const struct bt_exec *e = l->e;
	const struct bt_recurrence *r = &op->recurrence;
	const bool delta = op->kind == BT_OP_DELTA_NET;
	uint32_t keys = r->n_group * r->d_state, heads = r->n_head * r->d_head;
	struct bt_gpu_range touched[5] = {bt_gpu_reads(l, op->in[0]), bt_gpu_reads(l, op->in[1]),
	                                  bt_gpu_writes(l, op->out[0]), state_of(l, r->state)};
	if (delta) touched[4] = bt_gpu_reads(l, op->in[2]);
	struct bt_gpu_recurrence p = {.x = bt_gpu_value(l, op->in[0]),
	                              .dt = bt_gpu_value(l, op->in[1]),
	                              .beta = delta ? bt_gpu_value(l, op->in[2]) : 0,
	                              .a = l->node->small[0],
	                              .dt_bias = l->node->small[1],
	                              .d = l->node->small[2],
	                              .state = touched[3].address,
	                              .y = bt_gpu_value(l, op->out[0]),
	                              .seq = e->step.address + e->at_seq,
	                              .width = bt_gpu_width(l, op->in[0]),
	                              .n_head = r->n_head,
	                              .n_group = r->n_group,
	                              .d_state = r->d_state,
	                              .d_head = r->d_head,
	                              .q_at = delta ? 0 : heads + keys,
	                              .k_at = delta ? keys : heads,
	                              .v_at = delta ? 2 * keys : 0,
	                              .a_stride = stride_of(r->a),
	                              .d_stride = stride_of(r->d),
	                              .slot_bytes = e->c.plan->state[r->state].floats * (uint32_t)sizeof(float),
	                              .by_turns = delta && !r->neighbours};
	const struct bound *b = pick(recurrences, N_RECURRENCES, r->d_state);
	uint32_t wide = (r->d_head + b->wide - 1) / b->wide;
	bt_gpu_emit(l, bt_gpu_cmd(b->kernel[!delta], &p, wide, r->n_head, l->shape.n_seqs), touched, delta ? 5 : 4);
}
