/* parse_expr.c: tokens, nodes and expressions. */
#include "base/limits.h"
#include "text/jinja/big.h"
#include "text/jinja/interp.h"
#include "text/jinja/number_text.h"
#include "text/jinja/parser.h"

#include <stdio.h>
#include <string.h>

struct bt_jj_node *bt_jj_p_fail(struct bt_jj_parser *p, int line, const char *fmt, ...)
{
	char text[400];
	if (p->status) return NULL;
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	p->status = bt_jj_syntax(p->err, line, "%s", text);
	return NULL;
}

static void *no_memory(struct bt_jj_parser *p)
{
	if (p->status) return NULL;
	struct bt_arena *a = &p->j->arena;
	if (a->used > a->limit - a->limit / 8)
		p->status = bt_fail(p->err, BATON_ERR_LIMIT, "the template needs more than its %zu MiB of memory",
		                    a->limit >> 20);
	else p->status = bt_fail(p->err, BATON_ERR_NOMEM, "no memory for a template of %zu bytes", p->lex.len);
	return NULL;
}

/* "end of print statement", or a name itself */
static void describe(const struct bt_jj_token *t, char out[80])
{
	if (t->type == BT_JJ_T_NAME) snprintf(out, 80, "%.*s", t->len < 60 ? (int)t->len : 60, t->s);
	else snprintf(out, 80, "%s", bt_jj_tok_name(t->type));
}

bool bt_jj_p_next(struct bt_jj_parser *p)
{
	if (p->status) return false;
	if (p->has_ahead) {
		p->tok = p->ahead;
		p->has_ahead = false;
		return true;
	}
	p->status = bt_jj_lex(&p->lex, &p->tok);
	return !p->status;
}

bool bt_jj_p_peek(struct bt_jj_parser *p, struct bt_jj_token *out)
{
	if (p->status) return false;
	if (!p->has_ahead) {
		p->status = bt_jj_lex(&p->lex, &p->ahead);
		if (p->status) return false;
		p->has_ahead = true;
	}
	*out = p->ahead;
	return true;
}

static bool tok_is(const struct bt_jj_token *t, const char *name)
{
	return t->type == BT_JJ_T_NAME && t->len == strlen(name) && !memcmp(t->s, name, t->len);
}

bool bt_jj_p_is_name(const struct bt_jj_parser *p, const char *name)
{
	return tok_is(&p->tok, name);
}

bool bt_jj_p_skip(struct bt_jj_parser *p, enum bt_jj_tok type)
{
	return !p->status && p->tok.type == type && bt_jj_p_next(p);
}

bool bt_jj_p_skip_name(struct bt_jj_parser *p, const char *name)
{
	return !p->status && bt_jj_p_is_name(p, name) && bt_jj_p_next(p);
}

bool bt_jj_p_expect(struct bt_jj_parser *p, enum bt_jj_tok type)
{
	if (p->status) return false;
	if (p->tok.type == type) return bt_jj_p_next(p);
	char got[80];
	describe(&p->tok, got);
	if (p->tok.type == BT_JJ_T_EOF)
		bt_jj_p_fail(p, p->tok.line, "unexpected end of template, expected '%s'.", bt_jj_tok_name(type));
	else bt_jj_p_fail(p, p->tok.line, "expected token '%s', got '%s'", bt_jj_tok_name(type), got);
	return false;
}

bool bt_jj_p_expect_word(struct bt_jj_parser *p, const char *name)
{
	char got[80];
	if (p->status) return false;
	if (bt_jj_p_is_name(p, name)) return bt_jj_p_next(p);
	describe(&p->tok, got);
	if (p->tok.type == BT_JJ_T_EOF)
		bt_jj_p_fail(p, p->tok.line, "unexpected end of template, expected '%s'.", name);
	else bt_jj_p_fail(p, p->tok.line, "expected token '%s', got '%s'", name, got);
	return false;
}

const struct bt_jj_str *bt_jj_p_expect_name(struct bt_jj_parser *p)
{
	struct bt_jj_token t = p->tok;
	return bt_jj_p_expect(p, BT_JJ_T_NAME) ? bt_jj_p_intern(p, t.s, t.len) : NULL;
}

static size_t name_hash(const char *s, size_t len)
{
	size_t h = 5381;
	for (size_t i = 0; i < len; i++) h = (h ^ (unsigned char)s[i]) * 0x9E3779B97F4A7C15u, h ^= h >> 31;
	return h;
}

