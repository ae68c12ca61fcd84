/* fit.h: choosing scales, minima and integers for a block so that the weighted squared error is small.
 *
 * Shared by the quantisers of the types whose blocks have one 16-bit scale (and minimum) over groups with small integer
 * scales. The search per group starts from the idea of ggml's make_qx_quants and make_qkx2_quants (map the extreme value
 * onto several points near the end of the range, solve for the best scale by least squares, keep the best); then the
 * integer scales are chosen by their true error with the rounded 16-bit scale, and that scale is solved for again.
 */
#ifndef BT_QUANT_FIT_H
#define BT_QUANT_FIT_H

#include "quant/types.h"

enum { BT_FIT_GROUPS = 16 }; /* the most groups in a block */

/* importance, or ones in weights where it is NULL. */
static inline const float *bt_fit_weights(const float *importance, float weights[BT_K])
{
	if (importance) return importance;
	for (int i = 0; i < BT_K; i++) weights[i] = 1;
	return weights;
}

/* value = d * sc[g] * level: Q3_K, Q6_K, IQ4_XS; with one group whose sc is 1, IQ4_NL. */
struct bt_fit_scale {
	int groups, group;    /* their number and size */
	int sc_min, sc_max;   /* of the integer scales */
	int lo, hi;           /* levels lo..hi */
	const int8_t *levels; /* or these 16, ascending, where they are not evenly spaced; lo and hi are the ends */
	/* Candidates: the value of largest magnitude gets level lo + k * step, and hi + k * step, |k| <= steps. */
	float step;
	int steps;
};

struct bt_fit_scale_result {
	uint16_t d; /* binary16 */
	int8_t sc[BT_FIT_GROUPS];
	int8_t q[BT_K]; /* levels, not their indices */
};

/* x[groups * group], importance likewise or NULL. */
void bt_fit_scale(const struct bt_fit_scale *f, const float *x, const float *importance, struct bt_fit_scale_result *r);

/* value = d * sc[g] * q - dmin * m[g], q in 0..q_max, sc and m in 0..sc_max: Q2_K, Q4_K, Q5_K. */
struct bt_fit_min {
	int groups, group;
	int sc_max, q_max;
	/* Candidates: the smallest value gets level -o * offset, |o| <= offsets, and the range of the values is q_max + k *
	 * step levels, |k| <= steps. */
	float step, offset;
	int steps, offsets;
};

struct bt_fit_min_result {
	uint16_t d, dmin; /* binary16 */
	uint8_t sc[BT_FIT_GROUPS], m[BT_FIT_GROUPS];
	uint8_t q[BT_K];
};

void bt_fit_min(const struct bt_fit_min *f, const float *x, const float *importance, struct bt_fit_min_result *r);

#endif
