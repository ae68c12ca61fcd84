/* markup.c: HTML escaping, as the library behind jinja2 (MarkupSafe) does it. */
#include "text/jinja/interp.h"

struct bt_jj_val bt_jj_mark(struct bt_jj_val v)
{
	if (v.type == BT_JJ_STR) v.markup = true;
	return v;
}

struct bt_jj_val bt_jj_escape(struct bt_jj *r, struct bt_jj_val v)
{
	if (v.type == BT_JJ_STR && v.markup) return v;
	v = bt_jj_to_str(r, v);
	if (bt_jj_is_fail(v) || !bt_jj_charge(r, v.s->len / 16)) return bt_jj_failed();
	struct bt_jj_sb b = bt_jj_sb(r);
	size_t from = 0;
	for (size_t i = 0; i < v.s->len; i++) {
		const char *e;
		switch (v.s->s[i]) {
		case '&': e = "&amp;"; break;
		case '<': e = "&lt;"; break;
		case '>': e = "&gt;"; break;
		case '\'': e = "&#39;"; break;
		case '"': e = "&#34;"; break;
		default: continue;
		}
		bt_jj_sb_add(&b, v.s->s + from, i - from);
		bt_jj_sb_adds(&b, e);
		from = i + 1;
	}
	if (!from) return bt_jj_mark(v);
	bt_jj_sb_add(&b, v.s->s + from, v.s->len - from);
	return bt_jj_mark(bt_jj_sb_done(&b));
}
