/* build.h: building blocks that the families share. Errors are sticky in b->status. */
#ifndef BT_ARCH_BUILD_H
#define BT_ARCH_BUILD_H

#include "arch/arch.h"
#include "base/limits.h"

/* Read the keys that all families share, then the family's own, into b->hp. */
void bt_hparams_read(struct bt_arch_build *b);

/* The rope setting of the file, made on the first call. NULL after a failure. */
const struct bt_rope *bt_build_rope(struct bt_arch_build *b);

/* "A.<key>", where A is the architecture's name, as u32; required unless has_dflt. Checks lo <= value <= hi. */
uint32_t bt_key_u32(struct bt_arch_build *b, const char *key, bool required, uint32_t dflt, uint32_t lo, uint32_t hi);
float bt_key_f32(struct bt_arch_build *b, const char *key, bool required, float dflt);
/* A scalar or an array with one entry per block -> array[n_layer] in the plan's arena. */
uint32_t *bt_key_per_layer(struct bt_arch_build *b, const char *key, bool required, uint32_t dflt, uint32_t lo,
                           uint32_t hi);

/* The tensor "blk.LAYER.<name>", or "<name>" when layer is BT_NO_LAYER, of exactly this shape (0: that dimension is 1).
 * Missing: an error if required, else NULL. */
#define BT_NO_LAYER UINT32_MAX
const struct bt_tensor *bt_get_tensor(struct bt_arch_build *b, uint32_t layer, const char *name, bool required,
                                      uint64_t d0, uint64_t d1, uint64_t d2);

/* Go on with the rows that want logits only: nothing behind the last attention needs the others. Once per plan; without
 * it the shared code gathers at the end. */
void bt_build_gather(struct bt_arch_build *b, uint32_t layer);

/* x = rms_norm(h, blk.N.<name>.weight): a new value [rows][n_embd]. */
uint32_t bt_build_norm(struct bt_arch_build *b, uint32_t layer, const char *name);

/* h += attn_output . attention(x) with the layer's q, k, v, rotary positions and a KV cache. Biases are used where the
 * file has them; features says what the family's files must have. */
struct bt_attention_features {
	bool qkv_bias; /* attn_q.bias, attn_k.bias, attn_v.bias */
	bool qk_norm;  /* attn_q_norm.weight, attn_k_norm.weight: every head through rms_norm before the rotation */
};
void bt_build_attention(struct bt_arch_build *b, uint32_t layer, uint32_t x, struct bt_attention_features f);

/* h += ffn_down . (silu(ffn_gate x) * ffn_up x) */
void bt_build_ffn(struct bt_arch_build *b, uint32_t layer, uint32_t x);

/* h += sum over the chosen experts e of w_e * ffn_down_exps[e] . (silu(ffn_gate_exps[e] x) * ffn_up_exps[e] x) with
 * softmax over all experts, the `used` largest, renormalised. */
void bt_build_experts(struct bt_arch_build *b, uint32_t layer, uint32_t x);

/* attention + feed-forward, each behind its norm: the plain block of llama and the qwens. */
void bt_build_plain_layer(struct bt_arch_build *b, uint32_t layer, struct bt_attention_features f);

#endif
