/* eval.c: expressions. */
#include "text/jinja/exec.h"

typedef struct bt_jj_val (*eval_fn)(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *n);

static struct bt_jj_val eval_const(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *n)
{
	(void)r, (void)f;
	return n->value;
}

static struct bt_jj_val eval_name(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *n)
{
	struct bt_jj_val v = *bt_jj_slot(f, n->ref);
	return v.type == BT_JJ_MISSING ? bt_jj_undefined_name(r, n->value.s) : v;
}

static struct bt_jj_list *eval_items(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *n)
{
	struct bt_jj_list *l = bt_jj_list_new(r, 0);
	for (const struct bt_jj_node *i = n->a; l && i; i = i->next)
		if (!bt_jj_list_add(r, l, bt_jj_eval(r, f, i))) return NULL;
	return l;
}

static struct bt_jj_val eval_list(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *n)
{
	struct bt_jj_list *l = eval_items(r, f, n);
	return !l ? bt_jj_failed() : n->kind == BT_JJ_N_LIST ? bt_jj_of_list(l) : bt_jj_of_tuple(l);
}

static struct bt_jj_val eval_dict(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *n)
{
	struct bt_jj_dict *d = bt_jj_dict_new(r, 0);
	for (const struct bt_jj_node *i = n->a; d && i; i = i->next) {
		struct bt_jj_val key = bt_jj_eval(r, f, i->a);
		if (bt_jj_is_fail(key) || !bt_jj_dict_set(r, d, key, bt_jj_eval(r, f, i->b))) return bt_jj_failed();
	}
	return d ? bt_jj_of_dict(d) : bt_jj_failed();
}

static struct bt_jj_val eval_cond(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *n)
{
	struct bt_jj_val test = bt_jj_eval(r, f, n->b);
	if (bt_jj_is_fail(test)) return test;
	if (bt_jj_truth(test)) return bt_jj_eval(r, f, n->a);
	if (n->c) return bt_jj_eval(r, f, n->c);
	return bt_jj_undefined_hint(
		r, "the inline if-expression on line %d evaluated to false and no else section was defined.", n->line);
}

static struct bt_jj_val eval_or(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *n)
{
	struct bt_jj_val v = bt_jj_eval(r, f, n->a);
	return bt_jj_is_fail(v) || bt_jj_truth(v) ? v : bt_jj_eval(r, f, n->b);
}

static struct bt_jj_val eval_and(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *n)
{
	struct bt_jj_val v = bt_jj_eval(r, f, n->a);
	return bt_jj_is_fail(v) || !bt_jj_truth(v) ? v : bt_jj_eval(r, f, n->b);
}

static struct bt_jj_val eval_not(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *n)
{
	struct bt_jj_val v = bt_jj_eval(r, f, n->a);
	return bt_jj_is_fail(v) ? v : bt_jj_bool(!bt_jj_truth(v));
}

static struct bt_jj_val eval_sign(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *n)
{
	struct bt_jj_val v = bt_jj_eval(r, f, n->a);
	return n->kind == BT_JJ_N_NEG ? bt_jj_negate(r, v) : bt_jj_positive(r, v);
}

static struct bt_jj_val eval_binary(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *n)
{
	struct bt_jj_val a = bt_jj_eval(r, f, n->a);
	if (bt_jj_is_fail(a)) return a;
	struct bt_jj_val b = bt_jj_eval(r, f, n->b);
	if (!r->err.status) r->line = n->line;
	return bt_jj_binary(r, n->op, a, b);
}

static struct bt_jj_val eval_concat(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *n)
{
	struct bt_jj_list *l = eval_items(r, f, n);
	if (!l) return bt_jj_failed();
	bool markup = false;
	for (size_t i = 0; i < l->n && r->autoescape; i++) markup |= l->v[i].type == BT_JJ_STR && l->v[i].markup;
	struct bt_jj_sb b = bt_jj_sb(r);
	for (size_t i = 0; i < l->n && !b.failed; i++) bt_jj_sb_val(&b, markup ? bt_jj_escape(r, l->v[i]) : l->v[i]);
	struct bt_jj_val v = bt_jj_sb_done(&b);
	return markup ? bt_jj_mark(v) : v;
}

