/* lower_attn.c: positions, the KV cache and attention. */
#include "backend/gpu/lower.h"

/* Kernels by the formats of keys and values: by width of heads, then by the query heads that share one reading. */
static const uint32_t widths[] = {64, 128, 256}, shared_heads[] = {1, 4, 8};
static const struct cache_kernels {
	enum bt_type_id keys, values;
	uint16_t kv_store, attention[3][3], tile[3];
	uint16_t matrix[3]; /* 0: not on matrix cores, the cache is finer than they are */
	uint16_t few[3];    /* likewise of few tokens; 0: not so, registers would be short */
} cache_kernels[] = {
#define KIND_0 BT_TYPE_F16
#define KIND_1 BT_TYPE_Q8_0
#define KIND_2 BT_TYPE_F32
#define WIDTH(name, d)                                                                    \
	{                                                                                 \
		BT_GPU_K_attention_##name##_##d##_1, BT_GPU_K_attention_##name##_##d##_4, \
			BT_GPU_K_attention_##name##_##d##_8                               \
	}
#define TILE(name, d)   BT_GPU_K_attention_tile_##name##_##d
#define MATRIX(name, d) BT_GPU_K_attention_matrix_##name##_##d
#define FEW(name, d)    BT_GPU_K_attention_few_##name##_##d
#define ROW(name, k, v, ...)                                    \
	{KIND_##k,                                              \
	 KIND_##v,                                              \
	 BT_GPU_K_kv_store_##name,                              \
	 {WIDTH(name, 64), WIDTH(name, 128), WIDTH(name, 256)}, \
	 {TILE(name, 64), TILE(name, 128), TILE(name, 256)},    \
	 __VA_ARGS__},
#define CACHE(name, k, v) ROW(name, k, v, {0}, {0})
#define CACHE_HALF(name, k, v) \
	ROW(name, k, v, {MATRIX(name, 64), MATRIX(name, 128), MATRIX(name, 256)}, {FEW(name, 64), FEW(name, 128)})
#include "backend/gpu/kernels/caches.inc"
#undef CACHE
#undef WIDTH
#undef TILE
#undef MATRIX
#undef FEW
#undef ROW
};
#define N_CACHE_KERNELS (sizeof cache_kernels / sizeof *cache_kernels)

#define TILE_ROWS   64u    /* rows of attention_tile.k; and of attention_matrix.k, which has whole tokens */
#define FEW_ROWS    16u    /* query heads of a token that attention_matrix.k takes together */
#define FEW_FROM    5u     /* and how many it takes to be worth it */
#define FEW_SHARED  18432u /* bytes of shared memory that it takes then */
#define TILE_SHARED 30720u /* bytes of shared memory that attention_tile.k takes, lane exchange through it included */

static const struct cache_kernels *kernels_of(const struct bt_compile *c)
{
	for (size_t i = 0; i < N_CACHE_KERNELS; i++)
		if (c->type_k->id == cache_kernels[i].keys && c->type_v->id == cache_kernels[i].values)
			return &cache_kernels[i];
	return NULL;
}

static const struct bt_cache_shape *cache_of(const struct bt_plan *plan, const struct bt_op *op)
{
	return &plan->cache[op->kind == BT_OP_KV_STORE ? op->kv.cache : op->attention.cache];
}

const char *bt_gpu_check_attention(const struct bt_plan *plan, const struct bt_op *op)
{
	const struct bt_cache_shape *s = cache_of(plan, op);
	if (s->d_k > 256 || s->d_v > 256) return "heads of more than 256 values";
	return (s->d_k | s->d_v) % 8 ? "heads of a number of values that is no multiple of 8" : NULL;
}

const char *bt_gpu_check_cache(const struct bt_compile *c)
{
	return kernels_of(c) ? NULL : "no kernel for these formats of keys and values together (-ctk and -ctv)";
}

/* A cache's keys or values, or those of a part. */
static struct bt_gpu_range cache_range(const struct bt_dev_mem *mem, bool write)
{
	const struct bt_gpu_mem *m = mem->handle;
	return (struct bt_gpu_range){m->address, m->size, write};
}

