/* exec.c: making a plan ready on a GPU, and running steps of it. */
#include "backend/gpu/exec.h"

#include <string.h>

static enum baton_status matrix(struct bt_exec *e, const struct bt_tensor *t, bool exact,
                                const struct bt_gpu_matrix **out, struct baton_error *err)
{
	enum baton_status status = bt_gpu_weights_get(e->dev, t, exact, out, err);
	if (!status) e->held[e->n_held++] = *out;
	return status;
}

/* The address of a small tensor as floats; 0 for none. */
static enum baton_status small(struct bt_exec *e, const struct bt_tensor *t, uint64_t *out, struct baton_error *err)
{
	const struct bt_gpu_matrix *m;
	*out = 0;
	if (!t) return BATON_OK;
	enum baton_status status = bt_gpu_weights_whole(e->dev, t, &m, err);
	if (status) return status;
	e->held[e->n_held++] = m;
	*out = m->part[0].plane[BT_GPU_PLANE_Q];
	return BATON_OK;
}

static uint32_t rope_index(struct bt_exec *e, const struct bt_rope *rope)
{
	uint32_t i = 0;
	while (i < e->n_ropes && e->rope[i] != rope) i++;
	if (i == e->n_ropes) e->rope[e->n_ropes++] = rope;
	return i;
}

#define WORTH_THREADS ((uint64_t)4 << 20) /* bytes to upload */

/* What is to be uploaded, and threads for it if it is much. */
static struct bt_gpu_upload plan_upload(const struct bt_exec *e)
{
	struct bt_gpu_upload up = {.progress = e->c.progress};
	for (uint32_t i = 0; i < e->c.plan->n_ops && !e->c.measure; i++) {
		const struct bt_op *op = &e->c.plan->op[i];
		for (uint32_t j = 0; bt_op_multiplies(op) && j < op->matmul.n_mats; j++)
			up.total += bt_gpu_weights_missing(e->dev, op->matmul.mat[j].w, e->c.exact, NULL);
	}
	for (uint32_t i = 0; i < e->c.plan->n_ops && !e->c.measure; i++) {
		const struct bt_tensor *t[BT_OP_TENSORS];
		for (uint32_t j = 0, n = bt_op_tensors(&e->c.plan->op[i], t); j < n; j++) {
			uint32_t n_parts;
			up.room += bt_gpu_weights_missing(e->dev, t[j], e->c.exact, &n_parts);
			up.room += (uint64_t)n_parts * 256 * BT_GPU_PLANES;
		}
	}
	/* Without threads it takes longer. */
	if (up.total > WORTH_THREADS) bt_pool_open(e->c.n_threads, &up.pool, NULL);
	return up;
}

static enum baton_status load_weights(struct bt_exec *e, struct baton_error *err)
{
	struct bt_gpu_upload up = plan_upload(e);
	e->dev->upload = &up;
	enum baton_status status = BATON_OK;
	for (uint32_t i = 0; i < e->c.plan->n_ops && !status; i++) {
		const struct bt_op *op = &e->c.plan->op[i];
		struct bt_gpu_node *node = &e->node[i];
		if (op->kind == BT_OP_ROPE) node->rope = rope_index(e, op->rope.rope);
		if (e->c.measure) continue;
		const struct bt_tensor *t[BT_MAX_MATS];
		for (uint32_t j = 0, n = bt_op_small(op, t); j < n && !status; j++)
			status = small(e, t[j], &node->small[j], err);
		for (uint32_t j = 0; bt_op_multiplies(op) && j < op->matmul.n_mats && !status; j++)
			status = matrix(e, op->matmul.mat[j].w, e->c.exact, &node->mat[j], err);
	}
	e->dev->upload = NULL;
	bt_pool_close(&up.pool);
	return status;
}

static bool multiplies_halves(const struct bt_exec *e, const struct bt_op *op)
{
	bool any = false;
	for (uint32_t i = 0; i < op->matmul.n_mats; i++)
		any |= bt_gpu_multiplies_halves(&e->dev->gpu->caps,
		                                bt_gpu_format_of(op->matmul.mat[i].w->type, e->c.exact));
	return any;
}

