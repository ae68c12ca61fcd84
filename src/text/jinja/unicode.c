#include "text/jinja/unicode.h"

#include <string.h>
#include <utf8proc.h>

size_t bt_jj_utf8_get(const char *s, size_t len, uint32_t *cp)
{
	const unsigned char *u = (const unsigned char *)s;
	*cp = 0xFFFD;
	if (u[0] < 0x80) {
		*cp = u[0];
		return 1;
	}
	size_t n = u[0] >= 0xF0 ? 4 : u[0] >= 0xE0 ? 3 : 2;
	if (u[0] < 0xC2 || u[0] > 0xF4 || n > len) return 1;
	uint32_t c = u[0] & (0x7Fu >> n);
	for (size_t i = 1; i < n; i++) {
		if ((u[i] & 0xC0) != 0x80) return 1;
		c = c << 6 | (u[i] & 63);
	}
	if ((n == 3 && c < 0x800) || (n == 4 && (c < 0x10000 || c > 0x10FFFF))) return 1;
	*cp = c;
	return n;
}

size_t bt_jj_utf8_back(const char *s, size_t at)
{
	do at--;
	while (at && ((unsigned char)s[at] & 0xC0) == 0x80);
	return at;
}

size_t bt_jj_utf8_put(uint32_t cp, char *out)
{
	unsigned char *o = (unsigned char *)out;
	if (cp < 0x80) {
		o[0] = (unsigned char)cp;
		return 1;
	}
	if (cp < 0x800) {
		o[0] = (unsigned char)(0xC0 | cp >> 6);
		o[1] = (unsigned char)(0x80 | (cp & 63));
		return 2;
	}
	if (cp < 0x10000) {
		o[0] = (unsigned char)(0xE0 | cp >> 12);
		o[1] = (unsigned char)(0x80 | (cp >> 6 & 63));
		o[2] = (unsigned char)(0x80 | (cp & 63));
		return 3;
	}
	o[0] = (unsigned char)(0xF0 | (cp >> 18 & 7));
	o[1] = (unsigned char)(0x80 | (cp >> 12 & 63));
	o[2] = (unsigned char)(0x80 | (cp >> 6 & 63));
	o[3] = (unsigned char)(0x80 | (cp & 63));
	return 4;
}

size_t bt_jj_utf8_count(const char *s, size_t len)
{
	size_t n = len, i = 0;
	for (; i + 8 <= len; i += 8) { /* take off continuation bytes, 10xxxxxx, eight at a time */
		uint64_t w;
		memcpy(&w, s + i, 8);
		n -= (size_t)__builtin_popcountll(w >> 7 & ~(w >> 6) & 0x0101010101010101u);
	}
	for (; i < len; i++) n -= ((unsigned char)s[i] & 0xC0) == 0x80;
	return n;
}

size_t bt_jj_utf8_check(const char *s, size_t len)
{
	for (size_t i = 0; i < len;) {
		uint32_t cp;
		size_t n = bt_jj_utf8_get(s + i, len - i, &cp);
		if ((n == 1 && cp == 0xFFFD) || (cp >= 0xD800 && cp < 0xE000)) return i;
		i += n;
	}
	return len;
}

static bool in_ranges(uint32_t cp, const struct bt_jj_range32 *r, size_t n)
{
	size_t lo = 0, hi = n;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		if (cp > r[mid].last) lo = mid + 1;
		else hi = mid;
	}
	return lo < n && cp >= r[lo].first;
}

static utf8proc_category_t category(uint32_t cp)
{
	return utf8proc_category((utf8proc_int32_t)cp);
}

bool bt_jj_is_space(uint32_t cp)
{
	if (cp < 0x80) return (cp >= 9 && cp <= 13) || (cp >= 28 && cp <= 32);
	return cp == 0x85 || cp == 0xA0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200A) || cp == 0x2028 ||
	       cp == 0x2029 || cp == 0x202F || cp == 0x205F || cp == 0x3000;
}

bool bt_jj_is_line_end(uint32_t cp)
{
	return (cp >= 10 && cp <= 13) || (cp >= 0x1C && cp <= 0x1E) || cp == 0x85 || cp == 0x2028 || cp == 0x2029;
}

bool bt_jj_is_alpha(uint32_t cp)
{
	if (cp < 0x80) return (cp | 32) >= 'a' && (cp | 32) <= 'z';
	utf8proc_category_t c = category(cp);
	return c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO;
}

bool bt_jj_is_decimal(uint32_t cp)
{
	return cp < 0x80 ? cp >= '0' && cp <= '9' : category(cp) == UTF8PROC_CATEGORY_ND;
}

bool bt_jj_is_digit(uint32_t cp)
{
	return bt_jj_is_decimal(cp) || in_ranges(cp, bt_jj_digits, bt_jj_n_digits);
}

bool bt_jj_is_numeric(uint32_t cp)
{
	if (cp < 0x80) return cp >= '0' && cp <= '9';
	utf8proc_category_t c = category(cp);
	return (c >= UTF8PROC_CATEGORY_ND && c <= UTF8PROC_CATEGORY_NO) ||
	       in_ranges(cp, bt_jj_numerals, bt_jj_n_numerals);
}

bool bt_jj_is_alnum(uint32_t cp)
{
	return bt_jj_is_alpha(cp) || bt_jj_is_numeric(cp);
}

