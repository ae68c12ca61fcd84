/* session.h: inside of a session. */
#ifndef BT_ENGINE_SESSION_H
#define BT_ENGINE_SESSION_H

#include "engine/cache.h"
#include "engine/devices.h"
#include "engine/kv.h"
#include "engine/model.h"
#include "engine/state.h"

struct baton_session {
	const struct baton_model *model;
	struct baton_session_params params;
	struct bt_devices devices;
	uint32_t n_logits_max; /* rows of logits in a step that the devices are ready for */
	struct bt_kv kv;
	struct bt_cache *cache; /* [plan.n_caches], each on the device that devices.place.cache names */
	const struct bt_type *type_k, *type_v;

	/* Recurrent models only. A state can't be rewound, so cutting a sequence returns to a mark before the place, and the
	 * tokens between are computed again when the sequence goes on: the last `pending` of its history are not in the cache. */
	struct bt_states states;
	struct bt_dev_mem *state;   /* [plan.n_states] */
	int32_t *history;           /* [n_seq][n_ctx] tokens of each sequence */
	uint32_t *pending;          /* [n_seq]; all 0 for other models */
	struct baton_input *replay; /* [n_ubatch] */

	/* The step under construction; arrays of n_ubatch. */
	int32_t *token, *pos;
	uint32_t *logit_row, *order;                  /* order: index into the call's input of each row */
	struct bt_step_seq *step_seq;                 /* [n_seq] */
	uint32_t *seq_count, *seq_start, *seq_before; /* [n_seq] */
	uint32_t *pending_before;                     /* [n_seq] */

	/* Results of the last call. */
	float *logits; /* [cap_logits][n_vocab] */
	size_t cap_logits;
	uint32_t *logit_index; /* [n_batch] row of logits of each input, or UINT32_MAX */
	size_t n_inputs;
};

#endif
