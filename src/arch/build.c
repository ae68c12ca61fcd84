#include "arch/build.h"

#include <math.h>
#include <stdio.h>

static bool shape_is(const struct bt_tensor *t, uint64_t d0, uint64_t d1, uint64_t d2)
{
	return t->dim[0] == d0 && t->dim[1] == (d1 ? d1 : 1) && t->dim[2] == (d2 ? d2 : 1) && t->dim[3] == 1;
}

const struct bt_tensor *bt_get_tensor(struct bt_arch_build *b, uint32_t layer, const char *name, bool required,
                                      uint64_t d0, uint64_t d1, uint64_t d2)
{
	char full[128];
	if (b->status) return NULL;
	if (layer == BT_NO_LAYER) snprintf(full, sizeof full, "%s", name);
	else snprintf(full, sizeof full, "blk.%u.%s", layer, name);
	const struct bt_tensor *t = bt_gguf_tensor(b->g, full);
	if (!t) {
		if (required) b->status = bt_fail(b->err, BATON_ERR_FORMAT, "the tensor %s is missing", full);
		return NULL;
	}
	if (!shape_is(t, d0, d1, d2)) {
		b->status = bt_fail(b->err, BATON_ERR_FORMAT,
		                    "the tensor %s is %llu x %llu x %llu; %llu x %llu x %llu is expected", full,
		                    (unsigned long long)t->dim[0], (unsigned long long)t->dim[1],
		                    (unsigned long long)t->dim[2], (unsigned long long)d0,
		                    (unsigned long long)(d1 ? d1 : 1), (unsigned long long)(d2 ? d2 : 1));
		return NULL;
	}
	return t;
}

/* y = mat x as an operation with one result. */
static struct bt_op *matmul(struct bt_arch_build *b, uint32_t layer, uint32_t x)
{
	struct bt_op *op = bt_plan_op(b->plan, BT_OP_MATMUL, layer);
	op->in[0] = x;
	return op;
}

static void add_mat(struct bt_op *op, const struct bt_tensor *w, const struct bt_tensor *bias, uint32_t out)
{
	op->matmul.mat[op->matmul.n_mats] = (struct bt_mat){w, bias};
	op->out[op->matmul.n_mats++] = out;
}

/* h += w x (+ bias) */
static void add_to_residual(struct bt_arch_build *b, uint32_t layer, const struct bt_tensor *w,
                            const struct bt_tensor *bias, uint32_t x)
{
	struct bt_op *op = matmul(b, layer, x);
	add_mat(op, w, bias, b->h);
	op->matmul.epilogue = BT_EPI_ADD;
}

static uint32_t norm_of(struct bt_arch_build *b, uint32_t layer, uint32_t x, const struct bt_tensor *w,
                        uint32_t n_groups, uint32_t y)
{
	struct bt_op *op = bt_plan_op(b->plan, BT_OP_RMS_NORM, layer);
	op->in[0] = x;
	op->out[0] = y;
	op->norm.w = w;
	op->norm.eps = b->hp.eps;
	op->norm.n_groups = n_groups;
	return y;
}

uint32_t bt_build_norm(struct bt_arch_build *b, uint32_t layer, const char *name)
{
	char full[64];
	snprintf(full, sizeof full, "%s.weight", name);
	const struct bt_tensor *w = bt_get_tensor(b, layer, full, true, b->hp.n_embd, 0, 0);
	if (b->status) return 0;
	return norm_of(b, layer, b->h, w, 1, bt_plan_value(b->plan, name, b->hp.n_embd, b->rows));
}

void bt_build_gather(struct bt_arch_build *b, uint32_t layer)
{
	if (b->rows == BT_ROWS_LOGITS) return;
	struct bt_op *op = bt_plan_op(b->plan, BT_OP_GATHER, layer);
	op->in[0] = b->h;
	op->out[0] = b->h = bt_plan_value(b->plan, "h_out", b->hp.n_embd, BT_ROWS_LOGITS);
	b->rows = BT_ROWS_LOGITS;
}

