/* repr.c: str() and repr() of every type. */
#include "text/jinja/exec.h"
#include "text/jinja/interp.h"
#include "text/jinja/number_text.h"
#include "text/jinja/unicode.h"

/* The containers that are being printed, innermost first: one that meets itself prints as "...". */
struct ring {
	const struct ring *up;
	const void *p;
};

static bool open_already(const struct ring *ring, const void *p)
{
	for (; ring; ring = ring->up)
		if (ring->p == p) return true;
	return false;
}

static void repr(struct bt_jj_sb *b, struct bt_jj_val v, const struct ring *ring);

static void escape_char(struct bt_jj_sb *b, uint32_t cp)
{
	static const char hex[] = "0123456789abcdef";
	int digits = cp > 0xFFFF ? 8 : cp > 0xFF ? 4 : 2;
	bt_jj_sb_adds(b, digits == 8 ? "\\U" : digits == 4 ? "\\u" : "\\x");
	while (digits--) bt_jj_sb_addc(b, hex[cp >> 4 * digits & 15]);
}

static void repr_str(struct bt_jj_sb *b, const struct bt_jj_str *s)
{
	bool single = s->len && memchr(s->s, '\'', s->len), dbl = s->len && memchr(s->s, '"', s->len);
	char quote = single && !dbl ? '"' : '\'';
	bt_jj_sb_addc(b, quote);
	b->failed |= !bt_jj_charge(b->r, s->len / 8);
	for (size_t i = 0; i < s->len && !b->failed;) {
		uint32_t cp;
		size_t n = bt_jj_utf8_get(s->s + i, s->len - i, &cp);
		if (cp == (unsigned char)quote || cp == '\\') {
			bt_jj_sb_addc(b, '\\');
			bt_jj_sb_addc(b, (char)cp);
		} else if (cp == '\n') bt_jj_sb_adds(b, "\\n");
		else if (cp == '\r') bt_jj_sb_adds(b, "\\r");
		else if (cp == '\t') bt_jj_sb_adds(b, "\\t");
		else if (bt_jj_is_printable(cp)) bt_jj_sb_add(b, s->s + i, n);
		else escape_char(b, cp);
		i += n;
	}
	bt_jj_sb_addc(b, quote);
}

static void repr_items(struct bt_jj_sb *b, const struct bt_jj_list *l, const struct ring *ring)
{
	for (size_t i = 0; i < l->n && !b->failed; i++) {
		if (i) bt_jj_sb_adds(b, ", ");
		repr(b, l->v[i], ring);
	}
}

static void repr_dict(struct bt_jj_sb *b, const struct bt_jj_dict *d, const struct ring *up)
{
	struct ring ring = {up, d};
	if (open_already(up, d)) {
		bt_jj_sb_adds(b, "{...}");
		return;
	}
	bt_jj_sb_addc(b, '{');
	for (size_t i = 0; i < d->n && !b->failed; i++) {
		if (i) bt_jj_sb_adds(b, ", ");
		repr(b, d->e[i].key, &ring);
		bt_jj_sb_adds(b, ": ");
		repr(b, d->e[i].val, &ring);
	}
	bt_jj_sb_addc(b, '}');
}

static void repr_sequence(struct bt_jj_sb *b, struct bt_jj_val v, const struct ring *up)
{
	struct ring ring = {up, v.list};
	bool tuple = v.type == BT_JJ_TUPLE;
	if (open_already(up, v.list)) {
		bt_jj_sb_adds(b, tuple ? "(...)" : "[...]");
		return;
	}
	bt_jj_sb_addc(b, tuple ? '(' : '[');
	repr_items(b, v.list, &ring);
	bt_jj_sb_adds(b, !tuple ? "]" : v.list->n == 1 ? ",)" : ")");
}

static void repr_view(struct bt_jj_sb *b, struct bt_jj_val v, const struct ring *up)
{
	const struct bt_jj_dict *d = v.view->dict;
	struct ring ring = {up, d};
	if (open_already(up, d)) {
		bt_jj_sb_adds(b, "...");
		return;
	}
	bt_jj_sb_adds(b, bt_jj_type_name(v));
	bt_jj_sb_adds(b, "([");
	for (size_t i = 0; i < d->n && !b->failed; i++) {
		if (i) bt_jj_sb_adds(b, ", ");
		if (v.view->kind == BT_JJ_ITEMS) bt_jj_sb_addc(b, '(');
		if (v.view->kind != BT_JJ_VALUES) repr(b, d->e[i].key, &ring);
		if (v.view->kind == BT_JJ_ITEMS) bt_jj_sb_adds(b, ", ");
		if (v.view->kind != BT_JJ_KEYS) repr(b, d->e[i].val, &ring);
		if (v.view->kind == BT_JJ_ITEMS) bt_jj_sb_addc(b, ')');
	}
	bt_jj_sb_adds(b, "])");
}

static void repr_number(struct bt_jj_sb *b, struct bt_jj_val v)
{
	if (v.type == BT_JJ_FLOAT) {
		char buf[BT_JJ_FLOAT_TEXT];
		bt_jj_sb_add(b, buf, bt_jj_float_repr(v.f, buf));
		return;
	}
	struct bt_jj_val text = bt_jj_int_text(b->r, v, 10);
	if (bt_jj_is_fail(text)) b->failed = true;
	else bt_jj_sb_str(b, text.s);
}

