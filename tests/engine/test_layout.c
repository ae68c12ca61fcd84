/* The memory planner, and the check of finished plans. */
#include "engine/model.h"

#include "helpers.h"

/* First and last operation that names value v. */
static void lifetime(const struct bt_plan *p, uint32_t v, uint32_t *first, uint32_t *last)
{
	*first = UINT32_MAX;
	*last = 0;
	for (uint32_t i = 0; i < p->n_ops; i++) {
		bool used = false;
		for (int j = 0; j < BT_MAX_INS; j++) used |= p->op[i].in[j] == v;
		for (int j = 0; j < BT_MAX_MATS; j++) used |= p->op[i].out[j] == v;
		if (!used) continue;
		if (*first == UINT32_MAX) *first = i;
		*last = i;
	}
}

/* No two values that are alive together, or of which one has died only just now, may share memory. */
static void check_layout(const struct bt_plan *p, uint32_t rest)
{
	size_t *offset = calloc(p->n_values, sizeof *offset), size, sum = 0;
	assert_int_equal(bt_plan_layout(p, 33, 5, rest, offset, &size, NULL), BATON_OK);
	for (uint32_t a = 0; a < p->n_values; a++) {
		size_t bytes_a = bt_plan_rows(p, a, 33, 5) * p->value[a].width * 4;
		uint32_t first_a, last_a, first_b, last_b;
		lifetime(p, a, &first_a, &last_a);
		sum += bytes_a;
		assert_true(offset[a] + bytes_a <= size);
		assert_int_equal(offset[a] % 64, 0);
		for (uint32_t b = 0; b < a; b++) {
			size_t bytes_b = bt_plan_rows(p, b, 33, 5) * p->value[b].width * 4;
			lifetime(p, b, &first_b, &last_b);
			if (first_a <= last_b + rest && first_b <= last_a + rest)
				assert_true(offset[a] >= offset[b] + bytes_b || offset[b] >= offset[a] + bytes_a);
		}
	}
	assert_true(size < sum); /* memory is used again */
	free(offset);
}

static void values_alive_together_do_not_overlap(void **state)
{
	(void)state;
	static const char *const names[] = {"llama-plain.Q8_0", "qwen3.Q8_0", "qwen35moe.Q4_0", "nemotron_h.Q8_0"};
	for (size_t m = 0; m < sizeof names / sizeof *names; m++) {
		struct baton_model *model = open_fixture(names[m], false);
		check_layout(&model->plan, 0);
		check_layout(&model->plan, BT_PLAN_REST);
		baton_model_close(&model);
	}
}

static void break_each_operation(const char *name)
{
	struct baton_model *model = open_fixture(name, false);
	struct bt_plan *p = &model->plan;
	struct baton_error err;
	assert_int_equal(bt_plan_check(p, &err), BATON_OK);
	for (uint32_t i = 0; i < p->n_ops; i++) {
		struct bt_op saved = p->op[i];
		if (bt_op_table[saved.kind].n_in) {
			p->op[i].in[0] = p->n_values;
			assert_int_equal(bt_plan_check(p, &err), BATON_ERR_FORMAT);
			p->op[i] = saved;
		}
		if (saved.kind == BT_OP_MATMUL) {
			p->op[i].matmul.n_mats = 0;
			assert_int_equal(bt_plan_check(p, &err), BATON_ERR_FORMAT);
			p->op[i] = saved;
			p->value[saved.out[0]].width++;
			assert_int_equal(bt_plan_check(p, &err), BATON_ERR_FORMAT);
			p->value[saved.out[0]].width--;
		}
		if (saved.kind == BT_OP_DELTA_NET || saved.kind == BT_OP_MAMBA2) {
			p->op[i].recurrence.state = p->n_states;
			assert_int_equal(bt_plan_check(p, &err), BATON_ERR_FORMAT);
			p->op[i] = saved;
			p->op[i].recurrence.n_group *= 2;
			assert_int_equal(bt_plan_check(p, &err), BATON_ERR_FORMAT);
			p->op[i] = saved;
			p->op[i].recurrence.a = NULL;
			assert_int_equal(bt_plan_check(p, &err), BATON_ERR_FORMAT);
			p->op[i] = saved;
		}
		if (saved.kind == BT_OP_CONV || saved.kind == BT_OP_GATE || saved.kind == BT_OP_SPLIT) {
			p->value[saved.in[0]].width++;
			assert_int_equal(bt_plan_check(p, &err), BATON_ERR_FORMAT);
			p->value[saved.in[0]].width--;
		}
	}
	assert_int_equal(bt_plan_check(p, &err), BATON_OK);
	baton_model_close(&model);
}

static void broken_plans_are_refused(void **state)
{
	(void)state;
	break_each_operation("llama-plain.Q8_0");
	break_each_operation("qwen35.Q8_0");
	break_each_operation("nemotron_h_moe.Q5_K_M");
	break_each_operation("nemotron_h_moe-latent.F32");
	break_each_operation("qwen3next.F32");
	break_each_operation("mamba2.F32");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_alive_together_do_not_overlap),
		cmocka_unit_test(broken_plans_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
