/* plan.h: a model as a flat list of operations over named values.
 *
 * A family (src/arch) writes the plan once, when the model is opened. Widths are fixed by the model; what varies from
 * step to step is only the number of rows: T tokens, or the O rows of them that want logits. So the plan is checked and
 * memory-planned once and then run any number of times, with nothing allocated in between.
 *
 * All values are float32, row-major: value v is [rows][width]. An operation reads its inputs and writes its outputs;
 * BT_EPI_ADD is the one case that reads what it writes.
 */
#ifndef BT_PLAN_PLAN_H
#define BT_PLAN_PLAN_H

#include "base/mem.h"
#include "base/status.h"
#include "gguf/gguf.h"
#include "quant/type.h"

enum bt_op_kind {
	BT_OP_EMBED,          /* out[0] [T][width] = row token[t] of the embedding */
	BT_OP_RMS_NORM,       /* out[0] = rms_norm(in[0]), each of n_groups parts of a row by itself */
	BT_OP_MATMUL,         /* out[i] = mat[i] in[0] (+ bias), see enum bt_epilogue */
	BT_OP_ROPE,           /* rotate in[0] and in[1] (query, key) in place; out = in */
	BT_OP_KV_STORE,       /* append in[0] (key) and in[1] (value) to cache kv.cache */
	BT_OP_ATTENTION,      /* out[0] = attention of in[0] over the cache */
	BT_OP_ROUTER,         /* out[0] [T][2 used]: ids (as int32 bits) and weights of the experts chosen from in[0] */
	BT_OP_MATMUL_EXPERTS, /* out[0] [T * used][ff]: mat of each chosen expert; in[0] rows, in[1] from the router */
	BT_OP_EXPERT_SUM, /* out[0] [T][width] += sum over chosen experts of weight * in[0] row; in[1] from the router */
	BT_OP_SPLIT,      /* out[0], out[1] [T][width / 2]: runs of d values of in[0] by turns: a0 b0 a1 b1 ... */
	BT_OP_GATE, /* out[0] = in[0] * act(in[1]); in[1] of width 1 counts for the whole row; out = in[0] is fine */
	BT_OP_CONV, /* out[0] = silu of a causal convolution of in[0] along the sequence, channel by channel */
	BT_OP_DELTA_NET, /* out[0] = gated delta rule over q, k, v (in[0]), decay (in[1]) and beta (in[2]); see struct bt_recurrence */
	BT_OP_MAMBA2, /* out[0] = Mamba-2 scan over x, B, C (in[0]) and dt (in[1]); see struct bt_recurrence */
	BT_OP_GATHER, /* out[0] [O][width] = the rows of in[0] that want logits */
	BT_OP_LOGITS, /* the step's logits [O][vocab] = mat[0] in[0] */
	BT_OP_KINDS
};

/* Name, and how many of its inputs and outputs an operation must have: a row per kind. */
struct bt_op_info {
	const char *name;
	uint8_t n_in, n_out_min, n_out_max;
	bool heavy; /* it reads weights, a cache or a state: worth computing beside another device's work */
};
extern const struct bt_op_info bt_op_table[BT_OP_KINDS];

enum bt_epilogue {
	BT_EPI_NONE,      /* out[i] = mat[i] x for 1 to 3 matrices */
	BT_EPI_ADD,       /* out[0] += mat[0] x: the residual stream */
	BT_EPI_SILU_GATE, /* out[0] = silu(mat[0] x) * (mat[1] x); out[1] is working space of the same width */
	BT_EPI_RELU2,     /* out[0] = max(mat[0] x, 0)^2 */
};

enum bt_act {
	BT_ACT_SILU,    /* x / (1 + e^-x) */
	BT_ACT_SIGMOID, /* 1 / (1 + e^-x) */
};

/* Rows of a value, as a function of the step. */
enum bt_rows {
	BT_ROWS_TOKENS,         /* T */
	BT_ROWS_EXPERTS,        /* T * experts used */
	BT_ROWS_LOGITS,         /* O */
	BT_ROWS_LOGITS_EXPERTS, /* O * experts used */
};

struct bt_value {
	char name[24];
	uint32_t width;
	enum bt_rows rows;
	/* By the memory planner: operations of first and last use, and the place in scratch memory in units of bytes at
	 * the row counts that bt_plan_layout was given. */
	uint32_t first, last;
	size_t offset;
};

struct bt_mat {
	const struct bt_tensor *w;    /* [out][in] rows of GGUF type; experts: [expert][out][in] */
	const struct bt_tensor *bias; /* [out] or NULL */
};

