/* Matrix products of a plan: activations are rounded once per input, rows are handed out in blocks, and what follows the
 * product (bias, residual, gate) is done on each block while it is in cache. */
#include "backend/cpu/exec.h"
#include "base/half.h"

#include <string.h>

/* An item of work is kernels.matmul_rows rows of a matrix. Prompts: items claimed at a time, so that a panel unpacked once
 * serves many tokens. */
#define PROMPT_ITEMS 4u

/* Weights of experts that are asked for ahead of those being computed: enough to keep a disk busy, little beside what is
 * in use. */
#define AHEAD_BYTES ((uint64_t)32 << 20)

struct job {
	struct bt_exec *e;
	const struct bt_cpu_node *node;
	uint32_t n_mats;
	struct bt_cpu_matmul m[BT_MAX_MATS]; /* y of BT_EPI_ADD is e->residual */
	size_t rows[BT_MAX_MATS];
	size_t items[BT_MAX_MATS]; /* items of each matrix (of one expert) */
	float *dst;                /* the residual stream, BT_EPI_ADD */
	size_t dst_stride;
	const uint32_t *expert; /* [n_active] experts with rows, MATMUL_EXPERTS */
	size_t n_active;
	size_t ahead; /* so many experts ahead are asked for; 0: none */
};

static bt_cpu_matmul_fn kernel(const struct bt_exec *e, const struct bt_type *type)
{
	return e->c.exact ? e->kernels.matmul_exact : e->kernels.matmul[type->id];
}

static bool wants_int8(const struct bt_exec *e, const struct bt_op *op)
{
	if (e->c.exact) return false;
	for (uint32_t i = 0; i < op->matmul.n_mats; i++)
		if (op->matmul.mat[i].w->type->group) return true;
	return false;
}

static void quantize_rows(void *arg, size_t begin, size_t end, unsigned thread)
{
	(void)thread;
	struct bt_exec *e = arg;
	struct bt_cpu_acts *a = &e->acts;
	for (size_t t = begin; t < end; t++)
		e->kernels.quantize_row(a->f32 + t * a->f32_stride, a->k, a->q + t * a->k, a->d + t * (a->k / 32),
		                        a->sum + t * (a->k / 16));
}

/* Tiles of tokens: round and pack them. */
static void quantize_tiles(void *arg, size_t begin, size_t end, unsigned thread)
{
	struct bt_exec *e = arg;
	size_t t0 = begin * e->kernels.pack_tile, t1 = end * e->kernels.pack_tile;
	if (t1 > e->acts.n_tokens) t1 = e->acts.n_tokens;
	quantize_rows(e, t0, t1, thread);
	e->kernels.pack(&e->acts, t0, t1);
}

/* Make e->acts the rows of the operation's input. */
static void prepare_input(struct bt_exec *e, const struct bt_op *op, const struct bt_step *step)
{
	struct bt_cpu_acts *a = &e->acts;
	a->n_tokens = bt_cpu_rows(e, op->in[0], step);
	a->k = bt_cpu_width(e, op->in[0]);
	a->f32 = bt_cpu_value(e, op->in[0]);
	a->f32_stride = a->k;
	a->packed = op->kind != BT_OP_MATMUL_EXPERTS && a->n_tokens > 1 ? e->packed : NULL;
	if (!wants_int8(e, op)) return;
	size_t tile = e->kernels.pack_tile;
	if (a->packed) bt_cpu_parallel(e, quantize_tiles, e, (a->n_tokens + tile - 1) / tile, tile * a->k);
	else bt_cpu_parallel(e, quantize_rows, e, a->n_tokens, a->k);
}

static void add_bias(const struct job *j, uint32_t i, size_t r0, size_t r1)
{
	const float *bias = j->node->f32[i];
	const struct bt_cpu_matmul *m = &j->m[i];
	if (!bias) return;
	for (size_t t = 0; t < m->n_tokens; t++) {
		float *y = m->y + (m->y_row ? m->y_row[t] : t) * m->y_stride;
		j->e->kernels.add(y + r0, bias + r0, r1 - r0, y + r0);
	}
}

/* What follows the product, for rows r0 .. r1 of all tokens. */
static void epilogue(const struct job *j, size_t r0, size_t r1)
{
	const struct bt_cpu_kernels *k = &j->e->kernels;
	const struct bt_cpu_matmul *m = &j->m[0];
	size_t n = r1 - r0;
	enum bt_epilogue kind = j->node->op->matmul.epilogue;
	if (kind == BT_EPI_NONE) return;
	for (size_t t = 0; t < m->n_tokens; t++) {
		size_t row = m->y_row ? m->y_row[t] : t;
		float *y = m->y + row * m->y_stride + r0;
		if (kind == BT_EPI_ADD) {
			float *h = j->dst + row * j->dst_stride + r0;
			k->add(h, y, n, h);
		} else if (kind == BT_EPI_SILU_GATE) {
			k->silu_mul(y, j->m[1].y + row * j->m[1].y_stride + r0, n, y);
		} else {
			k->relu2(y, n, y);
		}
	}
}

