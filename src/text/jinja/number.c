/* number.c: arithmetic of int (any size), bool and float, with Python's results. */
#include "text/jinja/big.h"
#include "text/jinja/interp.h"
#include "text/jinja/number_text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_BITS (BT_JJ_BIG_LIMBS * 32)

static const struct bt_jj_big *to_big(struct bt_jj *r, struct bt_jj_val v)
{
	return v.type == BT_JJ_BIG ? v.big : bt_jj_big_of(&r->arena, bt_jj_small(v));
}

static struct bt_jj_val from_big(struct bt_jj *r, const struct bt_jj_big *b)
{
	return b ? bt_jj_big_val(b)
	         : bt_jj_fail_limit(r, "memory for integers ran out, or one is beyond %d bits", MAX_BITS);
}

static struct bt_jj_val zero_division(struct bt_jj *r, const char *what)
{
	return bt_jj_fail(r, "ZeroDivisionError", "%s", what);
}

bool bt_jj_to_double(struct bt_jj *r, struct bt_jj_val v, double *out)
{
	*out = v.type == BT_JJ_FLOAT ? v.f : v.type == BT_JJ_BIG ? bt_jj_big_double(v.big) : (double)bt_jj_small(v);
	if (v.type == BT_JJ_BIG && isinf(*out)) {
		bt_jj_fail(r, "OverflowError", "int too large to convert to float");
		return false;
	}
	return true;
}

static int cmp_int_double(int64_t i, double f)
{
	if (isnan(f)) return 2;
	if (f >= 0x1p63) return -1;
	if (f < -0x1p63) return 1;
	int64_t t = (int64_t)f; /* cut toward zero */
	if (i != t) return i < t ? -1 : 1;
	double frac = f - (double)t;
	return frac > 0 ? -1 : frac < 0;
}

static int cmp_big_double(struct bt_jj *r, const struct bt_jj_big *b, double f)
{
	if (isnan(f)) return 2;
	if (isinf(f)) return f > 0 ? -1 : 1;
	const struct bt_jj_big *t = bt_jj_big_of_double(&r->arena, f);
	return t ? bt_jj_big_cmp(b, t) : 2; /* a BIG beyond 2^53 never equals a fraction */
}

int bt_jj_num_cmp(struct bt_jj *r, struct bt_jj_val a, struct bt_jj_val b)
{
	bool fa = a.type == BT_JJ_FLOAT, fb = b.type == BT_JJ_FLOAT;
	if (fa && fb) return isnan(a.f) || isnan(b.f) ? 2 : (a.f > b.f) - (a.f < b.f);
	if (fa) {
		int c = bt_jj_num_cmp(r, b, a);
		return c == 2 ? 2 : -c;
	}
	if (fb) return a.type == BT_JJ_BIG ? cmp_big_double(r, a.big, b.f) : cmp_int_double(bt_jj_small(a), b.f);
	if (a.type != BT_JJ_BIG && b.type != BT_JJ_BIG) {
		int64_t x = bt_jj_small(a), y = bt_jj_small(b);
		return (x > y) - (x < y);
	}
	if (a.type == BT_JJ_BIG && b.type == BT_JJ_BIG) return bt_jj_big_cmp(a.big, b.big);
	/* one of them is out of the other's range */
	return a.type == BT_JJ_BIG ? (a.big->neg ? -1 : 1) : (b.big->neg ? 1 : -1);
}

struct bt_jj_val bt_jj_num_neg(struct bt_jj *r, struct bt_jj_val v)
{
	if (v.type == BT_JJ_FLOAT) return bt_jj_float(-v.f);
	if (v.type != BT_JJ_BIG && bt_jj_small(v) != INT64_MIN) return bt_jj_int(-bt_jj_small(v));
	const struct bt_jj_big *b = to_big(r, v), *zero = bt_jj_big_of(&r->arena, 0);
	return from_big(r, b && zero ? bt_jj_big_add(&r->arena, zero, b, true) : NULL);
}

