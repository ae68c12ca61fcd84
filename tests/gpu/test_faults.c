/* Sessions on a GPU that fails: every call to the driver in turn, while a session opens and while it computes. And weights
 * that sessions share. The GPU is the emulator, behind tests/gpu/faulty_driver.c. */
#include "../engine/helpers.h"
#include "backend/gpu/exec.h"
#include "base/mem.h"
#include "engine/session.h"
#include "faulty_driver.h"

#include <math.h>

extern const struct bt_backend bt_backend_cpu, bt_backend_null;
const struct bt_backend *const bt_backend_table[] = {&bt_backend_cpu, &bt_backend_faulty, &bt_backend_null, NULL};

static struct baton_session_params some_params(const char *device)
{
	struct baton_session_params p = baton_session_params_default();
	p.device = device;
	p.n_ctx = 128;
	p.n_ubatch = 4;
	p.n_threads = 1;
	return p;
}

static enum baton_status eval_some(struct baton_session *s, struct baton_error *err)
{
	struct baton_input in[5];
	for (size_t i = 0; i < 5; i++) in[i] = (struct baton_input){.token = prompt_token(0, i), .logits = i == 4};
	return baton_eval(s, in, 5, err);
}

/* The CPU's logits, and whether a session has them. */
struct reference {
	float *logits;
	uint32_t n;
};

static struct reference reference_of(struct baton_model *m, bool exact)
{
	struct reference r = {.n = m->plan.n_vocab};
	struct baton_session_params p = some_params("CPU");
	p.exact = exact;
	struct baton_session *s = open_session(m, &p);
	assert_int_equal(eval_some(s, NULL), BATON_OK);
	r.logits = malloc(r.n * sizeof *r.logits);
	memcpy(r.logits, baton_logits(s, 4), r.n * sizeof *r.logits);
	baton_session_close(&s);
	return r;
}

static void is_right(const struct reference *r, struct baton_session *s)
{
	const float *got = baton_logits(s, 4);
	assert_non_null(got);
	for (uint32_t i = 0; i < r->n; i++)
		if (!(fabsf(got[i] - r->logits[i]) <= 0.02f))
			fail_msg("logit %u is %g, not %g", i, (double)got[i], (double)r->logits[i]);
}

static void nothing_lives(void)
{
	assert_int_equal(faulty.devices, 0);
	assert_int_equal(faulty.blocks, 0);
	assert_int_equal(faulty.recordings, 0);
	assert_int_equal(faulty.memory, 0);
}

static unsigned stride = 7; /* every 7th call is tried; with the argument "all" every one */

static void opening_may_fail_anywhere(void **state)
{
	(void)state;
	struct bt_mem_stats before, after;
	bt_mem_get_stats(&before);
	struct baton_model *m = open_fixture("llama-plain.Q8_0", false);
	struct reference r = reference_of(m, false);
	struct baton_session_params p = some_params("GPU0");
	struct baton_session *s = NULL;
	faulty_arm(0, BATON_OK);
	s = open_session(m, &p);
	unsigned total = faulty.calls;
	assert_true(total > 50);
	baton_session_close(&s);
	baton_model_close(&m);
	static const enum baton_status with[] = {BATON_ERR_NOMEM, BATON_ERR_DEVICE};
	for (unsigned w = 0; w < 2; w++) {
		for (unsigned n = 1; n <= total; n += n < 8 ? 1 : stride) {
			struct baton_error err = {0};
			m = open_fixture("llama-plain.Q8_0", false);
			faulty_arm(n, with[w]);
			enum baton_status status = baton_session_open(m, &p, &s, &err);
			if (status != with[w] || !strstr(err.text, "planted"))
				fail_msg("call %u of %u: status %d, '%s'", n, total, status, err.text);
			assert_null(s);
			/* The next one finds no harm, whatever of the device is left. */
			faulty_arm(0, BATON_OK);
			if (n % 5 == 0 || n == 3) {
				s = open_session(m, &p);
				assert_int_equal(eval_some(s, NULL), BATON_OK);
				is_right(&r, s);
				baton_session_close(&s);
			}
			baton_model_close(&m);
			nothing_lives();
		}
	}
	free(r.logits);
	bt_mem_get_stats(&after);
	assert_int_equal(before.blocks, after.blocks);
}

