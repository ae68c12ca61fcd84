/* kernels.h: the CPU back end's kernel table.
 *
 * bt_cpu_kernels_init fills every slot with plain C, then each level that the processor has (and the mask allows)
 * overwrites what it does better: no slot is ever empty, nobody asks about the processor again. A slot's arithmetic
 * is *batch-invariant*: what it gives for one token does not depend on the other tokens in the call, on where rows are
 * cut into chunks or on the thread. More: the order of every float operation is fixed here, with fma() where it says
 * so, and all levels follow it. So every level gives the same bits, and plain C says which.
 *
 * Quantised weights meet activations rounded to 8 bits in blocks of 32 (struct bt_cpu_acts); sums inside a block are
 * exact integers. Block b of a row belongs to lane b % 8; each lane adds its blocks in ascending order,
 *     acc[lane] = fma(dx[b], t, acc[lane]), where
 *     t = scale * isum                                  (group 32)
 *     t = fma(scale1, isum1, scale0 * isum0)            (group 16)
 *     t = fma(min, xsum, t)                             (types with minima, for each group in turn)
 * isum is the sum of weight times x, xsum the sum of x over the group. At the end y = tree8(acc),
 *     tree8(l) = ((l0+l4) + (l2+l6)) + ((l1+l5) + (l3+l7)).
 * A matrix-vector kernel holds 8 blocks of a row in a vector; a matrix-matrix kernel holds 8 or 16 rows in a vector and
 * walks the lanes one after another.
 *
 * Sums of floats over n values (float weights, norms, softmax): value i belongs to lane i % 16, lanes add in ascending
 * order (products by fma), then tree16(l) = tree8(l[i] + l[i+8]).
 */
#ifndef BT_BACKEND_CPU_KERNELS_H
#define BT_BACKEND_CPU_KERNELS_H

#include "backend/backend.h"
#include "base/pool.h"
#include "quant/type.h"

/* Levels, in order; each includes those below it on the same architecture. */
enum bt_cpu_level {
	BT_CPU_C,       /* plain C: the reference */
	BT_CPU_AVX2,    /* AVX2 + FMA + F16C */
	BT_CPU_AVX512,  /* AVX-512 F, BW, DQ, VL */
	BT_CPU_AVX512V, /* + VNNI */
	BT_CPU_LEVELS
};
const char *bt_cpu_level_name(enum bt_cpu_level level); /* "c", "avx2", "avx512", "avx512vnni" */
/* The level of that name; false when unknown. */
bool bt_cpu_level_by_name(const char *name, enum bt_cpu_level *out);
/* Whether this machine has all that a level needs. */
bool bt_cpu_level_supported(enum bt_cpu_level level);
/* The highest level of this machine. */
enum bt_cpu_level bt_cpu_level_native(void);

/* Activations of one matmul input, prepared once and shared by all weights that read it. f32 is always there; the rest only when a quantised weight wants it (k is a multiple of 32 then). */
struct bt_cpu_acts {
	size_t n_tokens, k;
	const float *f32; /* [n_tokens][f32_stride] */
	size_t f32_stride;
	int8_t *q;    /* [n_tokens][k] */
	float *d;     /* [n_tokens][k / 32] */
	int32_t *sum; /* [n_tokens][k / 16] sums of q over 16 values */
	void *packed; /* NULL, or what bt_cpu_kernels.pack made of all tokens */
};

/* y[t][r] = sum_k w[r][k] * x[t][k] for rows row0 <= r < row1 and all tokens. */
struct bt_cpu_matmul {
	const struct bt_type *type;
	const void *w; /* row 0 of the matrix, GGUF layout */
	size_t row_bytes, k;
	const struct bt_cpu_acts *x;
	const uint32_t *x_row; /* [n_tokens] row of x for each token, NULL: t */
	const uint32_t *y_row; /* [n_tokens] row of y for each token, NULL: t */
	size_t n_tokens;       /* of this call (with x_row fewer or more than x->n_tokens) */
	float *y;              /* [..][y_stride], column r for row r */
	size_t y_stride;
};
/* scratch: bt_cpu_kernels.scratch bytes, BT_MEM_ALIGN-aligned, of this thread. */
typedef void (*bt_cpu_matmul_fn)(const struct bt_cpu_matmul *m, size_t row0, size_t row1, void *scratch);

