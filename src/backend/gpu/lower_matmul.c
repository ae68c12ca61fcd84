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

const char *bt_gpu_check_product(const struct bt_op *op, bool exact, uint64_t most)
{
	for (uint32_t i = 0; i < op->matmul.n_mats; i++) {
		const struct bt_tensor *t = op->matmul.mat[i].w;
		uint64_t rows = bt_gpu_part_rows(bt_gpu_format_of(t->type, exact), t, most);
		/* A stack of one is no stack to the former, but its expert is not cut either. */
		bool expert = op->kind == BT_OP_MATMUL_EXPERTS && rows % t->dim[1];
		if (!rows || expert) return "an expert, or 32 rows of a matrix, take more than one block of memory may";
	}
	return NULL;
}

struct bt_gpu_product bt_gpu_product_part(const struct bt_gpu_lowering *l, const struct bt_gpu_product *whole,
                                          uint32_t k)
{
	const struct bt_gpu_matrix *m = l->node->mat[whole->i];
	struct bt_gpu_product p = *whole;
	p.part = &m->part[k];
	p.bias = l->node->small[whole->i];
	if (whole->choice != BT_NO_VALUE) {
		uint32_t first = (uint32_t)(p.part->first / m->n_rows), n = (uint32_t)(p.part->n / m->n_rows);
		p.n_rows = m->n_rows;
		p.where = BT_GPU_PART_EXPERTS(first, n);
		return p;
	}
	p.n_rows = (uint32_t)p.part->n;
	p.where = m->n_rows;
	p.y += p.part->first * sizeof(float);
	if (p.bias) p.bias += p.part->first * sizeof(float);
	return p;
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
	struct bt_gpu_matvec_float p = {.w = f->part->plane[BT_GPU_PLANE_Q],
	                                .x = bt_gpu_value(l, f->x),
	                                .y = f->y,
	                                .bias = f->bias,
	                                .n_rows = f->n_rows,
	                                .n_k = m->n_k,
	                                .n_blocks = m->n_blocks,
	                                .n_tokens = f->n_tokens,
	                                .n_used = f->n_used,
	                                .flags = f->flags,
	                                .part = f->where,
	                                .split = split_of(m->n_rows, m->n_blocks * 2, MATVEC_TEAMS)};
	struct bt_gpu_range touched[] = {bt_gpu_reads(l, f->x), f->dst, {0}};
	uint32_t n = 2, rows = MATVEC_TEAMS / p.split, tall = (f->n_rows + rows - 1) / rows, many = f->n_tokens > 1;
	if (f->choice != BT_NO_VALUE) {
		p.choice = bt_gpu_value(l, f->choice);
		touched[n++] = bt_gpu_reads(l, f->choice);
		bt_gpu_emit(l, bt_gpu_cmd(matvec_experts[m->format], &p, tall, f->n_tokens * f->n_used, 1), touched, n);
	} else {
		uint32_t wide = many ? (f->n_tokens + 3) / 4 : f->n_tokens;
		bt_gpu_emit(l, bt_gpu_cmd(matvec[m->format][many], &p, tall, wide, 1), touched, n);
	}
}

