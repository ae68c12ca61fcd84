/* driver.h: what a GPU interface must offer: the table below the device table. Vulkan is a row, HIP and CUDA will be, and
 * the emulator in tests/gpu is one.
 *
 * Everything above it (exec.c, lower*.c, weights.c) is the same for all: kernels by number, addresses of device memory,
 * lists of commands that are recorded once and run many times.
 */
#ifndef BT_BACKEND_GPU_DRIVER_H
#define BT_BACKEND_GPU_DRIVER_H

#include "backend/backend.h"
#include "backend/gpu/kernels/params.h"

enum bt_gpu_kernel {
#define KERNEL_ROW(name, ...) BT_GPU_K_##name,
#include "backend/gpu/kernels/kernels.inc"
#undef KERNEL_ROW
	BT_GPU_KERNELS
};

/* A row of kernels.inc as the host sees it. */
struct bt_gpu_kernel_info {
	const char *name;
	uint32_t threads, params; /* threads in a workgroup; bytes of parameters */
};
extern const struct bt_gpu_kernel_info bt_gpu_kernel_table[BT_GPU_KERNELS];

/* Where memory lives. */
enum bt_gpu_place {
	BT_GPU_LOCAL, /* on the card */
	BT_GPU_WRITE, /* written by the CPU, read by the card: mapped, write-combined perhaps */
	BT_GPU_READ,  /* written by the card, read by the CPU: mapped, cached */
};

struct bt_gpu_mem {
	uint64_t address; /* on the device; 0: none */
	void *host;       /* where the CPU reaches it, or NULL (LOCAL) */
	size_t size;
	void *handle; /* the driver's own */
	enum bt_mem_cat cat;
};

#define BT_GPU_MAX_PARAMS 128u
#define BT_GPU_THREADS    256u /* of a workgroup that every device must take; few kernels have more (caps.threads) */

/* Start a kernel, or copy memory (kernel BT_GPU_KERNELS: params hold struct bt_gpu_copy). */
struct bt_gpu_cmd {
	uint16_t kernel;
	bool barrier; /* everything before must be finished and visible */
	uint32_t grid[3];
	_Alignas(8) unsigned char params[BT_GPU_MAX_PARAMS];
};
#define BT_GPU_COPY BT_GPU_KERNELS
struct bt_gpu_copy {
	const struct bt_gpu_mem *dst, *src;
	uint64_t dst_offset, src_offset, size;
};

/* What a device can do, as far as the code above the driver needs to know. */
struct bt_gpu_caps {
	uint32_t max_grid[3];
	uint64_t max_alloc; /* bytes of one allocation */
	uint32_t shared;    /* bytes of shared memory of a workgroup */
	uint32_t threads;   /* of a workgroup at most */
	uint32_t subgroup;  /* most threads that run in step */
	uint32_t staging;   /* bytes of a staging buffer; 0: the usual size */
	uint64_t part;      /* bytes of a part of a matrix at most (device.h); 0: the usual limit */
	bool matrix_cores;  /* kernels with MATRIX=1 run */
	bool packed_halves; /* those with PACKED=1 */
};

struct bt_gpu_recording; /* commands made ready; they may run any number of times, but not while they are under way */
/* The most that are started by one call. */
#define BT_GPU_TOGETHER 4u

/* An opened device; drivers put it first in a struct of their own. */
struct bt_gpu {
	const struct bt_gpu_driver *driver;
	struct bt_gpu_caps caps;
	uint64_t started; /* how many recordings were started: the number of the last, kept by the driver */
};

struct bt_gpu_driver {
	/* All calls are mandatory but keep. After BATON_ERR_DEVICE the device is lost: every further call fails likewise, but free,
	 * discard and close still work. */
	enum baton_status (*open)(uint32_t index, const struct bt_device_params *params, struct bt_gpu **out,
	                          struct baton_error *err);
	void (*close)(struct bt_gpu *gpu);
	/* Memory of zeros; *out is {0} after a failure. */
	enum baton_status (*alloc)(struct bt_gpu *gpu, enum bt_mem_cat cat, enum bt_gpu_place place, size_t size,
	                           struct bt_gpu_mem *out, struct baton_error *err);
	void (*free)(struct bt_gpu *gpu, struct bt_gpu_mem *mem);
	/* Get kernels ready (compile pipelines); wanted[BT_GPU_KERNELS]. What is ready already stays. */
	enum baton_status (*prepare)(struct bt_gpu *gpu, const bool *wanted, struct baton_error *err);
	/* (optional) What preparing has cost so far is kept for later runs, where there is a place for it. Never fails. */
	void (*keep)(struct bt_gpu *gpu);
	enum baton_status (*record)(struct bt_gpu *gpu, const struct bt_gpu_cmd *cmd, uint32_t n,
	                            struct bt_gpu_recording **out, struct baton_error *err);
	void (*discard)(struct bt_gpu *gpu, struct bt_gpu_recording *rec);
	/* Start n recordings (1 to BT_GPU_TOGETHER). They run in order, each behind all that were started before it and with their
	 * results, and are numbered in that order, the first of the device being 1. On failure none was started. */
	enum baton_status (*start)(struct bt_gpu *gpu, struct bt_gpu_recording *const *rec, uint32_t n,
	                           struct baton_error *err);
	/* Wait until the recording of that number, and all before it, are over; their results are visible to the CPU. After any
	 * failure the device is lost: nobody knows what it still uses. */
	enum baton_status (*wait)(struct bt_gpu *gpu, uint64_t number, struct baton_error *err);
};

/* Record, run, wait, discard: for uploads and tests. */
enum baton_status bt_gpu_run_once(struct bt_gpu *gpu, const struct bt_gpu_cmd *cmd, uint32_t n,
                                  struct baton_error *err);
/* A kernel's command; params of bt_gpu_kernel_table[kernel].params bytes. */
struct bt_gpu_cmd bt_gpu_cmd(enum bt_gpu_kernel kernel, const void *params, uint32_t x, uint32_t y, uint32_t z);
struct bt_gpu_cmd bt_gpu_cmd_copy(const struct bt_gpu_mem *dst, uint64_t dst_offset, const struct bt_gpu_mem *src,
                                  uint64_t src_offset, uint64_t size);

#endif
