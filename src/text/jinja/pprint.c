/* pprint.c: |pprint, Python's pprint.pformat: what does not fit into 80 columns is broken, one element a line; the keys
 * of dicts are sorted, long texts are cut into several literals. */
#include "text/jinja/filters.h"
#include "text/jinja/sort.h"

#define WIDTH 80

/* Where something is printed: columns in front of it and to be left free behind it; level 1 is the whole. */
struct place {
	size_t indent, allowance, level;
};

static void pretty(struct bt_jj_sb *b, struct bt_jj_val v, struct place at);

/* A dict with sorted keys; keys without an order stay as they are. */
static struct bt_jj_val sorted(struct bt_jj *r, struct bt_jj_val v)
{
	if (v.type != BT_JJ_DICT && v.type != BT_JJ_LIST && v.type != BT_JJ_TUPLE) return v;
	if (!bt_jj_enter(r)) return bt_jj_failed();
	struct bt_jj_val out = bt_jj_failed();
	if (v.type == BT_JJ_DICT) {
		const struct bt_jj_list *keys = bt_jj_sorted_keys(r, v.dict);
		if (!keys && !bt_jj_forgive(r)) goto done;
		struct bt_jj_dict *d = bt_jj_dict_new(r, v.dict->n);
		for (size_t i = 0; d && i < v.dict->n; i++) {
			struct bt_jj_val key = keys ? keys->v[i] : v.dict->e[i].key;
			struct bt_jj_val val = bt_jj_dict_get(r, v.dict, key);
			if (!bt_jj_dict_set(r, d, key, sorted(r, val))) goto done;
		}
		if (d) out = bt_jj_of_dict(d);
	} else {
		struct bt_jj_list *l = bt_jj_list_new(r, v.list->n);
		for (size_t i = 0; l && i < v.list->n; i++)
			if (!bt_jj_list_add(r, l, sorted(r, v.list->v[i]))) goto done;
		if (l) out = v.type == BT_JJ_LIST ? bt_jj_of_list(l) : bt_jj_of_tuple(l);
	}
done:
	bt_jj_leave(r);
	return out;
}

static void new_line(struct bt_jj_sb *b, size_t indent)
{
	bt_jj_sb_adds(b, ",\n");
	bt_jj_sb_fill(b, ' ', indent);
}

static void pretty_dict(struct bt_jj_sb *b, const struct bt_jj_dict *d, struct place at)
{
	bt_jj_sb_addc(b, '{');
	for (size_t i = 0; i < d->n && !b->failed; i++) {
		if (i) new_line(b, at.indent + 1);
		struct bt_jj_val key = bt_jj_repr(b->r, d->e[i].key);
		if (bt_jj_is_fail(key)) {
			b->failed = true;
			return;
		}
		bt_jj_sb_str(b, key.s);
		bt_jj_sb_adds(b, ": ");
		struct place in = {.indent = at.indent + key.s->n + 3,
		                   .allowance = i + 1 == d->n ? at.allowance + 1 : 1,
		                   .level = at.level + 1};
		pretty(b, d->e[i].val, in);
	}
	bt_jj_sb_addc(b, '}');
}

static void pretty_list(struct bt_jj_sb *b, struct bt_jj_val v, struct place at)
{
	bool tuple = v.type == BT_JJ_TUPLE;
	const char *close = !tuple ? "]" : v.list->n == 1 ? ",)" : ")";
	bt_jj_sb_addc(b, tuple ? '(' : '[');
	for (size_t i = 0; i < v.list->n && !b->failed; i++) {
		if (i) new_line(b, at.indent + 1);
		struct place in = {.indent = at.indent + 1,
		                   .allowance = i + 1 == v.list->n ? at.allowance + strlen(close) : 1,
		                   .level = at.level + 1};
		pretty(b, v.list->v[i], in);
	}
	bt_jj_sb_adds(b, close);
}

/* repr of text[from, to) as one of the literals. */
static struct bt_jj_val literal(struct bt_jj *r, const char *s, size_t len)
{
	struct bt_jj_val text = bt_jj_text_ref(r, s, len);
	return bt_jj_is_fail(text) ? text : bt_jj_repr(r, text);
}

