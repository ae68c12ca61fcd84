/* The operations other than matrix products and attention, and the table of all of them. */
#include "backend/cpu/exec.h"
#include "base/half.h"

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

/* Choose the experts of one token: the n_used largest scores (+ bias), ties to the lower number. */
static void route(const struct bt_exec *e, const struct bt_cpu_node *node, const float *logit, float *score, float *out)
{
	const struct bt_op *op = node->op;
	uint32_t n = op->router.n_expert, used = op->router.n_used;
	const float *bias = node->f32[0];
	if (op->router.sigmoid)
		for (uint32_t i = 0; i < n; i++) score[i] = 1 / (1 + expf(-logit[i]));
	else e->kernels.softmax(logit, n, score);
	float sum = 0;
	for (uint32_t s = 0; s < used; s++) {
		uint32_t best = UINT32_MAX;
		float top = -INFINITY;
		for (uint32_t i = 0; i < n; i++) {
			bool taken = false;
			for (uint32_t k = 0; k < s; k++) taken |= bt_bits_from_float(out[k]) == i;
			float x = score[i] + (bias ? bias[i] : 0);
			if (!taken && (best == UINT32_MAX || x > top)) {
				best = i;
				top = x;
			}
		}
		out[s] = bt_float_from_bits(best);
		/* NOLINTNEXTLINE(clang-analyzer-core.uninitialized.Assign): the family checked 1 <= used <= n */
		out[used + s] = score[best];
		sum += score[best];
	}
	/* 2^-14, the smallest normal half, keeps a hopeless sum from dividing by zero; llama.cpp's guard as well. */
	float scale = op->router.scale / (op->router.normalize ? fmaxf(sum, 0x1p-14f) : 1);
	for (uint32_t s = 0; s < used; s++) out[used + s] *= scale;
}

static void op_router(struct bt_exec *e, const struct bt_cpu_node *node, const struct bt_step *step)
{
	const struct bt_op *op = node->op;
	uint32_t n = op->router.n_expert, used = op->router.n_used;
	float score[BT_LIMIT_EXPERTS];
	const float *logit = bt_cpu_value(e, op->in[0]);
	float *out = bt_cpu_value(e, op->out[0]);
	for (size_t t = 0; t < bt_cpu_rows(e, op->in[0], step); t++)
		route(e, node, logit + t * n, score, out + t * 2 * used);
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
		for (uint32_t i = 0; i < n; i++) {
			float sum = 0;
			for (uint32_t s = 0; s < used; s++)
				sum += choice[t * 2 * used + used + s] * x[(t * used + s) * n + i];
			h[t * n + i] += sum;
		}
	}
}

static void op_expert_sum(struct bt_exec *e, const struct bt_cpu_node *node, const struct bt_step *step)
{
	struct rows_job j = {e, node, step};
	bt_cpu_parallel(e, expert_sum_task, &j, bt_cpu_rows(e, node->op->out[0], step),
	                (size_t)bt_cpu_width(e, node->op->out[0]) * e->c.plan->n_expert_used);
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
	[BT_OP_GATHER] = op_gather,
	[BT_OP_LOGITS] = bt_cpu_op_matmul,
};
