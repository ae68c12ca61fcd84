/* lower.h: from operations of the plan to kernel starts: what the files lower*.c share. */
#ifndef BT_BACKEND_GPU_LOWER_H
#define BT_BACKEND_GPU_LOWER_H

#include "backend/gpu/exec.h"

#define BT_GPU_BUSY 128u /* workgroups that keep a large card busy */

/* Bytes that a command reads or writes; commands that touch nothing of each other run side by side. */
struct bt_gpu_range {
	uint64_t address, size;
	bool write;
};

/* A command, what it touches, and its level: one more than that of the last command that it has to wait for. */
struct bt_gpu_emitted {
	struct bt_gpu_cmd cmd;
	uint32_t first, n;       /* ranges */
	uint32_t level, highest; /* of this one; of all up to this one */
	uint32_t product;        /* as in struct bt_gpu_lowering */
};

struct bt_gpu_lowering {
	const struct bt_exec *e;
	struct bt_gpu_shape shape;
	const struct bt_op *op;
	const struct bt_gpu_node *node;
	struct bt_gpu_emitted *emitted;
	uint32_t n, cap;
	struct bt_gpu_range *range; /* what the commands touch */
	uint32_t n_ranges, cap_ranges;
	uint32_t rounded[BT_GPU_ROUNDED]; /* the values whose rounded forms stand in e->xq, or BT_NO_VALUE */
	uint32_t turn;                    /* the one written last */
	uint32_t halved;                  /* the value that stands in e->halves, or BT_NO_VALUE */
	uint32_t grouped;                 /* the choice of experts whose lists stand in e->groups, or BT_NO_VALUE */
	uint32_t product;                 /* of the product or attention whose parts are being emitted; 0: none */
	bool fresh;                       /* the operation under way has written the rounded form of its own result */
	struct baton_error *err;
	enum baton_status status; /* sticky */
};

/* One function per kind of operation; NULL: the GPU has no kernel for it yet. */
typedef void (*bt_gpu_lower_fn)(struct bt_gpu_lowering *l);

/* Append a command, the start of a kernel, that touches those ranges. All that it reads or writes must be said but weights and the step block, which no
 * command writes: commands change places (bt_gpu_schedule). */
void bt_gpu_emit(struct bt_gpu_lowering *l, struct bt_gpu_cmd cmd, const struct bt_gpu_range *touched, uint32_t n);

/* Bytes from src to dst by a kernel. */
void bt_gpu_emit_copy(struct bt_gpu_lowering *l, uint64_t dst, uint64_t src, uint64_t bytes,
                      const struct bt_gpu_range *touched);

/* Address, rows and width of a value in this step. */
uint64_t bt_gpu_value(const struct bt_gpu_lowering *l, uint32_t v);
uint32_t bt_gpu_rows(const struct bt_gpu_lowering *l, uint32_t v);
uint32_t bt_gpu_width(const struct bt_gpu_lowering *l, uint32_t v);
/* The whole of a value as a range. */
struct bt_gpu_range bt_gpu_reads(const struct bt_gpu_lowering *l, uint32_t v);
struct bt_gpu_range bt_gpu_writes(const struct bt_gpu_lowering *l, uint32_t v);

/* Who reads what the operation under way writes to value v, up to the next one that writes it: somebody its floats,
 * somebody its rounded form? */
void bt_gpu_readers(const struct bt_gpu_lowering *l, uint32_t v, bool *floats, bool *rounded);
/* Where a kernel that can write both is to put the result v of the operation under way, by who reads it: *y and *xq, 0 where
 * nobody does; touched[2] receives the ranges, their number is returned. can_round: blocks of 32 are whole. */
uint32_t bt_gpu_results(struct bt_gpu_lowering *l, uint32_t v, bool can_round, uint64_t *y, uint64_t *xq,
                        struct bt_gpu_range *touched);