static void emit_part(struct bt_gpu_lowering *l, const struct bt_gpu_product *f)
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
	struct bt_gpu_matvec p = {.w = bt_gpu_planes(f->part),
	                          .xq = bt_gpu_rounded(l, f->x),
	                          .y = f->y,
	                          .bias = f->bias,
	                          .n_rows = f->n_rows,
	                          .n_blocks = m->n_blocks,
	                          .n_tokens = f->n_tokens,
	                          .n_used = f->n_used,
	                          .flags = f->flags,
	                          .part = f->where,
	                          .split = split_of(m->n_rows, m->n_blocks, MATVEC_TEAMS)};
	struct bt_gpu_range touched[] = {{p.xq, bt_gpu_rounded_bytes(l, f->x), false}, f->dst, {0}};
	uint32_t n = 2;
	if (f->choice != BT_NO_VALUE) {
		p.choice = bt_gpu_value(l, f->choice);
		touched[n++] = bt_gpu_reads(l, f->choice);
		uint32_t rows = MATVEC_TEAMS / p.split * by_columns[0].rows, tall = (f->n_rows + rows - 1) / rows;
		bt_gpu_emit(l, bt_gpu_cmd(matvec_experts[m->format], &p, tall, f->n_tokens * f->n_used, 1), touched, n);
		return;
	}
	uint32_t c = f->n_tokens > 4 ? 2 : f->n_tokens > 1;
	uint32_t rows = MATVEC_TEAMS / p.split * by_columns[c].rows, tall = (f->n_rows + rows - 1) / rows;
	uint32_t wide = (f->n_tokens + by_columns[c].columns - 1u) / by_columns[c].columns;
	bt_gpu_emit(l, bt_gpu_cmd(matvec[m->format][c], &p, tall, wide, 1), touched, n);
}

/* Part by part. */
static void emit_product(struct bt_gpu_lowering *l, const struct bt_gpu_product *f)
{
	l->product = l->n + 1;
	for (uint32_t k = 0; k < l->node->mat[f->i]->n_parts; k++) {
		struct bt_gpu_product part = bt_gpu_product_part(l, f, k);
		emit_part(l, &part);
	}
	l->product = 0;
}

/* Part k of a gate: of both matrices. */
static struct bt_gpu_gate gate_part(const struct bt_gpu_lowering *l, const struct bt_gpu_gate *whole, uint32_t k,
                                    uint32_t choice)
{
	struct bt_gpu_product mat[2];
	struct bt_gpu_gate p = *whole;
	for (uint32_t i = 0; i < 2; i++)
		mat[i] = bt_gpu_product_part(l, &(struct bt_gpu_product){.i = i, .choice = choice}, k);
	p.gate = bt_gpu_planes(mat[0].part);
	p.up = bt_gpu_planes(mat[1].part);
	p.n_rows = mat[0].n_rows;
	p.part = mat[0].where;
	p.gate_bias = mat[0].bias;
	p.up_bias = mat[1].bias;
	if (choice != BT_NO_VALUE) {
		p.gate_bias = bt_gpu_value(l, choice);
		p.up_bias = 0;
		return p;
	}
	if (p.y) p.y += mat[0].part->first * sizeof(float);
	if (p.yq) p.yq += mat[0].part->first / 32 * 48;
	return p;
}

/* Both matrices of a gate in one kernel; false: they are not of one kind, or tiles take them. */
static bool emit_gate(struct bt_gpu_lowering *l, uint32_t n_tokens, uint32_t n_used, uint32_t choice)
{
	const struct bt_gpu_matrix *a = l->node->mat[0], *b = l->node->mat[1];
	bool experts = choice != BT_NO_VALUE;
	if (a->format != b->format || bt_gpu_format_is_float(a->format)) return false;
	if (a->n_rows != b->n_rows || a->n_parts != b->n_parts) return false; /* else cut at the same rows */
	if (!bt_gpu_same_book(a->tensor->type, b->tensor->type)) return false;
	if (experts && bt_gpu_rows(l, l->op->in[0]) != n_tokens) return false;
	if (bt_gpu_is_tiled(l, n_tokens, n_used, choice)) return false;
	struct bt_gpu_gate p = {.xq = bt_gpu_rounded(l, l->op->in[0]),
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
	l->product = l->n + 1;
	for (uint32_t i = 0; i < a->n_parts; i++) {
		struct bt_gpu_gate one = gate_part(l, &p, i, choice);
		tall = (one.n_rows + GATE_ROWS - 1) / GATE_ROWS;
		bt_gpu_emit(l, bt_gpu_cmd(gate[a->format][k], &one, tall, wide, 1), touched, n);
	}
	l->product = 0;
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
