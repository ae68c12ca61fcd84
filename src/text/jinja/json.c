/* json.c: json.dumps of a value, and values of the caller's JSON. */
#include "text/jinja/interp.h"
#include "text/jinja/number_text.h"
#include "text/jinja/sort.h"
#include "text/jinja/unicode.h"

#include <math.h>

static void unicode_escape(struct bt_jj_sb *b, uint32_t unit)
{
	static const char hex[] = "0123456789abcdef";
	char s[6] = {'\\', 'u', hex[unit >> 12 & 15], hex[unit >> 8 & 15], hex[unit >> 4 & 15], hex[unit & 15]};
	bt_jj_sb_add(b, s, 6);
}

static void dump_str(struct bt_jj_sb *b, const struct bt_jj_str *s, bool ascii)
{
	bt_jj_sb_addc(b, '"');
	b->failed |= !bt_jj_charge(b->r, s->len / 16);
	size_t from = 0;
	for (size_t i = 0; i < s->len;) {
		unsigned char c = (unsigned char)s->s[i];
		uint32_t cp = c;
		size_t n = 1;
		if (c >= 0x80 && ascii) n = bt_jj_utf8_get(s->s + i, s->len - i, &cp);
		if (c >= 0x20 && c != '"' && c != '\\' && !(ascii && c >= 0x7F)) {
			i++;
			continue;
		}
		bt_jj_sb_add(b, s->s + from, i - from);
		i += n;
		from = i;
		const char *plain = "\"\\\n\r\t\b\f", *at = c ? strchr(plain, c) : NULL;
		if (at) {
			bt_jj_sb_addc(b, '\\');
			bt_jj_sb_addc(b, "\"\\nrtbf"[at - plain]);
		} else if (cp > 0xFFFF) {
			unicode_escape(b, 0xD800 + ((cp - 0x10000) >> 10));
			unicode_escape(b, 0xDC00 + ((cp - 0x10000) & 0x3FF));
		} else {
			unicode_escape(b, cp);
		}
	}
	bt_jj_sb_add(b, s->s + from, s->len - from);
	bt_jj_sb_addc(b, '"');
}

static void dump_number(struct bt_jj_sb *b, struct bt_jj_val v)
{
	if (v.type == BT_JJ_FLOAT && !isfinite(v.f))
		bt_jj_sb_adds(b, isnan(v.f) ? "NaN" : v.f < 0 ? "-Infinity" : "Infinity");
	else bt_jj_sb_repr(b, v);
}

static void new_line(struct bt_jj_sb *b, const struct bt_jj_json_style *st, size_t level)
{
	if (!st->pretty) return;
	bt_jj_sb_addc(b, '\n');
	for (size_t i = 0; i < level && !b->failed; i++) bt_jj_sb_str(b, st->indent.s);
}

static void dump(struct bt_jj_sb *b, struct bt_jj_val v, const struct bt_jj_json_style *st, size_t level);

static void dump_key(struct bt_jj_sb *b, struct bt_jj_val key, const struct bt_jj_json_style *st)
{
	switch (key.type) {
	case BT_JJ_STR: dump_str(b, key.s, st->ascii); return;
	case BT_JJ_NONE: bt_jj_sb_adds(b, "\"null\""); return;
	case BT_JJ_BOOL: bt_jj_sb_adds(b, key.b ? "\"true\"" : "\"false\""); return;
	case BT_JJ_INT:
	case BT_JJ_BIG:
	case BT_JJ_FLOAT:
		bt_jj_sb_addc(b, '"');
		dump_number(b, key);
		bt_jj_sb_addc(b, '"');
		return;
	default:
		bt_jj_fail(b->r, "TypeError", "keys must be str, int, float, bool or None, not %s",
		           bt_jj_type_name(key));
		b->failed = true;
	}
}

static void dump_dict(struct bt_jj_sb *b, const struct bt_jj_dict *d, const struct bt_jj_json_style *st, size_t level)
{
	const struct bt_jj_list *keys = NULL;
	if (!d->n) {
		bt_jj_sb_adds(b, "{}");
		return;
	}
	if (st->sort_keys && !(keys = bt_jj_sorted_keys(b->r, d))) {
		b->failed = true;
		return;
	}
	bt_jj_sb_addc(b, '{');
	for (size_t i = 0; i < d->n && !b->failed; i++) {
		struct bt_jj_val key = keys ? keys->v[i] : d->e[i].key;
		if (i) bt_jj_sb_str(b, st->item_sep.s);
		new_line(b, st, level + 1);
		dump_key(b, key, st);
		bt_jj_sb_str(b, st->key_sep.s);
		dump(b, keys ? bt_jj_dict_get(b->r, d, key) : d->e[i].val, st, level + 1);
	}
	new_line(b, st, level);
	bt_jj_sb_addc(b, '}');
}

