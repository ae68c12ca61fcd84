/* number_text.c: numbers to text and back.
 *
 * A float prints as the shortest decimal that reads back as the same float (Python's repr). Every decimal of up to 15
 * digits survives the way through a double, so 15, 16 and 17 digits are tried in turn, and only numbers near the
 * subnormals need fewer to be tried one by one. The C library's own radix character is never trusted: an application
 * may have set a locale.
 */
#include "text/jinja/number_text.h"
#include "text/jinja/big.h"
#include "text/jinja/interp.h"
#include "text/jinja/unicode.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

double bt_jj_strtod(const char *s)
{
	char buf[800];
	const char *point = localeconv()->decimal_point, *dot = strchr(s, '.');
	if (!dot || !strcmp(point, ".")) return strtod(s, NULL);
	int n = snprintf(buf, sizeof buf, "%.*s%s%s", (int)(dot - s), s, point, dot + 1);
	return n < 0 || (size_t)n >= sizeof buf ? 0 : strtod(buf, NULL);
}

int bt_jj_float_digits(double f, int precision, char *digits)
{
	char buf[1200];
	snprintf(buf, sizeof buf, "%.*e", precision - 1, fabs(f));
	int n = 0;
	char *p = buf;
	for (; *p != 'e'; p++)
		if (*p >= '0' && *p <= '9') digits[n++] = *p;
	digits[n] = 0;
	return atoi(p + 1);
}

/* Does 0.d1d2d3... * 10^(exp + 1) read back as f? */
static bool reads_back(const char *digits, int exp, double f)
{
	char buf[64];
	snprintf(buf, sizeof buf, "%se%d", digits, exp - (int)strlen(digits) + 1);
	return strtod(buf, NULL) == f;
}

size_t bt_jj_float_repr(double f, char out[BT_JJ_FLOAT_TEXT])
{
	if (isnan(f)) return (size_t)sprintf(out, "nan");
	if (isinf(f)) return (size_t)sprintf(out, f < 0 ? "-inf" : "inf");
	char digits[24], *p = out;
	int exp = 0;
	if (signbit(f)) *p++ = '-';
	double a = fabs(f);
	if (a == 0) strcpy(digits, "0");
	else
		for (int prec = a < 1e-290 ? 1 : 15; prec <= 17; prec++) {
			exp = bt_jj_float_digits(a, prec, digits);
			if (reads_back(digits, exp, a)) break;
		}
	int n = (int)strlen(digits);
	while (n > 1 && digits[n - 1] == '0') n--;
	if (exp < -4 || exp >= 16) {
		*p++ = digits[0];
		if (n > 1) *p++ = '.';
		memcpy(p, digits + 1, (size_t)n - 1);
		p += n - 1;
		p += sprintf(p, "e%c%02d", exp < 0 ? '-' : '+', abs(exp));
	} else if (exp < 0) {
		p += sprintf(p, "0.%.*s%.*s", -exp - 1, "0000", n, digits);
	} else {
		for (int i = 0; i <= exp; i++) *p++ = i < n ? digits[i] : '0';
		*p++ = '.';
		if (n > exp + 1) p += sprintf(p, "%.*s", n - exp - 1, digits + exp + 1);
		else *p++ = '0';
	}
	*p = 0;
	return (size_t)(p - out);
}

struct bt_jj_val bt_jj_int_text(struct bt_jj *r, struct bt_jj_val v, unsigned base)
{
	size_t len;
	if (v.type != BT_JJ_BIG) {
		char buf[72], *p = buf + sizeof buf;
		int64_t i = bt_jj_small(v);
		uint64_t u = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
		do *--p = "0123456789abcdefghijklmnopqrstuvwxyz"[u % base];
		while (u /= base);
		if (i < 0) *--p = '-';
		return bt_jj_text(r, p, (size_t)(buf + sizeof buf - p));
	}
	/* Python's own guard against quadratic conversion */
	if (base == 10 && bt_jj_big_bits(v.big) > 14285)
		return bt_jj_fail(
			r, "ValueError",
			"Exceeds the limit (4300 digits) for integer string conversion: use a smaller integer");
	if (!bt_jj_charge(r, (size_t)v.big->n * v.big->n / 4)) return bt_jj_failed();
	const char *s = bt_jj_big_text(&r->arena, v.big, base, &len);
	return s ? bt_jj_text_ref(r, s, len) : bt_jj_fail_limit(r, "memory for the text of an integer ran out");
}

/* Strip white space, turn decimal digits of any script into ASCII, drop underscores between digits. -1: a character that
 * no number has, or a misplaced underscore. Long texts are no numbers that anyone needs. */
