/* Qwen3 with routed experts in place of every feed-forward network. That the weights of the chosen experts are
 * renormalised is part of the architecture: no key says it. */
#include "arch/build.h"

static void hparams(struct bt_arch_build *b)
{
	struct bt_hparams *hp = &b->hp;
	hp->expert.count = bt_key_u32(b, "expert_count", true, 0, 1, BT_LIMIT_EXPERTS);
	hp->expert.used = bt_key_u32(b, "expert_used_count", true, 0, 1, hp->expert.count);
	hp->expert.ff = bt_key_u32(b, "expert_feed_forward_length", true, 0, 1, BT_LIMIT_WIDTH);
}

static void layer(struct bt_arch_build *b, uint32_t il)
{
	bt_build_attention(b, il, bt_build_norm(b, il, "attn_norm"), (struct bt_attention_features){.qk_norm = true});
	bt_build_experts(b, il, bt_build_norm(b, il, "ffn_norm"));
}

const struct bt_family bt_family_qwen3moe = {
	.name = "qwen3moe", .rope_neox = true, .ffn_key_optional = true, .hparams = hparams, .layer = layer};
