#include "text/jinja/big.h"

#include <float.h>
#include <math.h>
#include <string.h>

static struct bt_jj_big *new_big(struct bt_arena *a, size_t n)
{
	if (n > BT_JJ_BIG_LIMBS) return NULL;
	struct bt_jj_big *b = bt_arena_zalloc(a, sizeof *b + n * sizeof b->d[0]);
	if (b) b->n = (uint32_t)n;
	return b;
}

static const struct bt_jj_big *trim(struct bt_jj_big *b)
{
	while (b->n && !b->d[b->n - 1]) b->n--;
	if (!b->n) b->neg = false;
	return b;
}

const struct bt_jj_big *bt_jj_big_of(struct bt_arena *a, int64_t v)
{
	struct bt_jj_big *b = new_big(a, 2);
	if (!b) return NULL;
	uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
	b->neg = v < 0;
	b->d[0] = (uint32_t)u;
	b->d[1] = (uint32_t)(u >> 32);
	return trim(b);
}

const struct bt_jj_big *bt_jj_big_of_double(struct bt_arena *a, double f)
{
	int exp;
	double m = frexp(fabs(trunc(f)), &exp);
	if (exp <= 0) return bt_jj_big_of(a, 0);
	uint64_t man = (uint64_t)ldexp(m, 53);
	int shift = exp - 53;
	if (shift <= 0) {
		man >>= -shift;
		shift = 0;
	}
	struct bt_jj_big *b = new_big(a, (size_t)shift / 32 + 4);
	if (!b) return NULL;
	unsigned __int128 w = (unsigned __int128)man << (shift % 32);
	for (size_t i = (size_t)shift / 32; w; i++, w >>= 32) b->d[i] = (uint32_t)w;
	b->neg = f < 0;
	return trim(b);
}

struct bt_jj_val bt_jj_big_val(const struct bt_jj_big *b)
{
	if (!b) return bt_jj_failed();
	if (b->n <= 2) {
		uint64_t u = (b->n > 1 ? (uint64_t)b->d[1] << 32 : 0) | (b->n ? b->d[0] : 0);
		if (u <= INT64_MAX) return bt_jj_int(b->neg ? -(int64_t)u : (int64_t)u);
		if (b->neg && u == (uint64_t)1 << 63) return bt_jj_int(INT64_MIN);
	}
	return (struct bt_jj_val){.type = BT_JJ_BIG, .big = b};
}

static int mag_cmp(const struct bt_jj_big *x, const struct bt_jj_big *y)
{
	if (x->n != y->n) return x->n > y->n ? 1 : -1;
	for (size_t i = x->n; i--;)
		if (x->d[i] != y->d[i]) return x->d[i] > y->d[i] ? 1 : -1;
	return 0;
}

int bt_jj_big_cmp(const struct bt_jj_big *x, const struct bt_jj_big *y)
{
	if (x->neg != y->neg) return x->neg ? -1 : 1;
	int c = mag_cmp(x, y);
	return x->neg ? -c : c;
}

static const struct bt_jj_big *mag_add(struct bt_arena *a, const struct bt_jj_big *x, const struct bt_jj_big *y,
                                       bool neg)
{
	if (x->n < y->n) {
		const struct bt_jj_big *t = x;
		x = y;
		y = t;
	}
	struct bt_jj_big *b = new_big(a, (size_t)x->n + 1);
	if (!b) return NULL;
	uint64_t carry = 0;
	for (size_t i = 0; i < x->n; i++) {
		carry += (uint64_t)x->d[i] + (i < y->n ? y->d[i] : 0);
		b->d[i] = (uint32_t)carry;
		carry >>= 32;
	}
	b->d[x->n] = (uint32_t)carry;
	b->neg = neg;
	return trim(b);
}

/* |x| - |y| for |x| >= |y| */
static const struct bt_jj_big *mag_sub(struct bt_arena *a, const struct bt_jj_big *x, const struct bt_jj_big *y,
                                       bool neg)
{
	struct bt_jj_big *b = new_big(a, x->n);
	if (!b) return NULL;
	int64_t borrow = 0;
	for (size_t i = 0; i < x->n; i++) {
		borrow += (int64_t)x->d[i] - (i < y->n ? y->d[i] : 0);
		b->d[i] = (uint32_t)borrow;
		borrow >>= 32;
	}
	b->neg = neg;
	return trim(b);
}

const struct bt_jj_big *bt_jj_big_add(struct bt_arena *a, const struct bt_jj_big *x, const struct bt_jj_big *y,
                                      bool sub)
{
	bool yneg = y->neg != sub;
	if (x->neg == yneg) return mag_add(a, x, y, x->neg);
	return mag_cmp(x, y) >= 0 ? mag_sub(a, x, y, x->neg) : mag_sub(a, y, x, yneg);
}

