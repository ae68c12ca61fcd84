/* walk_attn.c: attention over a paged cache: shapes of heads, cache types, windows, soft caps, prompts and single tokens. */
#include "walk.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct shape {
	uint32_t n_head, n_head_kv, d_k, d_v;
	enum bt_type_id k_type, v_type;
	uint32_t window;
	float softcap;
};

static const struct shape shapes[] = {
	{9, 3, 64, 64, BT_TYPE_F16, BT_TYPE_F16, 0, 0},    /* SmolLM2 */
	{12, 2, 128, 128, BT_TYPE_F16, BT_TYPE_F16, 0, 0}, /* Qwen2.5 1.5B */
	{4, 4, 32, 32, BT_TYPE_F16, BT_TYPE_F16, 0, 0},    /* no groups */
	{8, 1, 64, 64, BT_TYPE_Q8_0, BT_TYPE_Q8_0, 0, 0},  /* one KV head */
	{6, 2, 96, 96, BT_TYPE_Q8_0, BT_TYPE_F16, 0, 0},      {4, 2, 80, 80, BT_TYPE_F32, BT_TYPE_F32, 0, 0},
	{4, 2, 64, 64, BT_TYPE_F16, BT_TYPE_F16, 100, 0}, /* sliding window */
	{4, 2, 256, 256, BT_TYPE_F16, BT_TYPE_F16, 0, 30.0f}, {4, 2, 192, 128, BT_TYPE_F16, BT_TYPE_Q8_0, 7, 0},
	{3, 1, 40, 24, BT_TYPE_F16, BT_TYPE_F16, 0, 0},  /* widths that fill no vector */
	{32, 1, 64, 64, BT_TYPE_F16, BT_TYPE_F16, 0, 0}, /* a group wider than any tile */
};

/* A cache of n_ctx positions in shuffled pages; slots past the last position hold NaN, which must not matter. */
struct cache {
	unsigned char *k, *v;
	uint32_t *pages;
	size_t k_page, v_page;
};

static void fill_kind(struct walk *w, const struct bt_type *t, unsigned char *base, size_t page_bytes,
                      const uint32_t *pages, uint32_t n_pages, uint32_t heads, uint32_t d, size_t n_ctx)
{
	size_t row = bt_type_row_bytes(t, d);
	float x[WALK_D_MAX];
	for (uint32_t p = 0; p < n_pages; p++)
		for (uint32_t h = 0; h < heads; h++)
			for (uint32_t s = 0; s < BT_KV_PAGE; s++) {
				unsigned char *dst = base + pages[p] * page_bytes + (h * BT_KV_PAGE + s) * row;
				walk_fill(w, walk_random(w) % 50 ? WALK_RANDOM : WALK_OUTLIERS, x, d);
				if (p * BT_KV_PAGE + s < n_ctx) t->pack(x, dst, d, NULL);
				else memset(dst, 0xFF, row);
			}
}

static void cache_make(struct walk *w, struct cache *c, const struct shape *s, size_t n_ctx)
{
	const struct bt_type *kt = bt_type_get(s->k_type), *vt = bt_type_get(s->v_type);
	uint32_t n = (uint32_t)((n_ctx + BT_KV_PAGE - 1) / BT_KV_PAGE);
	c->k_page = s->n_head_kv * BT_KV_PAGE * bt_type_row_bytes(kt, s->d_k);
	c->v_page = s->n_head_kv * BT_KV_PAGE * bt_type_row_bytes(vt, s->d_v);
	c->k = walk_alloc(n * c->k_page);
	c->v = walk_alloc(n * c->v_page);
	c->pages = malloc(n * sizeof *c->pages);
	for (uint32_t i = 0; i < n; i++) c->pages[i] = i;
	for (uint32_t i = n - 1; i > 0; i--) {
		uint32_t j = (uint32_t)(walk_random(w) % (i + 1)), t = c->pages[i];
		c->pages[i] = c->pages[j];
		c->pages[j] = t;
	}
	fill_kind(w, kt, c->k, c->k_page, c->pages, n, s->n_head_kv, s->d_k, n_ctx);
	fill_kind(w, vt, c->v, c->v_page, c->pages, n, s->n_head_kv, s->d_v, n_ctx);
}

