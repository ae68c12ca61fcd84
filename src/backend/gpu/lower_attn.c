/* lower_attn.c: positions, the KV cache and attention. */
#include "backend/gpu/lower.h"

enum cache_format { CACHE_F16, CACHE_Q8_0, CACHE_F32, CACHE_FORMATS };

/* Attention kernels by width of heads: how many query heads share one reading, and the kernel for one. */
static const struct width {
	uint32_t d, heads;
	uint16_t one[CACHE_FORMATS], several[CACHE_FORMATS];
} widths[] = {
	{64,
         4,
         {BT_GPU_K_attention_f16_64_1, BT_GPU_K_attention_q8_0_64_1, BT_GPU_K_attention_f32_64_1},
         {BT_GPU_K_attention_f16_64_4, BT_GPU_K_attention_q8_0_64_4, BT_GPU_K_attention_f32_64_4}},
	{128,
         4,
         {BT_GPU_K_attention_f16_128_1, BT_GPU_K_attention_q8_0_128_1, BT_GPU_K_attention_f32_128_1},
         {BT_GPU_K_attention_f16_128_4, BT_GPU_K_attention_q8_0_128_4, BT_GPU_K_attention_f32_128_4}},
	{256,
         2,
         {BT_GPU_K_attention_f16_256_1, BT_GPU_K_attention_q8_0_256_1, BT_GPU_K_attention_f32_256_1},
         {BT_GPU_K_attention_f16_256_2, BT_GPU_K_attention_q8_0_256_2, BT_GPU_K_attention_f32_256_2}},
};
#define N_WIDTHS (sizeof widths / sizeof *widths)

static const uint16_t kv_store[CACHE_FORMATS] = {BT_GPU_K_kv_store_f16, BT_GPU_K_kv_store_q8_0, BT_GPU_K_kv_store_f32};

