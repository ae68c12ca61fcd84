/* format_percent.c: text % values, the formatting of C's printf as Python has it. */
#include "text/jinja/format_spec.h"
#include "text/jinja/unicode.h"

/* The format while it is read. A tuple is several arguments, anything else is one; a mapping is asked by name. */
struct percent {
	struct bt_jj *r;
	const char *s;
	size_t len, at;
	struct bt_jj_val args;
	size_t i;             /* arguments used */
	struct bt_jj_val key; /* the value that %(name) found, for this conversion */
	bool markup;          /* the format is: what is put in is escaped */
	struct bt_jj_sb b;
};

static bool fail(struct percent *p, const char *kind, const char *text)
{
	bt_jj_fail(p->r, kind, "%s", text);
	return false;
}

static bool is_mapping(struct bt_jj_val v)
{
	return v.type == BT_JJ_DICT || v.type == BT_JJ_LIST || v.type == BT_JJ_RANGE || v.type == BT_JJ_UNDEFINED;
}

static struct bt_jj_val next_arg(struct percent *p)
{
	struct bt_jj_val v = p->key;
	bool tuple = p->args.type == BT_JJ_TUPLE;
	p->key = bt_jj_missing();
	if (bt_jj_given(v)) return v;
	if (p->i >= (tuple ? p->args.list->n : 1))
		return bt_jj_fail(p->r, "TypeError", "not enough arguments for format string");
	p->i++;
	return tuple ? p->args.list->v[p->i - 1] : p->args;
}

/* %(name): behind the '%'. */
static bool key(struct percent *p)
{
	size_t from = p->at + 1, depth = 1;
	if (p->at >= p->len || p->s[p->at] != '(') return true;
	for (p->at++; p->at < p->len; p->at++) {
		if (p->s[p->at] == '(') depth++;
		if (p->s[p->at] == ')' && !--depth) break;
	}
	if (p->at >= p->len) return fail(p, "ValueError", "incomplete format key");
	if (p->args.type == BT_JJ_UNDEFINED) return !bt_jj_is_fail(bt_jj_fail_undefined(p->r, p->args));
	if (p->args.type != BT_JJ_DICT) return fail(p, "TypeError", "format requires a mapping");
	struct bt_jj_val name = bt_jj_text_ref(p->r, p->s + from, p->at++ - from);
	if (bt_jj_is_fail(name)) return false;
	p->key = bt_jj_dict_get(p->r, p->args.dict, name);
	p->i = 1;
	if (!bt_jj_given(p->key))
		bt_jj_fail(p->r, "KeyError", "'%.*s'", name.s->len < 100 ? (int)name.s->len : 100, name.s->s);
	return !p->r->err.status;
}

static bool flags(struct percent *p, struct bt_jj_spec *f)
{
	for (; p->at < p->len && p->s[p->at] && strchr("#0- +", p->s[p->at]); p->at++) {
		char c = p->s[p->at];
		if (c == '-') f->align = '<';
		else if (c == '+') f->sign = '+';
		else if (c == ' ') f->sign = f->sign == '+' ? '+' : ' ';
		else if (c == '#') f->alt = true;
		else f->fill = '0';
	}
	return true;
}

/* Digits, or '*' for the next argument. */
static bool count(struct percent *p, int64_t *out)
{
	if (p->at >= p->len || p->s[p->at] != '*') {
		for (*out = 0; p->at < p->len && p->s[p->at] >= '0' && p->s[p->at] <= '9'; p->at++)
			if (*out <= BT_JJ_MAX_FIELD) *out = *out * 10 + p->s[p->at] - '0';
		return true;
	}
	p->at++;
	struct bt_jj_val v = next_arg(p);
	if (bt_jj_is_fail(v)) return false;
	if (v.type != BT_JJ_INT && v.type != BT_JJ_BOOL) return fail(p, "TypeError", "* wants int");
	*out = bt_jj_small(v);
	return true;
}

static void put_int(struct percent *p, struct bt_jj_val v, struct bt_jj_spec *f)
{
	bool decimal = f->type == 'd' || f->type == 'i' || f->type == 'u';
	if (v.type == BT_JJ_UNDEFINED) {
		bt_jj_fail_undefined(p->r, v);
		return;
	}
	if (v.type == BT_JJ_FLOAT && decimal) v = bt_jj_int_of_float(p->r, v.f);
	if (!bt_jj_is_fail(v) && !bt_jj_is_int(v))
		bt_jj_fail(p->r, "TypeError", "%%%c format: %s is required, not %s", f->type,
		           decimal ? "a real number" : "an integer", bt_jj_type_name(v));
	if (decimal) f->type = 'd';
	if (!p->r->err.status) bt_jj_format_int(&p->b, v, f);
}

static void put_float(struct percent *p, struct bt_jj_val v, struct bt_jj_spec *f)
{
	double d;
	if (v.type == BT_JJ_UNDEFINED) bt_jj_fail_undefined(p->r, v);
	else if (!bt_jj_is_number(v)) bt_jj_fail(p->r, "TypeError", "must be real number, not %s", bt_jj_type_name(v));
	else if (bt_jj_to_double(p->r, v, &d)) bt_jj_format_float(&p->b, d, f);
}

