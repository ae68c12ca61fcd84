/* fit_min.c: scales with minima (see fit.h). */
#include "quant/fit.h"
#include "quant/fit_lanes.h"

#include <math.h>

enum { ROUNDS = 3 }; /* of choosing integers and solving for d and dmin again */

/* A group's best real scale and minimum: value = s * q - m. */
struct line {
	float s, m;
};

/* The least-squares line for the integers that inverse scale `is` gives x[n] + m0; returns its error. */
static float try_inverse(const float *x, const float *w, int n, float is, float m0, float hi, struct line *best)
{
	const bt_v4 zero = {0}, vhi = bt_v4_set(hi), vis = bt_v4_set(is), vm0 = bt_v4_set(m0);
	bt_v4 aw = zero, ax = zero, axx = zero, aq = zero, aqq = zero, axq = zero;
	for (int i = 0; i < n; i += 4) {
		bt_v4 y = bt_v4_load(x + i) + vm0, vw = bt_v4_load(w + i), q = bt_v4_nearest(y * vis, zero, vhi);
		bt_v4 wq = vw * q, wy = vw * y;
		aw += vw;
		ax += wy;
		axx += wy * y;
		aq += wq;
		aqq += wq * q;
		axq += wy * q;
	}
	float sw = bt_v4_sum(aw), sx = bt_v4_sum(ax), sq = bt_v4_sum(aq), sqq = bt_v4_sum(aqq), sxq = bt_v4_sum(axq);
	float det = sw * sqq - sq * sq, s = 0, b = -m0;
	if (det > 0) {
		s = (sw * sxq - sx * sq) / det;
		b = (sqq * sx - sq * sxq) / det; /* y = s * q + b, so m = m0 - b */
	}
	if (!(det > 0) || b > m0) { /* no positive minimum can be stored: the best line through it */
		b = m0;
		s = sqq > 0 ? (sxq - b * sq) / sqq : 0;
	}
	best->s = s;
	best->m = m0 - b;
	return bt_v4_sum(axx) + s * (s * sqq - 2 * sxq) + b * (b * sw - 2 * sx) + 2 * s * b * sq;
}

static struct line fit_group(const struct bt_fit_min *f, const float *x, const float *w)
{
	float min = x[0], max = x[0], hi = (float)f->q_max;
	for (int i = 1; i < f->group; i++) {
		min = x[i] < min ? x[i] : min;
		max = x[i] > max ? x[i] : max;
	}
	if (min > 0) min = 0;
	if (!(max > min)) return (struct line){0, -min};
	struct line best = {0, 0}, line;
	float best_error = INFINITY, range = max - min;
	for (int o = -f->offsets; o <= f->offsets; o++) {
		float m0 = -min + (float)o * f->offset * range / hi;
		if (m0 < 0) continue;
		for (int k = -f->steps; k <= f->steps; k++) {
			float error = try_inverse(x, w, f->group, (hi + f->step * (float)k) / range, m0, hi, &line);
			if (!(error < best_error) || !(line.s > 0)) continue;
			best_error = error;
			best = line;
		}
	}
	for (int k = 0; k < ROUNDS && best.s > 0; k++) {
		float error = try_inverse(x, w, f->group, 1 / best.s, best.m, hi, &line);
		if (!(error < best_error) || !(line.s > 0)) break;
		best_error = error;
		best = line;
	}
	return best;
}

/* Weighted squared error of a group under scale and minimum. */
static float group_error(const float *x, const float *w, int n, float scale, float min, float hi)
{
	const bt_v4 zero = {0}, vhi = bt_v4_set(hi), vs = bt_v4_set(scale), vm = bt_v4_set(min);
	const bt_v4 vis = bt_v4_set(scale > 0 ? 1 / scale : 0);
	bt_v4 a = zero;
	for (int i = 0; i < n; i += 4) {
		bt_v4 y = bt_v4_load(x + i) + vm, e = y - vs * bt_v4_nearest(y * vis, zero, vhi);
		a += bt_v4_load(w + i) * e * e;
	}
	return bt_v4_sum(a);
}

