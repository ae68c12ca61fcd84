/* perplexity.c: `baton perplexity`: how well a model predicts a text.
 *
 * Done as llama.cpp does it, so that figures compare: the text is cut into windows of -c tokens, each starts from an
 * empty context (with the begin token in place of its first token where the vocabulary wants one), and the second half
 * of each is scored.
 */
#include "tools/kld.h"
#include "tools/open.h"
#include "tools/text_input.h"

#include <errno.h>
#include <math.h>
#include <string.h>

struct perplexity {
	const struct bt_opts *o;
	struct baton_model *model;
	struct baton_session *session;
	struct bt_kld_head head;
	int32_t *tokens; /* [n_chunk * n_ctx] */
	struct baton_input *input;
	int n_batch; /* tokens in one call */
	const char *base_path;
	FILE *base;
	uint16_t *row; /* one row of the base */
	struct bt_kld kld;
	double nll, nll2;
	size_t n;
};

/* One scored position. */
static enum baton_status score(struct perplexity *p, const float *logits, int32_t next, struct baton_error *err)
{
	size_t words = bt_kld_row_words(p->head.n_vocab);
	if (p->kld.klds) {
		if (fread(p->row, 2, words, p->base) != words)
			return bt_fail(err, BATON_ERR_IO, "cannot read %.200s: %s", p->base_path, strerror(errno));
		bt_kld_add(&p->kld, logits, p->head.n_vocab, p->row, next);
		return BATON_OK;
	}
	double nll = bt_kld_nll(logits, p->head.n_vocab, next);
	p->nll += nll;
	p->nll2 += nll * nll;
	p->n++;
	if (!p->base) return BATON_OK;
	bt_kld_pack(logits, p->head.n_vocab, p->row);
	if (fwrite(p->row, 2, words, p->base) != words)
		return bt_fail(err, BATON_ERR_IO, "cannot write %.200s: %s", p->base_path, strerror(errno));
	return BATON_OK;
}

static enum baton_status score_window(struct perplexity *p, int chunk, struct baton_error *err)
{
	int n_ctx = p->head.n_ctx, first = bt_kld_first(n_ctx);
	const int32_t *tokens = p->tokens + (size_t)chunk * (size_t)n_ctx;
	const struct bt_tokenizer *t = p->model->tokenizer;
	bool bos = t && bt_tokenizer_add_bos(t);
	enum baton_status st = baton_seq_truncate(p->session, 0, 0, err);
	for (int at = 0; at < n_ctx && !st; at += p->n_batch) {
		int n = n_ctx - at < p->n_batch ? n_ctx - at : p->n_batch;
		for (int i = 0; i < n; i++)
			p->input[i] = (struct baton_input){.token = bos && at + i == 0 ? bt_tokenizer_bos(t)
			                                                               : tokens[at + i],
			                                   .logits = at + i >= first && at + i + 1 < n_ctx};
		st = baton_eval(p->session, p->input, (size_t)n, err);
		for (int i = 0; i < n && !st; i++)
			if (p->input[i].logits)
				st = score(p, baton_logits(p->session, (size_t)i), tokens[at + i + 1], err);
	}
	return st;
}

/* The windows of the text of -f. */
static enum baton_status read_text(struct perplexity *p, struct baton_error *err)
{
	struct bt_buf text;
	int32_t *ids = NULL;
	size_t n = 0, n_ctx = (size_t)bt_opt_int(p->o, BT_OPT_PPL_CTX_SIZE);
	int64_t most = bt_opt_int(p->o, BT_OPT_PPL_CHUNKS);
	bt_buf_init(&text, BT_MEM_TEXT, BT_LIMIT_TEXT);
	enum baton_status st = bt_text_read(bt_opt_str(p->o, BT_OPT_FILE), &text, err);
	/* llama.cpp drops the last line break of a prompt file, and so figures differ without this. */
	if (!st && text.len && text.data[text.len - 1] == '\n') text.len--;
	if (!st) st = baton_tokenize(p->model, bt_buf_str(&text), text.len, BATON_TOKENIZE_BOS, &ids, &n, err);
	if (!st && n < 2 * n_ctx)
		st = bt_fail(err, BATON_ERR_ARG, "the text has %zu tokens; at least two windows of %zu are needed (-c)",
		             n, n_ctx);
	if (!st) {
		size_t chunks = n / n_ctx;
		if (most >= 0 && (size_t)most < chunks) chunks = (size_t)most;
		p->head = (struct bt_kld_head){(int32_t)n_ctx, (int32_t)p->model->plan.n_vocab, (int32_t)chunks};
		p->tokens = bt_mem_array(BT_MEM_HOST, chunks * n_ctx, sizeof *p->tokens);
		if (p->tokens) memcpy(p->tokens, ids, chunks * n_ctx * sizeof *ids);
		else st = bt_fail_nomem(err, chunks * n_ctx * sizeof *ids, "the tokens");
	}
	baton_free(ids);
	bt_buf_free(&text);
	return st;
}