void bt_build_attention(struct bt_arch_build *b, uint32_t layer, uint32_t x, struct bt_attention_features f)
{
	const struct bt_hparams *hp = &b->hp;
	struct bt_plan *p = b->plan;
	if (b->status) return;
	uint32_t n_head = hp->n_head[layer], n_kv = hp->n_head_kv[layer], n = hp->n_embd;
	uint32_t wq = n_head * hp->d_k, wk = n_kv * hp->d_k, wv = n_kv * hp->d_v, wo = n_head * hp->d_v;
	const struct bt_rope *rope = bt_build_rope(b);
	const struct bt_tensor *q_w = bt_get_tensor(b, layer, "attn_q.weight", true, n, wq, 0);
	const struct bt_tensor *k_w = bt_get_tensor(b, layer, "attn_k.weight", true, n, wk, 0);
	const struct bt_tensor *v_w = bt_get_tensor(b, layer, "attn_v.weight", true, n, wv, 0);
	const struct bt_tensor *o_w = bt_get_tensor(b, layer, "attn_output.weight", true, wo, n, 0);
	const struct bt_tensor *q_b = bt_get_tensor(b, layer, "attn_q.bias", f.qkv_bias, wq, 0, 0);
	const struct bt_tensor *k_b = bt_get_tensor(b, layer, "attn_k.bias", f.qkv_bias, wk, 0, 0);
	const struct bt_tensor *v_b = bt_get_tensor(b, layer, "attn_v.bias", f.qkv_bias, wv, 0, 0);
	const struct bt_tensor *o_b = bt_get_tensor(b, layer, "attn_output.bias", false, n, 0, 0);
	const struct bt_tensor *q_n = NULL, *k_n = NULL;
	if (f.qk_norm) {
		q_n = bt_get_tensor(b, layer, "attn_q_norm.weight", true, hp->d_k, 0, 0);
		k_n = bt_get_tensor(b, layer, "attn_k_norm.weight", true, hp->d_k, 0, 0);
	}
	if (b->status) return;

	uint32_t q = bt_plan_value(p, "q", wq, BT_ROWS_TOKENS), k = bt_plan_value(p, "k", wk, BT_ROWS_TOKENS);
	uint32_t v = bt_plan_value(p, "v", wv, BT_ROWS_TOKENS), a = bt_plan_value(p, "attn", wo, BT_ROWS_TOKENS);
	struct bt_op *op = matmul(b, layer, x);
	add_mat(op, q_w, q_b, q);
	add_mat(op, k_w, k_b, k);
	add_mat(op, v_w, v_b, v);
	if (q_n) norm_of(b, layer, q, q_n, n_head, q);
	if (k_n) norm_of(b, layer, k, k_n, n_kv, k);

	op = bt_plan_op(p, BT_OP_ROPE, layer);
	op->in[0] = op->out[0] = q;
	op->in[1] = op->out[1] = k;
	op->rope.rope = rope;
	op->rope.n_head[0] = n_head;
	op->rope.n_head[1] = n_kv;
	op->rope.d = hp->d_k;

	uint32_t cache = bt_plan_cache(p, layer, n_kv, hp->d_k, hp->d_v);
	op = bt_plan_op(p, BT_OP_KV_STORE, layer);
	op->in[0] = k;
	op->in[1] = v;
	op->kv.cache = cache;
	op = bt_plan_op(p, BT_OP_ATTENTION, layer);
	op->in[0] = q;
	op->out[0] = a;
	op->attention.cache = cache;
	op->attention.n_head = n_head;
	op->attention.scale = (float)(1 / sqrt(hp->d_k));
	add_to_residual(b, layer, o_w, o_b, a);
}

