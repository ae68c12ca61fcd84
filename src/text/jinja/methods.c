/* methods.c: the methods of everything but str. */
#include "text/jinja/big.h"
#include "text/jinja/members.h"
#include "text/jinja/number_text.h"
#include "text/jinja/text.h"

#include <math.h>
#include <stdio.h>

/* Lists and tuples */

static struct bt_jj_val seq_count(struct bt_jj *r, struct bt_jj_call *c)
{
	int64_t n = 0;
	size_t len = 0;
	bt_jj_len(c->self, &len);
	for (size_t i = 0; i < len && !r->err.status; i++) {
		struct bt_jj_val v = bt_jj_at(r, c->self, i);
		n += bt_jj_same(v, c->arg[0]) || bt_jj_equal(r, v, c->arg[0]);
	}
	return bt_jj_int(n);
}

static struct bt_jj_val seq_index(struct bt_jj *r, struct bt_jj_call *c)
{
	int64_t from, to;
	size_t len = 0;
	bt_jj_len(c->self, &len);
	int64_t n = (int64_t)len;
	if (!bt_jj_arg_index(r, c->arg[1], 0, &from) || !bt_jj_arg_index(r, c->arg[2], n, &to)) return bt_jj_failed();
	if (from < 0) from = from + n < 0 ? 0 : from + n;
	if (to < 0) to += n;
	if (to > n) to = n;
	for (int64_t i = from; i < to && !r->err.status; i++) {
		struct bt_jj_val v = bt_jj_at(r, c->self, (size_t)i);
		if (bt_jj_same(v, c->arg[0]) || bt_jj_equal(r, v, c->arg[0])) return bt_jj_int(i);
	}
	struct bt_jj_val text = bt_jj_repr(r, c->arg[0]);
	if (bt_jj_is_fail(text)) return text;
	if (c->self.type == BT_JJ_TUPLE) return bt_jj_fail(r, "ValueError", "tuple.index(x): x not in tuple");
	return bt_jj_fail(r, "ValueError", "%.*s is not in %s", text.s->len < 200 ? (int)text.s->len : 200, text.s->s,
	                  bt_jj_type_name(c->self));
}

static struct bt_jj_val list_copy(struct bt_jj *r, struct bt_jj_call *c)
{
	(void)r;
	return c->self; /* nothing can change the one or the other */
}

#define ROW(name, params, fn)                        \
	{                                            \
		{name, params, fn}, BT_JJ_METHOD_ROW \
	}
#define PROP(name, fn)                         \
	{                                      \
		{name, "", fn}, BT_JJ_PROPERTY \
	}
#define UNSAFE(name)                           \
	{                                      \
		{name, "", NULL}, BT_JJ_UNSAFE \
	}
#define TABLE(name, rows) const struct bt_jj_members name = {rows, sizeof rows / sizeof *rows}

static const struct bt_jj_member list_rows[] = {
	UNSAFE("append"),
	UNSAFE("clear"),
	ROW("copy", "", list_copy),
	ROW("count", "value", seq_count),
	UNSAFE("extend"),
	ROW("index", "value,start=,stop=", seq_index),
	UNSAFE("insert"),
	UNSAFE("pop"),
	UNSAFE("remove"),
	UNSAFE("reverse"),
	UNSAFE("sort"),
};
TABLE(bt_jj_list_members, list_rows);

static const struct bt_jj_member tuple_rows[] = {
	ROW("count", "value", seq_count),
	ROW("index", "value,start=,stop=", seq_index),
};
TABLE(bt_jj_tuple_members, tuple_rows);

/* Dicts and their views */

static struct bt_jj_val view(struct bt_jj *r, const struct bt_jj_dict *d, enum bt_jj_view_kind kind)
{
	struct bt_jj_view *v = bt_jj_alloc(r, sizeof *v);
	if (!v) return bt_jj_failed();
	*v = (struct bt_jj_view){.dict = d, .kind = kind};
	return (struct bt_jj_val){.type = BT_JJ_VIEW, .view = v};
}

static struct bt_jj_val dict_items(struct bt_jj *r, struct bt_jj_call *c)
{
	return view(r, c->self.dict, BT_JJ_ITEMS);
}

