/* Qwen2 and Qwen2.5: llama's block with biases on q, k and v. */
#include "arch/build.h"

static void layer(struct bt_arch_build *b, uint32_t il)
{
	bt_build_plain_layer(b, il, (struct bt_attention_features){.qkv_bias = true});
}

const struct bt_family bt_family_qwen2 = {.name = "qwen2", .rope_neox = true, .layer = layer};
