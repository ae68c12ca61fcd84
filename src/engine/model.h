/* model.h: an opened model, as the engine and the tools see it. */
#ifndef BT_ENGINE_MODEL_H
#define BT_ENGINE_MODEL_H

#include "arch/arch.h"
#include "engine/store.h"
#include "text/tokenizer.h"

struct baton_model {
	struct bt_gguf *gguf;
	struct bt_tokenizer *tokenizer; /* NULL: the file has none */
	struct bt_plan plan;
	struct bt_hparams hp;
	struct bt_store *store; /* devices, shared by the sessions */
	char architecture[64], name[128], type[160];
	uint64_t n_params, size;
};

/* Bytes of KV cache for n_ctx tokens with these types: whole pages, and one page more per sequence than they fill. */
uint64_t bt_model_kv_bytes(const struct bt_plan *plan, uint32_t n_ctx, uint32_t n_seq, const struct bt_type *type_k,
                           const struct bt_type *type_v);
/* Bytes of recurrent state: a slot to read and one to write for each sequence, and n_checkpoints more. 0 for models without
 * recurrent blocks. */
uint64_t bt_model_state_bytes(const struct bt_plan *plan, uint32_t n_seq, uint32_t n_checkpoints);

#endif
