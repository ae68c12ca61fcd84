#include "text/jinja/filters.h"
#include "text/jinja/wrap.h"

#include <math.h>

/* str(v) of the filtered value, markup kept. */
static struct bt_jj_val text_of(struct bt_jj *r, const struct bt_jj_call *c)
{
	return bt_jj_to_str(r, c->self);
}

static struct bt_jj_val like(struct bt_jj_val s, struct bt_jj_val v)
{
	return s.markup ? bt_jj_mark(v) : v;
}

struct bt_jj_val bt_jj_filter_indent(struct bt_jj *r, struct bt_jj_call *c)
{
	bool first = bt_jj_arg_bool(c->arg[1], false), blank = bt_jj_arg_bool(c->arg[2], false);
	struct bt_jj_val s = c->self, by = c->arg[0];
	int64_t width;
	if (s.type == BT_JJ_UNDEFINED) return bt_jj_fail_undefined(r, s);
	if (s.type != BT_JJ_STR)
		return bt_jj_fail(r, "TypeError", "unsupported operand type(s) for +=: '%s' and 'str'",
		                  bt_jj_type_name(s));
	if (by.type != BT_JJ_STR) {
		if (by.type != BT_JJ_MISSING && !bt_jj_is_int(by))
			return bt_jj_fail(r, "TypeError", "can't multiply sequence by non-int of type '%s'",
			                  bt_jj_type_name(by));
		if (!bt_jj_arg_index(r, by, 4, &width)) return bt_jj_failed();
		struct bt_jj_sb pad = bt_jj_sb(r);
		if (width > 0) bt_jj_sb_fill(&pad, ' ', (size_t)width);
		by = bt_jj_sb_done(&pad);
		if (bt_jj_is_fail(by)) return by;
	}
	/* A newline is added before the lines are split, so that a final newline keeps its empty last line. */
	struct bt_jj_sb with = bt_jj_sb(r), b = bt_jj_sb(r);
	bt_jj_sb_str(&with, s.s);
	bt_jj_sb_addc(&with, '\n');
	struct bt_jj_val all = bt_jj_sb_done(&with);
	struct bt_jj_list *lines = bt_jj_is_fail(all) ? NULL : bt_jj_splitlines(r, all.s, false);
	if (!lines) return bt_jj_failed();
	if (first) bt_jj_sb_str(&b, by.s);
	for (size_t i = 0; i < lines->n; i++) {
		const struct bt_jj_str *line = lines->v[i].s;
		if (i) bt_jj_sb_addc(&b, '\n');
		if (i && (blank || line->len)) bt_jj_sb_str(&b, by.s);
		bt_jj_sb_str(&b, line);
	}
	return like(s, bt_jj_sb_done(&b));
}

struct bt_jj_val bt_jj_filter_replace(struct bt_jj *r, struct bt_jj_call *c)
{
	int64_t count;
	struct bt_jj_val s = text_of(r, c), old = bt_jj_to_str(r, c->arg[0]), new = bt_jj_to_str(r, c->arg[1]);
	if (bt_jj_is_fail(s) || bt_jj_is_fail(old) || bt_jj_is_fail(new) ||
	    !bt_jj_arg_index_or_none(r, c->arg[2], -1, &count))
		return bt_jj_failed();
	bool markup = r->autoescape && (s.markup || old.markup || new.markup);
	if (markup) {
		s = bt_jj_escape(r, s);
		old = bt_jj_escape(r, old);
		new = bt_jj_escape(r, new);
		if (bt_jj_is_fail(s) || bt_jj_is_fail(old) || bt_jj_is_fail(new)) return bt_jj_failed();
	}
	struct bt_jj_val v = bt_jj_replace(r, s.s, old.s, new.s, count);
	v.markup = markup && v.type == BT_JJ_STR;
	return v;
}