/* Rows r0 .. r1 of matrix i, or of both matrices of a gate. */
static void run_rows(const struct job *j, uint32_t i, size_t r0, size_t r1, void *scratch)
{
	uint32_t last = j->node->op->matmul.epilogue == BT_EPI_SILU_GATE ? 1 : i;
	for (; i <= last; i++) {
		kernel(j->e, j->m[i].type)(&j->m[i], r0, r1, scratch);
		add_bias(j, i, r0, r1);
	}
	epilogue(j, r0, r1);
}

static void matmul_task(void *arg, size_t begin, size_t end, unsigned thread)
{
	const struct job *j = arg;
	void *scratch = j->e->thread_scratch + thread * j->e->kernels.scratch;
	size_t first = 0, item = j->e->kernels.matmul_rows;
	for (uint32_t i = 0; i < j->n_mats && begin < end; first += j->items[i++]) {
		if (begin >= first + j->items[i]) continue;
		size_t stop = end < first + j->items[i] ? end : first + j->items[i];
		size_t r0 = (begin - first) * item, r1 = (stop - first) * item;
		run_rows(j, i, r0, r1 < j->rows[i] ? r1 : j->rows[i], scratch);
		begin = stop;
	}
}

static struct bt_cpu_matmul describe(const struct bt_exec *e, const struct bt_tensor *w, float *y, size_t stride)
{
	return (struct bt_cpu_matmul){.type = w->type,
	                              .w = w->data,
	                              .row_bytes = w->row_bytes,
	                              .k = w->dim[0],
	                              .x = &e->acts,
	                              .n_tokens = e->acts.n_tokens,
	                              .y = y,
	                              .y_stride = stride};
}

/* A gate's two matrices are walked together: only the first counts items. */
static size_t count_items(struct job *j)
{
	size_t total = 0, item = j->e->kernels.matmul_rows;
	j->n_mats = j->node->op->matmul.epilogue == BT_EPI_SILU_GATE ? 1 : j->node->op->matmul.n_mats;
	for (uint32_t i = 0; i < j->n_mats; i++) total += j->items[i] = (j->rows[i] + item - 1) / item;
	return total;
}

void bt_cpu_op_matmul(struct bt_exec *e, const struct bt_cpu_node *node, const struct bt_step *step)
{
	const struct bt_op *op = node->op;
	size_t n_rows = bt_cpu_rows(e, op->in[0], step);
	if (!n_rows) return;
	prepare_input(e, op, step);
	struct job j = {.e = e, .node = node};
	for (uint32_t i = 0; i < op->matmul.n_mats; i++) {
		const struct bt_tensor *w = op->matmul.mat[i].w;
		float *y = op->kind == BT_OP_LOGITS ? step->logits : bt_cpu_value(e, op->out[i]);
		if (op->matmul.epilogue == BT_EPI_ADD) {
			j.dst = y;
			j.dst_stride = w->dim[1];
			y = e->residual;
		}
		j.rows[i] = w->dim[1];
		j.m[i] = describe(e, w, y, w->dim[1]);
	}
	size_t items = count_items(&j);
	bt_pool_run(e->dev->pool, matmul_task, &j, items, n_rows > 8 && items > 8 * PROMPT_ITEMS ? PROMPT_ITEMS : 0);
}

/* Sort the rows of the router's choice by expert: entries first[e] .. first[e + 1] - 1 belong to expert e. */
static void group_by_expert(struct bt_exec *e, const float *choice, size_t n_tokens, uint32_t n_used, uint32_t n_expert)
{
	uint32_t *first = e->expert_first;
	memset(first, 0, (n_expert + 1) * sizeof *first);
	for (size_t t = 0; t < n_tokens; t++)
		for (uint32_t s = 0; s < n_used; s++) first[bt_bits_from_float(choice[t * 2 * n_used + s]) + 1]++;
	for (uint32_t x = 0; x < n_expert; x++) first[x + 1] += first[x];
	for (size_t t = 0; t < n_tokens; t++) {
		for (uint32_t s = 0; s < n_used; s++) {
			uint32_t at = first[bt_bits_from_float(choice[t * 2 * n_used + s])]++;
			e->expert_row[at] = (uint32_t)(t * n_used + s);
			e->expert_token[at] = (uint32_t)t;
		}
	}
	for (uint32_t x = n_expert; x > 0; x--) first[x] = first[x - 1];
	first[0] = 0;
}

