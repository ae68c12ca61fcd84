/* step.c: the step block: what changes from step to step, in memory that the CPU writes and the kernels read.
 *
 * Embeddings are looked up by the CPU, from the file: a row per token is little to bring over, the matrix may have any
 * type, and an untied one takes no device memory at all. Angles are formed in double precision, as on the CPU.
 */
#include "backend/gpu/exec.h"

#include <math.h>
#include <string.h>

enum baton_status bt_gpu_step_open(struct bt_exec *e, struct baton_error *err)
{
	struct bt_gpu *gpu = e->dev->gpu;
	size_t n = e->c.n_tokens, at = 0;
	e->at_pos = at, at += n * 4;
	e->at_page0 = at, at += n * 4;
	e->at_logit_row = at, at += n * 4;
	if (e->c.plan->n_states) { /* a sequence has at least a row */
		e->at_seq = at, at += n * BT_GPU_SEQ_WORDS * 4;
		e->at_chunk = at, at += n * 8;
	}
	at = (at + 255) & ~(size_t)255;
	e->at_rope = at;
	for (uint32_t i = 0; i < e->n_ropes; i++) at += 2 * bt_gpu_rope_bytes(e, i);
	at = (at + 255) & ~(size_t)255;
	e->at_embed = at, at += n * e->c.plan->n_embd * sizeof(float);
	e->allocated += at;
	return gpu->driver->alloc(gpu, BT_MEM_SCRATCH, BT_GPU_WRITE, at, &e->step, err);
}

static void fill_rope(const struct bt_exec *e, const struct bt_step *step)
{
	char *at = (char *)e->step.host + e->at_rope;
	for (uint32_t i = 0; i < e->n_ropes; i++) {
		const struct bt_rope *r = e->rope[i];
		float *c = (float *)at, *s = (float *)(at + bt_gpu_rope_bytes(e, i));
		at += 2 * bt_gpu_rope_bytes(e, i);
		for (uint32_t t = 0; t < step->n_tokens; t++)
			for (uint32_t j = 0; j < r->n_pairs; j++) {
				double angle = step->pos[t] * r->freq[j];
				*c++ = (float)cos(angle) * r->magnitude;
				*s++ = (float)sin(angle) * r->magnitude;
			}
	}
}

static void fill_embed(const struct bt_exec *e, const struct bt_step *step)
{
	float *y = (float *)((char *)e->step.host + e->at_embed);
	for (uint32_t i = 0; i < e->c.plan->n_ops; i++) {
		const struct bt_op *op = &e->c.plan->op[i];
		if (op->kind != BT_OP_EMBED) continue;
		const struct bt_tensor *w = op->embed.w;
		for (uint32_t t = 0; t < step->n_tokens; t++)
			w->type->unpack((const char *)w->data + (size_t)step->token[t] * w->row_bytes,
			                y + t * w->dim[0], w->dim[0]);
	}
}

/* Sequences, and their rows cut into chunks. */
static void fill_seqs(const struct bt_exec *e, const struct bt_step *step)
{
	uint32_t *seq = (uint32_t *)((char *)e->step.host + e->at_seq);
	uint32_t *chunk = (uint32_t *)((char *)e->step.host + e->at_chunk);
	uint32_t n_chunks = bt_gpu_chunks(step->n_tokens, step->n_seqs), at = 0;
	for (uint32_t s = 0; s < step->n_seqs; s++) {
		const struct bt_step_seq *q = &step->seq[s];
		*seq++ = q->row0;
		*seq++ = q->n;
		*seq++ = q->state_in;
		*seq++ = q->state_out;
		for (uint32_t i = 0; i < q->n; i += BT_GPU_CONV_CHUNK, at++) {
			chunk[2 * at] = s;
			chunk[2 * at + 1] = q->row0 + i;
		}
	}
	for (; at < n_chunks; at++) {
		chunk[2 * at] = 0;
		chunk[2 * at + 1] = BT_GPU_NONE;
	}
}

/* Room for n page numbers; a larger block has another address, so recordings of the old one are dropped. */
static enum baton_status room_for_pages(struct bt_exec *e, size_t n, struct baton_error *err)
{
	struct bt_gpu *gpu = e->dev->gpu;
	if (n * 4 <= e->pages.size) return BATON_OK;
	for (uint32_t i = 0; i < e->n_recorded; i++) {
		gpu->driver->discard(gpu, e->recorded[i].rec);
		e->recorded[i] = (struct bt_gpu_recorded){0};
	}
	e->allocated -= e->pages.size;
	gpu->driver->free(gpu, &e->pages);
	size_t want = n * 8 < 65536 ? 65536 : n * 8;
	enum baton_status status = gpu->driver->alloc(gpu, BT_MEM_SCRATCH, BT_GPU_WRITE, want, &e->pages, err);
	e->allocated += e->pages.size;
	return status;
}

enum baton_status bt_gpu_step_fill(struct bt_exec *e, const struct bt_step *step, struct baton_error *err)
{
	size_t n_pages = 0;
	const uint32_t n_paged = e->c.plan->n_caches ? step->n_seqs : 0; /* sequences that have pages */
	for (uint32_t s = 0; s < n_paged; s++)
		n_pages += (step->seq[s].pos0 + step->seq[s].n + BT_KV_PAGE - 1) / BT_KV_PAGE;
	enum baton_status status = room_for_pages(e, n_pages + 1, err);
	if (status) return status;
	char *host = e->step.host;
	uint32_t *page0 = (uint32_t *)(host + e->at_page0), *pages = e->pages.host, at = 0;
	for (uint32_t s = 0; s < n_paged; s++) {
		const struct bt_step_seq *q = &step->seq[s];
		uint32_t n = (q->pos0 + q->n + BT_KV_PAGE - 1) / BT_KV_PAGE;
		for (uint32_t i = 0; i < q->n; i++) page0[q->row0 + i] = at;
		memcpy(pages + at, q->pages, n * sizeof *pages);
		at += n;
	}
	memcpy(host + e->at_pos, step->pos, step->n_tokens * sizeof *step->pos);
	if (step->n_logits) memcpy(host + e->at_logit_row, step->logit_row, step->n_logits * sizeof *step->logit_row);
	if (e->c.plan->n_states) fill_seqs(e, step);
	fill_rope(e, step);
	fill_embed(e, step);
	return BATON_OK;
}
