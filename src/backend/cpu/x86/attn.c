/* attn.c: flash attention over a paged cache, in the order that kernels.h fixes.
 *
 * A *row* is one query and head; a tile holds up to ROWS_MAX rows that share a KV head. For each page of 64 keys the tile
 * turns K into floats, transposed ([d][64 keys]), and V into floats ([64][d]), once for all rows; then rows go through
 * scores, softmax and values six at a time. Rows are in order of position, so those that see a page are neighbours.
 */
#include "backend/cpu/x86/attn.h"

enum {
	ROWS_MAX = 96,
	TOGETHER = 6,                  /* rows whose sums are in registers at a time */
	VECTORS = WIDTH == 16 ? 4 : 2, /* vectors of sums of each */
	CHUNK = VECTORS * WIDTH,       /* keys, or values of d */
	STEP = 16,                     /* widths are padded to this */
};

/* A running softmax of each row. */
struct part {
	float max[ROWS_MAX], sum[ROWS_MAX];
	float *acc; /* [rows][d_v padded] */
};

struct tile {
	const struct bt_cpu_attn *a;
	uint32_t kv_head;
	size_t n;                               /* rows */
	size_t dv;                              /* d_v padded */
	int64_t first[ROWS_MAX], end[ROWS_MAX]; /* the keys that a row sees */
	bool any[ROWS_MAX];                     /* a split has been merged already */
	struct part split, all;
	float *q;   /* [rows][d_k], scaled */
	float *s;   /* [rows][64] scores, then probabilities */
	float *kt;  /* [d_k][64] */
	float *v;   /* [64][d_v padded] */
	float *tmp; /* [STEP][d_k padded] */
};

static size_t padded(size_t d)
{
	return (d + STEP - 1) / STEP * STEP;
}

/* ---- the cache to floats ---- */

/* d values, a multiple of 32 for Q8_0; dst has room for padded(d) and is 0 there */
static void to_float(const struct bt_type *type, const uint8_t *src, size_t d, float *dst)
{
	size_t i = 0;
	if (type->id == BT_TYPE_F16) {
		for (; i + 8 <= d; i += 8)
			_mm256_storeu_ps(dst + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(src + 2 * i))));
	} else if (type->id == BT_TYPE_Q8_0) {
		for (; i < d; i += 32, src += 34) {
			uint16_t h;
			memcpy(&h, src, 2);
			__m256 scale = _mm256_set1_ps(_cvtsh_ss(h));
			UNROLL
			for (size_t j = 0; j < 32; j += 8) {
				__m128i q = _mm_loadl_epi64((const __m128i *)(src + 2 + j));
				__m256 f = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(q));
				_mm256_storeu_ps(dst + i + j, _mm256_mul_ps(f, scale));
			}
		}
	}
	if (i < d) type->unpack(src + bt_type_row_bytes(type, i), dst + i, d - i);
	for (i = d; i % STEP; i++) dst[i] = 0.0f;
}

