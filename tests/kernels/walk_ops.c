/* walk_ops.c: norms, element-wise operations, rope, softmax, writing the KV cache. */
#include "walk.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N_MAX = 2500 };

/* Three outputs of an operation: the level's, plain C's, and what double precision says with its magnitudes. */
struct result {
	float *got, *ref;
	double want[N_MAX], of[N_MAX];
	size_t n;
};

static void result_check(struct walk *w, struct result *r, enum walk_op op, bool oracle)
{
	walk_same_bits(w, r->got, r->ref, r->n);
	if (w->oracle && oracle) walk_close(w, r->ref, r->want, r->of, r->n, walk_tolerance(op, NULL, r->n));
	walk_free(w, r->got);
	walk_free(w, r->ref);
}

static void result_make(struct result *r, size_t n)
{
	r->n = n;
	r->got = walk_alloc(n * sizeof(float));
	r->ref = walk_alloc(n * sizeof(float));
}

static void norm_case(struct walk *w, struct result *r, const float *x, const float *weight, size_t n, bool oracle)
{
	float eps = 1e-6f;
	double ss = 0;
	result_make(r, n);
	w->ref.rms_norm(x, weight, eps, n, r->ref);
	memcpy(r->got, x, n * sizeof *x);
	w->k.rms_norm(r->got, weight, eps, n, r->got); /* in place */
	for (size_t i = 0; i < n; i++) ss += (double)x[i] * x[i];
	for (size_t i = 0; i < n; i++)
		r->of[i] = fabs(r->want[i] = x[i] / sqrt(ss / (double)n + (double)eps) * (weight ? weight[i] : 1.0f));
	result_check(w, r, WALK_NORM, oracle);
}

static void softmax_case(struct walk *w, struct result *r, const float *x, size_t n, bool oracle)
{
	double max = -INFINITY, sum = 0;
	result_make(r, n);
	w->ref.softmax(x, n, r->ref);
	w->k.softmax(x, n, r->got);
	for (size_t i = 0; i < n; i++) /* not fmax(): gcc 12 for arm64 breaks down on it at -O3 */
		if (x[i] > max) max = x[i];
	for (size_t i = 0; i < n; i++) sum += exp(x[i] - max);
	for (size_t i = 0; i < n; i++) r->of[i] = r->want[i] = x[i] - max < -87 ? 0 : exp(x[i] - max) / sum;
	result_check(w, r, WALK_SOFTMAX, oracle);
}

static void elementwise_cases(struct walk *w, struct result *r, const float *a, const float *b, size_t n, bool oracle)
{
	result_make(r, n);
	w->ref.add(a, b, n, r->ref);
	w->k.add(a, b, n, r->got);
	for (size_t i = 0; i < n; i++) r->of[i] = fabs(r->want[i] = (double)a[i] + b[i]);
	result_check(w, r, WALK_ADD, oracle);

	result_make(r, n);
	w->ref.silu_mul(a, b, n, r->ref);
	memcpy(r->got, a, n * sizeof *a);
	w->k.silu_mul(r->got, b, n, r->got);
	for (size_t i = 0; i < n; i++) {
		r->want[i] = a[i] / (1 + exp(-(double)a[i])) * b[i];
		r->of[i] = a[i] < -87 ? INFINITY : fabs(r->want[i]);
	}
	result_check(w, r, WALK_SILU, oracle);

	result_make(r, n);
	w->ref.sigmoid_mul(a, b, n, r->ref);
	memcpy(r->got, a, n * sizeof *a);
	w->k.sigmoid_mul(r->got, b, n, r->got);
	for (size_t i = 0; i < n; i++) {
		r->want[i] = 1 / (1 + exp(-(double)a[i])) * b[i];
		r->of[i] = a[i] < -87 ? INFINITY : fabs(r->want[i]);
	}
	result_check(w, r, WALK_SIGMOID, oracle);

	result_make(r, n);
	w->ref.relu2(a, n, r->ref);
	w->k.relu2(a, n, r->got);
	for (size_t i = 0; i < n; i++) r->of[i] = r->want[i] = a[i] > 0 ? (double)a[i] * a[i] : 0;
	result_check(w, r, WALK_RELU2, oracle);
}