static bool grow_names(struct bt_jj_parser *p)
{
	size_t cap = p->cap_names ? p->cap_names * 2 : 256;
	const struct bt_jj_str **t = bt_arena_zalloc(&p->j->arena, cap * sizeof *t);
	if (!t) return no_memory(p) != NULL;
	for (size_t i = 0; i < p->cap_names; i++) {
		if (!p->names[i]) continue;
		size_t at = name_hash(p->names[i]->s, p->names[i]->len) & (cap - 1);
		while (t[at]) at = (at + 1) & (cap - 1);
		t[at] = p->names[i];
	}
	p->names = t;
	p->cap_names = cap;
	return true;
}

const struct bt_jj_str *bt_jj_p_intern(struct bt_jj_parser *p, const char *s, size_t len)
{
	if (p->status || (p->n_names * 2 >= p->cap_names && !grow_names(p))) return NULL;
	size_t at = name_hash(s, len) & (p->cap_names - 1);
	for (; p->names[at]; at = (at + 1) & (p->cap_names - 1))
		if (p->names[at]->len == len && !memcmp(p->names[at]->s, s, len)) return p->names[at];
	const struct bt_jj_str *str = bt_jj_str_ref(&p->j->arena, s, len);
	if (!str) return no_memory(p);
	p->n_names++;
	return p->names[at] = str;
}

struct bt_jj_node *bt_jj_p_node(struct bt_jj_parser *p, enum bt_jj_kind kind, int line)
{
	struct bt_jj_node *n = p->status ? NULL : bt_arena_zalloc(&p->j->arena, sizeof *n);
	if (!n) return no_memory(p);
	n->kind = (uint8_t)kind;
	n->line = line;
	return n;
}

static unsigned tallest(const struct bt_jj_node *list, unsigned h)
{
	for (; list; list = list->next)
		if (list->height > h) h = list->height;
	return h;
}

struct bt_jj_node *bt_jj_p_done(struct bt_jj_parser *p, struct bt_jj_node *n)
{
	if (p->status || !n) return NULL;
	unsigned h = tallest(n->a, 0);
	h = tallest(n->b, h);
	h = tallest(n->c, h);
	h = tallest(n->d, h);
	h = tallest(n->body, h);
	if (n->params) h = tallest(n->params->names, h);
	if (h + 1 > BT_LIMIT_TEMPLATE_DEPTH) {
		p->status = bt_fail(p->err, BATON_ERR_LIMIT, "the template is nested deeper than %d levels (line %d)",
		                    BT_LIMIT_TEMPLATE_DEPTH, n->line);
		return NULL;
	}
	n->height = (uint16_t)(h + 1);
	return n;
}

bool bt_jj_p_push(struct bt_jj_nodes *l, struct bt_jj_node *n)
{
	if (!n) return false;
	if (l->last) l->last->next = n;
	else l->first = n;
	l->last = n;
	l->n++;
	return true;
}

struct bt_jj_node *bt_jj_p_name(struct bt_jj_parser *p, const struct bt_jj_str *name, int line)
{
	struct bt_jj_node *n = name ? bt_jj_p_node(p, BT_JJ_N_NAME, line) : NULL;
	if (n) n->value = bt_jj_of_str(name);
	return bt_jj_p_done(p, n);
}

/* Guards the recursion of the parser. */
static bool enter(struct bt_jj_parser *p)
{
	if (p->status) return false;
	if (++p->depth <= BT_LIMIT_TEMPLATE_DEPTH) return true;
	p->status = bt_fail(p->err, BATON_ERR_LIMIT, "the template is nested deeper than %d levels (line %d)",
	                    BT_LIMIT_TEMPLATE_DEPTH, p->tok.line);
	return false;
}

static struct bt_jj_node *leave(struct bt_jj_parser *p, struct bt_jj_node *n)
{
	p->depth--;
	return p->status ? NULL : n;
}

static struct bt_jj_node *unary(struct bt_jj_parser *p, bool with_filter);
static struct bt_jj_node *sum(struct bt_jj_parser *p);

static struct bt_jj_node *constant(struct bt_jj_parser *p, struct bt_jj_val v)
{
	struct bt_jj_node *n = bt_jj_p_node(p, BT_JJ_N_CONST, p->tok.line);
	if (n) n->value = v;
	return bt_jj_p_next(p) ? bt_jj_p_done(p, n) : NULL;
}

