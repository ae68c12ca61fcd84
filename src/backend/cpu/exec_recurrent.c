/* Operations that carry a state along each sequence: causal convolution, gated delta rule, Mamba-2. */
#include "backend/cpu/exec.h"
#include "backend/cpu/order.h"

/* Channels of a convolution in one item of work. */
#define CONV_CHANNELS 256u

struct job {
	struct bt_exec *e;
	const struct bt_cpu_node *node;
	const struct bt_step *step;
	size_t per_seq, per_head; /* items of a sequence; of a head */
};

/* Slot `slot` of a state; NULL for BT_NO_SLOT. */
static float *state_at(const struct bt_exec *e, uint32_t state, uint32_t slot)
{
	if (slot == BT_NO_SLOT) return NULL;
	return (float *)e->c.state[state].host + (size_t)slot * e->c.plan->state[state].floats;
}

/* ---- convolution ---- */

static void conv_task(void *arg, size_t begin, size_t end, unsigned thread)
{
	(void)thread;
	const struct job *j = arg;
	const struct bt_op *op = j->node->op;
	const size_t channels = bt_cpu_width(j->e, op->in[0]);
	for (; begin < end; begin++) {
		const struct bt_step_seq *seq = &j->step->seq[begin / j->per_seq];
		size_t c0 = begin % j->per_seq * CONV_CHANNELS, c1 = c0 + CONV_CHANNELS;
		struct bt_cpu_conv c = {
			.u = bt_cpu_value(j->e, op->in[0]) + seq->row0 * channels,
			.y = bt_cpu_value(j->e, op->out[0]) + seq->row0 * channels,
			.n = seq->n,
			.channels = channels,
			.taps = op->conv.w->dim[0],
			.w = j->node->f32[0],
			.bias = j->node->f32[1],
			.in = state_at(j->e, op->conv.state, seq->state_in),
			.out = state_at(j->e, op->conv.state, seq->state_out),
		};
		j->e->kernels.conv(&c, c0, c1 < channels ? c1 : channels);
	}
}

void bt_cpu_op_conv(struct bt_exec *e, const struct bt_cpu_node *node, const struct bt_step *step)
{
	struct job j = {.e = e, .node = node, .step = step};
	j.per_seq = (bt_cpu_width(e, node->op->in[0]) + CONV_CHANNELS - 1) / CONV_CHANNELS;
	bt_cpu_parallel(e, conv_task, &j, step->n_seqs * j.per_seq, CONV_CHANNELS * (size_t)step->n_tokens);
}

/* ---- recurrences ----
 *
 * First, row by row, into e->recurrence: the factors of every head, and for the delta rule the normalised keys and queries,
 * both with the rows of a head (or group) one after another, since that is how the second loop, over heads and columns,
 * walks them. */

static float *decays(const struct bt_exec *e, const struct bt_step *step, size_t head)
{
	return e->recurrence + 2 * head * step->n_tokens;
}

static float *gains(const struct bt_exec *e, const struct bt_step *step, size_t head)
{
	return decays(e, step, head) + step->n_tokens;
}

/* [n_tokens][2][d_state] k and q of a group */
static float *keys(const struct bt_exec *e, const struct bt_step *step, const struct bt_recurrence *r, size_t group)
{
	return e->recurrence + 2 * (size_t)step->n_tokens * (r->n_head + group * r->d_state);
}

size_t bt_cpu_recurrence_floats(const struct bt_op *op, size_t n_tokens)
{
	const struct bt_recurrence *r = &op->recurrence;
	if (op->kind != BT_OP_DELTA_NET && op->kind != BT_OP_MAMBA2) return 0;
	size_t shared = op->kind == BT_OP_DELTA_NET ? (size_t)r->n_group * r->d_state : 0;
	return 2 * n_tokens * (r->n_head + shared);
}

/* y = x / sqrt(sum x^2 + 1e-6) * scale, through rms_norm: the mean is the sum over n */
static void unit(const struct bt_exec *e, const float *x, size_t n, double scale, float *y)
{
	e->kernels.rms_norm(x, NULL, 1e-6f / (float)n, n, y);
	float by = (float)(scale / sqrt((double)n));
	for (size_t i = 0; i < n; i++) y[i] *= by;
}

