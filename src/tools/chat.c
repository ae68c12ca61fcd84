/* chat.c: `baton chat MODEL`: a conversation. */
#include "tools/conversation.h"
#include "tools/generate.h"
#include "tools/line_input.h"
#include "tools/text_input.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

struct chat {
	const struct bt_opts *o;
	struct bt_generator g;
	struct bt_conversation c;
	struct bt_line_input *in;
	uint64_t seed; /* moves on with /regen, for another answer */
	bool leave;
};

/* A remark that is no part of the answer. */
static void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void note(const char *fmt, ...)
{
	va_list ap;
	bool colour = isatty(STDERR_FILENO);
	fflush(stdout);
	fputs(colour ? "\x1b[2m(" : "(", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputs(colour ? ")\x1b[0m\n" : ")\n", stderr);
}

/* The tokens of the conversation; the oldest turns are left out until the rest leaves room for an answer. */
static enum baton_status fit(struct chat *chat, int32_t **ids, size_t *n, struct baton_error *err)
{
	size_t room = chat->g.info.n_ctx - chat->g.info.n_ctx / 8;
	bool dropped = false;
	enum baton_status st;
	while (!(st = bt_conversation_tokens(&chat->c, ids, n, err))) {
		if (*n <= room || !bt_conversation_drop_oldest(&chat->c)) break;
		baton_free(*ids);
		*ids = NULL;
		dropped = true;
	}
	if (!st && dropped)
		note("the context of %u tokens is full: the oldest messages are left out", chat->g.info.n_ctx);
	return st;
}

/* Let the model answer the last message. On failure that message is taken back. */
static enum baton_status answer(struct chat *chat, struct baton_error *err)
{
	struct bt_buf text;
	int32_t *ids = NULL;
	size_t n = 0;
	enum bt_gen_end end = BT_GEN_END_MODEL;
	bt_buf_init(&text, BT_MEM_TEXT, BT_LIMIT_TEXT);
	enum baton_status st = fit(chat, &ids, &n, err);
	if (!st) st = bt_gen_prompt(&chat->g, ids, n, err);
	if (!st) st = bt_gen_answer(&chat->g, bt_opt_int(chat->o, BT_OPT_N_PREDICT), stdout, &text, &end, err);
	if (text.len) putchar('\n');
	if (st) bt_conversation_pop(&chat->c);
	else st = bt_conversation_add(&chat->c, "assistant", bt_buf_str(&text), text.len, err);
	if (!st && end == BT_GEN_END_CONTEXT)
		note("the context of %u tokens is full: the answer is cut off; /clear begins anew", chat->g.info.n_ctx);
	if (!st && end == BT_GEN_END_INTERRUPTED) note("stopped");
	baton_free(ids);
	bt_buf_free(&text);
	return st;
}

/* Answer, and say what went wrong; the conversation goes on either way. */
static void respond(struct chat *chat)
{
	struct baton_error err;
	enum baton_status st = answer(chat, &err);
	fflush(stdout);
	if (ferror(stdout)) chat->leave = true; /* nobody hears the answers; the caller of the command says so */
	else if (st == BATON_ERR_CANCELLED) note("stopped");
	else if (st) bt_ui_error("%s", err.text);
	bt_ui_clear_interrupt();
}

static void send(struct chat *chat, const char *text, size_t len)
{
	struct baton_error err;
	if (bt_conversation_add(&chat->c, "user", text, len, &err)) bt_ui_error("%s", err.text);
	else respond(chat);
}

static void do_help(struct chat *chat, const char *arg);

static void do_clear(struct chat *chat, const char *arg)
{
	(void)arg;
	bt_conversation_clear(&chat->c);
	note("forgotten");
}

static void do_system(struct chat *chat, const char *arg)
{
	struct baton_error err;
	const char *role = bt_conversation_role(&chat->c, 0);
	if (*arg) {
		if (!strcmp(arg, "-")) arg = "";
		if (bt_conversation_set_system(&chat->c, arg, &err)) bt_ui_error("%s", err.text);
	} else if (role && !strcmp(role, "system")) {
		printf("%s\n", bt_conversation_text(&chat->c, 0));
	} else {
		note("there is no system message; /system TEXT sets one");
	}
}

static void do_regen(struct chat *chat, const char *arg)
{
	size_t n = bt_conversation_count(&chat->c);
	const char *last = n ? bt_conversation_role(&chat->c, n - 1) : NULL;
	(void)arg;
	if (!last || strcmp(last, "assistant")) {
		note("there is no answer yet");
		return;
	}
	bt_conversation_pop(&chat->c);
	bt_sampler_set_seed(chat->g.sampler, ++chat->seed);
	respond(chat);
}

static void do_save(struct chat *chat, const char *arg)
{
	size_t len = strlen(arg);
	bool ok;
	if (!*arg) {
		note("a file's name is missing: /save FILE (.json keeps the messages for other programs)");
		return;
	}
	FILE *f = fopen(arg, "we");
	if (!f) {
		bt_ui_error("cannot write %.300s: %s", arg, strerror(errno));
		return;
	}
	if (len > 5 && !strcmp(arg + len - 5, ".json")) {
		ok = !json_dumpf(chat->c.messages, f, JSON_INDENT(2)) && fputc('\n', f) != EOF;
	} else {
		for (size_t i = 0; i < bt_conversation_count(&chat->c); i++)
			fprintf(f, "## %s\n\n%s\n\n", bt_conversation_role(&chat->c, i),
			        bt_conversation_text(&chat->c, i));
		ok = !ferror(f);
	}
	if (fclose(f) || !ok) bt_ui_error("cannot write %.300s: %s", arg, strerror(errno));
	else note("%zu messages saved to %s", bt_conversation_count(&chat->c), arg);
}

static void do_exit(struct chat *chat, const char *arg)
{
	(void)arg;
	chat->leave = true;
}

static const struct {
	const char *name, *arg, *help;
	void (*run)(struct chat *chat, const char *arg);
} commands[] = {
	{"/help", "", "this list", do_help},
	{"/clear", "", "forget the conversation, but not the system message", do_clear},
	{"/system", "[TEXT]", "show the system message, or set it (-: none)", do_system},
	{"/regen", "", "answer the last message again", do_regen},
	{"/save", "FILE", "write the conversation down (as JSON where FILE ends with .json)", do_save},
	{"/exit", "", "leave, like Ctrl-D", do_exit},
};

static void do_help(struct chat *chat, const char *arg)
{
	(void)chat, (void)arg;
	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
		printf("  %-8s %-7s %s\n", commands[i].name, commands[i].arg, commands[i].help);
	printf("  Ctrl-C stops an answer; a backslash at the end of a line goes on in the next one;\n"
	       "  a message that begins with / needs a blank in front.\n");
}

static void do_command(struct chat *chat, const char *line)
{
	size_t len = strcspn(line, " ");
	const char *arg = line + len + strspn(line + len, " ");
	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
		if (strlen(commands[i].name) != len || strncmp(line, commands[i].name, len)) continue;
		commands[i].run(chat, arg);
		return;
	}
	note("no such command: %.*s; /help lists them", (int)len, line);
}

