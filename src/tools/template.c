/* template.c: `baton template`: print chat templates, or what they make of conversations. */
#include "base/limits.h"
#include "text/chat.h"
#include "tools/jsonl.h"
#include "tools/text_input.h"
#include "tools/ui.h"

#include <string.h>

/* "2024-12-31 23:59:58", a T between them, or the date alone. */
static bool read_clock(const char *s, struct tm *out)
{
	static const char *const forms[] = {"%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d"};
	for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
		*out = (struct tm){0};
		const char *end = strptime(s, forms[i], out);
		if (!end || *end) continue;
		struct tm days = *out; /* strptime fills in the day of the week, but not on every system */
		timegm(&days);
		if (days.tm_mday != out->tm_mday) return false; /* February 30 */
		out->tm_wday = days.tm_wday;
		out->tm_yday = days.tm_yday;
		return true;
	}
	return false;
}

static bool is_template_file(const char *name)
{
	static const char *const ends[] = {".jinja", ".jinja2", ".j2"};
	size_t len = strlen(name);
	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
		if (len > strlen(ends[i]) && !strcmp(name + len - strlen(ends[i]), ends[i])) return true;
	return false;
}

static enum baton_status open_chat(const struct bt_opts *o, struct bt_chat **out, struct baton_error *err)
{
	struct bt_chat_source source = {.name = bt_opt_str(o, BT_OPT_CHAT_TEMPLATE)};
	struct bt_gguf *g = NULL;
	struct bt_tokenizer *t = NULL;
	char *path = NULL;
	enum baton_status status = BATON_OK;
	if (o->n_args && is_template_file(o->args[0])) {
		source.file = o->args[0];
	} else if (o->n_args) {
		status = bt_tool_model_path(o, o->args[0], &path, err);
		if (!status) status = bt_gguf_open(path, &(struct bt_gguf_params){.no_data = true}, &g, err);
		/* A vocabulary that this build can't use is no reason not to print a template. */
		if (!status) bt_tokenizer_open(g, &t, NULL);
		source.gguf = g;
		source.tokenizer = t;
	}
	if (!status) status = bt_chat_open(&source, out, err);
	bt_tokenizer_close(&t);
	bt_gguf_close(&g);
	bt_mem_free(path);
	return status;
}

/* Whether request[key] is absent, null or of the type; says so where not. *out: the value, NULL when absent or null. */
static bool member(const json_t *request, const char *key, json_type type, const json_t **out, struct baton_error *err)
{
	const json_t *v = json_object_get(request, key);
	*out = NULL;
	if (!v || json_is_null(v)) return true;
	if (json_typeof(v) != type)
		return !bt_fail(err, BATON_ERR_ARG, "\"%s\" must be %s", key,
		                type == JSON_ARRAY ? "an array" : "an object");
	*out = v;
	return true;
}

/* An object in one of the two forms of docs/json.md. prompt: add_generation_prompt where it does not say; kwargs: of the
 * command line, or NULL. */
static enum baton_status render(const struct bt_chat *c, const json_t *request, bool prompt, const json_t *kwargs,
                                const struct tm *now, struct bt_buf *out, struct baton_error *err)
{
	const json_t *vars;
	struct bt_chat_request q = {.kwargs = kwargs, .add_generation_prompt = prompt, .now = now};
	if (!member(request, "vars", JSON_OBJECT, &vars, err)) return err->status;
	if (vars) return bt_chat_render_vars(c, vars, now, out, err);
	const json_t *more, *add = json_object_get(request, "add_generation_prompt");
	if (!member(request, "messages", JSON_ARRAY, &q.messages, err) ||
	    !member(request, "tools", JSON_ARRAY, &q.tools, err) ||
	    !member(request, "documents", JSON_ARRAY, &q.documents, err) ||
	    !member(request, "kwargs", JSON_OBJECT, &more, err))
		return err->status;
	if (!q.messages) return bt_fail(err, BATON_ERR_ARG, "\"messages\" or \"vars\" is missing");
	if (add && !json_is_boolean(add))
		return bt_fail(err, BATON_ERR_ARG, "\"add_generation_prompt\" must be true or false");
	if (add) q.add_generation_prompt = json_is_true(add);
	if (more) q.kwargs = more;
	return bt_chat_render(c, &q, out, err);
}

