#include "tools/generate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <sys/resource.h>

/* "15043+1", "29905-1.5", "2-inf" */
static bool parse_bias(const char *s, struct baton_logit_bias *bias)
{
	char *end;
	long token = strtol(s, &end, 10);
	if (end == s || (*end != '+' && *end != '-') || token < 0 || token > INT32_MAX) return false;
	const char *number = end;
	if (!strcasecmp(number, "-inf")) {
		*bias = (struct baton_logit_bias){(int32_t)token, -INFINITY};
		return true;
	}
	float value = strtof(number, &end);
	*bias = (struct baton_logit_bias){(int32_t)token, value};
	return end != number && !*end && isfinite(value);
}

/* Those of -l, and with --ignore-eos every token that would end the answer. */
static enum baton_status collect_bias(struct bt_generator *g, struct baton_error *err)
{
	size_t given = bt_opt_count(g->o, BT_OPT_LOGIT_BIAS), n_vocab = g->model->plan.n_vocab, ends = 0;
	bool ignore = bt_opt_flag(g->o, BT_OPT_IGNORE_EOS);
	for (size_t id = 0; ignore && id < n_vocab; id++) ends += baton_token_is_end(g->model, (int32_t)id);
	g->bias = bt_mem_array(BT_MEM_HOST, given + ends, sizeof *g->bias);
	if (!g->bias) return bt_fail_nomem(err, (given + ends) * sizeof *g->bias, "the logit biases");
	for (size_t i = 0; i < given; i++) {
		const char *s = bt_opt_str_at(g->o, BT_OPT_LOGIT_BIAS, i);
		if (!parse_bias(s, &g->bias[g->n_bias++]))
			return bt_fail(err, BATON_ERR_ARG,
			               "-l expects a token, a sign and a number, such as 15043+1, got '%.80s'", s);
	}
	for (size_t id = 0; ignore && id < n_vocab; id++)
		if (baton_token_is_end(g->model, (int32_t)id))
			g->bias[g->n_bias++] = (struct baton_logit_bias){(int32_t)id, -INFINITY};
	return BATON_OK;
}

static size_t piece(void *user, int32_t token, char *buf, size_t size)
{
	return baton_token_piece(user, token, false, buf, size);
}

static enum baton_status open_sampler(struct bt_generator *g, struct baton_error *err)
{
	const struct bt_opts *o = g->o;
	struct baton_sampler_params p;
	const char *breakers[64];
	baton_sampler_params_init(&p);
	int64_t seed = bt_opt_int(o, BT_OPT_SEED);
	g->seed = (uint64_t)seed;
	if (seed < 0) {
		uint32_t random = 0;
		if (getrandom(&random, sizeof random, 0) < 0) random = (uint32_t)(bt_ui_now() * 1e6);
		g->seed = random;
	}
	p.seed = g->seed;
	p.penalty_last_n = (int32_t)bt_opt_int(o, BT_OPT_REPEAT_LAST_N);
	p.penalty_repeat = (float)bt_opt_float(o, BT_OPT_REPEAT_PENALTY);
	p.penalty_frequency = (float)bt_opt_float(o, BT_OPT_FREQUENCY_PENALTY);
	p.penalty_presence = (float)bt_opt_float(o, BT_OPT_PRESENCE_PENALTY);
	p.dry_multiplier = (float)bt_opt_float(o, BT_OPT_DRY_MULTIPLIER);
	p.dry_base = (float)bt_opt_float(o, BT_OPT_DRY_BASE);
	p.dry_allowed_length = (int32_t)bt_opt_int(o, BT_OPT_DRY_ALLOWED_LENGTH);
	p.dry_penalty_last_n = (int32_t)bt_opt_int(o, BT_OPT_DRY_PENALTY_LAST_N);
	size_t n = bt_opt_count(o, BT_OPT_DRY_BREAKER);
	if (n > sizeof breakers / sizeof *breakers)
		return bt_fail(err, BATON_ERR_ARG, "too many --dry-sequence-breaker");
	for (size_t i = 0; i < n; i++) breakers[i] = bt_opt_str_at(o, BT_OPT_DRY_BREAKER, i);
	if (n) {
		p.dry_breakers = breakers;
		p.n_dry_breakers = n == 1 && !strcmp(breakers[0], "none") ? 0 : n;
	}
	p.top_n_sigma = (float)bt_opt_float(o, BT_OPT_TOP_N_SIGMA);
	p.top_k = (int32_t)bt_opt_int(o, BT_OPT_TOP_K);
	p.typical_p = (float)bt_opt_float(o, BT_OPT_TYPICAL);
	p.top_p = (float)bt_opt_float(o, BT_OPT_TOP_P);
	p.min_p = (float)bt_opt_float(o, BT_OPT_MIN_P);
	p.xtc_probability = (float)bt_opt_float(o, BT_OPT_XTC_PROBABILITY);
	p.xtc_threshold = (float)bt_opt_float(o, BT_OPT_XTC_THRESHOLD);
	p.temp = (float)bt_opt_float(o, BT_OPT_TEMP);
	p.dynatemp_range = (float)bt_opt_float(o, BT_OPT_DYNATEMP_RANGE);
	p.dynatemp_exponent = (float)bt_opt_float(o, BT_OPT_DYNATEMP_EXP);
	p.logit_bias = g->bias;
	p.n_logit_bias = g->n_bias;
	return bt_sampler_open(&p, g->model->plan.n_vocab, g->info.n_ctx, piece, g->model, &g->sampler, err);
}

