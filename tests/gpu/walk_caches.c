/* walk_caches.c: caches of keys and values in parts (struct bt_cache), lowered as in a model: every format gives the bits that the same
 * cache gives in one part, in as many levels between barriers, with heads that do not divide evenly. And caches whose keys really
 * take more than 4 GiB, with pages all over them, compared with the CPU's.
 */
#include "engine/cache.h"
#include "walk.h"

extern const struct bt_backend bt_backend_cpu;
static const struct bt_backend gpu = {.alloc = bt_gpu_device_alloc,
                                      .free = bt_gpu_device_free,
                                      .compile = bt_gpu_compile,
                                      .run = bt_gpu_run,
                                      .window = bt_gpu_window,
                                      .release = bt_gpu_release};

/* PAGES: those in use; a context goes through them again and again, so that it may be long without being computed. */
enum { WIDTH = 64, MOST = 40, PAGES = 6, TABLE = 520 };

struct layer {
	const struct bt_type *keys, *values;
	uint32_t n_head, n_kv, d, window;
	bool turned; /* has rotary positions */
	uint32_t n_pages;
};

/* q, k, v = products of x; attention; z = product of what it gives. */
struct weights {
	struct bt_tensor q, k, v, out;
	struct bt_rope rope;
	double freq[128];
};
enum { X, Q, K, V, Y, Z };

struct side {
	const struct bt_backend *backend;
	struct bt_device *dev;
	struct bt_plan plan;
	struct bt_part part;
	struct bt_keep keep[3];
	struct bt_cache cache;
	struct bt_exec *exec;
	uint32_t page[PAGES]; /* where the pages in use stand */
};

/* n numbers, 127 of them in either direction, of which every block of 32 has the largest: so they are rounded to 8 bits without a change,
 * and their products have sums without rounding. Then every kernel forms the same keys and values, and what becomes of them in a
 * cache, to the last bit. */
static float *exact_rows(struct walk *w, size_t n)
{
	float *x = rows_of(w, n);
	for (size_t i = 0; i < n; i++) x[i] = (i % 32 ? roundf(fminf(fmaxf(x[i], -1), 1) * 127) : 127) / 128;
	return x;
}

static struct bt_tensor small_matrix(struct walk *w, uint32_t k, uint32_t rows)
{
	const struct bt_type *type = bt_type_get(BT_TYPE_Q8_0);
	struct bt_tensor t = {.type = type, .n_dims = 2, .dim = {k, rows, 1, 1}, .n_rows = rows};
	t.row_bytes = bt_type_row_bytes(type, k);
	t.size = t.matrix_bytes = t.row_bytes * rows;
	char *data = calloc(rows, t.row_bytes);
	for (uint32_t r = 0; r < rows; r++) {
		float *x = exact_rows(w, k);
		for (uint32_t i = 0; i < k; i++) x[i] /= 8;
		type->pack(x, data + r * t.row_bytes, k, NULL);
		free(x);
	}
	t.data = data;
	return t;
}

static void make_weights(struct walk *w, struct weights *m, const struct layer *l)
{
	m->q = small_matrix(w, WIDTH, l->n_head * l->d);
	m->k = small_matrix(w, WIDTH, l->n_kv * l->d);
	m->v = small_matrix(w, WIDTH, l->n_kv * l->d);
	m->out = small_matrix(w, l->n_head * l->d, 40);
	m->rope = (struct bt_rope){.n_pairs = l->d / 2, .neox = true, .magnitude = 1, .freq = m->freq};
	for (uint32_t i = 0; i < l->d / 2; i++) m->freq[i] = 1.0 / (1 + i);
}

static void free_weights(struct weights *m)
{
	const struct bt_tensor *t[] = {&m->q, &m->k, &m->v, &m->out};
	for (size_t i = 0; i < sizeof t / sizeof *t; i++) free((void *)t[i]->data);
}

static void product(struct bt_plan *p, const struct bt_tensor *mat, uint32_t x, uint32_t y)
{
	struct bt_op *op = bt_plan_op(p, BT_OP_MATMUL, 0);
	op->in[0] = x;
	op->out[0] = y;
	op->matmul.mat[0].w = mat;
	op->matmul.n_mats = 1;
}

