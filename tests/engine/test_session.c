/* Sessions: results do not depend on how the work was cut, sequences share and part, failures change nothing. */
#include "helpers.h"

#define N 150 /* tokens of a prompt: several pages of the cache */

static const char *const models[] = {"llama-plain.Q8_0", "qwen2.Q4_K_M", "qwen35moe.Q4_0", "nemotron_h_moe.Q5_K_M",
                                     "mamba2.F32"};
#define N_MODELS (sizeof models / sizeof *models)
#define EXPERTS  2 /* the first with experts */

/* Logits of the last tokens of prompt 0, computed in one go by one thread: what all else is compared with. */
static float *reference(struct baton_model *m, const char *level, size_t *bytes)
{
	struct baton_model_info info;
	baton_model_get_info(m, &info);
	struct baton_session_params p = baton_session_params_default();
	p.n_threads = 1;
	p.cpu_level = level;
	struct baton_session *s = open_session(m, &p);
	eval_prompt(s, 0, 0, 0, N);
	*bytes = info.n_vocab * sizeof(float);
	float *out = malloc(N * *bytes);
	for (size_t i = 0; i < N; i++) memcpy(out + i * info.n_vocab, baton_logits(s, i), *bytes);
	baton_session_close(&s);
	return out;
}

static void check_row(struct baton_session *s, size_t input, const float *want, size_t row, size_t bytes)
{
	assert_non_null(baton_logits(s, input));
	assert_memory_equal(baton_logits(s, input), (const char *)want + row * bytes, bytes);
}

static void same_bits_however_cut(struct baton_model *m, const char *level)
{
	static const struct {
		uint32_t threads, ubatch;
		size_t chunk;
	} cut[] = {{1, 1, 150}, {2, 7, 150}, {3, 64, 150}, {5, 512, 33}, {2, 512, 1}, {4, 100, 150}};
	size_t bytes;
	float *want = reference(m, level, &bytes);
	for (size_t c = 0; c < sizeof cut / sizeof *cut; c++) {
		struct baton_session_params p = baton_session_params_default();
		p.n_threads = cut[c].threads;
		p.n_ubatch = cut[c].ubatch;
		p.cpu_level = level;
		struct baton_session *s = open_session(m, &p);
		for (size_t at = 0; at < N; at += cut[c].chunk) {
			size_t n = N - at < cut[c].chunk ? N - at : cut[c].chunk;
			eval_prompt(s, 0, 0, at, n);
			for (size_t i = 0; i < n; i++) check_row(s, i, want, at + i, bytes);
		}
		baton_session_close(&s);
	}
	free(want);
}

static void results_do_not_depend_on_threads_or_batches(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_MODELS; i++) {
		struct baton_model *m = open_fixture(models[i], false);
		same_bits_however_cut(m, NULL);
		if (!i) same_bits_however_cut(m, "c"); /* slow: one model will do */
		baton_model_close(&m);
	}
}

/* Behind a long context threads share the splits of attention (src/backend/cpu/exec_attn.c): one sequence, then two at once. */
static void a_long_context_may_be_shared_by_threads(void **state)
{
	(void)state;
#if !defined __x86_64__
	skip(); /* plain C has no splits to share, and takes minutes */
#endif
	enum { DEPTH = 1300, MORE = 3 };
	static const char *const deep[] = {"llama-plain.Q8_0", "qwen2.Q4_K_M", "qwen35.Q8_0"};
	for (size_t i = 0; i < sizeof deep / sizeof *deep; i++) {
		struct baton_model *m = open_fixture(deep[i], false);
		struct baton_model_info info;
		baton_model_get_info(m, &info);
		size_t bytes = info.n_vocab * sizeof(float);
		float *want = malloc(MORE * bytes);
		for (unsigned threads = 1; threads <= 3; threads++) {
			struct baton_session_params p = baton_session_params_default();
			p.n_threads = threads;
			p.n_ctx = 3072;
			p.n_seq = 2;
			struct baton_session *s = open_session(m, &p);
			for (uint32_t seq = 0; seq < 2; seq++)
				for (size_t at = 0; at < DEPTH + seq * 100; at += 100) eval_prompt(s, 1, seq, at, 100);
			/* The other sequence goes on 100 tokens further. */
			for (size_t k = 0; k < MORE; k++) {
				struct baton_input in[] = {
					{.token = prompt_token(1, DEPTH + k), .seq = 0, .logits = true},
					{.token = prompt_token(1, DEPTH + 100 + k), .seq = 1, .logits = true}};
				eval(s, in, k == 1 ? 2 : 1);
				if (threads == 1) memcpy(want + k * info.n_vocab, baton_logits(s, 0), bytes);
				else assert_memory_equal(baton_logits(s, 0), want + k * info.n_vocab, bytes);
			}
			baton_session_close(&s);
		}
		free(want);
		baton_model_close(&m);
	}
}

