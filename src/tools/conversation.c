#include "tools/conversation.h"

#include "tools/text_input.h"

#include <string.h>

/* The template's source into b, left empty where there is none. */
static enum baton_status read_template(const struct bt_opts *o, const struct baton_model *model, struct bt_buf *b,
                                       struct baton_error *err)
{
	const char *file = bt_opt_str(o, BT_OPT_CHAT_TEMPLATE_FILE);
	struct bt_str own;
	bool found;
	if (file) return bt_text_read(file, b, err);
	enum baton_status st = bt_gguf_get_str(model->gguf, "tokenizer.chat_template", &own, &found, err);
	if (!st && found) bt_buf_add(b, own.data, own.len);
	return st ? st : bt_buf_check(b, err, "the chat template");
}

static enum baton_status read_kwargs(struct bt_conversation *c, const char *text, struct baton_error *err)
{
	json_error_t e;
	if (!text) return BATON_OK;
	c->kwargs = json_loads(text, JSON_REJECT_DUPLICATES, &e);
	if (!c->kwargs) return bt_fail(err, BATON_ERR_ARG, "--chat-template-kwargs is not JSON: %.200s", e.text);
	if (!json_is_object(c->kwargs))
		return bt_fail(err, BATON_ERR_ARG, "--chat-template-kwargs expects a JSON object, got '%.80s'", text);
	return BATON_OK;
}

enum baton_status bt_conversation_open(struct bt_conversation *c, const struct bt_opts *o,
                                       const struct baton_model *model, struct baton_error *err)
{
	struct bt_buf source;
	const char *system = bt_opt_str(o, BT_OPT_SYSTEM);
	*c = (struct bt_conversation){.model = model, .messages = json_array()};
	if (!c->messages) return bt_fail_nomem(err, sizeof *c, "the conversation");
	bt_buf_init(&source, BT_MEM_TEXT, BT_LIMIT_TEMPLATE_SOURCE);
	enum baton_status st = read_template(o, model, &source, err);
	if (!st && source.len) {
		st = bt_jinja_open(source.data, source.len, &c->jinja, err);
		if (st == BATON_ERR_TEMPLATE) bt_fail_prefix(err, "chat template");
	}
	bt_buf_free(&source);
	if (!st) st = read_kwargs(c, bt_opt_str(o, BT_OPT_CHAT_TEMPLATE_KWARGS), err);
	if (!st && system) st = bt_conversation_set_system(c, system, err);
	return st;
}

void bt_conversation_close(struct bt_conversation *c)
{
	bt_jinja_close(&c->jinja);
	json_decref(c->messages);
	json_decref(c->kwargs);
	c->messages = c->kwargs = NULL;
}

bool bt_conversation_has_template(const struct bt_conversation *c)
{
	return c->jinja != NULL;
}

static json_t *message(const char *role, const char *text, size_t len)
{
	struct bt_utf8_stream stream = {0};
	struct bt_buf clean;
	json_t *m = NULL;
	bt_buf_init(&clean, BT_MEM_TEXT, 3 * BT_LIMIT_TEXT);
	bt_utf8_stream_feed(&stream, text, len, &clean);
	bt_utf8_stream_end(&stream, &clean);
	if (!clean.status)
		m = json_pack("{s:s, s:o}", "role", role, "content", json_stringn(bt_buf_str(&clean), clean.len));
	bt_buf_free(&clean);
	return m;
}

enum baton_status bt_conversation_add(struct bt_conversation *c, const char *role, const char *text, size_t len,
                                      struct baton_error *err)
{
	if (!json_array_append_new(c->messages, message(role, text, len))) return BATON_OK;
	return bt_fail_nomem(err, len, "a message");
}

size_t bt_conversation_count(const struct bt_conversation *c)
{
	return json_array_size(c->messages);
}

static const char *member(const struct bt_conversation *c, size_t i, const char *key)
{
	return json_string_value(json_object_get(json_array_get(c->messages, i), key));
}

