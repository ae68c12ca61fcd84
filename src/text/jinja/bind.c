/* bind.c: which variable a name means.
 *
 * jinja2 decides this before the template runs, and some of its results surprise, so the rules are kept to the letter
 * (they can be observed from outside and are what its documentation calls "scoping behavior"):
 *
 *  - A scope is the template, a block, a macro's or a call block's body, a loop's body (and its test, and its else), the
 *    inside of with, filter, autoescape and a block set. `if` opens none.
 *  - All names that a scope reads or assigns get their first value when the scope is entered (for a loop: every round):
 *    a name of an outer scope that is only read is that outer variable; one that is assigned here starts as a copy of it;
 *    a name that no scope around knows and that is read first comes from the caller's variables; one that is assigned
 *    first starts undefined, even where the caller has a variable of that name.
 *  - A name that only some branches of an `if` assign starts as if it had been read first.
 *  - What decides is the order in the source within the scope, inner scopes left out.
 */
#include "text/jinja/ast.h"
#include "text/jinja/interp.h"
#include "text/jinja/lexer.h"

#include <string.h>

struct change {
	size_t i;
	struct bt_jj_binding old;
};

struct binder {
	struct bt_jinja *j;
	struct baton_error *err;
	enum baton_status status;
	struct change *log; /* what was done to the scope at hand, to be undone between the branches of an `if` */
	size_t n_log, cap_log;
};

/* The names that a special variable goes by, as a set of bits. */
enum { SEES_LOOP = 1, SEES_CALLER = 2, SEES_KWARGS = 4, SEES_VARARGS = 8, SEES_SELF = 16 };

static void *alloc(struct binder *b, size_t size)
{
	void *p = b->status ? NULL : bt_arena_zalloc(&b->j->arena, size);
	if (!p && !b->status) b->status = bt_fail_nomem(b->err, size, "a template");
	return p;
}

static struct bt_jj_scope *new_scope(struct binder *b, struct bt_jj_scope *parent, struct bt_jj_code *code)
{
	struct bt_jj_scope *s = alloc(b, sizeof *s);
	if (s) *s = (struct bt_jj_scope){.parent = parent, .code = code};
	return s;
}

static struct bt_jj_code *new_code(struct binder *b, struct bt_jj_code *up)
{
	struct bt_jj_code *c = alloc(b, sizeof *c);
	if (c) *c = (struct bt_jj_code){.up = up, .depth = up ? up->depth + 1 : 0};
	return c;
}

static size_t hash(const struct bt_jj_str *name)
{
	return (size_t)(((uintptr_t)name >> 4) * 0x9E3779B97F4A7C15u >> 20);
}

/* The binding of name in this scope, known or not; SIZE_MAX. Names of one spelling are one object. */
static size_t find(const struct bt_jj_scope *s, const struct bt_jj_str *name)
{
	if (!s->index) {
		for (size_t i = 0; i < s->n; i++)
			if (s->v[i].name == name) return i;
		return SIZE_MAX;
	}
	for (size_t at = hash(name) & (s->n_index - 1); s->index[at]; at = (at + 1) & (s->n_index - 1))
		if (s->v[s->index[at] - 1].name == name) return s->index[at] - 1;
	return SIZE_MAX;
}

static const struct bt_jj_scope *find_outward(const struct bt_jj_scope *s, const struct bt_jj_str *name, size_t *i)
{
	for (; s; s = s->parent) {
		*i = find(s, name);
		if (*i != SIZE_MAX && s->v[*i].known) return s;
	}
	return NULL;
}

static struct bt_jj_ref ref_to(const struct bt_jj_scope *from, const struct bt_jj_scope *to, size_t i)
{
	return (struct bt_jj_ref){.hops = from->code->depth - to->code->depth, .slot = to->v[i].slot};
}

static bool reindex(struct binder *b, struct bt_jj_scope *s)
{
	size_t n = s->cap * 2;
	s->index = alloc(b, n * sizeof *s->index);
	if (!s->index) return false;
	s->n_index = n;
	for (size_t i = 0; i < s->n; i++) {
		size_t at = hash(s->v[i].name) & (n - 1);
		while (s->index[at]) at = (at + 1) & (n - 1);
		s->index[at] = (uint32_t)i + 1;
	}
	return true;
}