static void make_plan(struct side *s, const struct weights *m, const struct layer *l)
{
	struct bt_plan *p = &s->plan;
	bt_plan_init(p);
	const uint32_t widths[] = {WIDTH, l->n_head * l->d, l->n_kv * l->d, l->n_kv * l->d, l->n_head * l->d, 40};
	for (uint32_t i = 0; i < sizeof widths / sizeof *widths; i++) bt_plan_value(p, "v", widths[i], BT_ROWS_TOKENS);
	p->n_vocab = 1;
	uint32_t cache = bt_plan_cache(p, 0, l->n_kv, l->d, l->d);
	product(p, &m->q, X, Q);
	product(p, &m->k, X, K);
	product(p, &m->v, X, V);
	if (l->turned) {
		struct bt_op *op = bt_plan_op(p, BT_OP_ROPE, 0);
		op->in[0] = op->out[0] = Q;
		op->in[1] = op->out[1] = K;
		op->rope.rope = &m->rope;
		op->rope.d = l->d;
		op->rope.n_head[0] = l->n_head;
		op->rope.n_head[1] = l->n_kv;
	}
	struct bt_op *op = bt_plan_op(p, BT_OP_KV_STORE, 0);
	op->in[0] = K;
	op->in[1] = V;
	op->kv.cache = cache;
	op = bt_plan_op(p, BT_OP_ATTENTION, 0);
	op->in[0] = Q;
	op->out[0] = Y;
	op->attention.cache = cache;
	op->attention.n_head = l->n_head;
	op->attention.window = l->window;
	op->attention.scale = 2 / sqrtf((float)l->d);
	product(p, &m->out, Y, Z);
	s->part = (struct bt_part){0, p->n_ops};
	p->part = &s->part;
	p->n_parts = 1;
	s->keep[0].value = X;
	s->keep[1] = (struct bt_keep){Y, p->n_ops - 1, 0, true};
	s->keep[2] = (struct bt_keep){Z, p->n_ops - 1, 0, true};
	p->keep = s->keep;
	p->n_keeps = 3;
}

/* Pages from both ends and the middle of n. */
static void spread(uint32_t page[PAGES], uint32_t n)
{
	const uint32_t at[PAGES] = {n - 1, 0, n / 2, n / 3 * 2, n - 2, 1};
	memcpy(page, at, sizeof at);
}

static bool open_side(struct walk *w, struct side *s, const struct weights *m, const struct layer *l,
                      uint64_t max_alloc)
{
	struct bt_cache_need need;
	make_plan(s, m, l);
	need = (struct bt_cache_need){&s->plan.cache[0], l->keys, l->values, l->n_pages};
	spread(s->page, l->n_pages);
	struct bt_compile c = {.plan = &s->plan,
	                       .n_tokens = MOST,
	                       .n_logits = 1,
	                       .n_threads = 1,
	                       .type_k = l->keys,
	                       .type_v = l->values,
	                       .cache = &s->cache};
	enum baton_status status = bt_cache_open(s->backend, s->dev, max_alloc, &need, &s->cache, &w->err);
	if (!status) status = s->backend->compile(s->dev, &c, &s->exec, &w->err);
	if (status) fail(w, w->err.text);
	return !status;
}

static void close_side(struct side *s)
{
	if (s->backend == &gpu) release_plan(s->exec, &s->plan);
	else {
		if (s->exec) s->backend->release(s->exec);
		s->plan.part = NULL, s->plan.keep = NULL;
		bt_plan_free(&s->plan);
	}
	bt_cache_close(s->backend, s->dev, &s->cache);
}

/* Tokens at pos0 and behind; y, then z, into out. */
static void run(struct walk *w, struct side *s, const float *x, uint32_t pos0, uint32_t n, float *out)
{
	int32_t token[MOST] = {0}, pos[MOST];
	uint32_t pages[TABLE], row = 0;
	size_t y = (size_t)n * s->plan.value[Y].width, z = (size_t)n * s->plan.value[Z].width;
	for (uint32_t i = 0; i < TABLE; i++) pages[i] = s->page[i % PAGES];
	for (uint32_t i = 0; i < n; i++) pos[i] = (int32_t)(pos0 + i);
	struct bt_step_seq seq = {
		.n = n, .pos0 = pos0, .state_in = BT_NO_SLOT, .state_out = BT_NO_SLOT, .pages = pages};
	struct bt_step step = {
		.n_tokens = n, .n_seqs = 1, .token = token, .pos = pos, .seq = &seq, .logit_row = &row, .logits = out};
	memcpy(s->backend->window(s->exec, 0), x, (size_t)n * WIDTH * sizeof *x);
	if (s->backend->run(s->exec, &step, &w->err)) fail(w, w->err.text);
	memcpy(out, s->backend->window(s->exec, 1), y * sizeof *out);
	memcpy(out + y, s->backend->window(s->exec, 2), z * sizeof *out);
}

