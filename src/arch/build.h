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
bool bt_key_bool(struct bt_arch_build *b, const char *key, bool dflt);
/* A scalar or an array with one entry per block -> array[n_layer] in the plan's arena. */
uint32_t *bt_key_per_layer(struct bt_arch_build *b, const char *key, bool required, uint32_t dflt, uint32_t lo,
                           uint32_t hi);

/* The tensor "blk.LAYER.<name>", or "<name>" when layer is BT_NO_LAYER, of exactly this shape (0: that dimension is 1).
 * Missing: an error if required, else NULL. */
#define BT_NO_LAYER UINT32_MAX
const struct bt_tensor *bt_get_tensor(struct bt_arch_build *b, uint32_t layer, const char *name, bool required,
                                      uint64_t d0, uint64_t d1, uint64_t d2);

/* Rows row0 .. row0 + n - 1 of t (of every one of its matrices) as a tensor of its own, in the plan's arena. NULL after a
 * failure. */
const struct bt_tensor *bt_tensor_rows(struct bt_arch_build *b, const struct bt_tensor *t, uint64_t row0, uint64_t n);

/* Operations. y = mat x: add matrices to what bt_build_matmul returns; an operation without one is not valid. */
struct bt_op *bt_build_matmul(struct bt_arch_build *b, uint32_t layer, uint32_t x);
void bt_add_mat(struct bt_op *op, const struct bt_tensor *w, const struct bt_tensor *bias, uint32_t out);
/* h += w x (+ bias) */
void bt_build_residual(struct bt_arch_build *b, uint32_t layer, const struct bt_tensor *w, const struct bt_tensor *bias,
                       uint32_t x);
/* y = rms_norm(x), each of n_groups parts of a row by itself */
struct bt_op *bt_build_norm_of(struct bt_arch_build *b, uint32_t layer, uint32_t x, const struct bt_tensor *w,
                               uint32_t n_groups, uint32_t y);
/* x = x * act(g) */
void bt_build_gate(struct bt_arch_build *b, uint32_t layer, uint32_t x, uint32_t g, enum bt_act act);

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
	bool gate; /* attn_q has d_k rows of query and d_k of gate by turns; the result is multiplied by sigmoid(gate) */
	bool no_rope; /* positions take no part */
};
void bt_build_attention(struct bt_arch_build *b, uint32_t layer, uint32_t x, struct bt_attention_features f);

/* h += ffn_down . (silu(ffn_gate x) * ffn_up x) */
void bt_build_ffn(struct bt_arch_build *b, uint32_t layer, uint32_t x);

/* h += ffn_down . relu(ffn_up x)^2 */
void bt_build_ffn_relu2(struct bt_arch_build *b, uint32_t layer, uint32_t x);

/* h += sum over the chosen experts e of w_e * ffn_down_exps[e] . act(e), where act(e) is silu(ffn_gate_exps[e] x) *
 * ffn_up_exps[e] x or, without gates, relu(ffn_up_exps[e] x)^2; then the shared expert (hp.expert.ff_shared) of the same
 * form, multiplied by sigmoid(ffn_gate_inp_shexp . x) where shared_gate says so. The router is that of hp.expert. Gates
 * and ups may come fused as ffn_gate_up_exps, gates first. With hp.expert.latent the chosen experts see
 * ffn_latent_down . x, and ffn_latent_up brings their sum back; router and shared expert see x. */
struct bt_expert_features {
	bool relu2;
	bool select_bias; /* exp_probs_b.bias: added to the scores for choosing only */
	bool shared_gate;
};
void bt_build_experts(struct bt_arch_build *b, uint32_t layer, uint32_t x, struct bt_expert_features f);

/* Read the keys A.ssm.* and A.expert_* into b->hp.ssm and b->hp.expert. */
void bt_hparams_ssm(struct bt_arch_build *b);
void bt_hparams_experts(struct bt_arch_build *b);
/* Which blocks are recurrent: A.attention.recurrent_layers, or all but every A.full_attention_interval-th. */
void bt_hparams_recurrent_layers(struct bt_arch_build *b);

/* h += ssm_out . gated delta rule of x (struct bt_recurrence), for the tensors attn_qkv, attn_gate, ssm_alpha, ssm_beta,
 * ssm_conv1d, ssm_a, ssm_dt, ssm_norm. */
struct bt_delta_features {
	/* Value heads of one key head are neighbours, instead of key heads taking turns; ssm_ba, instead of ssm_beta and
	 * ssm_alpha, has for each key head the betas of its value heads, then their alphas. */
	bool by_key_head;
};
void bt_build_delta_net(struct bt_arch_build *b, uint32_t layer, uint32_t x, struct bt_delta_features f);
/* h += ssm_out . Mamba-2 of x, for the tensors ssm_in, ssm_conv1d, ssm_a, ssm_d, ssm_dt, ssm_norm. */
void bt_build_mamba2(struct bt_arch_build *b, uint32_t layer, uint32_t x);

/* attention + feed-forward, each behind its norm: the plain block of llama and the qwens. */
void bt_build_plain_layer(struct bt_arch_build *b, uint32_t layer, struct bt_attention_features f);

#endif
