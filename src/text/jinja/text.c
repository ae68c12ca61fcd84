#include "text/jinja/text.h"

static bool in_set(uint32_t cp, const struct bt_jj_str *chars)
{
	if (!chars) return bt_jj_is_space(cp);
	for (size_t i = 0; i < chars->len;) {
		uint32_t c;
		i += bt_jj_utf8_get(chars->s + i, chars->len - i, &c);
		if (c == cp) return true;
	}
	return false;
}

struct bt_jj_val bt_jj_strip(struct bt_jj *r, const struct bt_jj_str *s, const struct bt_jj_str *chars,
                             enum bt_jj_sides sides)
{
	size_t from = 0, to = s->len, work = 0, each = 1 + (chars ? chars->len : 0);
	uint32_t cp;
	while (sides & BT_JJ_LEFT && from < to) {
		size_t n = bt_jj_utf8_get(s->s + from, to - from, &cp);
		if (!in_set(cp, chars)) break;
		from += n;
		if (!bt_jj_charge(r, (work += each) / 8)) return bt_jj_failed();
		work %= 8;
	}
	while (sides & BT_JJ_RIGHT && to > from) {
		size_t at = bt_jj_utf8_back(s->s, to);
		bt_jj_utf8_get(s->s + at, to - at, &cp);
		if (!in_set(cp, chars)) break;
		to = at;
		if (!bt_jj_charge(r, (work += each) / 8)) return bt_jj_failed();
		work %= 8;
	}
	return from == 0 && to == s->len ? bt_jj_of_str(s) : bt_jj_text_ref(r, s->s + from, to - from);
}

/* Python lowers a sigma at the end of a word to its final form: a cased character before it, none after it, characters
 * that are ignored for casing skipped. */
static bool final_sigma(const struct bt_jj_str *s, size_t at, size_t after)
{
	uint32_t cp;
	size_t i = at;
	while (i) {
		i = bt_jj_utf8_back(s->s, i);
		bt_jj_utf8_get(s->s + i, s->len - i, &cp);
		if (bt_jj_is_case_ignorable(cp) && i) continue;
		if (!bt_jj_is_cased(cp)) return false;
		break;
	}
	if (at == 0 || !bt_jj_is_cased(cp)) return false;
	for (i = after; i < s->len;) {
		i += bt_jj_utf8_get(s->s + i, s->len - i, &cp);
		if (bt_jj_is_case_ignorable(cp)) continue;
		return !bt_jj_is_cased(cp);
	}
	return true;
}

static enum bt_jj_case case_of(enum bt_jj_recase to, uint32_t cp, bool first, bool after_cased)
{
	switch (to) {
	case BT_JJ_TO_UPPER: return BT_JJ_UPPER;
	case BT_JJ_TO_TITLE: return after_cased ? BT_JJ_LOWER : BT_JJ_TITLE;
	case BT_JJ_TO_CAPITAL: return first ? BT_JJ_TITLE : BT_JJ_LOWER;
	case BT_JJ_TO_SWAPPED: return bt_jj_is_upper(cp) ? BT_JJ_LOWER : bt_jj_is_lower(cp) ? BT_JJ_UPPER : BT_JJ_FOLD;
	case BT_JJ_TO_FOLDED: return BT_JJ_FOLD;
	case BT_JJ_TO_LOWER: break;
	}
	return BT_JJ_LOWER;
}

struct bt_jj_val bt_jj_recase(struct bt_jj *r, const struct bt_jj_str *s, enum bt_jj_recase to)
{
	struct bt_jj_sb b = bt_jj_sb(r);
	bool after_cased = false;
	size_t sigmas = 0;
	if (!bt_jj_charge(r, s->len / 8)) return bt_jj_failed();
	for (size_t i = 0; i < s->len && !b.failed;) {
		uint32_t cp, out[3];
		size_t len = bt_jj_utf8_get(s->s + i, s->len - i, &cp), n;
		enum bt_jj_case c = case_of(to, cp, i == 0, after_cased);
		if (to == BT_JJ_TO_SWAPPED && c == BT_JJ_FOLD)
			out[0] = cp, n = 1; /* neither upper nor lower: as it is */
		else if (cp == 0x3A3 && c == BT_JJ_LOWER && !(to == BT_JJ_TO_TITLE && !after_cased)) {
			/* looks both ways, so it costs what it may look at */
			if (++sigmas % 64 == 0 && !bt_jj_charge(r, s->len / 64)) return bt_jj_failed();
			out[0] = final_sigma(s, i, i + len) ? 0x3C2 : 0x3C3;
			n = 1;
		} else n = bt_jj_map_case(c, cp, out);
		for (size_t k = 0; k < n; k++) bt_jj_sb_cp(&b, out[k]);
		after_cased = cp < 0x80 ? (cp | 32) >= 'a' && (cp | 32) <= 'z'
		                        : to == BT_JJ_TO_TITLE && bt_jj_is_cased(cp);
		i += len;
	}
	return bt_jj_sb_done(&b);
}