bool bt_jj_is_lower(uint32_t cp)
{
	return category(cp) == UTF8PROC_CATEGORY_LL || in_ranges(cp, bt_jj_other_lower, bt_jj_n_other_lower);
}

bool bt_jj_is_upper(uint32_t cp)
{
	return category(cp) == UTF8PROC_CATEGORY_LU || in_ranges(cp, bt_jj_other_upper, bt_jj_n_other_upper);
}

bool bt_jj_is_title(uint32_t cp)
{
	return category(cp) == UTF8PROC_CATEGORY_LT;
}

bool bt_jj_is_cased(uint32_t cp)
{
	return bt_jj_is_lower(cp) || bt_jj_is_upper(cp) || bt_jj_is_title(cp);
}

bool bt_jj_is_case_ignorable(uint32_t cp)
{
	switch (category(cp)) {
	case UTF8PROC_CATEGORY_MN:
	case UTF8PROC_CATEGORY_ME:
	case UTF8PROC_CATEGORY_CF:
	case UTF8PROC_CATEGORY_LM:
	case UTF8PROC_CATEGORY_SK: return true;
	default: return in_ranges(cp, bt_jj_mid_letters, bt_jj_n_mid_letters);
	}
}

bool bt_jj_is_printable(uint32_t cp)
{
	if (cp < 0x7F) return cp >= 32;
	if (cp >= 0xD800 && cp < 0xE000) return false;
	switch (category(cp)) {
	case UTF8PROC_CATEGORY_CN:
	case UTF8PROC_CATEGORY_CC:
	case UTF8PROC_CATEGORY_CF:
	case UTF8PROC_CATEGORY_CS:
	case UTF8PROC_CATEGORY_CO:
	case UTF8PROC_CATEGORY_ZS:
	case UTF8PROC_CATEGORY_ZL:
	case UTF8PROC_CATEGORY_ZP: return false;
	default: return true;
	}
}

bool bt_jj_is_ident(uint32_t cp, bool first)
{
	if (cp == '_' || bt_jj_is_alpha(cp)) return true;
	if (cp < 0x80) return !first && cp >= '0' && cp <= '9';
	switch (category(cp)) {
	case UTF8PROC_CATEGORY_NL: return true;
	case UTF8PROC_CATEGORY_MN:
	case UTF8PROC_CATEGORY_MC:
	case UTF8PROC_CATEGORY_ND:
	case UTF8PROC_CATEGORY_PC: return !first;
	default: return false;
	}
}

int bt_jj_decimal_value(uint32_t cp)
{
	if (cp < 0x80) return cp >= '0' && cp <= '9' ? (int)cp - '0' : -1;
	if (category(cp) != UTF8PROC_CATEGORY_ND) return -1;
	/* Unicode keeps decimal digits in runs of ten from zero (Stability Policy: Numeric_Type=Decimal): the runs begin at
	 * multiples of 16 or at +6, and the mathematical digits are five runs from U+1D7CE. */
	if (cp >= 0x1D7CE && cp <= 0x1D7FF) return (int)((cp - 0x1D7CE) % 10);
	uint32_t zero = cp & ~15u;
	if (category(zero) == UTF8PROC_CATEGORY_ND && cp - zero < 10) return (int)(cp - zero);
	return (int)((cp - 6) & 15);
}

static size_t decode3(const char *s, uint32_t out[3])
{
	size_t n = 0, len = strlen(s);
	for (size_t i = 0; i < len && n < 3; n++) i += bt_jj_utf8_get(s + i, len - i, &out[n]);
	return n;
}

static const struct bt_jj_special_case *special(uint32_t cp)
{
	size_t lo = 0, hi = bt_jj_n_special_cases;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		if (bt_jj_special_cases[mid].cp < cp) lo = mid + 1;
		else hi = mid;
	}
	return lo < bt_jj_n_special_cases && bt_jj_special_cases[lo].cp == cp ? &bt_jj_special_cases[lo] : NULL;
}

size_t bt_jj_map_case(enum bt_jj_case to, uint32_t cp, uint32_t out[3])
{
	if (cp < 0x80) {
		bool lower = cp >= 'a' && cp <= 'z', upper = cp >= 'A' && cp <= 'Z',
		     up = to == BT_JJ_UPPER || to == BT_JJ_TITLE;
		out[0] = (up ? lower : upper) ? cp ^ 32 : cp;
		return 1;
	}
	const struct bt_jj_special_case *sp;
	switch (to) {
	case BT_JJ_LOWER:
		if (cp == 0x130) return decode3("i\xCC\x87", out); /* I with a dot */
		out[0] = (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp);
		return 1;
	case BT_JJ_FOLD: {
		utf8proc_int32_t buf[8];
		int last = 0;
		utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)cp, buf, 8, UTF8PROC_CASEFOLD, &last);
		if (n < 1 || n > 3) break;
		for (utf8proc_ssize_t i = 0; i < n; i++) out[i] = (uint32_t)buf[i];
		return (size_t)n;
	}
	case BT_JJ_UPPER:
		sp = special(cp);
		if (sp) return decode3(sp->upper, out);
		out[0] = (uint32_t)utf8proc_toupper((utf8proc_int32_t)cp);
		return 1;
	case BT_JJ_TITLE:
		sp = special(cp);
		if (sp) return decode3(sp->title, out);
		out[0] = (uint32_t)utf8proc_totitle((utf8proc_int32_t)cp);
		return 1;
	}
	out[0] = cp;
	return 1;
}