static void computing_may_fail_anywhere(void **state)
{
	(void)state;
	struct baton_model *m = open_fixture("llama-plain.Q8_0", false);
	struct reference r = reference_of(m, false);
	static const enum baton_status with[] = {BATON_ERR_NOMEM, BATON_ERR_DEVICE};
	struct baton_session_params p = some_params("GPU0"), on_cpu = some_params("CPU");
	p.n_gpu_layers = 1; /* so that values cross, too */
	for (unsigned w = 0; w < 2; w++) {
		for (unsigned n = 1;; n++) {
			struct baton_error err = {0};
			faulty_arm(0, BATON_OK);
			struct baton_session *s = open_session(m, &p);
			faulty_arm(n, with[w]);
			enum baton_status status = eval_some(s, &err);
			unsigned calls = faulty.calls;
			if (!status) { /* past the last call */
				is_right(&r, s);
				baton_session_close(&s);
				assert_true(n == calls + 1 && n > 6);
				break;
			}
			if (status != with[w] || !strstr(err.text, "planted"))
				fail_msg("call %u: status %d, '%s'", n, status, err.text);
			assert_int_equal(baton_seq_length(s, 0), 0);
			assert_null(baton_logits(s, 4));
			/* What was only short of memory goes on; a lost device stays lost, with a sentence. */
			memset(&err, 0, sizeof err);
			status = eval_some(s, &err);
			if (with[w] == BATON_ERR_NOMEM) {
				assert_int_equal(status, BATON_OK);
				is_right(&r, s);
			} else {
				assert_int_equal(status, BATON_ERR_DEVICE);
				assert_non_null(strstr(err.text, "lost"));
			}
			struct baton_session *other = open_session(m, &on_cpu);
			assert_int_equal(eval_some(other, NULL), BATON_OK);
			is_right(&r, other);
			baton_session_close(&other);
			baton_session_close(&s);
		}
	}
	baton_model_close(&m);
	nothing_lives();
	free(r.logits);
}

/* A second session finds the weights on the device; they go with the model, or when others need the room. */
static void sessions_share_weights(void **state)
{
	(void)state;
	struct baton_model *m = open_fixture("llama-plain.Q8_0", false);
	struct reference r = reference_of(m, false);
	struct baton_session_params p = some_params("GPU0");
	struct reference exact = reference_of(m, true);
	uint64_t weights = faulty.weights;
	unsigned opened = faulty.opened;
	struct baton_session *a = open_session(m, &p), *b;
	uint64_t once = faulty.weights - weights;
	assert_true(once > 100000);
	b = open_session(m, &p);
	assert_int_equal(eval_some(a, NULL), BATON_OK);
	assert_int_equal(eval_some(b, NULL), BATON_OK);
	is_right(&r, a);
	is_right(&r, b);
	baton_session_close(&a);
	baton_session_close(&b);
	assert_int_equal(faulty.devices, 1);
	assert_int_equal(bt_store_held(m->store, &bt_backend_faulty, 0), once);
	a = open_session(m, &p);
	assert_int_equal(eval_some(a, NULL), BATON_OK);
	is_right(&r, a);
	baton_session_close(&a);
	assert_int_equal(faulty.weights - weights, once);
	assert_int_equal(faulty.opened - opened, 1);
	/* Floats instead, and the card has no room for both. */
	uint64_t used = faulty.memory;
	p.exact = true;
	a = open_session(m, &p);
	uint64_t most = faulty.memory;
	baton_session_close(&a);
	assert_true(most > used + once);
	baton_model_close(&m);
	nothing_lives();
	m = open_fixture("llama-plain.Q8_0", false);
	p.exact = false;
	a = open_session(m, &p);
	faulty.limit = most - 1;
	p.exact = true;
	assert_int_equal(baton_session_open(m, &p, &b, NULL), BATON_ERR_NOMEM); /* both are in use */
	assert_int_equal(eval_some(a, NULL), BATON_OK);
	is_right(&r, a);
	baton_session_close(&a);
	b = open_session(m, &p); /* those that nobody uses have gone */
	assert_int_equal(eval_some(b, NULL), BATON_OK);
	is_right(&exact, b);
	baton_session_close(&b);
	free(exact.logits);
	baton_model_close(&m);
	nothing_lives();
	free(r.logits);
}

struct worker {
	struct baton_model *m;
	float *logits;
	bool failed;
};

/* Open, compute, close, three times. */
static void *work(void *arg)
{
	struct worker *w = arg;
	struct baton_session_params p = some_params("GPU0");
	for (int i = 0; i < 3 && !w->failed; i++) {
		struct baton_session *s;
		w->failed = baton_session_open(w->m, &p, &s, NULL) || eval_some(s, NULL);
		if (!w->failed) memcpy(w->logits, baton_logits(s, 4), w->m->plan.n_vocab * sizeof *w->logits);
		baton_session_close(&s);
	}
	return NULL;
}