static void put_char(struct percent *p, struct bt_jj_val v, struct bt_jj_spec *f)
{
	if (bt_jj_is_int(v)) v = bt_jj_char_of(p->r, v);
	if (bt_jj_is_fail(v)) return;
	if (v.type != BT_JJ_STR || v.s->n != 1) fail(p, "TypeError", "%c requires int or char");
	else bt_jj_format_text(&p->b, v.s, f);
}

static void put_text(struct percent *p, struct bt_jj_val v, struct bt_jj_spec *f)
{
	if (f->type == 'a') v = bt_jj_ascii(p->r, v);
	else if (f->type == 'r') v = bt_jj_repr(p->r, v);
	else if (!p->markup) v = bt_jj_to_str(p->r, v);
	if (p->markup && !bt_jj_is_fail(v)) v = bt_jj_escape(p->r, v);
	if (!bt_jj_is_fail(v)) bt_jj_format_text(&p->b, v.s, f);
}

static const struct {
	char type;
	bool text;
	void (*put)(struct percent *p, struct bt_jj_val v, struct bt_jj_spec *f);
} conversions[] = {
	{'s', true, put_text},   {'d', false, put_int},   {'f', false, put_float}, {'r', true, put_text},
	{'i', false, put_int},   {'u', false, put_int},   {'x', false, put_int},   {'X', false, put_int},
	{'o', false, put_int},   {'e', false, put_float}, {'E', false, put_float}, {'F', false, put_float},
	{'g', false, put_float}, {'G', false, put_float}, {'c', true, put_char},   {'a', true, put_text},
};

static bool convert(struct percent *p, struct bt_jj_spec *f)
{
	size_t i = 0, n = sizeof conversions / sizeof *conversions;
	struct bt_jj_val v = next_arg(p);
	if (bt_jj_is_fail(v)) return false;
	while (i < n && conversions[i].type != f->type) i++;
	if (i == n) {
		bt_jj_fail(p->r, "ValueError", "unsupported format character '%c' (0x%x) at index %zu", f->type,
		           (unsigned char)f->type, bt_jj_utf8_count(p->s, p->at - 1));
		return false;
	}
	if (f->width > BT_JJ_MAX_FIELD || (!conversions[i].text && f->prec > BT_JJ_MAX_PRECISION)) {
		bt_jj_fail_limit(p->r, "a format asks for a field of more than %d characters", BT_JJ_MAX_FIELD);
		return false;
	}
	if (conversions[i].text || f->align == '<') f->fill = 0;
	else if (f->fill) f->align = '=';
	conversions[i].put(p, v, f);
	return !p->r->err.status && !p->b.failed;
}

/* One conversion, behind the '%'. */
static bool conversion(struct percent *p)
{
	struct bt_jj_spec f = {.sign = '-', .align = '>', .width = -1, .prec = -1};
	if (p->at < p->len && p->s[p->at] == '%') {
		p->at++;
		bt_jj_sb_addc(&p->b, '%');
		return true;
	}
	if (!key(p) || !flags(p, &f) || !count(p, &f.width)) return false;
	if (f.width < 0) {
		f.align = '<';
		f.width = f.width < -BT_JJ_MAX_FIELD ? BT_JJ_MAX_FIELD + 1 : -f.width;
	}
	if (p->at < p->len && p->s[p->at] == '.') {
		p->at++;
		if (!count(p, &f.prec)) return false;
		if (f.prec < 0) f.prec = 0;
	}
	while (p->at < p->len && p->s[p->at] && strchr("hlL", p->s[p->at])) p->at++;
	if (p->at >= p->len) return fail(p, "ValueError", "incomplete format");
	f.type = p->s[p->at++];
	return convert(p, &f);
}

struct bt_jj_val bt_jj_format_percent(struct bt_jj *r, struct bt_jj_val fmt, struct bt_jj_val args)
{
	struct percent p = {.r = r, .s = fmt.s->s, .len = fmt.s->len, .args = args, .markup = fmt.markup};
	p.b = bt_jj_sb(r);
	while (p.at < p.len && !p.b.failed) {
		p.key = bt_jj_missing();
		const char *next = memchr(p.s + p.at, '%', p.len - p.at);
		size_t to = next ? (size_t)(next - p.s) : p.len;
		bt_jj_sb_add(&p.b, p.s + p.at, to - p.at);
		p.at = to + 1;
		if (next && (!bt_jj_charge(r, 1) || !conversion(&p))) return bt_jj_failed();
	}
	if (p.i < (args.type == BT_JJ_TUPLE ? args.list->n : !is_mapping(args)))
		return bt_jj_fail(r, "TypeError", "not all arguments converted during string formatting");
	struct bt_jj_val v = bt_jj_sb_done(&p.b);
	return fmt.markup ? bt_jj_mark(v) : v;
}
