/* lower_matmul.c: matrix products. */
#include "backend/gpu/lower.h"

/* Kernels by format, and by how many tokens one reading of the matrix serves. */
static const struct columns {
	uint8_t columns, rows; /* tokens; rows of the matrix that teams which share rows take */
} by_columns[] = {{1, 2}, {4, 2}, {8, 1}};
static const uint16_t matvec[BT_GPU_FORMATS][3] = {
#define FORMAT(name, ...) \
	[BT_GPU_F_##name] = {BT_GPU_K_matvec_##name##_1, BT_GPU_K_matvec_##name##_4, BT_GPU_K_matvec_##name##_8},
#include "backend/gpu/kernels/formats.inc"
#undef FORMAT
	[BT_GPU_F_f32] = {BT_GPU_K_matvec_f32_1, BT_GPU_K_matvec_f32_4},
	[BT_GPU_F_f16] = {BT_GPU_K_matvec_f16_1, BT_GPU_K_matvec_f16_4},
	[BT_GPU_F_bf16] = {BT_GPU_K_matvec_bf16_1, BT_GPU_K_matvec_bf16_4},
};
static const uint16_t matvec_experts[BT_GPU_FORMATS] = {
#define FORMAT(name, ...) [BT_GPU_F_##name] = BT_GPU_K_matvec_##name##_x,
#include "backend/gpu/kernels/formats.inc"
#undef FORMAT
	[BT_GPU_F_f32] = BT_GPU_K_matvec_f32_x,
	[BT_GPU_F_f16] = BT_GPU_K_matvec_f16_x,
	[BT_GPU_F_bf16] = BT_GPU_K_matvec_bf16_x,
};
/* For one token, several, one of experts; and with many threads. */
enum gate_kernel { GATE_ONE, GATE_FOUR, GATE_EXPERTS, GATE_WIDE, GATE_WIDE_EXPERTS, GATE_KERNELS };
static const uint16_t gate[BT_GPU_FORMATS][GATE_KERNELS] = {
#define FORMAT(name, ...)                                                                                  \
	[BT_GPU_F_##name] = {BT_GPU_K_gate_##name##_1, BT_GPU_K_gate_##name##_4, BT_GPU_K_gate_##name##_x, \
	                     BT_GPU_K_gate_##name##_wide, BT_GPU_K_gate_##name##_wide_x},
#include "backend/gpu/kernels/formats.inc"
#undef FORMAT
};
#define GATE_ROWS    32u /* of a gate's two */
#define GATE_SPLIT   4u  /* teams that share a row at most; in workgroups of GATE_THREADS always, one row for each */
#define GATE_THREADS 1024u
#define MATVEC_TEAMS 16u /* teams of a workgroup of matvec.k */

/* Teams that share a row, so that some hundred thousand threads read whatever the matrix's shape; each still has a block for
 * every lane. By the shape alone: a row has the same bits beside any number of others and on any device. */
static uint32_t split_of(uint32_t n_rows, uint32_t n_blocks, uint32_t most)
{
	uint32_t split = 1;
	while (split < most && (uint64_t)n_rows * split * 4 < 131072 && split * 16 <= n_blocks) split *= 2;
	return split;
}

/* Kernels address matrices of integers by 32 bits behind a plane's base (AT in the kernel language). */
const char *bt_gpu_check_product(const struct bt_op *op)
{
	for (uint32_t i = 0; i < op->matmul.n_mats; i++) {
		const struct bt_tensor *t = op->matmul.mat[i].w;
		enum bt_gpu_format f = bt_gpu_format_of(t->type, false);
		struct bt_gpu_row_bytes row = bt_gpu_row_bytes(f, t->dim[0]);
		for (int p = 0; p < BT_GPU_PLANES && !bt_gpu_format_is_float(f); p++)
			if ((uint64_t)row.plane[p] * t->n_rows > UINT32_MAX)
				return "a matrix whose quants take more than 4 GiB";
	}
	return NULL;
}

bool bt_gpu_reads_rounded(const struct bt_gpu_node *node, const struct bt_op *op)
{
	if (!bt_op_multiplies(op)) return false;
	for (uint32_t i = 0; i < op->matmul.n_mats; i++)
		if (!bt_gpu_format_is_float(node->mat[i]->format)) return true;
	return false;
}

struct bt_gpu_range bt_gpu_take_rounded(struct bt_gpu_lowering *l, uint32_t v)
{
	for (uint32_t i = 0; i < BT_GPU_ROUNDED; i++)
		if (l->rounded[i] == v) l->rounded[i] = BT_NO_VALUE;
	l->turn = (l->turn + 1) % BT_GPU_ROUNDED;
	l->rounded[l->turn] = v;
	if (l->halved == v) l->halved = BT_NO_VALUE;
	l->fresh = true;
	return (struct bt_gpu_range){l->e->xq[l->turn].address, bt_gpu_rounded_bytes(l, v), true};
}

uint64_t bt_gpu_rounded(struct bt_gpu_lowering *l, uint32_t v)
{
	for (uint32_t i = 0; i < BT_GPU_ROUNDED; i++)
		if (l->rounded[i] == v) return l->e->xq[i].address;
	struct bt_gpu_range touched[] = {bt_gpu_reads(l, v), bt_gpu_take_rounded(l, v)};
	l->fresh = false;
	struct bt_gpu_quantize p = {.x = bt_gpu_value(l, v),
	                            .xq = touched[1].address,
	                            .n_blocks = bt_gpu_rows(l, v) * (bt_gpu_width(l, v) / 32)};
	bt_gpu_emit(l, bt_gpu_cmd(BT_GPU_K_quantize, &p, (p.n_blocks + 31) / 32, 1, 1), touched, 2);
	return p.xq;
}

static void emit_float(struct bt_gpu_lowering *l, const struct bt_gpu_product *f)
{
	const struct bt_gpu_matrix *m = l->node->mat[f->i];
	struct bt_gpu_matvec_float p = {.w = m->plane[BT_GPU_PLANE_Q],
	                                .x = bt_gpu_value(l, f->x),
	                                .y = f->y,
	                                .bias = l->node->small[f->i],
	                                .n_rows = m->n_rows,
	                                .n_k = m->n_k,
	                                .n_blocks = m->n_blocks,
	                                .n_tokens = f->n_tokens,
	                                .n_used = f->n_used,
	                                .flags = f->flags,
	                                .split = split_of(m->n_rows, m->n_blocks * 2, MATVEC_TEAMS)};
	struct bt_gpu_range touched[] = {bt_gpu_reads(l, f->x), f->dst, {0}};
	uint32_t n = 2, rows = MATVEC_TEAMS / p.split, tall = (m->n_rows + rows - 1) / rows, many = f->n_tokens > 1;
	if (f->choice != BT_NO_VALUE) {
		p.choice = bt_gpu_value(l, f->choice);
		touched[n++] = bt_gpu_reads(l, f->choice);
		bt_gpu_emit(l, bt_gpu_cmd(matvec_experts[m->format], &p, tall, f->n_tokens * f->n_used, 1), touched, n);
	} else {
		uint32_t wide = many ? (f->n_tokens + 3) / 4 : f->n_tokens;
		bt_gpu_emit(l, bt_gpu_cmd(matvec[m->format][many], &p, tall, wide, 1), touched, n);
	}
}

static void emit_product(struct bt_gpu_lowering *l, const struct bt_gpu_product *f)
{
	const struct bt_gpu_matrix *m = l->node->mat[f->i];
	if (bt_gpu_is_tiled(l, f->n_tokens, f->n_used, f->choice)) {
		bt_gpu_emit_tiles(l, f);
		return;
	}
	if (bt_gpu_format_is_float(m->format)) {
		emit_float(l, f);
		return;
	}
	struct bt_gpu_matvec p = {.w = bt_gpu_planes(m),
	                          .xq = bt_gpu_rounded(l, f->x),
	                          .y = f->y,
	                          .bias = l->node->small[f->i],
	                          .n_rows = m->n_rows,
	                          .n_blocks = m->n_blocks,
	                          .n_tokens = f->n_tokens,
	                          .n_used = f->n_used,
	                          .flags = f->flags,
	                          .split = split_of(m->n_rows, m->n_blocks, MATVEC_TEAMS)};
	struct bt_gpu_range touched[] = {{p.xq, bt_gpu_rounded_bytes(l, f->x), false}, f->dst, {0}};
	uint32_t n = 2;
	if (f->choice != BT_NO_VALUE) {
		p.choice = bt_gpu_value(l, f->choice);
		touched[n++] = bt_gpu_reads(l, f->choice);
		uint32_t rows = MATVEC_TEAMS / p.split * by_columns[0].rows, tall = (m->n_rows + rows - 1) / rows;
		bt_gpu_emit(l, bt_gpu_cmd(matvec_experts[m->format], &p, tall, f->n_tokens * f->n_used, 1), touched, n);
		return;
	}
	uint32_t c = f->n_tokens > 4 ? 2 : f->n_tokens > 1;
	uint32_t rows = MATVEC_TEAMS / p.split * by_columns[c].rows, tall = (m->n_rows + rows - 1) / rows;
	uint32_t wide = (f->n_tokens + by_columns[c].columns - 1u) / by_columns[c].columns;
	bt_gpu_emit(l, bt_gpu_cmd(matvec[m->format][c], &p, tall, wide, 1), touched, n);
}

/* Both matrices of a gate in one kernel; false: they are not of one kind, or tiles take them. */
static bool emit_gate(struct bt_gpu_lowering *l, uint32_t n_tokens, uint32_t n_used, uint32_t choice)
{
	const struct bt_gpu_matrix *a = l->node->mat[0], *b = l->node->mat[1];
	bool experts = choice != BT_NO_VALUE;
	if (a->format != b->format || bt_gpu_format_is_float(a->format)) return false;
	if (!bt_gpu_same_book(a->tensor->type, b->tensor->type)) return false;
	if (experts && bt_gpu_rows(l, l->op->in[0]) != n_tokens) return false;
	if (bt_gpu_is_tiled(l, n_tokens, n_used, choice)) return false;
	struct bt_gpu_gate p = {.gate = bt_gpu_planes(a),
	                        .up = bt_gpu_planes(b),
	                        .xq = bt_gpu_rounded(l, l->op->in[0]),
	                        .gate_bias = experts ? bt_gpu_value(l, choice) : l->node->small[0],
	                        .up_bias = experts ? 0 : l->node->small[1],
	                        .n_rows = a->n_rows,
	                        .n_blocks = a->n_blocks,
	                        .n_tokens = n_tokens,
	                        .n_used = n_used,
	                        .split = split_of(a->n_rows, a->n_blocks, GATE_SPLIT)};
	struct bt_gpu_range touched[4] = {{p.xq, bt_gpu_rounded_bytes(l, l->op->in[0]), false}};
	uint32_t n = 1;
	if (experts) touched[n++] = bt_gpu_reads(l, choice);
	n += bt_gpu_results(l, l->op->out[0], a->n_rows % 32 == 0, &p.y, &p.yq, touched + n);
	uint32_t tall = (a->n_rows + GATE_ROWS - 1) / GATE_ROWS, many = n_tokens > 1;
	uint32_t wide = experts ? n_tokens * n_used : many ? (n_tokens + 3) / 4 : n_tokens;
	enum gate_kernel k = experts ? GATE_EXPERTS : many ? GATE_FOUR : GATE_ONE;
	bool few = k != GATE_FOUR && tall * wide <= BT_GPU_BUSY && l->e->dev->gpu->caps.threads >= GATE_THREADS;
	if (few && p.split == GATE_SPLIT) k = experts ? GATE_WIDE_EXPERTS : GATE_WIDE;
	bt_gpu_emit(l, bt_gpu_cmd(gate[a->format][k], &p, tall, wide, 1), touched, n);
	return true;
}

/* All matrices of the operation, then what joins them. */
static void emit_all(struct bt_gpu_lowering *l, struct bt_gpu_product f)
{
	const struct bt_op *op = l->op;
	if (!f.n_tokens) return;
	if (op->matmul.epilogue == BT_EPI_SILU_GATE && emit_gate(l, f.n_tokens, f.n_used, f.choice)) return;
	if (op->matmul.epilogue == BT_EPI_ADD) f.flags |= BT_GPU_STORE_ADD;
	if (op->matmul.epilogue == BT_EPI_RELU2) f.flags |= BT_GPU_STORE_RELU2;
	f.x = op->in[0];
	for (f.i = 0; f.i < op->matmul.n_mats; f.i++) {
		if (op->kind == BT_OP_LOGITS) {
			f.y = l->e->logits.address;
			f.dst = (struct bt_gpu_range){f.y, (uint64_t)f.n_tokens * l->e->c.plan->n_vocab * 4, true};
		} else {
			f.y = bt_gpu_value(l, op->out[f.i]);
			f.dst = bt_gpu_writes(l, op->out[f.i]);
		}
		emit_product(l, &f);
	}
	if (op->matmul.epilogue != BT_EPI_SILU_GATE) return;
	struct bt_gpu_gate_rows p = {.gate = bt_gpu_value(l, op->out[0]),
	                             .up = bt_gpu_value(l, op->out[1]),
	                             .y = bt_gpu_value(l, op->out[0]),
	                             .n = bt_gpu_rows(l, op->out[0]) * bt_gpu_width(l, op->out[0])};
	struct bt_gpu_range touched[] = {bt_gpu_reads(l, op->out[1]), bt_gpu_writes(l, op->out[0])};
	bt_gpu_emit(l, bt_gpu_cmd(BT_GPU_K_gate_rows, &p, (p.n + 255) / 256, 1, 1), touched, 2);
}

void bt_gpu_lower_matmul(struct bt_gpu_lowering *l)
{
	emit_all(l,
	         (struct bt_gpu_product){.n_tokens = bt_gpu_rows(l, l->op->in[0]), .n_used = 1, .choice = BT_NO_VALUE});
}

void bt_gpu_lower_experts(struct bt_gpu_lowering *l)
{
	uint32_t choice = l->op->in[1], n_tokens = bt_gpu_rows(l, choice);
	bool per_slot = bt_gpu_rows(l, l->op->in[0]) != n_tokens;
	emit_all(l, (struct bt_gpu_product){.n_tokens = n_tokens,
	                                    .n_used = l->e->c.plan->n_expert_used,
	                                    .flags = per_slot ? BT_GPU_X_PER_SLOT : 0,
	                                    .choice = choice});
}
