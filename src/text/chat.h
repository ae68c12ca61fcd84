/* chat.h: a conversation as the text that a model was trained to answer.
 *
 * The template is the model file's own (`tokenizer.chat_template`), a Jinja file, or one of the built-in short ones
 * under llama.cpp's names. It sees what transformers' apply_chat_template gives it: messages, tools, documents,
 * add_generation_prompt, bos_token and eos_token where the vocabulary has them, and the caller's keywords, which win.
 *
 * Templates write the beginning-of-text token themselves where they want one: tokenize their text with
 * BT_TOKENIZE_SPECIAL and without BT_TOKENIZE_BOS.
 */
#ifndef BT_TEXT_CHAT_H
#define BT_TEXT_CHAT_H

#include "text/jinja.h"
#include "text/tokenizer.h"

/* Immutable, may be shared by threads. Keeps nothing of what it was opened from. */
struct bt_chat;

/* Where the template comes from: file wins over name, name over the model. */
struct bt_chat_source {
	const struct bt_gguf *gguf;           /* NULL: no model */
	const struct bt_tokenizer *tokenizer; /* for bos_token and eos_token; may be NULL */
	const char *file;                     /* path of a Jinja template */
	const char *name;                     /* a built-in template ("chatml"), a further one of the model
	                                         (`tokenizer.chat_template.NAME`), or, when it holds "{{" or "{%", the template
	                                         itself (length: strlen) */
};

/* BATON_ERR_UNSUPPORTED when the model has no template: the sentence says what to do. Without name, a model's template
 * for tools (`tokenizer.chat_template.tool_use`) is kept too and used for conversations with tools. */
enum baton_status bt_chat_open(const struct bt_chat_source *source, struct bt_chat **out, struct baton_error *err);
void bt_chat_close(struct bt_chat **c);

/* The template's text. with_tools: the one that conversations with tools get. */
struct bt_str bt_chat_template(const struct bt_chat *c, bool with_tools);
/* "model.gguf", "the built-in template 'chatml'": where it came from. */
const char *bt_chat_origin(const struct bt_chat *c);

struct bt_chat_request {
	const json_t *messages;  /* array of {"role", "content", ...}; passed on as they are, null content included */
	const json_t *tools;     /* array, or NULL: none */
	const json_t *documents; /* array, or NULL: none */
	const json_t *kwargs;    /* object of further variables, or NULL */
	bool add_generation_prompt; /* begin the assistant's answer */
	const struct tm *now;       /* as in jinja.h */
};

/* Append the text to out (initialise it with BT_LIMIT_TEMPLATE_OUTPUT). Errors as of bt_jinja_render: the sentence of a
 * template that raises an exception is exactly the template's. */
enum baton_status bt_chat_render(const struct bt_chat *c, const struct bt_chat_request *request, struct bt_buf *out,
                                 struct baton_error *err);

/* The same with the template's variables given one by one and nothing else, for templates that are not about chats. */
enum baton_status bt_chat_render_vars(const struct bt_chat *c, const json_t *vars, const struct tm *now,
                                      struct bt_buf *out, struct baton_error *err);

/* Names of the built-in templates; NULL after the last. */
const char *bt_chat_builtin_name(size_t i);
/* Appends the Jinja source of a built-in template; false when there is none of that name. */
bool bt_chat_builtin_source(const char *name, struct bt_buf *out);

#endif
