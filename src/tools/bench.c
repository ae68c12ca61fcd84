/* bench.c: `baton bench`: llama-bench's tests, run and timed the way it runs and times them.
 *
 * A prompt test computes N random tokens in batches; a generation test computes N random tokens one after the other;
 * tokenizing and sampling are not timed. Before each test stands an unmeasured run, and -d tokens of context.
 */
#include "tools/bench.h"

#include "tools/open.h"

#include <string.h>
#include <time.h>

/* The model and session at hand, kept from test to test while they serve. */
struct bench {
	const struct bt_opts *o;
	const struct bt_bench_case *cases;
	size_t n_cases;
	size_t at; /* the test under way */

	struct baton_model *model;
	struct baton_session *session;
	const struct bt_bench_case *model_case, *session_case; /* what they were opened for */
	struct baton_input *input;                             /* [n_batch] */
	uint32_t depth;                                        /* tokens that stand in the session */
	uint32_t random;
	uint64_t *samples;
};

static void say(const struct bench *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(const struct bench *b, const char *fmt, ...)
{
	va_list ap;
	if (!bt_opt_flag(b->o, BT_OPT_PROGRESS)) return;
	fprintf(stderr, "baton bench: benchmark %zu/%zu: ", b->at + 1, b->n_cases);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

static void close_session(struct bench *b)
{
	baton_session_close(&b->session);
	bt_mem_free(b->input);
	b->input = NULL;
	b->session_case = NULL;
	b->depth = 0;
}

static void close_model(struct bench *b)
{
	close_session(b);
	baton_model_close(&b->model);
	b->model_case = NULL;
}

static enum baton_status open_model(struct bench *b, const struct bt_bench_case *c, struct baton_error *err)
{
	char *path = NULL;
	struct bt_ui_progress bar;
	struct baton_model_params params = {.no_mmap = !c->use_mmap, .progress = bt_ui_progress_load, .user = &bar};
	if (b->model_case && bt_bench_same_model(b->model_case, c)) return BATON_OK;
	close_model(b);
	enum baton_status st = bt_tool_model_path(b->o, c->model, &path, err);
	if (st) return st;
	bt_ui_progress_begin(&bar, "loading", 0, 0);
	st = baton_model_open(path, &params, &b->model, err);
	bt_ui_progress_end(&bar);
	bt_mem_free(path);
	if (!st) b->model_case = c;
	return st;
}

static bool same_session(const struct bt_bench_case *a, const struct bt_bench_case *b)
{
	return bt_bench_same_model(a, b) && a->n_batch == b->n_batch && a->n_ubatch == b->n_ubatch &&
	       a->n_threads == b->n_threads && !strcmp(a->type_k, b->type_k) && !strcmp(a->type_v, b->type_v) &&
	       a->flash_attn == b->flash_attn;
}

/* Room for this test and for those behind it that can share the session. */
static uint32_t context_needed(const struct bench *b)
{
	uint64_t most = 0;
	for (size_t i = b->at; i < b->n_cases && same_session(&b->cases[b->at], &b->cases[i]); i++) {
		const struct bt_bench_case *c = &b->cases[i];
		uint64_t n = (uint64_t)c->n_prompt + (uint64_t)c->n_gen + (uint64_t)c->n_depth + 1;
		if (n > most) most = n;
	}
	return most < UINT32_MAX ? (uint32_t)most : UINT32_MAX;
}

static bool interrupted(void *user)
{
	(void)user;
	return bt_ui_interrupted();
}

static const char *chosen(const char *text)
{
	return text && strcmp(text, "auto") ? text : NULL;
}

static enum baton_status open_session(struct bench *b, const struct bt_bench_case *c, struct baton_error *err)
{
	if (b->session_case && same_session(b->session_case, c)) return BATON_OK;
	close_session(b);
	struct baton_session_params p = baton_session_params_default();
	p.n_ctx = context_needed(b);
	p.n_batch = (uint32_t)c->n_batch;
	p.n_ubatch = (uint32_t)(c->n_ubatch < c->n_batch ? c->n_ubatch : c->n_batch);
	p.n_threads = (uint32_t)c->n_threads;
	p.type_k = c->type_k;
	p.type_v = c->type_v;
	p.device = chosen(c->device);
	p.n_gpu_layers = c->n_gpu_layers;
	p.n_cpu_moe = (uint32_t)c->n_cpu_moe;
	p.override_tensor = strcmp(c->override_tensor, "none") ? c->override_tensor : NULL;
	p.cpu_level = chosen(bt_opt_str(b->o, BT_OPT_CPU_LEVEL));
	p.fit = bt_opt_flag(b->o, BT_OPT_FIT);
	p.gpu_timeout = bt_opt_float(b->o, BT_OPT_GPU_TIMEOUT);
	p.cache_dir = b->o->cache_dir[0] ? b->o->cache_dir : NULL;
	p.cancel = interrupted;
	enum baton_status st = bt_tool_open_session(b->model, &p, &b->session, err);
	if (st) return st;
	b->input = bt_mem_array(BT_MEM_HOST, p.n_batch, sizeof *b->input);
	if (!b->input) return bt_fail_nomem(err, p.n_batch * sizeof *b->input, "a batch");
	b->session_case = c;
	return BATON_OK;
}

/* Any token of the vocabulary; the begin token where a sequence begins with one. */
static int32_t some_token(struct bench *b, bool first)
{
	const struct bt_tokenizer *t = b->model->tokenizer;
	if (first && t && bt_tokenizer_add_bos(t)) return bt_tokenizer_bos(t);
	b->random = b->random * 1664525 + 1013904223; /* Numerical Recipes' generator */
	return (int32_t)((uint64_t)b->random * b->model->plan.n_vocab >> 32);
}

/* Compute n tokens in batches. */
static enum baton_status run_prompt(struct bench *b, const struct bt_bench_case *c, int n, struct baton_error *err)
{
	for (int done = 0; done < n;) {
		int batch = n - done < c->n_batch ? n - done : c->n_batch;
		for (int i = 0; i < batch; i++) {
			int32_t token = some_token(b, done + i == 0);
			b->input[i] = (struct baton_input){.token = token, .logits = i + 1 == batch};
		}
		enum baton_status st = baton_eval(b->session, b->input, (size_t)batch, err);
		if (st) return st;
		done += batch;
	}
	return BATON_OK;
}

/* Compute n tokens one by one. */
static enum baton_status run_gen(struct bench *b, int n, struct baton_error *err)
{
	for (int i = 0; i < n; i++) {
		struct baton_input in = {.token = some_token(b, i == 0), .logits = true};
		enum baton_status st = baton_eval(b->session, &in, 1, err);
		if (st) return st;
	}
	return BATON_OK;
}

/* Nothing, or n tokens, in the context. */
static enum baton_status set_depth(struct bench *b, const struct bt_bench_case *c, uint32_t n, struct baton_error *err)
{
	bool kept = n && b->depth == n && baton_seq_length(b->session, 0) >= n;
	enum baton_status st = baton_seq_truncate(b->session, 0, kept ? n - 1 : 0, err);
	/* A recurrent state is computed again from a mark before that place, when the sequence goes on: now, not in the test. */
	if (!st && kept) st = run_prompt(b, c, 1, err);
	if (st || kept) return st;
	b->depth = 0;
	if (n) say(b, "depth run");
	st = run_prompt(b, c, (int)n, err);
	if (!st) b->depth = n;
	return st;
}

static uint64_t now_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static enum baton_status run_once(struct bench *b, const struct bt_bench_case *c, int gen, struct baton_error *err)
{
	enum baton_status st = c->n_prompt ? run_prompt(b, c, c->n_prompt, err) : BATON_OK;
	return st ? st : run_gen(b, gen, err);
}

/* Rest before a test; false after Ctrl-C. */
static bool rest(double seconds)
{
	double until = bt_ui_now() + seconds;
	struct timespec ts = {0, 20000000};
	while (bt_ui_now() < until && !bt_ui_interrupted()) nanosleep(&ts, NULL);
	return !bt_ui_interrupted();
}

static enum baton_status run_case(struct bench *b, struct bt_bench_result *r, struct baton_error *err)
{
	const struct bt_bench_case *c = &b->cases[b->at];
	struct baton_model_info model;
	struct baton_session_info session;
	say(b, "starting");
	enum baton_status st = open_model(b, c, err);
	if (!st) st = open_session(b, c, err);
	if (!st && !rest(bt_opt_float(b->o, BT_OPT_DELAY))) st = bt_fail(err, BATON_ERR_CANCELLED, "interrupted");
	if (st) return st;
	baton_model_get_info(b->model, &model);
	baton_session_get_info(b->session, &session);
	bt_bench_result_init(r, c);
	r->cpu_info = session.description;
	r->backends = session.device;
	r->model_type = model.type;
	r->model_size = model.size;
	r->model_n_params = model.n_params;
	r->test.n_threads = (int)session.n_threads;
	if (c->n_gpu_layers < 0) r->test.n_gpu_layers = (int)session.n_gpu_layers;
	if (!bt_opt_flag(b->o, BT_OPT_NO_WARMUP)) {
		say(b, "warmup run");
		st = baton_seq_truncate(b->session, 0, 0, err);
		b->depth = 0;
		if (!st) st = run_once(b, c, c->n_gen ? 1 : 0, err);
	}
	int repetitions = (int)bt_opt_int(b->o, BT_OPT_REPETITIONS);
	for (int i = 0; i < repetitions && !st; i++) {
		st = set_depth(b, c, (uint32_t)c->n_depth, err);
		if (st) break;
		say(b, "%s run %d/%d", c->n_prompt ? "prompt" : "generation", i + 1, repetitions);
		uint64_t start = now_ns();
		st = run_once(b, c, c->n_gen, err);
		b->samples[i] = now_ns() - start;
	}
	r->samples_ns = b->samples;
	r->n_samples = (size_t)repetitions;
	bt_bench_statistics(r);
	return st;
}

/* A model that can't be opened has failed all of its tests: to say so once is enough. */
static void skip_model(struct bench *b)
{
	while (b->at + 1 < b->n_cases && bt_bench_same_model(&b->cases[b->at], &b->cases[b->at + 1])) b->at++;
}

/* All tests. The exit status. */
static int run_all(struct bench *b)
{
	struct bt_bench_printer out, err_out;
	struct baton_error err;
	int rc = BT_EXIT_OK;
	bt_bench_print_begin(&out, bt_opt_str(b->o, BT_OPT_BENCH_OUTPUT), stdout, b->cases, b->n_cases);
	bt_bench_print_begin(&err_out, bt_opt_str(b->o, BT_OPT_BENCH_OUTPUT_ERR), stderr, b->cases, b->n_cases);
	for (b->at = 0; b->at < b->n_cases && rc != BT_EXIT_INTERRUPTED; b->at++) {
		struct bt_bench_result r;
		if (run_case(b, &r, &err)) {
			rc = bt_ui_fail(&err);
			if (!b->model) skip_model(b);
			close_model(b); /* after a failure the next test starts from nothing */
			continue;
		}
		bt_bench_print(&out, &r);
		bt_bench_print(&err_out, &r);
	}
	bt_bench_print_end(&out);
	bt_bench_print_end(&err_out);
	return rc;
}

int bt_bench_main(const struct bt_opts *o)
{
	struct bench b = {.o = o, .random = 1};
	struct bt_bench_case *cases;
	struct baton_error err;
	int rc;
	enum baton_status st = bt_bench_grid(o, &cases, &b.n_cases, &err);
	if (st == BATON_ERR_ARG) return bt_opts_usage(o, "%s", err.text);
	if (st) return bt_ui_fail(&err);
	bt_ui_catch_interrupt();
	b.cases = cases;
	b.samples = bt_mem_array(BT_MEM_HOST, (size_t)bt_opt_int(o, BT_OPT_REPETITIONS), sizeof *b.samples);
	if (b.samples) {
		rc = run_all(&b);
	} else {
		bt_fail_nomem(&err, sizeof *b.samples, "the measurements");
		rc = bt_ui_fail(&err);
	}
	close_model(&b);
	bt_mem_free(b.samples);
	bt_mem_free(cases);
	return rc;
}
