/* The CPU and a GPU that compute parts of a step at the same time: the CPU's run while the GPU's are under way, results are those
 * of the CPU alone however late the GPU is, and after a failure nothing is under way. The GPU is the emulator, behind
 * tests/gpu/faulty_driver.c. */
#include "../engine/helpers.h"
#include "base/mem.h"
#include "engine/session.h"
#include "faulty_driver.h"

#include <math.h>

extern const struct bt_backend bt_backend_cpu;
static struct bt_backend watched_cpu; /* the CPU, whose parts are counted */
const struct bt_backend *const bt_backend_table[] = {&watched_cpu, &bt_backend_faulty, NULL};

static unsigned cpu_parts,
	beside; /* parts that the CPU has computed, and those of them with work under way on the GPU */

static enum baton_status watched_run(struct bt_exec *exec, const struct bt_step *step, struct baton_error *err)
{
	cpu_parts++;
	beside += faulty.under_way > 0;
	return bt_backend_cpu.run(exec, step, err);
}

static const struct setting {
	const char *model;
	uint32_t ncmoe;
	const char *ot;
	unsigned want; /* parts of the CPU in a step that are computed beside the GPU */
} settings[] = {
	/* Three layers whose routed experts are on the CPU and whose shared one is not. */
	{"qwen35moe.Q4_0", 99, NULL, 3},
	/* The other way round: its first product needs less than the others, so that they are two parts a layer. */
	{"qwen35moe.Q4_0", 0, "ffn_(gate|up|down)_shexp=CPU", 6},
	/* The choice of experts on the CPU as well. */
	{"qwen35moe.Q4_0", 0, "shexp=CPU", 3},
	{"nemotron_h_moe.Q5_K_M", 99, NULL, 1},
	/* Projected to fewer values before. */
	{"nemotron_h_moe-latent.F32", 99, NULL, 2},
	/* The sum and what follows it on the CPU, which is two parts then: the second waits. */
	{"qwen35moe.Q4_0", 99, "blk\\.1\\.(attn|ssm)=CPU", 3},
	/* Nothing to do at the same time. */
	{"qwen2.Q4_K_M", 0, "blk\\.0=CPU", 0},
};
#define N_SETTINGS (sizeof settings / sizeof *settings)
#define LENGTH     4

static struct baton_session_params params_for(const struct setting *c)
{
	struct baton_session_params p = baton_session_params_default();
	p.device = c ? "GPU0" : "CPU";
	p.n_gpu_layers = 99;
	p.n_cpu_moe = c ? c->ncmoe : 0;
	p.override_tensor = c ? c->ot : NULL;
	p.n_ctx = 128;
	p.n_ubatch = 3;
	p.n_threads = 1;
	p.exact = true; /* rounding may choose other experts */
	return p;
}

/* Steps of 3 tokens and of 1. */
static enum baton_status eval_some(struct baton_session *s, struct baton_error *err)
{
	struct baton_input in[LENGTH];
	for (size_t i = 0; i < LENGTH; i++)
		in[i] = (struct baton_input){.token = prompt_token(0, i), .logits = i % 3 == 0};
	return baton_eval(s, in, LENGTH, err);
}

static float *logits_of(struct baton_session *s, uint32_t n)
{
	float *all = calloc((size_t)LENGTH * n, sizeof *all);
	for (size_t i = 0; i < LENGTH; i += 3) memcpy(all + i * n, baton_logits(s, i), n * sizeof *all);
	return all;
}

static void computed_at_the_same_time(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_SETTINGS; i++) {
		const struct setting *c = &settings[i];
		struct baton_model *m = open_fixture(c->model, false);
		uint32_t n = m->plan.n_vocab;
		struct baton_session_params p = params_for(NULL);
		struct baton_session *s = open_session(m, &p);
		assert_int_equal(eval_some(s, NULL), BATON_OK);
		float *want = logits_of(s, n), *got[2];
		baton_session_close(&s);
		p = params_for(c);
		for (int late = 0; late < 2; late++) {
			faulty.late = late;
			s = open_session(m, &p);
			cpu_parts = beside = 0;
			for (int again = 0; again <= late; again++) {
				assert_int_equal(baton_seq_truncate(s, 0, 0, NULL), BATON_OK);
				assert_int_equal(eval_some(s, NULL), BATON_OK);
				assert_int_equal(faulty.under_way, 0);
			}
			assert_true(cpu_parts > 0);
			if (beside != (late ? 2 * 2 * c->want : 0))
				fail_msg("setting %zu: %u of %u parts beside the GPU", i, beside, cpu_parts);
			assert_int_equal(s->devices.place.n_beside, c->want);
			got[late] = logits_of(s, n);
			baton_session_close(&s);
		}
		assert_memory_equal(got[0], got[1], LENGTH * n * sizeof(float));
		for (size_t k = 0; k < (size_t)LENGTH * n; k++)
			if (!(fabsf(got[0][k] - want[k]) <= 1e-3f))
				fail_msg("setting %zu: logit %zu is %g, not %g", i, k, (double)got[0][k],
				         (double)want[k]);
		free(got[0]);
		free(got[1]);
		free(want);
		baton_model_close(&m);
	}
	assert_int_equal(faulty.harm, 0);
}

static void nothing_is_left_under_way(void **state)
{
	(void)state;
	static const enum baton_status with[] = {BATON_ERR_NOMEM, BATON_ERR_DEVICE};
	const struct setting *c = &settings[4]; /* the smallest */
	struct baton_model *m = open_fixture(c->model, false);
	struct baton_session_params p = params_for(c);
	faulty.late = true;
	for (unsigned w = 0; w < 2; w++) {
		struct baton_session *s = NULL;
		for (unsigned n = 1;; n++) {
			struct baton_error err = {0};
			faulty_arm(0, BATON_OK);
			if (!s) s = open_session(m, &p);
			faulty_arm(n, with[w]);
			enum baton_status status = eval_some(s, &err);
			assert_int_equal(faulty.under_way, 0);
			if (!status) { /* past the last call */
				assert_true(n > 20);
				break;
			}
			if (status != with[w] || !strstr(err.text, "planted"))
				fail_msg("call %u: status %d, '%s'", n, status, err.text);
			assert_int_equal(baton_seq_length(s, 0), 0);
			/* What was only short of memory goes on. The next try has a session without recordings again. */
			if (with[w] == BATON_ERR_NOMEM) {
				assert_int_equal(eval_some(s, NULL), BATON_OK);
				assert_int_equal(faulty.under_way, 0);
			} else {
				assert_int_equal(eval_some(s, NULL), BATON_ERR_DEVICE);
			}
			baton_session_close(&s);
			assert_int_equal(faulty.harm, 0);
		}
		baton_session_close(&s);
	}
	baton_model_close(&m);
	assert_int_equal(faulty.harm, 0);
	assert_int_equal(faulty.devices, 0);
	assert_int_equal(faulty.blocks, 0);
	assert_int_equal(faulty.recordings, 0);
}

int main(void)
{
	watched_cpu = bt_backend_cpu;
	watched_cpu.run = watched_run;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(computed_at_the_same_time),
		cmocka_unit_test(nothing_is_left_under_way),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