int bt_gen_open(struct bt_generator *g, const struct bt_opts *o)
{
	struct baton_error err;
	*g = (struct bt_generator){.o = o, .began = bt_ui_now()};
	int rc = bt_tool_open_model(o, &g->model);
	if (rc) return rc;
	enum baton_status st = collect_bias(g, &err);
	if (st == BATON_ERR_ARG) return bt_opts_usage(o, "%s", err.text);
	struct baton_session_params params = bt_tool_session_params(o);
	if (!st) st = bt_tool_open_session(g->model, &params, &g->session, &err);
	if (!st) {
		baton_session_get_info(g->session, &g->info);
		st = open_sampler(g, &err);
	}
	if (!st) {
		g->input = bt_mem_array(BT_MEM_HOST, g->info.n_batch, sizeof *g->input);
		if (!g->input) st = bt_fail_nomem(&err, g->info.n_batch * sizeof *g->input, "a batch");
	}
	g->loaded = bt_ui_now();
	return st ? bt_ui_fail(&err) : BT_EXIT_OK;
}

void bt_gen_close(struct bt_generator *g)
{
	bt_sampler_close(&g->sampler);
	baton_session_close(&g->session);
	baton_model_close(&g->model);
	bt_mem_free(g->bias);
	bt_mem_free(g->input);
	bt_tokens_free(&g->tokens);
}

static enum baton_status remember(struct bt_generator *g, int32_t id, struct baton_error *err)
{
	if (g->tokens.n == g->tokens.cap) {
		size_t cap = g->tokens.cap ? g->tokens.cap * 2 : 1024;
		int32_t *ids = bt_mem_realloc(BT_MEM_TEXT, g->tokens.ids, cap * sizeof *ids);
		if (!ids) return bt_fail_nomem(err, cap * sizeof *ids, "the tokens");
		g->tokens.ids = ids;
		g->tokens.cap = cap;
	}
	g->tokens.ids[g->tokens.n++] = id;
	bt_sampler_accept(g->sampler, id);
	return BATON_OK;
}

enum baton_status bt_gen_prompt(struct bt_generator *g, const int32_t *ids, size_t n, struct baton_error *err)
{
	double start = bt_ui_now();
	size_t same = 0;
	if (!n) return bt_fail(err, BATON_ERR_ARG, "the prompt is empty");
	if (n >= g->info.n_ctx)
		return bt_fail(err, BATON_ERR_LIMIT,
		               "the prompt has %zu tokens and the context holds %u: shorten it, or raise -c", n,
		               g->info.n_ctx);
	while (same < g->tokens.n && same < n - 1 && g->tokens.ids[same] == ids[same]) same++;
	enum baton_status st = baton_seq_truncate(g->session, 0, (uint32_t)same, err);
	/* The sampler counts from the first token on: hand it all of them again. */
	bt_sampler_reset(g->sampler);
	g->tokens.n = 0;
	for (size_t i = 0; i < same && !st; i++) st = remember(g, ids[i], err);
	for (size_t at = same; at < n && !st;) {
		size_t count = n - at < g->info.n_batch ? n - at : g->info.n_batch;
		for (size_t i = 0; i < count; i++)
			g->input[i] = (struct baton_input){.token = ids[at + i], .logits = at + i + 1 == n};
		st = baton_eval(g->session, g->input, count, err);
		for (size_t i = 0; i < count && !st; i++) st = remember(g, ids[at + i], err);
		if (!st) at += count;
	}
	g->prompt.tokens += g->tokens.n - same;
	g->prompt.seconds += bt_ui_now() - start;
	return st;
}

/* An answer on its way out. */
struct stream {
	struct bt_generator *g;
	FILE *out;
	struct bt_buf *text; /* all of it; may be NULL */
	struct bt_buf bytes, chars;
	struct bt_utf8_stream utf8;
};

static void write_chars(struct stream *s)
{
	if (!s->chars.len) return;
	fwrite(s->chars.data, 1, s->chars.len, s->out);
	fflush(s->out);
	if (s->text) bt_buf_add(s->text, s->chars.data, s->chars.len);
	bt_buf_clear(&s->chars);
}

