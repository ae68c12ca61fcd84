/* A Vulkan device that does not answer in time: a step fails with a sentence, everything can be closed, the process goes on, and
 * so does the next session, on the CPU and on the device. Exit status 77 where there is no Vulkan device. */
#include "../engine/helpers.h"
#include "base/mem.h"
#include "engine/session.h"

static struct baton_session_params some_params(const char *device)
{
	struct baton_session_params p = baton_session_params_default();
	p.device = device;
	p.n_ctx = 1024;
	return p;
}

static enum baton_status eval_many(struct baton_session *s, struct baton_error *err)
{
	struct baton_input in[512];
	for (size_t i = 0; i < 512; i++) in[i] = (struct baton_input){.token = prompt_token(0, i), .logits = i == 511};
	return baton_eval(s, in, 512, err);
}

static void no_answer_in_time(void **state)
{
	(void)state;
	struct bt_mem_stats before, after;
	bt_mem_get_stats(&before);
	struct baton_model *m = open_fixture("qwen2.Q4_0", false);
	struct baton_session_params p = some_params("Vulkan0"), on_cpu = some_params("CPU");
	unsigned failed = 0, in_a_step = 0;
	/* Shorter and shorter, until also opening takes too long. */
	for (double timeout = 0.02; timeout > 1e-7; timeout /= 4) {
		struct baton_error err = {0};
		struct baton_session *s;
		p.gpu_timeout = timeout;
		enum baton_status status = baton_session_open(m, &p, &s, &err);
		if (!status) {
			status = eval_many(s, &err);
			in_a_step += status != BATON_OK;
			if (status) assert_int_equal(baton_seq_length(s, 0), 0);
			if (status) assert_int_equal(eval_many(s, NULL), BATON_ERR_DEVICE); /* it stays lost */
		}
		failed += status != BATON_OK;
		if (status) assert_int_equal(status, BATON_ERR_DEVICE);
		if (status && !strstr(err.text, "no answer in time")) fail_msg("%s", err.text);
		baton_session_close(&s);
		s = open_session(m, &on_cpu);
		assert_int_equal(eval_many(s, NULL), BATON_OK);
		baton_session_close(&s);
	}
	assert_true(failed > 3 && in_a_step > 0);
	p.gpu_timeout = 0;
	struct baton_session *s = open_session(m, &p);
	assert_int_equal(eval_many(s, NULL), BATON_OK);
	baton_session_close(&s);
	baton_model_close(&m);
	bt_mem_get_stats(&after);
	assert_int_equal(before.blocks, after.blocks);
}

int main(void)
{
	const struct bt_backend *b;
	uint32_t index;
	if (bt_backend_find("Vulkan0", &b, &index, NULL)) {
		printf("skipped: no Vulkan device\n");
		return 77;
	}
	const struct CMUnitTest tests[] = {cmocka_unit_test(no_answer_in_time)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