static struct bt_jj_val compare_one(struct bt_jj *r, unsigned op, struct bt_jj_val a, struct bt_jj_val b)
{
	if (op < BT_JJ_OPERAND_IN) return bt_jj_compare(r, (enum bt_jj_cmp)op, a, b);
	struct bt_jj_val in = bt_jj_contains(r, a, b);
	return bt_jj_is_fail(in) ? in : bt_jj_bool(in.b == (op == BT_JJ_OPERAND_IN));
}

static struct bt_jj_val eval_compare(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *n)
{
	struct bt_jj_val a = bt_jj_eval(r, f, n->a), v = bt_jj_bool(true);
	for (const struct bt_jj_node *o = n->b; o && bt_jj_truth(v); o = o->next) {
		if (bt_jj_is_fail(a)) return a;
		struct bt_jj_val b = bt_jj_eval(r, f, o->a);
		if (bt_jj_is_fail(b)) return b;
		r->line = n->line;
		v = compare_one(r, o->op, a, b);
		a = b;
	}
	return v;
}

static struct bt_jj_val eval_getattr(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *n)
{
	struct bt_jj_val v = bt_jj_eval(r, f, n->a);
	if (bt_jj_is_fail(v)) return v;
	r->line = n->line;
	return bt_jj_getattr(r, v, n->value.s);
}

static struct bt_jj_val eval_getitem(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *n)
{
	struct bt_jj_val v = bt_jj_eval(r, f, n->a);
	if (bt_jj_is_fail(v)) return v;
	struct bt_jj_val key = bt_jj_eval(r, f, n->b);
	if (bt_jj_is_fail(key)) return key;
	r->line = n->line;
	if (key.type == BT_JJ_SLICE) return bt_jj_slice(r, v, key.slice);
	return bt_jj_getitem(r, v, key);
}

static struct bt_jj_val eval_slice(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *n)
{
	struct bt_jj_slice *s = bt_jj_alloc(r, sizeof *s);
	if (!s) return bt_jj_failed();
	s->start = n->a ? bt_jj_eval(r, f, n->a) : bt_jj_none();
	s->stop = n->b ? bt_jj_eval(r, f, n->b) : bt_jj_none();
	s->step = n->c ? bt_jj_eval(r, f, n->c) : bt_jj_none();
	return r->err.status ? bt_jj_failed() : (struct bt_jj_val){.type = BT_JJ_SLICE, .slice = s};
}

/* Arguments while they are evaluated: few of them need no allocation. */
struct arg_list {
	struct bt_jj_arg few[6], *v;
	size_t n, n_pos, cap;
};

static bool push_arg(struct bt_jj *r, struct arg_list *l, struct bt_jj_val name, struct bt_jj_val val)
{
	if (val.type == BT_JJ_FAIL) return false;
	if (l->n == l->cap) {
		struct bt_jj_arg *v = bt_jj_alloc_array(r, l->cap * 2, sizeof *v);
		if (!v) return false;
		memcpy(v, l->v, l->n * sizeof *v);
		l->v = v;
		l->cap *= 2;
	}
	/* "*list" may stand behind names; positional arguments still come first. */
	size_t at = l->n++;
	if (name.type == BT_JJ_MISSING) {
		memmove(l->v + l->n_pos + 1, l->v + l->n_pos, (at - l->n_pos) * sizeof *l->v);
		at = l->n_pos++;
	}
	for (size_t i = l->n_pos; i < at; i++) {
		if (!bt_jj_equal(r, l->v[i].name, name)) continue;
		bt_jj_fail(r, "TypeError", "got multiple values for keyword argument '%.*s'",
		           name.s->len < 100 ? (int)name.s->len : 100, name.s->s);
		return false;
	}
	l->v[at] = (struct bt_jj_arg){.name = name, .val = val};
	return !r->err.status;
}