static bool add(struct binder *b, struct bt_jj_scope *s, const struct bt_jj_str *name)
{
	if (s->n == s->cap) {
		size_t cap = s->cap ? s->cap * 2 : 8;
		struct bt_jj_binding *v = alloc(b, cap * sizeof *v);
		if (!v) return false;
		if (s->n) memcpy(v, s->v, s->n * sizeof *v);
		s->v = v;
		s->cap = cap;
		if (cap > 8 && !reindex(b, s)) return false;
	}
	s->v[s->n] = (struct bt_jj_binding){.name = name, .slot = s->code->n_slots++};
	if (s->index) {
		size_t at = hash(name) & (s->n_index - 1);
		while (s->index[at]) at = (at + 1) & (s->n_index - 1);
		s->index[at] = (uint32_t)s->n + 1;
	}
	s->n++;
	return true;
}

/* Remember binding i as it is before it changes. */
static bool note(struct binder *b, const struct bt_jj_scope *s, size_t i)
{
	if (b->n_log == b->cap_log) {
		size_t cap = b->cap_log ? b->cap_log * 2 : 64;
		struct change *p = alloc(b, cap * sizeof *p);
		if (!p) return false;
		if (b->n_log) memcpy(p, b->log, b->n_log * sizeof *p);
		b->log = p;
		b->cap_log = cap;
	}
	b->log[b->n_log++] = (struct change){.i = i, .old = s->v[i]};
	return true;
}

/* The binding, made and noted when need be; NULL on failure. */
static struct bt_jj_binding *touch(struct binder *b, struct bt_jj_scope *s, const struct bt_jj_str *name)
{
	size_t i = find(s, name);
	if (i == SIZE_MAX) {
		if (!add(b, s, name)) return NULL;
		i = s->n - 1;
	}
	return note(b, s, i) ? &s->v[i] : NULL;
}

static void define(const struct bt_jj_scope *s, struct bt_jj_binding *v, enum bt_jj_load otherwise)
{
	size_t i;
	const struct bt_jj_scope *outer = s->parent ? find_outward(s->parent, v->name, &i) : NULL;
	v->load = outer ? BT_JJ_LOAD_ALIAS : otherwise;
	if (outer) v->outer = ref_to(s, outer, i);
	v->known = true;
}

static void param(struct binder *b, struct bt_jj_scope *s, const struct bt_jj_str *name)
{
	struct bt_jj_binding *v = touch(b, s, name);
	if (!v) return;
	v->load = BT_JJ_LOAD_PARAM;
	v->known = v->stored = true;
}

static void store(struct binder *b, struct bt_jj_scope *s, const struct bt_jj_str *name)
{
	struct bt_jj_binding *v = touch(b, s, name);
	if (!v) return;
	v->stored = true;
	if (!v->known) define(s, v, BT_JJ_LOAD_NOTHING);
}

static void load(struct binder *b, struct bt_jj_scope *s, const struct bt_jj_str *name)
{
	size_t i;
	if (find_outward(s, name, &i)) return;
	struct bt_jj_binding *v = touch(b, s, name);
	if (!v) return;
	v->load = BT_JJ_LOAD_RESOLVE;
	v->known = true;
}

static void visit(struct binder *b, struct bt_jj_scope *s, const struct bt_jj_node *list);

static void visit_target(struct binder *b, struct bt_jj_scope *s, const struct bt_jj_node *t, bool as_param)
{
	if (t->kind == BT_JJ_N_NAME) (as_param ? param : store)(b, s, t->value.s);
	else if (t->kind == BT_JJ_N_NSREF) load(b, s, t->a->value.s);
	else
		for (const struct bt_jj_node *i = t->a; i; i = i->next) visit_target(b, s, i, as_param);
}

/* What one branch did, kept while the next is looked at. */
struct branch {
	struct change *done; /* [n]: bindings as the branch left them */
	size_t n;
};

static bool take_branch(struct binder *b, struct bt_jj_scope *s, const struct bt_jj_node *nodes, struct branch *out)
{
	size_t mark = b->n_log;
	visit(b, s, nodes);
	out->n = b->n_log - mark;
	out->done = alloc(b, (out->n + 1) * sizeof *out->done);
	if (!out->done) return false;
	for (size_t k = 0; k < out->n; k++) {
		size_t i = b->log[mark + k].i;
		out->done[k] = (struct change){.i = i, .old = s->v[i]};
	}
	while (b->n_log > mark) {
		const struct change *c = &b->log[--b->n_log];
		s->v[c->i] = c->old;
	}
	return true;
}

/* Merge what the branches (the body, all elifs, else) have found. A name that one of them assigns, and that was not
 * assigned before, may or may not have a value afterwards. */
