#include "text/jinja/filters.h"
#include "text/jinja/members.h"

/* Remove from `open` to `close` again and again, from the left. */
static struct bt_jj_val without(struct bt_jj *r, struct bt_jj_val s, const char *open, const char *close)
{
	struct bt_jj_sb b = bt_jj_sb(r);
	const char *at = s.s->s, *end = at + s.s->len;
	while (!b.failed) {
		const char *from = memmem(at, (size_t)(end - at), open, strlen(open));
		const char *to = from ? memmem(from, (size_t)(end - from), close, strlen(close)) : NULL;
		if (!to || !bt_jj_charge(r, 1)) break;
		bt_jj_sb_add(&b, at, (size_t)(from - at));
		at = to + strlen(close);
	}
	bt_jj_sb_add(&b, at, (size_t)(end - at));
	return bt_jj_sb_done(&b);
}

static int digit_of(char c, unsigned base)
{
	int d = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : 99;
	return d < (int)base ? d : -1;
}

/* "&#233;" or "&#xE9;" at s: its length, 0 when it has no digits. */
static size_t numeric_reference(const char *s, size_t len, uint32_t *cp)
{
	unsigned base = len > 3 && (s[2] | 32) == 'x' ? 16 : 10;
	size_t i = base == 16 ? 3 : 2, from = i;
	uint32_t v = 0;
	for (; i < len && v < 0x110000 && digit_of(s[i], base) >= 0; i++) v = v * base + (uint32_t)digit_of(s[i], base);
	if (i == from) return 0;
	*cp = v == 0 || v > 0x10FFFF || (v >= 0xD800 && v < 0xE000) ? 0xFFFD : v;
	return i + (i < len && s[i] == ';');
}

/* A character reference at s ("&lt;", "&#233;"): its length, 0 when there is none. */
static size_t reference(const char *s, size_t len, uint32_t *cp)
{
	static const struct {
		char name[8];
		uint32_t cp;
	} named[] = {{"amp;", '&'},       {"lt;", '<'},       {"gt;", '>'},      {"quot;", '"'},
	             {"apos;", '\''},     {"nbsp;", 0xA0},    {"copy;", 0xA9},   {"reg;", 0xAE},
	             {"hellip;", 0x2026}, {"ndash;", 0x2013}, {"mdash;", 0x2014}};
	if (len > 2 && s[1] == '#') return numeric_reference(s, len, cp);
	for (size_t i = 0; i < sizeof named / sizeof *named; i++) {
		size_t n = strlen(named[i].name);
		if (n >= len || memcmp(s + 1, named[i].name, n)) continue;
		*cp = named[i].cp;
		return n + 1;
	}
	return 0;
}

static struct bt_jj_val unescape(struct bt_jj *r, const struct bt_jj_str *s)
{
	struct bt_jj_sb b = bt_jj_sb(r);
	for (size_t i = 0; i < s->len && !b.failed;) {
		uint32_t cp = 0;
		size_t n = s->s[i] == '&' ? reference(s->s + i, s->len - i, &cp) : 0;
		if (n) bt_jj_sb_cp(&b, cp);
		else bt_jj_sb_addc(&b, s->s[i]);
		i += n ? n : 1;
	}
	return bt_jj_sb_done(&b);
}

/* Words with one space between them. */
static struct bt_jj_val collapse(struct bt_jj *r, const struct bt_jj_str *s)
{
	struct bt_jj_sb b = bt_jj_sb(r);
	bool gap = false;
	for (size_t i = 0; i < s->len && !b.failed;) {
		uint32_t cp;
		size_t n = bt_jj_utf8_get(s->s + i, s->len - i, &cp);
		bool space = bt_jj_is_space(cp);
		if (!space && gap && b.len) bt_jj_sb_addc(&b, ' ');
		if (!space) bt_jj_sb_add(&b, s->s + i, n);
		gap = space;
		i += n;
	}
	return bt_jj_sb_done(&b);
}

struct bt_jj_val bt_jj_filter_striptags(struct bt_jj *r, struct bt_jj_call *c)
{
	struct bt_jj_val s = bt_jj_to_str(r, c->self);
	if (bt_jj_is_fail(s) || !bt_jj_charge(r, s.s->len / 16)) return bt_jj_failed();
	s = without(r, s, "<!--", "-->");
	if (!bt_jj_is_fail(s)) s = without(r, s, "<", ">");
	if (!bt_jj_is_fail(s)) s = collapse(r, s.s);
	return bt_jj_is_fail(s) ? s : unescape(r, s.s);
}

struct bt_jj_val bt_jj_filter_xmlattr(struct bt_jj *r, struct bt_jj_call *c)
{
	struct bt_jj_sb b = bt_jj_sb(r);
	if (c->self.type == BT_JJ_UNDEFINED) return bt_jj_fail_undefined(r, c->self);
	if (c->self.type != BT_JJ_DICT)
		return bt_jj_fail(r, "AttributeError", "'%s' object has no attribute 'items'",
		                  bt_jj_type_name(c->self));
	const struct bt_jj_dict *d = c->self.dict;
	bool space = bt_jj_arg_bool(c->arg[0], true);
	for (size_t i = 0; i < d->n; i++) {
		struct bt_jj_val val = d->e[i].val, key = d->e[i].key;
		if (val.type == BT_JJ_NONE || val.type == BT_JJ_UNDEFINED) continue;
		if (key.type != BT_JJ_STR) return bt_jj_fail(r, "TypeError", "expected string or bytes-like object");
		for (size_t k = 0; k < key.s->len; k++)
			if (strchr(" \t\n\r\f\v/>=", key.s->s[k]))
				return bt_jj_fail(r, "ValueError", "Invalid character in attribute name");
		key = bt_jj_escape(r, key);
		val = bt_jj_escape(r, val);
		if (bt_jj_is_fail(key) || bt_jj_is_fail(val)) return bt_jj_failed();
		if (space || b.len) bt_jj_sb_addc(&b, ' ');
		bt_jj_sb_str(&b, key.s);
		bt_jj_sb_adds(&b, "=\"");
		bt_jj_sb_str(&b, val.s);
		bt_jj_sb_addc(&b, '"');
	}
	struct bt_jj_val v = bt_jj_sb_done(&b);
	return r->autoescape ? bt_jj_mark(v) : v;
}

static struct bt_jj_val markup_striptags(struct bt_jj *r, struct bt_jj_call *c)
{
	return bt_jj_filter_striptags(r, c);
}

static struct bt_jj_val markup_unescape(struct bt_jj *r, struct bt_jj_call *c)
{
	return unescape(r, c->self.s);
}

static const struct bt_jj_member rows[] = {
	{{"striptags", "", markup_striptags}, BT_JJ_METHOD_ROW},
	{{"unescape", "", markup_unescape}, BT_JJ_METHOD_ROW},
};
const struct bt_jj_members bt_jj_markup_members = {rows, sizeof rows / sizeof *rows};
