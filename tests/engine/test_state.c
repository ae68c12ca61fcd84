/* Slots of recurrent state: marks, checkpoints, sharing, and that a step never overwrites what is needed. */
#include "engine/state.h"
#include "helpers.h"

static struct bt_states open_states(uint32_t n_slots, uint32_t n_seq)
{
	struct bt_states st;
	struct baton_error err;
	assert_int_equal(bt_states_open(&st, n_slots, n_seq, &err), BATON_OK);
	return st;
}

/* One call that appends n tokens in one step. */
static uint32_t call(struct bt_states *st, uint32_t seq, uint32_t n)
{
	bt_states_begin(st, seq);
	uint32_t slot = bt_states_advance(st, seq, bt_states_pos(st, seq) + n, n > 1);
	bt_states_commit(st, seq);
	return slot;
}

static void a_step_writes_another_slot_than_it_reads(void **state)
{
	(void)state;
	struct bt_states st = open_states(2, 1);
	assert_int_equal(bt_states_slot(&st, 0), BT_NO_SLOT);
	for (uint32_t i = 0, before = BT_NO_SLOT; i < 20; i++) {
		uint32_t now = call(&st, 0, i % 3 + 1);
		assert_true(now < 2 && now != before);
		assert_int_equal(bt_states_slot(&st, 0), before = now);
	}
	assert_int_equal(bt_states_pos(&st, 0), 39);
	bt_states_close(&st);
}

static void a_long_call_keeps_what_it_began_with(void **state)
{
	(void)state;
	struct bt_states st = open_states(2, 1);
	uint32_t began = call(&st, 0, 10);
	bt_states_begin(&st, 0);
	for (uint32_t i = 1; i < 9; i++) assert_int_not_equal(bt_states_advance(&st, 0, 10 + 16 * i, true), began);
	bt_states_undo(&st, 0);
	assert_int_equal(bt_states_pos(&st, 0), 10);
	assert_int_equal(bt_states_slot(&st, 0), began);
	bt_states_close(&st);
}

static void prompts_leave_checkpoints_and_single_tokens_none(void **state)
{
	(void)state;
	struct bt_states st = open_states(6, 1);
	call(&st, 0, 100);
	uint32_t prompt = bt_states_slot(&st, 0);
	for (int i = 0; i < 30; i++) call(&st, 0, 1);
	call(&st, 0, 50);
	assert_int_equal(bt_states_truncate(&st, 0, 179), 130);
	assert_int_equal(bt_states_truncate(&st, 0, 129), 100);
	assert_int_equal(bt_states_slot(&st, 0), prompt);
	assert_int_equal(bt_states_truncate(&st, 0, 99), 0);
	assert_int_equal(bt_states_slot(&st, 0), BT_NO_SLOT);
	assert_int_equal(st.n_free, 6);
	bt_states_close(&st);
}

static void checkpoints_stay_spread_when_slots_run_out(void **state)
{
	(void)state;
	struct bt_states st = open_states(2 + 4, 1);
	bt_states_begin(&st, 0);
	for (uint32_t i = 1; i <= 64; i++) bt_states_advance(&st, 0, 512 * i, true);
	bt_states_commit(&st, 0);
	const struct bt_state_seq *s = &st.seq[0];
	assert_int_equal(s->n, 6);
	assert_int_equal(s->mark[5].pos, 64 * 512);
	for (uint32_t i = 1; i < s->n; i++) assert_true(s->mark[i].pos - s->mark[i - 1].pos <= 64 * 512 / 2);
	bt_states_close(&st);
}

static void shared_marks_are_freed_by_the_last(void **state)
{
	(void)state;
	struct bt_states st = open_states(8, 3);
	uint32_t shared = call(&st, 0, 40);
	bt_states_share(&st, 0, 1);
	bt_states_share(&st, 1, 2);
	assert_int_equal(st.refs[shared], 3);
	for (uint32_t q = 0; q < 3; q++) assert_int_not_equal(call(&st, q, 1), shared);
	for (uint32_t q = 0; q < 3; q++) {
		assert_int_equal(bt_states_truncate(&st, q, 40), 40);
		assert_int_equal(bt_states_slot(&st, q), shared);
		bt_states_truncate(&st, q, 0);
	}
	assert_int_equal(st.n_free, 8);
	bt_states_close(&st);
}

/* As many sequences as there can be, all stepping at once and all undone: no slot is lost, none is written that is needed. */
static void all_sequences_step_at_once(void **state)
{
	(void)state;
	struct bt_states st = open_states(2 * 5, 5);
	uint32_t began[5];
	for (uint32_t q = 0; q < 5; q++) began[q] = call(&st, q, 30);
	for (uint32_t q = 0; q < 5; q++) bt_states_begin(&st, q);
	for (uint32_t step = 1; step < 4; step++)
		for (uint32_t q = 0; q < 5; q++) {
			uint32_t slot = bt_states_advance(&st, q, 30 + 16 * step, true);
			for (uint32_t r = 0; r < 5; r++) assert_int_not_equal(slot, began[r]);
		}
	for (uint32_t q = 0; q < 5; q++) bt_states_undo(&st, q);
	for (uint32_t q = 0; q < 5; q++) assert_int_equal(bt_states_slot(&st, q), began[q]);
	assert_int_equal(st.n_free, 5);
	bt_states_close(&st);
}

/* Sequences of a step are computed at the same time: no slot that one reads is written by another, however few there are. */
static void a_step_writes_no_slot_that_it_reads(void **state)
{
	(void)state;
	for (uint32_t n_seq = 1; n_seq < 6; n_seq++)
		for (uint32_t more = 0; more < 5; more++) {
			struct bt_states st;
			uint32_t in[6], out[6], base[6], pos[6] = {0};
			assert_int_equal(bt_states_open(&st, 2 * n_seq + more, n_seq, NULL), BATON_OK);
			srand(n_seq * 10 + more);
			for (int call = 0; call < 40; call++) {
				for (uint32_t q = 0; q < n_seq; q++) {
					bt_states_begin(&st, q);
					base[q] = bt_states_slot(&st, q); /* a failure returns to it */
				}
				for (int step = rand() % 6; step >= 0; step--) {
					uint32_t n = 0;
					bt_states_step(&st);
					for (uint32_t q = 0; q < n_seq; q++) {
						if (rand() % 4 == 0) continue;
						in[n] = bt_states_slot(&st, q);
						out[n++] = bt_states_advance(&st, q, pos[q] += 3, rand() % 3 > 0);
					}
					for (uint32_t a = 0; a < n; a++) {
						for (uint32_t b = 0; b < n; b++)
							if (a != b) assert_true(out[a] != in[b] && out[a] != out[b]);
						for (uint32_t q = 0; q < n_seq; q++) assert_true(out[a] != base[q]);
					}
				}
				for (uint32_t q = 0; q < n_seq; q++) bt_states_commit(&st, q);
			}
			bt_states_close(&st);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_step_writes_another_slot_than_it_reads),
		cmocka_unit_test(a_long_call_keeps_what_it_began_with),
		cmocka_unit_test(prompts_leave_checkpoints_and_single_tokens_none),
		cmocka_unit_test(checkpoints_stay_spread_when_slots_run_out),
		cmocka_unit_test(shared_marks_are_freed_by_the_last),
		cmocka_unit_test(all_sequences_step_at_once),
		cmocka_unit_test(a_step_writes_no_slot_that_it_reads),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