static int plain_number(const struct bt_jj_str *s, char *out, size_t cap)
{
	size_t n = 0, from = 0, to = s->len;
	uint32_t cp;
	while (from < to) {
		size_t step = bt_jj_utf8_get(s->s + from, to - from, &cp);
		if (!bt_jj_is_space(cp)) break;
		from += step;
	}
	while (to > from) {
		size_t at = bt_jj_utf8_back(s->s, to);
		bt_jj_utf8_get(s->s + at, to - at, &cp);
		if (!bt_jj_is_space(cp)) break;
		to = at;
	}
	bool digit_before = false;
	for (size_t i = from; i < to;) {
		i += bt_jj_utf8_get(s->s + i, to - i, &cp);
		int d = bt_jj_decimal_value(cp);
		if (cp == '_') {
			uint32_t after = 0;
			if (i < to) bt_jj_utf8_get(s->s + i, to - i, &after);
			bool alnum = after < 0x80 && ((after | 32) >= 'a' && (after | 32) <= 'z');
			if (!digit_before || (bt_jj_decimal_value(after) < 0 && !alnum)) return -1;
			digit_before = false;
			continue;
		}
		if ((cp >= 0x80 && d < 0) || n + 1 >= cap) return -1;
		out[n++] = d >= 0 ? (char)('0' + d) : (char)cp;
		digit_before = d >= 0 || (cp | 32) >= 'a';
	}
	out[n] = 0;
	return (int)n;
}

static int digit_of(char c)
{
	if (c >= '0' && c <= '9') return c - '0';
	c |= 32;
	return c >= 'a' && c <= 'z' ? c - 'a' + 10 : 99;
}

struct bt_jj_val bt_jj_parse_int(struct bt_jj *r, const struct bt_jj_str *s, int base)
{
	char buf[4400];
	int n = plain_number(s, buf, sizeof buf);
	if (n <= 0 || base == 1 || base < 0 || base > 36) return bt_jj_missing();
	const char *p = buf;
	bool neg = *p == '-';
	if (*p == '-' || *p == '+') p++;
	int named = p[0] != '0' ? 0 : (p[1] | 32) == 'x' ? 16 : (p[1] | 32) == 'o' ? 8 : (p[1] | 32) == 'b' ? 2 : 0;
	if (named && (base == 0 || base == named)) {
		base = named;
		p += 2;
	} else if (base == 0) {
		base = 10;
		if (p[0] == '0' && strspn(p, "0") != strlen(p))
			return bt_jj_missing(); /* 012 is not a number any more */
	}
	size_t len = strlen(p);
	for (size_t i = 0; i < len; i++)
		if (digit_of(p[i]) >= base) return bt_jj_missing();
	if (!len) return bt_jj_missing();
	return bt_jj_int_digits(r, p, len, (unsigned)base, neg);
}

struct bt_jj_val bt_jj_int_digits(struct bt_jj *r, const char *p, size_t len, unsigned base, bool neg)
{
	if (!bt_jj_charge(r, len * len / 256)) return bt_jj_failed();
	const struct bt_jj_big *b = bt_jj_big_parse(&r->arena, p, len, base, neg);
	return b ? bt_jj_big_val(b) : bt_jj_fail_limit(r, "an integer is beyond %d bits", BT_JJ_BIG_LIMBS * 32);
}

struct bt_jj_val bt_jj_parse_float(struct bt_jj *r, const struct bt_jj_str *s)
{
	(void)r;
	char buf[700];
	int n = plain_number(s, buf, sizeof buf);
	if (n <= 0) return bt_jj_missing();
	const char *p = buf + (*buf == '-' || *buf == '+');
	double sign = *buf == '-' ? -1 : 1;
	if (!strcasecmp(p, "inf") || !strcasecmp(p, "infinity")) return bt_jj_float(sign * INFINITY);
	if (!strcasecmp(p, "nan")) return bt_jj_float(NAN);
	size_t whole = strspn(p, "0123456789"), frac = 0;
	const char *q = p + whole;
	if (*q == '.') frac = strspn(++q, "0123456789");
	q += frac;
	if (!whole && !frac) return bt_jj_missing();
	if ((*q | 32) == 'e') {
		q += 1 + (q[1] == '+' || q[1] == '-');
		size_t e = strspn(q, "0123456789");
		if (!e) return bt_jj_missing();
		q += e;
	}
	return *q ? bt_jj_missing() : bt_jj_float(bt_jj_strtod(buf));
}