/* The windows of the file to compare with. */
static enum baton_status read_base(struct perplexity *p, struct baton_error *err)
{
	enum baton_status st = bt_kld_read_head(p->base, &p->head, &p->tokens, p->base_path, err);
	if (st) return st;
	if ((uint32_t)p->head.n_vocab != p->model->plan.n_vocab)
		return bt_fail(err, BATON_ERR_ARG, "%.200s is of a model with a vocabulary of %d; this one has %u",
		               p->base_path, p->head.n_vocab, p->model->plan.n_vocab);
	int64_t most = bt_opt_int(p->o, BT_OPT_PPL_CHUNKS);
	if (most >= 0 && most < p->head.n_chunk) p->head.n_chunk = (int32_t)most;
	return bt_kld_open(&p->kld, (size_t)p->head.n_chunk * (size_t)bt_kld_scored(p->head.n_ctx), err);
}

static enum baton_status open_all(struct perplexity *p, struct baton_error *err)
{
	bool compare = bt_opt_flag(p->o, BT_OPT_KL_DIVERGENCE);
	p->base_path = bt_opt_str(p->o, BT_OPT_KL_BASE);
	if (p->base_path) {
		p->base = fopen(p->base_path, compare ? "re" : "we");
		if (!p->base)
			return bt_fail(err, BATON_ERR_IO, "cannot %s %.200s: %s", compare ? "read" : "write",
			               p->base_path, strerror(errno));
	}
	enum baton_status st = compare ? read_base(p, err) : read_text(p, err);
	if (!st && p->base && !compare) st = bt_kld_write_head(p->base, &p->head, p->tokens, p->base_path, err);
	if (st) return st;
	struct baton_session_params params = bt_tool_session_params(p->o);
	params.n_ctx = (uint32_t)p->head.n_ctx;
	/* Half of the positions ask for their logits: calls no larger than what is computed together bound their memory. */
	if (params.n_batch > params.n_ubatch) params.n_batch = params.n_ubatch;
	p->n_batch = (int)params.n_batch;
	p->input = bt_mem_array(BT_MEM_HOST, params.n_batch, sizeof *p->input);
	p->row = bt_mem_array(BT_MEM_HOST, bt_kld_row_words(p->head.n_vocab), sizeof *p->row);
	if (!p->input || !p->row) return bt_fail_nomem(err, params.n_batch * sizeof *p->input, "a batch");
	return bt_tool_open_session(p->model, &params, &p->session, err);
}

static void close_all(struct perplexity *p)
{
	baton_session_close(&p->session);
	baton_model_close(&p->model);
	bt_kld_close(&p->kld);
	bt_mem_free(p->tokens);
	bt_mem_free(p->input);
	bt_mem_free(p->row);
	if (p->base) fclose(p->base);
}

static enum baton_status score_all(struct perplexity *p, struct baton_error *err)
{
	bool compare = p->kld.klds != NULL;
	if (compare) bt_kld_print_chunk(&p->kld, 0, stdout);
	for (int i = 0; i < p->head.n_chunk; i++) {
		enum baton_status st = score_window(p, i, err);
		if (st) return st;
		if (compare) bt_kld_print_chunk(&p->kld, i + 1, stdout);
		else printf("[%d]%.4f,", i + 1, exp(p->nll / (double)p->n));
		fflush(stdout);
	}
	if (compare) {
		bt_kld_print(&p->kld, stdout);
		return BATON_OK;
	}
	if (p->base && fflush(p->base))
		return bt_fail(err, BATON_ERR_IO, "cannot write %.200s: %s", p->base_path, strerror(errno));
	double n = (double)p->n, mean = p->nll / n, variance = p->nll2 / n - mean * mean;
	double error = variance > 0 && p->n > 1 ? sqrt(variance / (n - 1)) : 0;
	printf("\nFinal estimate: PPL = %.4f +/- %.5f\n", exp(mean), exp(mean) * error);
	return BATON_OK;
}

int bt_perplexity_main(const struct bt_opts *o)
{
	struct perplexity p = {.o = o};
	struct baton_error err;
	bool compare = bt_opt_flag(o, BT_OPT_KL_DIVERGENCE);
	if (compare && !bt_opt_str(o, BT_OPT_KL_BASE))
		return bt_opts_usage(o, "--kl-divergence needs the file to compare with: --kl-divergence-base FILE");
	if (!compare && !bt_opt_str(o, BT_OPT_FILE)) return bt_opts_usage(o, "the text is missing: -f FILE");
	if (bt_opt_given(o, BT_OPT_PPL_CHUNKS) && bt_opt_int(o, BT_OPT_PPL_CHUNKS) == 0)
		return bt_opts_usage(o, "--chunks 0 leaves nothing to score");
	bt_ui_catch_interrupt();
	int rc = bt_tool_open_model(o, &p.model);
	if (rc) return rc;
	enum baton_status st = open_all(&p, &err);
	if (!st) {
		fprintf(stderr, "baton perplexity: %d windows of %d tokens\n", p.head.n_chunk, p.head.n_ctx);
		st = score_all(&p, &err);
	}
	if (st) {
		if (p.n) putchar('\n');
		rc = bt_ui_fail(&err);
	}
	close_all(&p);
	return rc;
}
