#include "emu_driver.h"
#include "emu.h"

#include <string.h>

struct emu_gpu {
	struct bt_gpu base;
	unsigned width;
};

struct bt_gpu_recording {
	uint32_t n;
	struct bt_gpu_cmd cmd[];
};

static enum baton_status emu_open(uint32_t index, const struct bt_device_params *params, struct bt_gpu **out,
                                  struct baton_error *err)
{
	(void)params;
	*out = NULL;
	struct emu_gpu *gpu = bt_mem_zalloc(BT_MEM_HOST, sizeof *gpu);
	if (!gpu) return bt_fail_nomem(err, sizeof *gpu, "the emulator");
	gpu->base.driver = &emu_driver;
	gpu->base.caps = (struct bt_gpu_caps){.max_grid = {65535, 65535, 65535},
	                                      .max_alloc = 1u << 30,
	                                      .threads = 1024,
	                                      .shared = 32768,
	                                      .subgroup = index,
	                                      .staging = 1u << 18,
	                                      .matrix_cores = index == 32,
	                                      .packed_halves = true};
	gpu->width = index;
	*out = &gpu->base;
	return BATON_OK;
}

static void emu_close(struct bt_gpu *gpu)
{
	bt_mem_free(gpu);
}

static enum baton_status emu_driver_alloc(struct bt_gpu *gpu, enum bt_mem_cat cat, enum bt_gpu_place place, size_t size,
                                          struct bt_gpu_mem *out, struct baton_error *err)
{
	(void)gpu, (void)place, (void)err;
	*out = (struct bt_gpu_mem){.size = size, .cat = cat};
	out->address = emu_alloc(size, &out->host);
	return BATON_OK;
}

static void emu_driver_free(struct bt_gpu *gpu, struct bt_gpu_mem *mem)
{
	(void)gpu;
	emu_free(mem->address);
	*mem = (struct bt_gpu_mem){0};
}

static enum baton_status emu_prepare(struct bt_gpu *gpu, const bool *wanted, struct baton_error *err)
{
	(void)gpu, (void)wanted, (void)err;
	return BATON_OK;
}

static enum baton_status emu_record(struct bt_gpu *gpu, const struct bt_gpu_cmd *cmd, uint32_t n,
                                    struct bt_gpu_recording **out, struct baton_error *err)
{
	(void)gpu;
	*out = bt_mem_alloc(BT_MEM_HOST, sizeof **out + n * sizeof *cmd);
	if (!*out) return bt_fail_nomem(err, n * sizeof *cmd, "a recording");
	(*out)->n = n;
	memcpy((*out)->cmd, cmd, n * sizeof *cmd);
	return BATON_OK;
}

static void emu_discard(struct bt_gpu *gpu, struct bt_gpu_recording *rec)
{
	(void)gpu;
	bt_mem_free(rec);
}

static enum baton_status run(const struct emu_gpu *gpu, const struct bt_gpu_recording *rec, struct baton_error *err)
{
	for (uint32_t i = 0; i < rec->n; i++) {
		const struct bt_gpu_cmd *cmd = &rec->cmd[i];
		if (cmd->kernel == BT_GPU_COPY) {
			struct bt_gpu_copy c;
			memcpy(&c, cmd->params, sizeof c);
			if (c.dst_offset + c.size > c.dst->size || c.src_offset + c.size > c.src->size)
				return bt_fail(err, BATON_ERR_DEVICE, "a copy beyond its buffers");
			memcpy((char *)c.dst->host + c.dst_offset, (char *)c.src->host + c.src_offset, c.size);
			continue;
		}
		const char *found = emu_launch(cmd->kernel, cmd->grid, cmd->params, gpu->width);
		if (found) return bt_fail(err, BATON_ERR_DEVICE, "%s", found);
	}
	return BATON_OK;
}

/* They have run when the call is over. */
static enum baton_status emu_start(struct bt_gpu *gpu, struct bt_gpu_recording *const *rec, uint32_t n,
                                   struct baton_error *err)
{
	enum baton_status status = BATON_OK;
	for (uint32_t i = 0; i < n && !status; i++) status = run((struct emu_gpu *)gpu, rec[i], err);
	if (!status) gpu->started += n;
	return status;
}

static enum baton_status emu_wait(struct bt_gpu *gpu, uint64_t number, struct baton_error *err)
{
	(void)gpu, (void)number, (void)err;
	return BATON_OK;
}

const struct bt_gpu_driver emu_driver = {
	.open = emu_open,
	.close = emu_close,
	.alloc = emu_driver_alloc,
	.free = emu_driver_free,
	.prepare = emu_prepare,
	.record = emu_record,
	.discard = emu_discard,
	.start = emu_start,
	.wait = emu_wait,
};