static void visit_if(struct binder *b, struct bt_jj_scope *s, const struct bt_jj_node *n)
{
	struct branch br[3];
	visit(b, s, n->a);
	if (!take_branch(b, s, n->body, &br[0]) || !take_branch(b, s, n->b, &br[1]) || !take_branch(b, s, n->c, &br[2]))
		return;
	for (int k = 0; k < 3; k++)
		for (size_t c = 0; c < br[k].n; c++) {
			size_t i = br[k].done[c].i;
			const struct bt_jj_binding *now = &br[k].done[c].old;
			if (!note(b, s, i)) return;
			struct bt_jj_binding *v = &s->v[i];
			bool was_known = v->known;
			if (now->stored && !v->stored) define(s, v, BT_JJ_LOAD_RESOLVE);
			else if (!was_known) {
				v->load = now->load;
				v->outer = now->outer;
			}
			v->known |= now->known;
			v->stored |= now->stored;
		}
}

static void visit_one(struct binder *b, struct bt_jj_scope *s, const struct bt_jj_node *n)
{
	switch (n->kind) {
	case BT_JJ_N_NAME: load(b, s, n->value.s); return;
	case BT_JJ_N_IF: visit_if(b, s, n); return;
	case BT_JJ_N_FOR: visit(b, s, n->b); return;
	case BT_JJ_N_SET:
		visit(b, s, n->b);
		visit_target(b, s, n->a, false);
		return;
	case BT_JJ_N_SET_BLOCK: visit_target(b, s, n->a, false); return;
	case BT_JJ_N_WITH:
	case BT_JJ_N_FILTER_BLOCK: visit(b, s, n->b); return;
	case BT_JJ_N_MACRO: store(b, s, n->value.s); return;
	case BT_JJ_N_CALL_BLOCK: visit(b, s, n->a); return;
	case BT_JJ_N_GENERATION:
	case BT_JJ_N_AUTOESCAPE:
	case BT_JJ_N_BLOCK:
	case BT_JJ_N_TEXT: return;
	default:
		visit(b, s, n->a);
		visit(b, s, n->b);
		visit(b, s, n->c);
	}
}

static void visit(struct binder *b, struct bt_jj_scope *s, const struct bt_jj_node *list)
{
	for (; list && !b->status; list = list->next) visit_one(b, s, list);
}

/* Which special names a tree reads before it assigns them; names: those that are looked for, and still count. */
static unsigned sees(const struct bt_jj_node *list, unsigned *names)
{
	static const struct {
		const char *name;
		unsigned bit;
	} special[] = {{"loop", SEES_LOOP},
	               {"caller", SEES_CALLER},
	               {"kwargs", SEES_KWARGS},
	               {"varargs", SEES_VARARGS},
	               {"self", SEES_SELF}};
	unsigned found = 0;
	for (; list; list = list->next) {
		if (list->kind == BT_JJ_N_BLOCK) continue;
		if (list->kind == BT_JJ_N_NAME) {
			for (size_t i = 0; i < sizeof special / sizeof *special; i++) {
				if (!(*names & special[i].bit) || !bt_jj_str_is(list->value, special[i].name)) continue;
				if (list->op) *names &= ~special[i].bit;
				else found |= special[i].bit;
			}
		}
		found |= sees(list->a, names);
		found |= sees(list->b, names);
		if (list->params) found |= sees(list->params->names, names);
		found |= sees(list->body, names);
		found |= sees(list->c, names);
		found |= sees(list->d, names);
	}
	return found;
}

static unsigned sees_any(const struct bt_jj_node *list, unsigned names)
{
	return sees(list, &names);
}

static bool has_scoped_block(const struct bt_jj_node *list)
{
	for (; list; list = list->next)
		if ((list->kind == BT_JJ_N_BLOCK && list->scoped) || has_scoped_block(list->body) ||
		    has_scoped_block(list->b) || has_scoped_block(list->c) || has_scoped_block(list->d))
			return true;
	return false;
}

/* The scope's variables are all found: nothing is undone any more. */
static void settle(struct binder *b)
{
	b->n_log = 0;
}

/* A name of the interpreter's own, as the template spells it: found among the names of the scope's code. */
static const struct bt_jj_str *spelled(const struct bt_jj_node *list, const char *name)
{
	for (; list; list = list->next) {
		if (list->kind == BT_JJ_N_NAME && bt_jj_str_is(list->value, name)) return list->value.s;
		const struct bt_jj_node *in[] = {list->a,    list->b, list->params ? list->params->names : NULL,
		                                 list->body, list->c, list->d};
		for (size_t i = 0; i < sizeof in / sizeof *in; i++) {
			const struct bt_jj_str *s = in[i] ? spelled(in[i], name) : NULL;
			if (s) return s;
		}
	}
	return NULL;
}

