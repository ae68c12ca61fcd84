/* methods_str.c: the methods of str. */
#include "text/jinja/members.h"
#include "text/jinja/text.h"

/* Argument i as a str; NULL, recorded: it is something else. */
static const struct bt_jj_str *str_arg(struct bt_jj *r, struct bt_jj_call *c, size_t i)
{
	if (c->arg[i].type == BT_JJ_STR) return c->arg[i].s;
	bt_jj_fail(r, "TypeError", "%s() argument %zu must be str, not %s", c->func->name, i + 1,
	           bt_jj_type_name(c->arg[i]));
	return NULL;
}

/* The same for text that is put into markup: escaped first. */
static const struct bt_jj_str *safe_arg(struct bt_jj *r, struct bt_jj_call *c, size_t i)
{
	if (c->self.markup && c->arg[i].type == BT_JJ_STR) {
		c->arg[i] = bt_jj_escape(r, c->arg[i]);
		if (bt_jj_is_fail(c->arg[i])) return NULL;
	}
	return str_arg(r, c, i);
}

/* What a method made of its object is markup if that was. */
static struct bt_jj_val like_self(const struct bt_jj_call *c, struct bt_jj_val v)
{
	return c->self.markup ? bt_jj_mark(v) : v;
}

static struct bt_jj_val recase(struct bt_jj *r, struct bt_jj_call *c, enum bt_jj_recase to)
{
	return like_self(c, bt_jj_recase(r, c->self.s, to));
}

static struct bt_jj_val str_lower(struct bt_jj *r, struct bt_jj_call *c)
{
	return recase(r, c, BT_JJ_TO_LOWER);
}

static struct bt_jj_val str_upper(struct bt_jj *r, struct bt_jj_call *c)
{
	return recase(r, c, BT_JJ_TO_UPPER);
}

static struct bt_jj_val str_title(struct bt_jj *r, struct bt_jj_call *c)
{
	return recase(r, c, BT_JJ_TO_TITLE);
}

static struct bt_jj_val str_capitalize(struct bt_jj *r, struct bt_jj_call *c)
{
	return recase(r, c, BT_JJ_TO_CAPITAL);
}

static struct bt_jj_val str_swapcase(struct bt_jj *r, struct bt_jj_call *c)
{
	return recase(r, c, BT_JJ_TO_SWAPPED);
}

static struct bt_jj_val str_casefold(struct bt_jj *r, struct bt_jj_call *c)
{
	return recase(r, c, BT_JJ_TO_FOLDED);
}

static struct bt_jj_val strip(struct bt_jj *r, struct bt_jj_call *c, enum bt_jj_sides sides)
{
	const struct bt_jj_str *chars = NULL;
	if (c->arg[0].type != BT_JJ_MISSING && c->arg[0].type != BT_JJ_NONE && !(chars = str_arg(r, c, 0)))
		return bt_jj_failed();
	return like_self(c, bt_jj_strip(r, c->self.s, chars, sides));
}

static struct bt_jj_val str_strip(struct bt_jj *r, struct bt_jj_call *c)
{
	return strip(r, c, BT_JJ_BOTH);
}

static struct bt_jj_val str_lstrip(struct bt_jj *r, struct bt_jj_call *c)
{
	return strip(r, c, BT_JJ_LEFT);
}

static struct bt_jj_val str_rstrip(struct bt_jj *r, struct bt_jj_call *c)
{
	return strip(r, c, BT_JJ_RIGHT);
}

static struct bt_jj_val str_replace(struct bt_jj *r, struct bt_jj_call *c)
{
	int64_t count;
	const struct bt_jj_str *old = str_arg(r, c, 0), *new = old ? safe_arg(r, c, 1) : NULL;
	if (!new || !bt_jj_arg_index(r, c->arg[2], -1, &count)) return bt_jj_failed();
	return like_self(c, bt_jj_replace(r, c->self.s, old, new, count));
}

static bool add_part(struct bt_jj *r, struct bt_jj_call *c, struct bt_jj_list *l, size_t from, size_t to)
{
	return bt_jj_charge(r, 1) &&
	       bt_jj_list_add(r, l, like_self(c, bt_jj_text_ref(r, c->self.s->s + from, to - from)));
}

