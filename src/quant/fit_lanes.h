/* fit_lanes.h: four floats at a time for the searches of fit.h.
 *
 * GCC's and Clang's vector extension: plain C on every processor, adding up in one order everywhere, so that a file
 * quantised here has the same bytes on any machine.
 */
#ifndef BT_QUANT_FIT_LANES_H
#define BT_QUANT_FIT_LANES_H

#include <stdint.h>
#include <string.h>

typedef float bt_v4 __attribute__((vector_size(16)));
typedef int32_t bt_v4i __attribute__((vector_size(16)));

static inline bt_v4 bt_v4_load(const float *p)
{
	bt_v4 v;
	memcpy(&v, p, sizeof v);
	return v;
}

static inline bt_v4 bt_v4_set(float x)
{
	return (bt_v4){x, x, x, x};
}

static inline float bt_v4_sum(bt_v4 v)
{
	return (v[0] + v[2]) + (v[1] + v[3]);
}

/* Towards zero; v must be within int32_t. */
static inline bt_v4i bt_v4_int(bt_v4 v)
{
	return __builtin_convertvector(v, bt_v4i);
}

/* a where mask is set, b elsewhere. */
static inline bt_v4 bt_v4_select(bt_v4i mask, bt_v4 a, bt_v4 b)
{
	return (bt_v4)((mask & (bt_v4i)a) | (~mask & (bt_v4i)b));
}

/* Nearest integer (to even; |v| < 2^22) kept in lo..hi; lo for NaN. */
static inline bt_v4 bt_v4_nearest(bt_v4 v, bt_v4 lo, bt_v4 hi)
{
	bt_v4 magic = bt_v4_set(0x1.8p23f), r = (v + magic) - magic;
	r = bt_v4_select(r > lo, r, lo);
	return bt_v4_select(r < hi, r, hi);
}

#endif
