/* time.c: strftime in the C locale, whatever locale the program runs in.
 *
 * Conversions of C99 and POSIX, and the flags _ - 0 ^ # and field widths of the GNU C library, which Python hands the
 * format to. The clock has no time zone, as datetime.now() has none.
 */
#include "text/jinja/interp.h"

#include <ctype.h>
#include <stdio.h>

static const char *const days[] = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};
static const char *const months[] = {"January", "February", "March",     "April",   "May",      "June",
                                     "July",    "August",   "September", "October", "November", "December"};

struct field {
	char flag;  /* '_', '-', '0', or 0 */
	bool upper; /* ^ */
	bool swap;  /* # */
	int width;  /* 0: the conversion's own */
};

static void number(struct bt_jj_sb *b, const struct field *f, long long v, int width, char pad)
{
	char buf[48];
	if (f->flag == '_') pad = ' ';
	if (f->flag == '0') pad = '0';
	if (f->width) width = f->width;
	if (f->flag == '-') width = 0;
	snprintf(buf, sizeof buf, "%lld", v);
	for (int n = (int)strlen(buf); n < width; n++) bt_jj_sb_addc(b, pad);
	bt_jj_sb_adds(b, buf);
}

static void word(struct bt_jj_sb *b, const struct field *f, const char *s, size_t len)
{
	for (size_t n = len; n < (size_t)f->width; n++) bt_jj_sb_addc(b, f->flag == '0' ? '0' : ' ');
	for (size_t i = 0; i < len; i++)
		bt_jj_sb_addc(b, f->upper || f->swap ? (char)toupper((unsigned char)s[i]) : s[i]);
}

static bool leap(long long y)
{
	return (y % 4 == 0 && y % 100) || y % 400 == 0;
}

/* ISO 8601: the week of the year and the year that it belongs to. */
static int iso_week(const struct tm *t, long long *year)
{
	*year = t->tm_year + 1900LL;
	int wday = (t->tm_wday + 6) % 7, week = (t->tm_yday - wday + 10) / 7;
	if (week < 1) {
		--*year;
		int yday = t->tm_yday + 365 + leap(*year);
		return (yday - wday + 10) / 7;
	}
	if (week == 53 && t->tm_yday - wday + 3 >= 365 + leap(*year)) {
		++*year;
		return 1;
	}
	return week;
}

/* Conversions that stand for a whole format. */
static const char *composed(char c)
{
	switch (c) {
	case 'c': return "%a %b %e %H:%M:%S %Y";
	case 'D':
	case 'x': return "%m/%d/%y";
	case 'F': return "%Y-%m-%d";
	case 'R': return "%H:%M";
	case 'r': return "%I:%M:%S %p";
	case 'T':
	case 'X': return "%H:%M:%S";
	default: return NULL;
	}
}

static void format(struct bt_jj_sb *b, const struct tm *t, const char *s, size_t len);

static bool date_field(struct bt_jj_sb *b, const struct tm *t, const struct field *f, char c)
{
	long long iso_year, year = t->tm_year + 1900LL;
	int week = iso_week(t, &iso_year);
	switch (c) {
	case 'Y': number(b, f, year, 0, '0'); return true;
	case 'C': number(b, f, year / 100, 2, '0'); return true;
	case 'y': number(b, f, year % 100, 2, '0'); return true;
	case 'm': number(b, f, t->tm_mon + 1, 2, '0'); return true;
	case 'd': number(b, f, t->tm_mday, 2, '0'); return true;
	case 'e': number(b, f, t->tm_mday, 2, ' '); return true;
	case 'j': number(b, f, t->tm_yday + 1, 3, '0'); return true;
	case 'u': number(b, f, t->tm_wday ? t->tm_wday : 7, 1, '0'); return true;
	case 'w': number(b, f, t->tm_wday, 1, '0'); return true;
	case 'U': number(b, f, (t->tm_yday + 7 - t->tm_wday) / 7, 2, '0'); return true;
	case 'W': number(b, f, (t->tm_yday + 7 - (t->tm_wday + 6) % 7) / 7, 2, '0'); return true;
	case 'V': number(b, f, week, 2, '0'); return true;
	case 'G': number(b, f, iso_year, 0, '0'); return true;
	case 'g': number(b, f, iso_year % 100, 2, '0'); return true;
	default: return false;
	}
}

