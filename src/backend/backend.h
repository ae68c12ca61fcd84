/* backend.h: the device table. A back end is one const struct bt_backend; backends.c lists them.
 *
 * This is all that the engine knows of a device; which operations and types a device computes with which kernel is its
 * own second table. null/ is the template to copy: it plans and counts everything and computes nothing.
 */
#ifndef BT_BACKEND_BACKEND_H
#define BT_BACKEND_BACKEND_H

#include "plan/plan.h"

/* Tokens in a page of the KV cache. */
#define BT_KV_PAGE 64u

struct bt_device_info {
	char name[32];                      /* "CPU", "Vulkan0": what -dev takes */
	char description[160];              /* "AMD EPYC (avx512vnni)" */
	uint64_t memory_total, memory_free; /* bytes; 0: unknown */
	uint64_t max_alloc;                 /* bytes of one allocation; 0: no limit */
	bool hidden;                        /* only when asked for by name */
	bool software;                      /* a processor that plays a GPU */
};

struct bt_device_params {
	unsigned n_threads;    /* CPU work: 0 = the machine's cores */
	bool by_turns;         /* CPU: another device computes between two parts of a step */
	const char *cpu_level; /* highest CPU level to use ("c", "avx2", ...), NULL: all that the machine has */
	bool plain_kernels;    /* GPU: use none of the features that a device may lack */
	double timeout; /* seconds after which a device that does not answer counts as lost; 0: it has all the time it needs */
	const char *cache_dir; /* folder for compiled kernels, made when needed; NULL: they are not kept */
};

/* Told how long work goes on; false: stop it (BATON_ERR_CANCELLED). */
struct bt_progress {
	bool (*fn)(void *user, enum baton_stage stage, uint64_t done, uint64_t total);
	void *user;
};

/* An opened device; back ends put it first in a struct of their own. */
struct bt_device {
	const struct bt_backend *backend;
};

/* A block of device memory. */
struct bt_dev_mem {
	void *host;   /* where the CPU can reach it as soon as a call has returned, or NULL */
	void *handle; /* the back end's own */
	size_t size;
	enum bt_mem_cat cat;
};

/* Whole KV heads of a layer's cache, in all pages, in a block each for keys and values. */
struct bt_cache_part {
	struct bt_dev_mem k, v; /* [page][n_head][BT_KV_PAGE][d] */
	uint32_t head0, n_head;
};

/* A layer's keys and values: one part, or as many as a device needs that gives little memory at once (bt_device_info.max_alloc;
 * engine/cache.h). */
struct bt_cache {
	struct bt_cache_part *part;
	uint32_t n_parts;
	size_t share_k, share_v; /* bytes of a head's share of a page */
};

/* One sequence's share of a step: rows row0 .. row0 + n - 1, at positions pos0 .. pos0 + n - 1. */
struct bt_step_seq {
	uint32_t row0, n, pos0;
	const uint32_t *pages; /* page of positions 64 i .. 64 i + 63, up to the last position of this step */
	/* Recurrent state: the slot that holds it before row0 (BT_NO_SLOT: the beginning, all zeros) and the one that
	 * receives it behind the last row. They may be the same; a slot that is only read stays as it is. */
	uint32_t state_in, state_out;
};
#define BT_NO_SLOT UINT32_MAX

/* The most parts of a step that one call begins. */
#define BT_MOST_PARTS 4u

/* The batch table of one step. */
struct bt_step {
	uint32_t n_tokens, n_seqs, n_logits;
	const int32_t *token;          /* [n_tokens] */
	const int32_t *pos;            /* [n_tokens] */
	const struct bt_step_seq *seq; /* [n_seqs], covering all rows in order */
	const uint32_t *logit_row;     /* [n_logits] ascending rows that want logits */
	float *logits;                 /* [n_logits][n_vocab], host memory */
	uint32_t part;                 /* which part of the plan to run (bt_plan_part) */
};

/* What an executable is made from. Everything pointed to must outlive it. */
struct bt_compile {
	const struct bt_plan *plan;
	uint32_t n_tokens, n_logits;        /* most rows in a step */
	bool exact;                         /* f32 activations throughout */
	bool measure;                       /* only for its sizes: weights stay away, and it can't run */
	const struct bt_progress *progress; /* (optional) valid during the call */
	unsigned n_threads;                 /* that may help; 0: the machine's cores */
	const struct bt_type *type_k, *type_v;
	const struct bt_cache *cache;   /* [plan->n_caches] */
	const struct bt_dev_mem *state; /* [plan->n_states] slots [slot][floats] */
};