/* Attention of the query tokens of one sequence over its paged KV cache. Key i of the sequence is at position i; query j
 * sees keys 0 .. pos[j] (or the last `window` of them).
 *
 * The order, for each query and head. Keys are walked in splits of BT_CPU_ATTN_SPLIT positions and in pages within a
 * split. A split starts with max = -inf, sum = 0, acc = 0; for each page of which the query sees something:
 *     s[i] = sum of (scale * q[d]) * k[i][d], one fma per d in ascending order; with softcap s = cap * tanh(s / cap)
 *     m = max(max, s[i]...); if m > max: c = exp(max - m), sum *= c, acc[d] *= c, max = m
 *     p[i] = exp(s[i] - max); sum += the sum of p (16 lanes as above, lane = slot in the page % 16, unseen keys are 0)
 *     acc[d] = fma(p[i], v[i][d], acc[d]) for the seen keys in ascending order
 * Splits are merged in ascending order: m = max(M, max), a = exp(M - m), b = exp(max - m), SUM = fma(SUM, a, sum * b),
 * ACC = fma(ACC, a, acc * b); the first split starts them. out = ACC * (1 / SUM). So prompt and single-token calls agree
 * bit for bit, and splits may be spread over threads. */
#define BT_CPU_ATTN_SPLIT 512u /* keys in a split; a multiple of BT_KV_PAGE */
struct bt_cpu_attn {
	const float *q; /* [..][q_stride], n_head * d_k values a row */
	float *out;     /* [..][out_stride], n_head * d_v values a row */
	size_t q_stride, out_stride;
	const uint32_t *row; /* [n] the row of q and out of each query */
	const int32_t *pos;  /* [n] ascending */
	size_t n;
	uint32_t n_head, n_head_kv, d_k, d_v;
	float scale, softcap; /* softcap 0: none */
	uint32_t window;      /* 0: all keys */
	const void *k, *v;    /* this layer's pages: [page][n_head_kv][BT_KV_PAGE][d] in type kv_type */
	size_t k_page_bytes, v_page_bytes;
	const struct bt_type *k_type, *v_type; /* F32, F16 or Q8_0 */
	const uint32_t *pages;                 /* page of positions 64 i .. 64 i + 63 */
};
/* Floats of what a split leaves for one query and head: max, sum, sums of values. */
static inline size_t bt_cpu_attn_part(uint32_t d_v)
{
	return (size_t)d_v + 2;
}
/* Splits that a query at `pos` sees something of. */
static inline size_t bt_cpu_attn_splits(int32_t pos, uint32_t window)
{
	uint32_t last = (uint32_t)pos, first = window && last + 1 > window ? last + 1 - window : 0;
	return last / BT_CPU_ATTN_SPLIT - first / BT_CPU_ATTN_SPLIT + 1u;
}
/* Query heads for which a single split can be asked. */
#define BT_CPU_ATTN_GROUP 96u

/* Causal convolution of one sequence's rows, channel by channel, then silu:
 *     y[t][c] = silu(bias[c] + sum over i < taps of w[i][c] * u[t - (taps - 1) + i][c]), one fma per tap in ascending order,
 * where rows before the first are those of `in` (oldest first). */
struct bt_cpu_conv {
	const float *u; /* [n][channels] */
	float *y;       /* [n][channels] */
	size_t n, channels, taps;
	const float *w;    /* [taps][channels] */
	const float *bias; /* [channels] or NULL */
	const float *in;   /* [taps - 1][channels], NULL: zeros */
	float *out;        /* [taps - 1][channels] the last rows of (in, u); may be `in` */
};

/* One head of a recurrent operation (plan.h, struct bt_recurrence) over one sequence's rows. A column of the state, and
 * of v and y, is computed by itself, so columns may be spread over threads. Sums over d_state values: value i belongs to
 * lane i % 4, lanes add in ascending order by fma, then (l0 + l2) + (l1 + l3).
 *
 * delta_net, for each row: u = S^T k; e = fma(-decay, u, v) * gain; S[i] = fma(k[i], e, decay * S[i]); y = S^T q.
 * mamba2: x = gain * v; S[i] = fma(k[i], x, decay * S[i]); y = fma(skip, v, S^T q). */
struct bt_cpu_recurrence {
	const float *k, *q; /* [n][kq_stride], d_state values a row: Mamba-2's B and C */
	const float *v;     /* [n][v_stride], d_head values a row: Mamba-2's x */
	float *y;           /* [n][y_stride] */
	size_t kq_stride, v_stride, y_stride, n, d_state, d_head;
	const float *decay, *gain; /* [n]; gain: beta, or Mamba-2's dt */
	float skip;                /* Mamba-2's D */
	const float *in;           /* [d_state][d_head], NULL: zeros */
	float *out;                /* [d_state][d_head]; may be `in` */
};
#define BT_CPU_COLUMNS 32u /* columns of a state that are best computed together */

