/* access.c: x.name and x[key], with the rules of jinja2's sandbox.
 *
 * x.name asks for the attribute first and for the element second, x['name'] the other way round. Names that begin with
 * an underscore and methods that change their object give an undefined value whose use is a SecurityError.
 */
#include "text/jinja/exec.h"
#include "text/jinja/members.h"

const struct bt_jj_member *bt_jj_member(const struct bt_jj_members *m, const struct bt_jj_str *name)
{
	size_t lo = 0, hi = m->n;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		const char *s = m->v[mid].func.name;
		size_t len = strlen(s);
		int c = memcmp(s, name->s, len < name->len ? len : name->len);
		if (!c) c = (len > name->len) - (len < name->len);
		if (!c) return &m->v[mid];
		if (c < 0) lo = mid + 1;
		else hi = mid;
	}
	return NULL;
}

static const struct bt_jj_members *members_of(struct bt_jj_val v)
{
	static const struct bt_jj_members *const of[BT_JJ_TYPES] = {
		[BT_JJ_BOOL] = &bt_jj_int_members,      [BT_JJ_INT] = &bt_jj_int_members,
		[BT_JJ_BIG] = &bt_jj_int_members,       [BT_JJ_FLOAT] = &bt_jj_float_members,
		[BT_JJ_STR] = &bt_jj_str_members,       [BT_JJ_LIST] = &bt_jj_list_members,
		[BT_JJ_TUPLE] = &bt_jj_tuple_members,   [BT_JJ_DICT] = &bt_jj_dict_members,
		[BT_JJ_VIEW] = &bt_jj_view_members,     [BT_JJ_RANGE] = &bt_jj_range_members,
		[BT_JJ_CYCLER] = &bt_jj_cycler_members, [BT_JJ_JOINER] = &bt_jj_joiner_members,
	};
	return v.type < BT_JJ_TYPES ? of[v.type] : NULL;
}

/* Attributes that every Python object has, and those of numbers and containers: all begin and end with "__". */
static bool is_dunder(const struct bt_jj_str *name)
{
	static const char known[] =
		" __abs__ __add__ __and__ __bool__ __call__ __ceil__ __class__ __class_getitem__ __code__ __contains__ "
		"__delattr__ "
		"__delitem__ __dict__ __dir__ __divmod__ __doc__ __eq__ __float__ __floor__ __floordiv__ __format__ "
		"__ge__ "
		"__getattribute__ __getitem__ __getnewargs__ __getstate__ __globals__ __gt__ __hash__ __iadd__ "
		"__imul__ __index__ "
		"__init__ __init_subclass__ __int__ __invert__ __ior__ __iter__ __le__ __len__ __lshift__ __lt__ "
		"__mod__ __module__ "
		"__mul__ __name__ __ne__ __neg__ __new__ __or__ __pos__ __pow__ __qualname__ __radd__ __reduce__ "
		"__reduce_ex__ "
		"__repr__ __reversed__ __rmod__ __rmul__ __ror__ __round__ __rshift__ __rsub__ __self__ __setattr__ "
		"__setitem__ "
		"__sizeof__ __slots__ __str__ __sub__ __subclasshook__ __truediv__ __trunc__ __xor__ __html__ ";
	char padded[40];
	if (name->len < 5 || name->len > 30 || memcmp(name->s, "__", 2)) return false;
	padded[0] = ' ';
	memcpy(padded + 1, name->s, name->len);
	padded[name->len + 1] = ' ';
	padded[name->len + 2] = 0;
	return strstr(known, padded);
}

static struct bt_jj_val block_named(struct bt_jj *r, const struct bt_jj_str *name)
{
	const struct bt_jinja *j = r->tpl;
	for (size_t i = 0; i < j->n_blocks; i++) {
		const struct bt_jj_str *s = j->blocks[i]->value.s;
		if (s->len == name->len && !memcmp(s->s, name->s, s->len))
			return (struct bt_jj_val){.type = BT_JJ_BLOCK, .block = j->blocks[i]};
	}
	return bt_jj_missing();
}

struct bt_jj_val bt_jj_method_of(struct bt_jj *r, struct bt_jj_val self, const struct bt_jj_func *func)
{
	struct bt_jj_method *m = bt_jj_alloc(r, sizeof *m);
	if (!m) return bt_jj_failed();
	*m = (struct bt_jj_method){.self = self, .func = func};
	return (struct bt_jj_val){.type = BT_JJ_METHOD, .method = m};
}

static struct bt_jj_val member(struct bt_jj *r, struct bt_jj_val obj, const struct bt_jj_str *name)
{
	const struct bt_jj_members *of = members_of(obj);
	const struct bt_jj_member *m = of ? bt_jj_member(of, name) : NULL;
	if (!m && obj.type == BT_JJ_STR && obj.markup) m = bt_jj_member(&bt_jj_markup_members, name);
	if (!m) return is_dunder(name) ? bt_jj_undefined_unsafe(r, obj, name) : bt_jj_missing();
	if (m->kind == BT_JJ_UNSAFE) return bt_jj_undefined_unsafe(r, obj, name);
	if (m->kind == BT_JJ_METHOD_ROW) return bt_jj_method_of(r, obj, &m->func);
	struct bt_jj_args none = {0};
	return bt_jj_call_native(r, &m->func, obj, &none);
}