/* Threads with sessions of their own on one device, which is opened once. */
static void sessions_of_several_threads(void **state)
{
	(void)state;
	unsigned opened = faulty.opened;
	struct baton_model *m = open_fixture("llama-plain.Q8_0", false);
	pthread_t thread[4];
	struct worker w[4];
	for (int i = 0; i < 4; i++) {
		w[i] = (struct worker){.m = m, .logits = malloc(m->plan.n_vocab * sizeof(float))};
		assert_int_equal(pthread_create(&thread[i], NULL, work, &w[i]), 0);
	}
	for (int i = 0; i < 4; i++) pthread_join(thread[i], NULL);
	for (int i = 0; i < 4; i++) {
		assert_false(w[i].failed);
		assert_memory_equal(w[0].logits, w[i].logits, m->plan.n_vocab * sizeof(float));
	}
	for (int i = 0; i < 4; i++) free(w[i].logits);
	assert_int_equal(faulty.opened - opened, 1);
	baton_model_close(&m);
	nothing_lives();
}

/* Steps of all sizes, of one sequence and of several, find their kernels ready: opening has seen to it. */
static void no_step_waits_for_a_kernel(void **state)
{
	(void)state;
	static const char *const models[] = {"llama-plain.Q8_0", "mamba2.F32"};
	for (int i = 0; i < 2; i++) {
		struct baton_model *m = open_fixture(models[i], false);
		struct baton_session_params p = some_params("GPU0");
		struct baton_input in[40];
		p.n_ubatch = 40;
		p.n_seq = 8;
		p.n_ctx = 1024;
		unsigned before = faulty.kernels;
		struct baton_session *s = open_session(m, &p);
		unsigned ready = faulty.kernels;
		assert_true(ready > before + 5);
		/* The first ones fill a context that is read in splits. */
		for (uint32_t j = 0; j < 40; j++) in[j] = (struct baton_input){.token = 7};
		for (int j = 0; j < 4; j++) eval(s, in, 40);
		for (uint32_t n = 1; n <= 40; n += n < 6 ? 1 : 11) {
			for (uint32_t j = 0; j < n; j++) in[j] = (struct baton_input){.token = 7, .logits = j + 1 == n};
			eval(s, in, n);
			for (uint32_t j = 0; j < n; j++) in[j].seq = j % 8;
			eval(s, in, n);
		}
		assert_int_equal(faulty.kernels, ready);
		baton_session_close(&s);
		baton_model_close(&m);
	}
	nothing_lives();
}

struct watched {
	uint64_t last[2], total[2];
	unsigned calls, stop_at;
};

static bool watch(void *user, enum baton_stage stage, uint64_t done, uint64_t total)
{
	struct watched *w = user;
	assert_true(done >= w->last[stage] && done <= total);
	w->last[stage] = done;
	w->total[stage] = total;
	return ++w->calls != w->stop_at;
}

static void progress_is_told_and_may_stop(void **state)
{
	(void)state;
	struct baton_session_params p = some_params("GPU0");
	struct watched w = {.calls = 0};
	p.progress = watch;
	p.user = &w;
	struct baton_model *m = open_fixture("llama-plain.Q8_0", false);
	struct baton_session *s = open_session(m, &p);
	for (int i = 0; i < 2; i++) assert_true(w.total[i] && w.last[i] == w.total[i]);
	unsigned calls = w.calls;
	baton_session_close(&s);
	baton_model_close(&m);
	for (unsigned n = 1; n <= calls; n++) {
		struct baton_error err = {0};
		m = open_fixture("llama-plain.Q8_0", false);
		w = (struct watched){.stop_at = n};
		assert_int_equal(baton_session_open(m, &p, &s, &err), BATON_ERR_CANCELLED);
		assert_null(s);
		assert_int_equal(w.calls, n);
		baton_model_close(&m);
		nothing_lives();
	}
	/* Only for its sizes: no weights. */
	uint64_t weights = faulty.weights;
	m = open_fixture("llama-plain.Q8_0", false);
	p = some_params("GPU0");
	p.measure = true;
	s = open_session(m, &p);
	struct baton_session_info info;
	baton_session_get_info(s, &info);
	assert_true(info.scratch_bytes > 1000);
	assert_int_equal(eval_some(s, NULL), BATON_ERR_ARG);
	assert_int_equal(faulty.weights, weights);
	baton_session_close(&s);
	baton_model_close(&m);
	nothing_lives();
}

static int setup(void **state)
{
	(void)state;
	faulty.limit = 0;
	faulty_arm(0, BATON_OK);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "all")) stride = 1;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(sessions_share_weights, setup),
		cmocka_unit_test_setup(sessions_of_several_threads, setup),
		cmocka_unit_test_setup(no_step_waits_for_a_kernel, setup),
		cmocka_unit_test_setup(progress_is_told_and_may_stop, setup),
		cmocka_unit_test_setup(computing_may_fail_anywhere, setup),
		cmocka_unit_test_setup(opening_may_fail_anywhere, setup),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