const struct bt_jj_big *bt_jj_big_mul(struct bt_arena *a, const struct bt_jj_big *x, const struct bt_jj_big *y)
{
	struct bt_jj_big *b = new_big(a, (size_t)x->n + y->n);
	if (!b) return NULL;
	for (size_t i = 0; i < x->n; i++) {
		uint64_t carry = 0;
		for (size_t j = 0; j < y->n; j++) {
			carry += (uint64_t)x->d[i] * y->d[j] + b->d[i + j];
			b->d[i + j] = (uint32_t)carry;
			carry >>= 32;
		}
		b->d[i + y->n] = (uint32_t)carry;
	}
	b->neg = x->neg != y->neg;
	return trim(b);
}

/* d[0..n) /= v, in place; the remainder. */
static uint32_t div_small(uint32_t *d, size_t n, uint32_t v)
{
	uint64_t rem = 0;
	for (size_t i = n; i--;) {
		rem = rem << 32 | d[i];
		d[i] = (uint32_t)(rem / v);
		rem %= v;
	}
	return (uint32_t)rem;
}

/* Algorithm D: u (n + m + 1 limbs, normalised with v) becomes the remainder, q gets m + 1 limbs. */
static void div_knuth(uint32_t *u, const uint32_t *v, size_t n, size_t m, uint32_t *q)
{
	for (size_t j = m + 1; j--;) {
		uint64_t top = (uint64_t)u[j + n] << 32 | u[j + n - 1], qhat = top / v[n - 1], rhat = top % v[n - 1];
		while (qhat >> 32 || qhat * v[n - 2] > (rhat << 32 | u[j + n - 2])) {
			qhat--;
			rhat += v[n - 1];
			if (rhat >> 32) break;
		}
		uint64_t carry = 0;
		int64_t borrow = 0;
		for (size_t i = 0; i < n; i++) {
			carry += qhat * v[i];
			borrow += (int64_t)u[i + j] - (uint32_t)carry;
			u[i + j] = (uint32_t)borrow;
			borrow >>= 32;
			carry >>= 32;
		}
		borrow += (int64_t)u[j + n] - (int64_t)carry;
		u[j + n] = (uint32_t)borrow;
		q[j] = (uint32_t)qhat;
		if (borrow >= 0) continue;
		q[j]--; /* one too many: add the divisor back */
		carry = 0;
		for (size_t i = 0; i < n; i++) {
			carry += (uint64_t)u[i + j] + v[i];
			u[i + j] = (uint32_t)carry;
			carry >>= 32;
		}
		u[j + n] += (uint32_t)carry;
	}
}

static void shift_left(uint32_t *out, const uint32_t *in, size_t n, int by)
{
	uint32_t carry = 0;
	for (size_t i = 0; i < n; i++) {
		out[i] = in[i] << by | carry;
		carry = by ? in[i] >> (32 - by) : 0;
	}
	out[n] = carry;
}

/* |x| / |y| for |x| >= |y| > 0, y of two limbs or more. */
static bool mag_divmod(struct bt_arena *a, const struct bt_jj_big *x, const struct bt_jj_big *y,
                       struct bt_jj_big **quot, struct bt_jj_big **rem)
{
	size_t n = y->n, m = x->n - n;
	int by = __builtin_clz(y->d[n - 1]);
	uint32_t *u = bt_arena_alloc(a, (x->n + 1) * sizeof *u), *v = bt_arena_alloc(a, (n + 1) * sizeof *v);
	*quot = new_big(a, m + 1);
	*rem = new_big(a, n);
	if (!u || !v || !*quot || !*rem) return false;
	shift_left(u, x->d, x->n, by);
	shift_left(v, y->d, n, by);
	div_knuth(u, v, n, m, (*quot)->d);
	for (size_t i = 0; i < n; i++)
		(*rem)->d[i] = by ? u[i] >> by | (uint32_t)((uint64_t)u[i + 1] << (32 - by)) : u[i];
	return true;
}

bool bt_jj_big_divmod(struct bt_arena *a, const struct bt_jj_big *x, const struct bt_jj_big *y,
                      const struct bt_jj_big **quot, const struct bt_jj_big **rem)
{
	struct bt_jj_big *q, *r;
	if (mag_cmp(x, y) < 0) {
		q = new_big(a, 0);
		r = new_big(a, x->n);
		if (!q || !r) return false;
		memcpy(r->d, x->d, x->n * sizeof *r->d);
	} else if (y->n == 1) {
		q = new_big(a, x->n);
		r = new_big(a, 1);
		if (!q || !r) return false;
		memcpy(q->d, x->d, x->n * sizeof *q->d);
		r->d[0] = div_small(q->d, q->n, y->d[0]);
	} else if (!mag_divmod(a, x, y, &q, &r)) {
		return false;
	}
	q->neg = x->neg != y->neg;
	r->neg = x->neg;
	const struct bt_jj_big *tq = trim(q), *tr = trim(r);
	if (tr->n && x->neg != y->neg) { /* toward minus infinity */
		const struct bt_jj_big *one = bt_jj_big_of(a, 1);
		if (!one || !(tq = bt_jj_big_add(a, tq, one, true)) || !(tr = bt_jj_big_add(a, tr, y, false)))
			return false;
	}
	if (quot) *quot = tq;
	if (rem) *rem = tr;
	return true;
}

