#include "faulty_driver.h"
#include "emu_driver.h"

#include <stdio.h>
#include <string.h>

struct faulty faulty;

#define MOST_UNDER_WAY 16

struct faulty_gpu {
	struct bt_gpu base;
	struct bt_gpu *inner;
	bool lost, ready[BT_GPU_KERNELS];
	struct bt_gpu_recording *queue[MOST_UNDER_WAY]; /* the last of base.started */
	uint32_t n_queue;
};

void faulty_arm(unsigned n, enum baton_status with)
{
	faulty.calls = 0;
	faulty.fail_at = n;
	faulty.with = with;
}

/* Run what comes first until n are left. */
static enum baton_status run_until(struct faulty_gpu *f, uint64_t n, struct baton_error *err)
{
	enum baton_status status = BATON_OK;
	while (f->n_queue > n && !status) {
		status = emu_driver.start(f->inner, f->queue, 1, err);
		memmove(f->queue, f->queue + 1, --f->n_queue * sizeof *f->queue);
		faulty.under_way--;
	}
	return status;
}

static void lose(struct faulty_gpu *f)
{
	f->lost = true;
	faulty.under_way -= f->n_queue;
	f->n_queue = 0;
}

/* Does this call fail? */
static enum baton_status call(struct bt_gpu *gpu, const char *what, struct baton_error *err)
{
	struct faulty_gpu *f = (struct faulty_gpu *)gpu;
	if (f && f->lost) return bt_fail(err, BATON_ERR_DEVICE, "%s: the device was lost", what);
	if (++faulty.calls != faulty.fail_at) return BATON_OK;
	if (f && faulty.with == BATON_ERR_DEVICE) lose(f);
	return bt_fail(err, faulty.with, "%s: planted failure %u", what, faulty.fail_at);
}

static struct bt_gpu *inner(struct bt_gpu *gpu)
{
	return ((struct faulty_gpu *)gpu)->inner;
}

static enum baton_status open_gpu(uint32_t index, const struct bt_device_params *params, struct bt_gpu **out,
                                  struct baton_error *err)
{
	(void)index;
	*out = NULL;
	enum baton_status status = call(NULL, "open", err);
	if (status) return status;
	struct faulty_gpu *f = bt_mem_zalloc(BT_MEM_HOST, sizeof *f);
	if (!f) return bt_fail_nomem(err, sizeof *f, "a device");
	status = emu_driver.open(32, params, &f->inner, err);
	if (status) {
		bt_mem_free(f);
		return status;
	}
	f->base.driver = &faulty_driver;
	f->base.caps = f->inner->caps;
	f->base.caps.part = faulty.part;
	faulty.devices++;
	faulty.opened++;
	*out = &f->base;
	return BATON_OK;
}

static void close_gpu(struct bt_gpu *gpu)
{
	struct faulty_gpu *f = (struct faulty_gpu *)gpu;
	faulty.devices--;
	faulty.harm += f->n_queue > 0;
	lose(f);
	emu_driver.close(inner(gpu));
	bt_mem_free(gpu);
}

static enum baton_status take(struct bt_gpu *gpu, enum bt_mem_cat cat, enum bt_gpu_place place, size_t size,
                              struct bt_gpu_mem *out, struct baton_error *err)
{
	*out = (struct bt_gpu_mem){0};
	enum baton_status status = call(gpu, "alloc", err);
	if (!status && place == BT_GPU_LOCAL && faulty.limit && faulty.memory + size > faulty.limit)
		status = bt_fail(err, BATON_ERR_NOMEM, "the card is full");
	if (!status) status = emu_driver.alloc(inner(gpu), cat, place, size, out, err);
	if (status) return status;
	faulty.blocks++;
	if (place == BT_GPU_LOCAL) faulty.memory += size;
	if (cat == BT_MEM_WEIGHTS) faulty.weights += size;
	out->handle = place == BT_GPU_LOCAL ? gpu : NULL; /* notes what to subtract */
	return BATON_OK;
}

static void give(struct bt_gpu *gpu, struct bt_gpu_mem *mem)
{
	if (mem->address) faulty.blocks--;
	if (mem->address) faulty.harm += ((struct faulty_gpu *)gpu)->n_queue > 0;
	if (mem->handle) faulty.memory -= mem->size;
	emu_driver.free(inner(gpu), mem);
}

static enum baton_status prepare(struct bt_gpu *gpu, const bool *wanted, struct baton_error *err)
{
	enum baton_status status = call(gpu, "prepare", err);
	bool *ready = ((struct faulty_gpu *)gpu)->ready;
	for (uint32_t k = 0; k < BT_GPU_KERNELS && !status; k++) {
		faulty.kernels += wanted[k] && !ready[k];
		ready[k] |= wanted[k];
	}
	return status ? status : emu_driver.prepare(inner(gpu), wanted, err);
}

