/* The operations other than matrix products and attention, and the table of all of them. */
#include "backend/cpu/exec.h"
#include "backend/cpu/order.h"

#include <math.h>
#include <string.h>

struct rows_job {
	struct bt_exec *e;
	const struct bt_cpu_node *node;
	const struct bt_step *step;
};

static void embed_task(void *arg, size_t begin, size_t end, unsigned thread)
{
	(void)thread;
	const struct rows_job *j = arg;
	const struct bt_tensor *w = j->node->op->embed.w;
	float *y = bt_cpu_value(j->e, j->node->op->out[0]);
	for (size_t t = begin; t < end; t++)
		w->type->unpack((const char *)w->data + (size_t)j->step->token[t] * w->row_bytes, y + t * w->dim[0],
		                w->dim[0]);
}

static void op_embed(struct bt_exec *e, const struct bt_cpu_node *node, const struct bt_step *step)
{
	struct rows_job j = {e, node, step};
	bt_cpu_parallel(e, embed_task, &j, step->n_tokens, node->op->embed.w->dim[0]);
}

static void norm_task(void *arg, size_t begin, size_t end, unsigned thread)
{
	(void)thread;
	const struct rows_job *j = arg;
	const struct bt_op *op = j->node->op;
	size_t n = bt_cpu_width(j->e, op->in[0]) / op->norm.n_groups;
	const float *x = bt_cpu_value(j->e, op->in[0]);
	float *y = bt_cpu_value(j->e, op->out[0]);
	for (size_t i = begin; i < end; i++) {
		const float *w = j->node->f32[0];
		if (w && op->norm.per_group) w += i % op->norm.n_groups * n;
		j->e->kernels.rms_norm(x + i * n, w, op->norm.eps, n, y + i * n);
	}
}

static void op_rms_norm(struct bt_exec *e, const struct bt_cpu_node *node, const struct bt_step *step)
{
	struct rows_job j = {e, node, step};
	size_t groups = bt_cpu_rows(e, node->op->in[0], step) * node->op->norm.n_groups;
	bt_cpu_parallel(e, norm_task, &j, groups, bt_cpu_width(e, node->op->in[0]) / node->op->norm.n_groups);
}

/* The n_group_used groups with the best sums of their two largest scores stay; scores of the others become -inf.
 * best: [n_group] scratch. */
static void keep_groups(const struct bt_op *op, float *rank, float *best)
{
	uint32_t n_group = op->router.n_group, size = op->router.n_expert / n_group;
	for (uint32_t g = 0; g < n_group; g++) {
		float first = -INFINITY, second = -INFINITY;
		for (uint32_t i = 0; i < size; i++) {
			float x = rank[g * size + i];
			if (x > first) second = first, first = x;
			else if (x > second) second = x;
		}
		best[g] = size > 1 ? first + second : first;
	}
	for (uint32_t n = op->router.n_group_used; n < n_group; n++) {
		uint32_t worst = 0; /* of equal groups the last goes first */
		for (uint32_t g = 1; g < n_group; g++)
			if (best[g] <= best[worst]) worst = g;
		best[worst] = INFINITY;
		for (uint32_t i = 0; i < size; i++) rank[worst * size + i] = -INFINITY;
	}
}

/* Choose the experts of one token: the n_used largest scores (+ bias), ties to the lower number. score: [3 n_expert]
 * scratch. */
static void route(const struct bt_exec *e, const struct bt_cpu_node *node, const float *logit, float *out, float *score)
{
	const struct bt_op *op = node->op;
	uint32_t n = op->router.n_expert, used = op->router.n_used;
	const float *bias = node->f32[0];
	float *rank = score + n;
	if (op->router.sigmoid)
		for (uint32_t i = 0; i < n; i++) score[i] = bt_sigmoid_mul(logit[i], 1.0f);
	else e->kernels.softmax(logit, n, score);
	for (uint32_t i = 0; i < n; i++) rank[i] = bias ? score[i] + bias[i] : score[i];
	if (op->router.n_group > 1) keep_groups(op, rank, rank + n);
	float sum = 0;
	for (uint32_t s = 0; s < used; s++) {
		uint32_t best = UINT32_MAX;
		for (uint32_t i = 0; i < n; i++) {
			if (isnan(rank[i])) continue; /* taken, or nonsense */
			if (best == UINT32_MAX || rank[i] > rank[best]) best = i;
		}
		if (best == UINT32_MAX) best = s; /* all are NaN: any choice will do, the result is NaN */
		rank[best] = NAN;
		out[s] = bt_float_from_bits(best);
		out[used + s] = score[best];
		sum += score[best];
	}
	/* 2^-14, the smallest normal half, keeps a hopeless sum from dividing by zero; llama.cpp's guard as well. */
	float scale = op->router.scale / (op->router.normalize ? fmaxf(sum, 0x1p-14f) : 1);
	for (uint32_t s = 0; s < used; s++) out[used + s] *= scale;
}

static void router_task(void *arg, size_t begin, size_t end, unsigned thread)
{
	const struct rows_job *j = arg;
	const struct bt_op *op = j->node->op;
	const float *logit = bt_cpu_value(j->e, op->in[0]);
	float *out = bt_cpu_value(j->e, op->out[0]),
	      *scratch = (float *)(j->e->thread_scratch + thread * j->e->kernels.scratch);
	for (size_t t = begin; t < end; t++)
		route(j->e, j->node, logit + t * op->router.n_expert, out + t * 2 * op->router.n_used, scratch);
}

static void op_router(struct bt_exec *e, const struct bt_cpu_node *node, const struct bt_step *step)
{
	struct rows_job j = {e, node, step};
	bt_cpu_parallel(e, router_task, &j, bt_cpu_rows(e, node->op->in[0], step),
	                (size_t)node->op->router.n_expert * node->op->router.n_used);
}