/* Commands and barriers of such a step. */
static void count(struct walk *w, const struct side *s, uint32_t pos0, uint32_t n, uint32_t counted[2])
{
	struct bt_gpu_shape shape = {.n_tokens = n};
	struct bt_gpu_cmd *cmd = NULL;
	counted[0] = counted[1] = 0;
	bt_gpu_shape_attention(s->exec, 1, pos0 + n - 1, &shape);
	if (bt_gpu_lower(s->exec, shape, &cmd, &counted[0], &w->err)) fail(w, w->err.text);
	for (uint32_t i = 0; i < counted[0]; i++) counted[1] += cmd[i].barrier;
	bt_mem_free(cmd);
}

static size_t results(const struct layer *l)
{
	return (size_t)MOST * (l->n_head * l->d + 40);
}

/* Keys in all pages, then a prompt, some tokens, one; with contexts that go to splits. */
static const struct {
	uint32_t pos0, n;
} steps[] = {{0, MOST}, {64, MOST}, {128, MOST}, {192, MOST}, {256, MOST}, {320, MOST},
             {360, 1},  {361, 3},   {364, 20},   {600, 1},    {1100, 20},  {2600, 1}};
#define FIRST_SLOW 5u /* the emulator's first */
#define N_STEPS    (sizeof steps / sizeof *steps)

/* A cache in one part and in `parts`. */
static void walk_cache(struct walk *w, const struct layer *l, uint32_t parts)
{
	struct side s[2] = {{.backend = &gpu, .dev = w->device}, {.backend = &gpu, .dev = w->device}};
	struct weights m;
	snprintf(w->what, sizeof w->what, "cache of %s, %s, %u/%u heads of %u, in %u parts%s", l->keys->name,
	         l->values->name, l->n_head, l->n_kv, l->d, parts, l->turned ? ", positions" : "");
	make_weights(w, &m, l);
	uint64_t head = l->n_pages * (uint64_t)BT_KV_PAGE *
	                (bt_type_row_bytes(l->keys, l->d) > bt_type_row_bytes(l->values, l->d)
	                         ? bt_type_row_bytes(l->keys, l->d)
	                         : bt_type_row_bytes(l->values, l->d));
	bool ok = open_side(w, &s[0], &m, l, 0);
	ok = open_side(w, &s[1], &m, l, head * ((l->n_kv + parts - 1) / parts)) && ok;
	float *out[2] = {calloc(results(l), 4), calloc(results(l), 4)};
	w->cases++;
	if (ok && (s[0].cache.n_parts != 1 || s[1].cache.n_parts != parts)) fail(w, "other parts");
	for (size_t i = w->fused ? FIRST_SLOW : 0; i < N_STEPS && ok; i++) {
		uint32_t n = steps[i].n, counted[2][2];
		float *x = rows_of(w, (size_t)n * WIDTH);
		for (int k = 0; k < 2; k++) {
			run(w, &s[k], x, steps[i].pos0, n, out[k]);
			count(w, &s[k], steps[i].pos0, n, counted[k]);
		}
		free(x);
		w->cases++;
		if (memcmp(out[0], out[1], n * (l->n_head * l->d + 40) * sizeof **out))
			fail(w, "other bits than in one part");
		if (counted[0][1] != counted[1][1]) fail(w, "parts of a cache wait for each other");
		if (counted[1][0] != counted[0][0] + 2 * (parts - 1)) fail(w, "a store and an attention for each part");
	}
	free(out[0]), free(out[1]);
	close_side(&s[0]);
	close_side(&s[1]);
	free_weights(&m);
}

#define KIND_0 bt_type_get(BT_TYPE_F16)
#define KIND_1 bt_type_get(BT_TYPE_Q8_0)
#define KIND_2 bt_type_get(BT_TYPE_F32)
void walk_caches(struct walk *w)
{
	const struct bt_type *kinds[][2] = {
#define CACHE(name, k, v) {KIND_##k, KIND_##v},
#include "backend/gpu/kernels/caches.inc"
#undef CACHE
	};
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		const struct bt_type *k = kinds[i][0], *v = kinds[i][1];
		/* Formats differ in what a head takes, which one of them shows: the emulator is slow. */
		if (w->fused && i > 1) break;
		if (!w->fused || i) walk_cache(w, &(struct layer){k, v, 5, 5, 96, 300, i % 2 != 0, 8}, 3);
		if (!w->fused || !i) walk_cache(w, &(struct layer){k, v, 6, 3, 64, 0, i % 2 == 0, 8}, 2);
		if (!w->fused || !i) walk_cache(w, &(struct layer){k, v, 16, 2, 64, 0, true, 8}, 2);
	}
}

