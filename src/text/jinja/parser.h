/* parser.h: what the two halves of the parser share.
 *
 * A recursive-descent parser with the grammar of jinja2 3.1. Functions return NULL after an error, which stands in
 * *err; the depth of the source bounds the recursion, the height of each node that of everything that walks the tree.
 */
#ifndef BT_TEXT_JINJA_PARSER_H
#define BT_TEXT_JINJA_PARSER_H

#include "text/jinja/ast.h"
#include "text/jinja/lexer.h"

struct bt_jj_parser {
	struct bt_jinja *j;
	struct bt_jj_lexer lex;
	struct bt_jj_token tok, ahead;
	bool has_ahead;
	enum baton_status status;
	struct baton_error *err;
	unsigned depth;
	/* Names of one spelling are one object. */
	const struct bt_jj_str **names; /* [cap_names], hashed */
	size_t n_names, cap_names;
	/* The tags that are open, for messages; each lists what may end it. */
	const struct bt_jj_open_tag *open;
	size_t cap_blocks;
	unsigned loops; /* loops around this place, within the same function */
};

struct bt_jj_open_tag {
	const struct bt_jj_open_tag *up;
	const char *tag;
	const char *const *ends; /* NULL-terminated */
};

/* A list of nodes while it is built. */
struct bt_jj_nodes {
	struct bt_jj_node *first, *last;
	size_t n;
};

/* Tokens */
bool bt_jj_p_next(struct bt_jj_parser *p); /* false: p->status */
bool bt_jj_p_peek(struct bt_jj_parser *p, struct bt_jj_token *out);
bool bt_jj_p_is_name(const struct bt_jj_parser *p, const char *name);
bool bt_jj_p_skip(struct bt_jj_parser *p, enum bt_jj_tok type); /* true: it was there and is eaten */
bool bt_jj_p_skip_name(struct bt_jj_parser *p, const char *name);
bool bt_jj_p_expect(struct bt_jj_parser *p, enum bt_jj_tok type);
bool bt_jj_p_expect_word(struct bt_jj_parser *p, const char *name);
const struct bt_jj_str *bt_jj_p_expect_name(struct bt_jj_parser *p);
struct bt_jj_node *bt_jj_p_fail(struct bt_jj_parser *p, int line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Nodes */
struct bt_jj_node *bt_jj_p_node(struct bt_jj_parser *p, enum bt_jj_kind kind, int line);
/* Set the height from the children and check it; NULL when it is too high. Call when all children are set. */
struct bt_jj_node *bt_jj_p_done(struct bt_jj_parser *p, struct bt_jj_node *n);
bool bt_jj_p_push(struct bt_jj_nodes *l, struct bt_jj_node *n); /* false for NULL */
const struct bt_jj_str *bt_jj_p_intern(struct bt_jj_parser *p, const char *s, size_t len);
struct bt_jj_node *bt_jj_p_name(struct bt_jj_parser *p, const struct bt_jj_str *name, int line);

/* Expressions */
struct bt_jj_node *bt_jj_p_expression(struct bt_jj_parser *p, bool with_cond);
/* A tuple without brackets, or one expression; of primaries only for targets. */
enum bt_jj_tuple_kind { BT_JJ_TUPLE_EXPR, BT_JJ_TUPLE_NO_COND, BT_JJ_TUPLE_TARGET, BT_JJ_TUPLE_NS_TARGET };
struct bt_jj_node *bt_jj_p_tuple(struct bt_jj_parser *p, enum bt_jj_tuple_kind kind, bool parens);
/* Filters behind node (NULL: a block's text); inline_first: the first one has no "|". */
struct bt_jj_node *bt_jj_p_filters(struct bt_jj_parser *p, struct bt_jj_node *node, bool inline_first);
/* The target of an assignment. */
struct bt_jj_node *bt_jj_p_target(struct bt_jj_parser *p, bool with_tuple, bool with_ns);
bool bt_jj_p_check_target(struct bt_jj_parser *p, struct bt_jj_node *t); /* and mark its names as assigned */

/* Statements: the whole template. */
enum baton_status bt_jj_parse(struct bt_jinja *j, const char *source, size_t len, struct baton_error *err);

#endif
