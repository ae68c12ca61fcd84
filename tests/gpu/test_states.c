/* Models with recurrent states on the first Vulkan device: everything is computed there, whatever a session does gives what
 * the CPU gives, and a step of one token is recorded once.
 *
 * Sessions are exact (float32 throughout), so only the order of sums differs.
 */
#include "engine/session.h"

#include "backend/gpu/exec.h"
#include "tests/engine/helpers.h"

#include <math.h>

static const char *const models[] = {"qwen35.Q8_0",           "qwen35moe.Q4_0", "nemotron_h.Q8_0",
                                     "nemotron_h_moe.Q5_K_M", "mamba2.F32",     "qwen3next.F32"};
#define N_MODELS (sizeof models / sizeof *models)
#define CLOSE    2e-4f /* golden.py's measure for exact logits */

static struct baton_session_params params_for(const char *device)
{
	struct baton_session_params p = baton_session_params_default();
	p.n_seq = 3;
	p.n_ctx = 512;
	p.n_ubatch = 40;
	p.n_checkpoints = 2;
	p.n_gpu_layers = 99;
	p.exact = true;
	p.device = device;
	return p;
}

/* One session on the CPU and one on the GPU that do the same. */
struct pair {
	struct baton_model *m;
	struct baton_session *s[2];
	uint32_t n_vocab;
	float worst;
};

static struct pair open_pair(const char *name)
{
	static const char *const device[2] = {"CPU", "Vulkan0"};
	struct pair p = {.m = open_fixture(name, false)};
	p.n_vocab = p.m->plan.n_vocab;
	for (int i = 0; i < 2; i++) {
		struct baton_session_params params = params_for(device[i]);
		p.s[i] = open_session(p.m, &params);
	}
	return p;
}

static void close_pair(struct pair *p)
{
	for (int i = 0; i < 2; i++) baton_session_close(&p->s[i]);
	baton_model_close(&p->m);
}

static void both_eval(struct pair *p, const struct baton_input *in, size_t n)
{
	for (int i = 0; i < 2; i++) eval(p->s[i], in, n);
	for (size_t k = 0; k < n; k++) {
		if (!in[k].logits) continue;
		const float *want = baton_logits(p->s[0], k), *got = baton_logits(p->s[1], k);
		for (uint32_t v = 0; v < p->n_vocab; v++) {
			float d = fabsf(want[v] - got[v]);
			p->worst = fmaxf(p->worst, isnan(d) ? INFINITY : d);
		}
	}
	if (!(p->worst <= CLOSE)) fail_msg("logits are %g from the CPU's", (double)p->worst);
}

static void both_prompt(struct pair *p, unsigned prompt, uint32_t seq, size_t n)
{
	struct baton_input in[200];
	size_t from = baton_seq_length(p->s[0], seq);
	for (size_t i = 0; i < n; i++)
		in[i] = (struct baton_input){prompt_token(prompt, from + i), seq, i % 3 == 0 || i + 1 == n};
	both_eval(p, in, n);
}

static void both_truncate(struct pair *p, uint32_t seq, uint32_t pos)
{
	for (int i = 0; i < 2; i++) assert_int_equal(baton_seq_truncate(p->s[i], seq, pos, NULL), BATON_OK);
}

static void both_copy(struct pair *p, uint32_t from, uint32_t to)
{
	for (int i = 0; i < 2; i++) assert_int_equal(baton_seq_copy(p->s[i], from, to, NULL), BATON_OK);
}