/* The quotient of two ints, rounded once. */
static struct bt_jj_val true_divide(struct bt_jj *r, struct bt_jj_val a, struct bt_jj_val b)
{
	const int64_t exact = (int64_t)1 << 53; /* up to here a double holds every int */
	if (a.type != BT_JJ_BIG && b.type != BT_JJ_BIG) {
		int64_t i = bt_jj_small(a), j = bt_jj_small(b);
		if (i >= -exact && i <= exact && j >= -exact && j <= exact) return bt_jj_float((double)i / (double)j);
	}
	const struct bt_jj_big *x = to_big(r, a), *y = to_big(r, b);
	double f;
	if (!x || !y || !bt_jj_charge(r, 1 + (size_t)x->n * y->n / 16) || !bt_jj_big_quotient(&r->arena, x, y, &f))
		return from_big(r, NULL);
	if (isinf(f)) return bt_jj_fail(r, "OverflowError", "integer division result too large for a float");
	return bt_jj_float(f);
}

static double float_mod(double x, double y)
{
	double m = fmod(x, y);
	if (m == 0) return copysign(0, y);
	return (m < 0) != (y < 0) ? m + y : m;
}

static double float_floordiv(double x, double y)
{
	double m = fmod(x, y), div = (x - m) / y;
	if (m != 0 && (y < 0) != (m < 0)) div -= 1;
	if (div == 0) return copysign(0, x / y);
	double f = floor(div);
	return div - f > 0.5 ? f + 1 : f;
}

static struct bt_jj_val float_pow(struct bt_jj *r, double x, double y)
{
	if (x == 0 && y < 0) return zero_division(r, "0.0 cannot be raised to a negative power");
	if (x < 0 && isfinite(x) && isfinite(y) && y != floor(y))
		return bt_jj_fail(r, "TypeError", "a complex number is not supported");
	double f = pow(x, y);
	if (isinf(f) && isfinite(x) && isfinite(y))
		return bt_jj_fail(r, "OverflowError", "(34, 'Numerical result out of range')");
	return bt_jj_float(f);
}

static struct bt_jj_val float_arith(struct bt_jj *r, enum bt_jj_op op, double x, double y)
{
	switch (op) {
	case BT_JJ_ADD: return bt_jj_float(x + y);
	case BT_JJ_SUB: return bt_jj_float(x - y);
	case BT_JJ_MUL: return bt_jj_float(x * y);
	case BT_JJ_DIV: return y == 0 ? zero_division(r, "float division by zero") : bt_jj_float(x / y);
	case BT_JJ_FLOORDIV:
		return y == 0 ? zero_division(r, "float floor division by zero") : bt_jj_float(float_floordiv(x, y));
	case BT_JJ_MOD: return y == 0 ? zero_division(r, "float modulo") : bt_jj_float(float_mod(x, y));
	case BT_JJ_POW: return float_pow(r, x, y);
	}
	return bt_jj_failed();
}

static struct bt_jj_val big_arith(struct bt_jj *r, enum bt_jj_op op, struct bt_jj_val a, struct bt_jj_val b)
{
	const struct bt_jj_big *x = to_big(r, a), *y = to_big(r, b), *out = NULL;
	if (!x || !y) return from_big(r, NULL);
	if (!bt_jj_charge(r, 1 + (size_t)x->n * y->n / 16)) return bt_jj_failed();
	switch (op) {
	case BT_JJ_ADD:
	case BT_JJ_SUB: return from_big(r, bt_jj_big_add(&r->arena, x, y, op == BT_JJ_SUB));
	case BT_JJ_MUL: return from_big(r, bt_jj_big_mul(&r->arena, x, y));
	case BT_JJ_FLOORDIV:
	case BT_JJ_MOD:
		if (!bt_jj_big_divmod(&r->arena, x, y, op == BT_JJ_MOD ? NULL : &out, op == BT_JJ_MOD ? &out : NULL))
			out = NULL;
		return from_big(r, out);
	default: return bt_jj_failed();
	}
}

