/* fit_scale.c: scales without minima (see fit.h). */
#include "quant/fit.h"
#include "quant/fit_lanes.h"

#include <math.h>

enum { ROUNDS = 3 }; /* of choosing integers and solving for d again */

/* The level nearest to each v. */
static inline bt_v4 nearest(const struct bt_fit_scale *f, bt_v4 v)
{
	if (!f->levels) return bt_v4_nearest(v, bt_v4_set((float)f->lo), bt_v4_set((float)f->hi));
	bt_v4 r = bt_v4_set(f->levels[0]);
	for (int k = 1; k < 16; k++) {
		int below = f->levels[k - 1], step = f->levels[k] - below;
		bt_v4i above = v > bt_v4_set((float)below + 0.5f * (float)step);
		r += (bt_v4)(above & (bt_v4i)bt_v4_set((float)step));
	}
	return r;
}

/* How much of sum(w * x^2) the levels explain that inverse scale `is` gives; *s is the scale that suits them best. */
static float try_inverse(const struct bt_fit_scale *f, const float *x, const float *w, float is, float *s)
{
	bt_v4 axq = {0}, aqq = {0}, vis = bt_v4_set(is);
	for (int i = 0; i < f->group; i += 4) {
		bt_v4 v = bt_v4_load(x + i), q = nearest(f, v * vis), wq = bt_v4_load(w + i) * q;
		axq += wq * v;
		aqq += wq * q;
	}
	float sxq = bt_v4_sum(axq), sqq = bt_v4_sum(aqq);
	*s = sqq > 0 ? sxq / sqq : 0;
	return *s * sxq;
}

/* The best real scale of a group. */
static float fit_group(const struct bt_fit_scale *f, const float *x, const float *w)
{
	float extreme = 0, best = 0, best_gain = 0, s;
	for (int i = 0; i < f->group; i++)
		if (fabsf(x[i]) > fabsf(extreme)) extreme = x[i];
	if (extreme == 0) return 0;
	for (int side = 0; side < 2; side++)
		for (int k = -f->steps; k <= f->steps; k++) {
			float level = (float)(side ? f->hi : f->lo) + f->step * (float)k;
			float gain = try_inverse(f, x, w, level / extreme, &s);
			if (gain > best_gain) best_gain = gain, best = s;
		}
	for (int k = 0; k < ROUNDS && best != 0; k++) {
		float gain = try_inverse(f, x, w, 1 / best, &s);
		if (!(gain > best_gain)) break;
		best_gain = gain;
		best = s;
	}
	return best;
}

/* Weighted squared error of a group under scale; the levels go to q where it is not NULL. */
static float group_error(const struct bt_fit_scale *f, const float *x, const float *w, float scale, int8_t *q)
{
	bt_v4 a = {0}, vs = bt_v4_set(scale), vis = bt_v4_set(scale != 0 ? 1 / scale : 0);
	for (int i = 0; i < f->group; i += 4) {
		bt_v4 v = bt_v4_load(x + i), level = nearest(f, v * vis), e = v - vs * level;
		a += bt_v4_load(w + i) * e * e;
		if (!q) continue;
		bt_v4i n = bt_v4_int(level);
		for (int l = 0; l < 4; l++) q[i + l] = (int8_t)n[l];
	}
	return bt_v4_sum(a);
}

/* Integer scale of every group for r's d, among the neighbours of the rounded one; returns the block's error. */
static float choose(const struct bt_fit_scale *f, const float *x, const float *w, const float *scales,
                    struct bt_fit_scale_result *r)
{
	float d = bt_f16_to_f32(r->d), total = 0;
	for (int g = 0; g < f->groups; g++) {
		const float *gx = x + g * f->group, *gw = w + g * f->group;
		int sc0 = d != 0 ? bt_clamp_int(roundf(scales[g] / d), f->sc_min, f->sc_max) : f->sc_max;
		float best = INFINITY;
		r->sc[g] = (int8_t)sc0;
		for (int sc = sc0 - 1; sc <= sc0 + 1; sc++) {
			if (sc < f->sc_min || sc > f->sc_max) continue;
			float e = group_error(f, gx, gw, d * (float)sc, NULL);
			if (e < best) best = e, r->sc[g] = (int8_t)sc;
		}
		total += group_error(f, gx, gw, d * (float)r->sc[g], r->q + g * f->group);
	}
	return total;
}

/* The d that suits r's integers best, by least squares over the block. */
static void refit(const struct bt_fit_scale *f, const float *x, const float *w, struct bt_fit_scale_result *r)
{
	double aa = 0, ax = 0;
	for (int g = 0; g < f->groups; g++)
		for (int i = g * f->group; i < (g + 1) * f->group; i++) {
			double a = r->sc[g] * r->q[i];
			aa += w[i] * a * a;
			ax += w[i] * a * (double)x[i];
		}
	if (aa > 0) r->d = bt_f32_to_f16((float)(ax / aa));
}

void bt_fit_scale(const struct bt_fit_scale *f, const float *x, const float *importance, struct bt_fit_scale_result *r)
{
	float weights[BT_K], scales[BT_FIT_GROUPS], extreme = 0, best = INFINITY;
	const float *w = bt_fit_weights(importance, weights);
	for (int g = 0; g < f->groups; g++) {
		scales[g] = fit_group(f, x + g * f->group, w + g * f->group);
		if (fabsf(scales[g]) > fabsf(extreme)) extreme = scales[g];
	}
	struct bt_fit_scale_result t;
	t.d = bt_f32_to_f16(extreme / (float)(-f->sc_min > f->sc_max ? f->sc_min : f->sc_max));
	for (int round = 0; round < ROUNDS; round++) {
		float error = choose(f, x, w, scales, &t);
		if (round > 0 && !(error < best)) break;
		best = error;
		*r = t;
		refit(f, x, w, &t);
		if (t.d == r->d) break;
	}
}
