#include "engine/state.h"

#include <string.h>

enum baton_status bt_states_open(struct bt_states *st, uint32_t n_slots, uint32_t n_seq, struct baton_error *err)
{
	*st = (struct bt_states){.n_slots = n_slots, .n_seq = n_seq};
	st->free = bt_mem_array(BT_MEM_HOST, n_slots + 1u, sizeof *st->free);
	st->refs = bt_mem_array(BT_MEM_HOST, n_slots + 1u, sizeof *st->refs);
	st->seq = bt_mem_array(BT_MEM_HOST, n_seq + 1u, sizeof *st->seq);
	if (!st->free || !st->refs || !st->seq) {
		bt_states_close(st);
		return bt_fail_nomem(err, n_seq * sizeof *st->seq, "the table of recurrent states");
	}
	/* the lowest slot on top */
	for (; st->n_free < n_slots; st->n_free++) st->free[st->n_free] = n_slots - 1 - st->n_free;
	return BATON_OK;
}

void bt_states_close(struct bt_states *st)
{
	bt_mem_free(st->free);
	bt_mem_free(st->refs);
	bt_mem_free(st->seq);
	*st = (struct bt_states){0};
}

uint32_t bt_states_pos(const struct bt_states *st, uint32_t seq)
{
	const struct bt_state_seq *s = &st->seq[seq];
	return s->n ? s->mark[s->n - 1].pos : 0;
}

uint32_t bt_states_slot(const struct bt_states *st, uint32_t seq)
{
	const struct bt_state_seq *s = &st->seq[seq];
	return s->n ? s->mark[s->n - 1].slot : BT_NO_SLOT;
}

static void drop(struct bt_states *st, uint32_t slot)
{
	if (!--st->refs[slot]) st->free[st->n_free++] = slot;
}

static void remove_mark(struct bt_states *st, uint32_t seq, uint32_t i)
{
	struct bt_state_seq *s = &st->seq[seq];
	drop(st, s->mark[i].slot);
	memmove(s->mark + i, s->mark + i + 1, (s->n - i - 1) * sizeof *s->mark);
	s->n--;
	if (i < s->n_base) s->n_base--;
}

/* Only checkpoints may go: neither the present state, nor the one that the call began with, nor what the step under way
 * reads, because sequences of a step are computed at the same time. */
static bool may_go(const struct bt_state_seq *s, uint32_t i)
{
	return i + 1 != s->n && i + 1 != s->n_base && !(s->held && i + 2 == s->n);
}

/* Tokens between the neighbours of mark i: what returning to a place there would cost at most if it went. */
static uint32_t gap(const struct bt_state_seq *s, uint32_t i)
{
	return s->mark[i + 1].pos - (i ? s->mark[i - 1].pos : 0);
}

/* The checkpoint of sequences first .. end that is missed least goes; false when there is none. */
static bool thin(struct bt_states *st, uint32_t first, uint32_t end)
{
	uint32_t best_seq = UINT32_MAX, best = 0;
	for (uint32_t q = first; q < end; q++)
		for (uint32_t i = 0; i < st->seq[q].n; i++) {
			if (!may_go(&st->seq[q], i)) continue;
			if (best_seq != UINT32_MAX && gap(&st->seq[q], i) >= gap(&st->seq[best_seq], best)) continue;
			best_seq = q;
			best = i;
		}
	if (best_seq == UINT32_MAX) return false;
	remove_mark(st, best_seq, best);
	return true;
}

void bt_states_begin(struct bt_states *st, uint32_t seq)
{
	st->seq[seq].n_base = st->seq[seq].n;
	st->seq[seq].held = false;
}

void bt_states_step(struct bt_states *st)
{
	for (uint32_t q = 0; q < st->n_seq; q++) st->seq[q].held = false;
}

/* Sequences that have no mark of this call yet, and must find a slot when they take their first step. */
static uint32_t waiting(const struct bt_states *st)
{
	uint32_t n = 0;
	for (uint32_t q = 0; q < st->n_seq; q++) n += st->seq[q].n == st->seq[q].n_base;
	return n;
}

uint32_t bt_states_advance(struct bt_states *st, uint32_t seq, uint32_t pos, bool keep)
{
	struct bt_state_seq *s = &st->seq[seq];
	/* where a prompt begins (in a conversation: behind an answer) is as good a place to come back to as its end */
	if (keep && s->n && s->n == s->n_base) s->mark[s->n - 1].keep = true;
	while (s->n == BT_STATE_MARKS && thin(st, seq, seq + 1)) {
	}
	uint32_t left = s->n > s->n_base ? waiting(st) : 0; /* must be left to others */
	while (st->n_free <= left && thin(st, 0, st->n_seq)) {
	}
	if (st->n_free <= left || s->n == BT_STATE_MARKS) {
		/* 2 * n_seq slots: then this sequence has a mark of this call, which nobody shares */
		struct bt_mark *last = &s->mark[s->n - 1];
		last->pos = pos;
		last->keep = keep;
		return last->slot;
	}
	uint32_t slot = st->free[--st->n_free];
	st->refs[slot] = 1;
	s->mark[s->n++] = (struct bt_mark){pos, slot, keep};
	s->held = s->n > 1;
	return slot;
}

static void cut(struct bt_states *st, uint32_t seq, uint32_t n)
{
	while (st->seq[seq].n > n) remove_mark(st, seq, st->seq[seq].n - 1);
	st->seq[seq].held = false;
}

void bt_states_undo(struct bt_states *st, uint32_t seq)
{
	cut(st, seq, st->seq[seq].n_base);
}

void bt_states_commit(struct bt_states *st, uint32_t seq)
{
	struct bt_state_seq *s = &st->seq[seq];
	for (uint32_t i = s->n; i-- > 0;)
		if (!s->mark[i].keep && i + 1 < s->n) remove_mark(st, seq, i);
	s->n_base = s->n;
}

uint32_t bt_states_truncate(struct bt_states *st, uint32_t seq, uint32_t pos)
{
	struct bt_state_seq *s = &st->seq[seq];
	uint32_t n = s->n;
	while (n && s->mark[n - 1].pos > pos) n--;
	cut(st, seq, n);
	s->n_base = s->n;
	return bt_states_pos(st, seq);
}

void bt_states_share(struct bt_states *st, uint32_t src, uint32_t dst)
{
	if (src == dst) return;
	cut(st, dst, 0);
	st->seq[dst] = st->seq[src];
	for (uint32_t i = 0; i < st->seq[dst].n; i++) st->refs[st->seq[dst].mark[i].slot]++;
}
