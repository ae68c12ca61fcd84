#include "text/jinja/big.h"
#include "text/jinja/interp.h"
#include "text/jinja/unicode.h"

#include <stdarg.h>
#include <stdio.h>

bool bt_jj_str_is(struct bt_jj_val v, const char *s)
{
	return v.type == BT_JJ_STR && v.s->len == strlen(s) && !memcmp(v.s->s, s, v.s->len);
}

const char *bt_jj_type_name(struct bt_jj_val v)
{
	static const char *const name[BT_JJ_TYPES] = {
		[BT_JJ_FAIL] = "error",
		[BT_JJ_MISSING] = "missing",
		[BT_JJ_UNDEFINED] = "Undefined",
		[BT_JJ_NONE] = "NoneType",
		[BT_JJ_BOOL] = "bool",
		[BT_JJ_INT] = "int",
		[BT_JJ_BIG] = "int",
		[BT_JJ_FLOAT] = "float",
		[BT_JJ_STR] = "str",
		[BT_JJ_LIST] = "list",
		[BT_JJ_TUPLE] = "tuple",
		[BT_JJ_DICT] = "dict",
		[BT_JJ_RANGE] = "range",
		[BT_JJ_SLICE] = "slice",
		[BT_JJ_NAMESPACE] = "TemplateNamespace",
		[BT_JJ_FUNC] = "function",
		[BT_JJ_METHOD] = "builtin_function_or_method",
		[BT_JJ_MACRO] = "Macro",
		[BT_JJ_LOOP] = "LoopContext",
		[BT_JJ_CYCLER] = "Cycler",
		[BT_JJ_JOINER] = "Joiner",
		[BT_JJ_SELF] = "TemplateReference",
		[BT_JJ_BLOCK] = "BlockReference",
	};
	static const char *const view[] = {"dict_keys", "dict_values", "dict_items"};
	if (v.type == BT_JJ_STR && v.markup) return "Markup";
	if (v.type == BT_JJ_VIEW) return view[v.view->kind];
	if (v.type == BT_JJ_ITER) return v.iter->what;
	return v.type < BT_JJ_TYPES ? name[v.type] : "object";
}

const struct bt_jj_str *bt_jj_str_ref(struct bt_arena *a, const char *s, size_t len)
{
	struct bt_jj_str *o = bt_arena_alloc(a, sizeof *o);
	if (o) *o = (struct bt_jj_str){.s = s, .len = len, .n = bt_jj_utf8_count(s, len)};
	return o;
}

const struct bt_jj_str *bt_jj_str_copy(struct bt_arena *a, const char *s, size_t len)
{
	const char *p = bt_arena_strndup(a, s, len);
	return p ? bt_jj_str_ref(a, p, len) : NULL;
}

struct bt_jj_val bt_jj_text_ref(struct bt_jj *r, const char *s, size_t len)
{
	struct bt_jj_str *o = bt_jj_alloc(r, sizeof *o);
	if (!o || !bt_jj_charge_bytes(r, len)) return bt_jj_failed();
	*o = (struct bt_jj_str){.s = s, .len = len, .n = bt_jj_utf8_count(s, len)};
	return bt_jj_of_str(o);
}

struct bt_jj_val bt_jj_text(struct bt_jj *r, const char *s, size_t len)
{
	char *p = bt_jj_alloc(r, len ? len : 1);
	if (!p) return bt_jj_failed();
	if (len) memcpy(p, s, len);
	return bt_jj_text_ref(r, p, len);
}

struct bt_jj_val bt_jj_textf(struct bt_jj *r, const char *fmt, ...)
{
	char buf[512];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(buf, sizeof buf, fmt, ap);
	va_end(ap);
	return bt_jj_text(r, buf, n < 0 ? 0 : (size_t)n < sizeof buf ? (size_t)n : sizeof buf - 1);
}

size_t bt_jj_str_offset(const struct bt_jj_str *s, size_t i)
{
	if (s->n == s->len) return i;
	if (i >= s->n) return s->len;
	size_t at = 0;
	if (i <= s->n / 2) {
		while (i) {
			at++;
			i -= at == s->len || ((unsigned char)s->s[at] & 0xC0) != 0x80;
		}
		return at;
	}
	at = s->len;
	for (size_t left = s->n - i; left; left--) at = bt_jj_utf8_back(s->s, at);
	return at;
}

