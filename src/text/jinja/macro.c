/* macro.c: macros and the bodies of call blocks. */
#include "text/jinja/exec.h"

struct bt_jj_val bt_jj_macro_new(struct bt_jj *r, const struct bt_jj_node *n, struct bt_jj_frame *f)
{
	struct bt_jj_macro *m = bt_jj_alloc(r, sizeof *m);
	if (!m) return bt_jj_failed();
	*m = (struct bt_jj_macro){.node = n, .frame = f, .autoescape = r->autoescape};
	return (struct bt_jj_val){.type = BT_JJ_MACRO, .macro = m};
}

/* "name" for messages; bodies of call blocks have none. */
static int name_of(const struct bt_jj_macro *m, const char **s)
{
	const struct bt_jj_node *n = m->node;
	if (n->kind != BT_JJ_N_MACRO) {
		*s = "None";
		return 4;
	}
	*s = n->value.s->s;
	return n->value.s->len < 100 ? (int)n->value.s->len : 100;
}

struct bt_jj_val bt_jj_macro_text(struct bt_jj *r, const struct bt_jj_macro *m)
{
	const char *s;
	int len = name_of(m, &s);
	if (m->node->kind != BT_JJ_N_MACRO) return bt_jj_textf(r, "<Macro anonymous>");
	return bt_jj_textf(r, "<Macro '%.*s'>", len, s);
}

struct bt_jj_val bt_jj_macro_attr(struct bt_jj *r, const struct bt_jj_macro *m, const struct bt_jj_str *name)
{
	struct bt_jj_val n = bt_jj_of_str(name);
	const struct bt_jj_params *p = m->node->params;
	if (bt_jj_str_is(n, "name")) return m->node->kind == BT_JJ_N_MACRO ? m->node->value : bt_jj_none();
	if (bt_jj_str_is(n, "catch_kwargs")) return bt_jj_bool(p->takes_kwargs);
	if (bt_jj_str_is(n, "catch_varargs")) return bt_jj_bool(p->takes_varargs);
	if (bt_jj_str_is(n, "caller")) return bt_jj_bool(p->takes_caller);
	if (bt_jj_str_is(n, "explicit_caller")) return bt_jj_bool(p->explicit_caller);
	if (!bt_jj_str_is(n, "arguments")) return bt_jj_missing();
	struct bt_jj_list *l = bt_jj_list_new(r, p->n);
	for (const struct bt_jj_node *a = p->names; l && a; a = a->next) bt_jj_list_add(r, l, a->value);
	return l ? bt_jj_of_tuple(l) : bt_jj_failed();
}

/* The arguments that the names of the macro did not take. */
struct leftover {
	const struct bt_jj_args *args;
	bool used[256]; /* by a name; of args->v, counted from n_pos */
	size_t n_used;
};

static struct bt_jj_val take_named(struct leftover *o, struct bt_jj_val name)
{
	size_t n = o->args->n - o->args->n_pos;
	for (size_t i = 0; i < n && i < sizeof o->used; i++) {
		const struct bt_jj_arg *a = &o->args->v[o->args->n_pos + i];
		if (o->used[i] || a->name.s->len != name.s->len || memcmp(a->name.s->s, name.s->s, name.s->len))
			continue;
		o->used[i] = true;
		o->n_used++;
		return a->val;
	}
	return bt_jj_missing();
}

static bool take_kwargs(struct bt_jj *r, const struct bt_jj_macro *m, struct bt_jj_frame *f, const struct leftover *o)
{
	const struct bt_jj_params *p = m->node->params;
	const struct bt_jj_args *args = o->args;
	struct bt_jj_dict *d = p->takes_kwargs ? bt_jj_dict_new(r, 0) : NULL;
	const char *s;
	int len = name_of(m, &s);
	for (size_t i = args->n_pos; i < args->n; i++) {
		if (o->used[i - args->n_pos]) continue;
		if (d) {
			if (!bt_jj_dict_set(r, d, args->v[i].name, args->v[i].val)) return false;
			continue;
		}
		const struct bt_jj_str *name = args->v[i].name.s;
		if (bt_jj_str_is(args->v[i].name, "caller"))
			bt_jj_fail(r, "TypeError",
			           "macro '%.*s' was invoked with two values for the special caller argument. This is "
			           "most "
			           "likely a bug.",
			           len, s);
		else
			bt_jj_fail(r, "TypeError", "macro '%.*s' takes no keyword argument '%.*s'", len, s,
			           name->len < 100 ? (int)name->len : 100, name->s);
		return false;
	}
	if (d) f->slot[p->kwargs.slot] = bt_jj_of_dict(d);
	return !r->err.status;
}

