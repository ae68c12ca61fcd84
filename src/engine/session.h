/* session.h: inside of a session. */
#ifndef BT_ENGINE_SESSION_H
#define BT_ENGINE_SESSION_H

#include "engine/kv.h"
#include "engine/model.h"

struct baton_session {
	const struct baton_model *model;
	struct baton_session_params params;
	const struct bt_backend *backend;
	struct bt_device *device;
	struct bt_device_info device_info;
	struct bt_exec *exec;
	uint32_t n_logits_max; /* rows of logits in a step of exec */
	struct bt_kv kv;
	struct bt_dev_mem *k, *v; /* [plan.n_caches] */
	const struct bt_type *type_k, *type_v;

	/* The step under construction; arrays of n_ubatch. */
	int32_t *token, *pos;
	uint32_t *logit_row, *order;                  /* order: index into the call's input of each row */
	struct bt_step_seq *step_seq;                 /* [n_seq] */
	uint32_t *seq_count, *seq_start, *seq_before; /* [n_seq] */

	/* Results of the last call. */
	float *logits; /* [cap_logits][n_vocab] */
	size_t cap_logits;
	uint32_t *logit_index; /* [n_batch] row of logits of each input, or UINT32_MAX */
	size_t n_inputs;
};

#endif
