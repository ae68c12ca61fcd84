/* tests.c: the tests behind `is`. */
#include "text/jinja/text.h"

#define PLAIN(name, expression)                                                    \
	static struct bt_jj_val test_##name(struct bt_jj *r, struct bt_jj_call *c) \
	{                                                                          \
		(void)r;                                                           \
		struct bt_jj_val v = c->self;                                      \
		return bt_jj_bool(expression);                                     \
	}

PLAIN(defined, v.type != BT_JJ_UNDEFINED)
PLAIN(undefined, v.type == BT_JJ_UNDEFINED)
PLAIN(none, v.type == BT_JJ_NONE)
PLAIN(boolean, v.type == BT_JJ_BOOL)
PLAIN(true, v.type == BT_JJ_BOOL && v.b)
PLAIN(false, v.type == BT_JJ_BOOL && !v.b)
PLAIN(integer, v.type == BT_JJ_INT || v.type == BT_JJ_BIG)
PLAIN(float, v.type == BT_JJ_FLOAT)
PLAIN(number, bt_jj_is_number(v))
PLAIN(string, v.type == BT_JJ_STR)
PLAIN(mapping, v.type == BT_JJ_DICT)
PLAIN(callable, bt_jj_callable(v))
PLAIN(escaped, v.type == BT_JJ_STR && v.markup)
PLAIN(iterable, bt_jj_iterable(v) || v.type == BT_JJ_LOOP)
/* Python asks for a length and for elements by number; an undefined value answers the first with 0 and the second, being
 * looked for and not called, by having it. */
PLAIN(sequence, v.type == BT_JJ_STR || v.type == BT_JJ_LIST || v.type == BT_JJ_TUPLE || v.type == BT_JJ_DICT ||
                        v.type == BT_JJ_RANGE || v.type == BT_JJ_UNDEFINED)

static struct bt_jj_val modulo(struct bt_jj *r, struct bt_jj_val v, struct bt_jj_val by, int64_t equals)
{
	struct bt_jj_val m = bt_jj_binary(r, BT_JJ_MOD, v, by);
	return bt_jj_is_fail(m) ? m : bt_jj_compare(r, BT_JJ_EQ, m, bt_jj_int(equals));
}

static struct bt_jj_val test_odd(struct bt_jj *r, struct bt_jj_call *c)
{
	return modulo(r, c->self, bt_jj_int(2), 1);
}

static struct bt_jj_val test_even(struct bt_jj *r, struct bt_jj_call *c)
{
	return modulo(r, c->self, bt_jj_int(2), 0);
}

static struct bt_jj_val test_divisibleby(struct bt_jj *r, struct bt_jj_call *c)
{
	return modulo(r, c->self, c->arg[0], 0);
}

static struct bt_jj_val test_lower(struct bt_jj *r, struct bt_jj_call *c)
{
	struct bt_jj_val s = bt_jj_to_str(r, c->self);
	return bt_jj_is_fail(s) || !bt_jj_charge(r, s.s->len / 4) ? bt_jj_failed()
	                                                          : bt_jj_bool(bt_jj_is_lower_text(s.s));
}

static struct bt_jj_val test_upper(struct bt_jj *r, struct bt_jj_call *c)
{
	struct bt_jj_val s = bt_jj_to_str(r, c->self);
	return bt_jj_is_fail(s) || !bt_jj_charge(r, s.s->len / 4) ? bt_jj_failed()
	                                                          : bt_jj_bool(bt_jj_is_upper_text(s.s));
}

/* Python looks the name up in a dict, so it must be hashable. */
static struct bt_jj_val test_filter(struct bt_jj *r, struct bt_jj_call *c)
{
	uint64_t h;
	if (!bt_jj_hash(r, c->self, &h)) return bt_jj_failed();
	return bt_jj_bool(c->self.type == BT_JJ_STR && bt_jj_filter(c->self.s->s, c->self.s->len));
}

static struct bt_jj_val test_test(struct bt_jj *r, struct bt_jj_call *c)
{
	uint64_t h;
	if (!bt_jj_hash(r, c->self, &h)) return bt_jj_failed();
	return bt_jj_bool(c->self.type == BT_JJ_STR && bt_jj_test(c->self.s->s, c->self.s->len));
}

static struct bt_jj_val test_sameas(struct bt_jj *r, struct bt_jj_call *c)
{
	(void)r;
	return bt_jj_bool(bt_jj_same(c->self, c->arg[0]));
}

static struct bt_jj_val test_in(struct bt_jj *r, struct bt_jj_call *c)
{
	return bt_jj_contains(r, c->self, c->arg[0]);
}

#define ORDER(name, op)                                                            \
	static struct bt_jj_val test_##name(struct bt_jj *r, struct bt_jj_call *c) \
	{                                                                          \
		return bt_jj_compare(r, op, c->self, c->arg[0]);                   \
	}
ORDER(eq, BT_JJ_EQ)
ORDER(ne, BT_JJ_NE)
ORDER(lt, BT_JJ_LT)
ORDER(le, BT_JJ_LE)
ORDER(gt, BT_JJ_GT)
ORDER(ge, BT_JJ_GE)

static const struct bt_jj_func tests[] = {
	{"defined", "", test_defined},
	{"undefined", "", test_undefined},
	{"none", "", test_none},
	{"string", "", test_string},
	{"mapping", "", test_mapping},
	{"iterable", "", test_iterable},
	{"sequence", "", test_sequence},
	{"number", "", test_number},
	{"integer", "", test_integer},
	{"float", "", test_float},
	{"boolean", "", test_boolean},
	{"true", "", test_true},
	{"false", "", test_false},
	{"callable", "", test_callable},
	{"escaped", "", test_escaped},
	{"odd", "", test_odd},
	{"even", "", test_even},
	{"divisibleby", "num", test_divisibleby},
	{"lower", "", test_lower},
	{"upper", "", test_upper},
	{"filter", "", test_filter},
	{"test", "", test_test},
	{"sameas", "other", test_sameas},
	{"in", "seq", test_in},
	{"eq", "b", test_eq},
	{"equalto", "b", test_eq},
	{"==", "b", test_eq},
	{"ne", "b", test_ne},
	{"!=", "b", test_ne},
	{"lt", "b", test_lt},
	{"lessthan", "b", test_lt},
	{"<", "b", test_lt},
	{"le", "b", test_le},
	{"<=", "b", test_le},
	{"gt", "b", test_gt},
	{"greaterthan", "b", test_gt},
	{">", "b", test_gt},
	{"ge", "b", test_ge},
	{">=", "b", test_ge},
	{NULL, NULL, NULL},
};

const struct bt_jj_func *bt_jj_test(const char *name, size_t len)
{
	return bt_jj_func_named(tests, name, len);
}