/* Every word with a capital: words begin behind white space and - ( { [ <. */
struct bt_jj_val bt_jj_filter_title(struct bt_jj *r, struct bt_jj_call *c)
{
	struct bt_jj_val s = text_of(r, c);
	if (bt_jj_is_fail(s) || !bt_jj_charge(r, s.s->len / 8)) return bt_jj_failed();
	struct bt_jj_sb b = bt_jj_sb(r);
	for (size_t i = 0; i < s.s->len && !b.failed;) {
		uint32_t cp;
		size_t from = i, n = 0;
		while (i < s.s->len) {
			n = bt_jj_utf8_get(s.s->s + i, s.s->len - i, &cp);
			if (cp == '-' || cp == '(' || cp == '{' || cp == '[' || cp == '<' || bt_jj_is_space(cp)) break;
			i += n;
		}
		if (i > from) {
			bt_jj_utf8_get(s.s->s + from, i - from, &cp);
			size_t first = bt_jj_utf8_get(s.s->s + from, i - from, &cp);
			struct bt_jj_val head = bt_jj_text_ref(r, s.s->s + from, first);
			struct bt_jj_val tail = bt_jj_text_ref(r, s.s->s + from + first, i - from - first);
			if (bt_jj_is_fail(head) || bt_jj_is_fail(tail)) return bt_jj_failed();
			bt_jj_sb_val(&b, bt_jj_recase(r, head.s, BT_JJ_TO_UPPER));
			bt_jj_sb_val(&b, bt_jj_recase(r, tail.s, BT_JJ_TO_LOWER));
		} else {
			bt_jj_sb_add(&b, s.s->s + i, n);
			i += n;
		}
		if (!bt_jj_charge(r, 1)) return bt_jj_failed();
	}
	return bt_jj_sb_done(&b);
}

struct bt_jj_val bt_jj_filter_trim(struct bt_jj *r, struct bt_jj_call *c)
{
	struct bt_jj_val s = text_of(r, c), chars = c->arg[0];
	bool space = chars.type == BT_JJ_MISSING || chars.type == BT_JJ_NONE;
	if (bt_jj_is_fail(s)) return s;
	if (!space && chars.type != BT_JJ_STR) return bt_jj_fail(r, "TypeError", "strip arg must be None or str");
	return like(s, bt_jj_strip(r, s.s, space ? NULL : chars.s, BT_JJ_BOTH));
}

struct bt_jj_val bt_jj_filter_truncate(struct bt_jj *r, struct bt_jj_call *c)
{
	int64_t length, leeway;
	struct bt_jj_val s = c->self, end = bt_jj_given(c->arg[2]) ? c->arg[2] : bt_jj_text_ref(r, "...", 3);
	size_t n;
	bool kill = bt_jj_arg_bool(c->arg[1], false);
	if (bt_jj_is_fail(end) || !bt_jj_arg_index(r, c->arg[0], 255, &length) ||
	    !bt_jj_arg_index_or_none(r, c->arg[3], 5, &leeway))
		return bt_jj_failed();
	if (end.type != BT_JJ_STR)
		return bt_jj_fail(r, "TypeError", "object of type '%s' has no len()", bt_jj_type_name(end));
	if (length < (int64_t)end.s->n)
		return bt_jj_fail(r, "AssertionError", "expected length >= %zu, got %lld", end.s->n, (long long)length);
	if (leeway < 0) return bt_jj_fail(r, "AssertionError", "expected leeway >= 0, got %lld", (long long)leeway);
	if (!bt_jj_len(s, &n))
		return bt_jj_fail(r, "TypeError", "object of type '%s' has no len()", bt_jj_type_name(s));
	if (leeway > INT64_MAX / 4 || length > INT64_MAX / 4 || (int64_t)n <= length + leeway) return s;
	if (s.type != BT_JJ_STR)
		return bt_jj_fail(r, "TypeError", "|truncate needs a text, not %s", bt_jj_type_name(s));
	struct bt_jj_val cut = bt_jj_substr(r, s.s, 0, (size_t)length - end.s->n);
	if (bt_jj_is_fail(cut)) return cut;
	size_t len = cut.s->len;
	for (size_t i = len; !kill && i--;)
		if (cut.s->s[i] == ' ') {
			len = i;
			break;
		}
	struct bt_jj_sb b = bt_jj_sb(r);
	bt_jj_sb_add(&b, cut.s->s, len);
	bt_jj_sb_str(&b, end.s);
	return like(s, bt_jj_sb_done(&b));
}