struct bt_jj_val bt_jj_attribute(struct bt_jj *r, struct bt_jj_val obj, const struct bt_jj_str *name)
{
	struct bt_jj_val v = bt_jj_missing();
	switch (obj.type) {
	case BT_JJ_UNDEFINED:
		return is_dunder(name) ? bt_jj_undefined_unsafe(r, obj, name) : bt_jj_fail_undefined(r, obj);
	case BT_JJ_NAMESPACE: v = bt_jj_dict_get(r, &obj.ns->attrs, bt_jj_of_str(name)); break;
	case BT_JJ_LOOP: v = bt_jj_loop_attr(r, obj.loop, name); break;
	case BT_JJ_MACRO: v = bt_jj_macro_attr(r, obj.macro, name); break;
	case BT_JJ_SELF: v = block_named(r, name); break;
	case BT_JJ_FUNC:
		if (!strcmp(obj.func->name, "dict") && bt_jj_str_is(bt_jj_of_str(name), "fromkeys"))
			v = bt_jj_method_of(r, obj, &bt_jj_dict_fromkeys);
		break;
	case BT_JJ_TUPLE:
		if (!obj.list->group) break;
		if (bt_jj_str_is(bt_jj_of_str(name), "grouper")) v = obj.list->v[0];
		if (bt_jj_str_is(bt_jj_of_str(name), "list")) v = obj.list->v[1];
		break;
	default: break;
	}
	return v.type == BT_JJ_MISSING ? member(r, obj, name) : v;
}

/* Where a slice of n elements begins and how many it takes (Python's slice.indices). */
static bool slice_part(struct bt_jj *r, struct bt_jj_val v, int64_t dflt, int64_t n, bool down, int64_t *out)
{
	*out = dflt;
	if (v.type == BT_JJ_NONE) return true;
	if (!bt_jj_is_int(v)) {
		bt_jj_fail(r, "TypeError", "slice indices must be integers or None or have an __index__ method");
		return false;
	}
	int64_t i = v.type == BT_JJ_BIG ? (bt_jj_num_cmp(r, v, bt_jj_int(0)) < 0 ? INT64_MIN / 4 : INT64_MAX / 4)
	                                : bt_jj_small(v);
	if (i < 0 && i > INT64_MIN / 2) i += n;
	if (i < 0) i = down ? -1 : 0;
	if (i >= n) i = down ? n - 1 : n;
	*out = i;
	return true;
}

static bool slice_indices(struct bt_jj *r, const struct bt_jj_slice *s, size_t len, int64_t *from, int64_t *step,
                          size_t *count)
{
	int64_t n = (int64_t)len, to;
	*step = 1;
	if (s->step.type != BT_JJ_NONE && !bt_jj_is_int(s->step)) {
		bt_jj_fail(r, "TypeError", "slice indices must be integers or None or have an __index__ method");
		return false;
	}
	if (s->step.type == BT_JJ_BIG)
		*step = bt_jj_num_cmp(r, s->step, bt_jj_int(0)) < 0 ? -INT64_MAX / 4 : INT64_MAX / 4;
	else if (s->step.type != BT_JJ_NONE) *step = bt_jj_small(s->step);
	if (!*step) {
		bt_jj_fail(r, "ValueError", "slice step cannot be zero");
		return false;
	}
	if (*step < -INT64_MAX / 4) *step = -INT64_MAX / 4;
	bool down = *step < 0;
	if (!slice_part(r, s->start, down ? n - 1 : 0, n, down, from) ||
	    !slice_part(r, s->stop, down ? -1 : n, n, down, &to))
		return false;
	*count = 0;
	if (!down && *from < to) *count = (size_t)((to - *from - 1) / *step) + 1;
	if (down && *from > to) *count = (size_t)((*from - to - 1) / -*step) + 1;
	return true;
}

static struct bt_jj_val slice_str(struct bt_jj *r, struct bt_jj_val obj, int64_t from, int64_t step, size_t count)
{
	const struct bt_jj_str *s = obj.s;
	struct bt_jj_val v;
	if (!bt_jj_charge(r, step == 1 ? 1 : count)) return bt_jj_failed();
	if (step == 1 || !count) {
		v = bt_jj_substr(r, s, (size_t)from, (size_t)from + count);
	} else if (s->n == s->len) {
		char *p = bt_jj_alloc(r, count);
		if (!p) return bt_jj_failed();
		for (size_t i = 0; i < count; i++) p[i] = s->s[from + (int64_t)i * step];
		v = bt_jj_text_ref(r, p, count);
	} else {
		/* Offsets of all characters once, then in any order. */
		uint32_t *at = s->len < UINT32_MAX ? bt_jj_alloc_array(r, s->n + 1, sizeof *at) : NULL;
		if (!at || !bt_jj_charge(r, s->n / 4)) return bt_jj_failed();
		size_t n = 0;
		for (size_t i = 0; i < s->len; i++)
			if (((unsigned char)s->s[i] & 0xC0) != 0x80) at[n++] = (uint32_t)i;
		at[n] = (uint32_t)s->len;
		struct bt_jj_sb b = bt_jj_sb(r);
		for (size_t i = 0; i < count; i++) {
			int64_t k = from + (int64_t)i * step;
			bt_jj_sb_add(&b, s->s + at[k], at[k + 1] - at[k]);
		}
		v = bt_jj_sb_done(&b);
	}
	return obj.markup ? bt_jj_mark(v) : v;
}