/* Objects that Python prints with an address or another accident. */
static void repr_object(struct bt_jj_sb *b, struct bt_jj_val v)
{
	struct bt_jj *r = b->r;
	struct bt_jj_val text;
	if (v.type == BT_JJ_RANGE && v.range->step == 1)
		text = bt_jj_textf(r, "range(%lld, %lld)", (long long)v.range->start, (long long)v.range->stop);
	else if (v.type == BT_JJ_RANGE)
		text = bt_jj_textf(r, "range(%lld, %lld, %lld)", (long long)v.range->start, (long long)v.range->stop,
		                   (long long)v.range->step);
	else if (v.type == BT_JJ_MACRO) text = bt_jj_macro_text(r, v.macro);
	else if (v.type == BT_JJ_LOOP) text = bt_jj_loop_text(r, v.loop);
	else if (v.type == BT_JJ_FUNC) text = bt_jj_textf(r, "<function %s>", v.func->name);
	else if (v.type == BT_JJ_METHOD)
		text = bt_jj_textf(r, "<built-in method %s of %s object>", v.method->func->name,
		                   bt_jj_type_name(v.method->self));
	else text = bt_jj_textf(r, "<%s object>", bt_jj_type_name(v));
	if (bt_jj_is_fail(text)) b->failed = true;
	else bt_jj_sb_str(b, text.s);
}

static void repr_inner(struct bt_jj_sb *b, struct bt_jj_val v, const struct ring *ring)
{
	switch (v.type) {
	case BT_JJ_FAIL: b->failed = true; return;
	case BT_JJ_NONE: bt_jj_sb_adds(b, "None"); return;
	case BT_JJ_UNDEFINED: bt_jj_sb_adds(b, "Undefined"); return;
	case BT_JJ_BOOL: bt_jj_sb_adds(b, v.b ? "True" : "False"); return;
	case BT_JJ_INT:
	case BT_JJ_BIG:
	case BT_JJ_FLOAT: repr_number(b, v); return;
	case BT_JJ_STR:
		if (v.markup) bt_jj_sb_adds(b, "Markup(");
		repr_str(b, v.s);
		if (v.markup) bt_jj_sb_addc(b, ')');
		return;
	case BT_JJ_LIST:
	case BT_JJ_TUPLE: repr_sequence(b, v, ring); return;
	case BT_JJ_DICT: repr_dict(b, v.dict, ring); return;
	case BT_JJ_VIEW: repr_view(b, v, ring); return;
	case BT_JJ_NAMESPACE:
		bt_jj_sb_adds(b, "<Namespace ");
		repr_dict(b, &v.ns->attrs, ring);
		bt_jj_sb_addc(b, '>');
		return;
	case BT_JJ_SLICE:
		bt_jj_sb_adds(b, "slice(");
		repr(b, v.slice->start, ring);
		bt_jj_sb_adds(b, ", ");
		repr(b, v.slice->stop, ring);
		bt_jj_sb_adds(b, ", ");
		repr(b, v.slice->step, ring);
		bt_jj_sb_addc(b, ')');
		return;
	default: repr_object(b, v);
	}
}

static void repr(struct bt_jj_sb *b, struct bt_jj_val v, const struct ring *ring)
{
	if (b->failed || !bt_jj_charge(b->r, 1) || !bt_jj_enter(b->r)) {
		b->failed = true;
		return;
	}
	repr_inner(b, v, ring);
	bt_jj_leave(b->r);
}

void bt_jj_sb_repr(struct bt_jj_sb *b, struct bt_jj_val v)
{
	repr(b, v, NULL);
}

void bt_jj_sb_val(struct bt_jj_sb *b, struct bt_jj_val v)
{
	if (v.type == BT_JJ_STR) bt_jj_sb_str(b, v.s);
	else if (v.type != BT_JJ_UNDEFINED) repr(b, v, NULL);
}

struct bt_jj_val bt_jj_repr(struct bt_jj *r, struct bt_jj_val v)
{
	struct bt_jj_sb b = bt_jj_sb(r);
	repr(&b, v, NULL);
	return bt_jj_sb_done(&b);
}

struct bt_jj_val bt_jj_ascii(struct bt_jj *r, struct bt_jj_val v)
{
	struct bt_jj_val text = bt_jj_repr(r, v);
	if (bt_jj_is_fail(text) || text.s->len == text.s->n) return text;
	struct bt_jj_sb b = bt_jj_sb(r);
	for (size_t i = 0; i < text.s->len && !b.failed;) {
		uint32_t cp;
		i += bt_jj_utf8_get(text.s->s + i, text.s->len - i, &cp);
		if (cp < 0x80) bt_jj_sb_addc(&b, (char)cp);
		else escape_char(&b, cp);
	}
	return bt_jj_sb_done(&b);
}

struct bt_jj_val bt_jj_to_str(struct bt_jj *r, struct bt_jj_val v)
{
	if (v.type == BT_JJ_STR || v.type == BT_JJ_FAIL) return v;
	struct bt_jj_sb b = bt_jj_sb(r);
	bt_jj_sb_val(&b, v);
	return bt_jj_sb_done(&b);
}
