/* Qwen3.5: three gated DeltaNet blocks, then one of gated full attention, and so on; every block ends in a feed-forward
 * network or, in qwen35moe, routed experts and a shared one behind a gate. No key says that the weights of the chosen
 * experts are renormalised. Norm weights have had 1 added by the converter. */
#include "arch/build.h"

static void hparams(struct bt_arch_build *b)
{
	bt_hparams_ssm(b);
	bt_hparams_recurrent_layers(b);
}

static void hparams_moe(struct bt_arch_build *b)
{
	hparams(b);
	bt_hparams_experts(b);
	b->hp.expert.normalize = true;
}

static void mixer(struct bt_arch_build *b, uint32_t il)
{
	uint32_t x = bt_build_norm(b, il, "attn_norm");
	if (b->hp.recurrent[il]) bt_build_delta_net(b, il, x, (struct bt_delta_features){0});
	else bt_build_attention(b, il, x, (struct bt_attention_features){.qk_norm = true, .gate = true});
	if (il + 1 == b->hp.n_layer) bt_build_gather(b, il);
}

static void layer(struct bt_arch_build *b, uint32_t il)
{
	mixer(b, il);
	bt_build_ffn(b, il, bt_build_norm(b, il, "post_attention_norm"));
}

static void layer_moe(struct bt_arch_build *b, uint32_t il)
{
	mixer(b, il);
	bt_build_experts(b, il, bt_build_norm(b, il, "post_attention_norm"),
	                 (struct bt_expert_features){.shared_gate = true});
}

const struct bt_family bt_family_qwen35 = {.name = "qwen35", .rope_neox = true, .hparams = hparams, .layer = layer};
const struct bt_family bt_family_qwen35moe = {
	.name = "qwen35moe", .rope_neox = true, .ffn_key_optional = true, .hparams = hparams_moe, .layer = layer_moe};