/* One query and head in double precision. A score's rounding error is at most (d_k + 3) e times the sum of its terms'
 * magnitudes and is a relative error of p; exp, sums and rescaling add some 64 + keys / 16 roundings. So `of` is the sum
 * of |p v| times that count. */
static void one_in_double(const struct bt_cpu_attn *a, uint32_t h, size_t j, double *want, double *of)
{
	uint32_t kv = h / (a->n_head / a->n_head_kv);
	const float *q = a->q + a->row[j] * a->q_stride + (size_t)h * a->d_k;
	int32_t end = a->pos[j] + 1, first = a->window && end > (int32_t)a->window ? end - (int32_t)a->window : 0;
	double *s = malloc((size_t)end * sizeof *s), max = -INFINITY, sum = 0, terms = 0;
	float x[WALK_D_MAX];
	for (int32_t i = first; i < end; i++) {
		size_t row = kv * BT_KV_PAGE + (size_t)i % BT_KV_PAGE;
		a->k_type->unpack((const char *)a->k + a->pages[i / (int32_t)BT_KV_PAGE] * a->k_page_bytes +
		                          row * bt_type_row_bytes(a->k_type, a->d_k),
		                  x, a->d_k);
		double mag = s[i] = 0;
		for (uint32_t d = 0; d < a->d_k; d++) {
			s[i] += (double)q[d] * x[d];
			mag += fabs((double)q[d] * x[d] * a->scale);
		}
		terms = fmax(terms, mag);
		s[i] *= a->scale;
		if (a->softcap != 0) s[i] = a->softcap * tanh(s[i] / a->softcap);
		max = fmax(max, s[i]);
	}
	for (int32_t i = first; i < end; i++) sum += s[i] = exp(s[i] - max);
	memset(want, 0, a->d_v * sizeof *want);
	memset(of, 0, a->d_v * sizeof *of);
	for (int32_t i = first; i < end; i++) {
		size_t row = kv * BT_KV_PAGE + (size_t)i % BT_KV_PAGE;
		a->v_type->unpack((const char *)a->v + a->pages[i / (int32_t)BT_KV_PAGE] * a->v_page_bytes +
		                          row * bt_type_row_bytes(a->v_type, a->d_v),
		                  x, a->d_v);
		for (uint32_t d = 0; d < a->d_v; d++) {
			want[d] += s[i] / sum * x[d];
			of[d] += s[i] / sum * fabs(x[d]) * ((a->d_k + 3) * terms + 64 + (double)end / 16);
		}
	}
	free(s);
}

static void attention_against_double(struct walk *w, const struct bt_cpu_attn *a, size_t n_ctx)
{
	double unit = walk_tolerance(WALK_ATTN, a->k_type, n_ctx), want[WALK_D_MAX], of[WALK_D_MAX];
	for (size_t j = 0; j<a->n; j += a->n> 3 ? a->n / 3 : 1)
		for (uint32_t h = 0; h < a->n_head; h++) {
			one_in_double(a, h, j, want, of);
			walk_close(w, a->out + a->row[j] * a->out_stride + (size_t)h * a->d_v, want, of, a->d_v, unit);
		}
}

/* Each query by its splits, the last one first, and their join. */
static void by_splits(struct walk *w, const struct bt_cpu_attn *a)
{
	size_t group = a->n_head / a->n_head_kv, floats = group * bt_cpu_attn_part(a->d_v);
	for (size_t q = 0; q < a->n; q++) {
		size_t n = bt_cpu_attn_splits(a->pos[q], a->window);
		float *parts = walk_alloc(n * floats * sizeof *parts);
		for (uint32_t h = 0; h < a->n_head_kv; h++) {
			for (size_t s = n; s--;) w->k.attention_split(a, h, q, s, parts + s * floats, w->scratch);
			w->k.attention_join(a, h, q, parts, w->scratch);
		}
		walk_free(w, parts);
	}
}