size_t bt_jj_big_bits(const struct bt_jj_big *x)
{
	return x->n ? (size_t)x->n * 32 - (size_t)__builtin_clz(x->d[x->n - 1]) : 0;
}

/* |x| * 2^by */
static const struct bt_jj_big *scaled(struct bt_arena *a, const struct bt_jj_big *x, size_t by)
{
	struct bt_jj_big *b = new_big(a, x->n + by / 32 + 1);
	if (!b) return NULL;
	shift_left(b->d + by / 32, x->d, x->n, (int)(by % 32));
	return trim(b);
}

bool bt_jj_big_quotient(struct bt_arena *a, const struct bt_jj_big *x, const struct bt_jj_big *y, double *out)
{
	long size = (long)bt_jj_big_bits(x) - (long)bt_jj_big_bits(y); /* 2^(size - 1) < |x / y| < 2^(size + 1) */
	double sign = x->neg != y->neg ? -1 : 1;
	*out = copysign(0, sign);
	if (!x->n || size < DBL_MIN_EXP - DBL_MANT_DIG - 1) return true;
	*out = copysign(INFINITY, sign);
	if (size > DBL_MAX_EXP) return true;
	/* |x / y| as q * 2^exp, where q has two or three bits more than the result has room for. A result that is
	 * subnormal has less room: exp stops at its last bit. */
	int exp = (int)(size > DBL_MIN_EXP ? size : DBL_MIN_EXP) - DBL_MANT_DIG - 2;
	const struct bt_jj_big *n = scaled(a, x, exp < 0 ? (size_t)-exp : 0);
	const struct bt_jj_big *d = scaled(a, y, exp > 0 ? (size_t)exp : 0), *quot, *rem;
	if (!n || !d || !bt_jj_big_divmod(a, n, d, &quot, &rem)) return false;
	uint64_t q = (quot->n > 1 ? (uint64_t)quot->d[1] << 32 : 0) | (quot->n ? quot->d[0] : 0);
	int bits = (int)bt_jj_big_bits(quot), room = DBL_MIN_EXP - exp;
	int extra = (bits > room ? bits : room) - DBL_MANT_DIG;
	uint64_t half = (uint64_t)1 << (extra > 2 ? extra - 1 : 1);
	q |= rem->n > 0;                               /* below half of the last bit that stays */
	if (q & half && q & (3 * half - 1)) q += half; /* up, ties to even */
	*out = copysign(ldexp((double)(q & ~(2 * half - 1)), exp), sign);
	return true;
}

double bt_jj_big_double(const struct bt_jj_big *x)
{
	size_t bits = bt_jj_big_bits(x);
	if (bits > 1024) return x->neg ? -INFINITY : INFINITY;
	/* The top 64 bits; what lies below only decides ties, so it is kept as one sticky bit. */
	uint64_t top = 0;
	size_t shift = bits > 64 ? bits - 64 : 0;
	for (size_t i = 0; i < x->n; i++) {
		for (int b = 0; b < 32; b++) {
			size_t at = i * 32 + (size_t)b;
			if (!(x->d[i] >> b & 1)) continue;
			top |= at >= shift ? (uint64_t)1 << (at - shift) : 1;
		}
	}
	double f = ldexp((double)top, (int)shift);
	return x->neg ? -f : f;
}

const struct bt_jj_big *bt_jj_big_parse(struct bt_arena *a, const char *digits, size_t len, unsigned base, bool neg)
{
	size_t n = len / 6 + 1; /* a limb holds at least six digits of any base */
	struct bt_jj_big *b = n <= BT_JJ_BIG_LIMBS * 4 ? bt_arena_zalloc(a, sizeof *b + n * sizeof b->d[0]) : NULL;
	if (!b) return NULL;
	size_t used = 0;
	for (size_t i = 0; i < len; i++) {
		char c = digits[i];
		uint64_t carry = (uint64_t)(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
		for (size_t j = 0; j < used; j++) {
			carry += (uint64_t)b->d[j] * base;
			b->d[j] = (uint32_t)carry;
			carry >>= 32;
		}
		if (carry) b->d[used++] = (uint32_t)carry;
	}
	b->n = (uint32_t)used;
	b->neg = neg;
	return used <= BT_JJ_BIG_LIMBS ? trim(b) : NULL;
}

const char *bt_jj_big_text(struct bt_arena *a, const struct bt_jj_big *x, unsigned base, size_t *len)
{
	size_t cap = (size_t)x->n * 32 + 3; /* enough for base 2 */
	char *out = bt_arena_alloc(a, cap);
	uint32_t *d = bt_arena_alloc(a, x->n * sizeof *d + 4);
	if (!out || !d) return NULL;
	memcpy(d, x->d, x->n * sizeof *d);
	char *p = out + cap;
	*--p = 0;
	size_t n = x->n;
	do {
		*--p = "0123456789abcdefghijklmnopqrstuvwxyz"[div_small(d, n, base)];
		while (n && !d[n - 1]) n--;
	} while (n);
	if (x->neg) *--p = '-';
	*len = (size_t)(out + cap - 1 - p);
	return p;
}