static bool push_star(struct bt_jj *r, struct arg_list *l, struct bt_jj_val v)
{
	struct bt_jj_iter it;
	struct bt_jj_val e;
	enum bt_jj_step step;
	if (!bt_jj_iter_open(r, v, &it)) return false;
	while ((step = bt_jj_iter_next(r, &it, &e)) == BT_JJ_ITEM)
		if (!push_arg(r, l, bt_jj_missing(), e)) return false;
	return step == BT_JJ_STOP;
}

static bool push_stars(struct bt_jj *r, struct arg_list *l, struct bt_jj_val v)
{
	if (v.type == BT_JJ_FAIL) return false;
	if (v.type != BT_JJ_DICT) {
		bt_jj_fail(r, "TypeError", "argument after ** must be a mapping, not %s", bt_jj_type_name(v));
		return false;
	}
	if (v.dict->n > 256) {
		bt_jj_fail_limit(r, "a call has more than 256 named arguments");
		return false;
	}
	for (size_t i = 0; i < v.dict->n; i++) {
		if (v.dict->e[i].key.type != BT_JJ_STR) {
			bt_jj_fail(r, "TypeError", "keywords must be strings");
			return false;
		}
		if (!push_arg(r, l, v.dict->e[i].key, v.dict->e[i].val)) return false;
	}
	return true;
}

static bool eval_args(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *args, struct arg_list *l)
{
	l->v = l->few;
	l->cap = sizeof l->few / sizeof *l->few;
	l->n = l->n_pos = 0;
	for (; args; args = args->next) {
		struct bt_jj_val v = bt_jj_eval(r, f, args->a);
		bool ok = args->op == BT_JJ_ARG_LIST ? push_star(r, l, v)
		          : args->op == BT_JJ_ARG_DICT
		                  ? push_stars(r, l, v)
		                  : push_arg(r, l, args->op == BT_JJ_ARG_NAMED ? args->value : bt_jj_missing(), v);
		if (!ok) return false;
	}
	return true;
}

static struct bt_jj_args args_of(const struct arg_list *l)
{
	return (struct bt_jj_args){.v = l->v, .n_pos = l->n_pos, .n = l->n};
}

struct bt_jj_val bt_jj_eval_call(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *n,
                                 struct bt_jj_val caller)
{
	struct bt_jj_val callee = bt_jj_eval(r, f, n->a);
	struct arg_list l;
	if (bt_jj_is_fail(callee) || !eval_args(r, f, n->b, &l)) return bt_jj_failed();
	if (bt_jj_given(caller)) {
		struct bt_jj_val name = bt_jj_text_ref(r, "caller", 6);
		if (bt_jj_is_fail(name) || !push_arg(r, &l, name, caller)) return bt_jj_failed();
	}
	struct bt_jj_args args = args_of(&l);
	r->line = n->line;
	return bt_jj_call(r, callee, &args);
}

static struct bt_jj_val eval_call(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *n)
{
	return bt_jj_eval_call(r, f, n, bt_jj_missing());
}

/* A filter or a test; in is the value in front of it. */
static struct bt_jj_val apply(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *n, struct bt_jj_val in)
{
	struct arg_list l;
	if (bt_jj_is_fail(in)) return in;
	r->line = n->line;
	if (!n->func)
		return bt_jj_fail(r, "TemplateRuntimeError", "No %s named '%.*s' found.",
		                  n->kind == BT_JJ_N_TEST ? "test" : "filter",
		                  n->value.s->len < 100 ? (int)n->value.s->len : 100, n->value.s->s);
	if (!eval_args(r, f, n->b, &l)) return bt_jj_failed();
	struct bt_jj_args args = args_of(&l);
	r->line = n->line;
	return bt_jj_call_native(r, n->func, in, &args);
}

static struct bt_jj_val eval_apply(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *n)
{
	return apply(r, f, n, bt_jj_eval(r, f, n->a));
}

static struct bt_jj_val filters_on(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *n,
                                   struct bt_jj_val text)
{
	if (!n) return text;
	return apply(r, f, n, filters_on(r, f, n->a, text));
}