static struct bt_jj_node *name_or_constant(struct bt_jj_parser *p, bool with_ns)
{
	struct bt_jj_token t = p->tok;
	if (tok_is(&t, "true") || tok_is(&t, "True")) return constant(p, bt_jj_bool(true));
	if (tok_is(&t, "false") || tok_is(&t, "False")) return constant(p, bt_jj_bool(false));
	if (tok_is(&t, "none") || tok_is(&t, "None")) return constant(p, bt_jj_none());
	if (!bt_jj_p_next(p)) return NULL;
	struct bt_jj_node *name = bt_jj_p_name(p, bt_jj_p_intern(p, t.s, t.len), t.line);
	if (!with_ns || p->tok.type != BT_JJ_T_DOT || !name) return name;
	if (!bt_jj_p_next(p)) return NULL;
	const struct bt_jj_str *attr = bt_jj_p_expect_name(p);
	struct bt_jj_node *n = attr ? bt_jj_p_node(p, BT_JJ_N_NSREF, t.line) : NULL;
	if (!n) return NULL;
	n->a = name;
	n->value = bt_jj_of_str(attr);
	return bt_jj_p_done(p, n);
}

/* "a" "b" is one string. */
static struct bt_jj_node *string(struct bt_jj_parser *p)
{
	struct bt_arena *a = &p->j->arena;
	struct bt_jj_node *n = bt_jj_p_node(p, BT_JJ_N_CONST, p->tok.line);
	const struct bt_jj_str *s = NULL;
	while (n && p->tok.type == BT_JJ_T_STRING) {
		const struct bt_jj_str *part = bt_jj_unescape(a, &p->tok, p->err);
		if (!part) {
			p->status = p->err ? p->err->status : BATON_ERR_TEMPLATE;
			return NULL;
		}
		if (s && s->len && part->len) {
			char *both = bt_arena_alloc(a, s->len + part->len);
			if (!both) return no_memory(p);
			memcpy(both, s->s, s->len);
			memcpy(both + s->len, part->s, part->len);
			part = bt_jj_str_ref(a, both, s->len + part->len);
			if (!part) return no_memory(p);
		}
		s = s && !part->len ? s : part;
		if (!bt_jj_p_next(p)) return NULL;
	}
	if (n) n->value = bt_jj_of_str(s);
	return bt_jj_p_done(p, n);
}

static struct bt_jj_node *number(struct bt_jj_parser *p)
{
	/* Digits without underscores; a float literal of more digits than fit is cut where it can't matter any more. */
	size_t n = 0, len = p->tok.len;
	char *buf = bt_arena_alloc(&p->j->arena, len + 1);
	if (!buf) return no_memory(p);
	for (size_t i = 0; i < len; i++)
		if (p->tok.s[i] != '_') buf[n++] = p->tok.s[i];
	buf[n] = 0;
	if (p->tok.type == BT_JJ_T_FLOAT) {
		if (n > 700) return bt_jj_p_fail(p, p->tok.line, "a number has more than 700 digits");
		return constant(p, bt_jj_float(bt_jj_strtod(buf)));
	}
	char c = n > 1 ? (char)(buf[1] | 32) : 0;
	unsigned base = c == 'x' ? 16 : c == 'o' ? 8 : c == 'b' ? 2 : 10;
	if (n > 4300) return bt_jj_p_fail(p, p->tok.line, "a number has more than 4300 digits");
	const struct bt_jj_big *b = base == 10 ? bt_jj_big_parse(&p->j->arena, buf, n, 10, false)
	                                       : bt_jj_big_parse(&p->j->arena, buf + 2, n - 2, base, false);
	return b ? constant(p, bt_jj_big_val(b)) : no_memory(p);
}

static struct bt_jj_node *list(struct bt_jj_parser *p)
{
	struct bt_jj_node *n = bt_jj_p_node(p, BT_JJ_N_LIST, p->tok.line);
	struct bt_jj_nodes items = {0};
	if (!bt_jj_p_expect(p, BT_JJ_T_LBRACKET)) return NULL;
	while (p->tok.type != BT_JJ_T_RBRACKET) {
		if (items.n && !bt_jj_p_expect(p, BT_JJ_T_COMMA)) return NULL;
		if (p->tok.type == BT_JJ_T_RBRACKET) break;
		if (!bt_jj_p_push(&items, bt_jj_p_expression(p, true))) return NULL;
	}
	if (!bt_jj_p_expect(p, BT_JJ_T_RBRACKET)) return NULL;
	n->a = items.first;
	return bt_jj_p_done(p, n);
}

