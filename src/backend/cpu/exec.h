/* exec.h: a plan made ready to run on the CPU. Private to the CPU back end. */
#ifndef BT_BACKEND_CPU_EXEC_H
#define BT_BACKEND_CPU_EXEC_H

#include "backend/cpu/kernels.h"
#include "base/ahead.h"
#include "base/limits.h"

struct bt_cpu_device {
	struct bt_device base;
	struct bt_pool *pool;
	enum bt_cpu_level level;
};

/* Small weights of an operation as aligned floats: norm weights, biases; [0] of matrix 0, ... */
struct bt_cpu_node {
	const struct bt_op *op;
	float *f32[BT_MAX_MATS];
	struct bt_cpu_rope *rope; /* the table of this operation's setting */
};

/* cos and sin of every row of the step, for one rope setting. */
struct bt_cpu_rope {
	const struct bt_rope *rope;
	float *cos, *sin; /* [n_tokens][n_pairs] */
};

struct bt_exec {
	struct bt_compile c;
	struct bt_cpu_device *dev;
	struct bt_cpu_kernels kernels;
	size_t *offset; /* [n_values] into scratch */
	char *scratch;  /* the plan's values */
	size_t scratch_size;
	struct bt_cpu_node *node; /* [n_ops] */
	float *small;             /* what nodes' f32 point to */
	struct bt_cpu_rope *rope;
	uint32_t n_ropes;
	struct bt_cpu_acts acts;  /* of the matmul under way */
	size_t acts_rows, acts_k; /* what its arrays hold */
	void *packed;             /* acts.packed where it is used */
	float *residual;          /* [rows][width] of a matmul with BT_EPI_ADD, before it is added */
	char *thread_scratch;     /* [n_threads] of kernels.scratch bytes */
	uint32_t *expert_row;     /* [n_tokens * used] rows sorted by expert, and the token of each */
	uint32_t *expert_token;
	uint32_t *expert_first; /* [n_experts + 1] first entry of each expert */
	float *parts;           /* of attention whose splits are spread over threads; grows */
	size_t cap_parts;
	float *recurrence;     /* what a recurrent operation prepares for its heads, exec_recurrent.c */
	uint32_t *query_row;   /* [n_tokens] 0, 1, 2, ...: rows of a sequence are adjacent */
	size_t allocated;      /* all bytes above */
	struct bt_ahead ahead; /* whether weights that are next are asked for */
};

/* This back end's entries of the device table (backend.h). */
enum baton_status bt_cpu_compile(struct bt_device *dev, const struct bt_compile *c, struct bt_exec **out,
                                 struct baton_error *err);
enum baton_status bt_cpu_run(struct bt_exec *e, const struct bt_step *step, struct baton_error *err);
void bt_cpu_release(struct bt_exec *e);
size_t bt_cpu_scratch(const struct bt_exec *e);
float *bt_cpu_window(struct bt_exec *e, uint32_t keep);

/* One row per kind of operation. */
typedef void (*bt_cpu_op_fn)(struct bt_exec *e, const struct bt_cpu_node *node, const struct bt_step *step);
extern const bt_cpu_op_fn bt_cpu_op_table[BT_OP_KINDS];

/* Matrix products, in exec_matmul.c. */
void bt_cpu_op_matmul(struct bt_exec *e, const struct bt_cpu_node *node, const struct bt_step *step);
void bt_cpu_op_matmul_experts(struct bt_exec *e, const struct bt_cpu_node *node, const struct bt_step *step);
/* Attention and its cache, in exec_attn.c. */
void bt_cpu_op_rope(struct bt_exec *e, const struct bt_cpu_node *node, const struct bt_step *step);
void bt_cpu_op_kv_store(struct bt_exec *e, const struct bt_cpu_node *node, const struct bt_step *step);
void bt_cpu_op_attention(struct bt_exec *e, const struct bt_cpu_node *node, const struct bt_step *step);
/* Room for the parts of a step's attention. */
enum baton_status bt_cpu_attention_room(struct bt_exec *e, const struct bt_step *step, struct baton_error *err);

/* Operations with a recurrent state, in exec_recurrent.c. */
void bt_cpu_op_conv(struct bt_exec *e, const struct bt_cpu_node *node, const struct bt_step *step);
void bt_cpu_op_recurrence(struct bt_exec *e, const struct bt_cpu_node *node, const struct bt_step *step);
/* Floats that an operation needs in e->recurrence. */
size_t bt_cpu_recurrence_floats(const struct bt_op *op, size_t n_tokens);

/* cos and sin for the step's positions. */
void bt_cpu_rope_fill(struct bt_cpu_rope *r, const struct bt_step *step);

/* Value v's rows: [rows][width]. */
static inline float *bt_cpu_value(const struct bt_exec *e, uint32_t v)
{
	return (float *)(e->scratch + e->offset[v]);
}
static inline size_t bt_cpu_rows(const struct bt_exec *e, uint32_t v, const struct bt_step *step)
{
	return bt_plan_rows(e->c.plan, v, step->n_tokens, step->n_logits);
}
static inline uint32_t bt_cpu_width(const struct bt_exec *e, uint32_t v)
{
	return e->c.plan->value[v].width;
}

/* Parallel loops over rows are worth waking threads for from about this many floats on. */
#define BT_CPU_PARALLEL_MIN 16384u

/* bt_pool_run, or a plain loop when the work (n_items of `floats` values each) is too small to share. */
void bt_cpu_parallel(struct bt_exec *e, bt_task_fn fn, void *arg, size_t n_items, size_t floats);

#endif
