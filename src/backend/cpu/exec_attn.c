/* Positions, the KV cache and attention. */
#include "backend/cpu/exec.h"

#include <math.h>

void bt_cpu_rope_fill(struct bt_cpu_rope *r, const struct bt_step *step)
{
	uint32_t n = r->rope->n_pairs;
	for (uint32_t t = 0; t < step->n_tokens; t++) {
		for (uint32_t i = 0; i < n; i++) {
			double angle = step->pos[t] * r->rope->freq[i];
			r->cos[(size_t)t * n + i] = (float)cos(angle) * r->rope->magnitude;
			r->sin[(size_t)t * n + i] = (float)sin(angle) * r->rope->magnitude;
		}
	}
}

struct rows_job {
	struct bt_exec *e;
	const struct bt_cpu_node *node;
	const struct bt_step *step;
};

static void rope_task(void *arg, size_t begin, size_t end, unsigned thread)
{
	(void)thread;
	const struct rows_job *j = arg;
	const struct bt_op *op = j->node->op;
	const struct bt_rope *rope = op->rope.rope;
	for (size_t t = begin; t < end; t++) {
		const float *c = j->node->rope->cos + t * rope->n_pairs, *s = j->node->rope->sin + t * rope->n_pairs;
		for (uint32_t i = 0; i < 2; i++) {
			float *x = bt_cpu_value(j->e, op->in[i]) + t * bt_cpu_width(j->e, op->in[i]);
			for (uint32_t h = 0; h < op->rope.n_head[i]; h++)
				j->e->kernels.rope(x + (size_t)h * op->rope.d, c, s, rope->n_pairs, rope->neox);
		}
	}
}

void bt_cpu_op_rope(struct bt_exec *e, const struct bt_cpu_node *node, const struct bt_step *step)
{
	struct rows_job j = {e, node, step};
	bt_cpu_parallel(e, rope_task, &j, step->n_tokens, bt_cpu_width(e, node->op->in[0]));
}

/* Address of token slot `pos` of KV head `head` in a cache's pages. */
static char *slot(const struct bt_dev_mem *mem, const struct bt_type *type, uint32_t page, uint32_t pos, uint32_t head,
                  uint32_t n_head, uint32_t d)
{
	size_t row = bt_type_row_bytes(type, d);
	return (char *)mem->host + (((size_t)page * n_head + head) * BT_KV_PAGE + pos % BT_KV_PAGE) * row;
}

static void kv_store_task(void *arg, size_t begin, size_t end, unsigned thread)
{
	(void)thread;
	const struct rows_job *j = arg;
	const struct bt_exec *e = j->e;
	const struct bt_op *op = j->node->op;
	const struct bt_cache_shape *c = &e->c.plan->cache[op->kv.cache];
	const struct bt_cache_part *cache = e->c.cache[op->kv.cache].part; /* the only one */
	const float *k = bt_cpu_value(e, op->in[0]), *v = bt_cpu_value(e, op->in[1]);
	uint32_t s = 0;
	for (size_t t = begin; t < end; t++) {
		while (t >= j->step->seq[s].row0 + j->step->seq[s].n) s++;
		uint32_t pos = (uint32_t)j->step->pos[t], page = j->step->seq[s].pages[pos / BT_KV_PAGE];
		for (uint32_t h = 0; h < c->n_head_kv; h++) {
			e->kernels.kv_pack(e->c.type_k, k + (t * c->n_head_kv + h) * c->d_k,
			                   slot(&cache->k, e->c.type_k, page, pos, h, c->n_head_kv, c->d_k), c->d_k);
			e->kernels.kv_pack(e->c.type_v, v + (t * c->n_head_kv + h) * c->d_v,
			                   slot(&cache->v, e->c.type_v, page, pos, h, c->n_head_kv, c->d_v), c->d_v);
		}
	}
}

