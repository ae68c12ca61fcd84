/* run.c: `baton run MODEL [PROMPT]`: one answer, streamed. */
#include "tools/conversation.h"
#include "tools/generate.h"
#include "tools/text_input.h"

#include <string.h>
#include <unistd.h>

/* The prompt: the words of the command line, then the file's text; standard input where neither is given. */
static enum baton_status read_prompt(const struct bt_opts *o, struct bt_buf *prompt, struct baton_error *err)
{
	const char *words = o->n_args > 1 ? o->args[1] : bt_opt_str(o, BT_OPT_PROMPT);
	const char *file = bt_opt_str(o, BT_OPT_FILE);
	if (words) bt_buf_adds(prompt, words);
	if (!words && !file) file = "-";
	if (words && file) bt_buf_adds(prompt, "\n\n");
	enum baton_status st = file ? bt_text_read(file, prompt, err) : BATON_OK;
	/* A file ends with a line break; a prompt does not mean it. */
	if (!st && file && prompt->len && prompt->data[prompt->len - 1] == '\n') prompt->data[--prompt->len] = 0;
	return st ? st : bt_buf_check(prompt, err, "the prompt");
}

/* The tokens of the prompt: as it is, or as the user's message of a conversation. */
static enum baton_status tokenize(const struct bt_generator *g, struct bt_conversation *c, const struct bt_buf *prompt,
                                  int32_t **ids, size_t *n, struct baton_error *err)
{
	if (bt_opt_flag(g->o, BT_OPT_RAW)) return bt_prompt_tokens(g->model, prompt, ids, n, err);
	if (!bt_conversation_has_template(c)) {
		fprintf(stderr, "baton: the model has no chat template: the text is continued as it is\n");
		return bt_prompt_tokens(g->model, prompt, ids, n, err);
	}
	enum baton_status st = bt_conversation_add(c, "user", bt_buf_str(prompt), prompt->len, err);
	return st ? st : bt_conversation_tokens(c, ids, n, err);
}

static int run(struct bt_generator *g, struct bt_conversation *c, const struct bt_buf *prompt)
{
	struct baton_error err;
	enum bt_gen_end end = BT_GEN_END_MODEL;
	int32_t *ids = NULL;
	size_t n = 0;
	enum baton_status st = tokenize(g, c, prompt, &ids, &n, &err);
	if (!st) st = bt_gen_prompt(g, ids, n, &err);
	if (!st) st = bt_gen_answer(g, bt_opt_int(g->o, BT_OPT_N_PREDICT), stdout, NULL, &end, &err);
	baton_free(ids);
	if (g->first_token) putchar('\n');
	fflush(stdout);
	if (st) return bt_ui_fail(&err);
	if (end == BT_GEN_END_CONTEXT)
		fprintf(stderr, "baton: the context of %u tokens is full: the answer is cut off; -c makes it larger\n",
		        g->info.n_ctx);
	if (!bt_opt_flag(g->o, BT_OPT_NO_STATS)) bt_gen_print_stats(g);
	return end == BT_GEN_END_INTERRUPTED ? BT_EXIT_INTERRUPTED : BT_EXIT_OK;
}

int bt_run_main(const struct bt_opts *o)
{
	struct bt_generator g = {0};
	struct bt_conversation c = {0};
	struct bt_buf prompt;
	struct baton_error err;
	if (o->n_args > 1 && bt_opt_str(o, BT_OPT_PROMPT)) return bt_opts_usage(o, "the prompt was given twice");
	if (o->n_args < 2 && !bt_opt_str(o, BT_OPT_PROMPT) && !bt_opt_str(o, BT_OPT_FILE) && isatty(STDIN_FILENO))
		return bt_opts_usage(o, "the prompt is missing (`baton chat` is for conversations)");
	bt_ui_catch_interrupt();
	bt_buf_init(&prompt, BT_MEM_TEXT, BT_LIMIT_TEXT);
	int rc = read_prompt(o, &prompt, &err) ? bt_ui_fail(&err) : BT_EXIT_OK;
	if (!rc && !prompt.len) rc = bt_opts_usage(o, "the prompt is empty");
	if (!rc) rc = bt_gen_open(&g, o);
	if (!rc && !bt_opt_flag(o, BT_OPT_RAW)) {
		enum baton_status st = bt_conversation_open(&c, o, g.model, &err);
		if (st) rc = st == BATON_ERR_ARG ? bt_opts_usage(o, "%s", err.text) : bt_ui_fail(&err);
	}
	if (!rc) rc = run(&g, &c, &prompt);
	bt_conversation_close(&c);
	bt_gen_close(&g);
	bt_buf_free(&prompt);
	return rc;
}
