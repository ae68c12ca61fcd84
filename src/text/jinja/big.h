/* big.h: integers of any size, as Python has them, up to a limit.
 *
 * Magnitude in 32-bit limbs, schoolbook algorithms: division is Knuth's Algorithm D (The Art of Computer Programming,
 * volume 2, 4.3.1). Results stay in the arena. NULL: no memory, or more than BT_JJ_BIG_LIMBS limbs (the caller checks
 * the size first where it must tell them apart).
 */
#ifndef BT_TEXT_JINJA_BIG_H
#define BT_TEXT_JINJA_BIG_H

#include "text/jinja/value.h"

#define BT_JJ_BIG_LIMBS 2048 /* 65,536 bits: Python refuses to print more than 4,300 digits (some 14,300 bits) */

struct bt_jj_big {
	bool neg;
	uint32_t n;   /* limbs in use, the highest one is not zero; 0 for zero */
	uint32_t d[]; /* [n], lowest first */
};

const struct bt_jj_big *bt_jj_big_of(struct bt_arena *a, int64_t v);
const struct bt_jj_big *bt_jj_big_of_double(struct bt_arena *a, double f); /* cut toward zero; f is finite */
/* INT where it fits, else BIG; FAIL for NULL. */
struct bt_jj_val bt_jj_big_val(const struct bt_jj_big *b);

const struct bt_jj_big *bt_jj_big_add(struct bt_arena *a, const struct bt_jj_big *x, const struct bt_jj_big *y,
                                      bool sub);
const struct bt_jj_big *bt_jj_big_mul(struct bt_arena *a, const struct bt_jj_big *x, const struct bt_jj_big *y);
/* Floor division; y is not zero. quot and rem may be NULL. */
bool bt_jj_big_divmod(struct bt_arena *a, const struct bt_jj_big *x, const struct bt_jj_big *y,
                      const struct bt_jj_big **quot, const struct bt_jj_big **rem);
int bt_jj_big_cmp(const struct bt_jj_big *x, const struct bt_jj_big *y);
/* Nearest double, ties to even; infinity when too large. */
double bt_jj_big_double(const struct bt_jj_big *x);
/* x / y to the nearest double, ties to even; infinity when too large. y is not zero. false: no memory. */
bool bt_jj_big_quotient(struct bt_arena *a, const struct bt_jj_big *x, const struct bt_jj_big *y, double *out);
/* Bits of the magnitude. */
size_t bt_jj_big_bits(const struct bt_jj_big *x);
/* Digits (0-9a-z) of a valid number in base 2..36, without sign. */
const struct bt_jj_big *bt_jj_big_parse(struct bt_arena *a, const char *digits, size_t len, unsigned base, bool neg);
/* NUL-terminated text in base 2..36, with '-'. */
const char *bt_jj_big_text(struct bt_arena *a, const struct bt_jj_big *x, unsigned base, size_t *len);

#endif
