/* device.h: a GPU as a device of the engine, whatever its driver, and the weights that it holds. */
#ifndef BT_BACKEND_GPU_DEVICE_H
#define BT_BACKEND_GPU_DEVICE_H

#include "backend/gpu/driver.h"
#include "backend/gpu/formats.h"

/* A tensor in device memory. */
struct bt_gpu_matrix {
	const struct bt_tensor *tensor;
	bool exact;
	enum bt_gpu_format format;
	uint64_t plane[BT_GPU_PLANES];  /* addresses; 0: no such plane */
	uint32_t n_rows, n_k, n_blocks; /* rows of one matrix (a stack of experts has several) */
};

struct bt_gpu_device {
	struct bt_device base;
	struct bt_gpu *gpu;
	struct bt_gpu_matrix **matrix; /* [n_matrices] what was uploaded */
	uint32_t n_matrices, cap_matrices;
	struct bt_gpu_mem *block; /* [n_blocks] memory that they stand in */
	uint32_t n_blocks, cap_blocks;
	size_t block_used;            /* of the last block */
	struct bt_gpu_mem staging[2]; /* BT_GPU_WRITE, for uploads */
	struct bt_gpu_mem reading;    /* BT_GPU_READ, for downloads */
};

/* The calls of the device table that are the same for all drivers. */
enum baton_status bt_gpu_device_open(const struct bt_backend *backend, const struct bt_gpu_driver *driver,
                                     uint32_t index, const struct bt_device_params *params, struct bt_device **out,
                                     struct baton_error *err);
void bt_gpu_device_close(struct bt_device *dev);
enum baton_status bt_gpu_device_alloc(struct bt_device *dev, enum bt_mem_cat cat, size_t size, struct bt_dev_mem *out,
                                      struct baton_error *err);
void bt_gpu_device_free(struct bt_device *dev, struct bt_dev_mem *mem);
enum baton_status bt_gpu_device_upload(struct bt_device *dev, struct bt_dev_mem *dst, size_t offset, const void *src,
                                       size_t n, struct baton_error *err);
enum baton_status bt_gpu_device_download(struct bt_device *dev, void *dst, const struct bt_dev_mem *src, size_t offset,
                                         size_t n, struct baton_error *err);
enum baton_status bt_gpu_device_copy(struct bt_device *dev, struct bt_dev_mem *dst, size_t dst_offset,
                                     const struct bt_dev_mem *src, size_t src_offset, size_t n,
                                     struct baton_error *err);
enum baton_status bt_gpu_compile(struct bt_device *dev, const struct bt_compile *c, struct bt_exec **out,
                                 struct baton_error *err);
enum baton_status bt_gpu_run(struct bt_exec *exec, const struct bt_step *step, struct baton_error *err);
struct bt_dev_mem *bt_gpu_exec_value(struct bt_exec *exec, uint32_t v, size_t *offset);
bool bt_gpu_supports(uint32_t index, const struct bt_plan *plan, const struct bt_op *op);
void bt_gpu_release(struct bt_exec *exec);
size_t bt_gpu_scratch(const struct bt_exec *exec);

/* The tensor in device memory, uploaded at the first asking; it stays until the device is closed. exact: as floats. */
enum baton_status bt_gpu_weights_get(struct bt_gpu_device *dev, const struct bt_tensor *t, bool exact,
                                     const struct bt_gpu_matrix **out, struct baton_error *err);
void bt_gpu_weights_free(struct bt_gpu_device *dev);

#endif
