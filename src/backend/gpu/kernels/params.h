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
	PTR(in_f32) w;             /* [n], or [n_groups] rows w_stride apart; or null */
	PTR(io_f32) y;             /* like x, may be x; or null */
	PTR(io_u32) xq;            /* [n_rows * n_groups][n / 32] blocks, or null */
	uint n, n_groups, n_total; /* n_total: n_rows * n_groups */
	uint w_stride;             /* floats from one group's weights to the next; 0: all have the same */
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

/* A matrix too large for one allocation stands in parts (../device.h), and each part is a product of its own: of some rows, with
 * y, yq and bias moved to the first of them, or of whole experts, whose kernels leave alone what chose others. The field `part`
 * says of what: of rows, how many the whole matrix has, which is from one token's results to the next; of experts, the number of
 * the first one, and how many there are. */
#define BT_GPU_PART_EXPERTS(first, n) ((first) | (n) << 16)

/* y[t][r] = sum over k of mat[r][k] * x[t][k] (+ bias[r]), then what flags say. */
struct bt_gpu_matvec {
	STRUCT(bt_gpu_mat) w;
	PTR(in_uvec4) xq;   /* [n_tokens][n_blocks] rounded activations */
	PTR(io_f32) y;      /* [n_tokens][n_rows] */
	PTR(in_f32) bias;   /* [n_rows] or null */
	PTR(in_u32) choice; /* experts: [n_tokens][2][n_used] from the router */
	uint n_rows, n_blocks, n_tokens, n_used, flags, part;
	uint split; /* teams that share a row: 1, 2, 4, 8 or 16 */
};

/* The same for many tokens. */
struct bt_gpu_tile {
	STRUCT(bt_gpu_mat) w;
	PTR(in_uvec4) xq;  /* [n_tokens][n_blocks] rounded activations */
	PTR(io_f32) y;     /* [n_tokens][n_rows] */
	PTR(in_f32) bias;  /* [n_rows] or null */
	PTR(in_u32) list;  /* experts: bt_gpu_expert_lists; y is [n_tokens][n_used][n_rows] */
	PTR(in_u32) tiles; /* experts: bt_gpu_expert_tiles */
	uint n_rows, n_blocks, n_tokens, n_used, flags, part;
};

/* The same for matrices of floats, whose rows are padded with zeros to whole blocks of 32. */
struct bt_gpu_tile_float {
	PTR(in_uvec4) w; /* [n_rows][n_blocks][32] of F32, F16 or BF16 */
	PTR(in_f32) x;   /* [n_tokens][n_k] */
	PTR(io_f32) y;
	PTR(in_f32) bias;
	PTR(in_u32) list;
	PTR(in_u32) tiles;
	uint n_rows, n_k, n_blocks, n_tokens, n_used, flags, part;
};

/* The same in packed halves, of BF16. */
struct bt_gpu_tile_packed {
	PTR(in_uvec4) w;   /* [n_rows][n_blocks][32] */
	PTR(in_uvec4) xh;  /* bt_gpu_halve */
	PTR(in_f32) scale; /* [n_tokens] */
	PTR(io_f32) y;
	PTR(in_f32) bias;
	PTR(in_u32) list;
	PTR(in_u32) tiles;
	uint n_rows, n_blocks, n_tokens, n_used, flags, part;
	float w_down, w_up; /* what brings weights to where halves can be summed, a power of two; and the way back */
};

/* Activations as halves, for matrix cores and packed halves: x = half * scale of its token. */
struct bt_gpu_halve {
	PTR(in_u32) x;     /* rounded: [n_tokens][n_blocks] of 12 words; or bits of floats: [n_tokens][n_k] */
	PTR(io_u32) xh;    /* [n_tokens][n_blocks][32] halves */
	PTR(io_f32) scale; /* [n_tokens] a power of two */
	uint n_blocks, n_k;
	uint top; /* halves are below 2^top */
};

/* The product of bt_gpu_tile on matrix cores. */
struct bt_gpu_matrix_tile {
	STRUCT(bt_gpu_mat) w; /* of floats: all in q */
	PTR(in_uvec4) xh;
	PTR(in_f32) scale;
	PTR(io_f32) y;
	PTR(in_f32) bias;
	PTR(in_u32) list;
	PTR(in_u32) tiles;
	uint n_rows, n_blocks, n_tokens, n_used, flags, part;
};