static void dump_list(struct bt_jj_sb *b, const struct bt_jj_list *l, const struct bt_jj_json_style *st, size_t level)
{
	if (!l->n) {
		bt_jj_sb_adds(b, "[]");
		return;
	}
	bt_jj_sb_addc(b, '[');
	for (size_t i = 0; i < l->n && !b->failed; i++) {
		if (i) bt_jj_sb_str(b, st->item_sep.s);
		new_line(b, st, level + 1);
		dump(b, l->v[i], st, level + 1);
	}
	new_line(b, st, level);
	bt_jj_sb_addc(b, ']');
}

static void dump_inner(struct bt_jj_sb *b, struct bt_jj_val v, const struct bt_jj_json_style *st, size_t level)
{
	switch (v.type) {
	case BT_JJ_FAIL: b->failed = true; return;
	case BT_JJ_NONE: bt_jj_sb_adds(b, "null"); return;
	case BT_JJ_BOOL: bt_jj_sb_adds(b, v.b ? "true" : "false"); return;
	case BT_JJ_INT:
	case BT_JJ_BIG:
	case BT_JJ_FLOAT: dump_number(b, v); return;
	case BT_JJ_STR: dump_str(b, v.s, st->ascii); return;
	case BT_JJ_LIST:
	case BT_JJ_TUPLE: dump_list(b, v.list, st, level); return;
	case BT_JJ_DICT: dump_dict(b, v.dict, st, level); return;
	default:
		bt_jj_fail(b->r, "TypeError", "Object of type %s is not JSON serializable", bt_jj_type_name(v));
		b->failed = true;
	}
}

static void dump(struct bt_jj_sb *b, struct bt_jj_val v, const struct bt_jj_json_style *st, size_t level)
{
	if (b->failed || !bt_jj_charge(b->r, 1) || !bt_jj_enter(b->r)) {
		b->failed = true;
		return;
	}
	dump_inner(b, v, st, level);
	bt_jj_leave(b->r);
}

struct bt_jj_val bt_jj_json_dump(struct bt_jj *r, struct bt_jj_val v, const struct bt_jj_json_style *style)
{
	struct bt_jj_sb b = bt_jj_sb(r);
	dump(&b, v, style, 0);
	return bt_jj_sb_done(&b);
}

static struct bt_jj_val from_array(struct bt_jj *r, const json_t *j)
{
	size_t n = json_array_size(j);
	struct bt_jj_list *l = bt_jj_list_new(r, n);
	for (size_t i = 0; l && i < n; i++)
		if (!bt_jj_list_add(r, l, bt_jj_from_json(r, json_array_get(j, i)))) return bt_jj_failed();
	return l ? bt_jj_of_list(l) : bt_jj_failed();
}

static struct bt_jj_val from_object(struct bt_jj *r, const json_t *j)
{
	struct bt_jj_dict *d = bt_jj_dict_new(r, json_object_size(j));
	if (!d) return bt_jj_failed();
	/* jansson's iterators take a pointer to a changeable object but change nothing. */
	json_t *o = (json_t *)(uintptr_t)j;
	for (void *at = json_object_iter(o); at; at = json_object_iter_next(o, at)) {
		const char *key = json_object_iter_key(at);
		if (!bt_jj_dict_set(r, d, bt_jj_text_ref(r, key, json_object_iter_key_len(at)),
		                    bt_jj_from_json(r, json_object_iter_value(at))))
			return bt_jj_failed();
	}
	return bt_jj_of_dict(d);
}

struct bt_jj_val bt_jj_from_json(struct bt_jj *r, const json_t *j)
{
	struct bt_jj_val v = bt_jj_none();
	switch (json_typeof(j)) {
	case JSON_NULL: return v;
	case JSON_TRUE: return bt_jj_bool(true);
	case JSON_FALSE: return bt_jj_bool(false);
	case JSON_INTEGER: return bt_jj_int(json_integer_value(j));
	case JSON_REAL: return bt_jj_float(json_real_value(j));
	case JSON_STRING: return bt_jj_text_ref(r, json_string_value(j), json_string_length(j));
	case JSON_ARRAY:
	case JSON_OBJECT:
		if (!bt_jj_enter(r)) return bt_jj_failed();
		v = json_is_array(j) ? from_array(r, j) : from_object(r, j);
		bt_jj_leave(r);
	}
	return v;
}