/* Bytes of the largest rounded input, 48 for 32 values, and of the largest that is multiplied as halves. */
static void rounded_bytes(const struct bt_exec *e, size_t *rounded, size_t *halves)
{
	*rounded = 48;
	*halves = 0;
	for (uint32_t i = 0; i < e->c.plan->n_ops; i++) {
		const struct bt_op *op = &e->c.plan->op[i];
		if (!bt_op_multiplies(op)) continue;
		size_t rows = bt_plan_rows(e->c.plan, op->in[0], e->c.n_tokens, e->c.n_logits);
		uint32_t width = e->c.plan->value[op->in[0]].width;
		size_t n = rows * (width / 32) * 48, h = bt_gpu_halves_bytes((uint32_t)rows, (width + 31) / 32 * 32);
		if (*rounded < n) *rounded = n;
		if (*halves < h && multiplies_halves(e, op)) *halves = h;
	}
}

/* The most that a row and split of attention leaves behind. */
static void plan_parts(struct bt_exec *e)
{
	const struct bt_plan *p = e->c.plan;
	for (uint32_t i = 0; i < p->n_ops; i++) {
		const struct bt_op *op = &p->op[i];
		if (op->kind != BT_OP_ATTENTION) continue;
		uint64_t floats = (uint64_t)op->attention.n_head * (p->cache[op->attention.cache].d_v + 2);
		if (e->part_floats < floats) e->part_floats = floats;
		if (e->n_head < op->attention.n_head) e->n_head = op->attention.n_head;
	}
}

static enum baton_status take(struct bt_exec *e, enum bt_gpu_place where, size_t size, struct bt_gpu_mem *out,
                              struct baton_error *err)
{
	e->allocated += size;
	enum baton_status status = bt_gpu_take(e->dev, BT_MEM_SCRATCH, where, size, out, err);
	return status == BATON_ERR_NOMEM ? bt_fail_prefix(err, "working memory (a smaller -ub needs less)") : status;
}

/* Where keep i stands in its box, if an earlier one speaks of the same. */
static bool stands_already(const struct bt_exec *e, uint32_t i, uint32_t part, bool leaves)
{
	const struct bt_keep *keep = e->c.plan->keep;
	uint32_t j = 0;
	while (keep[j].value != keep[i].value || !bt_gpu_crosses(e, j, part, leaves)) j++;
	e->window[i] = e->window[j];
	return j < i;
}

static uint32_t n_parts(const struct bt_plan *p)
{
	return p->n_parts ? p->n_parts : 1;
}

/* Boxes for what crosses. One part may be under way while the values of the next come in, or of the last are read: even and odd
 * parts have a half each, and every part begins anew in its own. */
static enum baton_status make_boxes(struct bt_exec *e, struct baton_error *err)
{
	const struct bt_plan *p = e->c.plan;
	size_t most[2] = {0, 0};
	for (uint32_t part = 0; part < n_parts(p); part++)
		for (int leaves = 0; leaves < 2; leaves++) {
			size_t at = 0;
			for (uint32_t i = 0; i < p->n_keeps; i++) {
				uint32_t v = p->keep[i].value;
				if (!bt_gpu_crosses(e, i, part, leaves) || stands_already(e, i, part, leaves)) continue;
				e->window[i] = at;
				at += (bt_plan_rows(p, v, e->c.n_tokens, e->c.n_logits) * p->value[v].width * 4 + 63) &
				      ~(size_t)63;
			}
			if (most[leaves] < at) most[leaves] = at;
		}
	for (uint32_t i = 0; i < p->n_keeps; i++)
		if (p->keep[i].part % 2) e->window[i] += most[p->keep[i].leaves];
	enum baton_status status = most[0] ? take(e, BT_GPU_WRITE, 2 * most[0], &e->inbox, err) : BATON_OK;
	if (!status && most[1]) status = take(e, BT_GPU_READ, 2 * most[1], &e->outbox, err);
	return status;
}

float *bt_gpu_window(struct bt_exec *e, uint32_t keep)
{
	bool leaves = e->c.plan->keep[keep].leaves;
	return (float *)((char *)(leaves ? &e->outbox : &e->inbox)->host + e->window[keep]);
}