static struct bt_jj_val dict_keys(struct bt_jj *r, struct bt_jj_call *c)
{
	return view(r, c->self.dict, BT_JJ_KEYS);
}

static struct bt_jj_val dict_values(struct bt_jj *r, struct bt_jj_call *c)
{
	return view(r, c->self.dict, BT_JJ_VALUES);
}

static struct bt_jj_val dict_get(struct bt_jj *r, struct bt_jj_call *c)
{
	struct bt_jj_val v = bt_jj_dict_get(r, c->self.dict, c->arg[0]);
	if (v.type != BT_JJ_MISSING) return v;
	return bt_jj_given(c->arg[1]) ? c->arg[1] : bt_jj_none();
}

static struct bt_jj_val dict_fromkeys(struct bt_jj *r, struct bt_jj_call *c)
{
	struct bt_jj_dict *d = bt_jj_dict_new(r, 0);
	struct bt_jj_iter it;
	struct bt_jj_val k;
	enum bt_jj_step step;
	if (!d || !bt_jj_iter_open(r, c->arg[0], &it)) return bt_jj_failed();
	while ((step = bt_jj_iter_next(r, &it, &k)) == BT_JJ_ITEM)
		if (!bt_jj_dict_set(r, d, k, bt_jj_given(c->arg[1]) ? c->arg[1] : bt_jj_none())) return bt_jj_failed();
	return step == BT_JJ_BROKEN ? bt_jj_failed() : bt_jj_of_dict(d);
}

const struct bt_jj_func bt_jj_dict_fromkeys = {"fromkeys", "iterable,value=", dict_fromkeys};

static const struct bt_jj_member dict_rows[] = {
	UNSAFE("clear"),
	ROW("copy", "", list_copy),
	ROW("fromkeys", "iterable,value=", dict_fromkeys),
	ROW("get", "key,default=", dict_get),
	ROW("items", "", dict_items),
	ROW("keys", "", dict_keys),
	UNSAFE("pop"),
	UNSAFE("popitem"),
	UNSAFE("setdefault"),
	UNSAFE("update"),
	ROW("values", "", dict_values),
};
TABLE(bt_jj_dict_members, dict_rows);

static struct bt_jj_val view_mapping(struct bt_jj *r, struct bt_jj_call *c)
{
	(void)r;
	return bt_jj_of_dict(c->self.view->dict);
}

static const struct bt_jj_member view_rows[] = {PROP("mapping", view_mapping)};
TABLE(bt_jj_view_members, view_rows);

/* Ranges */

static struct bt_jj_val range_start(struct bt_jj *r, struct bt_jj_call *c)
{
	(void)r;
	return bt_jj_int(c->self.range->start);
}

static struct bt_jj_val range_stop(struct bt_jj *r, struct bt_jj_call *c)
{
	(void)r;
	return bt_jj_int(c->self.range->stop);
}

static struct bt_jj_val range_step(struct bt_jj *r, struct bt_jj_call *c)
{
	(void)r;
	return bt_jj_int(c->self.range->step);
}

static const struct bt_jj_member range_rows[] = {
	ROW("count", "value", seq_count), ROW("index", "value", seq_index), PROP("start", range_start),
	PROP("step", range_step),         PROP("stop", range_stop),
};
TABLE(bt_jj_range_members, range_rows);

/* Numbers */

static struct bt_jj_val number_self(struct bt_jj *r, struct bt_jj_call *c)
{
	return bt_jj_positive(r, c->self);
}

static struct bt_jj_val int_zero(struct bt_jj *r, struct bt_jj_call *c)
{
	(void)r;
	return c->self.type == BT_JJ_FLOAT ? bt_jj_float(0) : bt_jj_int(0);
}

static struct bt_jj_val int_one(struct bt_jj *r, struct bt_jj_call *c)
{
	(void)r, (void)c;
	return bt_jj_int(1);
}

static const struct bt_jj_big *magnitude(struct bt_jj *r, struct bt_jj_val v)
{
	return v.type == BT_JJ_BIG ? v.big : bt_jj_big_of(&r->arena, bt_jj_small(v));
}

