/* bench.c: processor times of kernel calls on one thread (a busy machine disturbs them less than wall times): best of
 * several runs, weights larger than the caches when one token is computed, so that memory is part of it. */
#include "walk.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CACHED = 400 * 1000, LARGE = 96 * 1000 * 1000 };

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* size: bytes of weights */
static void bench_matmul(const struct bt_cpu_kernels *k, const struct bt_type *type, bool exact, size_t kk, size_t n,
                         size_t size)
{
	struct walk w = {.rng = 1};
	size_t row_bytes = bt_type_row_bytes(type, kk), rows = size / row_bytes;
	rows = rows < 64 ? 64 : rows / 64 * 64;
	unsigned char *weights = walk_alloc(rows * row_bytes);
	walk_weights(&w, type, WALK_RANDOM, weights, 16 * kk);
	for (size_t r = 16; r < rows; r++) memcpy(weights + r * row_bytes, weights + (r - 16) * row_bytes, row_bytes);
	struct bt_cpu_acts x = {.n_tokens = n, .k = kk, .f32_stride = kk};
	float *f32 = walk_alloc(n * kk * sizeof(float)), *y = walk_alloc(n * rows * sizeof(float));
	walk_fill(&w, WALK_RANDOM, f32, n * kk);
	x.f32 = f32;
	x.q = walk_alloc(n * kk);
	x.d = walk_alloc(n * kk / 32 * sizeof(float));
	x.sum = walk_alloc(n * kk / 16 * sizeof(int32_t));
	for (size_t t = 0; t < n; t++)
		k->quantize_row(f32 + t * kk, kk, x.q + t * kk, x.d + t * (kk / 32), x.sum + t * (kk / 16));
	x.packed = walk_alloc(n * (kk / 32) * k->pack_block);
	k->pack(&x, 0, n);
	struct bt_cpu_matmul m = {.type = type,
	                          .w = weights,
	                          .row_bytes = row_bytes,
	                          .k = kk,
	                          .x = &x,
	                          .n_tokens = n,
	                          .y = y,
	                          .y_stride = rows};
	void *scratch = walk_alloc(k->scratch);
	double best = 1e9;
	size_t chunk = n == 1 ? 64 : rows % 128 ? 64 : 128;
	int repeat = (int)(4000000 / (rows * n) / kk * 64 + 1);
	for (int run = 0; run < 5; run++) {
		double t0 = now();
		for (size_t r = 0; r < rows * (size_t)repeat; r += chunk)
			(exact ? k->matmul_exact : k->matmul[type->id])(&m, r % rows, r % rows + chunk, scratch);
		double t = (now() - t0) / repeat;
		best = t < best ? t : best;
		if (run > 1 && t > 1) break;
	}
	printf("%-10s %s%-8s k %5zu tokens %4zu %s %8.1f GOPS %7.2f GB/s of weights\n", bt_cpu_level_name(k->level),
	       exact ? "exact " : "", type->name, kk, n, size > CACHED ? "from memory" : "from cache ",
	       2e-9 * (double)(rows * kk * n) / best, 1e-9 * (double)(rows * row_bytes) / best);
	void *all[] = {weights, f32, y, x.q, x.d, x.sum, x.packed, scratch};
	for (unsigned i = 0; i < 8; i++) walk_free(&w, all[i]);
}

