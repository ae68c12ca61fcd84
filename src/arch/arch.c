#include "arch/build.h"

#include <stdio.h>
#include <string.h>

extern const struct bt_family bt_family_llama, bt_family_qwen2, bt_family_qwen3, bt_family_qwen3moe, bt_family_qwen35,
	bt_family_qwen35moe, bt_family_nemotron_h, bt_family_nemotron_h_moe, bt_family_mamba2, bt_family_qwen3next;

static const struct bt_family *const families[] = {
	&bt_family_llama,  &bt_family_qwen2,     &bt_family_qwen3,      &bt_family_qwen3moe,
	&bt_family_qwen35, &bt_family_qwen35moe, &bt_family_nemotron_h, &bt_family_nemotron_h_moe,
	&bt_family_mamba2, &bt_family_qwen3next,
};
#define FAMILY_LIST "llama, qwen2, qwen3, qwen3moe, qwen3next, qwen35, qwen35moe, nemotron_h, nemotron_h_moe, mamba2"

const struct bt_family *bt_family_get(struct bt_str name)
{
	for (size_t i = 0; i < sizeof families / sizeof *families; i++)
		if (strlen(families[i]->name) == name.len && !memcmp(families[i]->name, name.data, name.len))
			return families[i];
	return NULL;
}

const char *bt_family_list(void)
{
	return FAMILY_LIST;
}

static enum baton_status find_family(struct bt_arch_build *b)
{
	struct bt_str name;
	enum baton_status status = bt_gguf_get_str(b->g, "general.architecture", &name, NULL, b->err);
	if (status) return status;
	if (!name.data)
		return bt_fail(b->err, BATON_ERR_FORMAT, "the key general.architecture is missing: not a model file");
	b->family = bt_family_get(name);
	if (!b->family)
		return bt_fail(b->err, BATON_ERR_UNSUPPORTED,
		               "architecture '%.*s' is not supported; this build knows %s",
		               name.len < 64 ? (int)name.len : 64, name.data, FAMILY_LIST);
	return BATON_OK;
}

static void build_plan(struct bt_arch_build *b)
{
	struct bt_hparams *hp = &b->hp;
	struct bt_plan *p = b->plan;
	const struct bt_tensor *embd = bt_get_tensor(b, BT_NO_LAYER, "token_embd.weight", true, hp->n_embd, hp->n_vocab,
	                                             0);
	const struct bt_tensor *norm = bt_get_tensor(b, BT_NO_LAYER, "output_norm.weight", true, hp->n_embd, 0, 0);
	const struct bt_tensor *out = bt_get_tensor(b, BT_NO_LAYER, "output.weight", false, hp->n_embd, hp->n_vocab, 0);
	if (b->status) return;
	b->h = bt_plan_value(p, "h", hp->n_embd, BT_ROWS_TOKENS);
	struct bt_op *op = bt_plan_op(p, BT_OP_EMBED, 0);
	op->out[0] = b->h;
	op->embed.w = embd;
	for (uint32_t il = 0; il < hp->n_layer && !b->status; il++) b->family->layer(b, il);
	if (b->status) return;

	uint32_t last = hp->n_layer - 1;
	bt_build_gather(b, last);
	uint32_t x = bt_plan_value(p, "output_norm", hp->n_embd, BT_ROWS_LOGITS);
	op = bt_plan_op(p, BT_OP_RMS_NORM, last);
	op->in[0] = b->h;
	op->out[0] = x;
	op->norm.w = norm;
	op->norm.eps = hp->eps;
	op->norm.n_groups = 1;
	op = bt_plan_op(p, BT_OP_LOGITS, last);
	op->in[0] = x;
	op->matmul.mat[0].w = out ? out : embd; /* without an output matrix the embedding is tied */
	op->matmul.n_mats = 1;
}

enum baton_status bt_arch_build(const struct bt_gguf *g, struct bt_plan *plan, struct bt_hparams *hp,
                                struct baton_error *err)
{
	struct bt_arch_build b = {.g = g, .plan = plan, .err = err};
	bt_plan_init(plan);
	b.status = find_family(&b);
	if (!b.status) bt_hparams_read(&b);
	if (!b.status) {
		plan->n_layer = b.hp.n_layer;
		plan->n_embd = b.hp.n_embd;
		plan->n_vocab = b.hp.n_vocab;
		plan->n_ctx_train = b.hp.n_ctx_train;
		plan->n_expert_used = b.hp.expert.used;
		build_plan(&b);
	}
	if (!b.status) b.status = bt_plan_check(plan, err);
	if (b.status) bt_plan_free(plan);
	else if (hp) *hp = b.hp;
	return b.status;
}