/* 8 x 8 floats: out[i][j] = in[j][i] */
INLINE void transpose8(const float *in, size_t in_stride, float *out, size_t out_stride)
{
	__m256 r[8], t[8];
	UNROLL
	for (int i = 0; i < 8; i++) r[i] = _mm256_loadu_ps(in + (size_t)i * in_stride);
	UNROLL
	for (int i = 0; i < 8; i += 2) {
		t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
		t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
	}
	UNROLL
	for (int i = 0; i < 8; i += 4) {
		r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
		r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xEE);
		r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
		r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xEE);
	}
	UNROLL
	for (int i = 0; i < 4; i++) {
		_mm256_storeu_ps(out + (size_t)i * out_stride, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
		_mm256_storeu_ps(out + (size_t)(i + 4) * out_stride, _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
	}
}

/* Keys first .. end of page p to t->kt, in whole steps of 8: slots beyond `end` hold old values, never used. */
static void load_keys(struct tile *t, size_t p, size_t first, size_t end)
{
	const struct bt_cpu_attn *a = t->a;
	size_t row = bt_type_row_bytes(a->k_type, a->d_k), dk = padded(a->d_k);
	const uint8_t *base = (const uint8_t *)a->k + a->pages[p] * a->k_page_bytes + t->kv_head * BT_KV_PAGE * row;
	for (size_t i = first / 8 * 8; i < end; i += 8) {
		for (size_t j = i; j < i + 8 && j < end; j++)
			to_float(a->k_type, base + j * row, a->d_k, t->tmp + (j - i) * dk);
		for (size_t d = 0; d < a->d_k; d += 8)
			transpose8(t->tmp + d, dk, t->kt + d * BT_KV_PAGE + i, BT_KV_PAGE);
	}
}

static void load_values(struct tile *t, size_t p, size_t first, size_t end)
{
	const struct bt_cpu_attn *a = t->a;
	size_t row = bt_type_row_bytes(a->v_type, a->d_v);
	const uint8_t *base = (const uint8_t *)a->v + a->pages[p] * a->v_page_bytes + t->kv_head * BT_KV_PAGE * row;
	for (size_t i = first; i < end; i++) to_float(a->v_type, base + i * row, a->d_v, t->v + i * t->dv);
}

/* ---- n rows with one page ---- */

INLINE vf broadcast(const float *p)
{
	return VF(set1_ps)(*p);
}

/* s[r][c .. c + CHUNK) = q[r] k for n rows */
INLINE void scores(int n, const float *q, size_t d_k, const float *kt, float *s)
{
	vf acc[TOGETHER][VECTORS];
	UNROLL
	for (int r = 0; r < n; r++) UNROLL
	for (int v = 0; v < VECTORS; v++) acc[r][v] = VF(setzero_ps)();
	for (size_t d = 0; d < d_k; d++, kt += BT_KV_PAGE, q++) {
		vf k[VECTORS];
		UNROLL
		for (int v = 0; v < VECTORS; v++) k[v] = VF(loadu_ps)(kt + v * WIDTH);
		UNROLL
		for (int r = 0; r < n; r++) {
			vf x = broadcast(q + (size_t)r * d_k);
			UNROLL
			for (int v = 0; v < VECTORS; v++) acc[r][v] = VF(fmadd_ps)(x, k[v], acc[r][v]);
		}
	}
	UNROLL
	for (int r = 0; r < n; r++) UNROLL
	for (int v = 0; v < VECTORS; v++) VF(storeu_ps)(s + r * (int)BT_KV_PAGE + v * WIDTH, acc[r][v]);
}

/* acc[r][.. CHUNK) += p[r][i] v[i] for n rows and keys first <= i < end; width: of acc and v from here on */
INLINE void values(int n, const float *p, const float *v, size_t dv, size_t first, size_t end, float *acc)
{
	vf sum[TOGETHER][VECTORS];
	UNROLL
	for (int r = 0; r < n; r++) UNROLL
	for (int j = 0; j < VECTORS; j++) sum[r][j] = VF(loadu_ps)(acc + (size_t)r * dv + (size_t)(j * WIDTH));
	for (size_t i = first; i < end; i++) {
		vf x[VECTORS];
		UNROLL
		for (int j = 0; j < VECTORS; j++) x[j] = VF(loadu_ps)(v + i * dv + (size_t)(j * WIDTH));
		UNROLL
		for (int r = 0; r < n; r++) {
			vf w = broadcast(p + (size_t)r * BT_KV_PAGE + i);
			UNROLL
			for (int j = 0; j < VECTORS; j++) sum[r][j] = VF(fmadd_ps)(w, x[j], sum[r][j]);
		}
	}
	UNROLL
	for (int r = 0; r < n; r++) UNROLL
	for (int j = 0; j < VECTORS; j++) VF(storeu_ps)(acc + (size_t)r * dv + (size_t)(j * WIDTH), sum[r][j]);
}

/* The same for the last part of the width, one vector of 16 or 8. */
INLINE void values_rest(int n, const float *p, const float *v, size_t dv, size_t first, size_t end, float *acc)
{
	vf sum[TOGETHER];
	UNROLL
	for (int r = 0; r < n; r++) sum[r] = VF(loadu_ps)(acc + (size_t)r * dv);
	for (size_t i = first; i < end; i++) {
		vf x = VF(loadu_ps)(v + i * dv);
		UNROLL
		for (int r = 0; r < n; r++) sum[r] = VF(fmadd_ps)(broadcast(p + (size_t)r * BT_KV_PAGE + i), x, sum[r]);
	}
	UNROLL
	for (int r = 0; r < n; r++) VF(storeu_ps)(acc + (size_t)r * dv, sum[r]);
}

INLINE void values_wide(int n, const float *p, const float *v, size_t dv, size_t first, size_t end, float *acc)
{
	size_t d = 0;
	for (; d + CHUNK <= dv; d += CHUNK) values(n, p, v + d, dv, first, end, acc + d);
	for (; d < dv; d += WIDTH) values_rest(n, p, v + d, dv, first, end, acc + d);
}

/* Each number of rows that run together, as functions of their own. */
#define DEFINE(n)                                                                                               \
	static void scores_##n(const float *q, size_t d_k, const float *kt, float *s)                           \
	{                                                                                                       \
		scores(n, q, d_k, kt, s);                                                                       \
	}                                                                                                       \
	static void values_##n(const float *p, const float *v, size_t dv, size_t first, size_t end, float *acc) \
	{                                                                                                       \
		values_wide(n, p, v, dv, first, end, acc);                                                      \
	}
DEFINE(1)
DEFINE(2)
DEFINE(3)
DEFINE(4)
DEFINE(5)
DEFINE(6)

typedef void (*scores_fn)(const float *q, size_t d_k, const float *kt, float *s);
typedef void (*values_fn)(const float *p, const float *v, size_t dv, size_t first, size_t end, float *acc);
static const scores_fn scores_of[TOGETHER + 1] = {NULL, scores_1, scores_2, scores_3, scores_4, scores_5, scores_6};
static const values_fn values_of[TOGETHER + 1] = {NULL, values_1, values_2, values_3, values_4, values_5, values_6};

static void soft_cap(float *s, size_t first, size_t end, float cap)
{
	for (size_t i = first; i < end; i++) s[i] = cap * bt_tanhf(s[i] / cap);
}

/* Scores of the seen keys first .. end to probabilities, 0 elsewhere; the row's part is rescaled and its sum advances. */
static void soften(struct tile *t, size_t r, size_t first, size_t end)
{
	float *s = t->s + r * BT_KV_PAGE, *max = &t->split.max[r], *acc = t->split.acc + r * t->dv;
	if (t->a->softcap != 0.0f) soft_cap(s, first, end, t->a->softcap);
	for (size_t i = 0; i < first; i++) s[i] = -INFINITY;
	for (size_t i = end; i < BT_KV_PAGE; i++) s[i] = -INFINITY;
	vf m = VF(set1_ps)(*max);
	UNROLL
	for (size_t i = 0; i < BT_KV_PAGE; i += WIDTH) m = VF(max_ps)(VF(loadu_ps)(s + i), m);
	float lane[WIDTH], largest = *max;
	VF(storeu_ps)(lane, m);
	UNROLL
	for (int l = 0; l < WIDTH; l++) largest = lane[l] > largest ? lane[l] : largest;
	if (largest > *max) {
		float c = bt_expf(*max - largest);
		t->split.sum[r] *= c;
		vf vc = VF(set1_ps)(c);
		for (size_t d = 0; d < t->dv; d += WIDTH) VF(storeu_ps)(acc + d, VF(mul_ps)(VF(loadu_ps)(acc + d), vc));
		*max = largest;
	}
	m = VF(set1_ps)(largest);
	struct lanes sum = lanes_zero();
	UNROLL
	for (size_t i = 0; i < BT_KV_PAGE; i += WIDTH) {
		vf p = vector_exp(VF(sub_ps)(VF(loadu_ps)(s + i), m));
		VF(storeu_ps)(s + i, p);
		sum.v[i / WIDTH % PARTS] = VF(add_ps)(sum.v[i / WIDTH % PARTS], p);
	}
	t->split.sum[r] += tree16(sum);
}

static size_t clamp(int64_t x, size_t hi)
{
	return x < 0 ? 0 : x > (int64_t)hi ? hi : (size_t)x;
}

/* Rows r .. r + n with the page that begins at key `page`. */
static void rows_with_page(struct tile *t, size_t r, size_t n, int64_t page)
{
	size_t first[TOGETHER], end[TOGETHER], from = 0, to = BT_KV_PAGE, most = 0;
	for (size_t i = 0; i < n; i++) {
		first[i] = clamp(t->first[r + i] - page, BT_KV_PAGE);
		end[i] = clamp(t->end[r + i] - page, BT_KV_PAGE);
		if (from < first[i]) from = first[i];
		if (to > end[i]) to = end[i];
		if (most < end[i]) most = end[i];
	}
	float *s = t->s + r * BT_KV_PAGE, *acc = t->split.acc + r * t->dv;
	for (size_t c = 0; c < most; c += CHUNK) scores_of[n](t->q + r * t->a->d_k, t->a->d_k, t->kt + c, s + c);
	for (size_t i = 0; i < n; i++) soften(t, r + i, first[i], end[i]);
	/* the keys that all rows see run together; an unseen value must not even meet a probability of 0: it may be NaN */
	if (from > to) from = to = first[0];
	for (size_t i = 0; i < n; i++)
		if (first[i] < from)
			values_1(s + i * BT_KV_PAGE, t->v, t->dv, first[i], from < end[i] ? from : end[i],
			         acc + i * t->dv);
	if (from < to) values_of[n](s, t->v, t->dv, from, to, acc);
	for (size_t i = 0; i < n; i++) {
		size_t start = to > first[i] ? to : first[i];
		if (start < end[i]) values_1(s + i * BT_KV_PAGE, t->v, t->dv, start, end[i], acc + i * t->dv);
	}
}

static void tile_with_page(struct tile *t, size_t p)
{
	int64_t page = (int64_t)(p * BT_KV_PAGE);
	size_t r0 = 0, r1 = t->n, first = BT_KV_PAGE, end = 0;
	while (r0 < r1 && t->end[r0] <= page) r0++;
	while (r1 > r0 && t->first[r1 - 1] >= page + BT_KV_PAGE) r1--;
	if (r0 == r1) return;
	first = clamp(t->first[r0] - page, BT_KV_PAGE);
	end = clamp(t->end[r1 - 1] - page, BT_KV_PAGE);
	load_keys(t, p, first, end);
	load_values(t, p, first, end);
	for (size_t r = r0; r < r1;) {
		size_t n = r1 - r < TOGETHER ? r1 - r : TOGETHER;
		rows_with_page(t, r, n, page);
		r += n;
	}
}

/* ---- splits ---- */

static void merge_row(struct tile *t, size_t r)
{
	float *all = t->all.acc + r * t->dv, *part = t->split.acc + r * t->dv;
	if (!t->any[r]) {
		memcpy(all, part, t->dv * sizeof *all);
		t->all.max[r] = t->split.max[r];
		t->all.sum[r] = t->split.sum[r];
		t->any[r] = true;
		return;
	}
	float m = t->all.max[r] > t->split.max[r] ? t->all.max[r] : t->split.max[r];
	float a = bt_expf(t->all.max[r] - m), b = bt_expf(t->split.max[r] - m);
	t->all.sum[r] = fmaf(t->all.sum[r], a, t->split.sum[r] * b);
	t->all.max[r] = m;
	vf va = VF(set1_ps)(a), vb = VF(set1_ps)(b);
	for (size_t d = 0; d < t->dv; d += WIDTH)
		VF(storeu_ps)(all + d, VF(fmadd_ps)(VF(loadu_ps)(all + d), va, VF(mul_ps)(VF(loadu_ps)(part + d), vb)));
}

/* The split that begins at that key, to t->split. */
static void tile_with_split(struct tile *t, int64_t begin)
{
	int64_t stop = begin + BT_CPU_ATTN_SPLIT, first = stop, end = begin;
	for (size_t r = 0; r < t->n; r++) {
		int64_t a = t->first[r] > begin ? t->first[r] : begin, b = t->end[r] < stop ? t->end[r] : stop;
		t->split.max[r] = -INFINITY;
		t->split.sum[r] = 0.0f;
		if (a < b && a < first) first = a;
		if (a < b && b > end) end = b;
	}
	memset(t->split.acc, 0, t->n * t->dv * sizeof *t->split.acc);
	for (int64_t p = first / BT_KV_PAGE; p * BT_KV_PAGE < end; p++) tile_with_page(t, (size_t)p);
}

/* t->split, of the split that begins at that key, into t->all. */
static void merge(struct tile *t, int64_t begin)
{
	for (size_t r = 0; r < t->n; r++)
		if (t->first[r] < begin + BT_CPU_ATTN_SPLIT && t->end[r] > begin) merge_row(t, r);
}

/* The rows of n_q queries from q0 with n_h heads from h0 on (of all heads). */
static void set_rows(struct tile *t, size_t q0, size_t n_q, size_t h0, size_t n_h)
{
	const struct bt_cpu_attn *a = t->a;
	t->n = n_q * n_h;
	for (size_t r = 0; r < t->n; r++) {
		size_t j = q0 + r / n_h, h = h0 + r % n_h;
		const float *q = a->q + a->row[j] * a->q_stride + h * a->d_k;
		for (size_t d = 0; d < a->d_k; d++) t->q[r * a->d_k + d] = q[d] * a->scale;
		t->end[r] = (int64_t)a->pos[j] + 1;
		t->first[r] = a->window && t->end[r] > a->window ? t->end[r] - a->window : 0;
		t->any[r] = false;
	}
}

/* The first key of the first split that a row sees. */
static int64_t first_split(const struct tile *t)
{
	return t->first[0] / BT_CPU_ATTN_SPLIT * BT_CPU_ATTN_SPLIT;
}

static void put_results(const struct tile *t, size_t q0, size_t h0, size_t n_h)
{
	const struct bt_cpu_attn *a = t->a;
	for (size_t r = 0; r < t->n; r++) {
		float *out = a->out + a->row[q0 + r / n_h] * a->out_stride + (h0 + r % n_h) * a->d_v;
		vf scale = VF(set1_ps)(1.0f / t->all.sum[r]);
		for (size_t d = 0; d < a->d_v; d += WIDTH)
			store_part(out + d, (ptrdiff_t)(a->d_v - d),
			           VF(mul_ps)(VF(loadu_ps)(t->all.acc + r * t->dv + d), scale));
	}
}

static void run_tile(struct tile *t, size_t q0, size_t n_q, size_t h0, size_t n_h)
{
	set_rows(t, q0, n_q, h0, n_h);
	for (int64_t begin = first_split(t); begin < t->end[t->n - 1]; begin += BT_CPU_ATTN_SPLIT) {
		tile_with_split(t, begin);
		merge(t, begin);
	}
	put_results(t, q0, h0, n_h);
}

static float *carve(float **at, size_t n)
{
	float *p = *at;
	*at += (n + 15) / 16 * 16;
	return p;
}

static void open_tile(struct tile *t, const struct bt_cpu_attn *a, uint32_t head, float *at)
{
	size_t dk = padded(a->d_k);
	*t = (struct tile){.a = a, .kv_head = head, .dv = padded(a->d_v)};
	t->q = carve(&at, ROWS_MAX * dk);
	t->s = carve(&at, ROWS_MAX * BT_KV_PAGE);
	t->kt = carve(&at, dk * BT_KV_PAGE);
	t->v = carve(&at, t->dv * BT_KV_PAGE);
	t->tmp = carve(&at, STEP * dk);
	t->split.acc = carve(&at, ROWS_MAX * t->dv);
	t->all.acc = carve(&at, ROWS_MAX * t->dv);
}

void LEVEL_NAME(attention)(const struct bt_cpu_attn *a, uint32_t head, size_t q0, size_t q1, void *scratch)
{
	size_t group = a->n_head / a->n_head_kv;
	size_t heads = group < ROWS_MAX ? group : ROWS_MAX, queries = ROWS_MAX / heads;
	struct tile t;
	open_tile(&t, a, head, scratch);
	for (size_t q = q0; q < q1; q += queries)
		for (size_t h = 0; h < group; h += heads)
			run_tile(&t, q, q1 - q < queries ? q1 - q : queries, head * group + h,
			         group - h < heads ? group - h : heads);
}

void LEVEL_NAME(attention_split)(const struct bt_cpu_attn *a, uint32_t head, size_t q, size_t split, float *part,
                                 void *scratch)
{
	size_t group = a->n_head / a->n_head_kv;
	struct tile t;
	open_tile(&t, a, head, scratch);
	set_rows(&t, q, 1, head * group, group);
	tile_with_split(&t, first_split(&t) + (int64_t)(split * BT_CPU_ATTN_SPLIT));
	for (size_t r = 0; r < group; r++, part += bt_cpu_attn_part(a->d_v)) {
		part[0] = t.split.max[r];
		part[1] = t.split.sum[r];
		memcpy(part + 2, t.split.acc + r * t.dv, a->d_v * sizeof *part);
	}
}

void LEVEL_NAME(attention_join)(const struct bt_cpu_attn *a, uint32_t head, size_t q, const float *part, void *scratch)
{
	size_t group = a->n_head / a->n_head_kv;
	struct tile t;
	open_tile(&t, a, head, scratch);
	set_rows(&t, q, 1, head * group, group);
	for (int64_t begin = first_split(&t); begin < t.end[0]; begin += BT_CPU_ATTN_SPLIT) {
		for (size_t r = 0; r < group; r++, part += bt_cpu_attn_part(a->d_v)) {
			t.split.max[r] = part[0];
			t.split.sum[r] = part[1];
			memset(t.split.acc + r * t.dv, 0, t.dv * sizeof *part);
			memcpy(t.split.acc + r * t.dv, part + 2, a->d_v * sizeof *part);
		}
		merge(&t, begin);
	}
	put_results(&t, q, head * group, group);
}

size_t LEVEL_NAME(attention_scratch)(size_t d_max)
{
	size_t d = padded(d_max);
	return (3 * ROWS_MAX * d + ROWS_MAX * BT_KV_PAGE + 2 * d * BT_KV_PAGE + STEP * d + 256) * sizeof(float);
}