struct bt_exec; /* a plan made ready on a device, with its scratch memory */

struct bt_backend {
	const char *name; /* "CPU", "null" */
	bool shared; /* an opened device may be used by several sessions, from several threads, and keeps weights for them */
	bool host; /* device 0 is the one that the program runs on: it takes what no other device does */

	/* All calls are mandatory unless marked (optional). */
	uint32_t (*count)(void);
	enum baton_status (*describe)(uint32_t index, struct bt_device_info *out, struct baton_error *err);
	enum baton_status (*open)(uint32_t index, const struct bt_device_params *params, struct bt_device **out,
	                          struct baton_error *err);
	void (*close)(struct bt_device *dev);
	/* (optional) What the hardware and its driver can do, in words: "subgroups of 8 to 32; packed dot product; ...". */
	void (*features)(uint32_t index, char *text, size_t size);
	/* (optional) Does device `index` compute this operation? What it does not is placed on the host. Absent: everything. */
	bool (*supports)(uint32_t index, const struct bt_plan *plan, const struct bt_op *op);

	/* Zero-filled memory; *out is {0} after a failure. */
	enum baton_status (*alloc)(struct bt_device *dev, enum bt_mem_cat cat, size_t size, struct bt_dev_mem *out,
	                           struct baton_error *err);
	void (*free)(struct bt_device *dev, struct bt_dev_mem *mem);
	enum baton_status (*upload)(struct bt_device *dev, struct bt_dev_mem *dst, size_t offset, const void *src,
	                            size_t n, struct baton_error *err);
	enum baton_status (*download)(struct bt_device *dev, void *dst, const struct bt_dev_mem *src, size_t offset,
	                              size_t n, struct baton_error *err);
	/* Copy within the device. */
	enum baton_status (*copy)(struct bt_device *dev, struct bt_dev_mem *dst, size_t dst_offset,
	                          const struct bt_dev_mem *src, size_t src_offset, size_t n, struct baton_error *err);

	enum baton_status (*compile)(struct bt_device *dev, const struct bt_compile *c, struct bt_exec **out,
	                             struct baton_error *err);
	/* Compute one part of a step; the parts of a step come in order, beginning with 0, with the same batch table. The part
	 * with BT_OP_LOGITS has them in step->logits on return. */
	enum baton_status (*run)(struct bt_exec *exec, const struct bt_step *step, struct baton_error *err);
	/* (optional, both or none) The same without waiting: n parts (1 to BT_MOST_PARTS) from step->part on are begun, in order, and
	 * behind what was begun before. `wait` returns when step->part is over, and with it all before. A step's parts must be
	 * waited for before the next step, or a release, and also after a failure. */
	enum baton_status (*start)(struct bt_exec *exec, const struct bt_step *step, uint32_t n,
	                           struct baton_error *err);
	enum baton_status (*wait)(struct bt_exec *exec, const struct bt_step *step, struct baton_error *err);
	/* The rows of the value of plan->keep[keep], in memory of the host's. One that arrives is written there before its part
	 * begins, and when the last but one is over. One that leaves is read when its part is over, before the next but one
	 * begins, and where there is no `start` the next may not have written to it. */
	float *(*window)(struct bt_exec *exec, uint32_t keep);
	void (*release)(struct bt_exec *exec);
	/* (optional) Bytes that a weight takes on such a device; absent: as many as in the file. exact as in struct bt_compile. */
	uint64_t (*weight_bytes)(const struct bt_tensor *t, bool exact);
	/* (optional) Bytes of weights that an opened device keeps, whether an executable uses them or not. */
	size_t (*held)(struct bt_device *dev);
	/* Bytes of scratch memory that an executable holds. */
	size_t (*scratch)(const struct bt_exec *exec);
};

/* All back ends of this build, ended by NULL (backends.c). The host's devices, then others, best first. */
extern const struct bt_backend *const bt_backend_table[];

/* The device of that name ("CPU", "null"; NULL: the default) as back end and index; unknown names list the known ones. */
enum baton_status bt_backend_find(const char *device, const struct bt_backend **out, uint32_t *index,
                                  struct baton_error *err);

#endif
