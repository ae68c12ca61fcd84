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

const struct bt_tensor *bt_tensor_rows(struct bt_arch_build *b, const struct bt_tensor *t, uint64_t row0, uint64_t n)
{
	if (b->status || !t) return NULL;
	struct bt_tensor *view = bt_arena_alloc(&b->plan->arena, sizeof *view);
	if (!view) {
		b->status = bt_fail_nomem(b->err, sizeof *view, "the plan");
		return NULL;
	}
	*view = *t;
	view->dim[1] = n;
	view->n_rows = n * t->dim[2] * t->dim[3];
	view->size = view->row_bytes * view->n_rows;
	view->offset += row0 * t->row_bytes;
	if (t->data) view->data = (const char *)t->data + row0 * t->row_bytes;
	return view;
}

struct bt_op *bt_build_matmul(struct bt_arch_build *b, uint32_t layer, uint32_t x)
{
	struct bt_op *op = bt_plan_op(b->plan, BT_OP_MATMUL, layer);
	op->in[0] = x;
	return op;
}

void bt_add_mat(struct bt_op *op, const struct bt_tensor *w, const struct bt_tensor *bias, uint32_t out)
{
	op->matmul.mat[op->matmul.n_mats] = (struct bt_mat){w, bias};
	op->out[op->matmul.n_mats++] = out;
}

void bt_build_residual(struct bt_arch_build *b, uint32_t layer, const struct bt_tensor *w, const struct bt_tensor *bias,
                       uint32_t x)
{
	struct bt_op *op = bt_build_matmul(b, layer, x);
	bt_add_mat(op, w, bias, b->h);
	op->matmul.epilogue = BT_EPI_ADD;
}

struct bt_op *bt_build_norm_of(struct bt_arch_build *b, uint32_t layer, uint32_t x, const struct bt_tensor *w,
                               uint32_t n_groups, uint32_t y)
{
	struct bt_op *op = bt_plan_op(b->plan, BT_OP_RMS_NORM, layer);
	op->in[0] = x;
	op->out[0] = y;
	op->norm.w = w;
	op->norm.eps = b->hp.eps;
	op->norm.n_groups = n_groups;
	return op;
}

void bt_build_gate(struct bt_arch_build *b, uint32_t layer, uint32_t x, uint32_t g, enum bt_act act)
{
	struct bt_op *op = bt_plan_op(b->plan, BT_OP_GATE, layer);
	op->in[0] = op->out[0] = x;
	op->in[1] = g;
	op->gate.act = act;
}

uint32_t bt_build_norm(struct bt_arch_build *b, uint32_t layer, const char *name)
{
	char full[64];
	snprintf(full, sizeof full, "%s.weight", name);
	const struct bt_tensor *w = bt_get_tensor(b, layer, full, true, b->hp.n_embd, 0, 0);
	if (b->status) return 0;
	return bt_build_norm_of(b, layer, b->h, w, 1, bt_plan_value(b->plan, name, b->hp.n_embd, b->rows))->out[0];
}

void bt_build_gather(struct bt_arch_build *b, uint32_t layer)
{
	if (b->rows == BT_ROWS_LOGITS) return;
	struct bt_op *op = bt_plan_op(b->plan, BT_OP_GATHER, layer);
	op->in[0] = b->h;
	op->out[0] = b->h = bt_plan_value(b->plan, "h_out", b->hp.n_embd, BT_ROWS_LOGITS);
	b->rows = BT_ROWS_LOGITS;
}

/* The matrices of an attention block. */
struct qkv {
	const struct bt_tensor *q, *k, *v, *q_bias, *k_bias, *v_bias, *q_norm, *k_norm;
	uint32_t n_head, n_kv, wq, wk, wv; /* heads; widths of q, k and v */
};

static struct qkv get_qkv(struct bt_arch_build *b, uint32_t layer, struct bt_attention_features f)
{
	const struct bt_hparams *hp = &b->hp;
	struct qkv t = {.n_head = hp->n_head[layer], .n_kv = hp->n_head_kv[layer]};
	uint32_t n = hp->n_embd;
	t.wq = t.n_head * hp->d_k;
	t.wk = t.n_kv * hp->d_k;
	t.wv = t.n_kv * hp->d_v;
	t.q = bt_get_tensor(b, layer, "attn_q.weight", true, n, f.gate ? 2 * (uint64_t)t.wq : t.wq, 0);
	t.k = bt_get_tensor(b, layer, "attn_k.weight", true, n, t.wk, 0);
	t.v = bt_get_tensor(b, layer, "attn_v.weight", true, n, t.wv, 0);
	t.q_bias = f.gate ? NULL : bt_get_tensor(b, layer, "attn_q.bias", f.qkv_bias, t.wq, 0, 0);
	t.k_bias = bt_get_tensor(b, layer, "attn_k.bias", f.qkv_bias, t.wk, 0, 0);
	t.v_bias = bt_get_tensor(b, layer, "attn_v.bias", f.qkv_bias, t.wv, 0, 0);
	if (f.qk_norm) {
		t.q_norm = bt_get_tensor(b, layer, "attn_q_norm.weight", true, hp->d_k, 0, 0);
		t.k_norm = bt_get_tensor(b, layer, "attn_k_norm.weight", true, hp->d_k, 0, 0);
	}
	return t;
}