static bool time_field(struct bt_jj_sb *b, const struct tm *t, const struct field *f, char c)
{
	int hour12 = t->tm_hour % 12 ? t->tm_hour % 12 : 12;
	switch (c) {
	case 'H': number(b, f, t->tm_hour, 2, '0'); return true;
	case 'k': number(b, f, t->tm_hour, 2, ' '); return true;
	case 'I': number(b, f, hour12, 2, '0'); return true;
	case 'l': number(b, f, hour12, 2, ' '); return true;
	case 'M': number(b, f, t->tm_min, 2, '0'); return true;
	case 'S': number(b, f, t->tm_sec, 2, '0'); return true;
	case 'f': bt_jj_sb_adds(b, "000000"); return true; /* Python's own: microseconds */
	case 's': {
		struct tm copy = *t;
		copy.tm_isdst = -1;
		number(b, f, (long long)mktime(&copy), 1, '0');
		return true;
	}
	default: return false;
	}
}

static bool word_field(struct bt_jj_sb *b, const struct tm *t, const struct field *f, char c)
{
	const char *day = days[(unsigned)t->tm_wday % 7], *month = months[(unsigned)t->tm_mon % 12];
	const char *half = t->tm_hour < 12 ? "am" : "pm";
	switch (c) {
	case 'A': word(b, f, day, strlen(day)); return true;
	case 'a': word(b, f, day, 3); return true;
	case 'B': word(b, f, month, strlen(month)); return true;
	case 'b':
	case 'h': word(b, f, month, 3); return true;
	case 'P': word(b, f, half, 2); return true;
	case 'p': {
		struct field g = *f;
		g.upper = !f->swap;
		g.swap = false;
		word(b, &g, half, 2);
		return true;
	}
	case 'n': bt_jj_sb_addc(b, '\n'); return true;
	case 't': bt_jj_sb_addc(b, '\t'); return true;
	case '%': bt_jj_sb_addc(b, '%'); return true;
	case 'z':
	case 'Z': return true;
	default: return false;
	}
}

/* Flags and width behind the '%' at s[i]; the conversion's place. */
static size_t read_field(const char *s, size_t i, size_t len, struct field *f)
{
	*f = (struct field){0};
	for (i++; i < len && s[i] && strchr("_-0^#", s[i]); i++) {
		if (s[i] == '^') f->upper = true;
		else if (s[i] == '#') f->swap = true;
		else f->flag = s[i];
	}
	for (; i < len && s[i] >= '0' && s[i] <= '9'; i++)
		if (f->width < 1000) f->width = f->width * 10 + s[i] - '0';
	return i < len && (s[i] == 'E' || s[i] == 'O') ? i + 1 : i; /* alternative forms: the same in the C locale */
}

static void format(struct bt_jj_sb *b, const struct tm *t, const char *s, size_t len)
{
	for (size_t i = 0; i < len && !b->failed; i++) {
		size_t from = i;
		struct field f;
		if (s[i] != '%') {
			bt_jj_sb_addc(b, s[i]);
			continue;
		}
		i = read_field(s, i, len, &f);
		char c = i < len ? s[i] : 0;
		const char *whole = composed(c);
		if (whole) format(b, t, whole, strlen(whole));
		else if (!date_field(b, t, &f, c) && !time_field(b, t, &f, c) && !word_field(b, t, &f, c))
			bt_jj_sb_add(b, s + from, (i < len ? i + 1 : len) - from); /* unknown: as it stands */
	}
}

struct bt_jj_val bt_jj_strftime(struct bt_jj *r, const struct bt_jj_str *fmt)
{
	struct bt_jj_sb b = bt_jj_sb(r);
	format(&b, r->now, fmt->s, fmt->len);
	return bt_jj_sb_done(&b);
}