/* Do both multiply by experts of the same choice? */
static bool same_choice(const struct bt_op *a, const struct bt_op *b)
{
	return a->kind == BT_OP_MATMUL_EXPERTS && b->kind == BT_OP_MATMUL_EXPERTS && a->in[1] == b->in[1];
}

/* Ask for the weights of active experts begin .. end - 1 in this operation and in those of the same choice behind it;
 * returns how many bytes one expert has there. */
static uint64_t ask_experts(const struct job *j, size_t begin, size_t end)
{
	const struct bt_plan *p = j->e->c.plan;
	const struct bt_op *first = j->node->op;
	uint64_t bytes = 0;
	for (const struct bt_op *op = first; op < p->op + p->n_ops && same_choice(first, op); op++) {
		for (uint32_t i = 0; i < op->matmul.n_mats; i++) {
			const struct bt_tensor *w = op->matmul.mat[i].w;
			bytes += w->row_bytes * w->dim[1];
			for (size_t x = begin; x < end && x < j->n_active; x++)
				bt_ahead_ask((const char *)w->data + j->expert[x] * w->matrix_bytes,
				             w->row_bytes * w->dim[1]);
		}
	}
	return bytes;
}

/* The router has chosen: have what it chose read, all at once, or so much of it that the rest can be asked for on the
 * way. The first operation of a choice does that for the others. */
static void begin_ahead(struct job *j)
{
	const struct bt_op *op = j->node->op;
	if (!j->e->ahead.cold || (op > j->e->c.plan->op && same_choice(op - 1, op))) return;
	uint64_t bytes = ask_experts(j, 0, 0);
	j->ahead = bytes && bytes < AHEAD_BYTES ? (size_t)(AHEAD_BYTES / bytes) : 1;
	ask_experts(j, 0, j->ahead);
}

/* Item = (active expert, block of rows). */
static void experts_task(void *arg, size_t begin, size_t end, unsigned thread)
{
	const struct job *all = arg;
	struct bt_exec *e = all->e;
	const struct bt_op *op = all->node->op;
	void *scratch = e->thread_scratch + thread * e->kernels.scratch;
	enum bt_rows rows = e->c.plan->value[op->in[0]].rows;
	bool per_token = rows == BT_ROWS_TOKENS || rows == BT_ROWS_LOGITS;
	while (begin < end) {
		uint32_t x = all->expert[begin / all->items[0]];
		size_t block = begin % all->items[0];
		if (all->ahead && !block) {
			size_t next = begin / all->items[0] + all->ahead;
			ask_experts(all, next, next + 1);
		}
		size_t stop = block + (end - begin) < all->items[0] ? block + (end - begin) : all->items[0];
		uint32_t first = e->expert_first[x];
		struct job j = *all;
		for (uint32_t i = 0; i < op->matmul.n_mats; i++) {
			j.m[i].w = (const char *)j.m[i].w + x * op->matmul.mat[i].w->matrix_bytes;
			j.m[i].n_tokens = e->expert_first[x + 1] - first;
			j.m[i].x_row = (per_token ? e->expert_token : e->expert_row) + first;
			j.m[i].y_row = e->expert_row + first;
		}
		size_t item = e->kernels.matmul_rows, r1 = stop * item;
		run_rows(&j, 0, block * item, r1 < j.rows[0] ? r1 : j.rows[0], scratch);
		begin += stop - block;
	}
}

void bt_cpu_op_matmul_experts(struct bt_exec *e, const struct bt_cpu_node *node, const struct bt_step *step)
{
	const struct bt_op *op = node->op;
	size_t n_tokens = bt_cpu_rows(e, op->in[1], step);
	if (!n_tokens) return;
	uint32_t n_expert = (uint32_t)op->matmul.mat[0].w->dim[2], n_used = e->c.plan->n_expert_used;
	group_by_expert(e, bt_cpu_value(e, op->in[1]), n_tokens, n_used, n_expert);
	prepare_input(e, op, step);
	uint32_t active[BT_LIMIT_EXPERTS], n_active = 0;
	for (uint32_t x = 0; x < n_expert; x++)
		if (e->expert_first[x + 1] > e->expert_first[x]) active[n_active++] = x;
	struct job j = {.e = e, .node = node, .expert = active, .n_active = n_active};
	for (uint32_t i = 0; i < op->matmul.n_mats; i++) {
		const struct bt_tensor *w = op->matmul.mat[i].w;
		j.rows[i] = w->dim[1];
		j.m[i] = describe(e, w, bt_cpu_value(e, op->out[i]), w->dim[1]);
	}
	begin_ahead(&j);
	size_t items = count_items(&j);
	bt_pool_run(e->dev->pool, experts_task, &j, items * n_active, n_tokens > 8 ? PROMPT_ITEMS : 0);
}