static bool is_negative(struct bt_jj_val v)
{
	return v.type == BT_JJ_BIG ? v.big->neg : bt_jj_small(v) < 0;
}

/* base^exp for base 0, 1 or -1 */
static int64_t unit_pow(const struct bt_jj_big *base, struct bt_jj_val exp)
{
	bool odd = exp.type == BT_JJ_BIG ? exp.big->d[0] & 1 : bt_jj_small(exp) & 1;
	if (exp.type != BT_JJ_BIG && !bt_jj_small(exp)) return 1;
	return !base->n ? 0 : base->neg && odd ? -1 : 1;
}

/* By squaring; the size of the result is bounded before anything is multiplied. */
static struct bt_jj_val int_pow(struct bt_jj *r, struct bt_jj_val base, struct bt_jj_val exp)
{
	if (is_negative(exp)) {
		double x, y;
		if (!bt_jj_to_double(r, base, &x) || !bt_jj_to_double(r, exp, &y)) return bt_jj_failed();
		return float_pow(r, x, y);
	}
	const struct bt_jj_big *b = to_big(r, base), *acc = bt_jj_big_of(&r->arena, 1);
	if (!b || !acc) return from_big(r, NULL);
	size_t bits = bt_jj_big_bits(b);
	if (bits <= 1) return bt_jj_int(unit_pow(b, exp));
	if (exp.type == BT_JJ_BIG || (uint64_t)bt_jj_small(exp) > MAX_BITS ||
	    (bits - 1) * (size_t)bt_jj_small(exp) > MAX_BITS)
		return bt_jj_fail_limit(r, "an integer power is beyond %d bits", MAX_BITS);
	for (uint64_t e = (uint64_t)bt_jj_small(exp); acc && b && e; e >>= 1) {
		if (!bt_jj_charge(r, 1 + (size_t)b->n * b->n / 8)) return bt_jj_failed();
		if (e & 1) acc = bt_jj_big_mul(&r->arena, acc, b);
		if (e > 1) b = bt_jj_big_mul(&r->arena, b, b);
	}
	return from_big(r, b ? acc : NULL);
}

/* In 64 bits; false when the result needs more. */
static bool small_arith(enum bt_jj_op op, int64_t x, int64_t y, int64_t *out)
{
	switch (op) {
	case BT_JJ_ADD: return !__builtin_add_overflow(x, y, out);
	case BT_JJ_SUB: return !__builtin_sub_overflow(x, y, out);
	case BT_JJ_MUL: return !__builtin_mul_overflow(x, y, out);
	case BT_JJ_FLOORDIV:
		if (y == -1) return !__builtin_sub_overflow(0, x, out);
		*out = x / y - (x % y && (x % y < 0) != (y < 0));
		return true;
	case BT_JJ_MOD:
		*out = y == -1 ? 0 : x % y;
		if (*out && (*out < 0) != (y < 0)) *out += y;
		return true;
	default: return false;
	}
}

static struct bt_jj_val int_arith(struct bt_jj *r, enum bt_jj_op op, struct bt_jj_val a, struct bt_jj_val b)
{
	int64_t out;
	if (op == BT_JJ_POW) return int_pow(r, a, b);
	if (b.type != BT_JJ_BIG && !bt_jj_small(b)) {
		if (op == BT_JJ_DIV) return zero_division(r, "division by zero");
		if (op == BT_JJ_FLOORDIV) return zero_division(r, "integer division or modulo by zero");
		if (op == BT_JJ_MOD) return zero_division(r, "integer modulo by zero");
	}
	if (op == BT_JJ_DIV) return true_divide(r, a, b);
	if (a.type != BT_JJ_BIG && b.type != BT_JJ_BIG && small_arith(op, bt_jj_small(a), bt_jj_small(b), &out))
		return bt_jj_int(out);
	return big_arith(r, op, a, b);
}