/* The same layer on the CPU, with those pages alone. */
static void compare(struct walk *w, struct side s[2], const struct layer *l)
{
	float *out[2] = {calloc(results(l), 4), calloc(results(l), 4)};
	for (size_t i = 0; i <= N_STEPS; i++) {
		uint32_t n = i < N_STEPS ? steps[i].n : 1, pos0 = i < N_STEPS ? steps[i].pos0 : 64 * TABLE - 1;
		float *x = exact_rows(w, (size_t)n * WIDTH);
		for (int k = 0; k < 2; k++) run(w, &s[k], x, pos0, n, out[k]);
		judge(w, OP_MATRIX_ATTENTION, out[1], out[0], (size_t)n * l->n_head * l->d);
		free(x);
	}
	free(out[0]), free(out[1]);
}

/* In parts of at most max_alloc bytes. */
static void walk_one(struct walk *w, const struct layer *l, uint64_t max_alloc, uint64_t memory)
{
	struct bt_cache_shape shape = {.n_head_kv = l->n_kv, .d_k = l->d, .d_v = l->d};
	struct bt_cache_need need = {&shape, l->keys, l->values, l->n_pages};
	struct side s[2] = {{.backend = &bt_backend_cpu}, {.backend = &gpu, .dev = w->device}};
	struct bt_device_params params = {.n_threads = 2};
	struct layer small = *l;
	struct weights m;
	uint64_t bytes = (uint64_t)bt_cache_page_bytes(&need) * l->n_pages;
	snprintf(w->what, sizeof w->what, "cache of %.2f GB, %s, %s, %u/%u heads of %u, %.2f GB at once",
	         (double)bytes * 1e-9, l->keys->name, l->values->name, l->n_head, l->n_kv, l->d,
	         (double)max_alloc * 1e-9);
	if (memory && bytes > memory / 10 * 9) {
		printf("%s: skipped, %.2f GB are free\n", w->what, (double)memory * 1e-9);
		return;
	}
	if (bt_backend_cpu.open(0, &params, &s[0].dev, &w->err)) {
		fail(w, w->err.text);
		return;
	}
	small.n_pages = PAGES;
	make_weights(w, &m, l);
	bool ok = open_side(w, &s[0], &m, &small, 0);
	ok = open_side(w, &s[1], &m, l, max_alloc) && ok;
	for (uint32_t i = 0; i < PAGES; i++) s[0].page[i] = i;
	if (ok) compare(w, s, l);
	if (ok && memory) printf("%s: %u parts, compared\n", w->what, s[1].cache.n_parts);
	close_side(&s[0]);
	close_side(&s[1]);
	bt_backend_cpu.close(s[0].dev);
	free_weights(&m);
}

void walk_large_caches(struct walk *w, bool small, uint64_t memory)
{
	const struct bt_type *half = bt_type_get(BT_TYPE_F16), *q8 = bt_type_get(BT_TYPE_Q8_0);
	const uint32_t less = small ? 256 : 1;
	const uint64_t most = small ? BT_GPU_REACH / 256 : w->gpu->caps.max_alloc;
	struct layer l[] = {
		{half, half, 32, 8, 128, 0, true, 36000 / less}, /* 4.7 GB each of keys and values */
		{q8, q8, 32, 8, 128, 0, true, 64000 / less},     /* 4.5 GB */
		{half, half, 8, 1, 128, 0, true, 280000 / less}, /* 4.6 GB for one head, where it can be had at once */
	};
	walk_one(w, &l[0], most, memory);
	walk_one(w, &l[0], (most < BT_GPU_REACH ? most : BT_GPU_REACH) / 3, memory);
	walk_one(w, &l[1], most, memory);
	uint64_t head = (uint64_t)l[2].n_pages * BT_KV_PAGE * bt_type_row_bytes(half, 128);
	if (small || head <= most) walk_one(w, &l[2], 0, memory);
	else
		printf("one head of %.2f GB: skipped, the device gives %.2f GB at once\n", (double)head * 1e-9,
		       (double)most * 1e-9);
}
