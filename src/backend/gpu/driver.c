#include "backend/gpu/driver.h"

#include <string.h>

const struct bt_gpu_kernel_info bt_gpu_kernel_table[BT_GPU_KERNELS] = {
#define KERNEL_ROW(name, file, block, n_threads, ...) \
	[BT_GPU_K_##name] = {#name, n_threads, (uint32_t)sizeof(struct block)},
#include "backend/gpu/kernels/kernels.inc"
#undef KERNEL_ROW
};

struct bt_gpu_cmd bt_gpu_cmd(enum bt_gpu_kernel kernel, const void *params, uint32_t x, uint32_t y, uint32_t z)
{
	struct bt_gpu_cmd cmd = {.kernel = (uint16_t)kernel, .grid = {x, y, z}};
	memcpy(cmd.params, params, bt_gpu_kernel_table[kernel].params);
	return cmd;
}

struct bt_gpu_cmd bt_gpu_cmd_copy(const struct bt_gpu_mem *dst, uint64_t dst_offset, const struct bt_gpu_mem *src,
                                  uint64_t src_offset, uint64_t size)
{
	struct bt_gpu_cmd cmd = {.kernel = BT_GPU_COPY};
	struct bt_gpu_copy copy = {dst, src, dst_offset, src_offset, size};
	memcpy(cmd.params, &copy, sizeof copy);
	return cmd;
}

enum baton_status bt_gpu_run_once(struct bt_gpu *gpu, const struct bt_gpu_cmd *cmd, uint32_t n, struct baton_error *err)
{
	struct bt_gpu_recording *rec = NULL;
	enum baton_status status = gpu->driver->record(gpu, cmd, n, &rec, err);
	if (!status) status = gpu->driver->start(gpu, &rec, 1, err);
	if (!status) status = gpu->driver->wait(gpu, gpu->started, err);
	gpu->driver->discard(gpu, rec);
	return status;
}