static void results_do_not_depend_on_neighbours(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_MODELS; i++) {
		struct baton_model *m = open_fixture(models[i], false);
		size_t bytes;
		float *want = reference(m, NULL, &bytes);
		struct baton_session_params p = baton_session_params_default();
		p.n_seq = 4;
		p.n_ubatch = 90;
		struct baton_session *s = open_session(m, &p);
		/* Sequence 2 is prompt 0; others of other lengths run beside it, interleaved. */
		struct baton_input in[4 * N];
		size_t n = 0;
		uint32_t at[4] = {0};
		while (at[2] < N) {
			uint32_t seq = (uint32_t)(n * n + n / 3) % 4;
			bool mine = seq == 2;
			in[n++] = (struct baton_input){prompt_token(mine ? 0 : seq + 1, at[seq]++), seq, mine};
		}
		eval(s, in, n);
		for (size_t j = 0, row = 0; j < n; j++) {
			if (in[j].seq == 2) check_row(s, j, want, row++, bytes);
			else assert_null(baton_logits(s, j));
		}
		baton_session_close(&s);
		free(want);
		baton_model_close(&m);
	}
}

static void reading_gives_what_mapping_gives(void **state)
{
	(void)state;
	size_t bytes;
	struct baton_model *m = open_fixture(models[0], false);
	float *mapped = reference(m, NULL, &bytes);
	baton_model_close(&m);
	m = open_fixture(models[0], true);
	float *read = reference(m, NULL, &bytes);
	baton_model_close(&m);
	assert_memory_equal(mapped, read, N * bytes);
	free(mapped);
	free(read);
}

static bool cancel_third(void *user)
{
	return ++*(int *)user == 3;
}

static void share_and_part(const char *name, uint32_t n_checkpoints)
{
	struct baton_model *m = open_fixture(name, false);
	size_t bytes;
	float *want = reference(m, NULL, &bytes);
	struct baton_session_params p = baton_session_params_default();
	p.n_seq = 3;
	p.n_checkpoints = n_checkpoints;
	struct baton_session *s = open_session(m, &p);
	struct baton_error err;
	eval_prompt(s, 0, 0, 0, 100);
	assert_int_equal(baton_seq_copy(s, 0, 1, &err), BATON_OK);
	assert_int_equal(baton_seq_length(s, 1), 100);
	/* The copy goes elsewhere; the original goes on as if alone. */
	eval_prompt(s, 5, 1, 0, 40);
	eval_prompt(s, 0, 0, 100, 50);
	for (size_t i = 0; i < 50; i++) check_row(s, i, want, 100 + i, bytes);
	/* The copy is cut back into the shared part and follows the original. */
	assert_int_equal(baton_seq_truncate(s, 1, 90, &err), BATON_OK);
	eval_prompt(s, 0, 1, 90, 60);
	for (size_t i = 0; i < 60; i++) check_row(s, i, want, 90 + i, bytes);
	assert_int_equal(baton_seq_truncate(s, 1, 200, &err), BATON_ERR_ARG);
	assert_int_equal(baton_seq_copy(s, 0, 3, &err), BATON_ERR_ARG);
	baton_session_close(&s);
	free(want);
	baton_model_close(&m);
}

static void sequences_share_a_beginning_and_part(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_MODELS; i++) {
		share_and_part(models[i], 4);
		share_and_part(models[i], 0);
	}
}

/* Sequences grow by prompts and by single tokens, are cut, copied and cut off in the middle of a call; what is computed in
 * the end has the bits of a sequence that never did anything else. */
