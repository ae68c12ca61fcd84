/* Nemotron-H: every block is one thing only, behind its norm: Mamba-2, attention without rotary positions, a feed-forward
 * network with squared ReLU or (nemotron_h_moe) routed experts and a shared one. Which one stands in the per-block keys.
 * The larger nemotron_h_moe models project to fewer values before the routed experts (moe_latent_size). */
#include "arch/build.h"

static void hparams(struct bt_arch_build *b)
{
	bt_hparams_ssm(b);
}

static void hparams_moe(struct bt_arch_build *b)
{
	bt_hparams_ssm(b);
	bt_hparams_experts(b);
	b->hp.expert.latent = bt_key_u32(b, "moe_latent_size", false, 0, 0, BT_LIMIT_WIDTH);
	b->hp.expert.sigmoid = true;
	b->hp.expert.normalize = bt_key_bool(b, "expert_weights_norm", true);
}

static void layer(struct bt_arch_build *b, uint32_t il)
{
	const struct bt_hparams *hp = &b->hp;
	bool last = il + 1 == hp->n_layer;
	if (!b->status && hp->n_ff[il] && last) bt_build_gather(b, il);
	uint32_t x = bt_build_norm(b, il, "attn_norm");
	if (b->status) return;
	if (hp->n_ff[il] && hp->expert.count)
		bt_build_experts(b, il, x, (struct bt_expert_features){.relu2 = true, .select_bias = true});
	else if (hp->n_ff[il]) bt_build_ffn_relu2(b, il, x);
	else if (hp->n_head_kv[il]) bt_build_attention(b, il, x, (struct bt_attention_features){.no_rope = true});
	else bt_build_mamba2(b, il, x);
}

const struct bt_family bt_family_nemotron_h = {.name = "nemotron_h",
                                               .mixed_blocks = true,
                                               .hparams = hparams,
                                               .layer = layer};
const struct bt_family bt_family_nemotron_h_moe = {.name = "nemotron_h_moe",
                                                   .mixed_blocks = true,
                                                   .hparams = hparams_moe,
                                                   .layer = layer};
