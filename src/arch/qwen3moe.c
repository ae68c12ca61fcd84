/* Qwen3 with routed experts in place of every feed-forward network. That the weights of the chosen experts are
 * renormalised is part of the architecture: no key says it. */
#include "arch/build.h"

static void hparams(struct bt_arch_build *b)
{
	bt_hparams_experts(b);
	b->hp.expert.normalize = true;
}

static void layer(struct bt_arch_build *b, uint32_t il)
{
	bt_build_attention(b, il, bt_build_norm(b, il, "attn_norm"), (struct bt_attention_features){.qk_norm = true});
	if (il + 1 == b->hp.n_layer) bt_build_gather(b, il);
	bt_build_experts(b, il, bt_build_norm(b, il, "ffn_norm"), (struct bt_expert_features){0});
}

const struct bt_family bt_family_qwen3moe = {
	.name = "qwen3moe", .rope_neox = true, .ffn_key_optional = true, .hparams = hparams, .layer = layer};
