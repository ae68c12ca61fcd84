#include "text/chat.h"
#include "base/limits.h"
#include "text/utf8.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* One parsed template and its text. */
struct template
{
	struct bt_jinja *jinja;
	char *source;
	size_t len;
};

struct bt_chat {
	struct template plain, tools; /* tools: empty when there is no special one */
	char *origin;
	char *bos, *eos; /* NULL: the vocabulary has none, or there is no vocabulary */
	size_t bos_len, eos_len;
};

static void free_template(struct template *t)
{
	bt_jinja_close(&t->jinja);
	bt_mem_free(t->source);
}

void bt_chat_close(struct bt_chat **c)
{
	if (!c || !*c) return;
	free_template(&(*c)->plain);
	free_template(&(*c)->tools);
	bt_mem_free((*c)->origin);
	bt_mem_free((*c)->bos);
	bt_mem_free((*c)->eos);
	bt_mem_free(*c);
	*c = NULL;
}

/* Parse; what: for messages, "the chat template of model.gguf". */
static enum baton_status parse(struct template *t, const char *source, size_t len, const char *what,
                               struct baton_error *err)
{
	t->source = bt_mem_strndup(BT_MEM_TEXT, source, len);
	if (!t->source) return bt_fail_nomem(err, len, what);
	t->len = len;
	enum baton_status status = bt_jinja_open(t->source, len, &t->jinja, err);
	return status == BATON_ERR_NOMEM || !status ? status : bt_fail_prefix(err, what);
}

static enum baton_status set_origin(struct bt_chat *c, const char *origin, struct baton_error *err)
{
	c->origin = bt_mem_strdup(BT_MEM_TEXT, origin);
	return c->origin ? BATON_OK : bt_fail_nomem(err, strlen(origin), "a chat template's name");
}

static enum baton_status open_file(struct bt_chat *c, const char *path, struct baton_error *err)
{
	struct bt_buf b;
	char block[16384];
	size_t n;
	bt_buf_init(&b, BT_MEM_TEXT, BT_LIMIT_TEMPLATE_SOURCE);
	FILE *f = fopen(path, "rb");
	if (!f) return bt_fail(err, BATON_ERR_IO, "cannot open the chat template '%s': %s", path, strerror(errno));
	while ((n = fread(block, 1, sizeof block, f)) > 0) bt_buf_add(&b, block, n);
	bool bad = ferror(f);
	fclose(f);
	char what[300];
	snprintf(what, sizeof what, "the chat template %s", path);
	enum baton_status status = bt_buf_check(&b, err, what);
	if (!status && bad) status = bt_fail(err, BATON_ERR_IO, "cannot read the chat template '%s'", path);
	if (!status) status = parse(&c->plain, bt_buf_str(&b), b.len, what, err);
	if (!status) status = set_origin(c, path, err);
	bt_buf_free(&b);
	return status;
}

/* The model's template of that key; found tells whether there is one. */
static enum baton_status open_key(const struct bt_chat_source *s, const char *key, struct template *t, bool *found,
                                  struct baton_error *err)
{
	struct bt_str text;
	char what[300];
	*found = false;
	enum baton_status status = bt_gguf_get_str(s->gguf, key, &text, found, err);
	if (status) bt_fail_prefix(err, bt_gguf_path(s->gguf));
	if (status || !*found) return status;
	snprintf(what, sizeof what, "%s, %s", bt_gguf_path(s->gguf), key);
	return parse(t, text.data, text.len, what, err);
}

static enum baton_status open_model(struct bt_chat *c, const struct bt_chat_source *s, struct baton_error *err)
{
	bool found = false, has_tools;
	enum baton_status status = BATON_OK;
	if (s->gguf) status = open_key(s, "tokenizer.chat_template", &c->plain, &found, err);
	if (!status && !found)
		return bt_fail(err, BATON_ERR_UNSUPPORTED,
		               "%s: the file has no chat template: choose one with --chat-template (such as chatml) or "
		               "--chat-template-file, or use --raw",
		               s->gguf ? bt_gguf_path(s->gguf) : "no model");
	if (!status) status = open_key(s, "tokenizer.chat_template.tool_use", &c->tools, &has_tools, err);
	if (!status) status = set_origin(c, bt_gguf_path(s->gguf), err);
	return status;
}

static enum baton_status open_builtin(struct bt_chat *c, const char *name, struct baton_error *err)
{
	struct bt_buf b;
	char what[200];
	bt_buf_init(&b, BT_MEM_TEXT, BT_LIMIT_TEMPLATE_SOURCE);
	snprintf(what, sizeof what, "the built-in template '%s'", name);
	bool known = bt_chat_builtin_source(name, &b);
	enum baton_status status = bt_buf_check(&b, err, what);
	if (!status && !known)
		status = bt_fail(
			err, BATON_ERR_ARG,
			"no chat template is called '%.60s': `baton template --known` lists those that are built in",
			name);
	if (!status) status = parse(&c->plain, bt_buf_str(&b), b.len, what, err);
	if (!status) status = set_origin(c, what, err);
	bt_buf_free(&b);
	return status;
}

