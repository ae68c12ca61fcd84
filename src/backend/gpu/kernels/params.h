/* params.h: the parameters of every kernel, one struct each, read by the kernels of all targets and by the host.
 *
 * At most 128 bytes each, which is what Vulkan promises of push constants. Pointers are device addresses (PTR: a reference
 * in kernels, a number in C) and come first, so that all targets agree on the layout; everything else is 32 bits wide.
 * Buffers are described where they are made: rounded activations in quantize.k, matrices in weights.k, the step block
 * in ../step.h.
 */
#ifndef BT_BACKEND_GPU_KERNELS_PARAMS_H
#define BT_BACKEND_GPU_KERNELS_PARAMS_H

#ifndef PTR
#include <stdint.h>
#define PTR(ref)     uint64_t
#define STRUCT(name) struct name
#define uint         uint32_t
#define BT_GPU_HOST_PARAMS
#endif

/* y[row][group] = x / sqrt(mean(x^2) + eps) * w, and the same rounded to 8 bits, each where its pointer is set. */
struct bt_gpu_norm {
	PTR(in_f32) x;             /* [n_rows][n_groups][n] */
	PTR(in_f32) w;             /* [n], with per_group [n_groups][n]; or null */
	PTR(io_f32) y;             /* like x, may be x; or null */
	PTR(io_u32) xq;            /* [n_rows * n_groups][n / 32] blocks, or null */
	uint n, n_groups, n_total; /* n_total: n_rows * n_groups */
	uint per_group;
	float eps;
};

struct bt_gpu_quantize {
	PTR(in_f32) x;  /* [n_blocks][32] */
	PTR(io_u32) xq; /* [n_blocks] */
	uint n_blocks;
};

/* One matrix of integers; planes as weights.k describes them. */
struct bt_gpu_mat {
	PTR(in_u32) q;     /* quants */
	PTR(in_u32) high;  /* their high bits; null: none */
	PTR(in_u32) scale; /* a scale per group */
	PTR(in_u32) super; /* a scale of scales per 256 values; null: none */
};

#define BT_GPU_STORE_ADD   1u /* y += instead of y = */
#define BT_GPU_STORE_RELU2 2u /* y = max(v, 0)^2 */
#define BT_GPU_X_PER_SLOT  4u /* experts: x has a row for every (token, slot), not for every token */

/* y[t][r] = sum over k of mat[r][k] * x[t][k] (+ bias[r]), then what flags say. */
struct bt_gpu_matvec {
	STRUCT(bt_gpu_mat) w;
	PTR(in_uvec4) xq;   /* [n_tokens][n_blocks] rounded activations */
	PTR(io_f32) y;      /* [n_tokens][n_rows] */
	PTR(in_f32) bias;   /* [n_rows] or null */
	PTR(in_u32) choice; /* experts: [n_tokens][2][n_used] from the router */
	uint n_rows, n_blocks, n_tokens, n_used, flags;
};

/* y = silu(gate x) * (up x) */
struct bt_gpu_gate {
	STRUCT(bt_gpu_mat) gate;
	STRUCT(bt_gpu_mat) up;
	PTR(in_uvec4) xq;
	PTR(io_f32) y;
	PTR(in_f32) gate_bias, up_bias; /* or null; experts: gate_bias is the router's choice, see bt_gpu_matvec */
	uint n_rows, n_blocks, n_tokens, n_used;
};

/* The same for matrices of floats; rows are padded with zeros to whole blocks of 32. */
struct bt_gpu_matvec_float {
	PTR(in_uvec4) w; /* [n_rows][n_blocks][32] of F32, F16 or BF16 */
	PTR(in_f32) x;   /* [n_tokens][n_k] */
	PTR(io_f32) y;
	PTR(in_f32) bias;
	PTR(in_u32) choice;
	uint n_rows, n_k, n_blocks, n_tokens, n_used, flags;
};

/* y = silu(gate) * up, element by element; y may be gate. */
struct bt_gpu_gate_rows {
	PTR(in_f32) gate;
	PTR(in_f32) up;
	PTR(io_f32) y;
	uint n;
};

struct bt_gpu_rope {
	PTR(io_f32) x;   /* [n_rows][n_head][d], rotated in place */
	PTR(in_f32) cos; /* [n_rows][n_pairs] */
	PTR(in_f32) sin;
	uint n_rows, n_head, d, n_pairs, neox;
};

/* Rows of one cache, keys or values, into its pages (see attention.k for their layout). */
struct bt_gpu_kv_store {
	PTR(in_f32) x;     /* [n_rows][n_head][d] */
	PTR(io_u32) cache; /* [page][n_head] */
	PTR(in_u32) pos;   /* [n_rows] */
	PTR(in_u32) page0; /* [n_rows] index into pages of the row's sequence */
	PTR(in_u32) pages;
	uint n_rows, n_head, d;
};

struct bt_gpu_attention {
	PTR(in_f32) q; /* [n_rows][n_head][d_k] */
	PTR(in_u32) k; /* pages */
	PTR(in_u32) v;
	PTR(io_f32) y;     /* [n_rows][n_head][d_v] */
	PTR(io_f32) part;  /* [n_rows][n_head][n_splits][d_v + 2]: max, sum, sums of values; null: y is written */
	PTR(in_u32) pos;   /* [n_rows] */
	PTR(in_u32) page0; /* [n_rows] */
	PTR(in_u32) pages;
	uint n_rows, n_head, n_head_kv, d_k, d_v, n_splits, window;
	float scale, softcap;
};

struct bt_gpu_attention_merge {
	PTR(in_f32) part;
	PTR(io_f32) y;
	PTR(in_u32) pos;
	uint n_rows, n_head, d_v, n_splits, window;
};

struct bt_gpu_router {
	PTR(in_f32) x;    /* [n_rows][n_expert] */
	PTR(in_f32) bias; /* [n_expert] or null */
	PTR(io_u32) y;    /* [n_rows][2][n_used]: numbers of the experts, then their weights as the bits of floats */
	uint n_rows, n_expert, n_used, sigmoid, normalize;
	float scale;
};

struct bt_gpu_expert_sum {
	PTR(in_f32) x; /* [n_rows][n_used][n] */
	PTR(in_u32) choice;
	PTR(io_f32) y;               /* [n_rows][n], added to */
	uint n_rows, n_used, n, set; /* set: y = instead of y += */
};

struct bt_gpu_gather {
	PTR(in_f32) x;
	PTR(in_u32) row; /* [n_rows] */
	PTR(io_f32) y;   /* [n_rows][n] */
	uint n_rows, n;
};

#ifdef BT_GPU_HOST_PARAMS
#undef BT_GPU_HOST_PARAMS
#undef PTR
#undef STRUCT
#undef uint
#endif

#endif
