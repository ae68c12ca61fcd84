/* Commands between two barriers may run in any order, or at once: logits have the same bits when they run backwards. The GPU is
 * the emulator, which runs one command after the other (tests/gpu/faulty_driver.c). */
#include "../engine/helpers.h"
#include "engine/model.h"
#include "faulty_driver.h"

extern const struct bt_backend bt_backend_cpu, bt_backend_null;
const struct bt_backend *const bt_backend_table[] = {&bt_backend_cpu, &bt_backend_faulty, &bt_backend_null, NULL};

#define PROMPT 40
#define TOKENS 44

/* Logits of a prompt's last token and of those generated behind it: [TOKENS - PROMPT + 1][n_vocab], the caller's. */
static float *logits_of(struct baton_model *m, bool backwards)
{
	struct baton_session_params p = baton_session_params_default();
	p.device = "GPU0";
	p.n_ctx = 64;
	p.n_ubatch = PROMPT;
	p.n_threads = 1;
	faulty.backwards = backwards;
	struct baton_session *s = open_session(m, &p);
	size_t row = m->plan.n_vocab * sizeof(float);
	char *out = malloc(row * (TOKENS - PROMPT + 1)), *to = out;
	for (size_t done = 0; done < TOKENS;) {
		struct baton_input in[PROMPT];
		size_t n = done ? 1 : PROMPT;
		for (size_t i = 0; i < n; i++)
			in[i] = (struct baton_input){.token = prompt_token(0, done + i), .logits = i + 1 == n};
		assert_int_equal(baton_eval(s, in, n, NULL), BATON_OK);
		memcpy(to, baton_logits(s, n - 1), row);
		done += n;
		to += row;
	}
	baton_session_close(&s);
	return (float *)(void *)out;
}

static void any_order_has_the_same_bits(void **state)
{
	(void)state;
	static const char *const names[] = {"qwen2.Q4_K_M", "qwen3.Q8_0", "qwen35moe.Q4_0", "nemotron_h_moe.Q5_K_M"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		struct baton_model *m = open_fixture(names[i], false);
		faulty.beside = 0;
		float *forwards = logits_of(m, false);
		assert_true(faulty.beside > m->plan.n_layer); /* there is something to turn */
		float *backwards = logits_of(m, true);
		if (memcmp(forwards, backwards, (TOKENS - PROMPT + 1) * m->plan.n_vocab * sizeof(float)))
			fail_msg("%s: commands between two barriers depend on each other", names[i]);
		free(forwards);
		free(backwards);
		baton_model_close(&m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(any_order_has_the_same_bits)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