#define BT_MAX_MATS 3
#define BT_MAX_INS  3

/* How positions turn into angles. One object per distinct setting, owned by the plan. */
struct bt_rope {
	uint32_t n_pairs; /* pairs rotated at the front of each head */
	bool neox;        /* pairs (i, i + n_pairs) instead of (2i, 2i + 1) */
	float magnitude;  /* cos and sin are multiplied by it (YaRN's attention factor) */
	double *freq;     /* [n_pairs] radians per position, scaling included */
};

/* What DELTA_NET and MAMBA2 compute for each token, on a matrix S per head that is carried from token to token and starts
 * at 0.
 *
 * DELTA_NET: gated delta rule (Yang, Kautz, Hatamizadeh, "Gated Delta Networks", arXiv 2412.06464). in[0] holds
 * q [n_group][d_state], k [n_group][d_state], v [n_head][d_head]; head h uses q and k of group h % n_group or, with
 * `neighbours`, of group h / (n_head / n_group).
 *     q = q / sqrt(sum q^2 + 1e-6) / sqrt(d_state), k = k / sqrt(sum k^2 + 1e-6)
 *     S = exp(a[h] * softplus(in[1][h] + dt_bias[h])) * S;   e = sigmoid(in[2][h]) * (v_h - S^T k)
 *     S = S + k e^T;   out_h = S^T q                                         S is [d_state][d_head]
 *
 * MAMBA2: state space model with a scalar per head (Dao, Gu, "Transformers are SSMs", arXiv 2405.21060). in[0] holds
 * x [n_head][d_head], B [n_group][d_state], C [n_group][d_state]; neighbouring heads share a group.
 *     dt = softplus(in[1][h] + dt_bias[h])
 *     S = exp(dt * a[h]) * S + B (dt * x_h)^T;   out_h = S^T C + d[h] * x_h  S is [d_state][d_head] */
struct bt_recurrence {
	uint32_t state; /* index into plan->state: [n_head][d_state][d_head] floats */
	uint32_t n_head, n_group, d_state, d_head;
	bool neighbours;                         /* DELTA_NET: neighbouring heads share a group, as they do in MAMBA2 */
	const struct bt_tensor *a, *dt_bias, *d; /* [n_head]; d: MAMBA2 only */
};

struct bt_op {
	enum bt_op_kind kind;
	uint32_t layer;
	uint32_t in[BT_MAX_INS], out[BT_MAX_MATS]; /* values; BT_NO_VALUE where unused */
	union {
		struct {
			const struct bt_tensor *w; /* [vocab][width] */
		} embed;
		struct {
			const struct bt_tensor *w; /* [width / n_groups], or [width] when per_group; NULL: none */
			float eps;
			uint32_t n_groups;
			bool per_group; /* every group has weights of its own */
		} norm;
		struct {
			struct bt_mat mat[BT_MAX_MATS];
			uint32_t n_mats;
			enum bt_epilogue epilogue;
		} matmul; /* MATMUL, MATMUL_EXPERTS, LOGITS */
		struct {
			const struct bt_rope *rope;
			uint32_t n_head[2], d; /* heads of in[0] and in[1], values in a head */
		} rope;
		struct {
			uint32_t cache; /* index into plan->cache */
		} kv;
		struct {
			uint32_t cache, n_head, window; /* window 0: everything before */
			float scale, softcap;
		} attention;
		struct {
			const struct bt_tensor *select_bias; /* [n_expert], added for choosing only; or NULL */
			uint32_t n_expert, n_used;
			/* Experts in groups of equal size: only those of the n_group_used best groups are chosen from, a group
			 * counting for the sum of its two largest scores (+ bias); n_group <= 1: no groups. */
			uint32_t n_group, n_group_used;
			bool sigmoid;   /* scores: sigmoid instead of softmax over all */
			bool normalize; /* weights of the chosen sum to 1 */
			float scale;
		} router;
		struct {
			bool set; /* out[0] = the sum, instead of adding it */
		} expert_sum;
		struct {
			uint32_t d;
		} split;
		struct {
			enum bt_act act;
		} gate;
		struct {
			const struct bt_tensor *w; /* [kernel taps], [channels]; the last tap meets the current token */
			const struct bt_tensor *bias; /* [channels] or NULL */
			uint32_t state;               /* index into plan->state: the last taps - 1 rows of in[0] */
		} conv;
		struct bt_recurrence recurrence;
	};
};
#define BT_NO_VALUE UINT32_MAX