struct bt_jj_val bt_jj_substr(struct bt_jj *r, const struct bt_jj_str *s, size_t from, size_t to)
{
	if (from >= to) return bt_jj_text_ref(r, "", 0);
	if (s->n != s->len && !bt_jj_charge_bytes(r, s->len)) return bt_jj_failed();
	size_t a = bt_jj_str_offset(s, from), b = bt_jj_str_offset(s, to);
	return bt_jj_text_ref(r, s->s + a, b - a);
}

struct bt_jj_list *bt_jj_list_new(struct bt_jj *r, size_t cap)
{
	struct bt_jj_list *l = bt_jj_alloc(r, sizeof *l);
	if (!l) return NULL;
	*l = (struct bt_jj_list){.cap = cap};
	if (cap && !(l->v = bt_jj_alloc_array(r, cap, sizeof *l->v))) return NULL;
	return l;
}

bool bt_jj_list_add(struct bt_jj *r, struct bt_jj_list *l, struct bt_jj_val v)
{
	if (v.type == BT_JJ_FAIL) return false;
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 4;
		struct bt_jj_val *p = bt_jj_alloc_array(r, cap, sizeof *p);
		if (!p) return false;
		if (l->n) memcpy(p, l->v, l->n * sizeof *p);
		l->v = p;
		l->cap = cap;
	}
	l->v[l->n++] = v;
	return true;
}

struct bt_jj_val bt_jj_pair(struct bt_jj *r, struct bt_jj_val a, struct bt_jj_val b)
{
	struct bt_jj_list *l = bt_jj_list_new(r, 2);
	return l && bt_jj_list_add(r, l, a) && bt_jj_list_add(r, l, b) ? bt_jj_of_tuple(l) : bt_jj_failed();
}

bool bt_jj_len(struct bt_jj_val v, size_t *n)
{
	switch (v.type) {
	case BT_JJ_UNDEFINED: *n = 0; return true;
	case BT_JJ_STR: *n = v.s->n; return true;
	case BT_JJ_LIST:
	case BT_JJ_TUPLE: *n = v.list->n; return true;
	case BT_JJ_DICT: *n = v.dict->n; return true;
	case BT_JJ_VIEW: *n = v.view->dict->n; return true;
	case BT_JJ_RANGE: *n = v.range->n; return true;
	default: return false;
	}
}

bool bt_jj_truth(struct bt_jj_val v)
{
	size_t n;
	switch (v.type) {
	case BT_JJ_FAIL:
	case BT_JJ_MISSING:
	case BT_JJ_NONE: return false;
	case BT_JJ_BOOL: return v.b;
	case BT_JJ_INT: return v.i != 0;
	case BT_JJ_FLOAT: return v.f != 0;
	default: return !bt_jj_len(v, &n) || n > 0;
	}
}

struct bt_jj_val bt_jj_at(struct bt_jj *r, struct bt_jj_val v, size_t i)
{
	if (v.type == BT_JJ_STR) return bt_jj_substr(r, v.s, i, i + 1);
	if (v.type == BT_JJ_RANGE) return bt_jj_int(v.range->start + (int64_t)i * v.range->step);
	return v.list->v[i];
}

bool bt_jj_same(struct bt_jj_val a, struct bt_jj_val b)
{
	if (a.type != b.type) return false;
	switch (a.type) {
	case BT_JJ_NONE: return true;
	case BT_JJ_BOOL: return a.b == b.b;
	/* Python keeps one object for small ints only; templates that ask mean the value. */
	case BT_JJ_INT: return a.i == b.i;
	case BT_JJ_FLOAT: return false;
	case BT_JJ_STR: return a.s == b.s || (a.s->len == b.s->len && !memcmp(a.s->s, b.s->s, a.s->len));
	default: return a.p == b.p;
	}
}

static int str_cmp(const struct bt_jj_str *a, const struct bt_jj_str *b)
{
	/* UTF-8 sorts as code points do. */
	size_t n = a->len < b->len ? a->len : b->len;
	int c = n ? memcmp(a->s, b->s, n) : 0;
	return c ? c : (a->len > b->len) - (a->len < b->len);
}

