/* Blocks that carry a state of fixed size along the sequence: gated DeltaNet and Mamba-2. */
#include "arch/build.h"

void bt_hparams_ssm(struct bt_arch_build *b)
{
	struct bt_hparams *hp = &b->hp;
	hp->ssm.taps = bt_key_u32(b, "ssm.conv_kernel", true, 0, 1, BT_LIMIT_CONV_TAPS);
	hp->ssm.n_head = bt_key_u32(b, "ssm.time_step_rank", true, 0, 1, 65536);
	hp->ssm.n_group = bt_key_u32(b, "ssm.group_count", true, 0, 1, 65536);
	hp->ssm.d_state = bt_key_u32(b, "ssm.state_size", true, 0, 1, BT_LIMIT_HEAD);
	uint32_t inner = bt_key_u32(b, "ssm.inner_size", true, 0, 1, BT_LIMIT_WIDTH);
	if (b->status) return;
	if (hp->ssm.n_head % hp->ssm.n_group || inner % hp->ssm.n_head || inner / hp->ssm.n_head > BT_LIMIT_HEAD) {
		b->status = bt_fail(b->err, BATON_ERR_FORMAT,
		                    "the keys %s.ssm.*: %u values in %u heads and %u groups don't go together",
		                    b->family->name, inner, hp->ssm.n_head, hp->ssm.n_group);
		return;
	}
	hp->ssm.d_head = inner / hp->ssm.n_head;
	if ((uint64_t)inner + 2 * (uint64_t)hp->ssm.n_group * hp->ssm.d_state > BT_LIMIT_WIDTH)
		b->status = bt_fail(b->err, BATON_ERR_LIMIT, "the keys %s.ssm.*: rows of more than %u values",
		                    b->family->name, BT_LIMIT_WIDTH);
}

/* y = silu(causal convolution of x) with the layer's ssm_conv1d. */
static uint32_t build_conv(struct bt_arch_build *b, uint32_t layer, uint32_t x, uint32_t channels, bool bias)
{
	uint32_t taps = b->hp.ssm.taps;
	const struct bt_tensor *w = bt_get_tensor(b, layer, "ssm_conv1d.weight", true, taps, channels, 0);
	const struct bt_tensor *add = bias ? bt_get_tensor(b, layer, "ssm_conv1d.bias", true, channels, 0, 0) : NULL;
	if (b->status) return x;
	struct bt_op *op = bt_plan_op(b->plan, BT_OP_CONV, layer);
	op->in[0] = x;
	op->out[0] = bt_plan_value(b->plan, "conv", channels, BT_ROWS_TOKENS);
	op->conv.w = w;
	op->conv.bias = add;
	op->conv.state = bt_plan_state(b->plan, layer, (taps - 1) * channels);
	return op->out[0];
}

/* The parameters of the layer's recurrence; d as the file has it: [n_head] or [1][n_head]. */
static struct bt_recurrence get_recurrence(struct bt_arch_build *b, uint32_t layer, bool rows)
{
	struct bt_recurrence r = {.n_head = b->hp.ssm.n_head,
	                          .n_group = b->hp.ssm.n_group,
	                          .d_state = b->hp.ssm.d_state,
	                          .d_head = b->hp.ssm.d_head};
	uint32_t d0 = rows ? 1 : r.n_head, d1 = rows ? r.n_head : 0;
	r.a = bt_get_tensor(b, layer, "ssm_a", true, d0, d1, 0);
	if (rows) r.d = bt_get_tensor(b, layer, "ssm_d", true, d0, d1, 0);
	r.dt_bias = bt_get_tensor(b, layer, "ssm_dt.bias", true, r.n_head, 0, 0);
	r.state = bt_plan_state(b->plan, layer, r.n_head * r.d_state * r.d_head);
	return r;
}

/* What decays and corrections of the value heads come from: alpha and beta of x. */
static void build_alpha_beta(struct bt_arch_build *b, uint32_t layer, uint32_t x, struct bt_delta_features f,
                             uint32_t alpha, uint32_t beta)
{
	uint32_t n = b->hp.n_embd, n_head = b->hp.ssm.n_head;
	if (!f.by_key_head) {
		const struct bt_tensor *alpha_w = bt_get_tensor(b, layer, "ssm_alpha.weight", true, n, n_head, 0);
		const struct bt_tensor *beta_w = bt_get_tensor(b, layer, "ssm_beta.weight", true, n, n_head, 0);
		struct bt_op *op = bt_build_matmul(b, layer, x);
		bt_add_mat(op, alpha_w, NULL, alpha);
		bt_add_mat(op, beta_w, NULL, beta);
		return;
	}
	const struct bt_tensor *w = bt_get_tensor(b, layer, "ssm_ba.weight", true, n, 2 * (uint64_t)n_head, 0);
	uint32_t both = bt_plan_value(b->plan, "beta_alpha", 2 * n_head, BT_ROWS_TOKENS);
	bt_add_mat(bt_build_matmul(b, layer, x), w, NULL, both);
	struct bt_op *op = bt_plan_op(b->plan, BT_OP_SPLIT, layer);
	op->in[0] = both;
	op->out[0] = beta;
	op->out[1] = alpha;
	op->split.d = n_head / b->hp.ssm.n_group;
}