static struct bt_jj_node *dict(struct bt_jj_parser *p)
{
	struct bt_jj_node *n = bt_jj_p_node(p, BT_JJ_N_DICT, p->tok.line);
	struct bt_jj_nodes items = {0};
	if (!bt_jj_p_expect(p, BT_JJ_T_LBRACE)) return NULL;
	while (p->tok.type != BT_JJ_T_RBRACE) {
		if (items.n && !bt_jj_p_expect(p, BT_JJ_T_COMMA)) return NULL;
		if (p->tok.type == BT_JJ_T_RBRACE) break;
		struct bt_jj_node *pair = bt_jj_p_node(p, BT_JJ_N_PAIR, p->tok.line);
		if (!pair || !(pair->a = bt_jj_p_expression(p, true)) || !bt_jj_p_expect(p, BT_JJ_T_COLON) ||
		    !(pair->b = bt_jj_p_expression(p, true)) || !bt_jj_p_push(&items, bt_jj_p_done(p, pair)))
			return NULL;
	}
	if (!bt_jj_p_expect(p, BT_JJ_T_RBRACE)) return NULL;
	n->a = items.first;
	return bt_jj_p_done(p, n);
}

static struct bt_jj_node *primary(struct bt_jj_parser *p, bool with_ns)
{
	char got[80];
	if (p->status) return NULL;
	switch (p->tok.type) {
	case BT_JJ_T_NAME: return name_or_constant(p, with_ns);
	case BT_JJ_T_STRING: return string(p);
	case BT_JJ_T_INTEGER:
	case BT_JJ_T_FLOAT: return number(p);
	case BT_JJ_T_LBRACKET: return list(p);
	case BT_JJ_T_LBRACE: return dict(p);
	case BT_JJ_T_LPAREN: {
		if (!bt_jj_p_next(p)) return NULL;
		struct bt_jj_node *n = bt_jj_p_tuple(p, BT_JJ_TUPLE_EXPR, true);
		return bt_jj_p_expect(p, BT_JJ_T_RPAREN) ? n : NULL;
	}
	default: describe(&p->tok, got); return bt_jj_p_fail(p, p->tok.line, "unexpected '%s'", got);
	}
}

/* The arguments in parentheses; *ok tells an empty list from an error. */
static struct bt_jj_node *call_args(struct bt_jj_parser *p, bool *ok)
{
	struct bt_jj_nodes args = {0};
	bool named = false, star = false, stars = false;
	int line = p->tok.line;
	*ok = false;
	if (!bt_jj_p_expect(p, BT_JJ_T_LPAREN)) return NULL;
	while (p->tok.type != BT_JJ_T_RPAREN) {
		if (args.n && !bt_jj_p_expect(p, BT_JJ_T_COMMA)) return NULL;
		if (p->tok.type == BT_JJ_T_RPAREN) break;
		struct bt_jj_node *arg = bt_jj_p_node(p, BT_JJ_N_ARG, p->tok.line);
		struct bt_jj_token ahead;
		if (!arg || !bt_jj_p_peek(p, &ahead)) return NULL;
		bool good;
		if (p->tok.type == BT_JJ_T_MUL) {
			good = !star && !stars;
			star = true;
			arg->op = BT_JJ_ARG_LIST;
			bt_jj_p_next(p);
		} else if (p->tok.type == BT_JJ_T_POW) {
			good = !stars;
			stars = true;
			arg->op = BT_JJ_ARG_DICT;
			bt_jj_p_next(p);
		} else if (p->tok.type == BT_JJ_T_NAME && ahead.type == BT_JJ_T_ASSIGN) {
			good = !stars;
			named = true;
			arg->op = BT_JJ_ARG_NAMED;
			const struct bt_jj_str *name = bt_jj_p_expect_name(p);
			if (!name || !bt_jj_p_next(p)) return NULL;
			arg->value = bt_jj_of_str(name);
		} else {
			good = !star && !stars && !named;
			arg->op = BT_JJ_ARG_POS;
		}
		if (!good) return bt_jj_p_fail(p, line, "invalid syntax for function call expression");
		if (!(arg->a = bt_jj_p_expression(p, true)) || !bt_jj_p_push(&args, bt_jj_p_done(p, arg))) return NULL;
	}
	*ok = bt_jj_p_expect(p, BT_JJ_T_RPAREN);
	return args.first;
}

