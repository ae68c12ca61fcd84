/* mix.h: file types ("Q4_K_M"): which type each tensor of a model gets.
 *
 * A mix has one type for most weights and rules that give some tensors more bits: those that the answer depends on most
 * (output, attention values, the feed-forward's way down). Source of mixes, rules and numbers: llama.cpp's
 * llama-quantize (src/llama-quant.cpp, enum llama_ftype), so that files match tensor by tensor. Left out: its rules for
 * the Falcon architecture, and mixes of types that baton does not write.
 */
#ifndef BT_QUANT_MIX_H
#define BT_QUANT_MIX_H

#include "quant/type.h"

struct bt_mix {
	const char *name;     /* "Q4_K_M" */
	const char *alias;    /* "Q4_K", or NULL */
	uint32_t file_type;   /* the number in general.file_type */
	enum bt_type_id type; /* of most weights */
	bool copy;            /* COPY: every tensor stays as it is */
	const char *about;    /* for the list in help texts */
};

extern const struct bt_mix bt_mix_table[]; /* ends with name NULL */

/* By name or alias, without regard to case; NULL when unknown. */
const struct bt_mix *bt_mix_by_name(const char *name);

/* What the user asks for. */
struct bt_mix_params {
	const struct bt_mix *mix;
	bool pure;                       /* no rules: the mix's own type for every weight that may be quantised */
	bool leave_output;               /* output.weight stays as it is */
	const struct bt_type *output;    /* for output.weight, or NULL */
	const struct bt_type *embedding; /* for the token embedding, or NULL */
};

/* What the rules need to know of the model. */
struct bt_mix_model {
	uint32_t n_layer, n_expert;
	uint32_t n_gqa; /* query heads for each key-value head; 0 when there are none */
	bool llama_70b; /* family llama, 80 layers, grouped queries */
};

/* Zero it, fill in the first two, show it every tensor's name, then ask for the types in the order of the layers
 * (bt_mix_layer; tensors of no layer first), by name within a layer. */
struct bt_mix_state {
	struct bt_mix_params params;
	struct bt_mix_model model;
	bool has_output;               /* output.weight exists, so the token embedding is only that */
	uint32_t n_attn_v;             /* tensors that hold attention values */
	uint32_t i_attn_v, i_ffn_down; /* of those asked for so far */
};

/* 12 for "blk.12.attn_q.weight"; -1 for a tensor of no layer. */
int bt_mix_layer(const char *name);
void bt_mix_show(struct bt_mix_state *s, const char *name);

/* The type for a tensor of dimensions dim[4] (fastest first, 1 beyond its own) that has type `now`. *wanted (may be
 * NULL) is what the rules say before the fallback for rows that are no multiple of its block. */
const struct bt_type *bt_mix_type(struct bt_mix_state *s, const char *name, const uint64_t dim[4],
                                  const struct bt_type *now, const struct bt_type **wanted);

#endif