static void expert_sum_task(void *arg, size_t begin, size_t end, unsigned thread)
{
	(void)thread;
	const struct rows_job *j = arg;
	const struct bt_op *op = j->node->op;
	uint32_t used = j->e->c.plan->n_expert_used, n = bt_cpu_width(j->e, op->out[0]);
	const float *x = bt_cpu_value(j->e, op->in[0]), *choice = bt_cpu_value(j->e, op->in[1]);
	float *h = bt_cpu_value(j->e, op->out[0]);
	for (size_t t = begin; t < end; t++) {
		const float *weight = choice + t * 2 * used + used;
		for (uint32_t i0 = 0; i0 < n; i0 += 64) {
			float sum[64] = {0};
			uint32_t m = n - i0 < 64 ? n - i0 : 64;
			for (uint32_t s = 0; s < used; s++)
				for (uint32_t i = 0; i < m; i++) sum[i] += weight[s] * x[(t * used + s) * n + i0 + i];
			float *y = h + t * n + i0;
			for (uint32_t i = 0; i < m; i++) y[i] = op->expert_sum.set ? sum[i] : y[i] + sum[i];
		}
	}
}

static void op_expert_sum(struct bt_exec *e, const struct bt_cpu_node *node, const struct bt_step *step)
{
	struct rows_job j = {e, node, step};
	bt_cpu_parallel(e, expert_sum_task, &j, bt_cpu_rows(e, node->op->out[0], step),
	                (size_t)bt_cpu_width(e, node->op->out[0]) * e->c.plan->n_expert_used);
}

static void split_task(void *arg, size_t begin, size_t end, unsigned thread)
{
	(void)thread;
	const struct rows_job *j = arg;
	const struct bt_op *op = j->node->op;
	size_t n = bt_cpu_width(j->e, op->out[0]), d = op->split.d;
	for (size_t t = begin; t < end; t++) {
		const float *x = bt_cpu_value(j->e, op->in[0]) + t * 2 * n;
		float *a = bt_cpu_value(j->e, op->out[0]) + t * n, *b = bt_cpu_value(j->e, op->out[1]) + t * n;
		for (size_t i = 0; i < n; i += d) {
			memcpy(a + i, x + 2 * i, d * sizeof *a);
			memcpy(b + i, x + 2 * i + d, d * sizeof *b);
		}
	}
}

static void op_split(struct bt_exec *e, const struct bt_cpu_node *node, const struct bt_step *step)
{
	struct rows_job j = {e, node, step};
	bt_cpu_parallel(e, split_task, &j, bt_cpu_rows(e, node->op->in[0], step), bt_cpu_width(e, node->op->in[0]));
}

static void gate_task(void *arg, size_t begin, size_t end, unsigned thread)
{
	(void)thread;
	const struct rows_job *j = arg;
	const struct bt_op *op = j->node->op;
	const struct bt_cpu_kernels *k = &j->e->kernels;
	const bool silu = op->gate.act == BT_ACT_SILU;
	size_t n = bt_cpu_width(j->e, op->in[0]), by = bt_cpu_width(j->e, op->in[1]);
	for (size_t t = begin; t < end; t++) {
		const float *x = bt_cpu_value(j->e, op->in[0]) + t * n, *g = bt_cpu_value(j->e, op->in[1]) + t * by;
		float *y = bt_cpu_value(j->e, op->out[0]) + t * n;
		if (by == n) {
			(silu ? k->silu_mul : k->sigmoid_mul)(g, x, n, y);
			continue;
		}
		float f = silu ? bt_silu_mul(*g, 1.0f) : bt_sigmoid_mul(*g, 1.0f);
		for (size_t i = 0; i < n; i++) y[i] = x[i] * f;
	}
}

static void op_gate(struct bt_exec *e, const struct bt_cpu_node *node, const struct bt_step *step)
{
	struct rows_job j = {e, node, step};
	bt_cpu_parallel(e, gate_task, &j, bt_cpu_rows(e, node->op->in[0], step), bt_cpu_width(e, node->op->in[0]));
}

static void op_gather(struct bt_exec *e, const struct bt_cpu_node *node, const struct bt_step *step)
{
	size_t n = bt_cpu_width(e, node->op->in[0]);
	const float *x = bt_cpu_value(e, node->op->in[0]);
	float *y = bt_cpu_value(e, node->op->out[0]);
	for (uint32_t i = 0; i < step->n_logits; i++) memcpy(y + i * n, x + step->logit_row[i] * n, n * sizeof *y);
}

const bt_cpu_op_fn bt_cpu_op_table[BT_OP_KINDS] = {
	[BT_OP_EMBED] = op_embed,
	[BT_OP_RMS_NORM] = op_rms_norm,
	[BT_OP_MATMUL] = bt_cpu_op_matmul,
	[BT_OP_ROPE] = bt_cpu_op_rope,
	[BT_OP_KV_STORE] = bt_cpu_op_kv_store,
	[BT_OP_ATTENTION] = bt_cpu_op_attention,
	[BT_OP_ROUTER] = op_router,
	[BT_OP_MATMUL_EXPERTS] = bt_cpu_op_matmul_experts,
	[BT_OP_EXPERT_SUM] = op_expert_sum,
	[BT_OP_SPLIT] = op_split,
	[BT_OP_GATE] = op_gate,
	[BT_OP_CONV] = bt_cpu_op_conv,
	[BT_OP_DELTA_NET] = bt_cpu_op_recurrence,
	[BT_OP_MAMBA2] = bt_cpu_op_recurrence,
	[BT_OP_GATHER] = op_gather,
	[BT_OP_LOGITS] = bt_cpu_op_matmul,
};