static bool cmp_holds(enum bt_jj_cmp op, int c)
{
	switch (op) {
	case BT_JJ_EQ: return c == 0;
	case BT_JJ_NE: return c != 0;
	case BT_JJ_LT: return c < 0;
	case BT_JJ_LE: return c <= 0;
	case BT_JJ_GT: return c > 0;
	case BT_JJ_GE: return c >= 0;
	}
	return false;
}

static bool dict_equal(struct bt_jj *r, const struct bt_jj_dict *a, const struct bt_jj_dict *b)
{
	if (a == b) return true;
	if (a->n != b->n) return false;
	for (size_t i = 0; i < a->n; i++) {
		struct bt_jj_val v = bt_jj_dict_get(r, b, a->e[i].key);
		if (v.type == BT_JJ_MISSING || !bt_jj_equal(r, a->e[i].val, v)) return false;
	}
	return true;
}

static bool range_equal(const struct bt_jj_range *a, const struct bt_jj_range *b)
{
	if (a->n != b->n) return false;
	return !a->n || (a->start == b->start && (a->n == 1 || a->step == b->step));
}

/* Index of the first pair that differs, or the shorter length. SIZE_MAX: failed. */
static size_t first_difference(struct bt_jj *r, const struct bt_jj_list *a, const struct bt_jj_list *b)
{
	size_t n = a->n < b->n ? a->n : b->n, i = 0;
	while (i < n && (bt_jj_same(a->v[i], b->v[i]) || bt_jj_equal(r, a->v[i], b->v[i]))) i++;
	return r->err.status ? SIZE_MAX : i;
}

static bool equal_inner(struct bt_jj *r, struct bt_jj_val a, struct bt_jj_val b)
{
	if (bt_jj_is_number(a) && bt_jj_is_number(b)) return bt_jj_num_cmp(r, a, b) == 0;
	if (a.type != b.type) return false;
	switch (a.type) {
	case BT_JJ_UNDEFINED: return true;
	case BT_JJ_STR:
		if (a.s->len != b.s->len || !bt_jj_charge_bytes(r, a.s->len)) return false;
		return !memcmp(a.s->s, b.s->s, a.s->len);
	case BT_JJ_LIST:
	case BT_JJ_TUPLE:
		if (a.list == b.list) return true;
		return a.list->n == b.list->n && first_difference(r, a.list, b.list) == a.list->n;
	case BT_JJ_DICT: return dict_equal(r, a.dict, b.dict);
	case BT_JJ_RANGE: return range_equal(a.range, b.range);
	case BT_JJ_VIEW:
		if (a.view->kind != b.view->kind || a.view->kind == BT_JJ_VALUES) return a.view == b.view;
		if (a.view->kind == BT_JJ_ITEMS) return dict_equal(r, a.view->dict, b.view->dict);
		for (size_t i = 0; i < a.view->dict->n; i++)
			if (bt_jj_dict_get(r, b.view->dict, a.view->dict->e[i].key).type == BT_JJ_MISSING) return false;
		return a.view->dict->n == b.view->dict->n;
	case BT_JJ_METHOD: return a.method->func == b.method->func && bt_jj_same(a.method->self, b.method->self);
	default: return bt_jj_same(a, b);
	}
}

bool bt_jj_equal(struct bt_jj *r, struct bt_jj_val a, struct bt_jj_val b)
{
	if (r->err.status || !bt_jj_charge(r, 1) || !bt_jj_enter(r)) return false;
	bool eq = equal_inner(r, a, b) && !r->err.status;
	bt_jj_leave(r);
	return eq;
}

static struct bt_jj_val not_ordered(struct bt_jj *r, enum bt_jj_cmp op, struct bt_jj_val a, struct bt_jj_val b)
{
	static const char *const sign[] = {"==", "!=", "<", "<=", ">", ">="};
	if (a.type == BT_JJ_UNDEFINED) return bt_jj_fail_undefined(r, a);
	if (b.type == BT_JJ_UNDEFINED) return bt_jj_fail_undefined(r, b);
	return bt_jj_fail(r, "TypeError", "'%s' not supported between instances of '%s' and '%s'", sign[op],
	                  bt_jj_type_name(a), bt_jj_type_name(b));
}