struct bt_jj_val bt_jj_arith(struct bt_jj *r, enum bt_jj_op op, struct bt_jj_val a, struct bt_jj_val b)
{
	if (a.type != BT_JJ_FLOAT && b.type != BT_JJ_FLOAT) return int_arith(r, op, a, b);
	double x, y;
	if (!bt_jj_to_double(r, a, &x) || !bt_jj_to_double(r, b, &y)) return bt_jj_failed();
	return float_arith(r, op, x, y);
}

struct bt_jj_val bt_jj_int_of_float(struct bt_jj *r, double f)
{
	if (isnan(f)) return bt_jj_fail(r, "ValueError", "cannot convert float NaN to integer");
	if (isinf(f)) return bt_jj_fail(r, "OverflowError", "cannot convert float infinity to integer");
	if (f >= -0x1p63 && f < 0x1p63) return bt_jj_int((int64_t)f);
	return from_big(r, bt_jj_big_of_double(&r->arena, f));
}

/* An int to a multiple of 10^-digits (digits < 0), ties to even. */
static struct bt_jj_val round_int(struct bt_jj *r, struct bt_jj_val v, int64_t digits)
{
	if (digits >= 0) return v.type == BT_JJ_BOOL ? bt_jj_int(v.b) : v;
	if (digits < -5000) return bt_jj_int(0);
	struct bt_jj_val unit = int_pow(r, bt_jj_int(10), bt_jj_int(-digits));
	struct bt_jj_val q = bt_jj_arith(r, BT_JJ_FLOORDIV, v, unit);
	if (bt_jj_is_fail(unit) || bt_jj_is_fail(q)) return bt_jj_failed();
	struct bt_jj_val low = bt_jj_arith(r, BT_JJ_MUL, q, unit);
	struct bt_jj_val twice = bt_jj_arith(r, BT_JJ_MUL, bt_jj_arith(r, BT_JJ_SUB, v, low), bt_jj_int(2));
	if (bt_jj_is_fail(twice)) return twice;
	int c = bt_jj_num_cmp(r, twice, unit);
	struct bt_jj_val odd = bt_jj_arith(r, BT_JJ_MOD, q, bt_jj_int(2));
	bool up = c > 0 || (c == 0 && bt_jj_small(odd));
	return up ? bt_jj_arith(r, BT_JJ_ADD, low, unit) : low;
}

/* The decimal expansion is exact in the C library, so rounding there rounds once. */
static double round_float(double f, int digits)
{
	char buf[700];
	if (digits >= 0) {
		snprintf(buf, sizeof buf, "%.*f", digits, f);
		return bt_jj_strtod(buf);
	}
	int exp10 = 0;
	snprintf(buf, sizeof buf, "%.340e", fabs(f)); /* exact from 1 on; below, all becomes zero */
	sscanf(strchr(buf, 'e') + 1, "%d", &exp10);
	int keep = exp10 + digits; /* digits behind the first one */
	if (keep < -1) return copysign(0, f);
	if (keep >= 0) {
		snprintf(buf, sizeof buf, "%.*e", keep, f);
	} else { /* none stays: the next power of ten when more than half of it, else zero */
		bool up = *buf > '5' || (*buf == '5' && strspn(buf + 2, "0") < 340);
		snprintf(buf, sizeof buf, "%se%d", up ? "1" : "0", -digits);
	}
	return copysign(bt_jj_strtod(buf), f);
}

struct bt_jj_val bt_jj_round(struct bt_jj *r, struct bt_jj_val v, int64_t digits)
{
	if (v.type != BT_JJ_FLOAT) return round_int(r, v, digits);
	if (!isfinite(v.f) || digits > 322) return v;
	if (digits < -308) return bt_jj_float(copysign(0, v.f));
	double f = round_float(v.f, (int)digits);
	if (isinf(f)) return bt_jj_fail(r, "OverflowError", "rounded value too large to represent");
	return bt_jj_float(f);
}