static struct bt_jj_val slice(struct bt_jj *r, struct bt_jj_val obj, const struct bt_jj_slice *s)
{
	size_t n, count;
	int64_t from, step;
	if (!bt_jj_len(obj, &n) || !slice_indices(r, s, n, &from, &step, &count)) return bt_jj_failed();
	if (obj.type == BT_JJ_STR) return slice_str(r, obj, from, step, count);
	if (obj.type == BT_JJ_RANGE) {
		struct bt_jj_range *g = bt_jj_alloc(r, sizeof *g);
		if (!g) return bt_jj_failed();
		const struct bt_jj_range *o = obj.range;
		*g = (struct bt_jj_range){.start = o->start + from * o->step, .step = o->step * step, .n = count};
		g->stop = g->start + (int64_t)count * g->step;
		return (struct bt_jj_val){.type = BT_JJ_RANGE, .range = g};
	}
	struct bt_jj_list *l = bt_jj_list_new(r, count);
	if (!l || !bt_jj_charge(r, count / 8)) return bt_jj_failed();
	for (size_t i = 0; i < count; i++) l->v[l->n++] = obj.list->v[from + (int64_t)i * step];
	return obj.type == BT_JJ_TUPLE ? bt_jj_of_tuple(l) : bt_jj_of_list(l);
}

struct bt_jj_val bt_jj_slice(struct bt_jj *r, struct bt_jj_val obj, const struct bt_jj_slice *s)
{
	switch (obj.type) {
	case BT_JJ_STR:
	case BT_JJ_LIST:
	case BT_JJ_TUPLE:
	case BT_JJ_RANGE: return slice(r, obj, s);
	case BT_JJ_UNDEFINED: return bt_jj_fail_undefined(r, obj);
	case BT_JJ_DICT: return bt_jj_fail(r, "TypeError", "unhashable type: 'slice'");
	default: return bt_jj_fail(r, "TypeError", "'%s' object is not subscriptable", bt_jj_type_name(obj));
	}
}

/* obj[key] as Python has it; MISSING for a TypeError or LookupError, which jinja2 takes for "not there". */
static struct bt_jj_val element(struct bt_jj *r, struct bt_jj_val obj, struct bt_jj_val key)
{
	struct bt_jj_val v = bt_jj_missing();
	switch (obj.type) {
	case BT_JJ_DICT:
		v = bt_jj_dict_get(r, obj.dict, key);
		/* a key without a hash */
		return bt_jj_is_fail(v) && bt_jj_forgive(r) ? bt_jj_missing() : v;
	case BT_JJ_SELF: return key.type == BT_JJ_STR ? block_named(r, key.s) : v;
	case BT_JJ_STR:
	case BT_JJ_LIST:
	case BT_JJ_TUPLE:
	case BT_JJ_RANGE: break;
	default: return v;
	}
	size_t n;
	if ((key.type != BT_JJ_INT && key.type != BT_JJ_BOOL) || !bt_jj_len(obj, &n)) return v;
	int64_t i = bt_jj_small(key);
	if (i < 0) i += (int64_t)n;
	if (i < 0 || (size_t)i >= n) return v;
	v = bt_jj_at(r, obj, (size_t)i);
	if (obj.type == BT_JJ_STR && obj.markup) v = bt_jj_mark(v);
	return v;
}

struct bt_jj_val bt_jj_getattr(struct bt_jj *r, struct bt_jj_val obj, const struct bt_jj_str *name)
{
	struct bt_jj_val v = bt_jj_attribute(r, obj, name);
	if (v.type == BT_JJ_MISSING) v = element(r, obj, bt_jj_of_str(name));
	return v.type == BT_JJ_MISSING ? bt_jj_undefined_of(r, obj, bt_jj_of_str(name)) : v;
}

struct bt_jj_val bt_jj_getitem(struct bt_jj *r, struct bt_jj_val obj, struct bt_jj_val key)
{
	if (obj.type == BT_JJ_UNDEFINED) return bt_jj_fail_undefined(r, obj);
	struct bt_jj_val v = element(r, obj, key);
	if (v.type == BT_JJ_MISSING && key.type == BT_JJ_STR) v = bt_jj_attribute(r, obj, key.s);
	return v.type == BT_JJ_MISSING ? bt_jj_undefined_of(r, obj, key) : v;
}