static void group_integers(const float *x, int n, float scale, float min, float hi, uint8_t *q)
{
	const bt_v4 zero = {0}, vhi = bt_v4_set(hi), vm = bt_v4_set(min), vis = bt_v4_set(scale > 0 ? 1 / scale : 0);
	for (int i = 0; i < n; i += 4) {
		bt_v4i v = bt_v4_int(bt_v4_nearest((bt_v4_load(x + i) + vm) * vis, zero, vhi));
		for (int l = 0; l < 4; l++) q[i + l] = (uint8_t)v[l];
	}
}

/* Integer scale and minimum of every group for r's d and dmin, among the neighbours of the rounded ones; returns the
 * block's error. */
static float choose(const struct bt_fit_min *f, const float *x, const float *w, const struct line *lines,
                    struct bt_fit_min_result *r)
{
	float d = bt_f16_to_f32(r->d), dmin = bt_f16_to_f32(r->dmin), total = 0, hi = (float)f->q_max;
	for (int g = 0; g < f->groups; g++) {
		const float *gx = x + g * f->group, *gw = w + g * f->group;
		int sc0 = d > 0 ? bt_clamp_int(lines[g].s / d + 0.5f, 0, f->sc_max) : 0;
		int m0 = dmin > 0 ? bt_clamp_int(lines[g].m / dmin + 0.5f, 0, f->sc_max) : 0;
		float best = INFINITY;
		r->sc[g] = r->m[g] = 0;
		for (int sc = sc0 > 0 ? sc0 - 1 : 0; sc <= sc0 + 1 && sc <= f->sc_max; sc++)
			for (int m = m0 > 0 ? m0 - 1 : 0; m <= m0 + 1 && m <= f->sc_max; m++) {
				float e = group_error(gx, gw, f->group, d * (float)sc, dmin * (float)m, hi);
				if (!(e < best)) continue;
				best = e;
				r->sc[g] = (uint8_t)sc;
				r->m[g] = (uint8_t)m;
			}
		group_integers(gx, f->group, d * (float)r->sc[g], dmin * (float)r->m[g], hi, r->q + g * f->group);
		total += best;
	}
	return total;
}

/* d and dmin that suit r's integers best, by least squares over the block. */
static void refit(const struct bt_fit_min *f, const float *x, const float *w, struct bt_fit_min_result *r)
{
	double aa = 0, bb = 0, ab = 0, ax = 0, bx = 0; /* a = sc * q, b = -m, x about d * a + dmin * b */
	for (int g = 0; g < f->groups; g++)
		for (int i = g * f->group; i < (g + 1) * f->group; i++) {
			double a = r->sc[g] * r->q[i], b = -r->m[g], v = x[i], weight = w[i];
			aa += weight * a * a;
			bb += weight * b * b;
			ab += weight * a * b;
			ax += weight * a * v;
			bx += weight * b * v;
		}
	double det = aa * bb - ab * ab, d, dmin;
	if (det > 1e-9 * aa * bb) {
		d = (bb * ax - ab * bx) / det;
		dmin = (aa * bx - ab * ax) / det;
	} else {
		d = aa > 0 ? ax / aa : 0;
		dmin = 0;
	}
	if (d > 0) r->d = bt_f32_to_f16((float)d);
	if (dmin >= 0) r->dmin = bt_f32_to_f16((float)dmin);
}

void bt_fit_min(const struct bt_fit_min *f, const float *x, const float *importance, struct bt_fit_min_result *r)
{
	float weights[BT_K], s_max = 0, m_max = 0, best = INFINITY;
	struct line lines[BT_FIT_GROUPS];
	const float *w = bt_fit_weights(importance, weights);
	for (int g = 0; g < f->groups; g++) {
		lines[g] = fit_group(f, x + g * f->group, w + g * f->group);
		if (lines[g].s > s_max) s_max = lines[g].s;
		if (lines[g].m > m_max) m_max = lines[g].m;
	}
	struct bt_fit_min_result t;
	t.d = bt_f32_to_f16(s_max / (float)f->sc_max);
	t.dmin = bt_f32_to_f16(m_max / (float)f->sc_max);
	for (int round = 0; round < ROUNDS; round++) {
		float error = choose(f, x, w, lines, &t);
		if (round > 0 && !(error < best)) break;
		best = error;
		*r = t;
		refit(f, x, w, &t);
		if (t.d == r->d && t.dmin == r->dmin) break;
	}
}