/* Where the angles of the operation's rows stand: cos, and sin bt_gpu_rope_bytes behind. */
static uint64_t angles(const struct bt_exec *e, uint32_t rope)
{
	uint64_t at = e->step.address + e->at_rope;
	for (uint32_t i = 0; i < rope; i++) at += 2 * bt_gpu_rope_bytes(e, i);
	return at;
}

void bt_gpu_lower_rope(struct bt_gpu_lowering *l)
{
	const struct bt_op *op = l->op;
	uint64_t at = angles(l->e, l->node->rope);
	for (uint32_t i = 0; i < 2; i++) {
		struct bt_gpu_rope p = {.x = bt_gpu_value(l, op->in[i]),
		                        .cos = at,
		                        .sin = at + bt_gpu_rope_bytes(l->e, l->node->rope),
		                        .n_rows = bt_gpu_rows(l, op->in[i]),
		                        .n_head = op->rope.n_head[i],
		                        .d = op->rope.d,
		                        .n_pairs = op->rope.rope->n_pairs,
		                        .neox = op->rope.rope->neox};
		struct bt_gpu_range touched = bt_gpu_writes(l, op->in[i]);
		uint32_t n = p.n_rows * p.n_head * p.n_pairs;
		bt_gpu_emit(l, bt_gpu_cmd(BT_GPU_K_rope, &p, (n + 255) / 256, 1, 1), &touched, 1);
	}
}

/* Heads of one part of a cache: `p` moved there. The first one turns the queries. */
static void emit_store_part(struct bt_gpu_lowering *l, struct bt_gpu_kv_store p, const struct bt_cache_part *part,
                            const struct bt_gpu_range in[3])
{
	struct bt_gpu_range touched[5] = {in[0], in[1], cache_range(&part->k, true), cache_range(&part->v, true),
	                                  in[2]};
	if (part->head0) p.q = p.n_head = 0;
	p.k += (uint64_t)part->head0 * p.d_k * sizeof(float);
	p.v += (uint64_t)part->head0 * p.d_v * sizeof(float);
	p.k_cache = touched[2].address;
	p.v_cache = touched[3].address;
	p.n_head_kv = part->n_head;
	uint32_t teams = (p.n_head * p.n_pairs + 7) / 8 + p.n_head_kv * ((p.d_k + 63) / 64 + (p.d_v + 63) / 64);
	bt_gpu_emit(l, bt_gpu_cmd(kernels_of(&l->e->c)->kv_store, &p, (teams + 7) / 8, p.n_rows, 1), touched,
	            p.q ? 5 : 4);
}

/* Keys and values into the cache, with the positions of `rope` unless it is NULL. */
static void emit_store(struct bt_gpu_lowering *l, const struct bt_op *store, const struct bt_op *rope, uint32_t setting)
{
	const struct bt_exec *e = l->e;
	const struct bt_cache_shape *s = &e->c.plan->cache[store->kv.cache];
	const struct bt_cache *cache = &e->c.cache[store->kv.cache];
	struct bt_gpu_range in[3] = {bt_gpu_reads(l, store->in[0]), bt_gpu_reads(l, store->in[1])};
	struct bt_gpu_kv_store p = {.k = in[0].address,
	                            .v = in[1].address,
	                            .pos = e->step.address + e->at_pos,
	                            .page0 = e->step.address + e->at_page0,
	                            .pages = e->pages.address,
	                            .n_rows = bt_gpu_rows(l, store->in[0]),
	                            .d_k = s->d_k,
	                            .d_v = s->d_v,
	                            .n_kv_row = s->n_head_kv};
	if (rope) {
		in[2] = bt_gpu_writes(l, rope->in[0]);
		p.q = in[2].address;
		p.cos = angles(e, setting);
		p.sin = p.cos + bt_gpu_rope_bytes(e, setting);
		p.n_head = rope->rope.n_head[0];
		p.n_pairs = rope->rope.rope->n_pairs;
		p.neox = rope->rope.rope->neox;
	}
	for (uint32_t i = 0; i < cache->n_parts; i++) emit_store_part(l, p, &cache->part[i], in);
}