struct bt_jj_val bt_jj_replace(struct bt_jj *r, const struct bt_jj_str *s, const struct bt_jj_str *old,
                               const struct bt_jj_str *new, int64_t count)
{
	struct bt_jj_sb b = bt_jj_sb(r);
	size_t at = 0;
	if (!bt_jj_charge_bytes(r, s->len)) return bt_jj_failed();
	if (!old->len) { /* between all characters, and at both ends */
		while (count && !b.failed) {
			uint32_t cp;
			bt_jj_sb_str(&b, new);
			if (count > 0) count--;
			if (at >= s->len || !bt_jj_charge(r, 1)) break;
			size_t n = bt_jj_utf8_get(s->s + at, s->len - at, &cp);
			bt_jj_sb_add(&b, s->s + at, n);
			at += n;
		}
	} else {
		while (count && at < s->len && !b.failed) {
			const char *p = memmem(s->s + at, s->len - at, old->s, old->len);
			if (!p || !bt_jj_charge(r, 1)) break;
			bt_jj_sb_add(&b, s->s + at, (size_t)(p - s->s) - at);
			bt_jj_sb_str(&b, new);
			at = (size_t)(p - s->s) + old->len;
			if (count > 0) count--;
		}
		if (!at) return bt_jj_of_str(s);
	}
	bt_jj_sb_add(&b, s->s + at, s->len - at);
	return bt_jj_sb_done(&b);
}

struct bt_jj_list *bt_jj_splitlines(struct bt_jj *r, const struct bt_jj_str *s, bool keep)
{
	struct bt_jj_list *l = bt_jj_charge(r, s->len / 8) ? bt_jj_list_new(r, 0) : NULL;
	size_t from = 0;
	for (size_t i = 0; l && i < s->len;) {
		uint32_t cp;
		size_t end = i;
		i += bt_jj_utf8_get(s->s + i, s->len - i, &cp);
		if (!bt_jj_is_line_end(cp)) continue;
		if (cp == '\r' && i < s->len && s->s[i] == '\n') i++;
		if (!bt_jj_charge(r, 1) ||
		    !bt_jj_list_add(r, l, bt_jj_text_ref(r, s->s + from, (keep ? i : end) - from)))
			return NULL;
		from = i;
	}
	if (l && from < s->len && !bt_jj_list_add(r, l, bt_jj_text_ref(r, s->s + from, s->len - from))) return NULL;
	return l;
}

struct bt_jj_val bt_jj_justify(struct bt_jj *r, const struct bt_jj_str *s, int64_t width, uint32_t fill, char align)
{
	if (width <= 0 || (size_t)width <= s->n) return bt_jj_of_str(s);
	size_t pad = (size_t)width - s->n, left = align == '>'   ? pad
	                                          : align == '<' ? 0
	                                                         : pad / 2 + (pad & (size_t)width & 1);
	struct bt_jj_sb b = bt_jj_sb(r);
	bt_jj_sb_fill(&b, fill, left);
	bt_jj_sb_str(&b, s);
	bt_jj_sb_fill(&b, fill, pad - left);
	return bt_jj_sb_done(&b);
}

struct bt_jj_val bt_jj_join(struct bt_jj *r, struct bt_jj_val sep, struct bt_jj_val items, bool strict)
{
	struct bt_jj_sb b = bt_jj_sb(r);
	struct bt_jj_iter it;
	struct bt_jj_val v;
	enum bt_jj_step step;
	size_t i = 0;
	if (!bt_jj_iter_open(r, items, &it)) return bt_jj_failed();
	for (; (step = bt_jj_iter_next(r, &it, &v)) == BT_JJ_ITEM && !b.failed; i++) {
		if (i) bt_jj_sb_str(&b, sep.s);
		if (sep.markup) v = bt_jj_escape(r, v);
		else if (strict && v.type != BT_JJ_STR)
			return bt_jj_fail(r, "TypeError", "sequence item %zu: expected str instance, %s found", i,
			                  bt_jj_type_name(v));
		if (bt_jj_is_fail(v)) return v;
		bt_jj_sb_val(&b, v);
	}
	if (step == BT_JJ_BROKEN) return bt_jj_failed();
	v = bt_jj_sb_done(&b);
	return sep.markup ? bt_jj_mark(v) : v;
}

/* All cased characters pass, and there is one. */
static bool all_cased(const struct bt_jj_str *s, bool (*good)(uint32_t))
{
	bool any = false;
	for (size_t i = 0; i < s->len;) {
		uint32_t cp;
		i += bt_jj_utf8_get(s->s + i, s->len - i, &cp);
		if (good(cp)) any = true;
		else if (bt_jj_is_cased(cp)) return false;
	}
	return any;
}

bool bt_jj_is_lower_text(const struct bt_jj_str *s)
{
	return all_cased(s, bt_jj_is_lower);
}

bool bt_jj_is_upper_text(const struct bt_jj_str *s)
{
	return all_cased(s, bt_jj_is_upper);
}
