/* ref_ops.c: plain C: norms, element-wise operations, rope, softmax, writing the KV cache. */
#include "backend/cpu/levels.h"
#include "backend/cpu/order.h"

void bt_ref_rms_norm(const float *x, const float *w, float eps, size_t n, float *y)
{
	float acc[16] = {0};
	for (size_t i = 0; i < n; i++) acc[i % 16] = fmaf(x[i], x[i], acc[i % 16]);
	float scale = 1.0f / sqrtf(bt_tree16(acc) / (float)n + eps);
	for (size_t i = 0; i < n; i++) y[i] = w ? x[i] * scale * w[i] : x[i] * scale;
}

void bt_ref_add(const float *a, const float *b, size_t n, float *y)
{
	for (size_t i = 0; i < n; i++) y[i] = a[i] + b[i];
}

void bt_ref_silu_mul(const float *g, const float *u, size_t n, float *y)
{
	for (size_t i = 0; i < n; i++) y[i] = bt_silu_mul(g[i], u[i]);
}

void bt_ref_sigmoid_mul(const float *g, const float *u, size_t n, float *y)
{
	for (size_t i = 0; i < n; i++) y[i] = bt_sigmoid_mul(g[i], u[i]);
}

void bt_ref_relu2(const float *x, size_t n, float *y)
{
	for (size_t i = 0; i < n; i++) {
		float r = x[i] < 0.0f ? 0.0f : x[i];
		y[i] = r * r;
	}
}

void bt_ref_rope(float *x, const float *cos, const float *sin, size_t n_pairs, bool neox)
{
	size_t step = neox ? 1 : 2, far = neox ? n_pairs : 1;
	for (size_t i = 0; i < n_pairs; i++) {
		float *a = x + i * step, *b = a + far, x0 = *a, x1 = *b;
		*a = fmaf(x0, cos[i], -(x1 * sin[i]));
		*b = fmaf(x0, sin[i], x1 * cos[i]);
	}
}

void bt_ref_softmax(const float *x, size_t n, float *p)
{
	float max = -INFINITY, acc[16] = {0};
	for (size_t i = 0; i < n; i++) max = x[i] > max ? x[i] : max;
	for (size_t i = 0; i < n; i++) {
		p[i] = bt_expf(x[i] - max);
		acc[i % 16] += p[i];
	}
	float scale = 1.0f / bt_tree16(acc);
	for (size_t i = 0; i < n; i++) p[i] *= scale;
}

void bt_ref_kv_pack(const struct bt_type *type, const float *x, void *dst, size_t n)
{
	type->pack(x, dst, n, NULL);
}