static void quote(struct bt_jj_sb *b, const struct bt_jj_str *s, bool query)
{
	for (size_t i = 0; i < s->len && !b->failed; i++) {
		static const char hex[] = "0123456789ABCDEF";
		unsigned char ch = (unsigned char)s->s[i];
		bool word = ch < 0x80 &&
		            (((ch | 32) >= 'a' && (ch | 32) <= 'z') || (ch >= '0' && ch <= '9') || strchr("_.-~", ch));
		if (ch && (word || (ch == '/' && !query))) bt_jj_sb_addc(b, (char)ch);
		else if (ch == ' ' && query) bt_jj_sb_addc(b, '+');
		else {
			char e[3] = {'%', hex[ch >> 4], hex[ch & 15]};
			bt_jj_sb_add(b, e, 3);
		}
	}
}

struct bt_jj_val bt_jj_filter_urlencode(struct bt_jj *r, struct bt_jj_call *c)
{
	struct bt_jj_sb b = bt_jj_sb(r);
	struct bt_jj_iter it;
	struct bt_jj_val v = c->self, e;
	enum bt_jj_step step;
	if (v.type == BT_JJ_STR || !bt_jj_iterable(v)) {
		v = bt_jj_to_str(r, v);
		if (bt_jj_is_fail(v) || !bt_jj_charge(r, v.s->len / 16)) return bt_jj_failed();
		quote(&b, v.s, false);
		return bt_jj_sb_done(&b);
	}
	struct bt_jj_view items = {.dict = v.dict, .kind = BT_JJ_ITEMS};
	if (v.type == BT_JJ_DICT) v = (struct bt_jj_val){.type = BT_JJ_VIEW, .view = &items};
	if (!bt_jj_iter_open(r, v, &it)) return bt_jj_failed();
	for (bool first = true; (step = bt_jj_iter_next(r, &it, &e)) == BT_JJ_ITEM; first = false) {
		if (!bt_jj_iterable(e))
			return bt_jj_fail(r, "TypeError", "cannot unpack non-iterable %s object", bt_jj_type_name(e));
		const struct bt_jj_list *l = bt_jj_to_list(r, e);
		if (!l) return bt_jj_failed();
		if (l->n != 2)
			return bt_jj_fail(r, "ValueError", "|urlencode needs pairs, this has %zu elements", l->n);
		struct bt_jj_val key = bt_jj_to_str(r, l->v[0]), val = bt_jj_to_str(r, l->v[1]);
		if (bt_jj_is_fail(key) || bt_jj_is_fail(val)) return bt_jj_failed();
		if (!first) bt_jj_sb_addc(&b, '&');
		quote(&b, key.s, true);
		bt_jj_sb_addc(&b, '=');
		quote(&b, val.s, true);
	}
	return step == BT_JJ_BROKEN ? bt_jj_failed() : bt_jj_sb_done(&b);
}

struct bt_jj_val bt_jj_filter_wordcount(struct bt_jj *r, struct bt_jj_call *c)
{
	struct bt_jj_val s = text_of(r, c);
	if (bt_jj_is_fail(s) || !bt_jj_charge(r, s.s->len / 4)) return bt_jj_failed();
	int64_t n = 0;
	bool inside = false;
	for (size_t i = 0; i < s.s->len;) {
		uint32_t cp;
		i += bt_jj_utf8_get(s.s->s + i, s.s->len - i, &cp);
		bool word = cp == '_' || bt_jj_is_alnum(cp);
		n += word && !inside;
		inside = word;
	}
	return bt_jj_int(n);
}