/* Give the scope a variable `name` that the interpreter sets; *ref: where. */
static void special_param(struct binder *b, struct bt_jj_scope *s, const struct bt_jj_node *body, const char *name,
                          struct bt_jj_ref *ref)
{
	const struct bt_jj_str *str = spelled(body, name);
	if (!str || b->status) return;
	param(b, s, str);
	size_t i = find(s, str);
	if (i != SIZE_MAX) *ref = ref_to(s, s, i);
}

struct place {
	struct bt_jj_scope *scope;
	bool soft; /* inside `if`: an unknown filter only fails when it is reached */
	bool top;  /* assigned names are exported */
};

static void bind(struct binder *b, struct place at, struct bt_jj_node *list);

static void bind_name(struct binder *b, const struct bt_jj_scope *s, struct bt_jj_node *n)
{
	size_t i;
	const struct bt_jj_scope *in = find_outward(s, n->value.s, &i);
	if (in) n->ref = ref_to(s, in, i);
	else
		b->status = bt_fail(b->err, BATON_ERR_TEMPLATE, "the name '%.*s' (template line %d) has no place",
		                    n->value.s->len < 60 ? (int)n->value.s->len : 60, n->value.s->s, n->line);
}

static void bind_function(struct binder *b, struct bt_jj_node *n, struct bt_jj_params *p)
{
	struct bt_jj_scope *s = new_scope(b, n->scope2, new_code(b, n->scope2->code));
	if (!s || b->status) return;
	p->scope = s;
	p->code = s->code;
	for (struct bt_jj_node *a = p->names; a; a = a->next) param(b, s, a->value.s);
	for (struct bt_jj_node *a = p->names; a; a = a->next) visit(b, s, a->a);
	visit(b, s, n->body);
	unsigned seen = sees_any(n->body, SEES_CALLER | SEES_KWARGS | SEES_VARARGS);
	for (struct bt_jj_node *a = p->names; a; a = a->next) {
		if (bt_jj_str_is(a->value, "kwargs")) seen &= ~SEES_KWARGS;
		if (bt_jj_str_is(a->value, "varargs")) seen &= ~SEES_VARARGS;
		if (!bt_jj_str_is(a->value, "caller")) continue;
		p->explicit_caller = true;
		if (seen & SEES_CALLER && !a->a) {
			b->status = bt_jj_assertion(
				b->err, n->line,
				"When defining macros or call blocks the special \"caller\" argument "
				"must be omitted or be given a default.");
			return;
		}
	}
	p->takes_caller = seen & SEES_CALLER;
	p->takes_kwargs = seen & SEES_KWARGS;
	p->takes_varargs = seen & SEES_VARARGS;
	if (p->takes_caller && !p->explicit_caller) special_param(b, s, n->body, "caller", &p->caller);
	if (p->takes_kwargs) special_param(b, s, n->body, "kwargs", &p->kwargs);
	if (p->takes_varargs) special_param(b, s, n->body, "varargs", &p->varargs);
	settle(b);
	for (struct bt_jj_node *a = p->names; a && !b->status; a = a->next) {
		bind_name(b, s, a);
		bind(b, (struct place){.scope = s}, a->a);
	}
	bind(b, (struct place){.scope = s}, n->body);
}

static void bind_for(struct binder *b, struct place at, struct bt_jj_node *n)
{
	bind(b, at, n->b);
	struct bt_jj_code *code = n->recursive ? new_code(b, at.scope->code) : at.scope->code;
	n->code = code;
	n->scope = new_scope(b, at.scope, code);
	n->scope2 = new_scope(b, at.scope, code);
	n->scope3 = new_scope(b, at.scope, code);
	if (b->status) return;
	n->extended = n->recursive || sees_any(n->body, SEES_LOOP) || has_scoped_block(n->body);
	n->ref.slot = UINT32_MAX; /* unless the body names it */
	if (n->extended) special_param(b, n->scope, n->body, "loop", &n->ref);
	visit_target(b, n->scope, n->a, true);
	visit(b, n->scope, n->body);
	settle(b);
	visit(b, n->scope2, n->d);
	settle(b);
	if (n->c) {
		visit_target(b, n->scope3, n->c->a, true);
		visit(b, n->scope3, n->c->b);
		settle(b);
		bind(b, (struct place){.scope = n->scope3}, n->c->a);
		bind(b, (struct place){.scope = n->scope3}, n->c->b);
	}
	bind(b, (struct place){.scope = n->scope}, n->a);
	bind(b, (struct place){.scope = n->scope}, n->body);
	bind(b, (struct place){.scope = n->scope2}, n->d);
}

