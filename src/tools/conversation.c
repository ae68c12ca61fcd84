#include "tools/conversation.h"

#include "base/limits.h"

#include <string.h>

/* A model without a template may still continue texts, so that alone is no error. */
static enum baton_status open_template(struct bt_conversation *c, const struct bt_opts *o, struct baton_error *err)
{
	struct bt_chat_source source = {.gguf = c->model->gguf,
	                                .tokenizer = c->model->tokenizer,
	                                .file = bt_opt_str(o, BT_OPT_CHAT_TEMPLATE_FILE),
	                                .name = bt_opt_str(o, BT_OPT_CHAT_TEMPLATE)};
	enum baton_status st = bt_chat_open(&source, &c->chat, err);
	return st == BATON_ERR_UNSUPPORTED ? BATON_OK : st;
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
	const char *system = bt_opt_str(o, BT_OPT_SYSTEM);
	*c = (struct bt_conversation){.model = model, .messages = json_array()};
	if (!c->messages) return bt_fail_nomem(err, sizeof *c, "the conversation");
	enum baton_status st = open_template(c, o, err);
	if (!st) st = read_kwargs(c, bt_opt_str(o, BT_OPT_CHAT_TEMPLATE_KWARGS), err);
	if (!st && system) st = bt_conversation_set_system(c, system, err);
	return st;
}

void bt_conversation_close(struct bt_conversation *c)
{
	bt_chat_close(&c->chat);
	json_decref(c->messages);
	json_decref(c->kwargs);
	c->messages = c->kwargs = NULL;
}

bool bt_conversation_has_template(const struct bt_conversation *c)
{
	return c->chat != NULL;
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

enum baton_status bt_prompt_tokens(const struct baton_model *model, const struct bt_buf *text, int32_t **ids, size_t *n,
                                   struct baton_error *err)
{
	const struct bt_tokenizer *t = model->tokenizer;
	*ids = NULL;
	*n = 0;
	if (!t) return bt_fail(err, BATON_ERR_UNSUPPORTED, "the model file has no tokenizer");
	/* Many templates write the begin token out themselves: one is enough. */
	int32_t bos = bt_tokenizer_bos(t);
	struct bt_str begin = bos < 0 ? (struct bt_str){"", 0} : bt_tokenizer_text(t, bos);
	bool has_bos = begin.len && text->len >= begin.len && !memcmp(text->data, begin.data, begin.len);
	unsigned flags = BATON_TOKENIZE_SPECIAL | (has_bos ? 0u : (unsigned)BATON_TOKENIZE_BOS);
	return baton_tokenize(model, bt_buf_str(text), text->len, flags, ids, n, err);
}

enum baton_status bt_conversation_tokens(const struct bt_conversation *c, int32_t **ids, size_t *n,
                                         struct baton_error *err)
{
	struct bt_buf text;
	*ids = NULL;
	*n = 0;
	bt_buf_init(&text, BT_MEM_TEXT, BT_LIMIT_TEMPLATE_OUTPUT);
	struct bt_chat_request request = {.messages = c->messages, .kwargs = c->kwargs, .add_generation_prompt = true};
	enum baton_status st = bt_chat_render(c->chat, &request, &text, err);
	if (st == BATON_ERR_TEMPLATE) bt_fail_prefix(err, "chat template");
	if (!st) st = bt_prompt_tokens(c->model, &text, ids, n, err);
	bt_buf_free(&text);
	return st;
}