/* Queries for the last n of n_ctx positions, in one call per KV head, then cut in two, then by splits. */
static void attention_case(struct walk *w, const struct shape *s, size_t n_ctx, size_t n)
{
	const struct bt_type *kt = bt_type_get(s->k_type), *vt = bt_type_get(s->v_type);
	walk_case(w, "attention %u/%u heads d %u,%u %s,%s window %u softcap %g keys %zu queries %zu", s->n_head,
	          s->n_head_kv, s->d_k, s->d_v, kt->name, vt->name, s->window, s->softcap, n_ctx, n);
	struct cache c;
	cache_make(w, &c, s, n_ctx);
	size_t rows = n + 2, q_stride = s->n_head * s->d_k + 1, out_stride = s->n_head * s->d_v + 3;
	float *q = walk_alloc(rows * q_stride * sizeof *q);
	float *want = walk_alloc(rows * out_stride * sizeof *want), *got = walk_alloc(rows * out_stride * sizeof *got);
	uint32_t *row = malloc(n * sizeof *row);
	int32_t *pos = malloc(n * sizeof *pos);
	walk_fill(w, WALK_RANDOM, q, rows * q_stride);
	for (size_t j = 0; j < n; j++) {
		row[j] = (uint32_t)(rows - 1 - j);
		pos[j] = (int32_t)(n_ctx - n + j);
	}
	struct bt_cpu_attn a = {.q = q,
	                        .out = want,
	                        .q_stride = q_stride,
	                        .out_stride = out_stride,
	                        .row = row,
	                        .pos = pos,
	                        .n = n,
	                        .n_head = s->n_head,
	                        .n_head_kv = s->n_head_kv,
	                        .d_k = s->d_k,
	                        .d_v = s->d_v,
	                        .scale = 1.0f / sqrtf((float)s->d_k),
	                        .softcap = s->softcap,
	                        .window = s->window,
	                        .k = c.k,
	                        .v = c.v,
	                        .k_page_bytes = c.k_page,
	                        .v_page_bytes = c.v_page,
	                        .k_type = kt,
	                        .v_type = vt,
	                        .pages = c.pages};
	for (uint32_t h = 0; h < s->n_head_kv; h++) w->ref.attention(&a, h, 0, n, w->ref_scratch);
	if (w->oracle) attention_against_double(w, &a, n_ctx);
	a.out = got;
	for (uint32_t h = 0; h < s->n_head_kv; h++) w->k.attention(&a, h, 0, n, w->scratch);
	walk_same_bits(w, got, want, rows * out_stride);
	memset(got, 0xA5, rows * out_stride * sizeof *got);
	size_t cut = walk_random(w) % (n + 1);
	for (uint32_t h = 0; h < s->n_head_kv; h++) {
		if (cut) w->k.attention(&a, h, 0, cut, w->scratch);
		if (cut < n) w->k.attention(&a, h, cut, n, w->scratch);
	}
	walk_same_bits(w, got, want, rows * out_stride);
	memset(got, 0xA5, rows * out_stride * sizeof *got);
	if (w->k.attention_split && s->n_head / s->n_head_kv <= BT_CPU_ATTN_GROUP) {
		by_splits(w, &a);
		walk_same_bits(w, got, want, rows * out_stride);
	}
	walk_free(w, q);
	walk_free(w, want);
	walk_free(w, got);
	walk_free(w, c.k);
	walk_free(w, c.v);
	free(c.pages);
	free(row);
	free(pos);
}

void walk_attention(struct walk *w)
{
	static const size_t ctx[][2] = {{1, 1},    {2, 1},     {3, 3},   {63, 1},   {64, 64},  {65, 2},
	                                {100, 37}, {130, 130}, {513, 1}, {600, 20}, {1100, 1}, {1030, 9}};
	for (unsigned s = 0; s < sizeof shapes / sizeof *shapes; s++)
		for (unsigned i = 0; i < sizeof ctx / sizeof *ctx; i++)
			attention_case(w, &shapes[s], ctx[i][0], ctx[i][1]);
}
