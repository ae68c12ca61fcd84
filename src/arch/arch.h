/* arch.h: model families. One file per family exports a const struct bt_family; the table in arch.c lists them.
 *
 * A family reads its metadata keys into struct bt_hparams and writes the plan, layer by layer, from the building blocks
 * of build.h. Shared code never tests which family it has: it tests a field. Equations, keys and tensor names are those
 * of GGUF files as llama.cpp's converter writes them.
 */
#ifndef BT_ARCH_ARCH_H
#define BT_ARCH_ARCH_H

#include "plan/plan.h"

struct bt_hparams {
	uint32_t n_layer;       /* ordinary blocks (draft blocks at the end not counted) */
	uint32_t n_layer_draft; /* multi-token-prediction blocks, skipped */
	uint32_t n_ctx_train;
	uint32_t n_embd, n_vocab;
	float eps; /* of every rms_norm */

	/* [n_layer], owned by the plan's arena */
	uint32_t *n_head, *n_head_kv, *n_ff;
	uint32_t d_k, d_v; /* values in a head */

	struct {
		uint32_t n_rot; /* values rotated at the front of a head */
		float base, factor, attn_factor, beta_fast, beta_slow;
		uint32_t n_ctx_orig;
		enum { BT_ROPE_PLAIN, BT_ROPE_LINEAR, BT_ROPE_YARN } scaling;
	} rope;

	struct {
		uint32_t count, used, ff; /* 0: none */
		uint32_t ff_shared;       /* of the experts that all tokens use; 0: none */
		uint32_t latent;          /* routed experts work on that many values; 0: on n_embd */
		uint32_t n_group, n_group_used;
		bool sigmoid, normalize;
		float scale;
	} expert;

	struct {
		uint32_t taps;            /* of the causal convolution */
		uint32_t n_head, n_group; /* heads, and groups of them that share vectors */
		uint32_t d_state, d_head;
	} ssm;

	uint8_t *recurrent; /* [n_layer] or NULL: 1 where a block has a recurrence in place of attention */
};

/* What a family's functions work on. */
struct bt_arch_build {
	const struct bt_gguf *g;
	const struct bt_family *family;
	struct bt_hparams hp;
	struct bt_plan *plan;
	struct baton_error *err;
	enum baton_status status;   /* sticky: the first failure */
	uint32_t h;                 /* [rows][n_embd] the residual stream */
	enum bt_rows rows;          /* its rows: all tokens, or behind bt_build_gather those that want logits */
	const struct bt_rope *rope; /* shared by all layers of the families here */
};

struct bt_family {
	const char *name;      /* general.architecture */
	bool rope_neox;        /* pairs (i, i + n/2) rather than neighbours */
	bool ffn_key_optional; /* feed_forward_length may be missing: every layer has experts */
	bool mixed_blocks;     /* a 0 among the per-block keys says that a block lacks such a part */
	/* Read what the common keys (bt_hparams_read) don't hold; NULL: nothing. */
	void (*hparams)(struct bt_arch_build *b);
	/* Append the operations of one layer. */
	void (*layer)(struct bt_arch_build *b, uint32_t layer);
};

/* The row for general.architecture, or NULL. */
const struct bt_family *bt_family_get(struct bt_str name);
/* "llama, qwen2, ...": static, for messages. */
const char *bt_family_list(void);

/* Read the file's metadata and write the plan; hp (may be NULL) receives the parameters, whose arrays live as long as
 * the plan. Everything is checked: keys, tensors, shapes. On failure the plan is empty. */
enum baton_status bt_arch_build(const struct bt_gguf *g, struct bt_plan *plan, struct bt_hparams *hp,
                                struct baton_error *err);

#endif
