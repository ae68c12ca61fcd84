/* lower_tiles.c: products of many tokens, by tiles (kernels/tile.k and tile_float.k; matrix_tile.k where there are matrix cores, or
 * else tile_packed.k where there is 16-bit arithmetic), and those of experts, by who chose which.
 *
 * A wide tile reads the matrix seldom and shared memory little; a narrow one makes more workgroups. The widest is taken that
 * still gives every multiprocessor of a large card one.
 */
#include "backend/gpu/lower.h"

#include <math.h>

#define TILE_FROM   9u  /* tokens */
#define MATRIX_BUSY 96u /* where a tile is done so fast that a second round of smaller ones costs more */

struct shape {
	uint16_t rows, tokens;
};
static const struct shape shape[] = {{128, 64}, {64, 64}, {32, 32}}, matrix_shape[] = {{128, 128}, {128, 64}, {64, 64}};
enum { SHAPES = sizeof shape / sizeof *shape };
_Static_assert(SHAPES == sizeof matrix_shape / sizeof *matrix_shape, "as many shapes with matrix cores as without");
static const uint16_t tile[BT_GPU_FORMATS][SHAPES] = {
#define FORMAT(name, ...) \
	[BT_GPU_F_##name] = {BT_GPU_K_tile_##name##_128x64, BT_GPU_K_tile_##name##_64x64, BT_GPU_K_tile_##name##_32x32},
#include "backend/gpu/kernels/formats.inc"
#undef FORMAT
};
/* Of floats there is one shape, 64 x 64: by format, then without and with experts. */
static const struct shape float_shape = {64, 64};
static const uint16_t tile_float[BT_GPU_FORMATS][2] = {
	[BT_GPU_F_f32] = {BT_GPU_K_tile_f32, BT_GPU_K_tile_f32_x},
	[BT_GPU_F_f16] = {BT_GPU_K_tile_f16, BT_GPU_K_tile_f16_x},
	[BT_GPU_F_bf16] = {BT_GPU_K_tile_bf16, BT_GPU_K_tile_bf16_x},
};
/* Likewise with activations in halves; 0: not so. */
static const uint16_t packed[BT_GPU_FORMATS][2] = {
	[BT_GPU_F_f16] = {BT_GPU_K_tile_packed_f16, BT_GPU_K_tile_packed_f16_x},
	[BT_GPU_F_bf16] = {BT_GPU_K_tile_packed_bf16, BT_GPU_K_tile_packed_bf16_x},
};
static const uint16_t matrix[BT_GPU_FORMATS][SHAPES] = {
#define FORMAT(name, ...)                                                                       \
	[BT_GPU_F_##name] = {BT_GPU_K_matrix_##name##_128x128, BT_GPU_K_matrix_##name##_128x64, \
	                     BT_GPU_K_matrix_##name##_64x64},
#include "backend/gpu/kernels/formats.inc"
	FORMAT(f16) FORMAT(bf16)
#undef FORMAT
};

static uint32_t parts(uint32_t n, uint32_t of)
{
	return (n + of - 1) / of;
}

/* Where subgroups have 64 threads (AMD's GCN) the sums of the largest leave a processor one wave, which waits for every
 * load: the next one is faster there (docs/mi50.md). */
static bool small_tiles(const struct bt_gpu_lowering *l)
{
	return l->e->dev->gpu->caps.subgroup >= 64;
}

/* A tile that is half empty or worse is not taken, however many there are. */
static uint32_t pick(const struct shape *s, uint32_t first, uint32_t busy, uint32_t n_rows, uint32_t n_tokens)
{
	uint32_t i = first;
	while (i + 1 < SHAPES &&
	       (parts(n_rows, s[i].rows) * parts(n_tokens, s[i].tokens) < busy || 2 * n_tokens <= s[i].tokens))
		i++;
	return i;
}

/* Experts: a narrow tile where an expert has few tokens. By whether it is the wide one. */
#define NARROW 32u
#define WIDE   64u
static const struct shape expert_shape[2] = {{64, 0}, {128, 0}}; /* tokens: the lists say where tiles end */
#define MATRIX_EXPERT_ROWS 128u
static const uint16_t tile_experts[BT_GPU_FORMATS][2] = {
#define FORMAT(name, ...) [BT_GPU_F_##name] = {BT_GPU_K_tile_##name##_x32, BT_GPU_K_tile_##name##_x64},
#include "backend/gpu/kernels/formats.inc"
#undef FORMAT
};
static const uint16_t matrix_experts[BT_GPU_FORMATS][2] = {
#define FORMAT(name, ...) [BT_GPU_F_##name] = {BT_GPU_K_matrix_##name##_x32, BT_GPU_K_matrix_##name##_x64},
#include "backend/gpu/kernels/formats.inc"
	FORMAT(f16) FORMAT(bf16)
#undef FORMAT
};

/* What one choice of experts comes to. */
struct groups {
	uint32_t n_expert, n_tokens, n_pairs, tokens; /* a pair: a token and one of its slots; tokens of a tile */
	uint32_t n_tiles;                             /* at most: every expert's last tile may be all but empty */
	uint64_t list, tiles, size;                   /* offsets, and bytes of all; the counts come first */
};

static struct groups groups_of(const struct bt_tensor *experts, uint32_t n_tokens, uint32_t n_used, bool narrow)
{
	struct groups g = {.n_expert = (uint32_t)experts->dim[2], .n_tokens = n_tokens, .n_pairs = n_tokens * n_used};
	uint32_t chosen = g.n_expert < g.n_pairs ? g.n_expert : g.n_pairs;
	g.tokens = narrow || g.n_pairs / g.n_expert < WIDE ? NARROW : WIDE;
	g.n_tiles = chosen + (g.n_pairs - chosen) / g.tokens;
	g.list = ((uint64_t)g.n_expert * 4 + 255) & ~(uint64_t)255;
	g.tiles = (g.list + (uint64_t)g.n_expert * n_tokens * 4 + 255) & ~(uint64_t)255;
	g.size = g.tiles + (uint64_t)g.n_tiles * 12;
	return g;
}

size_t bt_gpu_groups_bytes(const struct bt_plan *plan, uint32_t n_tokens)
{
	size_t most = 0;
	for (uint32_t i = 0; i < plan->n_ops; i++) {
		const struct bt_op *op = &plan->op[i];
		if (op->kind != BT_OP_MATMUL_EXPERTS) continue;
		/* Fewer tokens may mean more tiles, of the narrow kind. */
		struct groups g = groups_of(op->matmul.mat[0].w, n_tokens, plan->n_expert_used, false);
		size_t size = g.size + (size_t)(g.n_pairs / NARROW) * 12;
		if (most < size) most = size;
	}
	return most;
}

bool bt_gpu_is_tiled(const struct bt_gpu_lowering *l, uint32_t n_tokens, uint32_t n_used, uint32_t choice)
{
	return n_tokens >= TILE_FROM && (choice == BT_NO_VALUE || n_tokens * n_used >= l->op->matmul.mat[0].w->dim[2]);
}

/* Lists and tiles of a choice, unless they are there already. */
static void group(struct bt_gpu_lowering *l, const struct groups *g, uint32_t choice, uint32_t n_used)
{
	uint64_t base = l->e->groups.address;
	if (l->grouped == choice) return;
	l->grouped = choice;
	struct bt_gpu_expert_lists lists = {.choice = bt_gpu_value(l, choice),
	                                    .list = base + g->list,
	                                    .count = base,
	                                    .n_tokens = g->n_tokens,
	                                    .n_used = n_used};
	struct bt_gpu_range written[] = {bt_gpu_reads(l, choice), {base, g->tiles, true}};
	bt_gpu_emit(l, bt_gpu_cmd(BT_GPU_K_expert_lists, &lists, g->n_expert, 1, 1), written, 2);
	struct bt_gpu_expert_tiles cut = {.count = base,
	                                  .tiles = base + g->tiles,
	                                  .n_expert = g->n_expert,
	                                  .n_tiles = g->n_tiles,
	                                  .tokens = g->tokens};
	struct bt_gpu_range touched[] = {{base, g->tiles, false}, {cut.tiles, (uint64_t)g->n_tiles * 12, true}};
	bt_gpu_emit(l, bt_gpu_cmd(BT_GPU_K_expert_tiles, &cut, 1, 1, 1), touched, 2);
}

/* A product in tiles: what its kernels share, whatever the matrix is made of. */
struct tiles {
	const struct bt_gpu_product *f;
	const struct bt_gpu_matrix *m;
	struct groups g; /* of experts; else zeros */
	bool experts;
	uint64_t list, cut;
	uint32_t n_x; /* rows of activations */
	struct bt_gpu_range touched[4];
	uint32_t n_touched; /* [0] is for the activations */
};

/* Start a kernel whose workgroup takes that part of the product. */
static void emit(struct bt_gpu_lowering *l, const struct tiles *t, uint16_t kernel, const void *params, struct shape s)
{
	uint32_t wide = t->experts ? t->g.n_tiles : parts(t->f->n_tokens, s.tokens);
	bt_gpu_emit(l, bt_gpu_cmd(kernel, params, wide, parts(t->f->n_rows, s.rows), 1), t->touched, t->n_touched);
}

/* The activations as halves below 2^top, unless they are there already. */
static struct bt_gpu_range halve(struct bt_gpu_lowering *l, const struct tiles *t, uint32_t top)
{
	uint32_t v = t->f->x;
	bool floats = bt_gpu_format_is_float(t->m->format);
	struct bt_gpu_range halves = {l->e->halves.address, bt_gpu_halves_bytes(t->n_x, t->m->n_blocks * 32), true};
	if (l->halved != v) {
		uint64_t rounded = floats ? 0 : bt_gpu_rounded(l, v);
		struct bt_gpu_range touched[] = {{rounded, bt_gpu_rounded_bytes(l, v), false}, halves};
		if (floats) touched[0] = bt_gpu_reads(l, v);
		struct bt_gpu_halve p = {.x = touched[0].address,
		                         .xh = halves.address + bt_gpu_halves_at(t->n_x),
		                         .scale = halves.address,
		                         .n_blocks = t->m->n_blocks,
		                         .n_k = bt_gpu_width(l, v),
		                         .top = top};
		bt_gpu_emit(l, bt_gpu_cmd(floats ? BT_GPU_K_halve_floats : BT_GPU_K_halve, &p, t->n_x, 1, 1), touched,
		            2);
		l->halved = v;
	}
	halves.write = false;
	return halves;
}

static void emit_matrix(struct bt_gpu_lowering *l, struct tiles *t)
{
	const struct bt_gpu_product *f = t->f;
	uint32_t s = pick(matrix_shape, 0, MATRIX_BUSY, t->m->n_rows, f->n_tokens);
	t->touched[0] = halve(l, t, BT_GPU_MATRIX_TOP);
	struct bt_gpu_matrix_tile p = {.w = bt_gpu_planes(f->part),
	                               .xh = t->touched[0].address + bt_gpu_halves_at(t->n_x),
	                               .scale = t->touched[0].address,
	                               .y = f->y,
	                               .bias = f->bias,
	                               .list = t->list,
	                               .tiles = t->cut,
	                               .n_rows = f->n_rows,
	                               .n_blocks = t->m->n_blocks,
	                               .n_tokens = f->n_tokens,
	                               .n_used = f->n_used,
	                               .flags = f->flags,
	                               .part = f->where};
	if (t->experts)
		emit(l, t, matrix_experts[t->m->format][t->g.tokens == WIDE], &p,
		     (struct shape){MATRIX_EXPERT_ROWS, 0});
	else emit(l, t, matrix[t->m->format][s], &p, matrix_shape[s]);
}

static void emit_float(struct bt_gpu_lowering *l, struct tiles *t)
{
	const struct bt_gpu_product *f = t->f;
	t->touched[0] = bt_gpu_reads(l, f->x);
	struct bt_gpu_tile_float p = {.w = f->part->plane[BT_GPU_PLANE_Q],
	                              .x = t->touched[0].address,
	                              .y = f->y,
	                              .bias = f->bias,
	                              .list = t->list,
	                              .tiles = t->cut,
	                              .n_rows = f->n_rows,
	                              .n_k = t->m->n_k,
	                              .n_blocks = t->m->n_blocks,
	                              .n_tokens = f->n_tokens,
	                              .n_used = f->n_used,
	                              .flags = f->flags,
	                              .part = f->where};
	emit(l, t, tile_float[t->m->format][t->experts], &p, float_shape);
}

bool bt_gpu_scale_packed(const struct bt_gpu_matrix *m, struct bt_gpu_tile_packed *p)
{
	bool f16 = m->format == BT_GPU_F_f16;
	int down = f16 ? m->below - 15 : m->below - 2, least = f16 ? -10 : -100;
	if (down < least) down = least;
	p->w_down = ldexpf(1, -down);
	p->w_up = ldexpf(1, down);
	return f16 ? m->below <= 16 : down <= 100;
}

static void emit_packed(struct bt_gpu_lowering *l, struct tiles *t)
{
	const struct bt_gpu_product *f = t->f;
	struct bt_gpu_tile_packed p = {.w = f->part->plane[BT_GPU_PLANE_Q],
	                               .y = f->y,
	                               .bias = f->bias,
	                               .list = t->list,
	                               .tiles = t->cut,
	                               .n_rows = f->n_rows,
	                               .n_blocks = t->m->n_blocks,
	                               .n_tokens = f->n_tokens,
	                               .n_used = f->n_used,
	                               .flags = f->flags,
	                               .part = f->where};
	if (!bt_gpu_scale_packed(t->m, &p)) {
		emit_float(l, t);
		return;
	}
	t->touched[0] = halve(l, t, BT_GPU_PACKED_TOP);
	p.xh = t->touched[0].address + bt_gpu_halves_at(t->n_x);
	p.scale = t->touched[0].address;
	emit(l, t, packed[t->m->format][t->experts], &p, float_shape);
}

static void emit_integer(struct bt_gpu_lowering *l, struct tiles *t)
{
	const struct bt_gpu_product *f = t->f;
	uint32_t s = pick(shape, small_tiles(l), BT_GPU_BUSY, t->m->n_rows, f->n_tokens);
	struct bt_gpu_tile p = {.w = bt_gpu_planes(f->part),
	                        .xq = bt_gpu_rounded(l, f->x),
	                        .y = f->y,
	                        .bias = f->bias,
	                        .list = t->list,
	                        .tiles = t->cut,
	                        .n_rows = f->n_rows,
	                        .n_blocks = t->m->n_blocks,
	                        .n_tokens = f->n_tokens,
	                        .n_used = f->n_used,
	                        .flags = f->flags,
	                        .part = f->where};
	t->touched[0] = (struct bt_gpu_range){p.xq, bt_gpu_rounded_bytes(l, f->x), false};
	bool wide = t->g.tokens == WIDE;
	if (t->experts) emit(l, t, tile_experts[t->m->format][wide], &p, expert_shape[wide]);
	else emit(l, t, tile[t->m->format][s], &p, shape[s]);
}

bool bt_gpu_multiplies_halves(const struct bt_gpu_caps *caps, enum bt_gpu_format f)
{
	if (caps->matrix_cores) return f != BT_GPU_F_f32;
	return caps->packed_halves && packed[f][0];
}

void bt_gpu_emit_tiles(struct bt_gpu_lowering *l, const struct bt_gpu_product *f)
{
	struct tiles t = {.f = f,
	                  .m = l->node->mat[f->i],
	                  .experts = f->choice != BT_NO_VALUE,
	                  .n_x = bt_gpu_rows(l, f->x),
	                  .touched[1] = f->dst,
	                  .n_touched = 2};
	if (t.experts) {
		uint64_t base = l->e->groups.address;
		t.g = groups_of(l->op->matmul.mat[0].w, f->n_tokens, f->n_used, small_tiles(l));
		group(l, &t.g, f->choice, f->n_used);
		t.list = base + t.g.list;
		t.cut = base + t.g.tiles;
		t.touched[t.n_touched++] = (struct bt_gpu_range){base, t.g.size, false};
	}
	const struct bt_gpu_caps *caps = &l->e->dev->gpu->caps;
	bool many = t.n_x >= BT_GPU_HALVES_FROM && l->e->halves.size;
	if (many && bt_gpu_multiplies_halves(caps, t.m->format))
		(caps->matrix_cores ? emit_matrix : emit_packed)(l, &t);
	else if (bt_gpu_format_is_float(t.m->format)) emit_float(l, &t);
	else emit_integer(l, &t);
}