void bt_gpu_lower_kv_store(struct bt_gpu_lowering *l)
{
	emit_store(l, l->op, NULL, 0);
}

bool bt_gpu_lower_rope_store(struct bt_gpu_lowering *l)
{
	const struct bt_op *rope = l->op, *store = rope + 1;
	const struct bt_plan *plan = l->e->c.plan;
	if (rope->kind != BT_OP_ROPE || store->kind != BT_OP_KV_STORE || store->in[0] != rope->in[1]) return false;
	if (store->in[1] == rope->in[0] || store->in[1] == rope->in[1] ||
	    rope->rope.d != plan->cache[store->kv.cache].d_k)
		return false;
	uint32_t setting = l->node->rope;
	bool floats, rounded;
	l->op++;
	l->node++;
	bt_gpu_readers(l, rope->in[1], &floats, &rounded);
	if (floats || rounded) { /* the turned keys are to go into the cache only */
		l->op--;
		l->node--;
		return false;
	}
	emit_store(l, store, rope, setting);
	return true;
}

/* Query heads that share one reading of the cache, as an index into shared_heads: as many as there are, but fewer where a short
 * context gives the card too little to do: what is read again then is next to nothing. */
static uint32_t pick_heads(uint32_t group, uint32_t n_tokens, uint32_t n_head_kv, uint32_t n_splits)
{
	uint32_t h = group > 4 ? 2 : group > 1, others = n_tokens * n_head_kv * (n_splits ? n_splits : 1);
	while (h && others * ((group + shared_heads[h] - 1) / shared_heads[h]) < BT_GPU_BUSY) h--;
	return h;
}

/* The kernel on matrix cores for heads of widths[w], `group` of which share keys; `others` workgroups would run beside each
 * other. 0: there is none, or it is not worth it. */
static uint16_t on_matrix_cores(const struct bt_gpu_lowering *l, const struct bt_cache_shape *s, uint32_t w,
                                uint32_t group, bool tile, uint32_t others)
{
	const struct bt_gpu_caps *caps = &l->e->dev->gpu->caps;
	const struct cache_kernels *kernels = kernels_of(&l->e->c);
	if (!caps->matrix_cores || l->e->c.exact) return 0;
	if (tile) return group <= TILE_ROWS ? kernels->matrix[w] : 0;
	bool fits = group >= FEW_FROM && group <= FEW_ROWS && others >= BT_GPU_BUSY && caps->shared >= FEW_SHARED &&
	            s->d_k == widths[w] && s->d_v == widths[w];
	return fits ? kernels->few[w] : 0;
}

/* What the commands for all parts of a cache share. */
struct attention {
	struct bt_gpu_attention p;
	uint16_t kernel;
	uint32_t wide, tall, deep;    /* workgroups; tall: of one KV head */
	struct bt_gpu_range q, to[2]; /* what is read and, n_to of them, written */
	uint32_t n_to;
};

/* The heads that ask one part of a cache. Results of different heads lie apart, though between the same ends. */
static void emit_attention_part(struct bt_gpu_lowering *l, const struct attention *a, const struct bt_cache_part *part)
{
	struct bt_gpu_attention p = a->p;
	struct bt_gpu_range touched[5] = {a->q, cache_range(&part->k, false), cache_range(&part->v, false), a->to[0],
	                                  a->to[1]};
	uint64_t head0 = (uint64_t)part->head0 * p.group, floats = head0 * p.d_v;
	p.q += head0 * p.d_k * sizeof(float);
	p.k = touched[1].address;
	p.v = touched[2].address;
	if (p.y) p.y += floats * sizeof(float);
	if (p.yq) p.yq += floats / 32 * 48;
	if (p.part) p.part += head0 * p.n_splits * (p.d_v + 2) * sizeof(float);
	p.n_head_kv = part->n_head;
	bt_gpu_emit(l, bt_gpu_cmd(a->kernel, &p, a->wide, a->tall * part->n_head, a->deep), touched, 3 + a->n_to);
}

