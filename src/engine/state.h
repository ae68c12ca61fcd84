/* state.h: slots of recurrent state: which slot of memory holds the state of which sequence behind which position.
 *
 * A recurrent model carries a state of fixed size along the sequence, and it can't be rewound by dropping tokens. So a step
 * reads one slot and writes another, and the old slot, untouched, is a *mark*: a place to which the sequence can return
 * exactly. Marks before and behind prompts (steps of several tokens) stay as checkpoints until their slot is needed; others go
 * when the call is over. Sequences with a common beginning share marks. This is bookkeeping only: the memory
 * belongs to the session.
 */
#ifndef BT_ENGINE_STATE_H
#define BT_ENGINE_STATE_H

#include "backend/backend.h"

#define BT_STATE_MARKS 32u /* marks that one sequence may have */

struct bt_mark {
	uint32_t pos;  /* tokens that the state has seen */
	uint32_t slot; /* where it is */
	bool keep;     /* a checkpoint: worth having when it is no longer the newest */
};

struct bt_state_seq {
	struct bt_mark mark[BT_STATE_MARKS]; /* ascending; the last is the sequence's present state */
	uint32_t n;
	uint32_t n_base; /* marks when the call began: the last of them is what a failure returns to */
	bool held;       /* the step under way reads the mark before the last: its slot can't be anybody's yet */
};

struct bt_states {
	uint32_t n_slots, n_free, n_seq;
	uint32_t *free;           /* stack of free slots */
	uint32_t *refs;           /* [n_slots] marks that name a slot */
	struct bt_state_seq *seq; /* [n_seq] */
};

/* n_slots of at least 2 * n_seq, so that every sequence can take a step at the same time; more are checkpoints. */
enum baton_status bt_states_open(struct bt_states *st, uint32_t n_slots, uint32_t n_seq, struct baton_error *err);
void bt_states_close(struct bt_states *st);

/* The present state: tokens it has seen (0: the beginning) and its slot (BT_NO_SLOT: the beginning). */
uint32_t bt_states_pos(const struct bt_states *st, uint32_t seq);
uint32_t bt_states_slot(const struct bt_states *st, uint32_t seq);

/* A call begins: what follows can be undone until bt_states_commit. */
void bt_states_begin(struct bt_states *st, uint32_t seq);
/* A step begins: what the one before it read is no longer needed for that. */
void bt_states_step(struct bt_states *st);
/* The slot to write the state behind position pos to; it becomes the present state at once. Frees checkpoints where it has
 * to, or continues in place. keep: it is worth a checkpoint. */
uint32_t bt_states_advance(struct bt_states *st, uint32_t seq, uint32_t pos, bool keep);
/* Back to where the call began. */
void bt_states_undo(struct bt_states *st, uint32_t seq);
/* The call is over: drop the marks that are no checkpoints. */
void bt_states_commit(struct bt_states *st, uint32_t seq);

/* Return to the newest mark at or before position pos; returns its position. */
uint32_t bt_states_truncate(struct bt_states *st, uint32_t seq, uint32_t pos);
/* dst shares all marks of src. */
void bt_states_share(struct bt_states *st, uint32_t src, uint32_t dst);

#endif
