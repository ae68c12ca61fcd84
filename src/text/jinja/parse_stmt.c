/* parse_stmt.c: statements, and the template as a whole. */
#include "base/limits.h"
#include "text/jinja/parser.h"

#include <stdio.h>
#include <string.h>

typedef struct bt_jj_node *(*parse_fn)(struct bt_jj_parser *p);

/* Add to msg; what does not fit is cut. */
static void say(char *msg, size_t cap, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void say(char *msg, size_t cap, const char *fmt, ...)
{
	size_t n = strlen(msg);
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(msg + n, cap - n, fmt, ap);
	va_end(ap);
}

/* The template ends, or an unknown tag comes, where other tags are awaited. */
static struct bt_jj_node *fail_tag(struct bt_jj_parser *p, const struct bt_jj_token *tag)
{
	char msg[400] = "";
	bool awaited = false;
	if (tag) say(msg, sizeof msg, "Encountered unknown tag '%.*s'.", tag->len < 60 ? (int)tag->len : 60, tag->s);
	else say(msg, sizeof msg, "Unexpected end of template.");
	for (const struct bt_jj_open_tag *o = p->open; tag && o; o = o->up)
		for (const char *const *e = o->ends; *e; e++)
			awaited |= strlen(*e) == tag->len && !memcmp(*e, tag->s, tag->len);
	if (p->open) {
		say(msg, sizeof msg,
		    awaited ? " You probably made a nesting mistake. Jinja is expecting this tag, but currently "
		              "looking for "
		            : " Jinja was looking for the following tags: ");
		for (const char *const *e = p->open->ends; *e; e++)
			say(msg, sizeof msg, "%s'%s'", e == p->open->ends ? "" : " or ", *e);
		say(msg, sizeof msg, ". The innermost block that needs to be closed is '%s'.", p->open->tag);
	}
	return bt_jj_p_fail(p, tag ? tag->line : p->tok.line, "%s", msg);
}

static struct bt_jj_node *statement(struct bt_jj_parser *p);

static bool at_end_tag(const struct bt_jj_parser *p)
{
	if (!p->open) return false;
	for (const char *const *e = p->open->ends; *e; e++)
		if (bt_jj_p_is_name(p, *e)) return true;
	return false;
}

/* Text, {{ }} and statements up to one of the open tag's ends (which is then the current token) or the end. */
static struct bt_jj_node *body(struct bt_jj_parser *p)
{
	struct bt_jj_nodes l = {0};
	while (!p->status && p->tok.type != BT_JJ_T_EOF) {
		struct bt_jj_node *n = NULL;
		int line = p->tok.line;
		if (p->tok.type == BT_JJ_T_DATA) {
			n = bt_jj_p_node(p, BT_JJ_N_TEXT, line);
			const struct bt_jj_str *s = n ? bt_jj_str_ref(&p->j->arena, p->tok.s, p->tok.len) : NULL;
			if (!s) {
				if (!p->status) p->status = bt_fail_nomem(p->err, sizeof *s, "a template");
				return NULL;
			}
			n->value = bt_jj_of_str(s);
			bt_jj_p_next(p);
			n = bt_jj_p_done(p, n);
		} else if (bt_jj_p_skip(p, BT_JJ_T_VAR_BEGIN)) {
			n = bt_jj_p_node(p, BT_JJ_N_OUTPUT, line);
			if (!n || !(n->a = bt_jj_p_tuple(p, BT_JJ_TUPLE_EXPR, false)) ||
			    !bt_jj_p_expect(p, BT_JJ_T_VAR_END))
				return NULL;
			n = bt_jj_p_done(p, n);
		} else if (bt_jj_p_skip(p, BT_JJ_T_BLOCK_BEGIN)) {
			if (at_end_tag(p)) return l.first;
			n = statement(p);
			if (!n || !bt_jj_p_expect(p, BT_JJ_T_BLOCK_END)) return NULL;
		}
		if (!bt_jj_p_push(&l, n)) return NULL;
	}
	return p->status ? NULL : l.first;
}

/* The body of a tag up to one of ends (which stays the current token). *ok tells an empty body from an error. */
static struct bt_jj_node *block_body(struct bt_jj_parser *p, const char *tag, const char *const *ends, bool *ok)
{
	struct bt_jj_open_tag open = {.up = p->open, .tag = tag, .ends = ends};
	*ok = false;
	bt_jj_p_skip(p, BT_JJ_T_COLON);
	if (!bt_jj_p_expect(p, BT_JJ_T_BLOCK_END)) return NULL;
	if (++p->depth > BT_LIMIT_TEMPLATE_DEPTH) {
		p->status = bt_fail(p->err, BATON_ERR_LIMIT, "the template is nested deeper than %d levels (line %d)",
		                    BT_LIMIT_TEMPLATE_DEPTH, p->tok.line);
		return NULL;
	}
	p->open = &open;
	struct bt_jj_node *n = body(p);
	if (!p->status && p->tok.type == BT_JJ_T_EOF) fail_tag(p, NULL);
	p->open = open.up;
	p->depth--;
	*ok = !p->status;
	return n;
}

/* The same for a tag with one end, which is eaten. */
static bool simple_body(struct bt_jj_parser *p, struct bt_jj_node *n, const char *tag, const char *end)
{
	const char *const ends[] = {end, NULL};
	bool ok;
	n->body = block_body(p, tag, ends, &ok);
	return ok && bt_jj_p_next(p);
}

/* The body of something that is a function of its own: loops outside of it can't be left from inside. */
static bool function_body(struct bt_jj_parser *p, struct bt_jj_node *n, const char *tag, const char *end)
{
	unsigned loops = p->loops;
	p->loops = 0;
	bool ok = simple_body(p, n, tag, end);
	p->loops = loops;
	return ok;
}

static struct bt_jj_node *parse_if(struct bt_jj_parser *p)
{
	static const char *const ends[] = {"elif", "else", "endif", NULL}, *const last[] = {"endif", NULL};
	struct bt_jj_node *top = bt_jj_p_node(p, BT_JJ_N_IF, p->tok.line), *n = top;
	struct bt_jj_nodes elifs = {0};
	bool ok;
	while (n) {
		n->a = bt_jj_p_tuple(p, BT_JJ_TUPLE_NO_COND, false);
		if (!n->a) return NULL;
		n->body = block_body(p, "if", ends, &ok);
		if (!ok) return NULL;
		if (n != top && !bt_jj_p_push(&elifs, bt_jj_p_done(p, n))) return NULL;
		if (!bt_jj_p_is_name(p, "elif")) break;
		int line = p->tok.line;
		n = bt_jj_p_next(p) ? bt_jj_p_node(p, BT_JJ_N_IF, line) : NULL;
	}
	if (!n) return NULL;
	top->b = elifs.first;
	if (bt_jj_p_skip_name(p, "else")) {
		top->c = block_body(p, "if", last, &ok);
		if (!ok) return NULL;
	}
	return bt_jj_p_next(p) ? bt_jj_p_done(p, top) : NULL;
}

/* What jinja2 finds when it compiles the tree. */
static struct bt_jj_node *fail_assertion(struct bt_jj_parser *p, int line, const char *text)
{
	if (!p->status) p->status = bt_jj_assertion(p->err, line, "%s", text);
	return NULL;
}

static bool assigns_loop(const struct bt_jj_node *t)
{
	if (t->kind == BT_JJ_N_NAME) return bt_jj_str_is(t->value, "loop");
	for (const struct bt_jj_node *i = t->kind == BT_JJ_N_TUPLE ? t->a : NULL; i; i = i->next)
		if (assigns_loop(i)) return true;
	return false;
}

/* A copy of a target: the loop's test assigns variables of its own. */
static struct bt_jj_node *copy_target(struct bt_jj_parser *p, const struct bt_jj_node *t)
{
	struct bt_jj_node *n = bt_jj_p_node(p, t->kind, t->line);
	struct bt_jj_nodes items = {0};
	if (!n) return NULL;
	n->op = t->op;
	n->value = t->value;
	for (const struct bt_jj_node *i = t->a; i; i = i->next)
		if (!bt_jj_p_push(&items, copy_target(p, i))) return NULL;
	n->a = items.first;
	return bt_jj_p_done(p, n);
}

static struct bt_jj_node *loop_test(struct bt_jj_parser *p, const struct bt_jj_node *target)
{
	struct bt_jj_node *n = bt_jj_p_node(p, BT_JJ_N_PAIR, p->tok.line);
	if (!n || !(n->a = copy_target(p, target)) || !(n->b = bt_jj_p_expression(p, true))) return NULL;
	return bt_jj_p_done(p, n);
}

static struct bt_jj_node *parse_for(struct bt_jj_parser *p)
{
	static const char *const ends[] = {"endfor", "else", NULL}, *const last[] = {"endfor", NULL};
	struct bt_jj_node *n = bt_jj_p_node(p, BT_JJ_N_FOR, p->tok.line);
	bool ok;
	if (!n || !(n->a = bt_jj_p_target(p, true, false))) return NULL;
	if (assigns_loop(n->a))
		return fail_assertion(p, n->line, "Can't assign to special loop variable in for-loop target");
	if (!bt_jj_p_expect_word(p, "in")) return NULL;
	if (!(n->b = bt_jj_p_tuple(p, BT_JJ_TUPLE_NO_COND, false))) return NULL;
	if (bt_jj_p_skip_name(p, "if") && !(n->c = loop_test(p, n->a))) return NULL;
	n->recursive = bt_jj_p_skip_name(p, "recursive");
	p->loops++;
	n->body = block_body(p, "for", ends, &ok);
	p->loops--;
	if (!ok) return NULL;
	bool has_else = bt_jj_p_is_name(p, "else");
	if (!bt_jj_p_next(p)) return NULL;
	if (has_else) {
		/* A recursive loop is a function of its own, so its else can't leave the loop around it. */
		unsigned loops = p->loops;
		if (n->recursive) p->loops = 0;
		n->d = block_body(p, "for", last, &ok);
		p->loops = loops;
		if (!ok || !bt_jj_p_next(p)) return NULL;
	}
	return bt_jj_p_done(p, n);
}

static struct bt_jj_node *parse_leave(struct bt_jj_parser *p, enum bt_jj_kind kind, const char *word)
{
	if (!p->loops) return bt_jj_p_fail(p, p->tok.line, "'%s' outside loop", word);
	return bt_jj_p_done(p, bt_jj_p_node(p, kind, p->tok.line));
}

static struct bt_jj_node *parse_break(struct bt_jj_parser *p)
{
	return parse_leave(p, BT_JJ_N_BREAK, "break");
}

static struct bt_jj_node *parse_continue(struct bt_jj_parser *p)
{
	return parse_leave(p, BT_JJ_N_CONTINUE, "continue");
}

static struct bt_jj_node *parse_set(struct bt_jj_parser *p)
{
	int line = p->tok.line;
	struct bt_jj_node *target = bt_jj_p_target(p, true, true);
	if (!target) return NULL;
	if (p->loops && assigns_loop(target))
		return fail_assertion(p, line, "Can't assign to special loop variable in for-loop target");
	if (bt_jj_p_skip(p, BT_JJ_T_ASSIGN)) {
		struct bt_jj_node *n = bt_jj_p_node(p, BT_JJ_N_SET, line);
		if (!n) return NULL;
		n->a = target;
		n->b = bt_jj_p_tuple(p, BT_JJ_TUPLE_EXPR, false);
		return n->b ? bt_jj_p_done(p, n) : NULL;
	}
	struct bt_jj_node *n = bt_jj_p_node(p, BT_JJ_N_SET_BLOCK, line);
	if (!n) return NULL;
	n->a = target;
	n->b = bt_jj_p_filters(p, NULL, false);
	return !p->status && simple_body(p, n, "set", "endset") ? bt_jj_p_done(p, n) : NULL;
}

static struct bt_jj_node *parse_with(struct bt_jj_parser *p)
{
	struct bt_jj_node *n = bt_jj_p_node(p, BT_JJ_N_WITH, p->tok.line);
	struct bt_jj_nodes targets = {0}, values = {0};
	while (n && !p->status && p->tok.type != BT_JJ_T_BLOCK_END) {
		if (targets.n && !bt_jj_p_expect(p, BT_JJ_T_COMMA)) return NULL;
		if (!bt_jj_p_push(&targets, bt_jj_p_target(p, true, false)) || !bt_jj_p_expect(p, BT_JJ_T_ASSIGN) ||
		    !bt_jj_p_push(&values, bt_jj_p_expression(p, true)))
			return NULL;
	}
	if (!n || p->status) return NULL;
	n->a = targets.first;
	n->b = values.first;
	return simple_body(p, n, "with", "endwith") ? bt_jj_p_done(p, n) : NULL;
}

static struct bt_jj_params *new_params(struct bt_jj_parser *p)
{
	struct bt_jj_params *params = bt_arena_zalloc(&p->j->arena, sizeof *params);
	if (!params && !p->status) p->status = bt_fail_nomem(p->err, sizeof *params, "a template");
	return params;
}

/* (a, b=1, ...) */
static bool signature(struct bt_jj_parser *p, struct bt_jj_params *params)
{
	struct bt_jj_nodes names = {0};
	bool defaults = false;
	if (!bt_jj_p_expect(p, BT_JJ_T_LPAREN)) return false;
	while (p->tok.type != BT_JJ_T_RPAREN) {
		if (names.n && !bt_jj_p_expect(p, BT_JJ_T_COMMA)) return false;
		int line = p->tok.line;
		struct bt_jj_node *n = bt_jj_p_name(p, bt_jj_p_expect_name(p), line);
		if (!n) return false;
		for (const struct bt_jj_node *o = names.first; o; o = o->next)
			if (o->value.s == n->value.s)
				return bt_jj_p_fail(p, line, "duplicate argument '%.*s' in a macro",
				                    n->value.s->len < 60 ? (int)n->value.s->len : 60, n->value.s->s);
		if (bt_jj_p_skip(p, BT_JJ_T_ASSIGN)) {
			defaults = true;
			if (!(n->a = bt_jj_p_expression(p, true)) || !bt_jj_p_done(p, n)) return false;
		} else if (defaults) {
			bt_jj_p_fail(p, p->tok.line, "non-default argument follows default argument");
			return false;
		}
		bt_jj_p_push(&names, n);
		if (names.n > 256) {
			bt_jj_p_fail(p, line, "a macro has more than 256 arguments");
			return false;
		}
	}
	params->names = names.first;
	params->n = names.n;
	return bt_jj_p_expect(p, BT_JJ_T_RPAREN);
}

static struct bt_jj_node *parse_macro(struct bt_jj_parser *p)
{
	struct bt_jj_node *n = bt_jj_p_node(p, BT_JJ_N_MACRO, p->tok.line);
	const struct bt_jj_str *name = bt_jj_p_expect_name(p);
	if (!n || !name) return NULL;
	n->value = bt_jj_of_str(name);
	if (!(n->params = new_params(p)) || !signature(p, n->params)) return NULL;
	return function_body(p, n, "macro", "endmacro") ? bt_jj_p_done(p, n) : NULL;
}

static struct bt_jj_node *parse_call(struct bt_jj_parser *p)
{
	struct bt_jj_node *n = bt_jj_p_node(p, BT_JJ_N_CALL_BLOCK, p->tok.line);
	if (!n || !(n->params = new_params(p))) return NULL;
	if (p->tok.type == BT_JJ_T_LPAREN && !signature(p, n->params)) return NULL;
	n->a = bt_jj_p_expression(p, true);
	if (!n->a) return NULL;
	if (n->a->kind != BT_JJ_N_CALL) return bt_jj_p_fail(p, n->line, "expected call");
	return function_body(p, n, "call", "endcall") ? bt_jj_p_done(p, n) : NULL;
}

static struct bt_jj_node *parse_generation(struct bt_jj_parser *p)
{
	struct bt_jj_node *n = bt_jj_p_node(p, BT_JJ_N_GENERATION, p->tok.line);
	if (!n || !(n->params = new_params(p))) return NULL;
	return function_body(p, n, "generation", "endgeneration") ? bt_jj_p_done(p, n) : NULL;
}

static struct bt_jj_node *parse_filter(struct bt_jj_parser *p)
{
	struct bt_jj_node *n = bt_jj_p_node(p, BT_JJ_N_FILTER_BLOCK, p->tok.line);
	if (!n || !(n->b = bt_jj_p_filters(p, NULL, true))) return NULL;
	return simple_body(p, n, "filter", "endfilter") ? bt_jj_p_done(p, n) : NULL;
}

static struct bt_jj_node *parse_autoescape(struct bt_jj_parser *p)
{
	struct bt_jj_node *n = bt_jj_p_node(p, BT_JJ_N_AUTOESCAPE, p->tok.line);
	if (!n || !(n->a = bt_jj_p_expression(p, true))) return NULL;
	return simple_body(p, n, "autoescape", "endautoescape") ? bt_jj_p_done(p, n) : NULL;
}

static struct bt_jj_node *parse_print(struct bt_jj_parser *p)
{
	struct bt_jj_node *n = bt_jj_p_node(p, BT_JJ_N_OUTPUT, p->tok.line);
	struct bt_jj_nodes parts = {0};
	while (n && !p->status && p->tok.type != BT_JJ_T_BLOCK_END) {
		if (parts.n && !bt_jj_p_expect(p, BT_JJ_T_COMMA)) return NULL;
		if (!bt_jj_p_push(&parts, bt_jj_p_expression(p, true))) return NULL;
	}
	if (!n || p->status) return NULL;
	n->a = parts.first;
	return bt_jj_p_done(p, n);
}

static bool fail_twice(struct bt_jj_parser *p, const struct bt_jj_node *n)
{
	int len = n->value.s->len < 60 ? (int)n->value.s->len : 60;
	p->status = bt_jj_assertion(p->err, n->line, "block '%.*s' defined twice", len, n->value.s->s);
	return false;
}

static bool add_block(struct bt_jj_parser *p, struct bt_jj_node *n)
{
	struct bt_jinja *j = p->j;
	for (size_t i = 0; i < j->n_blocks; i++)
		if (j->blocks[i]->value.s == n->value.s) return fail_twice(p, n);
	if (j->n_blocks >= 1000) return bt_jj_p_fail(p, n->line, "the template has more than 1000 blocks");
	if (j->n_blocks == p->cap_blocks) {
		size_t cap = p->cap_blocks ? p->cap_blocks * 2 : 8;
		struct bt_jj_node **v = bt_arena_alloc(&j->arena, cap * sizeof *v);
		if (!v) {
			p->status = bt_fail_nomem(p->err, cap * sizeof *v, "a template");
			return false;
		}
		if (j->n_blocks) memcpy(v, j->blocks, j->n_blocks * sizeof *v);
		j->blocks = v;
		p->cap_blocks = cap;
	}
	j->blocks[j->n_blocks++] = n;
	return true;
}

static struct bt_jj_node *parse_block(struct bt_jj_parser *p)
{
	struct bt_jj_node *n = bt_jj_p_node(p, BT_JJ_N_BLOCK, p->tok.line);
	const struct bt_jj_str *name = bt_jj_p_expect_name(p);
	if (!n || !name) return NULL;
	n->value = bt_jj_of_str(name);
	n->scoped = bt_jj_p_skip_name(p, "scoped");
	bool required = bt_jj_p_skip_name(p, "required");
	if (p->tok.type == BT_JJ_T_SUB)
		return bt_jj_p_fail(p, p->tok.line,
		                    "Block names in Jinja have to be valid Python identifiers and may not contain "
		                    "hyphens, use an underscore instead.");
	if (!add_block(p, n) || !function_body(p, n, "block", "endblock")) return NULL;
	if (required) return bt_jj_p_fail(p, n->line, "a required block needs a template that extends this one");
	if (p->tok.type == BT_JJ_T_NAME && p->tok.len == name->len && !memcmp(p->tok.s, name->s, name->len))
		bt_jj_p_next(p);
	return bt_jj_p_done(p, n);
}

/* "with context", "without context" */
static bool import_context(struct bt_jj_parser *p)
{
	struct bt_jj_token ahead;
	if (!bt_jj_p_is_name(p, "with") && !bt_jj_p_is_name(p, "without")) return false;
	return bt_jj_p_peek(p, &ahead) && ahead.type == BT_JJ_T_NAME && ahead.len == 7 &&
	       !memcmp(ahead.s, "context", 7) && bt_jj_p_next(p) && bt_jj_p_next(p);
}

static struct bt_jj_node *loader(struct bt_jj_parser *p)
{
	struct bt_jj_node *n = bt_jj_p_node(p, BT_JJ_N_LOADER, p->tok.line);
	if (!n || !(n->a = bt_jj_p_expression(p, true))) return NULL;
	return n;
}

static struct bt_jj_node *parse_extends(struct bt_jj_parser *p)
{
	return bt_jj_p_done(p, loader(p));
}

static struct bt_jj_node *parse_include(struct bt_jj_parser *p)
{
	struct bt_jj_node *n = loader(p);
	if (n && bt_jj_p_skip_name(p, "ignore") && !bt_jj_p_expect_word(p, "missing")) return NULL;
	if (n) import_context(p);
	return bt_jj_p_done(p, n);
}

static struct bt_jj_node *parse_import(struct bt_jj_parser *p)
{
	struct bt_jj_node *n = loader(p);
	if (!n || !bt_jj_p_expect_word(p, "as") || !bt_jj_p_expect_name(p)) return NULL;
	import_context(p);
	return bt_jj_p_done(p, n);
}

static struct bt_jj_node *parse_from(struct bt_jj_parser *p)
{
	struct bt_jj_node *n = loader(p);
	if (!n || !bt_jj_p_expect_word(p, "import")) return NULL;
	while (!p->status && !import_context(p)) {
		if (!bt_jj_p_expect_name(p) || (bt_jj_p_skip_name(p, "as") && !bt_jj_p_expect_name(p))) return NULL;
		if (import_context(p) || !bt_jj_p_skip(p, BT_JJ_T_COMMA)) break;
	}
	return bt_jj_p_done(p, n);
}

static const struct {
	const char *tag;
	parse_fn parse;
} tags[] = {
	{"if", parse_if},
	{"for", parse_for},
	{"set", parse_set},
	{"macro", parse_macro},
	{"generation", parse_generation},
	{"break", parse_break},
	{"continue", parse_continue},
	{"call", parse_call},
	{"filter", parse_filter},
	{"with", parse_with},
	{"print", parse_print},
	{"block", parse_block},
	{"autoescape", parse_autoescape},
	{"include", parse_include},
	{"import", parse_import},
	{"from", parse_from},
	{"extends", parse_extends},
};

static struct bt_jj_node *statement(struct bt_jj_parser *p)
{
	struct bt_jj_token t = p->tok;
	if (t.type != BT_JJ_T_NAME) return bt_jj_p_fail(p, t.line, "tag name expected");
	for (size_t i = 0; i < sizeof tags / sizeof *tags; i++)
		if (bt_jj_p_is_name(p, tags[i].tag)) return bt_jj_p_next(p) ? tags[i].parse(p) : NULL;
	return fail_tag(p, &t);
}

enum baton_status bt_jj_parse(struct bt_jinja *j, const char *source, size_t len, struct baton_error *err)
{
	struct bt_jj_parser p = {.j = j, .err = err};
	p.status = bt_jj_lexer_init(&p.lex, &j->arena, source, len, err);
	if (p.status || !bt_jj_p_next(&p)) return p.status;
	struct bt_jj_node *root = bt_jj_p_node(&p, BT_JJ_N_BLOCK, 1);
	if (!root) return p.status;
	root->body = body(&p);
	j->root = bt_jj_p_done(&p, root);
	return p.status;
}
