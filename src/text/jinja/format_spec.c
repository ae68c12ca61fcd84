/* format_spec.c: Python's format specification mini-language. */
#include "text/jinja/format_spec.h"
#include "text/jinja/number_text.h"
#include "text/jinja/unicode.h"

#include <math.h>
#include <stdio.h>

static bool is_align(uint32_t c)
{
	return c == '<' || c == '>' || c == '^' || c == '=';
}

/* The specification while it is read. */
struct reader {
	struct bt_jj *r;
	const char *s;
	size_t len, at;
};

static char peek(const struct reader *x)
{
	return x->at < x->len ? x->s[x->at] : 0;
}

/* The next character if it is one of set, else 0. */
static char take(struct reader *x, const char *set)
{
	char c = peek(x);
	if (!c || !strchr(set, c)) return 0;
	x->at++;
	return c;
}

static bool number(struct reader *x, int64_t limit, int64_t *out)
{
	if (peek(x) < '0' || peek(x) > '9') return true;
	for (*out = 0; peek(x) >= '0' && peek(x) <= '9'; x->at++) {
		*out = *out * 10 + peek(x) - '0';
		if (*out <= limit) continue;
		bt_jj_fail_limit(x->r, "a format asks for a field of more than %lld characters", (long long)limit);
		return false;
	}
	return true;
}

static void fill_and_align(struct reader *x, struct bt_jj_spec *f)
{
	uint32_t cp = 0;
	size_t n = x->len ? bt_jj_utf8_get(x->s, x->len, &cp) : 0;
	if (n && n < x->len && is_align((unsigned char)x->s[n])) {
		f->fill = cp;
		f->align = x->s[n];
		x->at = n + 1;
	} else {
		f->align = take(x, "<>^=");
	}
}

static bool group(struct reader *x, struct bt_jj_spec *f)
{
	f->group = take(x, ",_");
	char second = f->group ? take(x, ",_") : 0;
	if (!second) return true;
	if (second == f->group) bt_jj_fail(x->r, "ValueError", "Cannot specify '%c' with '%c'.", second, second);
	else bt_jj_fail(x->r, "ValueError", "Cannot specify both ',' and '_'.");
	return false;
}

static bool precision(struct reader *x, struct bt_jj_spec *f)
{
	if (!take(x, ".")) return true;
	if (!number(x, BT_JJ_MAX_PRECISION, &f->prec)) return false;
	if (f->prec >= 0) return true;
	bt_jj_fail(x->r, "ValueError", "Format specifier missing precision");
	return false;
}

bool bt_jj_spec_parse(struct bt_jj *r, const char *s, size_t len, const char *type, struct bt_jj_spec *f)
{
	struct reader x = {.r = r, .s = s, .len = len};
	*f = (struct bt_jj_spec){.width = -1, .prec = -1};
	fill_and_align(&x, f);
	f->sign = take(&x, "+- ");
	f->no_neg_zero = take(&x, "z");
	f->alt = take(&x, "#");
	if (!f->fill && take(&x, "0")) {
		f->fill = '0';
		if (!f->align) f->align = '0'; /* "=" for numbers, "<" for texts */
	}
	if (!number(&x, BT_JJ_MAX_FIELD, &f->width) || !group(&x, f) || !precision(&x, f)) return false;
	if (x.at < len && (unsigned char)peek(&x) < 0x80) f->type = x.s[x.at++];
	if (x.at < len)
		bt_jj_fail(r, "ValueError", "Invalid format specifier '%.*s' for object of type '%s'",
		           len < 100 ? (int)len : 100, s, type);
	return !r->err.status;
}

struct bt_jj_val bt_jj_char_of(struct bt_jj *r, struct bt_jj_val v)
{
	char s[4];
	if (v.type == BT_JJ_BIG || bt_jj_small(v) < 0 || bt_jj_small(v) > 0x10FFFF)
		return bt_jj_fail(r, "OverflowError", "%%c arg not in range(0x110000)");
	return bt_jj_text(r, s, bt_jj_utf8_put((uint32_t)bt_jj_small(v), s));
}

static void pad(struct bt_jj_sb *b, uint32_t fill, int64_t n)
{
	if (n > 0) bt_jj_sb_fill(b, fill ? fill : ' ', (size_t)n);
}