static struct bt_jj_node *call(struct bt_jj_parser *p, struct bt_jj_node *callee)
{
	struct bt_jj_node *n = bt_jj_p_node(p, BT_JJ_N_CALL, p->tok.line);
	bool ok;
	if (!n) return NULL;
	n->a = callee;
	n->b = call_args(p, &ok);
	return ok ? bt_jj_p_done(p, n) : NULL;
}

/* start:stop:step, or an expression */
static struct bt_jj_node *index_part(struct bt_jj_parser *p)
{
	struct bt_jj_node *part[3] = {NULL, NULL, NULL};
	int line = p->tok.line;
	if (p->tok.type != BT_JJ_T_COLON) {
		part[0] = bt_jj_p_expression(p, true);
		if (!part[0] || p->tok.type != BT_JJ_T_COLON) return part[0];
	}
	for (int i = 1; i < 3 && bt_jj_p_skip(p, BT_JJ_T_COLON); i++) {
		if (p->tok.type == BT_JJ_T_COLON || p->tok.type == BT_JJ_T_RBRACKET || p->tok.type == BT_JJ_T_COMMA)
			continue;
		part[i] = bt_jj_p_expression(p, true);
		if (!part[i]) return NULL;
	}
	struct bt_jj_node *n = bt_jj_p_node(p, BT_JJ_N_SLICE, line);
	if (!n) return NULL;
	n->a = part[0];
	n->b = part[1];
	n->c = part[2];
	return bt_jj_p_done(p, n);
}

static struct bt_jj_node *subscript(struct bt_jj_parser *p, struct bt_jj_node *of)
{
	int line = p->tok.line;
	if (bt_jj_p_skip(p, BT_JJ_T_DOT)) {
		struct bt_jj_node *n = bt_jj_p_node(p, p->tok.type == BT_JJ_T_NAME ? BT_JJ_N_GETATTR : BT_JJ_N_GETITEM,
		                                    line);
		if (!n) return NULL;
		n->a = of;
		if (p->tok.type == BT_JJ_T_INTEGER) n->b = number(p);
		else if (p->tok.type != BT_JJ_T_NAME) return bt_jj_p_fail(p, line, "expected name or number");
		else n->value = bt_jj_of_str(bt_jj_p_expect_name(p));
		return bt_jj_p_done(p, n);
	}
	struct bt_jj_nodes parts = {0};
	struct bt_jj_node *n = bt_jj_p_node(p, BT_JJ_N_GETITEM, line);
	if (!n || !bt_jj_p_expect(p, BT_JJ_T_LBRACKET)) return NULL;
	while (p->tok.type != BT_JJ_T_RBRACKET) {
		if (parts.n && !bt_jj_p_expect(p, BT_JJ_T_COMMA)) return NULL;
		if (!bt_jj_p_push(&parts, index_part(p))) return NULL;
	}
	if (!bt_jj_p_expect(p, BT_JJ_T_RBRACKET)) return NULL;
	n->a = of;
	n->b = parts.first;
	if (parts.n != 1) {
		struct bt_jj_node *t = bt_jj_p_node(p, BT_JJ_N_TUPLE, line);
		if (!t) return NULL;
		t->a = parts.first;
		n->b = bt_jj_p_done(p, t);
	}
	return bt_jj_p_done(p, n);
}

static struct bt_jj_node *postfix(struct bt_jj_parser *p, struct bt_jj_node *n)
{
	while (n && !p->status) {
		if (p->tok.type == BT_JJ_T_DOT || p->tok.type == BT_JJ_T_LBRACKET) n = subscript(p, n);
		else if (p->tok.type == BT_JJ_T_LPAREN) n = call(p, n);
		else break;
	}
	return n;
}

/* "name" or "name.name": of a filter or a test */
static const struct bt_jj_str *dotted_name(struct bt_jj_parser *p)
{
	const struct bt_jj_str *name = bt_jj_p_expect_name(p);
	while (name && p->tok.type == BT_JJ_T_DOT) {
		if (!bt_jj_p_next(p)) return NULL;
		const struct bt_jj_str *part = bt_jj_p_expect_name(p);
		char *s = part ? bt_arena_alloc(&p->j->arena, name->len + 1 + part->len) : NULL;
		if (!s) return no_memory(p);
		memcpy(s, name->s, name->len);
		s[name->len] = '.';
		memcpy(s + name->len + 1, part->s, part->len);
		name = bt_jj_p_intern(p, s, name->len + 1 + part->len);
	}
	return name;
}

