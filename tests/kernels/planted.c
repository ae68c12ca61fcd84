/* planted.c: kernel tables with one wrong slot each, which the walk must catch. Every error is the smallest that can be:
 * one value, off by one unit in the last place, or one byte. */
#include "planted.h"

#include <math.h>
#include <string.h>

static struct bt_cpu_kernels good; /* what the wrong slots call first */

static void off_by_one(float *x)
{
	*x = nextafterf(*x, 1e30f);
}

static void quantize_row(const float *x, size_t k, int8_t *q, float *d, int32_t *sum)
{
	good.quantize_row(x, k, q, d, sum);
	q[k - 1] ^= 1;
}

static void matmul(const struct bt_cpu_matmul *m, size_t row0, size_t row1, void *scratch)
{
	good.matmul[m->type->id](m, row0, row1, scratch);
	size_t t = m->n_tokens - 1;
	off_by_one(&m->y[(m->y_row ? m->y_row[t] : t) * m->y_stride + row1 - 1]);
}

static void matmul_exact(const struct bt_cpu_matmul *m, size_t row0, size_t row1, void *scratch)
{
	good.matmul_exact(m, row0, row1, scratch);
	off_by_one(&m->y[(m->y_row ? m->y_row[0] : 0) * m->y_stride + row0]);
}

static void rms_norm(const float *x, const float *w, float eps, size_t n, float *y)
{
	good.rms_norm(x, w, eps, n, y);
	off_by_one(&y[n - 1]);
}

static void add(const float *a, const float *b, size_t n, float *y)
{
	good.add(a, b, n, y);
	off_by_one(&y[n / 2]);
}

static void silu_mul(const float *g, const float *u, size_t n, float *y)
{
	good.silu_mul(g, u, n, y);
	off_by_one(&y[0]);
}

static void relu2(const float *x, size_t n, float *y)
{
	good.relu2(x, n, y);
	off_by_one(&y[0]);
}

static void rope(float *x, const float *cos, const float *sin, size_t n_pairs, bool neox)
{
	good.rope(x, cos, sin, n_pairs, neox);
	off_by_one(&x[2 * n_pairs - 1]);
}

static void softmax(const float *x, size_t n, float *p)
{
	good.softmax(x, n, p);
	off_by_one(&p[n - 1]);
}

static void kv_pack(const struct bt_type *type, const float *x, void *dst, size_t n)
{
	good.kv_pack(type, x, dst, n);
	((unsigned char *)dst)[0] ^= 1;
}

static void attention(const struct bt_cpu_attn *a, uint32_t head, size_t q0, size_t q1, void *scratch)
{
	good.attention(a, head, q0, q1, scratch);
	off_by_one(&a->out[a->row[q1 - 1] * a->out_stride + (size_t)head * (a->n_head / a->n_head_kv) * a->d_v]);
}

/* A write outside of the rows asked for, with the right values otherwise. */
static void matmul_stray(const struct bt_cpu_matmul *m, size_t row0, size_t row1, void *scratch)
{
	good.matmul[m->type->id](m, row0, row1, scratch);
	m->y[(m->y_row ? m->y_row[0] : 0) * m->y_stride + row1] = 0.0f;
}

static void conv(const struct bt_cpu_conv *c, size_t c0, size_t c1)
{
	good.conv(c, c0, c1);
	if (c1 > c0) off_by_one(&c->y[(c->n - 1) * c->channels + c1 - 1]);
}

static void delta_net(const struct bt_cpu_recurrence *r, size_t col0, size_t col1)
{
	good.delta_net(r, col0, col1);
	if (col1 > col0) off_by_one(&r->out[(r->d_state - 1) * r->d_head + col1 - 1]);
}

static void mamba2(const struct bt_cpu_recurrence *r, size_t col0, size_t col1)
{
	good.mamba2(r, col0, col1);
	if (col1 > col0) off_by_one(&r->y[(r->n - 1) * r->y_stride + col0]);
}

static void sigmoid_mul(const float *g, const float *u, size_t n, float *y)
{
	good.sigmoid_mul(g, u, n, y);
	off_by_one(&y[n - 1]);
}

enum { OPS = PLANTED_TYPES };

unsigned planted_count(void)
{
	return OPS + 1 + BT_TYPE_COUNT;
}

const char *planted_table(unsigned i, const struct bt_cpu_kernels *k, struct bt_cpu_kernels *out)
{
	static const char *const names[OPS] = {"quantize_row", "matmul_exact", "rms_norm",  "add",     "silu_mul",
	                                       "relu2",        "rope",         "softmax",   "kv_pack", "attention",
	                                       "stray write",  "conv",         "delta_net", "mamba2",  "sigmoid_mul"};
	good = *out = *k;
	switch (i) {
	case 0: out->quantize_row = quantize_row; break;
	case 1: out->matmul_exact = matmul_exact; break;
	case 2: out->rms_norm = rms_norm; break;
	case 3: out->add = add; break;
	case 4: out->silu_mul = silu_mul; break;
	case 5: out->relu2 = relu2; break;
	case 6: out->rope = rope; break;
	case 7: out->softmax = softmax; break;
	case 8: out->kv_pack = kv_pack; break;
	case 9: out->attention = attention; break;
	case 10: out->matmul[BT_TYPE_Q4_0] = matmul_stray; break;
	case PLANTED_RECURRENT: out->conv = conv; break;
	case PLANTED_RECURRENT + 1: out->delta_net = delta_net; break;
	case PLANTED_RECURRENT + 2: out->mamba2 = mamba2; break;
	case PLANTED_RECURRENT + 3: out->sigmoid_mul = sigmoid_mul; break;
	default:
		if (i - OPS >= BT_TYPE_COUNT || !k->matmul[i - OPS]) return NULL;
		out->matmul[i - OPS] = matmul;
		return bt_type_get(i - OPS)->name;
	}
	return names[i];
}