static void any_history_ends_in_the_same_state(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_MODELS; i++) {
		struct baton_model *m = open_fixture(models[i], false);
		size_t bytes;
		float *want = reference(m, NULL, &bytes);
		srand(7 + (unsigned)i);
		for (uint32_t checkpoints = 0; checkpoints < 6; checkpoints += 2) {
			int calls = -1000000;
			struct baton_session_params p = baton_session_params_default();
			p.n_seq = 3;
			p.n_ubatch = 16;
			p.n_checkpoints = checkpoints;
			p.cancel = cancel_third;
			p.user = &calls;
			struct baton_session *s = open_session(m, &p);
			for (int round = 0; round < 60; round++) {
				uint32_t q = (uint32_t)rand() % 3, n = baton_seq_length(s, q);
				int what = rand() % 8;
				struct baton_error err;
				if (what == 0) {
					assert_int_equal(baton_seq_truncate(s, q, (uint32_t)rand() % (n + 1), &err),
					                 BATON_OK);
				} else if (what == 1) {
					assert_int_equal(baton_seq_copy(s, q, (uint32_t)rand() % 3, &err), BATON_OK);
				} else if (what == 2) {
					struct baton_input in[64] = {{0}};
					for (int j = 0; j < 64; j++) in[j].seq = q;
					calls = 0;
					assert_int_equal(baton_eval(s, in, 64, &err), BATON_ERR_CANCELLED);
					calls = -1000000;
					assert_int_equal(baton_seq_length(s, q), n);
				} else {
					size_t count = what < 6 ? 1 : 1 + (size_t)rand() % 40;
					if (n + count > N) continue;
					eval_prompt(s, 0, q, n, count);
					for (size_t j = 0; j < count; j++) check_row(s, j, want, n + j, bytes);
				}
			}
			baton_session_close(&s);
		}
		free(want);
		baton_model_close(&m);
	}
}

static void a_full_context_is_refused_and_changes_nothing(void **state)
{
	(void)state;
	struct baton_model *m = open_fixture(models[0], false);
	size_t bytes;
	float *want = reference(m, NULL, &bytes);
	struct baton_session_params p = baton_session_params_default();
	p.n_ctx = 100;
	struct baton_session *s = open_session(m, &p);
	struct baton_error err;
	struct baton_input in[64] = {{0}};
	eval_prompt(s, 0, 0, 0, 60);
	assert_int_equal(baton_eval(s, in, 41, &err), BATON_ERR_LIMIT);
	assert_non_null(strstr(err.text, "context is full"));
	assert_null(baton_logits(s, 0));
	assert_int_equal(baton_seq_length(s, 0), 60);
	in[3].token = 512;
	assert_int_equal(baton_eval(s, in, 4, &err), BATON_ERR_ARG);
	in[3] = (struct baton_input){.token = 1, .seq = 1};
	assert_int_equal(baton_eval(s, in, 4, &err), BATON_ERR_ARG);
	assert_int_equal(baton_seq_length(s, 0), 60);
	eval_prompt(s, 0, 0, 60, 40);
	for (size_t i = 0; i < 40; i++) check_row(s, i, want, 60 + i, bytes);
	baton_session_close(&s);
	free(want);
	baton_model_close(&m);
}

static void cancelled_call(const char *name)
{
	struct baton_model *m = open_fixture(name, false);
	size_t bytes;
	float *want = reference(m, NULL, &bytes);
	int calls = -1000;
	struct baton_session_params p = baton_session_params_default();
	p.n_ubatch = 16;
	p.cancel = cancel_third;
	p.user = &calls;
	struct baton_session *s = open_session(m, &p);
	struct baton_error err;
	struct baton_input in[N];
	eval_prompt(s, 0, 0, 0, 30);
	for (size_t i = 0; i < 100; i++) in[i] = (struct baton_input){.token = prompt_token(3, i)};
	calls = 0;
	assert_int_equal(baton_eval(s, in, 100, &err), BATON_ERR_CANCELLED);
	assert_int_equal(baton_seq_length(s, 0), 30);
	eval_prompt(s, 0, 0, 30, N - 30);
	for (size_t i = 0; i < N - 30; i++) check_row(s, i, want, 30 + i, bytes);
	baton_session_close(&s);
	free(want);
	baton_model_close(&m);
}