void bt_build_delta_net(struct bt_arch_build *b, uint32_t layer, uint32_t x, struct bt_delta_features f)
{
	struct bt_plan *p = b->plan;
	if (b->status) return;
	uint32_t n = b->hp.n_embd, n_head = b->hp.ssm.n_head, d = b->hp.ssm.d_head, inner = n_head * d;
	uint32_t channels = 2 * b->hp.ssm.n_group * b->hp.ssm.d_state + inner;
	const struct bt_tensor *qkv_w = bt_get_tensor(b, layer, "attn_qkv.weight", true, n, channels, 0);
	const struct bt_tensor *z_w = bt_get_tensor(b, layer, "attn_gate.weight", true, n, inner, 0);
	const struct bt_tensor *norm_w = bt_get_tensor(b, layer, "ssm_norm.weight", true, d, 0, 0);
	const struct bt_tensor *out_w = bt_get_tensor(b, layer, "ssm_out.weight", true, inner, n, 0);
	if (b->status) return;

	uint32_t qkv = bt_plan_value(p, "qkv", channels, BT_ROWS_TOKENS),
		 z = bt_plan_value(p, "z", inner, BT_ROWS_TOKENS);
	uint32_t alpha = bt_plan_value(p, "alpha", n_head, BT_ROWS_TOKENS);
	uint32_t beta = bt_plan_value(p, "beta", n_head, BT_ROWS_TOKENS);
	struct bt_op *op = bt_build_matmul(b, layer, x);
	bt_add_mat(op, qkv_w, NULL, qkv);
	bt_add_mat(op, z_w, NULL, z);
	build_alpha_beta(b, layer, x, f, alpha, beta);

	uint32_t c = build_conv(b, layer, qkv, channels, false), y = bt_plan_value(p, "delta", inner, BT_ROWS_TOKENS);
	struct bt_recurrence r = get_recurrence(b, layer, false);
	r.neighbours = f.by_key_head;
	op = bt_plan_op(p, BT_OP_DELTA_NET, layer);
	op->in[0] = c;
	op->in[1] = alpha;
	op->in[2] = beta;
	op->out[0] = y;
	op->recurrence = r;
	bt_build_norm_of(b, layer, y, norm_w, n_head, y);
	bt_build_gate(b, layer, y, z, BT_ACT_SILU);
	bt_build_residual(b, layer, out_w, NULL, y);
}

void bt_build_mamba2(struct bt_arch_build *b, uint32_t layer, uint32_t x)
{
	struct bt_plan *p = b->plan;
	if (b->status) return;
	uint32_t n = b->hp.n_embd, n_head = b->hp.ssm.n_head, n_group = b->hp.ssm.n_group;
	uint32_t inner = n_head * b->hp.ssm.d_head, channels = inner + 2 * n_group * b->hp.ssm.d_state;
	const struct bt_tensor *in_w = bt_get_tensor(b, layer, "ssm_in.weight", true, n,
	                                             (uint64_t)inner + channels + n_head, 0);
	const struct bt_tensor *norm_w = bt_get_tensor(b, layer, "ssm_norm.weight", true, inner / n_group, n_group, 0);
	const struct bt_tensor *out_w = bt_get_tensor(b, layer, "ssm_out.weight", true, inner, n, 0);
	const struct bt_tensor *z_w = bt_tensor_rows(b, in_w, 0, inner),
			       *xbc_w = bt_tensor_rows(b, in_w, inner, channels);
	const struct bt_tensor *dt_w = bt_tensor_rows(b, in_w, (uint64_t)inner + channels, n_head);
	if (b->status) return;

	uint32_t z = bt_plan_value(p, "z", inner, BT_ROWS_TOKENS),
		 xbc = bt_plan_value(p, "xbc", channels, BT_ROWS_TOKENS);
	uint32_t dt = bt_plan_value(p, "dt", n_head, BT_ROWS_TOKENS);
	struct bt_op *op = bt_build_matmul(b, layer, x);
	bt_add_mat(op, z_w, NULL, z);
	bt_add_mat(op, xbc_w, NULL, xbc);
	bt_add_mat(op, dt_w, NULL, dt);

	uint32_t c = build_conv(b, layer, xbc, channels, true), y = bt_plan_value(p, "mamba", inner, BT_ROWS_TOKENS);
	struct bt_recurrence r = get_recurrence(b, layer, true);
	op = bt_plan_op(p, BT_OP_MAMBA2, layer);
	op->in[0] = c;
	op->in[1] = dt;
	op->out[0] = y;
	op->recurrence = r;
	bt_build_gate(b, layer, y, z, BT_ACT_SILU);
	bt_build_norm_of(b, layer, y, norm_w, n_group, y)->norm.per_group = true;
	bt_build_residual(b, layer, out_w, NULL, y);
}