void bt_cpu_op_kv_store(struct bt_exec *e, const struct bt_cpu_node *node, const struct bt_step *step)
{
	struct rows_job j = {e, node, step};
	bt_cpu_parallel(e, kv_store_task, &j, step->n_tokens, bt_cpu_width(e, node->op->in[0]));
}

/* Attention of the rows of one sequence. */
static struct bt_cpu_attn attention_of(const struct bt_exec *e, const struct bt_op *op, const struct bt_step *step,
                                       const struct bt_step_seq *seq)
{
	const struct bt_cache_shape *c = &e->c.plan->cache[op->attention.cache];
	const struct bt_cache_part *cache = e->c.cache[op->attention.cache].part; /* the only one */
	return (struct bt_cpu_attn){
		.q = bt_cpu_value(e, op->in[0]),
		.out = bt_cpu_value(e, op->out[0]),
		.q_stride = bt_cpu_width(e, op->in[0]),
		.out_stride = bt_cpu_width(e, op->out[0]),
		.row = e->query_row + seq->row0,
		.pos = step->pos + seq->row0,
		.n = seq->n,
		.n_head = op->attention.n_head,
		.n_head_kv = c->n_head_kv,
		.d_k = c->d_k,
		.d_v = c->d_v,
		.scale = op->attention.scale,
		.softcap = op->attention.softcap,
		.window = op->attention.window,
		.k = cache->k.host,
		.v = cache->v.host,
		.k_page_bytes = c->n_head_kv * BT_KV_PAGE * bt_type_row_bytes(e->c.type_k, c->d_k),
		.v_page_bytes = c->n_head_kv * BT_KV_PAGE * bt_type_row_bytes(e->c.type_v, c->d_v),
		.k_type = e->c.type_k,
		.v_type = e->c.type_v,
		.pages = seq->pages,
	};
}

/* An item is (tile of queries of a sequence, KV head). The items of a sequence are counted from its last tile, which sees
 * the most keys: the longest work starts first. */
static void attention_task(void *arg, size_t begin, size_t end, unsigned thread)
{
	const struct rows_job *j = arg;
	struct bt_exec *e = j->e;
	const struct bt_op *op = j->node->op;
	const struct bt_cache_shape *c = &e->c.plan->cache[op->attention.cache];
	void *scratch = e->thread_scratch + thread * e->kernels.scratch;
	size_t tile = e->kernels.attn_tile, first = 0;
	for (uint32_t s = 0; s < j->step->n_seqs && begin < end; s++) {
		const struct bt_step_seq *seq = &j->step->seq[s];
		size_t tiles = (seq->n + tile - 1) / tile, items = tiles * c->n_head_kv;
		struct bt_cpu_attn a = attention_of(e, op, j->step, seq);
		for (; begin < end && begin < first + items; begin++) {
			size_t at = begin - first, q0 = (tiles - 1 - at / c->n_head_kv) * tile;
			size_t q1 = q0 + tile < seq->n ? q0 + tile : seq->n;
			e->kernels.attention(&a, (uint32_t)(at % c->n_head_kv), q0, q1, scratch);
		}
		first += items;
	}
}

/* Generating, with fewer KV heads than would keep all threads busy: the splits of a context are items as well. One row for each
 * sequence. */
static bool by_splits(const struct bt_exec *e, const struct bt_op *op, const struct bt_step *step)
{
	const struct bt_cache_shape *c = &e->c.plan->cache[op->attention.cache];
	unsigned threads = bt_pool_threads(e->dev->pool);
	return e->kernels.attention_split && threads > 1 && step->n_tokens == step->n_seqs &&
	       step->n_seqs * c->n_head_kv < 4 * threads && op->attention.n_head / c->n_head_kv <= BT_CPU_ATTN_GROUP;
}

/* Items, (sequence, KV head, split), of a step, and the most floats that an item leaves. */
static size_t count_splits(const struct bt_exec *e, const struct bt_op *op, const struct bt_step *step, size_t *floats)
{
	const struct bt_cache_shape *c = &e->c.plan->cache[op->attention.cache];
	size_t n = 0;
	for (uint32_t s = 0; s < step->n_seqs; s++)
		n += c->n_head_kv * bt_cpu_attn_splits(step->pos[step->seq[s].row0], op->attention.window);
	*floats = op->attention.n_head / c->n_head_kv * bt_cpu_attn_part(c->d_v);
	return n;
}