void bt_jj_format_text(struct bt_jj_sb *b, const struct bt_jj_str *s, const struct bt_jj_spec *f)
{
	size_t n = f->prec >= 0 && (size_t)f->prec < s->n ? (size_t)f->prec : s->n, len = bt_jj_str_offset(s, n);
	int64_t room = f->width - (int64_t)n, left = f->align == '>' ? room : f->align == '^' ? room / 2 : 0;
	pad(b, f->fill, left);
	bt_jj_sb_add(b, s->s, len);
	pad(b, f->fill, room - (left > 0 ? left : 0));
}

/* How many characters `n` digits take with a separator every `every`. */
static int64_t grouped(int64_t n, int every)
{
	return n + (n > 0 ? (n - 1) / every : 0);
}

/* sign, prefix (0x), whole digits in groups, the rest (.5e+10), in a field. */
struct number {
	const char *sign, *prefix, *whole, *rest;
	size_t n_whole, n_rest;
};

static void put_number(struct bt_jj_sb *b, const struct number *p, const struct bt_jj_spec *f, int every)
{
	int64_t zeros = 0, n = (int64_t)p->n_whole;
	int64_t other = (int64_t)(strlen(p->sign) + strlen(p->prefix) + p->n_rest);
	char align = f->align == '0' ? '=' : f->align ? f->align : '>';
	bool zero_fill = align == '=' && f->fill == '0';
	if (zero_fill) { /* zeros count as digits, and get separators too */
		int64_t room = f->width - other;
		if (!f->group) zeros = room > n ? room - n : 0;
		else
			while (grouped(n + zeros, every) < room) zeros++;
	}
	int64_t total = other + (f->group ? grouped(n + zeros, every) : n + zeros), room = f->width - total;
	int64_t left = align == '>' ? room : align == '^' ? room / 2 : 0;
	pad(b, f->fill, left);
	bt_jj_sb_adds(b, p->sign);
	bt_jj_sb_adds(b, p->prefix);
	if (align == '=') pad(b, f->fill, left = room);
	for (int64_t i = 0; i < n + zeros; i++) {
		if (f->group && i && (n + zeros - i) % every == 0) bt_jj_sb_addc(b, f->group);
		bt_jj_sb_addc(b, i < zeros ? '0' : p->whole[i - zeros]);
	}
	bt_jj_sb_add(b, p->rest, p->n_rest);
	pad(b, f->fill, room - (left > 0 ? left : 0));
}

static const char *sign_of(bool negative, char sign)
{
	return negative ? "-" : sign == '+' ? "+" : sign == ' ' ? " " : "";
}

static void bad_type(struct bt_jj_sb *b, char type, const char *of)
{
	bt_jj_fail(b->r, "ValueError", "Unknown format code '%c' for object of type '%s'", type, of);
	b->failed = true;
}

void bt_jj_format_int(struct bt_jj_sb *b, struct bt_jj_val v, const struct bt_jj_spec *f)
{
	static const char prefixes[3][3] = {"0b", "0o", "0x"};
	unsigned base = 10;
	const char *prefix = "";
	switch (f->type) {
	case 0:
	case 'd':
	case 'n': break;
	case 'b': base = 2; break;
	case 'o': base = 8; break;
	case 'x':
	case 'X': base = 16; break;
	default: bad_type(b, f->type, "int"); return;
	}
	if (f->alt && base != 10)
		prefix = base == 16 && f->type == 'X' ? "0X" : prefixes[base == 2 ? 0 : base == 8 ? 1 : 2];
	if (f->group == ',' && base != 10) {
		bt_jj_fail(b->r, "ValueError", "Cannot specify ',' with '%c'.", f->type);
		b->failed = true;
		return;
	}
	struct bt_jj_val text = bt_jj_int_text(b->r, v, base);
	if (bt_jj_is_fail(text)) {
		b->failed = true;
		return;
	}
	bool negative = text.s->s[0] == '-';
	struct number p = {.sign = sign_of(negative, f->sign), .prefix = prefix, .rest = ""};
	p.whole = text.s->s + negative;
	p.n_whole = text.s->len - negative;
	if (f->type == 'X') {
		char *up = bt_jj_alloc(b->r, p.n_whole + 1);
		if (!up) {
			b->failed = true;
			return;
		}
		for (size_t i = 0; i < p.n_whole; i++) up[i] = p.whole[i] >= 'a' ? (char)(p.whole[i] - 32) : p.whole[i];
		p.whole = up;
	}
	if (f->prec > (int64_t)p.n_whole) { /* only '%' gets here with one: at least so many digits */
		struct bt_jj_sb z = bt_jj_sb(b->r);
		bt_jj_sb_fill(&z, '0', (size_t)f->prec - p.n_whole);
		bt_jj_sb_add(&z, p.whole, p.n_whole);
		struct bt_jj_val all = bt_jj_sb_done(&z);
		if (bt_jj_is_fail(all)) {
			b->failed = true;
			return;
		}
		p.whole = all.s->s;
		p.n_whole = all.s->len;
	}
	put_number(b, &p, f, base == 10 ? 3 : 4);
}