/* with, filter, autoescape, set ... endset: a scope of the same function. */
static void bind_inner(struct binder *b, struct place at, struct bt_jj_node *n)
{
	struct bt_jj_scope *s = n->scope = new_scope(b, at.scope, at.scope->code);
	if (!s) return;
	if (n->kind == BT_JJ_N_WITH) {
		for (const struct bt_jj_node *t = n->a; t; t = t->next) visit_target(b, s, t, true);
	} else {
		if (n->kind == BT_JJ_N_AUTOESCAPE) visit(b, s, n->a);
		visit(b, s, n->b);
	}
	visit(b, s, n->body);
	settle(b);
	struct place in = {.scope = s};
	bind(b, n->kind == BT_JJ_N_SET_BLOCK ? at : in, n->a);
	bind(b, n->kind == BT_JJ_N_WITH ? at : in, n->b);
	bind(b, in, n->body);
}

static void check_known(struct binder *b, struct place at, const struct bt_jj_node *n)
{
	if (n->func || at.soft || b->status) return;
	b->status = bt_fail(b->err, BATON_ERR_TEMPLATE,
	                    "No %s named '%.*s'. (TemplateAssertionError, template line %d)",
	                    n->kind == BT_JJ_N_TEST ? "test" : "filter",
	                    n->value.s->len < 60 ? (int)n->value.s->len : 60, n->value.s->s, n->line);
}

static void bind_one(struct binder *b, struct place at, struct bt_jj_node *n)
{
	struct place soft = {.scope = at.scope, .soft = true, .top = at.top};
	n->toplevel = at.top;
	switch (n->kind) {
	case BT_JJ_N_NAME: bind_name(b, at.scope, n); return;
	case BT_JJ_N_FOR: bind_for(b, at, n); return;
	case BT_JJ_N_MACRO:
	case BT_JJ_N_CALL_BLOCK:
	case BT_JJ_N_GENERATION:
		n->scope2 = at.scope;
		bind(b, at, n->a);
		if (n->kind == BT_JJ_N_MACRO) {
			size_t i = find(at.scope, n->value.s);
			if (i != SIZE_MAX) n->ref = ref_to(at.scope, at.scope, i);
		}
		if (!b->status) bind_function(b, n, n->params);
		return;
	case BT_JJ_N_WITH:
	case BT_JJ_N_FILTER_BLOCK:
	case BT_JJ_N_AUTOESCAPE:
	case BT_JJ_N_SET_BLOCK: bind_inner(b, at, n); return;
	case BT_JJ_N_BLOCK: n->scope2 = at.scope; return;
	case BT_JJ_N_FILTER:
	case BT_JJ_N_TEST: check_known(b, at, n); break;
	case BT_JJ_N_IF:
	case BT_JJ_N_COND: at = soft; break;
	default: break;
	}
	bind(b, at, n->a);
	bind(b, at, n->b);
	bind(b, at, n->body);
	bind(b, at, n->c);
	bind(b, at, n->d);
}

static void bind(struct binder *b, struct place at, struct bt_jj_node *list)
{
	for (; list && !b->status; list = list->next) bind_one(b, at, list);
}

/* The template, or a block: a function that only sees the caller's variables and what the template has exported. */
static void bind_root(struct binder *b, struct bt_jj_node *n, bool top)
{
	n->code = new_code(b, NULL);
	n->scope = new_scope(b, NULL, n->code);
	if (b->status) return;
	n->extended = sees_any(n->body, SEES_SELF);
	visit(b, n->scope, n->body);
	if (n->extended) special_param(b, n->scope, n->body, "self", &n->ref);
	settle(b);
	bind(b, (struct place){.scope = n->scope, .top = top}, n->body);
}

enum baton_status bt_jj_bind(struct bt_jinja *j, struct baton_error *err)
{
	struct binder b = {.j = j, .err = err};
	bind_root(&b, j->root, true);
	for (size_t i = 0; i < j->n_blocks && !b.status; i++) bind_root(&b, j->blocks[i], false);
	return b.status;
}
