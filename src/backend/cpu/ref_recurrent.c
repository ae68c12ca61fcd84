/* ref_recurrent.c: plain C: causal convolution, gated delta rule, Mamba-2 scan. */
#include "backend/cpu/levels.h"
#include "backend/cpu/order.h"

void bt_ref_conv(const struct bt_cpu_conv *c, size_t c0, size_t c1)
{
	const size_t before = c->taps - 1, w = c->channels;
	for (size_t t = 0; t < c->n; t++)
		for (size_t j = c0; j < c1; j++) {
			float sum = c->bias ? c->bias[j] : 0.0f;
			for (size_t i = 0; i < c->taps; i++) {
				size_t row = t + i; /* of (in, u) */
				float u = 0.0f;
				if (row >= before) u = c->u[(row - before) * w + j];
				else if (c->in) u = c->in[row * w + j];
				sum = fmaf(c->w[i * w + j], u, sum);
			}
			c->y[t * w + j] = bt_silu_mul(sum, 1.0f);
		}
	/* ascending, so that what is overwritten has been read when out is in */
	for (size_t i = 0; i < before; i++)
		for (size_t j = c0; j < c1; j++) {
			size_t row = c->n + i;
			float u = 0.0f;
			if (row >= before) u = c->u[(row - before) * w + j];
			else if (c->in) u = c->in[row * w + j];
			c->out[i * w + j] = u;
		}
}

/* Column j of the state starts as that of r->in. */
static void take_column(const struct bt_cpu_recurrence *r, size_t j)
{
	for (size_t i = 0; i < r->d_state; i++) r->out[i * r->d_head + j] = r->in ? r->in[i * r->d_head + j] : 0.0f;
}

static float times_column(const struct bt_cpu_recurrence *r, const float *x, size_t j)
{
	float lane[4] = {0};
	for (size_t i = 0; i < r->d_state; i++) lane[i % 4] = fmaf(r->out[i * r->d_head + j], x[i], lane[i % 4]);
	return bt_tree4(lane);
}

/* S = decay * S + k e */
static void update_column(const struct bt_cpu_recurrence *r, const float *k, float decay, float e, size_t j)
{
	for (size_t i = 0; i < r->d_state; i++) {
		float *s = &r->out[i * r->d_head + j];
		*s = fmaf(k[i], e, decay * *s);
	}
}

void bt_ref_delta_net(const struct bt_cpu_recurrence *r, size_t col0, size_t col1)
{
	for (size_t j = col0; j < col1; j++) {
		take_column(r, j);
		for (size_t t = 0; t < r->n; t++) {
			const float *k = r->k + t * r->kq_stride;
			float u = times_column(r, k, j);
			float e = fmaf(-r->decay[t], u, r->v[t * r->v_stride + j]) * r->gain[t];
			update_column(r, k, r->decay[t], e, j);
			r->y[t * r->y_stride + j] = times_column(r, r->q + t * r->kq_stride, j);
		}
	}
}

void bt_ref_mamba2(const struct bt_cpu_recurrence *r, size_t col0, size_t col1)
{
	for (size_t j = col0; j < col1; j++) {
		take_column(r, j);
		for (size_t t = 0; t < r->n; t++) {
			float x = r->v[t * r->v_stride + j];
			update_column(r, r->k + t * r->kq_stride, r->decay[t], r->gain[t] * x, j);
			r->y[t * r->y_stride + j] = fmaf(r->skip, x, times_column(r, r->q + t * r->kq_stride, j));
		}
	}
}