static int serve_json(const struct bt_chat *c, const json_t *kwargs, const struct tm *now)
{
	struct bt_jsonl j;
	bt_jsonl_init(&j, stdin, stdout);
	json_t *request;
	while ((request = bt_jsonl_read(&j))) {
		struct bt_buf out;
		struct baton_error err = {0};
		bt_buf_init(&out, BT_MEM_TEXT, BT_LIMIT_TEMPLATE_OUTPUT);
		if (render(c, request, false, kwargs, now, &out, &err)) {
			json_t *text = json_string(err.text);
			bt_jsonl_reply(&j, text ? json_pack("{s:o}", "error", text) : NULL);
		} else {
			json_t *text = json_stringn(bt_buf_str(&out), out.len);
			bt_jsonl_reply(&j, text ? json_pack("{s:o}", "text", text) : NULL);
		}
		bt_buf_free(&out);
		json_decref(request);
	}
	bt_jsonl_free(&j);
	return BT_EXIT_OK;
}

/* The conversation in a file: an array of messages, or a request. */
static enum baton_status render_file(const struct bt_chat *c, const char *path, const json_t *kwargs,
                                     const struct tm *now, struct baton_error *err)
{
	struct bt_buf text, out;
	json_error_t where;
	json_t *j = NULL;
	bt_buf_init(&text, BT_MEM_TEXT, BT_LIMIT_TEXT);
	bt_buf_init(&out, BT_MEM_TEXT, BT_LIMIT_TEMPLATE_OUTPUT);
	enum baton_status status = bt_text_read(path, &text, err);
	if (!status) j = json_loadb(bt_buf_str(&text), text.len, JSON_ALLOW_NUL, &where);
	if (!status && !j) status = bt_fail(err, BATON_ERR_FORMAT, "%s, line %d: %s", path, where.line, where.text);
	if (!status && json_is_array(j)) {
		struct bt_chat_request q = {.messages = j, .kwargs = kwargs, .add_generation_prompt = true, .now = now};
		status = bt_chat_render(c, &q, &out, err);
	} else if (!status && json_is_object(j)) {
		status = render(c, j, true, kwargs, now, &out, err);
	} else if (!status) {
		status = bt_fail(err, BATON_ERR_FORMAT, "%s: a JSON array of messages is expected", path);
	}
	if (!status) fwrite(bt_buf_str(&out), 1, out.len, stdout);
	else if (status == BATON_ERR_TEMPLATE) bt_fail_prefix(err, bt_chat_origin(c));
	json_decref(j);
	bt_buf_free(&out);
	bt_buf_free(&text);
	return status;
}

static void print_template(const struct bt_chat *c)
{
	struct bt_str s = bt_chat_template(c, false);
	fwrite(s.data, 1, s.len, stdout);
	if (!s.len || s.data[s.len - 1] != '\n') putchar('\n');
}

static int list_known(void)
{
	for (size_t i = 0; bt_chat_builtin_name(i); i++) puts(bt_chat_builtin_name(i));
	return BT_EXIT_OK;
}

int bt_template_main(const struct bt_opts *o)
{
	const char *file = bt_opt_str(o, BT_OPT_MESSAGES_FILE), *text = bt_opt_str(o, BT_OPT_CHAT_TEMPLATE_KWARGS);
	const char *clock = bt_opt_str(o, BT_OPT_NOW);
	bool json = bt_opt_flag(o, BT_OPT_JSON);
	struct tm now;
	if (bt_opt_flag(o, BT_OPT_KNOWN_TEMPLATES)) return list_known();
	if (!o->n_args && !bt_opt_str(o, BT_OPT_CHAT_TEMPLATE))
		return bt_opts_usage(o, "a model, a .jinja file or --chat-template is needed");
	if (json && file) return bt_opts_usage(o, "--json reads conversations from standard input");
	if (clock && !read_clock(clock, &now))
		return bt_opts_usage(o, "--now expects a time like \"2024-12-31 23:59:58\"");
	json_t *kwargs = text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
	if (text && !json_is_object(kwargs)) {
		json_decref(kwargs);
		return bt_opts_usage(o, "--chat-template-kwargs expects a JSON object");
	}
	struct baton_error err = {0};
	struct bt_chat *c = NULL;
	int rc = BT_EXIT_OK;
	enum baton_status status = open_chat(o, &c, &err);
	if (!status && json) rc = serve_json(c, kwargs, clock ? &now : NULL);
	else if (!status && file) status = render_file(c, file, kwargs, clock ? &now : NULL, &err);
	else if (!status) print_template(c);
	if (status) rc = bt_ui_fail(&err);
	bt_chat_close(&c);
	json_decref(kwargs);
	return rc;
}