static enum baton_status make_scratch(struct bt_exec *e, struct baton_error *err)
{
	size_t values, rounded, halves, logits = (size_t)e->c.n_logits * e->c.plan->n_vocab * sizeof(float);
	enum baton_status status = bt_plan_layout(e->c.plan, e->c.n_tokens, e->c.n_logits, BT_PLAN_REST, e->offset,
	                                          &values, err);
	plan_parts(e);
	if (!status) status = take(e, BT_GPU_LOCAL, values + 64, &e->values, err);
	rounded_bytes(e, &rounded, &halves);
	for (uint32_t i = 0; i < BT_GPU_ROUNDED && !status; i++)
		status = take(e, BT_GPU_LOCAL, rounded, &e->xq[i], err);
	if (!status && halves && e->c.n_tokens >= BT_GPU_HALVES_FROM)
		status = take(e, BT_GPU_LOCAL, halves, &e->halves, err);
	size_t part_rows = e->c.n_tokens < 16 ? BT_GPU_SPLIT_ROWS : BT_GPU_TILE_SPLIT_ROWS;
	if (!status) status = take(e, BT_GPU_LOCAL, e->part_floats * part_rows * 4 + 64, &e->part, err);
	size_t groups = bt_gpu_groups_bytes(e->c.plan, e->c.n_tokens);
	if (!status && groups) status = take(e, BT_GPU_LOCAL, groups, &e->groups, err);
	if (!status) status = take(e, BT_GPU_READ, logits, &e->logits, err);
	if (!status) status = make_boxes(e, err);
	if (!status) status = bt_gpu_step_open(e, err);
	return status;
}

static void release(struct bt_exec *e)
{
	struct bt_gpu *gpu = e->dev->gpu;
	gpu->driver->wait(gpu, gpu->started, NULL);
	for (uint32_t i = 0; e->recorded && i < e->n_recorded; i++) gpu->driver->discard(gpu, e->recorded[i].rec);
	struct bt_gpu_mem *mem[] = {&e->values, &e->halves, &e->part, &e->groups, &e->logits,
	                            &e->inbox,  &e->outbox, &e->step, &e->pages};
	for (size_t i = 0; i < sizeof mem / sizeof *mem; i++) gpu->driver->free(gpu, mem[i]);
	for (uint32_t i = 0; i < BT_GPU_ROUNDED; i++) gpu->driver->free(gpu, &e->xq[i]);
	for (uint32_t i = 0; i < e->n_held; i++) bt_gpu_weights_put(e->held[i]);
	bt_mem_free(e->held);
	bt_mem_free(e->offset);
	bt_mem_free(e->node);
	bt_mem_free(e->rope);
	bt_mem_free(e->window);
	bt_mem_free(e->number);
	bt_mem_free(e->recorded);
	bt_mem_free(e);
}

void bt_gpu_release(struct bt_exec *e)
{
	if (!e) return;
	struct bt_gpu_device *dev = e->dev;
	pthread_mutex_lock(&dev->lock);
	release(e);
	pthread_mutex_unlock(&dev->lock);
}

size_t bt_gpu_scratch(const struct bt_exec *e)
{
	return e->allocated;
}

/* Few tokens leave a GPU idle when one workgroup walks a whole context: give every split of it one of its own. Splits of
 * a page as long as they are not too many, so that a short context fills the card as well; their number grows by doubling,
 * which keeps the recordings few. */
static uint32_t splits_of_few(uint32_t n_tokens, uint32_t last)
{
	uint32_t splits = 1, most = BT_GPU_FEW_SPLITS;
	while (most > 1 && most * n_tokens > BT_GPU_SPLIT_ROWS) most /= 2;
	while (splits < most && splits * BT_GPU_SPLIT_KEYS <= last) splits *= 2;
	/* Two pages are read in the time that joining two splits takes. */
	return splits > 2 ? splits : 1;
}