struct bt_jj_val bt_jj_eval_filters(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *n,
                                    struct bt_jj_val text)
{
	if (bt_jj_is_fail(text) || !bt_jj_enter(r)) return bt_jj_failed();
	struct bt_jj_val v = filters_on(r, f, n, text); /* as deep as the chain, which the parser bounds */
	bt_jj_leave(r);
	return v;
}

static const eval_fn eval_of[BT_JJ_KINDS] = {
	[BT_JJ_N_CONST] = eval_const,     [BT_JJ_N_NAME] = eval_name,       [BT_JJ_N_LIST] = eval_list,
	[BT_JJ_N_TUPLE] = eval_list,      [BT_JJ_N_DICT] = eval_dict,       [BT_JJ_N_COND] = eval_cond,
	[BT_JJ_N_OR] = eval_or,           [BT_JJ_N_AND] = eval_and,         [BT_JJ_N_NOT] = eval_not,
	[BT_JJ_N_NEG] = eval_sign,        [BT_JJ_N_POS] = eval_sign,        [BT_JJ_N_BINARY] = eval_binary,
	[BT_JJ_N_CONCAT] = eval_concat,   [BT_JJ_N_COMPARE] = eval_compare, [BT_JJ_N_GETATTR] = eval_getattr,
	[BT_JJ_N_GETITEM] = eval_getitem, [BT_JJ_N_SLICE] = eval_slice,     [BT_JJ_N_CALL] = eval_call,
	[BT_JJ_N_FILTER] = eval_apply,    [BT_JJ_N_TEST] = eval_apply,
};

struct bt_jj_val bt_jj_eval(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *n)
{
	if (!bt_jj_charge(r, 1)) return bt_jj_failed();
	if (n->kind <= BT_JJ_N_NAME) return eval_of[n->kind](r, f, n);
	if (!bt_jj_enter(r)) return bt_jj_failed();
	r->line = n->line;
	struct bt_jj_val v = eval_of[n->kind](r, f, n);
	bt_jj_leave(r);
	return v;
}

static bool unpack(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *target, struct bt_jj_val v)
{
	struct bt_jj_iter it;
	struct bt_jj_val e;
	size_t want = 0, got = 0;
	for (const struct bt_jj_node *i = target->a; i; i = i->next) want++;
	if (!bt_jj_iterable(v)) {
		bt_jj_fail(r, "TypeError", "cannot unpack non-iterable %s object", bt_jj_type_name(v));
		return false;
	}
	if (!bt_jj_iter_open(r, v, &it)) return false;
	for (const struct bt_jj_node *i = target->a; i; i = i->next, got++) {
		enum bt_jj_step step = bt_jj_iter_next(r, &it, &e);
		if (step == BT_JJ_BROKEN) return false;
		if (step == BT_JJ_STOP) {
			bt_jj_fail(r, "ValueError", "not enough values to unpack (expected %zu, got %zu)", want, got);
			return false;
		}
		if (!bt_jj_assign(r, f, i, e)) return false;
	}
	enum bt_jj_step step = bt_jj_iter_next(r, &it, &e);
	if (step == BT_JJ_ITEM) bt_jj_fail(r, "ValueError", "too many values to unpack (expected %zu)", want);
	return step == BT_JJ_STOP;
}

static bool set_attribute(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *target, struct bt_jj_val v)
{
	struct bt_jj_val ns = *bt_jj_slot(f, target->a->ref);
	if (ns.type != BT_JJ_NAMESPACE) {
		bt_jj_fail(r, "TemplateRuntimeError", "cannot assign attribute on non-namespace object");
		return false;
	}
	return bt_jj_namespace_set(r, ns.ns, target->value, v);
}

bool bt_jj_assign(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *target, struct bt_jj_val v)
{
	if (v.type == BT_JJ_FAIL) return false;
	if (target->kind == BT_JJ_N_NSREF) return set_attribute(r, f, target, v);
	if (target->kind == BT_JJ_N_TUPLE) return unpack(r, f, target, v);
	*bt_jj_slot(f, target->ref) = v;
	return true;
}