static struct bt_jj_val int_bit_length(struct bt_jj *r, struct bt_jj_call *c)
{
	const struct bt_jj_big *b = magnitude(r, c->self);
	return b ? bt_jj_int((int64_t)bt_jj_big_bits(b)) : bt_jj_fail_limit(r, "memory for an integer ran out");
}

static struct bt_jj_val int_bit_count(struct bt_jj *r, struct bt_jj_call *c)
{
	const struct bt_jj_big *b = magnitude(r, c->self);
	int64_t n = 0;
	for (size_t i = 0; b && i < b->n; i++) n += __builtin_popcount(b->d[i]);
	return b ? bt_jj_int(n) : bt_jj_fail_limit(r, "memory for an integer ran out");
}

static struct bt_jj_val int_ratio(struct bt_jj *r, struct bt_jj_call *c)
{
	return bt_jj_pair(r, bt_jj_positive(r, c->self), bt_jj_int(1));
}

static struct bt_jj_val unsupported(struct bt_jj *r, struct bt_jj_call *c)
{
	return bt_jj_fail(r, "TypeError", "%s.%s() is not supported here", bt_jj_type_name(c->self), c->func->name);
}

static const struct bt_jj_member int_rows[] = {
	ROW("as_integer_ratio", "", int_ratio),
	ROW("bit_count", "", int_bit_count),
	ROW("bit_length", "", int_bit_length),
	ROW("conjugate", "", number_self),
	PROP("denominator", int_one),
	ROW("from_bytes", "*,**", unsupported),
	PROP("imag", int_zero),
	PROP("numerator", number_self),
	PROP("real", number_self),
	ROW("to_bytes", "*,**", unsupported),
};
TABLE(bt_jj_int_members, int_rows);

static struct bt_jj_val float_is_integer(struct bt_jj *r, struct bt_jj_call *c)
{
	(void)r;
	return bt_jj_bool(isfinite(c->self.f) && c->self.f == floor(c->self.f));
}

static const struct bt_jj_member float_rows[] = {
	ROW("as_integer_ratio", "", unsupported),
	ROW("conjugate", "", number_self),
	ROW("fromhex", "*", unsupported),
	ROW("hex", "", unsupported),
	PROP("imag", int_zero),
	ROW("is_integer", "", float_is_integer),
	PROP("real", number_self),
};
TABLE(bt_jj_float_members, float_rows);

/* cycler() and joiner() */

static struct bt_jj_val cycler_current(struct bt_jj *r, struct bt_jj_call *c)
{
	(void)r;
	const struct bt_jj_cycler *y = c->self.cycler;
	return y->items->v[y->pos];
}

static struct bt_jj_val cycler_next(struct bt_jj *r, struct bt_jj_call *c)
{
	struct bt_jj_cycler *y = c->self.cycler;
	struct bt_jj_val v = cycler_current(r, c);
	y->pos = (y->pos + 1) % y->items->n;
	return v;
}

static struct bt_jj_val cycler_reset(struct bt_jj *r, struct bt_jj_call *c)
{
	(void)r;
	c->self.cycler->pos = 0;
	return bt_jj_none();
}

static struct bt_jj_val cycler_items(struct bt_jj *r, struct bt_jj_call *c)
{
	(void)r;
	return bt_jj_of_tuple(c->self.cycler->items);
}

static struct bt_jj_val cycler_pos(struct bt_jj *r, struct bt_jj_call *c)
{
	(void)r;
	return bt_jj_int((int64_t)c->self.cycler->pos);
}

static const struct bt_jj_member cycler_rows[] = {
	PROP("current", cycler_current), PROP("items", cycler_items),    ROW("next", "", cycler_next),
	PROP("pos", cycler_pos),         ROW("reset", "", cycler_reset),
};
TABLE(bt_jj_cycler_members, cycler_rows);

static struct bt_jj_val joiner_sep(struct bt_jj *r, struct bt_jj_call *c)
{
	(void)r;
	return c->self.joiner->sep;
}

static struct bt_jj_val joiner_used(struct bt_jj *r, struct bt_jj_call *c)
{
	(void)r;
	return bt_jj_bool(c->self.joiner->used);
}

static const struct bt_jj_member joiner_rows[] = {PROP("sep", joiner_sep), PROP("used", joiner_used)};
TABLE(bt_jj_joiner_members, joiner_rows);