static void factors_task(void *arg, size_t begin, size_t end, unsigned thread)
{
	(void)thread;
	const struct job *j = arg;
	const struct bt_op *op = j->node->op;
	const struct bt_recurrence *r = &op->recurrence;
	const bool delta = op->kind == BT_OP_DELTA_NET;
	const float *a = j->node->f32[0], *bias = j->node->f32[1];
	const float *dt = bt_cpu_value(j->e, op->in[1]), *beta = delta ? bt_cpu_value(j->e, op->in[2]) : NULL;
	const float *in = bt_cpu_value(j->e, op->in[0]);
	for (size_t t = begin; t < end; t++) {
		for (size_t h = 0; h < r->n_head; h++) {
			float step = bt_softplusf(dt[t * r->n_head + h] + bias[h]);
			decays(j->e, j->step, h)[t] = bt_expf(step * a[h]);
			gains(j->e, j->step, h)[t] = delta ? bt_sigmoid_mul(beta[t * r->n_head + h], 1.0f) : step;
		}
		for (size_t g = 0; delta && g < r->n_group; g++) {
			const float *q = in + t * bt_cpu_width(j->e, op->in[0]) + g * r->d_state;
			float *out = keys(j->e, j->step, r, g) + 2 * t * r->d_state;
			unit(j->e, q + (size_t)r->n_group * r->d_state, r->d_state, 1, out);
			unit(j->e, q, r->d_state, 1 / sqrt(r->d_state), out + r->d_state);
		}
	}
}

/* Head h of one sequence: k, q, v and where they stand, by the operation's layout. */
static struct bt_cpu_recurrence describe(const struct job *j, const struct bt_step_seq *seq, size_t h)
{
	struct bt_exec *e = j->e;
	const struct bt_op *op = j->node->op;
	const struct bt_recurrence *r = &op->recurrence;
	const size_t width = bt_cpu_width(e, op->in[0]), out = (size_t)r->n_head * r->d_head, d = r->d_state;
	const bool by_turns = op->kind == BT_OP_DELTA_NET && !r->neighbours;
	const size_t group = by_turns ? h % r->n_group : h / (r->n_head / r->n_group);
	const float *in = bt_cpu_value(e, op->in[0]) + seq->row0 * width;
	float *before = state_at(e, r->state, seq->state_in), *after = state_at(e, r->state, seq->state_out);
	struct bt_cpu_recurrence c = {
		.y = bt_cpu_value(e, op->out[0]) + seq->row0 * out + h * r->d_head,
		.v_stride = width,
		.y_stride = out,
		.n = seq->n,
		.d_state = d,
		.d_head = r->d_head,
		.decay = decays(e, j->step, h) + seq->row0,
		.gain = gains(e, j->step, h) + seq->row0,
		.in = before ? before + h * d * r->d_head : NULL,
		.out = after + h * d * r->d_head,
	};
	if (op->kind == BT_OP_DELTA_NET) {
		c.k = keys(e, j->step, r, group) + 2 * seq->row0 * d;
		c.q = c.k + d;
		c.kq_stride = 2 * d;
		c.v = in + 2 * r->n_group * d + h * r->d_head;
	} else {
		c.v = in + h * r->d_head;
		c.k = in + out + group * d;
		c.q = c.k + r->n_group * d;
		c.kq_stride = width;
		c.skip = j->node->f32[2][h];
	}
	return c;
}

static void heads_task(void *arg, size_t begin, size_t end, unsigned thread)
{
	(void)thread;
	const struct job *j = arg;
	const struct bt_op *op = j->node->op;
	for (; begin < end; begin++) {
		size_t item = begin % j->per_seq, col0 = item % j->per_head * BT_CPU_COLUMNS;
		struct bt_cpu_recurrence c = describe(j, &j->step->seq[begin / j->per_seq], item / j->per_head);
		size_t col1 = col0 + BT_CPU_COLUMNS < c.d_head ? col0 + BT_CPU_COLUMNS : c.d_head;
		if (op->kind == BT_OP_DELTA_NET) j->e->kernels.delta_net(&c, col0, col1);
		else j->e->kernels.mamba2(&c, col0, col1);
	}
}

void bt_cpu_op_recurrence(struct bt_exec *e, const struct bt_cpu_node *node, const struct bt_step *step)
{
	const struct bt_recurrence *r = &node->op->recurrence;
	struct job j = {.e = e, .node = node, .step = step};
	j.per_head = (r->d_head + BT_CPU_COLUMNS - 1) / BT_CPU_COLUMNS;
	j.per_seq = j.per_head * r->n_head;
	bt_cpu_parallel(e, factors_task, &j, step->n_tokens, bt_cpu_width(e, node->op->in[0]));
	bt_cpu_parallel(e, heads_task, &j, step->n_seqs * j.per_seq,
	                (size_t)r->d_state * BT_CPU_COLUMNS * (step->n_tokens / step->n_seqs));
}
