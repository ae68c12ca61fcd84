/* number_text.h: the decimal form of floats. */
#ifndef BT_TEXT_JINJA_NUMBER_TEXT_H
#define BT_TEXT_JINJA_NUMBER_TEXT_H

#include "text/jinja/value.h"

#define BT_JJ_FLOAT_TEXT 32
/* repr(f), NUL-terminated; its length. */
size_t bt_jj_float_repr(double f, char out[BT_JJ_FLOAT_TEXT]);
/* The first `precision` (1..1100) significant digits of |f|, rounded, and the exponent of the first one. */
int bt_jj_float_digits(double f, int precision, char *digits);
/* strtod with '.' whatever the locale; at most some 700 characters. */
double bt_jj_strtod(const char *s);
/* A number in ASCII digits without sign, prefix or underscores. */
struct bt_jj_val bt_jj_int_digits(struct bt_jj *r, const char *p, size_t len, unsigned base, bool neg);

#endif