/* Words, from the left. At most max cuts; the rest keeps its white space. */
static bool split_words(struct bt_jj *r, struct bt_jj_call *c, struct bt_jj_list *l, int64_t max)
{
	const struct bt_jj_str *s = c->self.s;
	size_t i = 0, from;
	uint32_t cp;
	for (;;) {
		size_t n = 0;
		while (i < s->len && (n = bt_jj_utf8_get(s->s + i, s->len - i, &cp), bt_jj_is_space(cp))) i += n;
		if (i >= s->len) return true;
		if (max == 0) return add_part(r, c, l, i, s->len);
		from = i;
		while (i < s->len && (n = bt_jj_utf8_get(s->s + i, s->len - i, &cp), !bt_jj_is_space(cp))) i += n;
		if (!add_part(r, c, l, from, i)) return false;
		max--;
	}
}

static bool split_words_right(struct bt_jj *r, struct bt_jj_call *c, struct bt_jj_list *l, int64_t max)
{
	const struct bt_jj_str *s = c->self.s;
	size_t end = s->len;
	uint32_t cp;
	for (;; max--) {
		while (end) {
			size_t at = bt_jj_utf8_back(s->s, end);
			bt_jj_utf8_get(s->s + at, end - at, &cp);
			if (!bt_jj_is_space(cp)) break;
			end = at;
		}
		if (!end) break;
		size_t from = end;
		while (from && max) {
			size_t at = bt_jj_utf8_back(s->s, from);
			bt_jj_utf8_get(s->s + at, from - at, &cp);
			if (bt_jj_is_space(cp)) break;
			from = at;
		}
		if (!max) from = 0;
		if (!add_part(r, c, l, from, end)) return false;
		if (!max) break;
		end = from;
	}
	return true;
}

static bool split_at(struct bt_jj *r, struct bt_jj_call *c, struct bt_jj_list *l, const struct bt_jj_str *sep,
                     int64_t max)
{
	const struct bt_jj_str *s = c->self.s;
	size_t from = 0;
	for (; max; max--) {
		const char *p = memmem(s->s + from, s->len - from, sep->s, sep->len);
		if (!p) break;
		if (!add_part(r, c, l, from, (size_t)(p - s->s))) return false;
		from = (size_t)(p - s->s) + sep->len;
	}
	return add_part(r, c, l, from, s->len);
}

/* The last place of sep within the first `end` bytes, SIZE_MAX. */
static size_t find_last(const struct bt_jj_str *s, size_t from, size_t end, const struct bt_jj_str *sep)
{
	if (end < sep->len) return SIZE_MAX;
	for (size_t i = end - sep->len + 1; i-- > from;)
		if (!memcmp(s->s + i, sep->s, sep->len)) return i;
	return SIZE_MAX;
}

static bool split_at_right(struct bt_jj *r, struct bt_jj_call *c, struct bt_jj_list *l, const struct bt_jj_str *sep,
                           int64_t max)
{
	const struct bt_jj_str *s = c->self.s;
	size_t end = s->len;
	for (; max; max--) {
		size_t at = find_last(s, 0, end, sep);
		if (at == SIZE_MAX) break;
		if (!add_part(r, c, l, at + sep->len, end)) return false;
		end = at;
	}
	return add_part(r, c, l, 0, end);
}

static void reverse(struct bt_jj_list *l)
{
	for (size_t i = 0; i < l->n / 2; i++) {
		struct bt_jj_val t = l->v[i];
		l->v[i] = l->v[l->n - 1 - i];
		l->v[l->n - 1 - i] = t;
	}
}

static struct bt_jj_val split(struct bt_jj *r, struct bt_jj_call *c, bool right)
{
	int64_t max;
	const struct bt_jj_str *sep = NULL;
	struct bt_jj_list *l = bt_jj_list_new(r, 0);
	bool words = c->arg[0].type == BT_JJ_MISSING || c->arg[0].type == BT_JJ_NONE;
	if (!l || (!words && !(sep = str_arg(r, c, 0))) || !bt_jj_arg_index(r, c->arg[1], -1, &max))
		return bt_jj_failed();
	if (sep && !sep->len) return bt_jj_fail(r, "ValueError", "empty separator");
	size_t cost = c->self.s->len / 16 * (right && sep ? 1 + sep->len / 64 : 1);
	if (!bt_jj_charge(r, cost)) return bt_jj_failed();
	bool ok = words ? (right ? split_words_right : split_words)(r, c, l, max)
	                : (right ? split_at_right : split_at)(r, c, l, sep, max);
	if (!ok) return bt_jj_failed();
	if (right) reverse(l);
	return bt_jj_of_list(l);
}

