/* ops.c: the operators. */
#include "text/jinja/interp.h"

static bool is_sequence(struct bt_jj_val v)
{
	return v.type == BT_JJ_STR || v.type == BT_JJ_LIST || v.type == BT_JJ_TUPLE;
}

static struct bt_jj_val unsupported(struct bt_jj *r, enum bt_jj_op op, struct bt_jj_val a, struct bt_jj_val b)
{
	static const char *const sign[] = {"+", "-", "*", "/", "//", "%", "** or pow()"};
	return bt_jj_fail(r, "TypeError", "unsupported operand type(s) for %s: '%s' and '%s'", sign[op],
	                  bt_jj_type_name(a), bt_jj_type_name(b));
}

static struct bt_jj_val concat_text(struct bt_jj *r, struct bt_jj_val a, struct bt_jj_val b)
{
	bool markup = a.markup || b.markup;
	if (markup) {
		a = bt_jj_escape(r, a);
		b = bt_jj_escape(r, b);
		if (bt_jj_is_fail(a) || bt_jj_is_fail(b)) return bt_jj_failed();
	}
	struct bt_jj_val out = a;
	if (!a.s->len) out = b;
	else if (b.s->len) {
		char *p = bt_jj_alloc(r, a.s->len + b.s->len);
		if (!p) return bt_jj_failed();
		memcpy(p, a.s->s, a.s->len);
		memcpy(p + a.s->len, b.s->s, b.s->len);
		out = bt_jj_text_ref(r, p, a.s->len + b.s->len);
	}
	out.markup = markup && out.type == BT_JJ_STR;
	return out;
}

static struct bt_jj_val add(struct bt_jj *r, struct bt_jj_val a, struct bt_jj_val b)
{
	if (a.type == BT_JJ_STR && b.type == BT_JJ_STR) return concat_text(r, a, b);
	if (a.type == b.type && (a.type == BT_JJ_LIST || a.type == BT_JJ_TUPLE)) {
		struct bt_jj_list *l = bt_jj_list_new(r, a.list->n + b.list->n);
		if (!l || !bt_jj_charge(r, (a.list->n + b.list->n) / 8)) return bt_jj_failed();
		if (a.list->n) memcpy(l->v, a.list->v, a.list->n * sizeof *l->v);
		if (b.list->n) memcpy(l->v + a.list->n, b.list->v, b.list->n * sizeof *l->v);
		l->n = a.list->n + b.list->n;
		return a.type == BT_JJ_LIST ? bt_jj_of_list(l) : bt_jj_of_tuple(l);
	}
	if (is_sequence(a)) {
		const char *t = a.type == BT_JJ_STR ? "str" : bt_jj_type_name(a);
		return bt_jj_fail(r, "TypeError", "can only concatenate %s (not \"%s\") to %s", t, bt_jj_type_name(b),
		                  t);
	}
	return unsupported(r, BT_JJ_ADD, a, b);
}

static struct bt_jj_val repeat(struct bt_jj *r, struct bt_jj_val seq, struct bt_jj_val times)
{
	if (!bt_jj_is_int(times))
		return bt_jj_fail(r, "TypeError", "can't multiply sequence by non-int of type '%s'",
		                  bt_jj_type_name(times));
	if (times.type == BT_JJ_BIG)
		return bt_jj_fail(r, "OverflowError", "cannot fit 'int' into an index-sized integer");
	int64_t n = bt_jj_small(times) < 0 ? 0 : bt_jj_small(times);
	size_t len = seq.type == BT_JJ_STR ? seq.s->len : seq.list->n, total;
	if (!bt_mul_size(len, (size_t)n, &total)) total = SIZE_MAX / sizeof(struct bt_jj_val);
	if (!bt_jj_charge(r, total / (seq.type == BT_JJ_STR ? 64 : 8))) return bt_jj_failed();
	if (seq.type == BT_JJ_STR) {
		char *p = bt_jj_alloc(r, total ? total : 1);
		if (!p) return bt_jj_failed();
		for (size_t i = 0; i < total; i += len) memcpy(p + i, seq.s->s, len);
		struct bt_jj_val out = bt_jj_text_ref(r, p, total);
		out.markup = seq.markup;
		return out;
	}
	struct bt_jj_list *l = bt_jj_list_new(r, total);
	if (!l) return bt_jj_failed();
	for (; l->n < total; l->n += len) memcpy(l->v + l->n, seq.list->v, len * sizeof *l->v);
	return seq.type == BT_JJ_LIST ? bt_jj_of_list(l) : bt_jj_of_tuple(l);
}

struct bt_jj_val bt_jj_binary(struct bt_jj *r, enum bt_jj_op op, struct bt_jj_val a, struct bt_jj_val b)
{
	if (bt_jj_is_fail(a) || bt_jj_is_fail(b)) return bt_jj_failed();
	if (bt_jj_is_number(a) && bt_jj_is_number(b)) return bt_jj_arith(r, op, a, b);
	if (a.type == BT_JJ_UNDEFINED) return bt_jj_fail_undefined(r, a);
	if (op == BT_JJ_MOD && a.type == BT_JJ_STR) return bt_jj_format_percent(r, a, b);
	if (b.type == BT_JJ_UNDEFINED) return bt_jj_fail_undefined(r, b);
	if (op == BT_JJ_ADD) return add(r, a, b);
	if (op == BT_JJ_MUL && is_sequence(a)) return repeat(r, a, b);
	if (op == BT_JJ_MUL && is_sequence(b)) return repeat(r, b, a);
	return unsupported(r, op, a, b);
}

struct bt_jj_val bt_jj_negate(struct bt_jj *r, struct bt_jj_val v)
{
	if (bt_jj_is_fail(v)) return v;
	if (bt_jj_is_number(v)) return bt_jj_num_neg(r, v);
	if (v.type == BT_JJ_UNDEFINED) return bt_jj_fail_undefined(r, v);
	return bt_jj_fail(r, "TypeError", "bad operand type for unary -: '%s'", bt_jj_type_name(v));
}

struct bt_jj_val bt_jj_positive(struct bt_jj *r, struct bt_jj_val v)
{
	if (v.type == BT_JJ_BOOL) return bt_jj_int(v.b);
	if (bt_jj_is_fail(v) || bt_jj_is_number(v)) return v;
	if (v.type == BT_JJ_UNDEFINED) return bt_jj_fail_undefined(r, v);
	return bt_jj_fail(r, "TypeError", "bad operand type for unary +: '%s'", bt_jj_type_name(v));
}
