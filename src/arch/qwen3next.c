/* Qwen3-Next: computed as qwen35moe is, but the value heads of a key head are neighbours, and beta and alpha come from one
 * matrix. Files whose q, k, v and z are still one matrix (ssm_in), as converters wrote them at first, are not read. */
#include "arch/build.h"

static void hparams(struct bt_arch_build *b)
{
	bt_hparams_ssm(b);
	bt_hparams_recurrent_layers(b);
	bt_hparams_experts(b);
	b->hp.expert.normalize = true;
}

static void layer(struct bt_arch_build *b, uint32_t il)
{
	uint32_t x = bt_build_norm(b, il, "attn_norm");
	if (b->hp.recurrent[il]) bt_build_delta_net(b, il, x, (struct bt_delta_features){.by_key_head = true});
	else bt_build_attention(b, il, x, (struct bt_attention_features){.qk_norm = true, .gate = true});
	if (il + 1 == b->hp.n_layer) bt_build_gather(b, il);
	bt_build_experts(b, il, bt_build_norm(b, il, "post_attention_norm"),
	                 (struct bt_expert_features){.shared_gate = true});
}

const struct bt_family bt_family_qwen3next = {
	.name = "qwen3next", .rope_neox = true, .ffn_key_optional = true, .hparams = hparams, .layer = layer};