static void bench_attention(const struct bt_cpu_kernels *k, enum bt_type_id id, uint32_t heads, uint32_t kv, uint32_t d,
                            size_t ctx, size_t n)
{
	struct walk w = {.rng = 1};
	const struct bt_type *type = bt_type_get(id);
	size_t pages = (ctx + 63) / 64, page = kv * BT_KV_PAGE * bt_type_row_bytes(type, d);
	unsigned char *kc = walk_alloc(pages * page), *vc = walk_alloc(pages * page);
	walk_weights(&w, type, WALK_RANDOM, kc, pages * kv * 64 * d);
	walk_weights(&w, type, WALK_RANDOM, vc, pages * kv * 64 * d);
	float *q = walk_alloc(n * heads * d * sizeof *q), *out = walk_alloc(n * heads * d * sizeof *out);
	walk_fill(&w, WALK_RANDOM, q, n * heads * d);
	uint32_t *table = malloc(pages * sizeof *table), *row = malloc(n * sizeof *row);
	int32_t *pos = malloc(n * sizeof *pos);
	for (size_t i = 0; i < pages; i++) table[i] = (uint32_t)i;
	for (size_t i = 0; i < n; i++) row[i] = (uint32_t)i, pos[i] = (int32_t)(ctx - n + i);
	struct bt_cpu_attn a = {.q = q,
	                        .out = out,
	                        .q_stride = heads * d,
	                        .out_stride = heads * d,
	                        .row = row,
	                        .pos = pos,
	                        .n = n,
	                        .n_head = heads,
	                        .n_head_kv = kv,
	                        .d_k = d,
	                        .d_v = d,
	                        .scale = 1.0f / sqrtf((float)d),
	                        .k = kc,
	                        .v = vc,
	                        .k_page_bytes = page,
	                        .v_page_bytes = page,
	                        .k_type = type,
	                        .v_type = type,
	                        .pages = table};
	void *scratch = walk_alloc(k->scratch);
	double best = 1e9, keys = 0;
	for (size_t i = 0; i < n; i++) keys += pos[i] + 1;
	for (int run = 0; run < 5; run++) {
		double t0 = now();
		for (uint32_t h = 0; h < kv; h++)
			for (size_t j = 0; j < n; j += k->attn_tile)
				k->attention(&a, h, j, j + k->attn_tile < n ? j + k->attn_tile : n, scratch);
		double t = now() - t0;
		best = t < best ? t : best;
	}
	printf("%-10s attention %-4s %u/%u heads d %u, %zu queries on %zu keys  %8.1f GFLOPS %7.2f GB/s of cache\n",
	       bt_cpu_level_name(k->level), type->name, heads, kv, d, n, ctx, 4e-9 * keys * heads * d / best,
	       2e-9 * (double)(pages * page) / best);
	void *all[] = {kc, vc, q, out, scratch};
	for (unsigned i = 0; i < 5; i++) walk_free(&w, all[i]);
	free(table);
	free(row);
	free(pos);
}

static void bench_ops(const struct bt_cpu_kernels *k)
{
	enum { N = 8960, RUNS = 3000 };
	struct walk w = {.rng = 1};
	float *x = walk_alloc(N * 4), *u = walk_alloc(N * 4), *y = walk_alloc(N * 4), *d = walk_alloc(N / 8);
	int8_t *q = walk_alloc(N);
	int32_t *sum = walk_alloc(N / 4);
	walk_fill(&w, WALK_RANDOM, x, N);
	walk_fill(&w, WALK_RANDOM, u, N);
	static const char *const names[] = {"quantize_row", "rms_norm",    "silu_mul",    "softmax",
	                                    "rope",         "kv_pack F16", "kv_pack Q8_0"};
	for (int op = 0; op < 7; op++) {
		double t0 = now();
		for (int i = 0; i < RUNS; i++) {
			switch (op) {
			case 0: k->quantize_row(x, N, q, d, sum); break;
			case 1: k->rms_norm(x, u, 1e-6f, N, y); break;
			case 2: k->silu_mul(x, u, N, y); break;
			case 3: k->softmax(x, N, y); break;
			case 4: k->rope(y, x, u, N / 2, true); break;
			case 5: k->kv_pack(bt_type_get(BT_TYPE_F16), x, y, N); break;
			case 6: k->kv_pack(bt_type_get(BT_TYPE_Q8_0), x, y, N); break;
			}
			if (op == 4) memcpy(y, x, N * 4);
		}
		printf("%-10s %-12s n %d  %6.3f ns a value\n", bt_cpu_level_name(k->level), names[op], N,
		       1e9 * (now() - t0) / RUNS / N);
	}
	void *all[] = {x, u, y, d, q, sum};
	for (unsigned i = 0; i < 6; i++) walk_free(&w, all[i]);
}

