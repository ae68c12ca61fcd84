/* ref_matmul.c: plain C: activations to 8 bits, matrix products of integer and of float weights. */
#include "backend/cpu/levels.h"
#include "backend/cpu/order.h"

#include <string.h>

void bt_ref_quantize_row(const float *x, size_t k, int8_t *q, float *d, int32_t *sum)
{
	for (size_t b = 0; b < k / 32; b++, x += 32, q += 32, sum += 2) {
		uint32_t max = 0; /* of the magnitudes' bits: ordered like the magnitudes, with NaN above all */
		for (int i = 0; i < 32; i++) {
			uint32_t u = bt_bits_from_float(x[i]) & 0x7FFFFFFF;
			if (u > max) max = u;
		}
		float amax = bt_float_from_bits(max);
		d[b] = amax / 127.0f;
		bool usual = amax > 1e-30f && amax < INFINITY;
		float scale = usual ? 127.0f / amax : 0.0f;
		sum[0] = sum[1] = 0;
		for (int i = 0; i < 32; i++) {
			q[i] = usual ? (int8_t)rintf(x[i] * scale) : 0;
			sum[i / 16] += q[i];
		}
	}
}

/* Plain C reads activations as they are. */
void bt_ref_pack(const struct bt_cpu_acts *x, size_t t0, size_t t1)
{
	(void)x, (void)t0, (void)t1;
}

/* A row's integer form in scratch memory. */
struct row {
	int8_t *q;
	float *scale, *min;
};

static float dot_int(const struct row *w, const struct bt_type *type, const struct bt_cpu_acts *x, size_t xr)
{
	const int8_t *q = x->q + xr * x->k;
	const float *d = x->d + xr * (x->k / 32);
	const int32_t *sum = x->sum + xr * (x->k / 16);
	float acc[8] = {0};
	for (size_t b = 0; b < x->k / 32; b++) {
		int32_t s[2] = {0, 0};
		for (size_t i = 0; i < 32; i++) s[i / 16] += w->q[32 * b + i] * q[32 * b + i];
		float t;
		if (type->group == 16) {
			t = fmaf(w->scale[2 * b + 1], (float)s[1], w->scale[2 * b] * (float)s[0]);
			if (type->has_min) {
				t = fmaf(w->min[2 * b], (float)sum[2 * b], t);
				t = fmaf(w->min[2 * b + 1], (float)sum[2 * b + 1], t);
			}
		} else {
			t = w->scale[b] * (float)(s[0] + s[1]);
			if (type->has_min) t = fmaf(w->min[b], (float)(sum[2 * b] + sum[2 * b + 1]), t);
		}
		acc[b % 8] = fmaf(d[b], t, acc[b % 8]);
	}
	return bt_tree8(acc);
}

static float dot_float(const float *w, const float *x, size_t k)
{
	float acc[16] = {0};
	for (size_t i = 0; i < k; i++) acc[i % 16] = fmaf(w[i], x[i], acc[i % 16]);
	return bt_tree16(acc);
}

void bt_ref_matmul_int(const struct bt_cpu_matmul *m, size_t row0, size_t row1, void *scratch)
{
	struct row w = {.scale = scratch};
	w.min = w.scale + m->k / 16;
	w.q = (int8_t *)(w.min + m->k / 16);
	for (size_t r = row0; r < row1; r++) {
		m->type->unpack_i8((const char *)m->w + r * m->row_bytes, w.q, w.scale, m->type->has_min ? w.min : NULL,
		                   m->k);
		for (size_t t = 0; t < m->n_tokens; t++) {
			size_t xr = m->x_row ? m->x_row[t] : t, yr = m->y_row ? m->y_row[t] : t;
			m->y[yr * m->y_stride + r] = dot_int(&w, m->type, m->x, xr);
		}
	}
}

void bt_ref_matmul_float(const struct bt_cpu_matmul *m, size_t row0, size_t row1, void *scratch)
{
	float *w = scratch;
	for (size_t r = row0; r < row1; r++) {
		m->type->unpack((const char *)m->w + r * m->row_bytes, w, m->k);
		for (size_t t = 0; t < m->n_tokens; t++) {
			size_t xr = m->x_row ? m->x_row[t] : t, yr = m->y_row ? m->y_row[t] : t;
			m->y[yr * m->y_stride + r] = dot_float(w, m->x->f32 + xr * m->x->f32_stride, m->k);
		}
	}
}

size_t bt_ref_scratch(const struct bt_cpu_sizes *sizes)
{
	size_t matmul = sizes->k_max * sizeof(float) + 1024;
	size_t attn = (BT_KV_PAGE + 4 * sizes->d_max) * sizeof(float) + 1024;
	return matmul > attn ? matmul : attn;
}