static enum baton_status open_named(struct bt_chat *c, const struct bt_chat_source *s, struct baton_error *err)
{
	if (strstr(s->name, "{{") || strstr(s->name, "{%")) {
		enum baton_status status = parse(&c->plain, s->name, strlen(s->name), "the given template", err);
		return status ? status : set_origin(c, "the given template", err);
	}
	char key[BT_LIMIT_GGUF_NAME + 1];
	bool found = false;
	enum baton_status status = BATON_OK;
	int n = snprintf(key, sizeof key, "tokenizer.chat_template.%s", s->name);
	if (s->gguf && n > 0 && (size_t)n < sizeof key) status = open_key(s, key, &c->plain, &found, err);
	if (status) return status;
	return found ? set_origin(c, bt_gguf_path(s->gguf), err) : open_builtin(c, s->name, err);
}

static bool token_text(const struct bt_tokenizer *t, int32_t id, char **text, size_t *len)
{
	if (id < 0) return true;
	struct bt_str s = bt_tokenizer_text(t, id);
	*text = bt_mem_strndup(BT_MEM_TEXT, s.data, s.len);
	*len = s.len;
	return *text;
}

enum baton_status bt_chat_open(const struct bt_chat_source *s, struct bt_chat **out, struct baton_error *err)
{
	struct baton_error local;
	enum baton_status status;
	*out = NULL;
	if (!err) err = &local;
	struct bt_chat *c = bt_mem_zalloc(BT_MEM_TEXT, sizeof *c);
	if (!c) return bt_fail_nomem(err, sizeof *c, "a chat template");
	if (s->file) status = open_file(c, s->file, err);
	else status = s->name ? open_named(c, s, err) : open_model(c, s, err);
	if (!status && s->tokenizer &&
	    (!token_text(s->tokenizer, bt_tokenizer_bos(s->tokenizer), &c->bos, &c->bos_len) ||
	     !token_text(s->tokenizer, bt_tokenizer_eos(s->tokenizer), &c->eos, &c->eos_len)))
		status = bt_fail_nomem(err, c->bos_len + c->eos_len, "the texts of special tokens");
	if (status) bt_chat_close(&c);
	*out = c;
	return status;
}

static const struct template *choose(const struct bt_chat *c, bool with_tools)
{
	return with_tools && c->tools.jinja ? &c->tools : &c->plain;
}

struct bt_str bt_chat_template(const struct bt_chat *c, bool with_tools)
{
	const struct template *t = choose(c, with_tools);
	return (struct bt_str){t->source, t->len};
}

const char *bt_chat_origin(const struct bt_chat *c)
{
	return c->origin;
}

/* vars[key] = value, null for NULL. jansson counts references in the value, which it takes as changeable. */
static bool put(json_t *vars, const char *key, const json_t *value)
{
	return !(value ? json_object_set(vars, key, (json_t *)(uintptr_t)value)
	               : json_object_set_new(vars, key, json_null()));
}

static bool put_text(json_t *vars, const char *key, const char *text, size_t len)
{
	/* A token that is not UTF-8 is no text that a template could print. */
	return !text || bt_utf8_valid_prefix(text, len) < len ||
	       !json_object_set_new(vars, key, json_stringn(text, len));
}

enum baton_status bt_chat_render(const struct bt_chat *c, const struct bt_chat_request *q, struct bt_buf *out,
                                 struct baton_error *err)
{
	enum baton_status status = BATON_OK;
	json_t *vars = json_object();
	bool ok = vars && put_text(vars, "bos_token", c->bos, c->bos_len) &&
	          put_text(vars, "eos_token", c->eos, c->eos_len) && put(vars, "messages", q->messages) &&
	          put(vars, "tools", q->tools) && put(vars, "documents", q->documents) &&
	          !json_object_set_new(vars, "add_generation_prompt", json_boolean(q->add_generation_prompt));
	if (ok && q->kwargs) ok = !json_object_update(vars, (json_t *)(uintptr_t)q->kwargs);
	if (!ok) status = bt_fail_nomem(err, json_object_size(vars), "the variables of a chat template");
	const struct template *t = choose(c, json_array_size(q->tools) > 0);
	if (!status)
		status = bt_jinja_render(t->jinja, &(struct bt_jinja_params){.vars = vars, .now = q->now}, out, err);
	json_decref(vars);
	return status;
}

enum baton_status bt_chat_render_vars(const struct bt_chat *c, const json_t *vars, const struct tm *now,
                                      struct bt_buf *out, struct baton_error *err)
{
	return bt_jinja_render(c->plain.jinja, &(struct bt_jinja_params){.vars = vars, .now = now}, out, err);
}