/* One layer's heads over n rows. */
static void bench_recurrence(const struct bt_cpu_kernels *k, bool delta, size_t heads, size_t d_state, size_t d_head,
                             size_t n)
{
	struct walk w = {.rng = 1};
	size_t width = heads * d_head;
	float *kq = walk_alloc(n * 2 * d_state * sizeof *kq), *v = walk_alloc(n * width * sizeof *v);
	float *y = walk_alloc(n * width * sizeof *y), *state = walk_alloc(width * d_state * sizeof *state);
	float *factor = walk_alloc(n * sizeof *factor);
	walk_fill(&w, WALK_RANDOM, v, n * width);
	walk_fill(&w, WALK_RANDOM, state, width * d_state);
	for (size_t t = 0; t < n; t++) factor[t] = 0.5f;
	for (size_t i = 0; i < n * 2 * d_state; i++) kq[i] = 0.05f;
	double best = 1e9;
	for (int run = 0; run < 5; run++) {
		double t0 = now();
		for (size_t h = 0; h < heads; h++) {
			float *s = state + h * d_head * d_state;
			struct bt_cpu_recurrence r = {.k = kq,
			                              .q = kq + d_state,
			                              .v = v + h * d_head,
			                              .y = y + h * d_head,
			                              .kq_stride = 2 * d_state,
			                              .v_stride = width,
			                              .y_stride = width,
			                              .n = n,
			                              .d_state = d_state,
			                              .d_head = d_head,
			                              .decay = factor,
			                              .gain = factor,
			                              .in = s,
			                              .out = s};
			for (size_t col = 0; col < d_head; col += BT_CPU_COLUMNS)
				(delta ? k->delta_net : k->mamba2)(&r, col, col + BT_CPU_COLUMNS);
		}
		double t = now() - t0;
		best = t < best ? t : best;
	}
	printf("%-10s %-10s %zu heads of %zu x %zu, %4zu tokens  %8.2f us a token\n", bt_cpu_level_name(k->level),
	       delta ? "delta_net" : "mamba2", heads, d_state, d_head, n, 1e6 * best / (double)n);
	void *all[] = {kq, v, y, state, factor};
	for (unsigned i = 0; i < 5; i++) walk_free(&w, all[i]);
}

static void bench_recurrences(const struct bt_cpu_kernels *k)
{
	for (size_t rows = 1; rows <= 512; rows += 511) {
		bench_recurrence(k, true, 32, 128, 128, rows);
		bench_recurrence(k, false, 64, 128, 64, rows);
	}
}

void walk_bench(const struct bt_cpu_kernels *k, const char *filter, size_t kk, size_t n)
{
	if (filter && kk) {
		const struct bt_type *t = bt_type_by_name(filter);
		bench_matmul(k, t, false, kk, n, CACHED);
		if (n == 1) bench_matmul(k, t, false, kk, n, LARGE);
		return;
	}
	static const size_t tokens[] = {1, 2, 4, 8, 32, 512};
	for (uint32_t id = 0; id < BT_TYPE_COUNT; id++) {
		const struct bt_type *t = bt_type_get(id);
		if (!t || (filter && strcmp(filter, t->name) != 0)) continue;
		bench_matmul(k, t, false, 1536, 1, LARGE);
		for (int i = 0; i < 6; i++) bench_matmul(k, t, false, 1536, tokens[i], CACHED);
		if (filter) {
			bench_matmul(k, t, false, WALK_K_MAX, 1, CACHED);
			bench_matmul(k, t, false, WALK_K_MAX, 512, CACHED);
			if (t->block <= 64)
				for (int i = 0; i < 6; i++) bench_matmul(k, t, false, 576, tokens[i], CACHED);
			bench_matmul(k, t, true, 1536, 1, CACHED);
			bench_matmul(k, t, true, 1536, 512, CACHED);
		}
	}
	if (!filter || !strcmp(filter, "ops")) bench_ops(k);
	if (!filter || !strcmp(filter, "recurrent")) bench_recurrences(k);
	if (!filter || !strcmp(filter, "attention"))
		for (int i = 0; i < 2; i++) {
			enum bt_type_id id = i ? BT_TYPE_Q8_0 : BT_TYPE_F16;
			bench_attention(k, id, 9, 3, 64, 512, 512);
			bench_attention(k, id, 12, 2, 128, 512, 512);
			bench_attention(k, id, 12, 2, 128, 4096, 64);
			bench_attention(k, id, 12, 2, 128, 4096, 1);
			bench_attention(k, id, 9, 3, 64, 8192, 1);
		}
}