/* The end of the word at s[i] and the white space behind it. */
static size_t part_end(const struct bt_jj_str *s, size_t i)
{
	bool space = false;
	uint32_t cp;
	for (size_t n; i < s->len; i += n) {
		n = bt_jj_utf8_get(s->s + i, s->len - i, &cp);
		if (bt_jj_is_space(cp)) space = true;
		else if (space) break;
	}
	return i;
}

/* A line that does not fit, cut between words; literals go to out. last: of the text, so `allowance` is to be left. */
static bool cut_line(struct bt_jj *r, const struct bt_jj_str *s, size_t width, size_t allowance, bool last,
                     struct bt_jj_list *out)
{
	struct bt_jj_val rep = bt_jj_missing();
	for (size_t i = 0, from = 0; i < s->len;) {
		size_t to = part_end(s, i);
		if (last && to == s->len) width -= allowance < width ? allowance : width;
		struct bt_jj_val longer = literal(r, s->s + from, to - from);
		if (bt_jj_is_fail(longer)) return false;
		if (longer.s->n > width) {
			if (from < i && !bt_jj_list_add(r, out, rep)) return false;
			from = i;
			longer = literal(r, s->s + from, to - from);
		}
		rep = longer;
		i = to;
	}
	return bt_jj_list_add(r, out, rep);
}

/* A text too long for its place: the literals of its lines below each other, in parentheses when it is the whole. */
static void pretty_str(struct bt_jj_sb *b, const struct bt_jj_str *s, struct place at)
{
	struct bt_jj *r = b->r;
	struct bt_jj_list *lines = bt_jj_splitlines(r, s, true), *out = bt_jj_list_new(r, 0);
	bool whole = at.level == 1;
	if (whole) at.indent++, at.allowance++;
	size_t width = at.indent < WIDTH ? WIDTH - at.indent : 0;
	if (!lines || !out) {
		b->failed = true;
		return;
	}
	for (size_t i = 0; i < lines->n; i++) {
		bool last = i + 1 == lines->n;
		size_t room = last ? width - (at.allowance < width ? at.allowance : width) : width;
		struct bt_jj_val rep = bt_jj_repr(r, lines->v[i]);
		if (bt_jj_is_fail(rep)) break;
		if (rep.s->n <= room) bt_jj_list_add(r, out, rep);
		else if (!cut_line(r, lines->v[i].s, width, at.allowance, last, out)) break;
	}
	if (r->err.status) {
		b->failed = true;
		return;
	}
	bool several = out->n > 1;
	if (several && whole) bt_jj_sb_addc(b, '(');
	for (size_t i = 0; i < out->n; i++) {
		if (i) bt_jj_sb_addc(b, '\n');
		if (i) bt_jj_sb_fill(b, ' ', at.indent);
		bt_jj_sb_str(b, out->v[i].s);
	}
	if (several && whole) bt_jj_sb_addc(b, ')');
}

static void pretty(struct bt_jj_sb *b, struct bt_jj_val v, struct place at)
{
	struct bt_jj_val text = b->failed ? bt_jj_failed() : bt_jj_repr(b->r, v);
	if (bt_jj_is_fail(text) || !bt_jj_enter(b->r)) {
		b->failed = true;
		return;
	}
	bool fits = text.s->n + at.indent + at.allowance <= WIDTH, list = v.type == BT_JJ_LIST || v.type == BT_JJ_TUPLE;
	if (!fits && v.type == BT_JJ_DICT && v.dict->n) pretty_dict(b, v.dict, at);
	else if (!fits && list && v.list->n) pretty_list(b, v, at);
	else if (!fits && v.type == BT_JJ_STR && !v.markup && v.s->n) pretty_str(b, v.s, at);
	else bt_jj_sb_str(b, text.s);
	bt_jj_leave(b->r);
}

struct bt_jj_val bt_jj_filter_pprint(struct bt_jj *r, struct bt_jj_call *c)
{
	struct bt_jj_val v = sorted(r, c->self);
	struct bt_jj_sb b = bt_jj_sb(r);
	if (bt_jj_is_fail(v)) return v;
	pretty(&b, v, (struct place){.level = 1});
	return bt_jj_sb_done(&b);
}