static bool take_varargs(struct bt_jj *r, const struct bt_jj_macro *m, struct bt_jj_frame *f,
                         const struct bt_jj_args *args)
{
	const struct bt_jj_params *p = m->node->params;
	const char *s;
	int len = name_of(m, &s);
	if (!p->takes_varargs) {
		if (args->n_pos <= p->n) return true;
		bt_jj_fail(r, "TypeError", "macro '%.*s' takes not more than %zu argument(s)", len, s, p->n);
		return false;
	}
	struct bt_jj_list *l = bt_jj_list_new(r, 0);
	for (size_t i = p->n; l && i < args->n_pos; i++)
		if (!bt_jj_list_add(r, l, args->v[i].val)) return false;
	if (!l) return false;
	f->slot[p->varargs.slot] = bt_jj_of_tuple(l);
	return true;
}

static bool bind_args(struct bt_jj *r, const struct bt_jj_macro *m, struct bt_jj_frame *f,
                      const struct bt_jj_args *args)
{
	const struct bt_jj_params *p = m->node->params;
	struct leftover o = {.args = args};
	size_t i = 0;
	if (args->n - args->n_pos > sizeof o.used) {
		bt_jj_fail_limit(r, "a call has more than %zu named arguments", sizeof o.used);
		return false;
	}
	bool found_caller = args->n_pos >= p->n && p->explicit_caller;
	for (const struct bt_jj_node *a = p->names; a; a = a->next, i++) {
		if (i < args->n_pos) {
			f->slot[a->ref.slot] = args->v[i].val;
			continue;
		}
		f->slot[a->ref.slot] = take_named(&o, a->value);
		found_caller |= bt_jj_str_is(a->value, "caller");
	}
	if (p->takes_caller && !found_caller && !p->explicit_caller) {
		static const struct bt_jj_str caller = {.s = "caller", .len = 6, .n = 6};
		struct bt_jj_val c = take_named(&o, bt_jj_of_str(&caller));
		if (c.type == BT_JJ_MISSING || c.type == BT_JJ_NONE) c = bt_jj_undefined_hint(r, "No caller defined");
		f->slot[p->caller.slot] = c;
	}
	return take_kwargs(r, m, f, &o) && take_varargs(r, m, f, args);
}

/* In order: a default may use the arguments before it. */
static bool set_defaults(struct bt_jj *r, const struct bt_jj_macro *m, struct bt_jj_frame *f)
{
	for (const struct bt_jj_node *a = m->node->params->names; a; a = a->next) {
		struct bt_jj_val *slot = &f->slot[a->ref.slot];
		if (slot->type != BT_JJ_MISSING) continue;
		int len = a->value.s->len < 100 ? (int)a->value.s->len : 100;
		struct bt_jj_val v = a->a ? bt_jj_eval(r, f, a->a)
		                          : bt_jj_undefined_hint(r, "parameter '%.*s' was not provided", len,
		                                                 a->value.s->s);
		if (bt_jj_is_fail(v)) return false;
		*slot = v;
	}
	return true;
}

struct bt_jj_val bt_jj_call_macro(struct bt_jj *r, const struct bt_jj_macro *m, const struct bt_jj_args *args)
{
	const struct bt_jj_params *p = m->node->params;
	if (!bt_jj_enter_call(r)) return bt_jj_failed();
	struct bt_jj_frame *f = bt_jj_frame_new(r, p->code, m->frame);
	if (!f || !bind_args(r, m, f, args)) return bt_jj_failed();
	bt_jj_scope_enter(r, f, p->scope);
	if (!set_defaults(r, m, f)) return bt_jj_failed();
	bool around = r->autoescape;
	size_t start = r->out->len;
	r->autoescape = m->autoescape;
	enum bt_jj_flow fl = bt_jj_exec(r, f, m->node->body);
	r->autoescape = around;
	bt_jj_leave_call(r);
	return fl == BT_JJ_ABORT ? bt_jj_failed() : bt_jj_take_output(r, start);
}
