/* device.h: a GPU as a device of the engine, whatever its driver, and the weights that it holds. */
#ifndef BT_BACKEND_GPU_DEVICE_H
#define BT_BACKEND_GPU_DEVICE_H

#include "backend/gpu/driver.h"
#include "backend/gpu/formats.h"
#include "base/pool.h"

#include <pthread.h>

/* Memory in which weights stand. */
struct bt_gpu_block {
	struct bt_gpu_mem mem;
	size_t used;
	uint32_t users; /* how often executables hold its matrices */
	bool vectors; /* for norms and biases: matrices of another precision use the same ones, and must not be kept by them */
};

/* What of a tensor stands in one block. */
struct bt_gpu_part {
	struct bt_gpu_block *block;
	uint64_t plane[BT_GPU_PLANES]; /* addresses; 0: no such plane */
	uint64_t first, n;             /* rows, counted over all matrices of a stack */
};

/* A tensor in device memory. Nearly all have one part; more where it takes more than a device gives at once, or than kernels
 * reach behind a base. Each part is a matrix of its own then, with its own book, and products are formed part by part. */
struct bt_gpu_matrix {
	const struct bt_tensor *tensor;
	bool exact;
	enum bt_gpu_format format;
	uint32_t n_rows, n_k, n_blocks; /* rows of one matrix (a stack of experts has several) */
	int below; /* of F16 and BF16: every weight's magnitude is below 2^below; 17 and 129 where one is not finite */
	uint32_t n_parts;
	struct bt_gpu_part part[];
};

/* Uploading: what all tensors of a plan share. */
struct bt_gpu_upload {
	struct bt_pool *pool; /* NULL: the caller alone */
	const struct bt_progress *progress;
	uint64_t done, total; /* bytes on the device */
	uint64_t room;        /* that what is still to come takes, alignment included */
};

struct bt_gpu_device {
	struct bt_device base;
	pthread_mutex_t lock; /* held by every call of the device table: sessions may share a device */
	struct bt_gpu *gpu;
	struct bt_gpu_upload *upload;  /* the one under way, or NULL */
	struct bt_gpu_matrix **matrix; /* [n_matrices] what was uploaded */
	uint32_t n_matrices, cap_matrices;
	struct bt_gpu_block **block; /* [n_blocks] memory that they stand in */
	uint32_t n_blocks, cap_blocks;
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
enum baton_status bt_gpu_start(struct bt_exec *exec, const struct bt_step *step, uint32_t n, struct baton_error *err);
enum baton_status bt_gpu_wait(struct bt_exec *exec, const struct bt_step *step, struct baton_error *err);
float *bt_gpu_window(struct bt_exec *exec, uint32_t keep);
bool bt_gpu_supports(uint32_t index, const struct bt_plan *plan, const struct bt_op *op);
void bt_gpu_release(struct bt_exec *exec);
size_t bt_gpu_scratch(const struct bt_exec *exec);

size_t bt_gpu_held(struct bt_device *dev);
/* In one part; each further one has a book of its own, of some KB, where the format has one. */
uint64_t bt_gpu_weight_bytes(const struct bt_tensor *t, bool exact);

/* The bytes that a part of a matrix may take on a device. */
uint64_t bt_gpu_most_part(const struct bt_gpu_caps *caps);
/* A matrix in parts of at most so many bytes, to which no memory belongs yet: *out (bt_mem_free). It fails, and says why, where
 * parts would have to be smaller than they may be. */
enum baton_status bt_gpu_cut(const struct bt_tensor *t, bool exact, uint64_t most, struct bt_gpu_matrix **out,
                             struct baton_error *err);
/* The bytes that a tensor would take, 0 if it is there already, and its parts (n_parts may be NULL). exact: as floats. */
uint64_t bt_gpu_weights_missing(const struct bt_gpu_device *dev, const struct bt_tensor *t, bool exact,
                                uint32_t *n_parts);
/* The tensor in device memory, uploaded where it is not there; to be put back. It stays when nobody uses it, until memory is
 * short (bt_gpu_weights_trim) or the device is closed. Threads and progress are dev->upload's. The device's lock is held. */
enum baton_status bt_gpu_weights_get(struct bt_gpu_device *dev, const struct bt_tensor *t, bool exact,
                                     const struct bt_gpu_matrix **out, struct baton_error *err);
/* The same for what is no matrix of a product: floats, in one part. */
enum baton_status bt_gpu_weights_whole(struct bt_gpu_device *dev, const struct bt_tensor *t,
                                       const struct bt_gpu_matrix **out, struct baton_error *err);
void bt_gpu_weights_put(const struct bt_gpu_matrix *m);
/* Free what nobody uses; true: there was something. */
bool bt_gpu_weights_trim(struct bt_gpu_device *dev);
void bt_gpu_weights_free(struct bt_gpu_device *dev);
/* The driver's alloc, which makes room by trimming where it has to. */
enum baton_status bt_gpu_take(struct bt_gpu_device *dev, enum bt_mem_cat cat, enum bt_gpu_place place, size_t size,
                              struct bt_gpu_mem *out, struct baton_error *err);

#endif