static struct bt_jj_val order_inner(struct bt_jj *r, enum bt_jj_cmp op, struct bt_jj_val a, struct bt_jj_val b)
{
	if (bt_jj_is_number(a) && bt_jj_is_number(b)) {
		int c = bt_jj_num_cmp(r, a, b);
		return bt_jj_bool(c != 2 && cmp_holds(op, c));
	}
	if (a.type == BT_JJ_STR && b.type == BT_JJ_STR) {
		if (!bt_jj_charge_bytes(r, a.s->len)) return bt_jj_failed();
		return bt_jj_bool(cmp_holds(op, str_cmp(a.s, b.s)));
	}
	if (a.type == b.type && (a.type == BT_JJ_LIST || a.type == BT_JJ_TUPLE)) {
		size_t i = first_difference(r, a.list, b.list);
		if (i == SIZE_MAX) return bt_jj_failed();
		if (i < a.list->n && i < b.list->n) return bt_jj_compare(r, op, a.list->v[i], b.list->v[i]);
		return bt_jj_bool(cmp_holds(op, (a.list->n > b.list->n) - (a.list->n < b.list->n)));
	}
	return not_ordered(r, op, a, b);
}

struct bt_jj_val bt_jj_compare(struct bt_jj *r, enum bt_jj_cmp op, struct bt_jj_val a, struct bt_jj_val b)
{
	if (op == BT_JJ_EQ || op == BT_JJ_NE) {
		bool eq = bt_jj_equal(r, a, b);
		return r->err.status ? bt_jj_failed() : bt_jj_bool(eq == (op == BT_JJ_EQ));
	}
	if (!bt_jj_charge(r, 1) || !bt_jj_enter(r)) return bt_jj_failed();
	struct bt_jj_val v = order_inner(r, op, a, b);
	bt_jj_leave(r);
	return v;
}

static struct bt_jj_val in_range(struct bt_jj_val a, const struct bt_jj_range *g)
{
	if (a.type == BT_JJ_FLOAT && a.f >= -0x1p62 && a.f <= 0x1p62 && a.f == (double)(int64_t)a.f)
		a = bt_jj_int((int64_t)a.f);
	if (a.type != BT_JJ_INT && a.type != BT_JJ_BOOL) return bt_jj_bool(false);
	__int128 off = (__int128)bt_jj_small(a) - g->start;
	return bt_jj_bool(off % g->step == 0 && off / g->step >= 0 && off / g->step < (__int128)g->n);
}

struct bt_jj_val bt_jj_contains(struct bt_jj *r, struct bt_jj_val a, struct bt_jj_val b)
{
	if (b.type == BT_JJ_STR) {
		if (a.type != BT_JJ_STR)
			return bt_jj_fail(r, "TypeError", "'in <string>' requires string as left operand, not %s",
			                  bt_jj_type_name(a));
		if (!bt_jj_charge_bytes(r, b.s->len)) return bt_jj_failed();
		return bt_jj_bool(!a.s->len || memmem(b.s->s, b.s->len, a.s->s, a.s->len));
	}
	if (b.type == BT_JJ_DICT || (b.type == BT_JJ_VIEW && b.view->kind == BT_JJ_KEYS)) {
		struct bt_jj_val v = bt_jj_dict_get(r, b.type == BT_JJ_DICT ? b.dict : b.view->dict, a);
		return v.type == BT_JJ_FAIL ? v : bt_jj_bool(bt_jj_given(v));
	}
	if (b.type == BT_JJ_RANGE) return in_range(a, b.range);
	if (!bt_jj_iterable(b))
		return bt_jj_fail(r, "TypeError", "argument of type '%s' is not iterable", bt_jj_type_name(b));
	struct bt_jj_iter it;
	struct bt_jj_val v;
	enum bt_jj_step step;
	if (!bt_jj_iter_open(r, b, &it)) return bt_jj_failed();
	while ((step = bt_jj_iter_next(r, &it, &v)) == BT_JJ_ITEM)
		if (bt_jj_same(a, v) || bt_jj_equal(r, a, v)) return bt_jj_bool(true);
	return step == BT_JJ_BROKEN || r->err.status ? bt_jj_failed() : bt_jj_bool(false);
}
