/* Routed and shared experts. */
#include "arch/build.h"

void bt_hparams_experts(struct bt_arch_build *b)
{
	struct bt_hparams *hp = &b->hp;
	hp->expert.count = bt_key_u32(b, "expert_count", true, 0, 1, BT_LIMIT_EXPERTS);
	hp->expert.used = bt_key_u32(b, "expert_used_count", true, 0, 1, hp->expert.count);
	hp->expert.ff = bt_key_u32(b, "expert_feed_forward_length", true, 0, 1, BT_LIMIT_WIDTH);
	hp->expert.ff_shared = bt_key_u32(b, "expert_shared_feed_forward_length", false, 0, 0, BT_LIMIT_WIDTH);
	hp->expert.n_group = bt_key_u32(b, "expert_group_count", false, 1, 0, hp->expert.count);
	if (!hp->expert.n_group) hp->expert.n_group = 1;
	hp->expert.n_group_used = bt_key_u32(b, "expert_group_used_count", false, hp->expert.n_group, 1,
	                                     hp->expert.n_group);
	hp->expert.scale = bt_key_f32(b, "expert_weights_scale", false, 1);
	if (hp->expert.scale == 0) hp->expert.scale = 1; /* old converters wrote 0 for "none" */
	if (b->status) return;
	uint32_t size = hp->expert.count / hp->expert.n_group;
	if (hp->expert.count % hp->expert.n_group || size * hp->expert.n_group_used < hp->expert.used)
		b->status = bt_fail(b->err, BATON_ERR_FORMAT,
		                    "%u experts in %u groups, of which %u are used: %u experts can't be chosen so",
		                    hp->expert.count, hp->expert.n_group, hp->expert.n_group_used, hp->expert.used);
}

/* The values that come from the router: scores of all experts, the chosen ones with their weights, and (where the shared
 * expert has a gate) that gate's input. */
struct routed {
	uint32_t choice, shared;
};

static struct routed build_router(struct bt_arch_build *b, uint32_t layer, uint32_t x, struct bt_expert_features f)
{
	const struct bt_hparams *hp = &b->hp;
	uint32_t n = hp->n_embd, n_e = hp->expert.count;
	struct routed r = {BT_NO_VALUE, BT_NO_VALUE};
	const struct bt_tensor *route = bt_get_tensor(b, layer, "ffn_gate_inp.weight", true, n, n_e, 0);
	const struct bt_tensor *gate = NULL, *bias = NULL;
	if (f.shared_gate) gate = bt_get_tensor(b, layer, "ffn_gate_inp_shexp.weight", true, n, 0, 0);
	if (f.select_bias) bias = bt_get_tensor(b, layer, "exp_probs_b.bias", true, n_e, 0, 0);
	if (b->status) return r;
	struct bt_op *op = bt_build_matmul(b, layer, x);
	uint32_t score = bt_plan_value(b->plan, "router", n_e, b->rows);
	bt_add_mat(op, route, NULL, score);
	if (gate) bt_add_mat(op, gate, NULL, r.shared = bt_plan_value(b->plan, "shared_gate", 1, b->rows));
	op = bt_plan_op(b->plan, BT_OP_ROUTER, layer);
	op->in[0] = score;
	op->out[0] = r.choice = bt_plan_value(b->plan, "experts", 2 * hp->expert.used, b->rows);
	op->router.select_bias = bias;
	op->router.n_expert = n_e;
	op->router.n_used = hp->expert.used;
	op->router.n_group = hp->expert.n_group;
	op->router.n_group_used = hp->expert.n_group_used;
	op->router.sigmoid = hp->expert.sigmoid;
	op->router.normalize = hp->expert.normalize;
	op->router.scale = hp->expert.scale;
	return r;
}

