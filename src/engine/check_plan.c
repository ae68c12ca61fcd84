/* check_plan.c: a plan to check devices with where there is no model. */
#include "engine/check.h"

#include <stdio.h>

enum { WIDTH = 512, ROWS = 160, HEADS = 8, HEADS_KV = 2, D = 64, N_EXPERT = 16, USED = 4, VOCAB = 1000 };

struct build {
	struct bt_plan *plan;
	struct bt_arena *data;
	uint32_t seed;
	bool failed;
};

/* A matrix of random values around 0; NULL: no memory. */
static const struct bt_tensor *tensor(struct build *b, const struct bt_type *type, uint64_t k, uint64_t rows,
                                      uint64_t n)
{
	struct bt_tensor *t = bt_arena_zalloc(b->data, sizeof *t);
	size_t row_bytes = bt_type_row_bytes(type, k);
	void *data = bt_arena_alloc(b->data, row_bytes * rows * n);
	float row[WIDTH];
	if (!t || !data) {
		b->failed = true;
		return NULL;
	}
	*t = (struct bt_tensor){.name = {"check", 5},
	                        .type = type,
	                        .n_dims = n > 1 ? 3 : 2,
	                        .dim = {k, rows, n, 1},
	                        .n_rows = rows * n,
	                        .row_bytes = row_bytes,
	                        .matrix_bytes = row_bytes * rows,
	                        .size = row_bytes * rows * n,
	                        .data = data};
	for (uint64_t r = 0; r < rows * n; r++) {
		for (uint64_t i = 0; i < k; i++) {
			b->seed = b->seed * 1664525u + 1013904223u;
			row[i] = ((float)(b->seed >> 8) * 0x1p-23f - 1) * 0.1f;
		}
		type->pack(row, (char *)data + r * row_bytes, k, NULL);
	}
	return t;
}

static uint32_t value(struct build *b, uint32_t width, enum bt_rows rows)
{
	return bt_plan_value(b->plan, "x", width, rows);
}

static struct bt_op *add(struct build *b, enum bt_op_kind kind, uint32_t in, uint32_t out)
{
	struct bt_op *op = bt_plan_op(b->plan, kind, 0);
	op->in[0] = in;
	op->out[0] = out;
	return op;
}

/* Products with matrices of one type: plain, added, of a gate, of experts. */
static void products(struct build *b, const struct bt_type *type, uint32_t x, uint32_t choice)
{
	static const enum bt_epilogue epilogue[] = {BT_EPI_NONE, BT_EPI_ADD, BT_EPI_SILU_GATE, BT_EPI_RELU2};
	for (size_t i = 0; i < sizeof epilogue / sizeof *epilogue; i++) {
		struct bt_op *op = add(b, BT_OP_MATMUL, x, value(b, ROWS, BT_ROWS_TOKENS));
		bool gate = epilogue[i] == BT_EPI_SILU_GATE;
		op->matmul.epilogue = epilogue[i];
		op->matmul.n_mats = gate ? 2 : 1;
		op->matmul.mat[0].w = tensor(b, type, WIDTH, ROWS, 1);
		if (gate) {
			op->out[1] = value(b, ROWS, BT_ROWS_TOKENS);
			op->matmul.mat[1].w = tensor(b, type, WIDTH, ROWS, 1);
		}
	}
	struct bt_op *op = add(b, BT_OP_MATMUL_EXPERTS, x, value(b, ROWS, BT_ROWS_EXPERTS));
	op->in[1] = choice;
	op->matmul.n_mats = 1;
	op->matmul.mat[0].w = tensor(b, type, WIDTH, ROWS, N_EXPERT);
}

static void attention(struct build *b)
{
	uint32_t q = value(b, HEADS * D, BT_ROWS_TOKENS), k = value(b, HEADS_KV * D, BT_ROWS_TOKENS);
	uint32_t v = value(b, HEADS_KV * D, BT_ROWS_TOKENS), cache = bt_plan_cache(b->plan, 0, HEADS_KV, D, D);
	struct bt_rope *rope = bt_arena_zalloc(b->data, sizeof *rope);
	double *freq = bt_arena_zalloc(b->data, D / 2 * sizeof *freq);
	if (!rope || !freq) {
		b->failed = true;
		return;
	}
	*rope = (struct bt_rope){.n_pairs = D / 2, .neox = true, .magnitude = 1, .freq = freq};
	for (int i = 0; i < D / 2; i++) freq[i] = 1.0 / (1 + i * i);
	struct bt_op *op = add(b, BT_OP_ROPE, q, q);
	op->in[1] = op->out[1] = k;
	op->rope.rope = rope;
	op->rope.d = D;
	op->rope.n_head[0] = HEADS;
	op->rope.n_head[1] = HEADS_KV;
	op = add(b, BT_OP_KV_STORE, k, BT_NO_VALUE);
	op->in[1] = v;
	op->kv.cache = cache;
	op = add(b, BT_OP_ATTENTION, q, value(b, HEADS * D, BT_ROWS_TOKENS));
	op->attention.cache = cache;
	op->attention.n_head = HEADS;
	op->attention.scale = 0.125f;
}

enum baton_status bt_check_default_plan(struct bt_plan *plan, struct bt_arena *data, struct baton_error *err)
{
	struct build b = {.plan = plan, .data = data, .seed = 7};
	bt_plan_init(plan);
	bt_arena_init(data, BT_MEM_HOST, 0);
	plan->n_layer = 1;
	plan->n_embd = WIDTH;
	plan->n_vocab = VOCAB;
	plan->n_expert_used = USED;
	uint32_t x = value(&b, WIDTH, BT_ROWS_TOKENS), last = value(&b, WIDTH, BT_ROWS_LOGITS);
	uint32_t score = value(&b, N_EXPERT, BT_ROWS_TOKENS), choice = value(&b, 2 * USED, BT_ROWS_TOKENS);
	const struct bt_type *f32 = bt_type_get(BT_TYPE_F32), *q8 = bt_type_get(BT_TYPE_Q8_0);
	struct bt_op *op = add(&b, BT_OP_RMS_NORM, x, value(&b, WIDTH, BT_ROWS_TOKENS));
	op->norm.w = tensor(&b, f32, WIDTH, 1, 1);
	op->norm.eps = 1e-5f;
	op->norm.n_groups = 1;
	attention(&b);
	op = add(&b, BT_OP_ROUTER, score, choice);
	op->router.n_expert = N_EXPERT;
	op->router.n_used = USED;
	op->router.n_group = 1;
	op->router.scale = 1;
	for (uint32_t i = 0; i < BT_TYPE_COUNT && !b.failed; i++) {
		const struct bt_type *type = bt_type_get(i);
		if (type && type->pack) products(&b, type, x, choice);
	}
	op = add(&b, BT_OP_EXPERT_SUM, value(&b, WIDTH, BT_ROWS_EXPERTS), value(&b, WIDTH, BT_ROWS_TOKENS));
	op->in[1] = choice;
	add(&b, BT_OP_GATHER, x, last);
	op = add(&b, BT_OP_LOGITS, last, BT_NO_VALUE);
	op->matmul.n_mats = 1;
	if (!b.failed) op->matmul.mat[0].w = tensor(&b, q8, WIDTH, VOCAB, 1);
	if (!b.failed && !plan->status) return BATON_OK;
	bt_plan_free(plan);
	bt_arena_free(data);
	return bt_fail_nomem(err, 0, "a plan to check with");
}