void bt_gpu_lower_attention(struct bt_gpu_lowering *l)
{
	const struct bt_op *op = l->op;
	const struct bt_exec *e = l->e;
	const struct bt_cache *cache = &e->c.cache[op->attention.cache];
	const struct bt_cache_shape *s = &e->c.plan->cache[op->attention.cache];
	uint32_t widest = s->d_k > s->d_v ? s->d_k : s->d_v, w = 0, group = op->attention.n_head / s->n_head_kv;
	while (w + 1 < sizeof widths / sizeof *widths && widths[w] < widest) w++;
	uint32_t splits = l->shape.n_splits, h = pick_heads(group, bt_gpu_rows(l, op->in[0]), s->n_head_kv, splits);
	struct bt_gpu_attention p = {.q = bt_gpu_value(l, op->in[0]),
	                             .part = splits ? e->part.address : 0,
	                             .pos = e->step.address + e->at_pos,
	                             .page0 = e->step.address + e->at_page0,
	                             .pages = e->pages.address,
	                             .n_rows = bt_gpu_rows(l, op->in[0]),
	                             .n_head = op->attention.n_head,
	                             .d_k = s->d_k,
	                             .d_v = s->d_v,
	                             .n_splits = splits,
	                             .window = op->attention.window,
	                             .split_keys = l->shape.split_keys,
	                             .scale = op->attention.scale,
	                             .softcap = op->attention.softcap,
	                             .group = group};
	struct bt_gpu_range part = {e->part.address, e->part.size, true}, result[2];
	uint64_t y, yq;
	uint32_t n = bt_gpu_results(l, op->out[0], s->d_v % 32 == 0, &y, &yq, result);
	if (!splits) {
		p.y = y;
		p.yq = yq;
	}
	/* Which kernel it is does not depend on the parts: results have the bits that they have in one. */
	const struct cache_kernels *kernels = kernels_of(&e->c);
	const struct bt_gpu_caps *caps = &e->dev->gpu->caps;
	bool fits = caps->shared >= TILE_SHARED && caps->threads >= bt_gpu_kernel_table[kernels->tile[w]].threads;
	bool tile = l->shape.tile && fits; /* for prompts */
	struct attention a = {.wide = tile ? (p.n_rows * group + TILE_ROWS - 1) / TILE_ROWS : p.n_rows,
	                      .tall = tile ? 1 : (group + shared_heads[h] - 1) / shared_heads[h],
	                      .deep = splits ? splits : 1,
	                      .q = bt_gpu_reads(l, op->in[0]),
	                      .to = {splits ? part : result[0], result[1]},
	                      .n_to = splits ? 1 : n};
	uint16_t on_cores = on_matrix_cores(l, s, w, group, tile, p.n_rows * s->n_head_kv * splits);
	a.kernel = tile ? kernels->tile[w] : kernels->attention[w][h];
	if (on_cores) {
		uint32_t tokens = tile ? TILE_ROWS / group : 1;
		a.kernel = on_cores;
		a.wide = (p.n_rows + tokens - 1) / tokens;
		a.tall = 1;
	} else if (!tile) { /* pages are dealt, so that more splits would not end sooner */
		p.split_keys = 0;
		if (p.n_splits > BT_GPU_FEW_SPLITS) p.n_splits = a.deep = BT_GPU_FEW_SPLITS;
	}
	a.p = p;
	l->product = l->n + 1;
	for (uint32_t i = 0; i < cache->n_parts; i++) emit_attention_part(l, &a, &cache->part[i]);
	l->product = 0;
	if (!splits) return;
	struct bt_gpu_attention_merge m = {.part = p.part,
	                                   .y = y,
	                                   .yq = yq,
	                                   .pos = p.pos,
	                                   .n_rows = p.n_rows,
	                                   .n_head = p.n_head,
	                                   .d_v = p.d_v,
	                                   .n_splits = p.n_splits,
	                                   .window = p.window,
	                                   .split_keys = p.split_keys};
	part.write = false;
	struct bt_gpu_range merged[] = {part, result[0], result[1]};
	bt_gpu_emit(l, bt_gpu_cmd(BT_GPU_K_attention_merge, &m, m.n_rows, m.n_head, 1), merged, 1 + n);
}