/* Who chose which expert. */
struct bt_gpu_expert_lists {
	PTR(in_u32) choice; /* [n_tokens][2][n_used] from the router */
	PTR(io_u32) list;   /* [n_expert][n_tokens] token * n_used + slot, in this order */
	PTR(io_u32) count;  /* [n_expert] */
	uint n_tokens, n_used;
};

/* The lists cut into tiles of at most `tokens`. */
struct bt_gpu_expert_tiles {
	PTR(in_u32) count;
	PTR(io_u32) tiles; /* [n_tiles] expert, place in its list, tokens; those that are not needed have no tokens */
	uint n_expert, n_tiles, tokens;
};

/* y = silu(gate x) * (up x), and the same rounded to 8 bits, each where its pointer is set. */
struct bt_gpu_gate {
	STRUCT(bt_gpu_mat) gate;
	STRUCT(bt_gpu_mat) up;
	PTR(in_uvec4) xq;
	PTR(io_f32) y;
	PTR(io_u32) yq;                 /* [n_tokens * n_used][n_rows / 32] blocks; n_rows is a multiple of 32 then */
	PTR(in_f32) gate_bias, up_bias; /* or null; experts: gate_bias is the router's choice, see bt_gpu_matvec */
	uint n_rows, n_blocks, n_tokens, n_used, part;
	uint split; /* teams that share a row: 1, 2 or 4 */
};

