/* lexer.h: template source to tokens, one at a time.
 *
 * Follows the lexical rules of jinja2 3.1 with trim_blocks and lstrip_blocks on, the final newline dropped and all line
 * ends turned into "\n" first. Text tokens have their white space control applied already.
 */
#ifndef BT_TEXT_JINJA_LEXER_H
#define BT_TEXT_JINJA_LEXER_H

#include "base/status.h"
#include "text/jinja/value.h"

enum bt_jj_tok {
	BT_JJ_T_EOF,
	BT_JJ_T_DATA,
	BT_JJ_T_VAR_BEGIN,
	BT_JJ_T_VAR_END,
	BT_JJ_T_BLOCK_BEGIN,
	BT_JJ_T_BLOCK_END,
	BT_JJ_T_NAME,
	BT_JJ_T_STRING,
	BT_JJ_T_INTEGER,
	BT_JJ_T_FLOAT,
	/* operators */
	BT_JJ_T_ADD,
	BT_JJ_T_SUB,
	BT_JJ_T_MUL,
	BT_JJ_T_DIV,
	BT_JJ_T_FLOORDIV,
	BT_JJ_T_MOD,
	BT_JJ_T_POW,
	BT_JJ_T_TILDE,
	BT_JJ_T_LBRACKET,
	BT_JJ_T_RBRACKET,
	BT_JJ_T_LPAREN,
	BT_JJ_T_RPAREN,
	BT_JJ_T_LBRACE,
	BT_JJ_T_RBRACE,
	BT_JJ_T_EQ,
	BT_JJ_T_NE,
	BT_JJ_T_GT,
	BT_JJ_T_GE,
	BT_JJ_T_LT,
	BT_JJ_T_LE,
	BT_JJ_T_ASSIGN,
	BT_JJ_T_DOT,
	BT_JJ_T_COLON,
	BT_JJ_T_PIPE,
	BT_JJ_T_COMMA,
	BT_JJ_T_SEMICOLON,
	BT_JJ_TOKENS
};

struct bt_jj_token {
	enum bt_jj_tok type;
	int line;
	const char *s; /* the source text; for STRING the inside of the quotes; for DATA what is printed */
	size_t len;
};

enum bt_jj_lex_state { BT_JJ_IN_TEXT, BT_JJ_IN_BLOCK, BT_JJ_IN_VAR, BT_JJ_IN_RAW };

struct bt_jj_lexer {
	const char *s; /* source with "\n" line ends */
	size_t len, at;
	int line;
	enum bt_jj_lex_state state;
	bool line_starting;        /* what was read last ended a line */
	struct bt_jj_token queued; /* a tag's begin, behind the text before it */
	bool has_queued;
	char *closers; /* stack of expected ) ] } */
	size_t n_closers, cap_closers;
	struct bt_arena *arena;
	struct baton_error *err;
};

/* Copies source into the arena. */
enum baton_status bt_jj_lexer_init(struct bt_jj_lexer *x, struct bt_arena *a, const char *source, size_t len,
                                   struct baton_error *err);
/* The next token; after the end EOF again and again. */
enum baton_status bt_jj_lex(struct bt_jj_lexer *x, struct bt_jj_token *out);

/* "name", "end of statement block": for messages. */
const char *bt_jj_tok_name(enum bt_jj_tok type);

/* The value of a string literal's inside (escapes as in Python's str literals); NULL with err. */
const struct bt_jj_str *bt_jj_unescape(struct bt_arena *a, const struct bt_jj_token *t, struct baton_error *err);

/* A syntax error with its line; another kind of error that is found before the template runs. */
enum baton_status bt_jj_syntax(struct baton_error *err, int line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
enum baton_status bt_jj_assertion(struct baton_error *err, int line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
