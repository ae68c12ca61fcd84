/* Qwen3, dense: every head of q and k is normalised before the rotation; no biases. */
#include "arch/build.h"

static void layer(struct bt_arch_build *b, uint32_t il)
{
	bt_build_plain_layer(b, il, (struct bt_attention_features){.qk_norm = true});
}

const struct bt_family bt_family_qwen3 = {.name = "qwen3", .rope_neox = true, .layer = layer};
