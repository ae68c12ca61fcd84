/* call.c: calling values, and handing arguments to built-ins. */
#include "text/jinja/exec.h"

#include <limits.h>
#include <stdio.h>

bool bt_jj_callable(struct bt_jj_val v)
{
	switch (v.type) {
	case BT_JJ_UNDEFINED: /* it has __call__, which fails */
	case BT_JJ_FUNC:
	case BT_JJ_METHOD:
	case BT_JJ_MACRO:
	case BT_JJ_LOOP:
	case BT_JJ_JOINER:
	case BT_JJ_BLOCK: return true;
	default: return false;
	}
}

const struct bt_jj_func *bt_jj_func_named(const struct bt_jj_func *table, const char *name, size_t len)
{
	for (; table->name; table++)
		if (strlen(table->name) == len && !memcmp(table->name, name, len)) return table;
	return NULL;
}

/* One parameter of a row: its name, and whether it may be left out. */
struct param {
	const char *s;
	size_t len;
	bool optional;
};

/* The next parameter of a list like "a,b=,*"; false at its end. */
static bool next_param(const char **at, struct param *p)
{
	const char *s = *at;
	if (!*s) return false;
	p->s = s;
	p->len = strcspn(s, ",");
	*at = s[p->len] ? s + p->len + 1 : s + p->len;
	p->optional = p->len && s[p->len - 1] == '=';
	p->len -= p->optional;
	return true;
}

static struct bt_jj_val fail_call(struct bt_jj *r, const struct bt_jj_func *f, const char *what, const char *s,
                                  size_t len)
{
	return bt_jj_fail(r, "TypeError", "%s() %s '%.*s'", f->name, what, len < 100 ? (int)len : 100, s);
}

/* The parameters of a row. */
struct params {
	struct param v[BT_JJ_MAX_PARAMS];
	size_t n;
	bool star, stars;
};

static void read_params(const char *at, struct params *p)
{
	struct param q;
	*p = (struct params){0};
	while (next_param(&at, &q)) {
		if (q.len && *q.s == '*') {
			if (q.len == 2) p->stars = true;
			else p->star = true;
		} else if (p->n < BT_JJ_MAX_PARAMS) {
			p->v[p->n++] = q;
		}
	}
}

/* Give a named argument to its parameter; false, recorded: there is none, or it has a value. */
static bool bind_named(struct bt_jj *r, struct bt_jj_call *c, const struct params *p, const struct bt_jj_arg *a)
{
	const struct bt_jj_str *name = a->name.s;
	size_t i = 0;
	while (i < p->n && (p->v[i].len != name->len || memcmp(p->v[i].s, name->s, name->len))) i++;
	if (i < p->n && c->arg[i].type != BT_JJ_MISSING)
		fail_call(r, c->func, "got multiple values for argument", name->s, name->len);
	else if (i < p->n) c->arg[i] = a->val;
	else if (!p->stars) fail_call(r, c->func, "got an unexpected keyword argument", name->s, name->len);
	return !r->err.status;
}

/* Sort args into c->arg by the row's parameters. */
static bool bind(struct bt_jj *r, struct bt_jj_call *c, const struct bt_jj_args *args)
{
	struct params p;
	read_params(c->func->params, &p);
	for (size_t i = 0; i < BT_JJ_MAX_PARAMS; i++)
		c->arg[i] = i < p.n && i < args->n_pos ? args->v[i].val : bt_jj_missing();
	if (args->n_pos > p.n && !p.star) {
		bt_jj_fail(r, "TypeError", "%s() takes at most %zu arguments (%zu given)", c->func->name, p.n,
		           args->n_pos);
		return false;
	}
	for (size_t k = args->n_pos; k < args->n; k++)
		if (!bind_named(r, c, &p, &args->v[k])) return false;
	for (size_t i = 0; i < p.n; i++)
		if (!p.v[i].optional && c->arg[i].type == BT_JJ_MISSING) {
			fail_call(r, c->func, "missing 1 required positional argument:", p.v[i].s, p.v[i].len);
			return false;
		}
	/* What "*" takes: the positional arguments behind the parameters. "**" gets all names: rows have parameters or
	 * "**", not both. */
	size_t skip = args->n_pos > p.n ? p.n : args->n_pos;
	c->rest = (struct bt_jj_args){.n_pos = args->n_pos - skip, .n = args->n - skip};
	if (c->rest.n) c->rest.v = args->v + skip;
	return true;
}

