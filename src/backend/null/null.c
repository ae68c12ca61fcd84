/* The null back end: plans, checks and counts, computes nothing.
 *
 * It is the template for a new back end, and lets every machine test planning, memory sizes and the engine for devices
 * that it does not have. There are two of its kind. Memory is real (so limits and failures are), but given out by handle,
 * as that of a card would be. Values stay what was uploaded; logits are zero but for a mark that depends on the token and
 * position of each row, so that a test can see whether the engine gives a row's logits to whom they belong. */
#include "backend/backend.h"

#include <stdio.h>
#include <string.h>

struct bt_exec {
	struct bt_compile c;
	struct bt_device *dev;
	size_t *offset; /* [n_values] */
	struct bt_dev_mem scratch;
};

static uint32_t null_count(void)
{
	return 2;
}

static enum baton_status null_describe(uint32_t index, struct bt_device_info *out, struct baton_error *err)
{
	if (index >= null_count()) return bt_fail(err, BATON_ERR_ARG, "null: no device %u", index);
	*out = (struct bt_device_info){.description = "plans and counts, computes nothing", .hidden = true};
	snprintf(out->name, sizeof out->name, index ? "null%u" : "null", index);
	return BATON_OK;
}

extern const struct bt_backend bt_backend_null;

static enum baton_status null_open(uint32_t index, const struct bt_device_params *params, struct bt_device **out,
                                   struct baton_error *err)
{
	(void)params;
	*out = NULL;
	if (index >= null_count()) return bt_fail(err, BATON_ERR_ARG, "null: no device %u", index);
	struct bt_device *dev = bt_mem_zalloc(BT_MEM_HOST, sizeof *dev);
	if (!dev) return bt_fail_nomem(err, sizeof *dev, "a device");
	dev->backend = &bt_backend_null;
	*out = dev;
	return BATON_OK;
}

static void null_close(struct bt_device *dev)
{
	bt_mem_free(dev);
}

static enum baton_status null_alloc(struct bt_device *dev, enum bt_mem_cat cat, size_t size, struct bt_dev_mem *out,
                                    struct baton_error *err)
{
	(void)dev;
	*out = (struct bt_dev_mem){.handle = bt_mem_pages(cat, size), .size = size, .cat = cat};
	if (out->handle) return BATON_OK;
	*out = (struct bt_dev_mem){0};
	return bt_fail_nomem(err, size, bt_mem_cat_name(cat));
}

static void null_free(struct bt_device *dev, struct bt_dev_mem *mem)
{
	(void)dev;
	bt_mem_free_pages(mem->cat, mem->handle, mem->size);
	*mem = (struct bt_dev_mem){0};
}

static enum baton_status null_upload(struct bt_device *dev, struct bt_dev_mem *dst, size_t offset, const void *src,
                                     size_t n, struct baton_error *err)
{
	(void)dev, (void)err;
	memcpy((char *)dst->handle + offset, src, n);
	return BATON_OK;
}

static enum baton_status null_download(struct bt_device *dev, void *dst, const struct bt_dev_mem *src, size_t offset,
                                       size_t n, struct baton_error *err)
{
	(void)dev, (void)err;
	memcpy(dst, (const char *)src->handle + offset, n);
	return BATON_OK;
}

static enum baton_status null_copy(struct bt_device *dev, struct bt_dev_mem *dst, size_t dst_offset,
                                   const struct bt_dev_mem *src, size_t src_offset, size_t n, struct baton_error *err)
{
	(void)dev, (void)err;
	memmove((char *)dst->handle + dst_offset, (const char *)src->handle + src_offset, n);
	return BATON_OK;
}

static void null_release(struct bt_exec *exec)
{
	if (!exec) return;
	null_free(exec->dev, &exec->scratch);
	bt_mem_free(exec->offset);
	bt_mem_free(exec);
}

static enum baton_status null_compile(struct bt_device *dev, const struct bt_compile *c, struct bt_exec **out,
                                      struct baton_error *err)
{
	*out = NULL;
	size_t size;
	struct bt_exec *exec = bt_mem_zalloc(BT_MEM_HOST, sizeof *exec);
	if (!exec) return bt_fail_nomem(err, sizeof *exec, "a plan");
	exec->c = *c;
	exec->dev = dev;
	exec->offset = bt_mem_array(BT_MEM_HOST, c->plan->n_values + 1, sizeof *exec->offset);
	enum baton_status status = BATON_OK;
	if (!exec->offset) status = bt_fail_nomem(err, 0, "a plan");
	if (!status) status = bt_plan_layout(c->plan, c->n_tokens, c->n_logits, BT_PLAN_REST, exec->offset, &size, err);
	if (!status) status = null_alloc(dev, BT_MEM_SCRATCH, size, &exec->scratch, err);
	if (status) null_release(exec);
	else *out = exec;
	return status;
}

static enum baton_status null_run(struct bt_exec *exec, const struct bt_step *step, struct baton_error *err)
{
	if (step->n_tokens > exec->c.n_tokens)
		return bt_fail(err, BATON_ERR_LIMIT, "null: a step of %u tokens; %u were planned", step->n_tokens,
		               exec->c.n_tokens);
	const struct bt_plan *plan = exec->c.plan;
	struct bt_part part = bt_plan_part(plan, step->part);
	uint32_t n_vocab = plan->n_vocab;
	bool logits = false;
	for (uint32_t i = part.first; i < part.first + part.n; i++) logits |= plan->op[i].kind == BT_OP_LOGITS;
	if (!logits) return BATON_OK;
	memset(step->logits, 0, (size_t)step->n_logits * n_vocab * sizeof *step->logits);
	for (uint32_t i = 0; i < step->n_logits; i++) {
		uint32_t row = step->logit_row[i];
		step->logits[(size_t)i * n_vocab + (uint32_t)(step->token[row] + step->pos[row]) % n_vocab] = 1;
	}
	return BATON_OK;
}

static size_t null_scratch(const struct bt_exec *exec)
{
	return exec->scratch.size;
}

static float *null_window(struct bt_exec *exec, uint32_t keep)
{
	return (float *)((char *)exec->scratch.handle + exec->offset[exec->c.plan->keep[keep].value]);
}

const struct bt_backend bt_backend_null = {
	.name = "null",
	.count = null_count,
	.describe = null_describe,
	.open = null_open,
	.close = null_close,
	.alloc = null_alloc,
	.free = null_free,
	.upload = null_upload,
	.download = null_download,
	.copy = null_copy,
	.compile = null_compile,
	.run = null_run,
	.release = null_release,
	.window = null_window,
	.scratch = null_scratch,
};
