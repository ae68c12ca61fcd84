/* recurrent.c: causal convolution, gated delta rule, Mamba-2 scan.
 *
 * A column of a state depends on no other, so a tile of columns stays in the first-level cache (128 rows of 32 columns
 * are 16 KiB) while all rows of the sequence pass, and every row takes one walk over it: the update, the sum with q and,
 * for the delta rule, already the sum with the next row's k.
 */
#include "backend/cpu/x86/recurrent.h"
#include "backend/cpu/levels.h"

INLINE vf silu(vf x)
{
	return VF(mul_ps)(VF(div_ps)(x, one_plus_exp_minus(x)), VF(set1_ps)(1.0f));
}

/* Row i of (in, u), channels c .. c + left. */
INLINE vf conv_row(const struct bt_cpu_conv *c, size_t i, size_t at, ptrdiff_t left)
{
	const size_t before = c->taps - 1;
	if (i >= before) return load_part(c->u + (i - before) * c->channels + at, left);
	return c->in ? load_part(c->in + i * c->channels + at, left) : VF(setzero_ps)();
}

void LEVEL_NAME(conv)(const struct bt_cpu_conv *c, size_t c0, size_t c1)
{
	for (size_t t = 0; t < c->n; t++)
		for (size_t at = c0; at < c1; at += WIDTH) {
			ptrdiff_t left = (ptrdiff_t)(c1 - at);
			vf sum = c->bias ? load_part(c->bias + at, left) : VF(setzero_ps)();
			for (size_t i = 0; i < c->taps; i++)
				sum = VF(fmadd_ps)(load_part(c->w + i * c->channels + at, left),
				                   conv_row(c, t + i, at, left), sum);
			store_part(c->y + t * c->channels + at, left, silu(sum));
		}
	for (size_t i = 0; i + 1 < c->taps; i++)
		for (size_t at = c0; at < c1; at += WIDTH) {
			ptrdiff_t left = (ptrdiff_t)(c1 - at);
			store_part(c->out + i * c->channels + at, left, conv_row(c, c->n + i, at, left));
		}
}

/* Vectors of a tile: their sums (two times four lanes each) have to fit the registers. */
enum { TILE = PARTS == 1 ? 2 : 1, TILE_COLUMNS = TILE * WIDTH };

/* Four lanes of sums for each vector of a tile. */
struct sums {
	vf lane[4][TILE];
};

INLINE void sums_zero(struct sums *s)
{
	UNROLL
	for (int l = 0; l < 4; l++) UNROLL
	for (int v = 0; v < TILE; v++) s->lane[l][v] = VF(setzero_ps)();
}

INLINE vf sums_total(const struct sums *s, int v)
{
	return VF(add_ps)(VF(add_ps)(s->lane[0][v], s->lane[2][v]), VF(add_ps)(s->lane[1][v], s->lane[3][v]));
}

/* The tile at column `at` of out = that of in; and, with k, the sums of its columns times k. */
INLINE void take_tile(const struct bt_cpu_recurrence *r, size_t at, const float *k, struct sums *u)
{
	for (size_t i = 0; i < r->d_state; i += 4) UNROLL
	for (size_t l = 0; l < 4; l++) {
		vf ki = VF(set1_ps)(k ? k[i + l] : 0.0f);
		UNROLL
		for (int v = 0; v < TILE; v++) {
			size_t w = (i + l) * r->d_head + at + (size_t)(v * WIDTH);
			vf s = r->in ? VF(loadu_ps)(r->in + w) : VF(setzero_ps)();
			if (r->in != r->out) VF(storeu_ps)(r->out + w, s);
			if (k) u->lane[l][v] = VF(fmadd_ps)(s, ki, u->lane[l][v]);
		}
	}
}