/* A prompt has many tiles; splits only help the last of them to end together. */
static uint32_t splits_of_prompt(const struct bt_exec *e, uint32_t n_tokens, uint32_t last)
{
	uint32_t splits = 1;
	while (splits < 4 && (uint64_t)n_tokens * e->n_head * splits < 512 * 64 && 1024 * splits <= last &&
	       2 * splits * n_tokens <= BT_GPU_TILE_SPLIT_ROWS)
		splits *= 2;
	return splits;
}

void bt_gpu_shape_attention(const struct bt_exec *e, uint32_t n_seqs, uint32_t last, struct bt_gpu_shape *shape)
{
	shape->tile = shape->n_tokens >= 16 && shape->n_tokens >= 8 * n_seqs;
	uint32_t splits = shape->tile ? splits_of_prompt(e, shape->n_tokens, last)
	                              : splits_of_few(shape->n_tokens, last);
	if (splits == 1) return;
	shape->n_splits = splits;
	shape->split_keys = BT_GPU_SPLIT_KEYS;
	if (shape->tile) {
		/* By doubling: each step of a prompt lies deeper, and a recording for each length would be many. */
		while ((uint64_t)shape->split_keys * splits <= last) shape->split_keys *= 2;
		return;
	}
	/* Of few tokens a quarter more of splits sooner than a page more for each, which all would wait for. */
	uint32_t most = splits + splits / 4;
	if (most * shape->n_tokens > BT_GPU_SPLIT_ROWS) most = splits;
	while ((uint64_t)shape->split_keys * most <= last) shape->split_keys += BT_GPU_SPLIT_KEYS;
	if ((uint64_t)shape->split_keys * splits <= last) shape->n_splits = most;
}

/* Note the kernels of a step of n tokens, if there can be one: what is too large for the device is told when it runs. */
static enum baton_status note_kernels(const struct bt_exec *e, uint32_t n_tokens, uint32_t n_seqs, uint32_t last,
                                      bool *wanted, struct baton_error *err)
{
	const struct bt_plan *plan = e->c.plan;
	enum baton_status status = BATON_OK;
	for (uint32_t part = 0; part < n_parts(plan) && !status; part++) {
		struct bt_gpu_shape shape = {.part = part,
		                             .n_tokens = n_tokens,
		                             .n_logits = n_tokens < e->c.n_logits ? n_tokens : e->c.n_logits,
		                             .n_seqs = plan->n_states ? n_seqs : 0};
		bt_gpu_shape_attention(e, n_seqs, last, &shape);
		struct bt_gpu_cmd *cmd = NULL;
		uint32_t n = 0;
		status = bt_gpu_lower(e, shape, &cmd, &n, err);
		for (uint32_t i = 0; i < n && !status; i++) wanted[cmd[i].kernel] = true;
		bt_mem_free(cmd);
	}
	return status == BATON_ERR_LIMIT ? BATON_OK : status;
}

/* The same for n tokens of one sequence and of as many, in contexts of all lengths that make a difference. */
static enum baton_status note_steps(const struct bt_exec *e, uint32_t n, bool *wanted, struct baton_error *err)
{
	static const uint32_t last[] = {0, 1u << 8, 1u << 9, 1u << 10, 1u << 11, 1u << 16};
	enum baton_status status = BATON_OK;
	const size_t n_last = sizeof last / sizeof *last;
	/* Where there are more than a few tokens only the ends differ. */
	for (size_t i = 0; i < n_last && !status; i += n > 16 ? n_last - 1 : 1) {
		status = note_kernels(e, n, 1, last[i], wanted, err);
		if (!status && n > 1) status = note_kernels(e, n, n, last[i], wanted, err);
	}
	return status;
}

#define AT_ONCE 16u /* kernels compiled between two looks at the progress */

/* Compile what steps of all sizes will need, so that no token waits for it: kernels change where few tokens become more,
 * around powers of two. */