static enum cache_format cache_format(const struct bt_type *t)
{
	return t->id == BT_TYPE_F16 ? CACHE_F16 : t->id == BT_TYPE_Q8_0 ? CACHE_Q8_0 : CACHE_F32;
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

const char *bt_gpu_check_cache(const struct bt_compile *c, const struct bt_op *op)
{
	const struct bt_cache_shape *s = cache_of(c->plan, op);
	bool q8 = c->type_k->id == BT_TYPE_Q8_0 || c->type_v->id == BT_TYPE_Q8_0;
	if (q8 && (s->d_k | s->d_v) % 64)
		return "a q8_0 cache wants heads of a multiple of 64 values (-ctk f16 -ctv f16 takes any)";
	if (c->type_k != c->type_v) return "keys and values in different formats (-ctk and -ctv must be the same)";
	return NULL;
}

static struct bt_gpu_range cache_range(const struct bt_dev_mem *mem, bool write)
{
	const struct bt_gpu_mem *m = mem->handle;
	return (struct bt_gpu_range){m->address, m->size, write};
}

void bt_gpu_lower_rope(struct bt_gpu_lowering *l)
{
	const struct bt_op *op = l->op;
	const struct bt_exec *e = l->e;
	uint64_t at = e->step.address + e->at_rope;
	for (uint32_t i = 0; i < l->node->rope; i++) at += 2 * bt_gpu_rope_bytes(e, i);
	for (uint32_t i = 0; i < 2; i++) {
		struct bt_gpu_rope p = {.x = bt_gpu_value(l, op->in[i]),
		                        .cos = at,
		                        .sin = at + bt_gpu_rope_bytes(e, l->node->rope),
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

void bt_gpu_lower_kv_store(struct bt_gpu_lowering *l)
{
	const struct bt_exec *e = l->e;
	const struct bt_cache_shape *s = &e->c.plan->cache[l->op->kv.cache];
	for (uint32_t i = 0; i < 2; i++) {
		const struct bt_dev_mem *mem = i ? &e->c.v[l->op->kv.cache] : &e->c.k[l->op->kv.cache];
		struct bt_gpu_range touched[] = {bt_gpu_reads(l, l->op->in[i]), cache_range(mem, true)};
		struct bt_gpu_kv_store p = {.x = bt_gpu_value(l, l->op->in[i]),
		                            .cache = touched[1].address,
		                            .pos = e->step.address + e->at_pos,
		                            .page0 = e->step.address + e->at_page0,
		                            .pages = e->pages.address,
		                            .n_rows = bt_gpu_rows(l, l->op->in[i]),
		                            .n_head = s->n_head_kv,
		                            .d = i ? s->d_v : s->d_k};
		uint32_t n = p.n_rows * p.n_head * ((p.d + 31) / 32);
		enum cache_format f = cache_format(i ? e->c.type_v : e->c.type_k);
		bt_gpu_emit(l, bt_gpu_cmd(kv_store[f], &p, (n + 63) / 64, 1, 1), touched, 2);
	}
}

void bt_gpu_lower_attention(struct bt_gpu_lowering *l)
{
	const struct bt_op *op = l->op;
	const struct bt_exec *e = l->e;
	const struct bt_cache_shape *s = &e->c.plan->cache[op->attention.cache];
	uint32_t widest = s->d_k > s->d_v ? s->d_k : s->d_v, w = 0, group = op->attention.n_head / s->n_head_kv;
	while (w + 1 < N_WIDTHS && widths[w].d < widest) w++;
	struct bt_gpu_range k = cache_range(&e->c.k[op->attention.cache], false);
	struct bt_gpu_range v = cache_range(&e->c.v[op->attention.cache], false);
	struct bt_gpu_attention p = {.q = bt_gpu_value(l, op->in[0]),
	                             .k = k.address,
	                             .v = v.address,
	                             .y = bt_gpu_value(l, op->out[0]),
	                             .part = l->shape.n_splits ? e->part.address : 0,
	                             .pos = e->step.address + e->at_pos,
	                             .page0 = e->step.address + e->at_page0,
	                             .pages = e->pages.address,
	                             .n_rows = bt_gpu_rows(l, op->in[0]),
	                             .n_head = op->attention.n_head,
	                             .n_head_kv = s->n_head_kv,
	                             .d_k = s->d_k,
	                             .d_v = s->d_v,
	                             .n_splits = l->shape.n_splits,
	                             .window = op->attention.window,
	                             .scale = op->attention.scale,
	                             .softcap = op->attention.softcap};
	struct bt_gpu_range result = bt_gpu_writes(l, op->out[0]);
	struct bt_gpu_range part = {e->part.address, e->part.size, true};
	struct bt_gpu_range touched[] = {bt_gpu_reads(l, op->in[0]), k, v, l->shape.n_splits ? part : result};
	enum cache_format f = cache_format(e->c.type_k);
	uint32_t heads = group > 1 ? widths[w].heads : 1;
	uint16_t kernel = group > 1 ? widths[w].several[f] : widths[w].one[f];
	uint32_t tall = s->n_head_kv * ((group + heads - 1) / heads),
		 splits = l->shape.n_splits ? l->shape.n_splits : 1;
	bt_gpu_emit(l, bt_gpu_cmd(kernel, &p, p.n_rows, tall, splits), touched, 4);
	if (!l->shape.n_splits) return;
	struct bt_gpu_attention_merge m = {.part = p.part,
	                                   .y = p.y,
	                                   .pos = p.pos,
	                                   .n_rows = p.n_rows,
	                                   .n_head = p.n_head,
	                                   .d_v = p.d_v,
	                                   .n_splits = p.n_splits,
	                                   .window = p.window};
	part.write = false;
	struct bt_gpu_range merged[] = {part, result};
	bt_gpu_emit(l, bt_gpu_cmd(BT_GPU_K_attention_merge, &m, m.n_rows, m.n_head, 1), merged, 2);
}