/* The text of one token; characters come out when they are whole. */
static enum baton_status write_token(struct stream *s, int32_t id, struct baton_error *err)
{
	bt_buf_clear(&s->bytes);
	bt_token_piece(s->g->model->tokenizer, id, bt_opt_flag(s->g->o, BT_OPT_SPECIAL), &s->bytes);
	bt_utf8_stream_feed(&s->utf8, bt_buf_str(&s->bytes), s->bytes.len, &s->chars);
	write_chars(s);
	if (ferror(s->out)) return bt_fail(err, BATON_ERR_IO, "cannot write the answer");
	return s->text ? bt_buf_check(s->text, err, "the answer") : BATON_OK;
}

/* Choose a token and write it. *end says why the answer ends here, if it does. */
static enum baton_status next_token(struct stream *s, const float *logits, int32_t *id, bool *ends,
                                    enum bt_gen_end *end, struct baton_error *err)
{
	struct bt_generator *g = s->g;
	enum baton_status st = bt_sampler_pick(g->sampler, logits, id, err);
	if (st) return st;
	if (!g->first_token) g->first_token = bt_ui_now();
	g->answer.tokens++;
	*ends = baton_token_is_end(g->model, *id);
	if (*ends) *end = BT_GEN_END_MODEL;
	/* A control token is no text unless --special asks for it. */
	st = write_token(s, *id, err);
	if (st || *ends) return st;
	*ends = g->tokens.n >= g->info.n_ctx;
	if (*ends) *end = BT_GEN_END_CONTEXT;
	return BATON_OK;
}

enum baton_status bt_gen_answer(struct bt_generator *g, int64_t n_max, FILE *out, struct bt_buf *text,
                                enum bt_gen_end *end, struct baton_error *err)
{
	struct stream s = {.g = g, .out = out, .text = text};
	double start = bt_ui_now();
	enum baton_status st = BATON_OK;
	size_t index = 0; /* of the input whose logits count: the last of the prompt's last batch */
	bool ends = false;
	while (!baton_logits(g->session, index) && index < g->info.n_batch) index++;
	bt_buf_init(&s.bytes, BT_MEM_TEXT, BT_LIMIT_TOKEN_BYTES);
	bt_buf_init(&s.chars, BT_MEM_TEXT, BT_LIMIT_TOKEN_BYTES + 16);
	*end = BT_GEN_END_LENGTH;
	for (int64_t i = 0; i != n_max && !st && !bt_ui_interrupted(); i++) {
		int32_t id;
		st = next_token(&s, baton_logits(g->session, index), &id, &ends, end, err);
		if (st || ends || i + 1 == n_max) break;
		struct baton_input in = {.token = id, .logits = true};
		st = baton_eval(g->session, &in, 1, err);
		if (!st) st = remember(g, id, err);
		index = 0;
	}
	if (bt_ui_interrupted() && (!st || st == BATON_ERR_CANCELLED)) {
		*end = BT_GEN_END_INTERRUPTED;
		st = BATON_OK;
	}
	bt_utf8_stream_end(&s.utf8, &s.chars);
	write_chars(&s);
	bt_buf_free(&s.bytes);
	bt_buf_free(&s.chars);
	g->answer.seconds += bt_ui_now() - start;
	return st;
}

static void print_phase(const char *name, const struct bt_gen_phase *p)
{
	double ms = p->seconds * 1e3, n = (double)(p->tokens ? p->tokens : 1);
	fprintf(stderr, "%16s = %10.2f ms / %5zu tokens (%8.2f ms per token, %8.2f tokens per second)\n", name, ms,
	        p->tokens, ms / n, p->seconds > 0 ? (double)p->tokens / p->seconds : 0);
}

void bt_gen_print_stats(const struct bt_generator *g)
{
	char model[32], kv[32], state[32], scratch[32], peak[32];
	struct rusage usage;
	fprintf(stderr, "%16s = %10.2f ms, first token after %.2f ms\n", "load time", (g->loaded - g->began) * 1e3,
	        g->first_token ? (g->first_token - g->began) * 1e3 : 0);
	print_phase("prompt eval time", &g->prompt);
	print_phase("eval time", &g->answer);
	if (getrusage(RUSAGE_SELF, &usage)) usage.ru_maxrss = 0;
	fprintf(stderr, "%16s = model %s%s, KV cache up to %s, %s%sscratch %s, peak resident %s\n", "memory",
	        bt_ui_bytes(model, sizeof model, bt_gguf_file_bytes(g->model->gguf)),
	        bt_gguf_is_mapped(g->model->gguf) ? " (mapped)" : "", bt_ui_bytes(kv, sizeof kv, g->info.kv_bytes),
	        g->info.state_bytes ? bt_ui_bytes(state, sizeof state, g->info.state_bytes) : "",
	        g->info.state_bytes ? " of states, " : "", bt_ui_bytes(scratch, sizeof scratch, g->info.scratch_bytes),
	        bt_ui_bytes(peak, sizeof peak, (uint64_t)usage.ru_maxrss * 1024));
	fprintf(stderr, "%16s = %s, %u threads; context %zu of %u tokens; seed %llu\n", "device", g->info.description,
	        g->info.n_threads, g->tokens.n, g->info.n_ctx, (unsigned long long)g->seed);
}