static void rope_case(struct walk *w, struct result *r, const float *x, size_t n_pairs, bool neox, bool oracle)
{
	float cs[512], sn[512];
	walk_case(w, "rope pairs %zu %s", n_pairs, neox ? "halves" : "neighbours");
	result_make(r, 2 * n_pairs);
	for (size_t i = 0; i < n_pairs; i++) {
		cs[i] = cosf((float)i * 1.7f);
		sn[i] = sinf((float)i * 1.7f);
		size_t p = neox ? i : 2 * i, q = neox ? i + n_pairs : 2 * i + 1;
		r->want[p] = (double)x[p] * cs[i] - (double)x[q] * sn[i];
		r->want[q] = (double)x[p] * sn[i] + (double)x[q] * cs[i];
		r->of[p] = r->of[q] = fabs(x[p]) + fabs(x[q]);
	}
	memcpy(r->ref, x, r->n * sizeof *x);
	memcpy(r->got, x, r->n * sizeof *x);
	w->ref.rope(r->ref, cs, sn, n_pairs, neox);
	w->k.rope(r->got, cs, sn, n_pairs, neox);
	result_check(w, r, WALK_ROPE, oracle);
}

static void kv_pack_cases(struct walk *w, const float *x, size_t n)
{
	static const enum bt_type_id ids[] = {BT_TYPE_F32, BT_TYPE_F16, BT_TYPE_Q8_0};
	for (int i = 0; i < 3; i++) {
		const struct bt_type *t = bt_type_get(ids[i]);
		if (n % t->block) continue;
		size_t size = bt_type_row_bytes(t, n);
		walk_case(w, "kv_pack %s n %zu", t->name, n);
		unsigned char *got = walk_alloc(size + 1), *ref = walk_alloc(size + 1);
		w->ref.kv_pack(t, x, ref + 1, n); /* at an odd address */
		w->k.kv_pack(t, x, got + 1, n);
		walk_same_bytes(w, got, ref, size + 1);
		walk_free(w, got);
		walk_free(w, ref);
	}
}

void walk_ops(struct walk *w)
{
	static const size_t sizes[] = {1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 96, 100, 576, 1536, N_MAX};
	struct result *r = malloc(sizeof *r);
	for (unsigned s = 0; s < sizeof sizes / sizeof *sizes; s++)
		for (int p = 0; p < WALK_PATTERNS + 3; p++) {
			size_t n = sizes[s];
			float *a = walk_alloc(n * sizeof *a), *b = walk_alloc(n * sizeof *b);
			const char *name = p < WALK_PATTERNS ? walk_pattern_name((enum walk_pattern)p)
			                                     : "wide, inf or NaN";
			walk_fill(w, p < WALK_PATTERNS ? (enum walk_pattern)p : WALK_RANDOM, a, n);
			walk_fill(w, p < WALK_PATTERNS ? (enum walk_pattern)p : WALK_RANDOM, b, n);
			if (p == WALK_PATTERNS)
				for (size_t i = 0; i < n; i++) a[i] *= 40.0f;
			if (p > WALK_PATTERNS) a[walk_random(w) % n] = p == WALK_PATTERNS + 1 ? INFINITY : NAN;
			bool oracle = p <= WALK_PATTERNS && p != WALK_TINY;
			walk_case(w, "rms_norm n %zu %s", n, name);
			norm_case(w, r, a, b, n, oracle);
			norm_case(w, r, a, NULL, n, oracle);
			walk_case(w, "softmax n %zu %s", n, name);
			softmax_case(w, r, a, n, oracle);
			walk_case(w, "element-wise n %zu %s", n, name);
			elementwise_cases(w, r, a, b, n, oracle);
			if (n % 2 == 0 && n <= 576) {
				rope_case(w, r, a, n / 2, true, oracle);
				rope_case(w, r, a, n / 2, false, oracle);
			}
			if (p <= WALK_PATTERNS) kv_pack_cases(w, a, n);
			walk_free(w, a);
			walk_free(w, b);
		}
	free(r);
}
