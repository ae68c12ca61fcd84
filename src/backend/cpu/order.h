/* order.h: in plain C, the float arithmetic that every level repeats step by step: the sums of kernels.h and exp.
 *
 * exp is ours because a value's bits must not depend on the lane it stands in, on the level or on the C library.
 */
#ifndef BT_BACKEND_CPU_ORDER_H
#define BT_BACKEND_CPU_ORDER_H

#include "base/half.h"

#include <math.h>
#include <stddef.h>

static inline float bt_tree8(const float l[8])
{
	return ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]));
}

static inline float bt_tree16(const float l[16])
{
	float h[8];
	for (int i = 0; i < 8; i++) h[i] = l[i] + l[i + 8];
	return bt_tree8(h);
}

/* Constants of exp: x = n ln2 + r, |r| <= ln2 / 2, e^r = 1 + r + r^2 P(r); P by the Remez algorithm for the least
 * relative error (4e-9), so that rounding alone is left: within 1.1 units in the last place.
 * ln2 is split so that n * BT_EXP_LN2_HI is exact. */
#define BT_EXP_MIN    -87.0f /* below: 0 */
#define BT_EXP_MAX    88.0f  /* above: as for 88 */
#define BT_EXP_LOG2E  0x1.715476p+0f
#define BT_EXP_LN2_HI 0x1.62e4p-1f
#define BT_EXP_LN2_LO 0x1.7f7d1cp-20f
#define BT_EXP_ROUND  0x1.8p+23f /* adding it rounds to an integer, which then stands in the low bits */
#define BT_EXP_P0     0x1.fffffcp-2f
#define BT_EXP_P1     0x1.55549p-3f
#define BT_EXP_P2     0x1.5558fcp-5f
#define BT_EXP_P3     0x1.123b9ap-7f
#define BT_EXP_P4     0x1.6a215ap-10f

/* e^x: 0 below BT_EXP_MIN, e^88 above BT_EXP_MAX, NaN for NaN. */
static inline float bt_expf(float x)
{
	float c = x > BT_EXP_MAX ? BT_EXP_MAX : x;
	c = c < BT_EXP_MIN ? BT_EXP_MIN : c;
	float z = fmaf(c, BT_EXP_LOG2E, BT_EXP_ROUND), n = z - BT_EXP_ROUND;
	float r = fmaf(n, -BT_EXP_LN2_LO, fmaf(n, -BT_EXP_LN2_HI, c));
	float p = fmaf(fmaf(fmaf(fmaf(BT_EXP_P4, r, BT_EXP_P3), r, BT_EXP_P2), r, BT_EXP_P1), r, BT_EXP_P0);
	p = fmaf(r * r, p, r) + 1.0f;
	float two_n = bt_float_from_bits((bt_bits_from_float(z) << 23) + 0x3F800000);
	return x < BT_EXP_MIN ? 0.0f : p * two_n;
}

/* g / (1 + e^-g) * u */
static inline float bt_silu_mul(float g, float u)
{
	return g / (1.0f + bt_expf(-g)) * u;
}

/* 1 / (1 + e^-g) * u */
static inline float bt_sigmoid_mul(float g, float u)
{
	return 1.0f / (1.0f + bt_expf(-g)) * u;
}

/* log(1 + e^x), in double precision so that the C library's last bit does not show */
static inline float bt_softplusf(float x)
{
	return x > 30.0f ? x : (float)log1p(exp((double)x));
}

/* Four lanes of kernels.h's recurrent sums */
static inline float bt_tree4(const float l[4])
{
	return (l[0] + l[2]) + (l[1] + l[3]);
}

/* tanh by exp: absolute error below 2e-7, enough for soft-capped scores. */
static inline float bt_tanhf(float x)
{
	return 1.0f - 2.0f / (bt_expf(2.0f * x) + 1.0f);
}

#endif
