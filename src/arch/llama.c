/* Llama 1 to 3, SmolLM2, Mistral and others under the name "llama". Rotary pairs are neighbours: the converter reorders
 * the rows of attn_q and attn_k for that. Llama 3's rope scaling comes as the tensor rope_freqs.weight. */
#include "arch/build.h"

static void layer(struct bt_arch_build *b, uint32_t il)
{
	bt_build_plain_layer(b, il, (struct bt_attention_features){0});
}

const struct bt_family bt_family_llama = {.name = "llama", .layer = layer};