/* out (set or added to) = sum of the chosen experts of x, whose rows have n values. */
static void build_routed(struct bt_arch_build *b, uint32_t layer, uint32_t x, uint32_t choice, uint32_t n, uint32_t out,
                         struct bt_expert_features f)
{
	const struct bt_hparams *hp = &b->hp;
	struct bt_plan *p = b->plan;
	uint32_t n_e = hp->expert.count, ff = hp->expert.ff;
	enum bt_rows rows = b->rows == BT_ROWS_LOGITS ? BT_ROWS_LOGITS_EXPERTS : BT_ROWS_EXPERTS;
	const struct bt_tensor *gate = NULL, *up;
	const struct bt_tensor *down = bt_get_tensor(b, layer, "ffn_down_exps.weight", true, ff, n, n_e);
	const struct bt_tensor *both = f.relu2 ? NULL
	                                       : bt_get_tensor(b, layer, "ffn_gate_up_exps.weight", false, n,
	                                                       2 * (uint64_t)ff, n_e);
	if (both) {
		gate = bt_tensor_rows(b, both, 0, ff);
		up = bt_tensor_rows(b, both, ff, ff);
	} else {
		if (!f.relu2) gate = bt_get_tensor(b, layer, "ffn_gate_exps.weight", true, n, ff, n_e);
		up = bt_get_tensor(b, layer, "ffn_up_exps.weight", true, n, ff, n_e);
	}
	if (b->status) return;
	uint32_t y = bt_plan_value(p, "expert_ffn", ff, rows);
	struct bt_op *op = bt_plan_op(p, BT_OP_MATMUL_EXPERTS, layer);
	op->in[0] = x;
	op->in[1] = choice;
	if (gate) bt_add_mat(op, gate, NULL, y);
	bt_add_mat(op, up, NULL, gate ? bt_plan_value(p, "expert_up", ff, rows) : y);
	op->matmul.epilogue = gate ? BT_EPI_SILU_GATE : BT_EPI_RELU2;

	uint32_t z = bt_plan_value(p, "expert_down", n, rows);
	op = bt_plan_op(p, BT_OP_MATMUL_EXPERTS, layer);
	op->in[0] = y;
	op->in[1] = choice;
	bt_add_mat(op, down, NULL, z);
	op = bt_plan_op(p, BT_OP_EXPERT_SUM, layer);
	op->in[0] = z;
	op->in[1] = choice;
	op->out[0] = out;
	op->expert_sum.set = out != b->h;
}

/* h += ffn_latent_up . (sum of the chosen experts of ffn_latent_down . x) */
static void build_latent(struct bt_arch_build *b, uint32_t layer, uint32_t x, uint32_t choice,
                         struct bt_expert_features f)
{
	uint32_t n = b->hp.n_embd, latent = b->hp.expert.latent;
	const struct bt_tensor *down = bt_get_tensor(b, layer, "ffn_latent_down.weight", true, n, latent, 0);
	const struct bt_tensor *up = bt_get_tensor(b, layer, "ffn_latent_up.weight", true, latent, n, 0);
	if (b->status) return;
	uint32_t y = bt_plan_value(b->plan, "latent", latent, b->rows);
	uint32_t sum = bt_plan_value(b->plan, "latent_sum", latent, b->rows);
	bt_add_mat(bt_build_matmul(b, layer, x), down, NULL, y);
	build_routed(b, layer, y, choice, latent, sum, f);
	if (!b->status) bt_build_residual(b, layer, up, NULL, sum);
}

static void build_shared(struct bt_arch_build *b, uint32_t layer, uint32_t x, uint32_t gate_by,
                         struct bt_expert_features f)
{
	uint32_t n = b->hp.n_embd, ff = b->hp.expert.ff_shared;
	const struct bt_tensor *gate = NULL, *up, *down;
	if (!f.relu2) gate = bt_get_tensor(b, layer, "ffn_gate_shexp.weight", true, n, ff, 0);
	up = bt_get_tensor(b, layer, "ffn_up_shexp.weight", true, n, ff, 0);
	down = bt_get_tensor(b, layer, "ffn_down_shexp.weight", true, ff, n, 0);
	if (b->status) return;
	uint32_t y = bt_plan_value(b->plan, "shared_ffn", ff, b->rows);
	struct bt_op *op = bt_build_matmul(b, layer, x);
	if (gate) bt_add_mat(op, gate, NULL, y);
	bt_add_mat(op, up, NULL, gate ? bt_plan_value(b->plan, "shared_up", ff, b->rows) : y);
	op->matmul.epilogue = gate ? BT_EPI_SILU_GATE : BT_EPI_RELU2;
	/* The gate is one number a row, so it may as well meet the row before the last product. */
	if (gate_by != BT_NO_VALUE) bt_build_gate(b, layer, y, gate_by, BT_ACT_SIGMOID);
	bt_build_residual(b, layer, down, NULL, y);
}

void bt_build_experts(struct bt_arch_build *b, uint32_t layer, uint32_t x, struct bt_expert_features f)
{
	const struct bt_hparams *hp = &b->hp;
	if (b->status) return;
	f.shared_gate &= hp->expert.ff_shared > 0;
	struct routed r = build_router(b, layer, x, f);
	/* The shared expert first: it needs no choice, and whoever adds to h last waits for who adds first, which is the faster
	 * one where devices share a layer (docs/design.md). */
	if (!b->status && hp->expert.ff_shared) build_shared(b, layer, x, r.shared, f);
	if (!b->status && hp->expert.latent) build_latent(b, layer, x, r.choice, f);
	else if (!b->status) build_routed(b, layer, x, r.choice, hp->n_embd, b->h, f);
}