/* One row: S = decay S + k e; sums of the new S with q and, when next is not NULL, with next. */
INLINE void walk_tile(float *out, size_t d_state, size_t stride, float decay, const float *k, const vf e[TILE],
                      const float *q, const float *next, struct sums *o, struct sums *u)
{
	const vf d = VF(set1_ps)(decay);
	sums_zero(o);
	if (next) sums_zero(u);
	for (size_t i = 0; i < d_state; i += 4, out += 4 * stride) UNROLL
	for (size_t l = 0; l < 4; l++) {
		vf ki = VF(set1_ps)(k[i + l]), qi = VF(set1_ps)(q[i + l]);
		vf ni = VF(set1_ps)(next ? next[i + l] : 0.0f);
		UNROLL
		for (int v = 0; v < TILE; v++) {
			float *p = out + l * stride + (size_t)(v * WIDTH);
			vf s = VF(fmadd_ps)(ki, e[v], VF(mul_ps)(d, VF(loadu_ps)(p)));
			VF(storeu_ps)(p, s);
			o->lane[l][v] = VF(fmadd_ps)(s, qi, o->lane[l][v]);
			if (next) u->lane[l][v] = VF(fmadd_ps)(s, ni, u->lane[l][v]);
		}
	}
}

static void delta_tile(const struct bt_cpu_recurrence *r, size_t at)
{
	struct sums o, u;
	sums_zero(&u);
	take_tile(r, at, r->k, &u);
	for (size_t t = 0; t < r->n; t++) {
		const float *k = r->k + t * r->kq_stride, *q = r->q + t * r->kq_stride;
		const float *v = r->v + t * r->v_stride + at;
		float *y = r->y + t * r->y_stride + at;
		vf e[TILE];
		UNROLL
		for (int i = 0; i < TILE; i++) {
			vf miss = VF(fmadd_ps)(VF(set1_ps)(-r->decay[t]), sums_total(&u, i),
			                       VF(loadu_ps)(v + i * WIDTH));
			e[i] = VF(mul_ps)(miss, VF(set1_ps)(r->gain[t]));
		}
		if (t + 1 < r->n)
			walk_tile(r->out + at, r->d_state, r->d_head, r->decay[t], k, e, q, k + r->kq_stride, &o, &u);
		else walk_tile(r->out + at, r->d_state, r->d_head, r->decay[t], k, e, q, NULL, &o, &u);
		UNROLL
		for (int i = 0; i < TILE; i++) VF(storeu_ps)(y + i * WIDTH, sums_total(&o, i));
	}
}

static void mamba_tile(const struct bt_cpu_recurrence *r, size_t at)
{
	struct sums o;
	take_tile(r, at, NULL, NULL);
	for (size_t t = 0; t < r->n; t++) {
		const float *v = r->v + t * r->v_stride + at;
		float *y = r->y + t * r->y_stride + at;
		vf x[TILE], e[TILE];
		UNROLL
		for (int i = 0; i < TILE; i++) {
			x[i] = VF(loadu_ps)(v + i * WIDTH);
			e[i] = VF(mul_ps)(VF(set1_ps)(r->gain[t]), x[i]);
		}
		walk_tile(r->out + at, r->d_state, r->d_head, r->decay[t], r->k + t * r->kq_stride, e,
		          r->q + t * r->kq_stride, NULL, &o, NULL);
		UNROLL
		for (int i = 0; i < TILE; i++)
			VF(storeu_ps)(y + i * WIDTH, VF(fmadd_ps)(VF(set1_ps)(r->skip), x[i], sums_total(&o, i)));
	}
}

/* Whole tiles; what is left goes column by column, as states of odd sizes do. */
INLINE void columns(const struct bt_cpu_recurrence *r, size_t col0, size_t col1,
                    void (*tile)(const struct bt_cpu_recurrence *r, size_t at),
                    void (*rest)(const struct bt_cpu_recurrence *r, size_t col0, size_t col1))
{
	if (r->d_state % 4 == 0 && r->n)
		for (; col0 + TILE_COLUMNS <= col1; col0 += TILE_COLUMNS) tile(r, col0);
	rest(r, col0, col1);
}

void LEVEL_NAME(delta_net)(const struct bt_cpu_recurrence *r, size_t col0, size_t col1)
{
	columns(r, col0, col1, delta_tile, bt_ref_delta_net);
}

void LEVEL_NAME(mamba2)(const struct bt_cpu_recurrence *r, size_t col0, size_t col1)
{
	columns(r, col0, col1, mamba_tile, bt_ref_mamba2);
}