static void a_cancelled_call_changes_nothing(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_MODELS; i++) cancelled_call(models[i]);
}

static void logits_go_to_whom_they_belong(void **state)
{
	(void)state;
	/* The null device marks each row's logits with its token and position. */
	struct baton_model *m = open_fixture(models[EXPERTS], false);
	struct baton_session_params p = baton_session_params_default();
	p.device = "null";
	p.n_ctx = 4096;
	p.n_seq = 7;
	p.n_ubatch = 13;
	struct baton_session *s = open_session(m, &p);
	struct baton_input in[300];
	uint32_t length[7] = {0}, pos[300];
	srand(2);
	for (int round = 0; round < 5; round++) {
		for (size_t i = 0; i < 300; i++) {
			uint32_t seq = (uint32_t)rand() % 7;
			in[i] = (struct baton_input){rand() % 512, seq, rand() % 3 == 0};
			pos[i] = length[seq]++;
		}
		eval(s, in, 300);
		for (size_t i = 0; i < 300; i++) {
			const float *logits = baton_logits(s, i);
			assert_int_equal(logits != NULL, in[i].logits);
			if (logits) assert_true(logits[((uint32_t)in[i].token + pos[i]) % 512] == 1.0f);
		}
	}
	baton_session_close(&s);
	baton_model_close(&m);
}

static void bad_parameters_are_refused(void **state)
{
	(void)state;
	struct baton_model *m = open_fixture(models[0], false);
	struct baton_session *s;
	struct baton_error err;
	struct baton_session_params good = baton_session_params_default(), p = good;
	p.n_seq = 0;
	assert_int_equal(baton_session_open(m, &p, &s, &err), BATON_ERR_ARG);
	assert_null(s);
	p = good;
	p.n_batch = 1u << 30;
	assert_int_equal(baton_session_open(m, &p, &s, &err), BATON_ERR_ARG);
	p = good;
	p.type_k = "q4_k";
	assert_int_equal(baton_session_open(m, &p, &s, &err), BATON_ERR_ARG);
	p = good;
	p.device = "Vulkan7";
	assert_int_equal(baton_session_open(m, &p, &s, &err), BATON_ERR_ARG);
	assert_non_null(strstr(err.text, "CPU"));
	p = good;
	p.cpu_level = "mmx";
	assert_int_equal(baton_session_open(m, &p, &s, &err), BATON_ERR_ARG);
	baton_model_close(&m);
}

static void a_q8_cache_stays_close(void **state)
{
	(void)state;
	struct baton_model *m = open_fixture(models[0], false);
	size_t bytes;
	float *want = reference(m, NULL, &bytes);
	struct baton_session_params p = baton_session_params_default();
	p.type_k = p.type_v = "q8_0";
	struct baton_session *s = open_session(m, &p);
	eval_prompt(s, 0, 0, 0, N);
	double sum = 0;
	for (size_t i = 0; i < N; i++)
		for (size_t j = 0; j < bytes / 4; j++) {
			double d = baton_logits(s, i)[j] - want[i * (bytes / 4) + j];
			sum += d * d;
		}
	/* Keys and values rounded to 8 bits: about the noise of the activations (rms 0.065 in this model), never none. */
	double ms = sum / (double)(N * bytes / 4);
	assert_true(ms > 1e-8 && ms < 0.1 * 0.1);
	baton_session_close(&s);
	free(want);
	baton_model_close(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(results_do_not_depend_on_threads_or_batches),
		cmocka_unit_test(a_long_context_may_be_shared_by_threads),
		cmocka_unit_test(results_do_not_depend_on_neighbours),
		cmocka_unit_test(reading_gives_what_mapping_gives),
		cmocka_unit_test(sequences_share_a_beginning_and_part),
		cmocka_unit_test(any_history_ends_in_the_same_state),
		cmocka_unit_test(a_full_context_is_refused_and_changes_nothing),
		cmocka_unit_test(a_cancelled_call_changes_nothing),
		cmocka_unit_test(logits_go_to_whom_they_belong),
		cmocka_unit_test(bad_parameters_are_refused),
		cmocka_unit_test(a_q8_cache_stays_close),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