struct bt_jj_val bt_jj_filter_wordwrap(struct bt_jj *r, struct bt_jj_call *c)
{
	struct bt_jj_val s = c->self, glue = c->arg[2];
	int64_t width;
	if (s.type == BT_JJ_UNDEFINED) return bt_jj_fail_undefined(r, s);
	if (s.type != BT_JJ_STR)
		return bt_jj_fail(r, "AttributeError", "'%s' object has no attribute 'splitlines'", bt_jj_type_name(s));
	if (!bt_jj_arg_index(r, c->arg[0], 79, &width)) return bt_jj_failed();
	if (glue.type == BT_JJ_MISSING || glue.type == BT_JJ_NONE) glue = bt_jj_text_ref(r, "\n", 1);
	if (glue.type != BT_JJ_STR)
		return bt_jj_fail(r, "TypeError", "wrapstring must be str, not %s", bt_jj_type_name(glue));
	if (width <= 0) return bt_jj_fail(r, "ValueError", "invalid width %lld (must be > 0)", (long long)width);
	struct bt_jj_wrap how = {.width = (size_t)width,
	                         .glue = glue.s,
	                         .break_long = bt_jj_arg_bool(c->arg[1], true),
	                         .break_hyphens = bt_jj_arg_bool(c->arg[3], true)};
	struct bt_jj_list *lines = bt_jj_splitlines(r, s.s, false);
	struct bt_jj_sb b = bt_jj_sb(r);
	for (size_t i = 0; lines && i < lines->n; i++) {
		if (i) bt_jj_sb_str(&b, glue.s);
		if (!bt_jj_wrap_line(&b, lines->v[i].s, &how)) return bt_jj_failed();
	}
	return lines ? bt_jj_sb_done(&b) : bt_jj_failed();
}

struct bt_jj_val bt_jj_filter_format(struct bt_jj *r, struct bt_jj_call *c)
{
	const struct bt_jj_args *a = &c->rest;
	struct bt_jj_val s = text_of(r, c);
	if (bt_jj_is_fail(s)) return s;
	if (a->n_pos && a->n > a->n_pos)
		return bt_jj_fail(r, "FilterArgumentError",
		                  "can't handle positional and keyword arguments at the same time");
	if (a->n > a->n_pos) {
		struct bt_jj_dict *d = bt_jj_dict_new(r, a->n);
		for (size_t i = 0; d && i < a->n; i++)
			if (!bt_jj_dict_set(r, d, a->v[i].name, a->v[i].val)) return bt_jj_failed();
		return d ? bt_jj_format_percent(r, s, bt_jj_of_dict(d)) : bt_jj_failed();
	}
	struct bt_jj_list *l = bt_jj_list_new(r, a->n);
	for (size_t i = 0; l && i < a->n; i++)
		if (!bt_jj_list_add(r, l, a->v[i].val)) return bt_jj_failed();
	return l ? bt_jj_format_percent(r, s, bt_jj_of_tuple(l)) : bt_jj_failed();
}

struct bt_jj_val bt_jj_filter_filesizeformat(struct bt_jj *r, struct bt_jj_call *c)
{
	bool binary = bt_jj_arg_bool(c->arg[0], false);
	struct bt_jj_val v = c->self;
	double bytes, base = binary ? 1024 : 1000;
	if (v.type == BT_JJ_UNDEFINED) return bt_jj_fail_undefined(r, v);
	if (v.type == BT_JJ_STR) v = bt_jj_parse_float(r, v.s);
	if (!bt_jj_is_number(v))
		return bt_jj_fail(r, "ValueError", "could not convert a value of type %s to float",
		                  bt_jj_type_name(c->self));
	if (!bt_jj_to_double(r, v, &bytes)) return bt_jj_failed();
	if (bytes == 1) return bt_jj_textf(r, "1 Byte");
	if (bytes < base) return bt_jj_textf(r, "%lld Bytes", (long long)bytes);
	const char *letters = "kMGTPEZY";
	int i = 0;
	double unit = base * base;
	for (; i < 7 && bytes >= unit; i++) unit *= base;
	double shown = base * bytes / unit;
	struct bt_jj_val n = bt_jj_format_percent(r, bt_jj_text_ref(r, "%.1f", 4), bt_jj_float(shown));
	if (bt_jj_is_fail(n)) return n;
	char letter = binary && i == 0 ? 'K' : letters[i];
	return bt_jj_textf(r, "%.*s %c%sB", (int)n.s->len, n.s->s, letter, binary ? "i" : "");
}