static enum baton_status prepare(struct bt_exec *e, struct baton_error *err)
{
	struct bt_gpu *gpu = e->dev->gpu;
	const struct bt_progress *progress = e->c.progress;
	bool wanted[BT_GPU_KERNELS] = {false}, some[BT_GPU_KERNELS] = {false};
	enum baton_status status = BATON_OK;
	for (uint32_t p = 1; p <= e->c.n_tokens && !status; p *= 2)
		for (uint32_t n = p; n <= p + 1 && n <= e->c.n_tokens && !status; n++)
			status = note_steps(e, n, wanted, err);
	if (!status) status = note_steps(e, e->c.n_tokens, wanted, err);
	uint64_t total = 0, done = 0;
	for (uint32_t k = 0; k < BT_GPU_KERNELS; k++) total += wanted[k];
	for (uint32_t k = 0, n = 0; k < BT_GPU_KERNELS && !status; k++) {
		n += some[k] = wanted[k];
		if (!n || (n < AT_ONCE && done + n < total)) continue;
		status = gpu->driver->prepare(gpu, some, err);
		done += n;
		n = 0;
		if (!status && progress && !progress->fn(progress->user, BATON_STAGE_KERNELS, done, total))
			status = bt_fail(err, BATON_ERR_CANCELLED, "cancelled");
	}
	if (gpu->driver->keep) gpu->driver->keep(gpu);
	return status;
}

enum baton_status bt_gpu_compile(struct bt_device *dev, const struct bt_compile *c, struct bt_exec **out,
                                 struct baton_error *err)
{
	*out = NULL;
	enum baton_status status = bt_gpu_check(c, bt_gpu_most_part(&((struct bt_gpu_device *)dev)->gpu->caps), err);
	if (status) return status;
	struct bt_exec *e = bt_mem_zalloc(BT_MEM_HOST, sizeof *e);
	if (!e) return bt_fail_nomem(err, sizeof *e, "a plan");
	e->c = *c;
	e->dev = (struct bt_gpu_device *)dev;
	e->offset = bt_mem_array(BT_MEM_HOST, c->plan->n_values + 1, sizeof *e->offset);
	e->node = bt_mem_array(BT_MEM_HOST, c->plan->n_ops + 1, sizeof *e->node);
	e->rope = bt_mem_array(BT_MEM_HOST, c->plan->n_ops + 1, sizeof *e->rope);
	e->held = bt_mem_array(BT_MEM_HOST, c->plan->n_ops * (size_t)BT_OP_TENSORS + 1, sizeof(void *));
	e->window = bt_mem_array(BT_MEM_HOST, c->plan->n_keeps + 1, sizeof *e->window);
	e->number = bt_mem_array(BT_MEM_HOST, n_parts(c->plan), sizeof *e->number);
	e->n_recorded = BT_GPU_RECORDINGS * n_parts(c->plan);
	e->recorded = bt_mem_array(BT_MEM_HOST, e->n_recorded, sizeof *e->recorded);
	if (!e->offset || !e->node || !e->rope || !e->recorded || !e->held || !e->window || !e->number)
		status = bt_fail_nomem(err, 0, "a plan");
	pthread_mutex_lock(&e->dev->lock);
	if (!status) status = load_weights(e, err);
	if (!status) status = make_scratch(e, err);
	if (!status && !c->measure) status = prepare(e, err);
	pthread_mutex_unlock(&e->dev->lock);
	e->c.progress = NULL;
	if (status) bt_gpu_release(e);
	else *out = e;
	return status;
}

static struct bt_gpu_shape shape_of(const struct bt_exec *e, const struct bt_step *step)
{
	struct bt_gpu_shape shape = {.part = step->part, .n_tokens = step->n_tokens, .n_logits = step->n_logits};
	if (e->c.plan->n_states) shape.n_seqs = step->n_seqs;
	uint32_t last = 0;
	for (uint32_t t = 0; t < step->n_tokens; t++)
		if (last < (uint32_t)step->pos[t]) last = (uint32_t)step->pos[t];
	bt_gpu_shape_attention(e, step->n_seqs, last, &shape);
	return shape;
}