static void sessions_do_what_they_do_on_the_cpu(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_MODELS; i++) {
		struct pair p = open_pair(models[i]);
		both_prompt(&p, 0, 0, 100); /* three steps, the last of 20 */
		for (int k = 0; k < 4; k++) both_prompt(&p, 1, 0, 1);
		both_copy(&p, 0, 1);
		both_prompt(&p, 2, 1, 30);
		both_prompt(&p, 3, 0, 5);
		both_truncate(&p, 1, 120); /* between checkpoints: something is computed again */
		both_prompt(&p, 4, 1, 2);
		both_truncate(&p, 0, 100);
		both_prompt(&p, 5, 0, 17);
		/* Sequences of many lengths in one step, and one token of each. */
		struct baton_input in[90];
		for (uint32_t k = 0; k < 90; k++)
			in[k] = (struct baton_input){prompt_token(6, k), k < 3 ? 2 : k % 7 ? 0 : 1, k % 5 == 0};
		both_eval(&p, in, 90);
		for (uint32_t k = 0; k < 3; k++) in[k] = (struct baton_input){prompt_token(7, k), k, true};
		both_eval(&p, in, 3);
		both_truncate(&p, 2, 0);
		both_prompt(&p, 8, 2, 33);
		print_message("%s: logits within %.1e of the CPU's\n", models[i], (double)p.worst);
		close_pair(&p);
	}
}

/* Prompts, single tokens, copies and cuts by chance. */
static void any_history_does_what_it_does_on_the_cpu(void **state)
{
	(void)state;
	static const char *const some[] = {"qwen35.Q8_0", "nemotron_h_moe.Q5_K_M", "mamba2.F32"};
	for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
		struct pair p = open_pair(some[i]);
		srand(11 + (unsigned)i);
		for (unsigned round = 0; round < 30; round++) {
			uint32_t q = (uint32_t)rand() % 3, n = baton_seq_length(p.s[0], q);
			int what = rand() % 8;
			if (what == 0) both_truncate(&p, q, (uint32_t)rand() % (n + 1));
			else if (what == 1) both_copy(&p, q, (uint32_t)rand() % 3);
			else if (n < 300) both_prompt(&p, round, q, what < 5 ? 1 : 1 + (size_t)rand() % 50);
		}
		close_pair(&p);
	}
}

static void nothing_falls_to_the_cpu(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_MODELS; i++) {
		struct pair p = open_pair(models[i]);
		struct baton_session_info info;
		baton_session_get_info(p.s[1], &info);
		assert_string_equal(info.device, "Vulkan0");
		for (uint32_t k = 0; k < p.m->plan.n_ops; k++)
			if (p.m->plan.op[k].kind != BT_OP_EMBED) assert_int_equal(p.s[1]->devices.place.op[k], 1);
		close_pair(&p);
	}
}

/* Recordings for steps of one token. */
static uint32_t recordings(const struct bt_exec *e, uint32_t n_seqs)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < e->n_recorded; i++) {
		const struct bt_gpu_recorded *r = &e->recorded[i];
		n += r->rec && r->shape.n_tokens == n_seqs && r->shape.n_seqs == n_seqs;
	}
	return n;
}

static void a_step_of_one_token_is_recorded_once(void **state)
{
	(void)state;
	struct pair p = open_pair("qwen35.Q8_0");
	const struct bt_exec *e = p.s[1]->devices.device[1].exec;
	both_prompt(&p, 0, 0, 20);
	both_prompt(&p, 0, 1, 9);
	uint32_t slots = 0; /* which slots were written: they change from step to step */
	for (uint32_t k = 0; k < 6; k++) {
		both_prompt(&p, 1, k % 2, 1);
		slots |= 1u << bt_states_slot(&p.s[1]->states, k % 2);
		if (k == 3) both_truncate(&p, 0, 20);
	}
	assert_true(__builtin_popcount(slots) > 2);
	assert_int_equal(recordings(e, 1), 1);
	struct baton_input in[2];
	for (uint32_t k = 0; k < 3; k++) {
		for (uint32_t q = 0; q < 2; q++) in[q] = (struct baton_input){prompt_token(k, q), q, true};
		both_eval(&p, in, 2);
	}
	assert_int_equal(recordings(e, 2), 1);
	close_pair(&p);
}

int main(void)
{
	const struct bt_backend *b;
	uint32_t index;
	struct baton_error err;
	if (bt_backend_find("Vulkan0", &b, &index, &err)) {
		printf("skipped: %s\n", err.text);
		return 77;
	}
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sessions_do_what_they_do_on_the_cpu),
		cmocka_unit_test(any_history_does_what_it_does_on_the_cpu),
		cmocka_unit_test(nothing_falls_to_the_cpu),
		cmocka_unit_test(a_step_of_one_token_is_recorded_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
