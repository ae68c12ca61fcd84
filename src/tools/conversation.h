/* conversation.h: messages with their roles, and the tokens that a model's chat template makes of them. */
#ifndef BT_TOOLS_CONVERSATION_H
#define BT_TOOLS_CONVERSATION_H

#include "engine/model.h"
#include "text/chat.h"
#include "tools/options.h"

struct bt_conversation {
	const struct baton_model *model;
	struct bt_chat *chat; /* NULL: neither the file nor the options have a template */
	json_t *messages;     /* [{"role": ..., "content": ...}, ...] as templates see them */
	json_t *kwargs;       /* of --chat-template-kwargs, or NULL */
};

/* With the template of --chat-template-file, --chat-template or the model, the system message of -sys, the variables of
 * --chat-template-kwargs. Pair with bt_conversation_close, also after errors. */
enum baton_status bt_conversation_open(struct bt_conversation *c, const struct bt_opts *o,
                                       const struct baton_model *model, struct baton_error *err);
void bt_conversation_close(struct bt_conversation *c);
bool bt_conversation_has_template(const struct bt_conversation *c);

/* Append a message. Bytes that are no UTF-8 become U+FFFD. */
enum baton_status bt_conversation_add(struct bt_conversation *c, const char *role, const char *text, size_t len,
                                      struct baton_error *err);
/* Messages, the system message among them; role and text of one (NULL when there is no such). */
size_t bt_conversation_count(const struct bt_conversation *c);
const char *bt_conversation_role(const struct bt_conversation *c, size_t i);
const char *bt_conversation_text(const struct bt_conversation *c, size_t i);
/* Forget the last message; all but the system message; the oldest turn (a user's message and what follows up to the next
 * one), which is false when only one turn is left. */
void bt_conversation_pop(struct bt_conversation *c);
void bt_conversation_clear(struct bt_conversation *c);
bool bt_conversation_drop_oldest(struct bt_conversation *c);
/* Put the system message in front, in place of the one that is there; "" takes it away. */
enum baton_status bt_conversation_set_system(struct bt_conversation *c, const char *text, struct baton_error *err);

/* The tokens of a text as the model is to read it, control tokens included: *ids is freed with baton_free. */
enum baton_status bt_prompt_tokens(const struct baton_model *model, const struct bt_buf *text, int32_t **ids, size_t *n,
                                   struct baton_error *err);
/* The tokens of the whole conversation with the beginning of the assistant's turn: *ids is freed with baton_free. */
enum baton_status bt_conversation_tokens(const struct bt_conversation *c, int32_t **ids, size_t *n,
                                         struct baton_error *err);

#endif
