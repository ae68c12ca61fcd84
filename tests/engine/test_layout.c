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
		for (int j = 0; j < 2; j++) used |= p->op[i].in[j] == v;
		for (int j = 0; j < BT_MAX_MATS; j++) used |= p->op[i].out[j] == v;
		if (!used) continue;
		if (*first == UINT32_MAX) *first = i;
		*last = i;
	}
}

static void values_alive_together_do_not_overlap(void **state)
{
	(void)state;
	static const char *const names[] = {"llama-plain.Q8_0", "qwen3.Q8_0", "qwen3moe.Q8_0"};
	for (size_t m = 0; m < 3; m++) {
		struct baton_model *model = open_fixture(names[m], false);
		const struct bt_plan *p = &model->plan;
		size_t *offset = calloc(p->n_values, sizeof *offset), size, sum = 0;
		assert_int_equal(bt_plan_layout(p, 33, 5, offset, &size, NULL), BATON_OK);
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
				if (first_a <= last_b && first_b <= last_a)
					assert_true(offset[a] >= offset[b] + bytes_b ||
					            offset[b] >= offset[a] + bytes_a);
			}
		}
		assert_true(size < sum); /* memory is used again */
		free(offset);
		baton_model_close(&model);
	}
}

static void broken_plans_are_refused(void **state)
{
	(void)state;
	struct baton_model *model = open_fixture("llama-plain.Q8_0", false);
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
	}
	assert_int_equal(bt_plan_check(p, &err), BATON_OK);
	baton_model_close(&model);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_alive_together_do_not_overlap),
		cmocka_unit_test(broken_plans_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
