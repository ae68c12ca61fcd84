/* exec.h: a plan made ready on a GPU. Private to the GPU back end.
 *
 * The plan is *lowered* to a list of kernel starts (lower.c) for one shape of step: its rows, its rows of logits, its
 * splits of attention. The list is recorded once and run again for every step of the same shape; whatever else changes
 * from step to step (tokens, positions, pages, angles) stands in the step block, which kernels read.
 */
#ifndef BT_BACKEND_GPU_EXEC_H
#define BT_BACKEND_GPU_EXEC_H

#include "backend/gpu/device.h"

/* Attention in splits: rows times splits of a step, at most, when generating and in prompts; and keys in the shortest split, a
 * page of the cache. */
#define BT_GPU_SPLIT_ROWS      512u
#define BT_GPU_TILE_SPLIT_ROWS 2048u
#define BT_GPU_FEW_SPLITS      128u /* of a token, a quarter more where each would be a page longer otherwise */
#define BT_GPU_SPLIT_KEYS      BT_KV_PAGE
/* Buffers for rounded activations, by turns: as many values can stand there at once. */
#define BT_GPU_ROUNDED 4u
/* Products of halves, on matrix cores or packed, are of at least so many tokens. */
#define BT_GPU_HALVES_FROM 33u

/* Matrices and small weights of an operation. */
struct bt_gpu_node {
	const struct bt_gpu_matrix *mat[BT_MAX_MATS];
	uint64_t small[BT_MAX_MATS]; /* addresses of biases, norm weights; 0: none */
	uint32_t rope;               /* index into exec->rope */
};

/* The shape that a recording is for. */
struct bt_gpu_shape {
	uint32_t part; /* of the plan */
	uint32_t n_tokens, n_logits;
	uint32_t n_seqs;     /* where the plan carries states; else 0 */
	uint32_t n_splits;   /* attention in so many splits, workgroups of their own; 0: one workgroup walks all */
	uint32_t split_keys; /* keys in a split */
	uint32_t tile;       /* 1: a prompt, many tokens of a sequence at once */
};

struct bt_gpu_recorded {
	struct bt_gpu_shape shape;
	struct bt_gpu_recording *rec;
	uint64_t used; /* when it was run last */
};
#define BT_GPU_RECORDINGS 8u /* for each part of the plan */

struct bt_exec {
	struct bt_compile c;
	struct bt_gpu_device *dev;
	size_t *offset;                    /* [n_values] into values */
	struct bt_gpu_node *node;          /* [n_ops] */
	const struct bt_gpu_matrix **held; /* [n_held] weights in use, as often as they were asked for */
	uint32_t n_held;
	const struct bt_rope **rope; /* [n_ropes] distinct settings */
	uint32_t n_ropes;

	struct bt_gpu_mem values;             /* the plan's values */
	struct bt_gpu_mem xq[BT_GPU_ROUNDED]; /* rounded activations */
	struct bt_gpu_mem halves;        /* activations as halves: a scale per row, then the halves (lower_tiles.c) */
	struct bt_gpu_mem part;          /* partial results of attention */
	struct bt_gpu_mem groups;        /* who chose which expert (lower_tiles.c) */
	uint64_t part_floats;            /* that one row and split of the widest layer takes */
	uint32_t n_head;                 /* query heads of the layer that has most */
	struct bt_gpu_mem logits;        /* mapped: the product writes them where the CPU reads them */
	struct bt_gpu_mem inbox, outbox; /* values from and for other devices, of two parts at a time: mapped */
	size_t *window;                  /* [plan->n_keeps] where each stands in its box */
	uint64_t *number;                /* [n_parts] of the recording with which each part was started last */

	/* The step block, written by the CPU: offsets into step.host. */
	struct bt_gpu_mem step;
	size_t at_pos, at_page0, at_logit_row, at_seq, at_chunk, at_rope, at_embed;
	struct bt_gpu_mem pages; /* page tables of all sequences of a step, grows */

	struct bt_gpu_recorded *recorded; /* [n_recorded] BT_GPU_RECORDINGS for each part */
	uint32_t n_recorded;
	uint64_t runs;
	size_t allocated;
};

/* Bytes of cos (and of sin) of rope setting i in the step block. */
static inline size_t bt_gpu_rope_bytes(const struct bt_exec *e, uint32_t i)
{
	return (size_t)e->c.n_tokens * e->rope[i]->n_pairs * sizeof(float);
}

/* Chunks of a convolution that n_seqs sequences of together n_tokens rows can come to at most. */
static inline uint32_t bt_gpu_chunks(uint32_t n_tokens, uint32_t n_seqs)
{
	return n_seqs ? (n_tokens - n_seqs) / BT_GPU_CONV_CHUNK + n_seqs : 0;
}

/* Is what keep i speaks of read or written at that part's border? */
static inline bool bt_gpu_crosses(const struct bt_exec *e, uint32_t i, uint32_t part, bool leaves)
{
	const struct bt_keep *k = &e->c.plan->keep[i];
	return k->leaves == leaves && k->part == part;
}
/* How a step of shape->n_tokens tokens of n_seqs sequences attends, the last position being `last`: tile, n_splits and
 * split_keys. */
void bt_gpu_shape_attention(const struct bt_exec *e, uint32_t n_seqs, uint32_t last, struct bt_gpu_shape *shape);
/* Commands for a step of that shape: *cmds (bt_mem_free) and *n. */
enum baton_status bt_gpu_lower(const struct bt_exec *e, struct bt_gpu_shape shape, struct bt_gpu_cmd **cmds,
                               uint32_t *n, struct baton_error *err);
/* Are matrices of that format multiplied as halves when tokens are many (BT_GPU_HALVES_FROM)? */
bool bt_gpu_multiplies_halves(const struct bt_gpu_caps *caps, enum bt_gpu_format f);
/* Bytes of exec->halves for that many rows of that width, and where the halves begin. */
static inline size_t bt_gpu_halves_at(uint32_t rows)
{
	return ((size_t)rows * 4 + 255) & ~(size_t)255;
}
static inline size_t bt_gpu_halves_bytes(uint32_t rows, uint32_t width)
{
	return bt_gpu_halves_at(rows) + (size_t)rows * width * 2;
}
/* Bytes of exec->groups (lower_tiles.c); 0: the plan has no experts. */
size_t bt_gpu_groups_bytes(const struct bt_plan *plan, uint32_t n_tokens);
/* Why an operation cannot be computed, or NULL. exact as in struct bt_compile; parts of matrices take `most` bytes at most. */
const char *bt_gpu_check_op(const struct bt_plan *plan, const struct bt_op *op, bool exact, uint64_t most);
/* Can every operation be computed, with those formats of the cache? Checked before anything is allocated. */
enum baton_status bt_gpu_check(const struct bt_compile *c, uint64_t most, struct baton_error *err);

/* step.c: fill the step block. */
enum baton_status bt_gpu_step_fill(struct bt_exec *e, const struct bt_step *step, struct baton_error *err);
/* step.c: the step block's layout and memory. */
enum baton_status bt_gpu_step_open(struct bt_exec *e, struct baton_error *err);

#endif