struct bt_jj_node *bt_jj_p_filters(struct bt_jj_parser *p, struct bt_jj_node *node, bool inline_first)
{
	while (!p->status && (inline_first || p->tok.type == BT_JJ_T_PIPE)) {
		if (!inline_first && !bt_jj_p_next(p)) return NULL;
		struct bt_jj_node *n = bt_jj_p_node(p, BT_JJ_N_FILTER, p->tok.line);
		const struct bt_jj_str *name = dotted_name(p);
		bool ok = true;
		if (!n || !name) return NULL;
		n->a = node;
		n->value = bt_jj_of_str(name);
		n->func = bt_jj_filter(name->s, name->len);
		if (p->tok.type == BT_JJ_T_LPAREN) n->b = call_args(p, &ok);
		if (!ok || !(node = bt_jj_p_done(p, n))) return NULL;
		inline_first = false;
	}
	return p->status ? NULL : node;
}

static bool starts_test_argument(const struct bt_jj_parser *p)
{
	switch (p->tok.type) {
	case BT_JJ_T_NAME:
		return !bt_jj_p_is_name(p, "else") && !bt_jj_p_is_name(p, "or") && !bt_jj_p_is_name(p, "and");
	case BT_JJ_T_STRING:
	case BT_JJ_T_INTEGER:
	case BT_JJ_T_FLOAT:
	case BT_JJ_T_LBRACKET:
	case BT_JJ_T_LBRACE: return true;
	default: return false;
	}
}

static struct bt_jj_node *test(struct bt_jj_parser *p, struct bt_jj_node *of)
{
	int line = p->tok.line;
	struct bt_jj_node *n = bt_jj_p_node(p, BT_JJ_N_TEST, line);
	bool ok = true;
	if (!bt_jj_p_next(p)) return NULL; /* is */
	bool negated = bt_jj_p_skip_name(p, "not");
	const struct bt_jj_str *name = dotted_name(p);
	if (!n || !name) return NULL;
	n->a = of;
	n->value = bt_jj_of_str(name);
	n->func = bt_jj_test(name->s, name->len);
	if (p->tok.type == BT_JJ_T_LPAREN) {
		n->b = call_args(p, &ok);
	} else if (starts_test_argument(p)) {
		if (bt_jj_p_is_name(p, "is")) return bt_jj_p_fail(p, line, "You cannot chain multiple tests with is");
		struct bt_jj_node *arg = bt_jj_p_node(p, BT_JJ_N_ARG, p->tok.line);
		if (!arg || !(arg->a = postfix(p, primary(p, false)))) return NULL;
		n->b = bt_jj_p_done(p, arg);
	}
	if (!ok || !bt_jj_p_done(p, n) || !negated) return p->status || !ok ? NULL : n;
	struct bt_jj_node *not = bt_jj_p_node(p, BT_JJ_N_NOT, line);
	if (not ) not ->a = n;
	return bt_jj_p_done(p, not );
}

static struct bt_jj_node *filters_and_tests(struct bt_jj_parser *p, struct bt_jj_node *n)
{
	while (n && !p->status) {
		if (p->tok.type == BT_JJ_T_PIPE) n = bt_jj_p_filters(p, n, false);
		else if (bt_jj_p_is_name(p, "is")) n = test(p, n);
		else if (p->tok.type == BT_JJ_T_LPAREN) n = call(p, n);
		else break;
	}
	return n;
}

static struct bt_jj_node *unary(struct bt_jj_parser *p, bool with_filter)
{
	struct bt_jj_node *n;
	if (p->tok.type == BT_JJ_T_SUB || p->tok.type == BT_JJ_T_ADD) {
		n = bt_jj_p_node(p, p->tok.type == BT_JJ_T_SUB ? BT_JJ_N_NEG : BT_JJ_N_POS, p->tok.line);
		if (!n || !bt_jj_p_next(p) || !enter(p)) return NULL;
		n->a = leave(p, unary(p, false));
		n = n->a ? bt_jj_p_done(p, n) : NULL;
	} else {
		n = primary(p, false);
	}
	n = postfix(p, n);
	return with_filter ? filters_and_tests(p, n) : n;
}

static struct bt_jj_node *binary(struct bt_jj_parser *p, enum bt_jj_op op, struct bt_jj_node *a, struct bt_jj_node *b,
                                 int line)
{
	struct bt_jj_node *n = b ? bt_jj_p_node(p, BT_JJ_N_BINARY, line) : NULL;
	if (!n) return NULL;
	n->op = (uint8_t)op;
	n->a = a;
	n->b = b;
	return bt_jj_p_done(p, n);
}