/* The digits of |v| by type into buf: "12.50", "1.25e+01". '.' whatever the locale. */
static void float_digits(double v, char type, int prec, bool alt, char *buf, size_t cap)
{
	char fmt[16];
	snprintf(fmt, sizeof fmt, alt ? "%%#.*%c" : "%%.*%c", type);
	snprintf(buf, cap, fmt, prec, v);
	for (char *p = buf; *p; p++) { /* a radix character of another locale, of one byte or more */
		if ((*p >= '0' && *p <= '9') || strchr("+-eEinfaINFA", *p)) continue;
		char *q = p + 1;
		while (*q && !(*q >= '0' && *q <= '9') && !strchr("eE", *q)) q++;
		*p = '.';
		memmove(p + 1, q, strlen(q) + 1);
		break;
	}
}

/* No type: like repr, but a precision rounds to so many digits, and a whole number keeps its ".0". */
static void plain_float(double v, const struct bt_jj_spec *f, char *buf, size_t cap)
{
	if (f->prec < 0) {
		char text[BT_JJ_FLOAT_TEXT];
		bt_jj_float_repr(v, text);
		snprintf(buf, cap, "%s", text);
		return;
	}
	int prec = f->prec ? (int)f->prec : 1;
	float_digits(v, 'g', prec, f->alt, buf, cap);
	/* 'g' turns to the exponent at `prec` digits; here one digit has to stay behind the point. */
	char digits_buf[1200];
	int exp = v == 0 ? 0 : bt_jj_float_digits(v, prec, digits_buf);
	if (exp == prec - 1 && !strchr(buf, 'e') && !strchr(buf, '.')) {
		float_digits(v, 'e', prec - 1, f->alt, buf, cap);
		char *e = strchr(buf, 'e'), *end = e;
		if (strchr(buf, '.') && !f->alt) {
			while (end[-1] == '0') end--;
			if (end[-1] == '.') end--;
			memmove(end, e, strlen(e) + 1);
		}
	} else if (!strpbrk(buf, ".ein")) {
		strcat(buf, ".0");
	}
}

void bt_jj_format_float(struct bt_jj_sb *b, double v, const struct bt_jj_spec *f)
{
	char *buf = bt_jj_alloc(b->r, 1600);
	char type = f->type;
	int prec = f->prec < 0 ? 6 : (int)f->prec;
	bool percent = type == '%', negative = signbit(v) && !isnan(v);
	if (!buf || (type && !strchr("eEfFgGn%", type))) {
		if (buf) bad_type(b, type, "float");
		b->failed = true;
		return;
	}
	double a = fabs(v) * (percent ? 100 : 1);
	if (type == 'n') type = 'g';
	if (percent) type = 'f';
	if (!type) plain_float(a, f, buf, 1500);
	else float_digits(a, type, prec, f->alt, buf, 1500);
	if (f->no_neg_zero && strspn(buf, "0.e+-") == strlen(buf)) negative = false;
	if (percent) strcat(buf, "%");
	struct number p = {.sign = sign_of(negative, f->sign), .prefix = "", .whole = buf};
	p.n_whole = strspn(buf, "0123456789");
	if (!p.n_whole) p.n_whole = strlen(buf); /* inf, nan */
	p.rest = buf + p.n_whole;
	p.n_rest = strlen(p.rest);
	put_number(b, &p, f, 3);
}