static struct bt_jj_val str_split(struct bt_jj *r, struct bt_jj_call *c)
{
	return split(r, c, false);
}

static struct bt_jj_val str_rsplit(struct bt_jj *r, struct bt_jj_call *c)
{
	return split(r, c, true);
}

static struct bt_jj_val str_splitlines(struct bt_jj *r, struct bt_jj_call *c)
{
	struct bt_jj_list *l = bt_jj_splitlines(r, c->self.s, bt_jj_arg_bool(c->arg[0], false));
	if (!l) return bt_jj_failed();
	for (size_t i = 0; i < l->n; i++) l->v[i].markup = c->self.markup;
	return bt_jj_of_list(l);
}

/* self[start:end] of the arguments, in bytes. false, recorded: no integers. *empty: start lies behind the end. */
static bool window(struct bt_jj *r, struct bt_jj_call *c, size_t i, size_t *from, size_t *to, bool *empty)
{
	const struct bt_jj_str *s = c->self.s;
	int64_t n = (int64_t)s->n, a, b;
	if (!bt_jj_arg_index_or_none(r, c->arg[i], 0, &a) || !bt_jj_arg_index_or_none(r, c->arg[i + 1], n, &b))
		return false;
	if (a < 0) a = a + n < 0 ? 0 : a + n;
	if (b < 0) b = b + n < 0 ? 0 : b + n;
	if (b > n) b = n;
	*empty = a > b;
	*from = bt_jj_str_offset(s, a > n ? s->n : (size_t)a);
	*to = bt_jj_str_offset(s, (size_t)b);
	return bt_jj_charge_bytes(r, s->len);
}

/* The place of arg[0]: a character index, -1 for none, -2 on failure. */
static int64_t find(struct bt_jj *r, struct bt_jj_call *c, bool last)
{
	size_t from, to;
	bool empty;
	const struct bt_jj_str *s = c->self.s, *sub = str_arg(r, c, 0);
	if (!sub || !window(r, c, 1, &from, &to, &empty)) return -2;
	if (empty) return -1;
	size_t at = SIZE_MAX;
	if (last) {
		if (!bt_jj_charge(r, (to - from) / 16 * (1 + sub->len / 64))) return -2;
		at = find_last(s, from, to, sub);
	} else {
		const char *p = sub->len ? memmem(s->s + from, to - from, sub->s, sub->len) : s->s + from;
		if (p) at = (size_t)(p - s->s);
	}
	return at == SIZE_MAX ? -1 : (int64_t)bt_jj_utf8_count(s->s, at);
}

static struct bt_jj_val found(struct bt_jj *r, int64_t at, bool must)
{
	if (at == -2) return bt_jj_failed();
	return at < 0 && must ? bt_jj_fail(r, "ValueError", "substring not found") : bt_jj_int(at);
}

static struct bt_jj_val str_find(struct bt_jj *r, struct bt_jj_call *c)
{
	return found(r, find(r, c, false), false);
}

static struct bt_jj_val str_rfind(struct bt_jj *r, struct bt_jj_call *c)
{
	return found(r, find(r, c, true), false);
}

static struct bt_jj_val str_index(struct bt_jj *r, struct bt_jj_call *c)
{
	return found(r, find(r, c, false), true);
}

static struct bt_jj_val str_rindex(struct bt_jj *r, struct bt_jj_call *c)
{
	return found(r, find(r, c, true), true);
}

static struct bt_jj_val str_count(struct bt_jj *r, struct bt_jj_call *c)
{
	size_t from, to;
	bool empty;
	const struct bt_jj_str *s = c->self.s, *sub = str_arg(r, c, 0);
	if (!sub || !window(r, c, 1, &from, &to, &empty)) return bt_jj_failed();
	if (empty) return bt_jj_int(0);
	if (!sub->len) return bt_jj_int((int64_t)bt_jj_utf8_count(s->s + from, to - from) + 1);
	int64_t n = 0;
	for (const char *p; (p = memmem(s->s + from, to - from, sub->s, sub->len)); n++) {
		from = (size_t)(p - s->s) + sub->len;
		if (!bt_jj_charge(r, 1)) return bt_jj_failed();
	}
	return bt_jj_int(n);
}

static bool has_end(const char *s, size_t len, const struct bt_jj_str *with, bool end)
{
	return with->len <= len && !memcmp(end ? s + len - with->len : s, with->s, with->len);
}