/* The same for matrices of floats; rows are padded with zeros to whole blocks of 32. */
struct bt_gpu_matvec_float {
	PTR(in_uvec4) w; /* [n_rows][n_blocks][32] of F32, F16 or BF16 */
	PTR(in_f32) x;   /* [n_tokens][n_k] */
	PTR(io_f32) y;
	PTR(in_f32) bias;
	PTR(in_u32) choice;
	uint n_rows, n_k, n_blocks, n_tokens, n_used, flags, part;
	uint split; /* as above */
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

/* A cache too large for one allocation stands in parts (../../backend.h), and each part has commands of its own: n_head_kv is the
 * number of its KV heads, and pointers to queries, keys, values and results are moved to the first of them, or to the first head
 * that asks it. */

/* Keys and values of a layer into its pages (kv.k), with rotary positions for keys and, in place, for queries. */
struct bt_gpu_kv_store {
	PTR(io_f32) q;   /* [n_rows][n_head][d_k], or null: n_head is 0 then */
	PTR(in_f32) k;   /* [n_rows][n_kv_row][d_k] */
	PTR(in_f32) v;   /* [n_rows][n_kv_row][d_v] */
	PTR(in_f32) cos; /* [n_rows][n_pairs] */
	PTR(in_f32) sin;
	PTR(io_u32) k_cache; /* [page][n_head_kv] */
	PTR(io_u32) v_cache;
	PTR(in_u32) pos;   /* [n_rows] */
	PTR(in_u32) page0; /* [n_rows] index into pages of the row's sequence */
	PTR(in_u32) pages;
	uint n_rows, n_head, n_head_kv, d_k, d_v, n_pairs, neox; /* n_pairs 0: no positions */
	uint n_kv_row;                                           /* KV heads of all parts */
};

struct bt_gpu_attention {
	PTR(in_f32) q; /* [n_rows][n_head][d_k] */
	PTR(in_u32) k; /* [page][n_head_kv] */
	PTR(in_u32) v;
	PTR(io_f32) y;  /* [n_rows][n_head][d_v], or null */
	PTR(io_u32) yq; /* the same rounded, or null; d_v is a multiple of 32 then */
	PTR(io_f32)
	part;            /* [n_rows][n_head][n_splits][d_v + 2]: max, sum, sums of values; null: y and yq are written */
	PTR(in_u32) pos; /* [n_rows] */
	PTR(in_u32) page0; /* [n_rows] */
	PTR(in_u32) pages;
	uint n_rows, n_head, n_head_kv, d_k, d_v, n_splits, window;
	uint split_keys; /* keys in a split, a multiple of PAGE; 0: split i has every n_splits-th page from the i-th on */
	float scale, softcap;
	uint group; /* query heads that share a KV head: n_head counts those of all parts */
};

struct bt_gpu_attention_merge {
	PTR(in_f32) part;
	PTR(io_f32) y; /* or null */
	PTR(io_u32) yq;
	PTR(in_u32) pos;
	uint n_rows, n_head, d_v, n_splits, window, split_keys;
};

struct bt_gpu_router {
	PTR(in_f32) x;    /* [n_rows][n_expert] */
	PTR(in_f32) bias; /* [n_expert] or null */
	PTR(io_u32) y;    /* [n_rows][2][n_used]: numbers of the experts, then their weights as the bits of floats */
	uint n_rows, n_expert, n_used, sigmoid, normalize;
	uint n_group, n_group_used; /* only the n_group_used best groups are chosen from; n_group 0: no groups */
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

/* y = x: n words; both 4-byte aligned. */
struct bt_gpu_copy_words {
	PTR(in_u32) x;
	PTR(io_u32) y;
	uint n;
};

/* out[0], out[1]: runs of d values of x by turns. */
struct bt_gpu_split {
	PTR(in_f32) x; /* [n_total * 2] */
	PTR(io_f32) a; /* [n_total] */
	PTR(io_f32) b;
	uint n_total, d;
};

/* y = x * act(g), and the same rounded to 8 bits, each where its pointer is set. */
struct bt_gpu_gate_act {
	PTR(in_f32) x;        /* [n_total], rows of n */
	PTR(in_f32) g;        /* like x; one: [n_total / n] */
	PTR(io_f32) y;        /* like x, may be x; or null */
	PTR(io_u32) xq;       /* [n_total / 32] blocks, or null */
	uint n, n_total, one; /* one: g has one value for a row */
	uint sigmoid;         /* instead of silu */
};

/* y[row][group] = norm(x) * act(g) or norm(x * act(g)), and the same rounded to 8 bits: see bt_gpu_norm, bt_gpu_gate_act. */
struct bt_gpu_gated_norm {
	PTR(in_f32) x;
	PTR(in_f32) g; /* like x */
	PTR(in_f32) w;
	PTR(io_f32) y;
	PTR(io_u32) xq;
	uint n, n_groups, n_total;
	uint w_stride;
	uint sigmoid;
	float eps;
};

/* The sequences of a step, in the step block: rows row0 .. row0 + n - 1, the slots of its state before and behind them
 * (before: BT_GPU_NONE for all zeros). */
#define BT_GPU_SEQ_WORDS 4u
#define BT_GPU_NONE      0xFFFFFFFFu
/* Sequences are cut into chunks of so many rows, each {sequence, first row}; what is left of the list has BT_GPU_NONE for a
 * row. At least as many as a convolution may have taps (BT_LIMIT_CONV_TAPS). */
#define BT_GPU_CONV_CHUNK 16

/* y = silu(bias + sum over taps of w * u), and the last rows of u to the state. */
struct bt_gpu_conv {
	PTR(in_f32) u;     /* [n_rows][channels] */
	PTR(in_f32) w;     /* [channels][w_stride], taps of them used */
	PTR(in_f32) bias;  /* [channels] or null */
	PTR(io_f32) state; /* slots of slot_bytes: [taps - 1][channels] */
	PTR(io_f32) y;     /* [n_rows][channels] */
	PTR(in_u32) seq;   /* [n_seqs][BT_GPU_SEQ_WORDS] */
	PTR(in_u32) chunk; /* [n_chunks][2] */
	uint channels, taps, w_stride, slot_bytes;
};

/* Gated delta rule or Mamba-2 (recurrence.k). A row of x has q or C at q_at, k or B at k_at ([n_group][d_state]), v or x at
 * v_at ([n_head][d_head]). */
struct bt_gpu_recurrence {
	PTR(in_f32) x;       /* [n_rows][width] */
	PTR(in_f32) dt;      /* [n_rows][n_head] */
	PTR(in_f32) beta;    /* [n_rows][n_head], delta rule only */
	PTR(in_f32) a;       /* [n_head] floats a_stride apart */
	PTR(in_f32) dt_bias; /* [n_head] */
	PTR(in_f32) d;       /* [n_head] floats d_stride apart, Mamba-2 only */
	PTR(io_f32) state;   /* slots of slot_bytes: [n_head][d_state][d_head] */
	PTR(io_f32) y;       /* [n_rows][n_head][d_head] */
	PTR(in_u32) seq;     /* [n_seqs][BT_GPU_SEQ_WORDS] */
	uint width, n_head, n_group, d_state, d_head, q_at, k_at, v_at, a_stride, d_stride, slot_bytes;
	uint by_turns; /* head h belongs to group h % n_group, instead of neighbours sharing one */
};

#ifdef BT_GPU_HOST_PARAMS
#undef BT_GPU_HOST_PARAMS
#undef PTR
#undef STRUCT
#undef uint
#endif

#endif
