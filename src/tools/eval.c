/* `baton eval MODEL --json`: logits for scripts and tests, JSON lines in and out (docs/json.md).
 *
 *   {"tokens":[...], "greedy":N, "top":K, "full":bool}
 *   -> {"positions":[{"argmax":id,"top":[[id,logit],...]},...], "final_logits":[...] if full, "greedy":[ids]}
 *
 * Every line starts from an empty context. */
#include "tools/jsonl.h"
#include "tools/open.h"

#include <stdlib.h>

struct eval {
	struct bt_jsonl j;
	struct baton_model *model;
	struct baton_session *session;
	struct baton_session_info info;
	uint32_t n_vocab;
};

struct request {
	int32_t *tokens;
	size_t n;
	json_int_t greedy, top;
	bool full;
};

/* The best k logits, best first; of equal ones the lower id. */
static json_t *top_logits(const float *logits, uint32_t n_vocab, uint32_t k)
{
	json_t *list = json_array();
	int64_t last = -1;
	float last_logit = 0;
	for (uint32_t i = 0; i < k && i < n_vocab; i++) {
		int64_t best = -1;
		for (uint32_t id = 0; id < n_vocab; id++) {
			bool behind = last < 0 || logits[id] < last_logit || (logits[id] == last_logit && id > last);
			if (behind && (best < 0 || logits[id] > logits[best])) best = id;
		}
		if (best < 0) break;
		json_array_append_new(list, json_pack("[I, f]", (json_int_t)best, (double)logits[best]));
		last = best;
		last_logit = logits[best];
	}
	return list;
}

static uint32_t argmax(const float *logits, uint32_t n_vocab)
{
	uint32_t best = 0;
	for (uint32_t id = 1; id < n_vocab; id++)
		if (logits[id] > logits[best]) best = id;
	return best;
}

static enum baton_status append(struct eval *e, const int32_t *tokens, size_t n, struct baton_error *err)
{
	struct baton_input *in = bt_mem_array(BT_MEM_HOST, n, sizeof *in);
	if (!in) return bt_fail_nomem(err, n * sizeof *in, "a batch");
	for (size_t i = 0; i < n; i++) in[i] = (struct baton_input){.token = tokens[i], .logits = true};
	enum baton_status status = baton_eval(e->session, in, n, err);
	bt_mem_free(in);
	return status;
}

/* The prompt in batches, one object per position. */
static enum baton_status prompt(struct eval *e, const struct request *r, json_t *answer, struct baton_error *err)
{
	json_t *positions = json_array();
	json_object_set_new(answer, "positions", positions);
	for (size_t at = 0; at < r->n;) {
		size_t n = r->n - at < e->info.n_batch ? r->n - at : e->info.n_batch;
		enum baton_status status = append(e, r->tokens + at, n, err);
		if (status) return status;
		for (size_t i = 0; i < n; i++) {
			const float *logits = baton_logits(e->session, i);
			json_t *one = json_pack("{s:I}", "argmax", (json_int_t)argmax(logits, e->n_vocab));
			if (r->top) json_object_set_new(one, "top", top_logits(logits, e->n_vocab, (uint32_t)r->top));
			json_array_append_new(positions, one);
		}
		at += n;
		if (at < r->n || !r->full) continue;
		const float *logits = baton_logits(e->session, n - 1);
		json_t *all = json_array();
		for (uint32_t id = 0; id < e->n_vocab; id++) json_array_append_new(all, json_real((double)logits[id]));
		json_object_set_new(answer, "final_logits", all);
	}
	return BATON_OK;
}

static enum baton_status greedy(struct eval *e, const struct request *r, json_t *answer, struct baton_error *err)
{
	json_t *ids = json_array();
	json_object_set_new(answer, "greedy", ids);
	size_t last = (r->n - 1) % e->info.n_batch;
	int32_t token = (int32_t)argmax(baton_logits(e->session, last), e->n_vocab);
	for (json_int_t i = 0; i < r->greedy; i++) {
		json_array_append_new(ids, json_integer(token));
		if (i + 1 == r->greedy) break;
		enum baton_status status = append(e, &token, 1, err);
		if (status) return status;
		token = (int32_t)argmax(baton_logits(e->session, 0), e->n_vocab);
	}
	return BATON_OK;
}

static void answer_line(struct eval *e, const json_t *line)
{
	struct request r = {0};
	struct baton_error err;
	if (!bt_jsonl_get_ids(&e->j, line, "tokens", e->n_vocab, &r.tokens, &r.n) ||
	    !bt_jsonl_get_int(&e->j, line, "greedy", 0, 1 << 26, &r.greedy) ||
	    !bt_jsonl_get_int(&e->j, line, "top", 0, e->n_vocab, &r.top) ||
	    !bt_jsonl_get_bool(&e->j, line, "full", &r.full))
		goto out;
	if (!r.n) {
		bt_jsonl_error(&e->j, "\"tokens\" is missing or empty");
		goto out;
	}
	json_t *answer = json_object();
	enum baton_status status = baton_seq_truncate(e->session, 0, 0, &err);
	if (!status) status = prompt(e, &r, answer, &err);
	if (!status && r.greedy) status = greedy(e, &r, answer, &err);
	if (!status) {
		bt_jsonl_reply(&e->j, answer);
	} else {
		json_decref(answer);
		bt_jsonl_error(&e->j, "%s", err.text);
	}
out:
	free(r.tokens);
}

int bt_eval_main(const struct bt_opts *o)
{
	struct eval e = {0};
	struct baton_error err;
	if (!bt_opt_flag(o, BT_OPT_JSON)) return bt_opts_usage(o, "only --json is there: JSON lines on standard input");
	int rc = bt_tool_open_model(o, &e.model);
	if (rc) return rc;
	bt_ui_catch_interrupt();
	bt_jsonl_init(&e.j, stdin, stdout);
	struct baton_session_params params = bt_tool_session_params(o);
	/* Every position's logits are asked for: small batches bound their memory. */
	if (!bt_opt_given(o, BT_OPT_BATCH) && params.n_batch > 512) params.n_batch = 512;
	if (bt_tool_open_session(e.model, &params, &e.session, &err)) {
		rc = bt_ui_fail(&err);
		goto out;
	}
	baton_session_get_info(e.session, &e.info);
	e.n_vocab = e.model->plan.n_vocab;
	json_t *line;
	while (!bt_ui_interrupted() && (line = bt_jsonl_read(&e.j))) {
		answer_line(&e, line);
		json_decref(line);
	}
	rc = bt_ui_interrupted() ? BT_EXIT_INTERRUPTED : BT_EXIT_OK;
out:
	bt_jsonl_free(&e.j);
	baton_session_close(&e.session);
	baton_model_close(&e.model);
	return rc;
}