static struct bt_jj_val starts_or_ends(struct bt_jj *r, struct bt_jj_call *c, bool end)
{
	size_t from, to;
	bool empty;
	struct bt_jj_val v = c->arg[0];
	if (!window(r, c, 1, &from, &to, &empty)) return bt_jj_failed();
	const char *s = c->self.s->s + from;
	if (v.type == BT_JJ_STR) return bt_jj_bool(!empty && has_end(s, to - from, v.s, end));
	if (v.type != BT_JJ_TUPLE)
		return bt_jj_fail(r, "TypeError", "%s first arg must be str or a tuple of str, not %s", c->func->name,
		                  bt_jj_type_name(v));
	for (size_t i = 0; i < v.list->n; i++) {
		if (v.list->v[i].type != BT_JJ_STR)
			return bt_jj_fail(r, "TypeError", "tuple for %s must only contain str, not %s", c->func->name,
			                  bt_jj_type_name(v.list->v[i]));
		if (!empty && has_end(s, to - from, v.list->v[i].s, end)) return bt_jj_bool(true);
	}
	return bt_jj_bool(false);
}

static struct bt_jj_val str_startswith(struct bt_jj *r, struct bt_jj_call *c)
{
	return starts_or_ends(r, c, false);
}

static struct bt_jj_val str_endswith(struct bt_jj *r, struct bt_jj_call *c)
{
	return starts_or_ends(r, c, true);
}

static struct bt_jj_val remove_end(struct bt_jj *r, struct bt_jj_call *c, bool end)
{
	const struct bt_jj_str *s = c->self.s, *with = str_arg(r, c, 0);
	if (!with) return bt_jj_failed();
	if (!has_end(s->s, s->len, with, end)) return c->self;
	return like_self(c, bt_jj_text_ref(r, s->s + (end ? 0 : with->len), s->len - with->len));
}

static struct bt_jj_val str_removeprefix(struct bt_jj *r, struct bt_jj_call *c)
{
	return remove_end(r, c, false);
}

static struct bt_jj_val str_removesuffix(struct bt_jj *r, struct bt_jj_call *c)
{
	return remove_end(r, c, true);
}

static struct bt_jj_val str_join(struct bt_jj *r, struct bt_jj_call *c)
{
	if (!bt_jj_iterable(c->arg[0])) return bt_jj_fail(r, "TypeError", "can only join an iterable");
	return bt_jj_join(r, c->self, c->arg[0], true);
}

static struct bt_jj_val partition(struct bt_jj *r, struct bt_jj_call *c, bool right)
{
	const struct bt_jj_str *s = c->self.s, *sep = str_arg(r, c, 0);
	struct bt_jj_list *l = sep ? bt_jj_list_new(r, 3) : NULL;
	if (!l || !bt_jj_charge(r, s->len / 16 * (1 + sep->len / 64))) return bt_jj_failed();
	if (!sep->len) return bt_jj_fail(r, "ValueError", "empty separator");
	const char *p = memmem(s->s, s->len, sep->s, sep->len);
	size_t at = right ? find_last(s, 0, s->len, sep) : p ? (size_t)(p - s->s) : SIZE_MAX;
	size_t a = at == SIZE_MAX ? (right ? 0 : s->len) : at, b = at == SIZE_MAX ? a : at + sep->len;
	if (!add_part(r, c, l, 0, a) || !add_part(r, c, l, a, b) || !add_part(r, c, l, b, s->len))
		return bt_jj_failed();
	return bt_jj_of_tuple(l);
}

static struct bt_jj_val str_partition(struct bt_jj *r, struct bt_jj_call *c)
{
	return partition(r, c, false);
}

static struct bt_jj_val str_rpartition(struct bt_jj *r, struct bt_jj_call *c)
{
	return partition(r, c, true);
}

static struct bt_jj_val justify(struct bt_jj *r, struct bt_jj_call *c, char align)
{
	int64_t width;
	uint32_t fill = ' ';
	if (!bt_jj_arg_index(r, c->arg[0], 0, &width)) return bt_jj_failed();
	if (c->arg[1].type != BT_JJ_MISSING) {
		const struct bt_jj_str *f = str_arg(r, c, 1);
		if (!f) return bt_jj_failed();
		if (f->n != 1)
			return bt_jj_fail(r, "TypeError", "The fill character must be exactly one character long");
		bt_jj_utf8_get(f->s, f->len, &fill);
	}
	return like_self(c, bt_jj_justify(r, c->self.s, width, fill, align));
}

static struct bt_jj_val str_ljust(struct bt_jj *r, struct bt_jj_call *c)
{
	return justify(r, c, '<');
}