enum baton_status bt_cpu_attention_room(struct bt_exec *e, const struct bt_step *step, struct baton_error *err)
{
	size_t most = 0, floats;
	for (uint32_t i = 0; i < e->c.plan->n_ops; i++) {
		const struct bt_op *op = &e->c.plan->op[i];
		if (op->kind != BT_OP_ATTENTION || !by_splits(e, op, step)) continue;
		size_t n = count_splits(e, op, step, &floats);
		if (most < n * floats) most = n * floats;
	}
	if (most <= e->cap_parts) return BATON_OK;
	float *parts = bt_mem_array(BT_MEM_SCRATCH, 2 * most, sizeof *parts);
	if (!parts) return bt_fail_nomem(err, 2 * most * sizeof *parts, "attention");
	e->allocated += (2 * most - e->cap_parts) * sizeof *parts;
	bt_mem_free(e->parts);
	e->parts = parts;
	e->cap_parts = 2 * most;
	return BATON_OK;
}

/* Items in the order of sequences, heads, splits; `join`: (sequence, head). */
static void walk_splits(const struct rows_job *j, size_t begin, size_t end, unsigned thread, bool join)
{
	struct bt_exec *e = j->e;
	const struct bt_op *op = j->node->op;
	const struct bt_cache_shape *c = &e->c.plan->cache[op->attention.cache];
	void *scratch = e->thread_scratch + thread * e->kernels.scratch;
	size_t floats = op->attention.n_head / c->n_head_kv * bt_cpu_attn_part(c->d_v), first = 0, part = 0;
	for (uint32_t s = 0; s < j->step->n_seqs && begin < end; s++) {
		const struct bt_step_seq *seq = &j->step->seq[s];
		size_t splits = bt_cpu_attn_splits(j->step->pos[seq->row0], op->attention.window);
		size_t items = join ? c->n_head_kv : c->n_head_kv * splits;
		struct bt_cpu_attn a = attention_of(e, op, j->step, seq);
		for (; begin < end && begin < first + items; begin++) {
			size_t at = begin - first, head = join ? at : at / splits;
			float *parts = e->parts + (part + head * splits) * floats;
			if (join) e->kernels.attention_join(&a, (uint32_t)head, 0, parts, scratch);
			else
				e->kernels.attention_split(&a, (uint32_t)head, 0, at % splits,
				                           parts + at % splits * floats, scratch);
		}
		first += items;
		part += c->n_head_kv * splits;
	}
}

static void split_task(void *arg, size_t begin, size_t end, unsigned thread)
{
	walk_splits(arg, begin, end, thread, false);
}

static void join_task(void *arg, size_t begin, size_t end, unsigned thread)
{
	walk_splits(arg, begin, end, thread, true);
}

void bt_cpu_op_attention(struct bt_exec *e, const struct bt_cpu_node *node, const struct bt_step *step)
{
	struct rows_job j = {e, node, step};
	size_t items = 0, tile = e->kernels.attn_tile, floats;
	uint32_t heads = e->c.plan->cache[node->op->attention.cache].n_head_kv;
	size_t splits = by_splits(e, node->op, step) ? count_splits(e, node->op, step, &floats) : 0;
	if (splits >= 2 * step->n_seqs * heads) {
		bt_pool_run(e->dev->pool, split_task, &j, splits, 1);
		bt_pool_run(e->dev->pool, join_task, &j, (size_t)step->n_seqs * heads, 0);
		return;
	}
	for (uint32_t s = 0; s < step->n_seqs; s++) items += (step->seq[s].n + tile - 1) / tile * heads;
	bt_pool_run(e->dev->pool, attention_task, &j, items, 1);
}