static void converse(struct chat *chat)
{
	struct bt_buf line;
	const char *first = bt_opt_str(chat->o, BT_OPT_PROMPT);
	bt_buf_init(&line, BT_MEM_TEXT, BT_LIMIT_TEXT);
	if (first) send(chat, first, strlen(first));
	while (!chat->leave) {
		enum bt_line_result r = bt_line_read(chat->in, &line);
		if (r == BT_LINE_END) break;
		if (r == BT_LINE_INTERRUPTED) {
			bt_ui_clear_interrupt();
			putchar('\n');
			note("Ctrl-D or /exit leaves");
		} else if (line.status) {
			bt_ui_error("the line is too long");
		} else if (line.len && line.data[0] == '/') {
			do_command(chat, line.data);
		} else if (strspn(bt_buf_str(&line), " \t\n") < line.len) {
			send(chat, line.data, line.len);
		}
		fflush(stdout);
	}
	if (bt_line_is_terminal(chat->in) && !chat->leave) putchar('\n');
	bt_buf_free(&line);
}

static int open_chat(struct chat *chat)
{
	struct baton_error err;
	char history[4096];
	bool keeps = bt_line_history_path("chat_history", history, sizeof history);
	int rc = bt_gen_open(&chat->g, chat->o);
	if (rc) return rc;
	chat->seed = chat->g.seed;
	enum baton_status st = bt_conversation_open(&chat->c, chat->o, chat->g.model, &err);
	if (st == BATON_ERR_ARG) return bt_opts_usage(chat->o, "%s", err.text);
	if (!st && !bt_conversation_has_template(&chat->c))
		st = bt_fail(&err, BATON_ERR_UNSUPPORTED,
		             "%.200s: the model has no chat template: --chat-template-file FILE gives one, `baton run "
		             "--raw` "
		             "needs none",
		             chat->o->args[0]);
	if (!st) st = bt_line_open("> ", keeps ? history : NULL, &chat->in, &err);
	return st ? bt_ui_fail(&err) : BT_EXIT_OK;
}

int bt_chat_main(const struct bt_opts *o)
{
	struct chat chat = {.o = o};
	bt_ui_catch_interrupt();
	int rc = open_chat(&chat);
	if (!rc) {
		if (bt_line_is_terminal(chat.in))
			printf("%s, %u tokens of context. /help lists the commands, Ctrl-D leaves.\n",
			       chat.g.model->type, chat.g.info.n_ctx);
		converse(&chat);
		if (!bt_opt_flag(o, BT_OPT_NO_STATS) && chat.g.prompt.tokens && !ferror(stdout))
			bt_gen_print_stats(&chat.g);
	}
	bt_line_close(&chat.in);
	bt_conversation_close(&chat.c);
	bt_gen_close(&chat.g);
	return rc;
}