/* What one attention layer keeps per token. */
struct bt_cache_shape {
	uint32_t layer, n_head_kv, d_k, d_v;
};

/* What one recurrent operation keeps per sequence, whatever its length. */
struct bt_state_shape {
	uint32_t layer;
	uint32_t floats;
};

/* Operations that run in one go. */
struct bt_part {
	uint32_t first, n;
};

/* A value that comes from another device before `part`, or goes to one behind it. It must be in place at operation `op`, which
 * may not name it: from the first of the part on, or up to the last that runs before the value is taken. */
struct bt_keep {
	uint32_t value, op, part;
	bool leaves;
};

struct bt_plan {
	struct bt_arena arena; /* owns everything below */
	uint32_t n_layer, n_embd, n_vocab, n_ctx_train;
	uint32_t n_expert_used; /* 0 without experts */
	struct bt_op *op;
	uint32_t n_ops, cap_ops;
	struct bt_value *value;
	uint32_t n_values, cap_values;
	struct bt_cache_shape *cache;
	uint32_t n_caches, cap_caches;
	struct bt_state_shape *state;
	uint32_t n_states, cap_states;
	/* Only in a device's share of a plan (place.h): what runs in one go, in order, and values that come from or go to
	 * other devices in between. Without parts everything is one. */
	struct bt_part *part;
	uint32_t n_parts;
	struct bt_keep *keep;
	uint32_t n_keeps;
	enum baton_status status; /* sticky: the first failure while building */
	struct bt_op dummy;       /* what bt_plan_op gives after a failure; never run */
};

/* Building. Errors (memory) are sticky in plan->status; values and operations are then dummies. */
void bt_plan_init(struct bt_plan *p);
uint32_t bt_plan_value(struct bt_plan *p, const char *name, uint32_t width, enum bt_rows rows);
/* Append an operation with all values unset; never NULL. */
struct bt_op *bt_plan_op(struct bt_plan *p, enum bt_op_kind kind, uint32_t layer);
/* The index of a new cache. */
uint32_t bt_plan_cache(struct bt_plan *p, uint32_t layer, uint32_t n_head_kv, uint32_t d_k, uint32_t d_v);
/* The index of a new recurrent state. */
uint32_t bt_plan_state(struct bt_plan *p, uint32_t layer, uint32_t floats);
void bt_plan_free(struct bt_plan *p);

/* Check the finished plan: every operation has the values that its kind asks for, widths fit the matrices, everything is
 * written before it is read. A fault here is ours or a hostile file's: BATON_ERR_FORMAT. */
enum baton_status bt_plan_check(const struct bt_plan *p, struct baton_error *err);

#define BT_PLAN_REST 8u /* what GPUs ask for */
/* The memory planner: give every value an offset such that values alive together don't overlap, for at most n_tokens
 * tokens and n_logits logit rows in a step; so many operations pass (`rest`) before a value's memory is another's, for devices
 * where neighbouring operations change places. *size receives the bytes of scratch memory. Offsets are stored in
 * offset[n_values] (the plan itself stays untouched: sessions differ in n_tokens). */
enum baton_status bt_plan_layout(const struct bt_plan *p, uint32_t n_tokens, uint32_t n_logits, uint32_t rest,
                                 size_t *offset, size_t *size, struct baton_error *err);

/* Rows of value v in a step of n_tokens and n_logits. */
size_t bt_plan_rows(const struct bt_plan *p, uint32_t v, uint32_t n_tokens, uint32_t n_logits);

/* Part i of a plan; a plan without parts has one, number 0. */
static inline struct bt_part bt_plan_part(const struct bt_plan *p, uint32_t i)
{
	return p->n_parts ? p->part[i] : (struct bt_part){0, p->n_ops};
}

/* Does it multiply by matrices: is op->matmul what describes it? */
bool bt_op_multiplies(const struct bt_op *op);
/* Weights that are no matrices of a product: of norms, biases (as many as matrices), taps and the like, each at its place; NULL:
 * there is none. The number of places is returned. */
uint32_t bt_op_small(const struct bt_op *op, const struct bt_tensor *t[BT_MAX_MATS]);
/* All weights of an operation, matrices first: t receives them, the number is returned. */
#define BT_OP_TENSORS (2 * BT_MAX_MATS)
uint32_t bt_op_tensors(const struct bt_op *op, const struct bt_tensor *t[BT_OP_TENSORS]);
/* Does it add to out[0] rather than set it? */
bool bt_op_adds(const struct bt_op *op);

#endif