static struct bt_jj_val str_rjust(struct bt_jj *r, struct bt_jj_call *c)
{
	return justify(r, c, '>');
}

static struct bt_jj_val str_center(struct bt_jj *r, struct bt_jj_call *c)
{
	return justify(r, c, '^');
}

static struct bt_jj_val str_zfill(struct bt_jj *r, struct bt_jj_call *c)
{
	int64_t width;
	const struct bt_jj_str *s = c->self.s;
	if (!bt_jj_arg_index(r, c->arg[0], 0, &width)) return bt_jj_failed();
	if (width <= 0 || (size_t)width <= s->n) return c->self;
	struct bt_jj_sb b = bt_jj_sb(r);
	size_t sign = s->len && (s->s[0] == '-' || s->s[0] == '+');
	bt_jj_sb_add(&b, s->s, sign);
	bt_jj_sb_fill(&b, '0', (size_t)width - s->n);
	bt_jj_sb_add(&b, s->s + sign, s->len - sign);
	return like_self(c, bt_jj_sb_done(&b));
}

static struct bt_jj_val str_expandtabs(struct bt_jj *r, struct bt_jj_call *c)
{
	int64_t size, column = 0;
	const struct bt_jj_str *s = c->self.s;
	if (!bt_jj_arg_index(r, c->arg[0], 8, &size) || !bt_jj_charge(r, s->len / 8)) return bt_jj_failed();
	struct bt_jj_sb b = bt_jj_sb(r);
	for (size_t i = 0; i < s->len && !b.failed;) {
		uint32_t cp;
		size_t n = bt_jj_utf8_get(s->s + i, s->len - i, &cp);
		if (cp == '\t') {
			int64_t fill = size > 0 ? size - column % size : 0;
			bt_jj_sb_fill(&b, ' ', (size_t)fill);
			column += fill;
		} else {
			bt_jj_sb_add(&b, s->s + i, n);
			column = cp == '\n' || cp == '\r' ? 0 : column + 1;
		}
		i += n;
	}
	return like_self(c, bt_jj_sb_done(&b));
}

/* Every character passes; empty decides for "". */
static struct bt_jj_val all(const struct bt_jj_call *c, bool (*good)(uint32_t), bool empty)
{
	const struct bt_jj_str *s = c->self.s;
	for (size_t i = 0; i < s->len;) {
		uint32_t cp;
		i += bt_jj_utf8_get(s->s + i, s->len - i, &cp);
		if (!good(cp)) return bt_jj_bool(false);
	}
	return bt_jj_bool(s->len || empty);
}

#define ALL(name, good, empty)                                                                     \
	static struct bt_jj_val name(struct bt_jj *r, struct bt_jj_call *c)                        \
	{                                                                                          \
		return bt_jj_charge(r, c->self.s->len / 4) ? all(c, good, empty) : bt_jj_failed(); \
	}
ALL(str_isalnum, bt_jj_is_alnum, false)
ALL(str_isalpha, bt_jj_is_alpha, false)
ALL(str_isdecimal, bt_jj_is_decimal, false)
ALL(str_isdigit, bt_jj_is_digit, false)
ALL(str_isnumeric, bt_jj_is_numeric, false)
ALL(str_isspace, bt_jj_is_space, false)
ALL(str_isprintable, bt_jj_is_printable, true)

static struct bt_jj_val str_isascii(struct bt_jj *r, struct bt_jj_call *c)
{
	(void)r;
	return bt_jj_bool(c->self.s->n == c->self.s->len);
}

static struct bt_jj_val str_isidentifier(struct bt_jj *r, struct bt_jj_call *c)
{
	if (!bt_jj_charge(r, c->self.s->len / 4)) return bt_jj_failed();
	const struct bt_jj_str *s = c->self.s;
	for (size_t i = 0; i < s->len;) {
		uint32_t cp;
		size_t n = bt_jj_utf8_get(s->s + i, s->len - i, &cp);
		if (!bt_jj_is_ident(cp, i == 0)) return bt_jj_bool(false);
		i += n;
	}
	return bt_jj_bool(s->len > 0);
}

static struct bt_jj_val str_islower(struct bt_jj *r, struct bt_jj_call *c)
{
	if (!bt_jj_charge(r, c->self.s->len / 4)) return bt_jj_failed();
	return bt_jj_bool(bt_jj_is_lower_text(c->self.s));
}