static void build_rope(struct bt_arch_build *b, uint32_t layer, const struct qkv *t, uint32_t q, uint32_t k)
{
	const struct bt_rope *rope = bt_build_rope(b);
	struct bt_op *op = bt_plan_op(b->plan, BT_OP_ROPE, layer);
	op->in[0] = op->out[0] = q;
	op->in[1] = op->out[1] = k;
	op->rope.rope = rope;
	op->rope.n_head[0] = t->n_head;
	op->rope.n_head[1] = t->n_kv;
	op->rope.d = b->hp.d_k;
}

/* a = attention of q over a new cache that k and v are stored to. */
static void build_cached(struct bt_arch_build *b, uint32_t layer, const struct qkv *t, uint32_t q, uint32_t k,
                         uint32_t v, uint32_t a)
{
	const struct bt_hparams *hp = &b->hp;
	uint32_t cache = bt_plan_cache(b->plan, layer, t->n_kv, hp->d_k, hp->d_v);
	struct bt_op *op = bt_plan_op(b->plan, BT_OP_KV_STORE, layer);
	op->in[0] = k;
	op->in[1] = v;
	op->kv.cache = cache;
	op = bt_plan_op(b->plan, BT_OP_ATTENTION, layer);
	op->in[0] = q;
	op->out[0] = a;
	op->attention.cache = cache;
	op->attention.n_head = t->n_head;
	op->attention.scale = (float)(1 / sqrt(hp->d_k));
}

void bt_build_attention(struct bt_arch_build *b, uint32_t layer, uint32_t x, struct bt_attention_features f)
{
	const struct bt_hparams *hp = &b->hp;
	struct bt_plan *p = b->plan;
	if (b->status) return;
	struct qkv t = get_qkv(b, layer, f);
	uint32_t n = hp->n_embd, wo = t.n_head * hp->d_v;
	const struct bt_tensor *o_w = bt_get_tensor(b, layer, "attn_output.weight", true, wo, n, 0);
	const struct bt_tensor *o_b = bt_get_tensor(b, layer, "attn_output.bias", false, n, 0, 0);
	if (b->status) return;

	uint32_t q = bt_plan_value(p, "q", t.wq, BT_ROWS_TOKENS), k = bt_plan_value(p, "k", t.wk, BT_ROWS_TOKENS);
	uint32_t v = bt_plan_value(p, "v", t.wv, BT_ROWS_TOKENS), a = bt_plan_value(p, "attn", wo, BT_ROWS_TOKENS);
	uint32_t q_gate = f.gate ? bt_plan_value(p, "q_gate", 2 * t.wq, BT_ROWS_TOKENS) : q, gate = BT_NO_VALUE;
	struct bt_op *op = bt_build_matmul(b, layer, x);
	bt_add_mat(op, t.q, t.q_bias, q_gate);
	bt_add_mat(op, t.k, t.k_bias, k);
	bt_add_mat(op, t.v, t.v_bias, v);
	if (f.gate) {
		op = bt_plan_op(p, BT_OP_SPLIT, layer);
		op->in[0] = q_gate;
		op->out[0] = q;
		op->out[1] = gate = bt_plan_value(p, "attn_gate", t.wq, BT_ROWS_TOKENS);
		op->split.d = hp->d_k;
	}
	if (t.q_norm) bt_build_norm_of(b, layer, q, t.q_norm, t.n_head, q);
	if (t.k_norm) bt_build_norm_of(b, layer, k, t.k_norm, t.n_kv, k);
	if (!f.no_rope) build_rope(b, layer, &t, q, k);
	build_cached(b, layer, &t, q, k, v, a);
	if (f.gate) bt_build_gate(b, layer, a, gate, BT_ACT_SIGMOID);
	bt_build_residual(b, layer, o_w, o_b, a);
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
	struct bt_op *op = bt_build_matmul(b, layer, x);
	uint32_t y = bt_plan_value(b->plan, "ffn", ff, b->rows);
	bt_add_mat(op, gate, bt_get_tensor(b, layer, "ffn_gate.bias", false, ff, 0, 0), y);
	bt_add_mat(op, up, bt_get_tensor(b, layer, "ffn_up.bias", false, ff, 0, 0),
	           bt_plan_value(b->plan, "ffn_up", ff, b->rows));
	op->matmul.epilogue = BT_EPI_SILU_GATE;
	bt_build_residual(b, layer, down, bt_get_tensor(b, layer, "ffn_down.bias", false, n, 0, 0), y);
}

void bt_build_ffn_relu2(struct bt_arch_build *b, uint32_t layer, uint32_t x)
{
	if (b->status) return;
	uint32_t n = b->hp.n_embd, ff = b->hp.n_ff[layer];
	const struct bt_tensor *up = bt_get_tensor(b, layer, "ffn_up.weight", true, n, ff, 0);
	const struct bt_tensor *down = bt_get_tensor(b, layer, "ffn_down.weight", true, ff, n, 0);
	if (b->status) return;
	struct bt_op *op = bt_build_matmul(b, layer, x);
	uint32_t y = bt_plan_value(b->plan, "ffn", ff, b->rows);
	bt_add_mat(op, up, bt_get_tensor(b, layer, "ffn_up.bias", false, ff, 0, 0), y);
	op->matmul.epilogue = BT_EPI_RELU2;
	bt_build_residual(b, layer, down, bt_get_tensor(b, layer, "ffn_down.bias", false, n, 0, 0), y);
}

void bt_build_plain_layer(struct bt_arch_build *b, uint32_t layer, struct bt_attention_features f)
{
	bt_build_attention(b, layer, bt_build_norm(b, layer, "attn_norm"), f);
	if (layer + 1 == b->hp.n_layer) bt_build_gather(b, layer);
	bt_build_ffn(b, layer, bt_build_norm(b, layer, "ffn_norm"));
}