void bt_build_ffn(struct bt_arch_build *b, uint32_t layer, uint32_t x)
{
	if (b->status) return;
	uint32_t n = b->hp.n_embd, ff = b->hp.n_ff[layer];
	if (!ff) {
		b->status = bt_fail(b->err, BATON_ERR_FORMAT, "the key %s.feed_forward_length is 0 for block %u",
		                    b->family->name, layer);
		return;
	}
	const struct bt_tensor *gate = bt_get_tensor(b, layer, "ffn_gate.weight", true, n, ff, 0);
	const struct bt_tensor *up = bt_get_tensor(b, layer, "ffn_up.weight", true, n, ff, 0);
	const struct bt_tensor *down = bt_get_tensor(b, layer, "ffn_down.weight", true, ff, n, 0);
	if (b->status) return;
	struct bt_op *op = matmul(b, layer, x);
	uint32_t y = bt_plan_value(b->plan, "ffn", ff, b->rows);
	add_mat(op, gate, bt_get_tensor(b, layer, "ffn_gate.bias", false, ff, 0, 0), y);
	add_mat(op, up, bt_get_tensor(b, layer, "ffn_up.bias", false, ff, 0, 0),
	        bt_plan_value(b->plan, "ffn_up", ff, b->rows));
	op->matmul.epilogue = BT_EPI_SILU_GATE;
	add_to_residual(b, layer, down, bt_get_tensor(b, layer, "ffn_down.bias", false, n, 0, 0), y);
}

void bt_build_experts(struct bt_arch_build *b, uint32_t layer, uint32_t x)
{
	const struct bt_hparams *hp = &b->hp;
	struct bt_plan *p = b->plan;
	if (b->status) return;
	uint32_t n = hp->n_embd, n_e = hp->expert.count, ff = hp->expert.ff;
	const struct bt_tensor *route = bt_get_tensor(b, layer, "ffn_gate_inp.weight", true, n, n_e, 0);
	const struct bt_tensor *gate = bt_get_tensor(b, layer, "ffn_gate_exps.weight", true, n, ff, n_e);
	const struct bt_tensor *up = bt_get_tensor(b, layer, "ffn_up_exps.weight", true, n, ff, n_e);
	const struct bt_tensor *down = bt_get_tensor(b, layer, "ffn_down_exps.weight", true, ff, n, n_e);
	if (b->status) return;

	uint32_t score = bt_plan_value(p, "router", n_e, BT_ROWS_TOKENS);
	uint32_t choice = bt_plan_value(p, "experts", 2 * hp->expert.used, BT_ROWS_TOKENS);
	struct bt_op *op = matmul(b, layer, x);
	add_mat(op, route, NULL, score);
	op = bt_plan_op(p, BT_OP_ROUTER, layer);
	op->in[0] = score;
	op->out[0] = choice;
	op->router.n_expert = n_e;
	op->router.n_used = hp->expert.used;
	op->router.normalize = true;
	op->router.scale = 1;

	uint32_t y = bt_plan_value(p, "expert_ffn", ff, BT_ROWS_EXPERTS);
	op = bt_plan_op(p, BT_OP_MATMUL_EXPERTS, layer);
	op->in[0] = x;
	op->in[1] = choice;
	add_mat(op, gate, NULL, y);
	add_mat(op, up, NULL, bt_plan_value(p, "expert_up", ff, BT_ROWS_EXPERTS));
	op->matmul.epilogue = BT_EPI_SILU_GATE;

	uint32_t z = bt_plan_value(p, "expert_down", n, BT_ROWS_EXPERTS);
	op = bt_plan_op(p, BT_OP_MATMUL_EXPERTS, layer);
	op->in[0] = y;
	op->in[1] = choice;
	add_mat(op, down, NULL, z);
	op = bt_plan_op(p, BT_OP_EXPERT_SUM, layer);
	op->in[0] = z;
	op->in[1] = choice;
	op->out[0] = b->h;
}

void bt_build_plain_layer(struct bt_arch_build *b, uint32_t layer, struct bt_attention_features f)
{
	bt_build_attention(b, layer, bt_build_norm(b, layer, "attn_norm"), f);
	if (layer + 1 == b->hp.n_layer) bt_build_gather(b, layer);
	bt_build_ffn(b, layer, bt_build_norm(b, layer, "ffn_norm"));
}