static struct bt_jj_val str_isupper(struct bt_jj *r, struct bt_jj_call *c)
{
	if (!bt_jj_charge(r, c->self.s->len / 4)) return bt_jj_failed();
	return bt_jj_bool(bt_jj_is_upper_text(c->self.s));
}

static struct bt_jj_val str_istitle(struct bt_jj *r, struct bt_jj_call *c)
{
	if (!bt_jj_charge(r, c->self.s->len / 4)) return bt_jj_failed();
	const struct bt_jj_str *s = c->self.s;
	bool after_cased = false, any = false;
	for (size_t i = 0; i < s->len;) {
		uint32_t cp;
		i += bt_jj_utf8_get(s->s + i, s->len - i, &cp);
		bool big = bt_jj_is_upper(cp) || bt_jj_is_title(cp), small = bt_jj_is_lower(cp);
		if ((big && after_cased) || (small && !after_cased)) return bt_jj_bool(false);
		any |= big || small;
		after_cased = big || small;
	}
	return bt_jj_bool(any);
}

static struct bt_jj_val str_format(struct bt_jj *r, struct bt_jj_call *c)
{
	return bt_jj_format_braces(r, c->self, &c->rest);
}

static struct bt_jj_val str_format_map(struct bt_jj *r, struct bt_jj_call *c)
{
	struct bt_jj_val d = c->arg[0];
	if (d.type != BT_JJ_DICT) return bt_jj_fail(r, "TypeError", "format_map() argument must be a dict");
	struct bt_jj_arg *v = bt_jj_alloc_array(r, d.dict->n + 1, sizeof *v);
	struct bt_jj_args args = {.v = v};
	if (!v) return bt_jj_failed();
	for (size_t i = 0; i < d.dict->n; i++)
		if (d.dict->e[i].key.type == BT_JJ_STR)
			v[args.n++] = (struct bt_jj_arg){.name = d.dict->e[i].key, .val = d.dict->e[i].val};
	return bt_jj_format_braces(r, c->self, &args);
}

/* bytes and translation tables are no values that a template can print. */
static struct bt_jj_val str_unsupported(struct bt_jj *r, struct bt_jj_call *c)
{
	return bt_jj_fail(r, "TypeError", "str.%s() is not supported here", c->func->name);
}

#define ROW(name, params)                                     \
	{                                                     \
		{#name, params, str_##name}, BT_JJ_METHOD_ROW \
	}
#define NO(name)                                                   \
	{                                                          \
		{#name, "*,**", str_unsupported}, BT_JJ_METHOD_ROW \
	}
static const struct bt_jj_member rows[] = {
	ROW(capitalize, ""),
	ROW(casefold, ""),
	ROW(center, "width,fillchar="),
	ROW(count, "sub,start=,end="),
	NO(encode),
	ROW(endswith, "suffix,start=,end="),
	ROW(expandtabs, "tabsize="),
	ROW(find, "sub,start=,end="),
	ROW(format, "*,**"),
	ROW(format_map, "mapping"),
	ROW(index, "sub,start=,end="),
	ROW(isalnum, ""),
	ROW(isalpha, ""),
	ROW(isascii, ""),
	ROW(isdecimal, ""),
	ROW(isdigit, ""),
	ROW(isidentifier, ""),
	ROW(islower, ""),
	ROW(isnumeric, ""),
	ROW(isprintable, ""),
	ROW(isspace, ""),
	ROW(istitle, ""),
	ROW(isupper, ""),
	ROW(join, "iterable"),
	ROW(ljust, "width,fillchar="),
	ROW(lower, ""),
	ROW(lstrip, "chars="),
	NO(maketrans),
	ROW(partition, "sep"),
	ROW(removeprefix, "prefix"),
	ROW(removesuffix, "suffix"),
	ROW(replace, "old,new,count="),
	ROW(rfind, "sub,start=,end="),
	ROW(rindex, "sub,start=,end="),
	ROW(rjust, "width,fillchar="),
	ROW(rpartition, "sep"),
	ROW(rsplit, "sep=,maxsplit="),
	ROW(rstrip, "chars="),
	ROW(split, "sep=,maxsplit="),
	ROW(splitlines, "keepends="),
	ROW(startswith, "prefix,start=,end="),
	ROW(strip, "chars="),
	ROW(swapcase, ""),
	ROW(title, ""),
	NO(translate),
	ROW(upper, ""),
	ROW(zfill, "width"),
};
const struct bt_jj_members bt_jj_str_members = {rows, sizeof rows / sizeof *rows};