/* lower_matmul.c */
const char *bt_gpu_check_product(const struct bt_op *op, bool exact, uint64_t most);
void bt_gpu_lower_matmul(struct bt_gpu_lowering *l);
void bt_gpu_lower_experts(struct bt_gpu_lowering *l);
/* Where value v stands rounded to 8 bits, after rounding it if need be. */
uint64_t bt_gpu_rounded(struct bt_gpu_lowering *l, uint32_t v);
/* lower_schedule.c: the commands, sorted by level, with a barrier between levels: *cmds (bt_mem_free) and *n. */
enum baton_status bt_gpu_schedule(struct bt_gpu_lowering *l, struct bt_gpu_cmd **cmds, uint32_t *n);
/* Take the next buffer for v's rounded form, which the caller writes itself. */
struct bt_gpu_range bt_gpu_take_rounded(struct bt_gpu_lowering *l, uint32_t v);
bool bt_gpu_reads_rounded(const struct bt_gpu_node *node, const struct bt_op *op);
/* Does a team norm a group of n values, or a workgroup? The former is less work, the latter sooner done. */
static inline bool bt_gpu_norm_by_team(uint32_t n, uint32_t n_groups)
{
	return n <= 512 && n_groups > 4 * BT_GPU_BUSY;
}
/* Floats from the weights of one group of a norm to those of the next; 0: all have the same. */
uint32_t bt_gpu_weight_stride(const struct bt_op *norm);
/* lower_recurrent.c */
void bt_gpu_lower_split(struct bt_gpu_lowering *l);
void bt_gpu_lower_gate(struct bt_gpu_lowering *l);
/* A norm and a gate of the same value, one behind the other, as one command; false: that is not what comes next. l->op is the
 * second of them afterwards. */
bool bt_gpu_lower_gated_norm(struct bt_gpu_lowering *l);
void bt_gpu_lower_conv(struct bt_gpu_lowering *l);
void bt_gpu_lower_recurrence(struct bt_gpu_lowering *l);
const char *bt_gpu_check_recurrent(const struct bt_op *op);
/* One product: matrix i of the operation into y; or, of a matrix in parts, with one of them. */
struct bt_gpu_product {
	uint32_t i, x; /* matrix, input value */
	uint64_t y;
	struct bt_gpu_range dst;
	uint32_t n_tokens, n_used, flags;
	uint32_t choice; /* of experts: a value, or BT_NO_VALUE */
	/* The part: */
	const struct bt_gpu_part *part;
	uint64_t bias;
	uint32_t n_rows, where; /* its rows, of experts those of each; what kernels/params.h calls `part` */
};
/* Part k of it. */
struct bt_gpu_product bt_gpu_product_part(const struct bt_gpu_lowering *l, const struct bt_gpu_product *whole,
                                          uint32_t k);
static inline struct bt_gpu_mat bt_gpu_planes(const struct bt_gpu_part *part)
{
	return (struct bt_gpu_mat){part->plane[BT_GPU_PLANE_Q], part->plane[BT_GPU_PLANE_HIGH],
	                           part->plane[BT_GPU_PLANE_SCALE], part->plane[BT_GPU_PLANE_SUPER]};
}
/* The bytes that a value takes rounded to 8 bits: 48 for every 32 (kernels/round.k). */
static inline uint64_t bt_gpu_rounded_bytes(const struct bt_gpu_lowering *l, uint32_t v)
{
	return (uint64_t)bt_gpu_rows(l, v) * (bt_gpu_width(l, v) / 32) * 48;
}
/* lower_tiles.c: do tiles take a product: of so many tokens, or for the tokens of each expert? */
bool bt_gpu_is_tiled(const struct bt_gpu_lowering *l, uint32_t n_tokens, uint32_t n_used, uint32_t choice);
void bt_gpu_emit_tiles(struct bt_gpu_lowering *l, const struct bt_gpu_product *f);
/* Activations as halves are below 2 to the power of that, for matrix cores and for tile_packed.k. */
#define BT_GPU_MATRIX_TOP 14u
#define BT_GPU_PACKED_TOP 8u
/* p->w_down and p->w_up, which bring weights to where tile_packed.k wants them; false: not all are finite, or the largest is so large
 * that sums might not find back within floats. */
bool bt_gpu_scale_packed(const struct bt_gpu_matrix *m, struct bt_gpu_tile_packed *p);
/* lower_attn.c */
void bt_gpu_lower_rope(struct bt_gpu_lowering *l);
void bt_gpu_lower_kv_store(struct bt_gpu_lowering *l);
/* Rotary positions together with the store of the keys that follows, which is l->op afterwards; false: none follows. */
bool bt_gpu_lower_rope_store(struct bt_gpu_lowering *l);
void bt_gpu_lower_attention(struct bt_gpu_lowering *l);
const char *bt_gpu_check_attention(const struct bt_plan *plan, const struct bt_op *op);
const char *bt_gpu_check_cache(const struct bt_compile *c);

#endif
