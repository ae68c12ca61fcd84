#include "paper.h"

struct paper_gpu {
	struct bt_gpu base;
	uint64_t next; /* address */
};

static enum baton_status paper_open(uint32_t index, const struct bt_device_params *params, struct bt_gpu **out,
                                    struct baton_error *err)
{
	(void)index, (void)params;
	struct paper_gpu *gpu = bt_mem_zalloc(BT_MEM_HOST, sizeof *gpu);
	*out = NULL;
	if (!gpu) return bt_fail_nomem(err, sizeof *gpu, "a device");
	gpu->base.driver = &paper_driver;
	gpu->base.caps = (struct bt_gpu_caps){.max_grid = {UINT32_MAX, 65535, 65535},
	                                      .max_alloc = UINT64_MAX / 2,
	                                      .threads = 1024,
	                                      .shared = 65536,
	                                      .subgroup = 64,
	                                      .packed_halves = true};
	gpu->next = 1u << 20;
	*out = &gpu->base;
	return BATON_OK;
}

static void paper_close(struct bt_gpu *gpu)
{
	bt_mem_free(gpu);
}

static enum baton_status paper_alloc(struct bt_gpu *gpu, enum bt_mem_cat cat, enum bt_gpu_place place, size_t size,
                                     struct bt_gpu_mem *out, struct baton_error *err)
{
	struct paper_gpu *paper = (struct paper_gpu *)gpu;
	*out = (struct bt_gpu_mem){.address = paper->next, .size = size, .cat = cat};
	paper->next += (size + 4095) & ~(uint64_t)4095;
	if (place != BT_GPU_LOCAL && !(out->host = bt_mem_zalloc(BT_MEM_HOST, size)))
		return bt_fail_nomem(err, size, "memory of a device");
	return BATON_OK;
}

static void paper_free(struct bt_gpu *gpu, struct bt_gpu_mem *mem)
{
	(void)gpu;
	bt_mem_free(mem->host);
	*mem = (struct bt_gpu_mem){0};
}

static enum baton_status paper_prepare(struct bt_gpu *gpu, const bool *wanted, struct baton_error *err)
{
	(void)gpu, (void)wanted, (void)err;
	return BATON_OK;
}

static enum baton_status paper_record(struct bt_gpu *gpu, const struct bt_gpu_cmd *cmd, uint32_t n,
                                      struct bt_gpu_recording **out, struct baton_error *err)
{
	(void)gpu, (void)cmd, (void)n, (void)err;
	*out = NULL;
	return BATON_OK;
}

static void paper_discard(struct bt_gpu *gpu, struct bt_gpu_recording *rec)
{
	(void)gpu, (void)rec;
}

static enum baton_status paper_start(struct bt_gpu *gpu, struct bt_gpu_recording *const *rec, uint32_t n,
                                     struct baton_error *err)
{
	(void)rec, (void)err;
	gpu->started += n;
	return BATON_OK;
}

static enum baton_status paper_wait(struct bt_gpu *gpu, uint64_t number, struct baton_error *err)
{
	(void)gpu, (void)number, (void)err;
	return BATON_OK;
}

const struct bt_gpu_driver paper_driver = {
	.open = paper_open,
	.close = paper_close,
	.alloc = paper_alloc,
	.free = paper_free,
	.prepare = paper_prepare,
	.record = paper_record,
	.discard = paper_discard,
	.start = paper_start,
	.wait = paper_wait,
};