static enum baton_status record(struct bt_exec *e, struct bt_gpu_shape shape, struct bt_gpu_recorded *to,
                                struct baton_error *err)
{
	struct bt_gpu *gpu = e->dev->gpu;
	struct bt_gpu_cmd *cmd = NULL;
	uint32_t n = 0;
	bool wanted[BT_GPU_KERNELS] = {false};
	gpu->driver->discard(gpu, to->rec);
	*to = (struct bt_gpu_recorded){.shape = shape};
	enum baton_status status = bt_gpu_lower(e, shape, &cmd, &n, err);
	for (uint32_t i = 0; i < n; i++) wanted[cmd[i].kernel] = true;
	if (!status) status = gpu->driver->prepare(gpu, wanted, err);
	if (!status) status = gpu->driver->record(gpu, cmd, n, &to->rec, err);
	bt_mem_free(cmd);
	return status;
}

/* The recording for a shape: the one that there is, or a new one in place of the one unused for longest. */
static enum baton_status find_recording(struct bt_exec *e, struct bt_gpu_shape shape, struct bt_gpu_recorded **out,
                                        struct baton_error *err)
{
	struct bt_gpu_recorded *of_part = e->recorded + (size_t)shape.part * BT_GPU_RECORDINGS, *oldest = of_part;
	for (uint32_t i = 0; i < BT_GPU_RECORDINGS; i++) {
		struct bt_gpu_recorded *r = &of_part[i];
		if (r->used < oldest->used) oldest = r;
		if (!r->rec || memcmp(&r->shape, &shape, sizeof shape)) continue;
		*out = r;
		return BATON_OK;
	}
	*out = oldest;
	return record(e, shape, oldest, err);
}

static enum baton_status start(struct bt_exec *e, const struct bt_step *step, uint32_t n, struct baton_error *err)
{
	struct bt_gpu *gpu = e->dev->gpu;
	struct bt_gpu_recording *rec[BT_GPU_TOGETHER];
	if (step->n_tokens > e->c.n_tokens || step->n_logits > e->c.n_logits)
		return bt_fail(err, BATON_ERR_LIMIT, "a step of %u tokens and %u logits; %u and %u were planned",
		               step->n_tokens, step->n_logits, e->c.n_tokens, e->c.n_logits);
	/* All parts of a step read the same block. */
	enum baton_status status = step->part ? BATON_OK : bt_gpu_step_fill(e, step, err);
	struct bt_gpu_shape shape = shape_of(e, step);
	for (uint32_t i = 0; i < n && !status; i++, shape.part++) {
		struct bt_gpu_recorded *r = NULL;
		status = find_recording(e, shape, &r, err);
		if (status) break;
		r->used = ++e->runs;
		rec[i] = r->rec;
	}
	if (!status) status = gpu->driver->start(gpu, rec, n, err);
	for (uint32_t i = 0; i < n && !status; i++) e->number[step->part + i] = gpu->started - (n - 1 - i);
	return status;
}

_Static_assert(BT_MOST_PARTS <= BT_GPU_TOGETHER, "parts of a step that are begun together are submitted together");

enum baton_status bt_gpu_start(struct bt_exec *e, const struct bt_step *step, uint32_t n, struct baton_error *err)
{
	struct bt_gpu_device *dev = e->dev;
	pthread_mutex_lock(&dev->lock);
	enum baton_status status = start(e, step, n, err);
	pthread_mutex_unlock(&dev->lock);
	return status;
}

enum baton_status bt_gpu_wait(struct bt_exec *e, const struct bt_step *step, struct baton_error *err)
{
	struct bt_gpu_device *dev = e->dev;
	pthread_mutex_lock(&dev->lock);
	enum baton_status status = dev->gpu->driver->wait(dev->gpu, e->number[step->part], err);
	pthread_mutex_unlock(&dev->lock);
	struct bt_part part = bt_plan_part(e->c.plan, step->part);
	bool last = part.n && e->c.plan->op[part.first + part.n - 1].kind == BT_OP_LOGITS;
	if (!status && last && step->n_logits)
		memcpy(step->logits, e->logits.host, (size_t)step->n_logits * e->c.plan->n_vocab * sizeof(float));
	return status;
}

enum baton_status bt_gpu_run(struct bt_exec *e, const struct bt_step *step, struct baton_error *err)
{
	enum baton_status status = bt_gpu_start(e, step, 1, err);
	return status ? status : bt_gpu_wait(e, step, err);
}
