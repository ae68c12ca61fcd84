/* unicode.h: UTF-8, and the properties of characters that Python's str methods look at. */
#ifndef BT_TEXT_JINJA_UNICODE_H
#define BT_TEXT_JINJA_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One character from s (len > 0): bytes used, at least 1. Bytes that are no UTF-8 count as U+FFFD one by one; lone
 * surrogates in three bytes pass. */
size_t bt_jj_utf8_get(const char *s, size_t len, uint32_t *cp);
/* Where the character before s + at begins (0 < at). */
size_t bt_jj_utf8_back(const char *s, size_t at);
/* At most 4 bytes into out; surrogates pass. */
size_t bt_jj_utf8_put(uint32_t cp, char *out);
/* Characters in s. */
size_t bt_jj_utf8_count(const char *s, size_t len);
/* The offset of the first byte that is not strict UTF-8, len when all is well. */
size_t bt_jj_utf8_check(const char *s, size_t len);

/* str.isspace() and friends of one character. */
bool bt_jj_is_space(uint32_t cp);
bool bt_jj_is_alpha(uint32_t cp);
bool bt_jj_is_decimal(uint32_t cp);
bool bt_jj_is_digit(uint32_t cp);
bool bt_jj_is_numeric(uint32_t cp);
bool bt_jj_is_alnum(uint32_t cp);
bool bt_jj_is_lower(uint32_t cp);
bool bt_jj_is_upper(uint32_t cp);
bool bt_jj_is_title(uint32_t cp);
bool bt_jj_is_printable(uint32_t cp);
bool bt_jj_is_line_end(uint32_t cp); /* for splitlines() */
bool bt_jj_is_ident(uint32_t cp, bool first);
bool bt_jj_is_cased(uint32_t cp);
bool bt_jj_is_case_ignorable(uint32_t cp);
/* 0..9 of a decimal digit in any script, -1 otherwise. */
int bt_jj_decimal_value(uint32_t cp);

/* Full case mappings: up to 3 characters into out, returns how many. */
enum bt_jj_case { BT_JJ_LOWER, BT_JJ_UPPER, BT_JJ_TITLE, BT_JJ_FOLD };
size_t bt_jj_map_case(enum bt_jj_case to, uint32_t cp, uint32_t out[3]);

/* unicode_tables.c */
struct bt_jj_special_case {
	uint32_t cp;
	const char *upper, *title; /* UTF-8 */
};
extern const struct bt_jj_special_case bt_jj_special_cases[];
extern const size_t bt_jj_n_special_cases;
struct bt_jj_range32 {
	uint32_t first, last;
};
extern const struct bt_jj_range32 bt_jj_digits[], bt_jj_numerals[], bt_jj_other_lower[], bt_jj_other_upper[],
	bt_jj_mid_letters[];
extern const size_t bt_jj_n_digits, bt_jj_n_numerals, bt_jj_n_other_lower, bt_jj_n_other_upper, bt_jj_n_mid_letters;

#endif