static struct bt_jj_node *power(struct bt_jj_parser *p)
{
	struct bt_jj_node *n = unary(p, true);
	int line = p->tok.line;
	while (n && bt_jj_p_skip(p, BT_JJ_T_POW)) n = binary(p, BT_JJ_POW, n, unary(p, true), line);
	return p->status ? NULL : n;
}

static struct bt_jj_node *product(struct bt_jj_parser *p)
{
	struct bt_jj_node *n = power(p);
	while (n && p->tok.type >= BT_JJ_T_MUL && p->tok.type <= BT_JJ_T_MOD) {
		static const uint8_t op[] = {BT_JJ_MUL, BT_JJ_DIV, BT_JJ_FLOORDIV, BT_JJ_MOD};
		enum bt_jj_op o = op[p->tok.type - BT_JJ_T_MUL];
		int line = p->tok.line;
		n = bt_jj_p_next(p) ? binary(p, o, n, power(p), line) : NULL;
	}
	return p->status ? NULL : n;
}

static struct bt_jj_node *concat(struct bt_jj_parser *p)
{
	struct bt_jj_node *first = product(p);
	if (!first || p->tok.type != BT_JJ_T_TILDE) return first;
	struct bt_jj_node *n = bt_jj_p_node(p, BT_JJ_N_CONCAT, p->tok.line);
	struct bt_jj_nodes parts = {0};
	bt_jj_p_push(&parts, first);
	while (bt_jj_p_skip(p, BT_JJ_T_TILDE))
		if (!bt_jj_p_push(&parts, product(p))) return NULL;
	if (!n || p->status) return NULL;
	n->a = parts.first;
	return bt_jj_p_done(p, n);
}

static struct bt_jj_node *sum(struct bt_jj_parser *p)
{
	struct bt_jj_node *n = concat(p);
	while (n && (p->tok.type == BT_JJ_T_ADD || p->tok.type == BT_JJ_T_SUB)) {
		enum bt_jj_op op = p->tok.type == BT_JJ_T_ADD ? BT_JJ_ADD : BT_JJ_SUB;
		int line = p->tok.line;
		n = bt_jj_p_next(p) ? binary(p, op, n, concat(p), line) : NULL;
	}
	return p->status ? NULL : n;
}

/* The comparison at the current token; -1 when there is none. Eats it. */
static int comparison(struct bt_jj_parser *p)
{
	static const int8_t op[] = {BT_JJ_EQ, BT_JJ_NE, BT_JJ_GT, BT_JJ_GE, BT_JJ_LT, BT_JJ_LE};
	struct bt_jj_token ahead;
	if (p->tok.type >= BT_JJ_T_EQ && p->tok.type <= BT_JJ_T_LE) {
		int o = op[p->tok.type - BT_JJ_T_EQ];
		return bt_jj_p_next(p) ? o : -1;
	}
	if (bt_jj_p_skip_name(p, "in")) return BT_JJ_OPERAND_IN;
	if (!bt_jj_p_is_name(p, "not") || !bt_jj_p_peek(p, &ahead) || !tok_is(&ahead, "in")) return -1;
	/* NOLINTNEXTLINE(misc-redundant-expression): two tokens are passed over */
	return bt_jj_p_next(p) && bt_jj_p_next(p) ? BT_JJ_OPERAND_NOT_IN : -1;
}

static struct bt_jj_node *compare(struct bt_jj_parser *p)
{
	struct bt_jj_node *first = sum(p);
	struct bt_jj_nodes ops = {0};
	int line = p->tok.line, op;
	if (!first) return NULL;
	while ((op = comparison(p)) >= 0) {
		struct bt_jj_node *o = bt_jj_p_node(p, BT_JJ_N_OPERAND, p->tok.line);
		if (!o) return NULL;
		o->op = (uint8_t)op;
		if (!(o->a = sum(p)) || !bt_jj_p_push(&ops, bt_jj_p_done(p, o))) return NULL;
	}
	if (!ops.n) return p->status ? NULL : first;
	struct bt_jj_node *n = bt_jj_p_node(p, BT_JJ_N_COMPARE, line);
	if (!n) return NULL;
	n->a = first;
	n->b = ops.first;
	return bt_jj_p_done(p, n);
}

static struct bt_jj_node *negation(struct bt_jj_parser *p)
{
	if (!bt_jj_p_is_name(p, "not")) return compare(p);
	struct bt_jj_node *n = bt_jj_p_node(p, BT_JJ_N_NOT, p->tok.line);
	if (!n || !bt_jj_p_next(p) || !enter(p)) return NULL;
	n->a = leave(p, negation(p));
	return n->a ? bt_jj_p_done(p, n) : NULL;
}