/* The same commands; with faulty.backwards those between two barriers in the opposite order. */
static void turn(const struct bt_gpu_cmd *cmd, uint32_t n, struct bt_gpu_cmd *out)
{
	for (uint32_t first = 0, end; first < n; first = end) {
		end = first + 1;
		while (end < n && !cmd[end].barrier) end++;
		for (uint32_t i = first; i < end; i++) out[i] = cmd[faulty.backwards ? end - 1 - (i - first) : i];
		faulty.beside += end - first - 1;
	}
}

static enum baton_status record(struct bt_gpu *gpu, const struct bt_gpu_cmd *cmd, uint32_t n,
                                struct bt_gpu_recording **out, struct baton_error *err)
{
	*out = NULL;
	enum baton_status status = call(gpu, "record", err);
	struct bt_gpu_cmd *turned = status ? NULL : bt_mem_array(BT_MEM_HOST, n + 1, sizeof *turned);
	if (turned) turn(cmd, n, turned);
	if (!status) status = emu_driver.record(inner(gpu), turned ? turned : cmd, n, out, err);
	bt_mem_free(turned);
	if (!status) faulty.recordings++;
	return status;
}

static void discard(struct bt_gpu *gpu, struct bt_gpu_recording *rec)
{
	const struct faulty_gpu *f = (const struct faulty_gpu *)gpu;
	if (rec) faulty.recordings--;
	for (uint32_t i = 0; i < f->n_queue; i++) faulty.harm += f->queue[i] == rec;
	emu_driver.discard(inner(gpu), rec);
}

static enum baton_status start(struct bt_gpu *gpu, struct bt_gpu_recording *const *rec, uint32_t n,
                               struct baton_error *err)
{
	struct faulty_gpu *f = (struct faulty_gpu *)gpu;
	enum baton_status status = call(gpu, "start", err);
	if (!status && f->n_queue + n > MOST_UNDER_WAY)
		status = bt_fail(err, BATON_ERR_DEVICE, "more recordings are under way than the test has room for");
	if (status) return status;
	memcpy(f->queue + f->n_queue, rec, n * sizeof *f->queue);
	f->n_queue += n;
	faulty.under_way += n;
	gpu->started += n;
	return faulty.late ? BATON_OK : run_until(f, 0, err);
}

static enum baton_status wait_for(struct bt_gpu *gpu, uint64_t number, struct baton_error *err)
{
	/* Nothing but the loss of the device fails here. */
	const struct faulty_gpu *f = (const struct faulty_gpu *)gpu;
	enum baton_status status = f->lost || faulty.with == BATON_ERR_DEVICE ? call(gpu, "wait", err) : BATON_OK;
	return status ? status : run_until((struct faulty_gpu *)gpu, gpu->started - number, err);
}

const struct bt_gpu_driver faulty_driver = {
	.open = open_gpu,
	.close = close_gpu,
	.alloc = take,
	.free = give,
	.prepare = prepare,
	.record = record,
	.discard = discard,
	.start = start,
	.wait = wait_for,
};

static uint32_t count(void)
{
	return 1;
}

static enum baton_status describe(uint32_t index, struct bt_device_info *out, struct baton_error *err)
{
	if (index) return bt_fail(err, BATON_ERR_ARG, "no GPU%u", index);
	*out = (struct bt_device_info){.description = "the emulator, with faults",
	                               .max_alloc = faulty.max_alloc,
	                               .hidden = true};
	snprintf(out->name, sizeof out->name, "GPU0");
	return BATON_OK;
}

static enum baton_status open_device(uint32_t index, const struct bt_device_params *params, struct bt_device **out,
                                     struct baton_error *err)
{
	return bt_gpu_device_open(&bt_backend_faulty, &faulty_driver, index, params, out, err);
}

const struct bt_backend bt_backend_faulty = {
	.name = "GPU",
	.shared = true,
	.count = count,
	.describe = describe,
	.open = open_device,
	.close = bt_gpu_device_close,
	.alloc = bt_gpu_device_alloc,
	.free = bt_gpu_device_free,
	.upload = bt_gpu_device_upload,
	.download = bt_gpu_device_download,
	.copy = bt_gpu_device_copy,
	.compile = bt_gpu_compile,
	.supports = bt_gpu_supports,
	.run = bt_gpu_run,
	.start = bt_gpu_start,
	.wait = bt_gpu_wait,
	.window = bt_gpu_window,
	.release = bt_gpu_release,
	.held = bt_gpu_held,
	.weight_bytes = bt_gpu_weight_bytes,
	.scratch = bt_gpu_scratch,
};