struct bt_jj_val bt_jj_call_native(struct bt_jj *r, const struct bt_jj_func *func, struct bt_jj_val self,
                                   const struct bt_jj_args *args)
{
	struct bt_jj_call c = {.func = func, .self = self};
	if (!bt_jj_charge(r, 1) || !bind(r, &c, args)) return bt_jj_failed();
	struct bt_jj_val v = func->fn(r, &c);
	return r->err.status ? bt_jj_failed() : v;
}

static struct bt_jj_val call_joiner(struct bt_jj *r, struct bt_jj_joiner *j)
{
	if (j->used) return j->sep;
	j->used = true;
	return bt_jj_text_ref(r, "", 0);
}

static struct bt_jj_val call_block(struct bt_jj *r, const struct bt_jj_node *block)
{
	size_t start = r->out->len;
	return bt_jj_run_block(r, block) ? bt_jj_take_output(r, start) : bt_jj_failed();
}

struct bt_jj_val bt_jj_call(struct bt_jj *r, struct bt_jj_val callee, const struct bt_jj_args *args)
{
	struct bt_jj_val v;
	if (!bt_jj_enter(r)) return bt_jj_failed();
	switch (callee.type) {
	case BT_JJ_FUNC: v = bt_jj_call_native(r, callee.func, bt_jj_none(), args); break;
	case BT_JJ_METHOD: v = bt_jj_call_native(r, callee.method->func, callee.method->self, args); break;
	case BT_JJ_MACRO: v = bt_jj_call_macro(r, callee.macro, args); break;
	case BT_JJ_LOOP: v = bt_jj_call_loop(r, callee.loop, args); break;
	case BT_JJ_JOINER: v = call_joiner(r, callee.joiner); break;
	case BT_JJ_BLOCK: v = call_block(r, callee.block); break;
	case BT_JJ_UNDEFINED: v = bt_jj_fail_undefined(r, callee); break;
	default: v = bt_jj_fail(r, "TypeError", "'%s' object is not callable", bt_jj_type_name(callee));
	}
	bt_jj_leave(r);
	return v;
}

bool bt_jj_arg_index_or_none(struct bt_jj *r, struct bt_jj_val v, int64_t dflt, int64_t *out)
{
	return bt_jj_arg_index(r, v.type == BT_JJ_NONE ? bt_jj_missing() : v, dflt, out);
}

bool bt_jj_arg_index(struct bt_jj *r, struct bt_jj_val v, int64_t dflt, int64_t *out)
{
	*out = dflt;
	if (v.type == BT_JJ_MISSING) return true;
	if (v.type == BT_JJ_UNDEFINED) {
		bt_jj_fail_undefined(r, v);
		return false;
	}
	if (!bt_jj_is_int(v)) {
		bt_jj_fail(r, "TypeError", "'%s' object cannot be interpreted as an integer", bt_jj_type_name(v));
		return false;
	}
	if (v.type != BT_JJ_BIG) *out = bt_jj_small(v);
	else *out = bt_jj_num_cmp(r, v, bt_jj_int(0)) < 0 ? INT64_MIN / 4 : INT64_MAX / 4;
	return true;
}

bool bt_jj_arg_bool(struct bt_jj_val v, bool dflt)
{
	return v.type == BT_JJ_MISSING ? dflt : bt_jj_truth(v);
}

bool bt_jj_arg_flag(struct bt_jj *r, struct bt_jj_val v, bool *out)
{
	int64_t i = 0;
	*out = false;
	if (v.type == BT_JJ_UNDEFINED)
		bt_jj_fail(r, "TypeError", "'Undefined' object cannot be interpreted as an integer");
	else if (bt_jj_arg_index(r, v, 0, &i) && (i > INT_MAX || i < INT_MIN))
		bt_jj_fail(r, "OverflowError", "Python int too large to convert to C int");
	*out = i;
	return !r->err.status;
}