static struct bt_jj_node *junction(struct bt_jj_parser *p, bool or)
{
	struct bt_jj_node *n = or ? junction(p, false) : negation(p);
	int line = p->tok.line;
	while (n && bt_jj_p_skip_name(p, or ? "or" : "and")) {
		struct bt_jj_node *o = bt_jj_p_node(p, or ? BT_JJ_N_OR : BT_JJ_N_AND, line);
		if (!o) return NULL;
		o->a = n;
		o->b = or ? junction(p, false) : negation(p);
		n = o->b ? bt_jj_p_done(p, o) : NULL;
	}
	return p->status ? NULL : n;
}

struct bt_jj_node *bt_jj_p_expression(struct bt_jj_parser *p, bool with_cond)
{
	if (!enter(p)) return NULL;
	struct bt_jj_node *n = junction(p, true);
	int line = p->tok.line;
	while (with_cond && n && bt_jj_p_skip_name(p, "if")) {
		struct bt_jj_node *c = bt_jj_p_node(p, BT_JJ_N_COND, line);
		if (!c) return leave(p, NULL);
		c->a = n;
		c->b = junction(p, true);
		if (!c->b) return leave(p, NULL);
		if (bt_jj_p_skip_name(p, "else") && !(c->c = bt_jj_p_expression(p, true))) return leave(p, NULL);
		n = bt_jj_p_done(p, c);
	}
	return leave(p, n);
}

static bool tuple_ends(const struct bt_jj_parser *p)
{
	return p->tok.type == BT_JJ_T_VAR_END || p->tok.type == BT_JJ_T_BLOCK_END || p->tok.type == BT_JJ_T_RPAREN;
}

struct bt_jj_node *bt_jj_p_tuple(struct bt_jj_parser *p, enum bt_jj_tuple_kind kind, bool parens)
{
	struct bt_jj_nodes items = {0};
	bool tuple = false;
	int line = p->tok.line;
	for (;;) {
		if (tuple_ends(p)) break;
		struct bt_jj_node *item = kind <= BT_JJ_TUPLE_NO_COND ? bt_jj_p_expression(p, kind == BT_JJ_TUPLE_EXPR)
		                                                      : primary(p, kind == BT_JJ_TUPLE_NS_TARGET);
		if (!bt_jj_p_push(&items, item)) return NULL;
		if (!bt_jj_p_skip(p, BT_JJ_T_COMMA)) break;
		tuple = true;
	}
	if (p->status) return NULL;
	if (!tuple && items.n) return items.first;
	if (!tuple && !parens) {
		char got[80];
		describe(&p->tok, got);
		return bt_jj_p_fail(p, p->tok.line, "Expected an expression, got '%s'", got);
	}
	struct bt_jj_node *n = bt_jj_p_node(p, BT_JJ_N_TUPLE, line);
	if (!n) return NULL;
	n->a = items.first;
	return bt_jj_p_done(p, n);
}

bool bt_jj_p_check_target(struct bt_jj_parser *p, struct bt_jj_node *t)
{
	static const char *const what[BT_JJ_KINDS] = {
		[BT_JJ_N_CONST] = "const", [BT_JJ_N_LIST] = "list", [BT_JJ_N_DICT] = "dict"};
	if (p->status || !t) return false;
	if (t->kind == BT_JJ_N_NAME) t->op = 1;
	if (t->kind == BT_JJ_N_NAME || t->kind == BT_JJ_N_NSREF) return true;
	if (t->kind != BT_JJ_N_TUPLE) {
		bt_jj_p_fail(p, t->line, "can't assign to '%s'", what[t->kind] ? what[t->kind] : "expression");
		return false;
	}
	for (struct bt_jj_node *i = t->a; i; i = i->next)
		if (!bt_jj_p_check_target(p, i)) return false;
	return true;
}

struct bt_jj_node *bt_jj_p_target(struct bt_jj_parser *p, bool with_tuple, bool with_ns)
{
	struct bt_jj_node *t = with_tuple
	                               ? bt_jj_p_tuple(p, with_ns ? BT_JJ_TUPLE_NS_TARGET : BT_JJ_TUPLE_TARGET, false)
	                               : primary(p, with_ns);
	return bt_jj_p_check_target(p, t) ? t : NULL;
}