const char *bt_conversation_role(const struct bt_conversation *c, size_t i)
{
	return member(c, i, "role");
}

const char *bt_conversation_text(const struct bt_conversation *c, size_t i)
{
	return member(c, i, "content");
}

static bool has_role(const struct bt_conversation *c, size_t i, const char *role)
{
	const char *r = bt_conversation_role(c, i);
	return r && !strcmp(r, role);
}

void bt_conversation_pop(struct bt_conversation *c)
{
	size_t n = bt_conversation_count(c);
	if (n) json_array_remove(c->messages, n - 1);
}

void bt_conversation_clear(struct bt_conversation *c)
{
	size_t keep = has_role(c, 0, "system");
	while (bt_conversation_count(c) > keep) bt_conversation_pop(c);
}

bool bt_conversation_drop_oldest(struct bt_conversation *c)
{
	size_t first = has_role(c, 0, "system"), next = first + 1;
	while (next < bt_conversation_count(c) && !has_role(c, next, "user")) next++;
	if (next >= bt_conversation_count(c)) return false;
	while (next-- > first) json_array_remove(c->messages, first);
	return true;
}

enum baton_status bt_conversation_set_system(struct bt_conversation *c, const char *text, struct baton_error *err)
{
	if (has_role(c, 0, "system")) json_array_remove(c->messages, 0);
	if (!*text) return BATON_OK;
	if (!json_array_insert_new(c->messages, 0, message("system", text, strlen(text)))) return BATON_OK;
	return bt_fail_nomem(err, strlen(text), "a message");
}

/* A special token as the file spells it; null where the vocabulary has none. */
static json_t *special(const struct bt_tokenizer *t, int32_t id)
{
	if (!t || id < 0) return json_null();
	struct bt_str s = bt_tokenizer_text(t, id);
	json_t *j = json_stringn(s.data, s.len);
	return j ? j : json_null();
}

enum baton_status bt_conversation_tokens(const struct bt_conversation *c, int32_t **ids, size_t *n,
                                         struct baton_error *err)
{
	const struct bt_tokenizer *t = c->model->tokenizer;
	struct bt_buf text;
	*ids = NULL;
	*n = 0;
	if (!t) return bt_fail(err, BATON_ERR_UNSUPPORTED, "the model file has no tokenizer");
	json_t *bos = special(t, bt_tokenizer_bos(t)), *eos = special(t, bt_tokenizer_eos(t));
	/* What transformers' apply_chat_template hands to a template. */
	json_t *vars = json_pack("{s:O, s:b, s:n, s:n, s:O, s:O}", "messages", c->messages, "add_generation_prompt", 1,
	                         "tools", "documents", "bos_token", bos, "eos_token", eos);
	bt_buf_init(&text, BT_MEM_TEXT, BT_LIMIT_TEMPLATE_OUTPUT);
	enum baton_status st = BATON_OK;
	if (!vars || (c->kwargs && json_object_update(vars, c->kwargs)))
		st = bt_fail_nomem(err, 4096, "the template's variables");
	struct bt_jinja_params params = {.vars = vars};
	if (!st) st = bt_jinja_render(c->jinja, &params, &text, err);
	if (st == BATON_ERR_TEMPLATE) bt_fail_prefix(err, "chat template");
	if (!st) {
		/* Many templates write the begin token out themselves: one is enough. */
		const char *begin = json_string_value(bos);
		bool has_bos = begin && !strncmp(bt_buf_str(&text), begin, strlen(begin));
		st = baton_tokenize(c->model, bt_buf_str(&text), text.len,
		                    BATON_TOKENIZE_SPECIAL | (has_bos ? 0u : (unsigned)BATON_TOKENIZE_BOS), ids, n,
		                    err);
	}
	bt_buf_free(&text);
	json_decref(vars);
	json_decref(bos);
	json_decref(eos);
	return st;
}