struct bt_cpu_kernels {
	enum bt_cpu_level level;
	size_t scratch;     /* bytes per thread that any kernel here may use (see init) */
	size_t matmul_rows; /* a chunk of rows is best a multiple of this, for prompts at least some 4 of them */

	/* One row of f32 activations to q, d and sum (see struct bt_cpu_acts): d = max|x| / 127, q = x * (127 / max|x|)
	 * to the nearest, ties to even. A block with nothing above 1e-30 becomes 0; infinities and NaN give d = NaN or inf
	 * and q in -127..127, so that they reach the output. */
	void (*quantize_row)(const float *x, size_t k, int8_t *q, float *d, int32_t *sum);

	/* Copy q, d and sum of tokens t0 <= t < t1 to x->packed in the order in which matmul reads several tokens: worth it
	 * before products of all of x's tokens (n_tokens > 1, no x_row), which otherwise do the same for every chunk of
	 * rows. t0 is a multiple of pack_tile, t1 too or n_tokens. x->packed: n_tokens * (k / 32) * pack_block bytes;
	 * pack_block 0: this level has no use for it. */
	void (*pack)(const struct bt_cpu_acts *x, size_t t0, size_t t1);
	size_t pack_tile, pack_block;

	/* By weight type, normal mode; every type of the table has an entry. F32, F16, BF16 read x->f32. */
	bt_cpu_matmul_fn matmul[BT_TYPE_COUNT];
	/* The same in f32 throughout (--exact): weights unpacked by the reference, activations as they are. */
	bt_cpu_matmul_fn matmul_exact;

	/* y = (x * (1 / sqrt(sum / n + eps))) * w; w NULL: no weight. x and y may be the same here and below. */
	void (*rms_norm)(const float *x, const float *w, float eps, size_t n, float *y);
	void (*add)(const float *a, const float *b, size_t n, float *y);         /* y = a + b */
	void (*silu_mul)(const float *g, const float *u, size_t n, float *y);    /* y = g / (1 + exp(-g)) * u */
	void (*sigmoid_mul)(const float *g, const float *u, size_t n, float *y); /* y = 1 / (1 + exp(-g)) * u */
	void (*relu2)(const float *x, size_t n, float *y);                       /* y = max(x, 0)^2 */
	/* Rotate pairs of a head's first 2 * n_pairs values by (cos, sin)[i]; neox: pairs (i, i + n_pairs), otherwise
	 * (2i, 2i + 1). In place. */
	void (*rope)(float *x, const float *cos, const float *sin, size_t n_pairs, bool neox);
	/* p = exp(x - max x) * (1 / sum) over n values. */
	void (*softmax)(const float *x, size_t n, float *p);
	/* Convert n values of f32 to the KV cache's type (F32, F16, Q8_0: n multiple of 32). */
	void (*kv_pack)(const struct bt_type *type, const float *x, void *dst, size_t n);
	/* Queries q0 <= j < q1 of a->n, all heads of KV head `head`. */
	void (*attention)(const struct bt_cpu_attn *a, uint32_t head, size_t q0, size_t q1, void *scratch);
	/* (optional) The same of query q alone, for groups of at most BT_CPU_ATTN_GROUP query heads, in two steps, so that threads may
	 * share it: each split that it sees, counted from 0, to its parts [group][bt_cpu_attn_part]; then all of them, [splits][group]
	 * [..], to the result. */
	void (*attention_split)(const struct bt_cpu_attn *a, uint32_t head, size_t q, size_t split, float *part,
	                        void *scratch);
	void (*attention_join)(const struct bt_cpu_attn *a, uint32_t head, size_t q, const float *parts, void *scratch);
	/* Channels c0 <= c < c1 of all rows. */
	void (*conv)(const struct bt_cpu_conv *c, size_t c0, size_t c1);
	/* Columns col0 <= j < col1 of all rows. */
	void (*delta_net)(const struct bt_cpu_recurrence *r, size_t col0, size_t col1);
	void (*mamba2)(const struct bt_cpu_recurrence *r, size_t col0, size_t col1);
	/* Queries per call that the attention kernel likes for prompts (its tile). */
	size_t attn_tile;
};

/* Fill the table up to `level` (a level that the machine lacks becomes the machine's highest) for matrices with rows of
 * at most k_max values and attention heads of at most d_max values (d_k or d_v). */
void bt_cpu_kernels_init(struct bt_cpu_kernels *k, enum bt_cpu_level level, size_t k_max, size_t d_max);

#endif
