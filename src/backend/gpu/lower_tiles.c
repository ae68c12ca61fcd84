/* lower_tiles.c: products of many tokens, by tiles (kernels/tile.k, or matrix_tile.k where there are matrix cores), and those of
 * experts, by who chose which.
 *
 * A wide tile reads the matrix seldom and shared memory little; a narrow one makes more workgroups. The widest is taken that
 * still gives every multiprocessor of a large card one.
 */
#include "backend/gpu/lower.h"

#define BUSY 128u /* workgroups that keep a large card busy */

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
static const uint16_t matrix[BT_GPU_FORMATS][SHAPES] = {
#define FORMAT(name, ...)                                                               \
	[BT_GPU_F_##name] = {BT_GPU_K_matrix_##name##_128x128, BT_GPU_K_matrix_##name##_128x64, \
	                     BT_GPU_K_matrix_##name##_64x64},
#include "backend/gpu/kernels/formats.inc"
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
static uint32_t pick(const struct shape *s, uint32_t first, uint32_t n_rows, uint32_t n_tokens)
{
	uint32_t i = first;
	while (i + 1 < SHAPES &&
	       (parts(n_rows, s[i].rows) * parts(n_tokens, s[i].tokens) < BUSY || 2 * n_tokens <= s[i].tokens))
		i++;
	return i;
}

/* The product of p on matrix cores, by that kernel: its activations become halves, unless they are already. */
static void emit_matrix(struct bt_gpu_lowering *l, uint16_t kernel, const struct bt_gpu_tile *p, uint32_t n_x, uint32_t x,
                        uint32_t y, const struct bt_gpu_range *touched, uint32_t n)
{
	struct bt_gpu_range halves = {l->e->halves.address, bt_gpu_halves_bytes(n_x, p->n_blocks * 32), false}, all[4];
	struct bt_gpu_halve halve = {.xq = p->xq,
	                             .xh = halves.address + bt_gpu_halves_at(n_x),
	                             .scale = halves.address,
	                             .n_blocks = p->n_blocks};
	if (!l->halved) {
		struct bt_gpu_range made[] = {touched[0], halves};
		made[1].write = true;
		bt_gpu_emit(l, bt_gpu_cmd(BT_GPU_K_halve, &halve, n_x, 1, 1), made, 2);
		l->halved = true;
	}
	all[0] = halves;
	for (uint32_t i = 1; i < n; i++) all[i] = touched[i];
	struct bt_gpu_matrix_tile m = {.w = p->w,
	                               .xh = halve.xh,
	                               .scale = halve.scale,
	                               .y = p->y,
	                               .bias = p->bias,
	                               .list = p->list,
	                               .tiles = p->tiles,
	                               .n_rows = p->n_rows,
	                               .n_blocks = p->n_blocks,
	                               .n_tokens = p->n_tokens,
	                               .n_used = p->n_used,
	                               .flags = p->flags};
	bt_gpu_emit(l, bt_gpu_cmd(kernel, &m, x, y, 1), all, n);
}

void bt_gpu_emit_tile(struct bt_gpu_lowering *l, enum bt_gpu_format format, const struct bt_gpu_tile *p,
                      uint32_t n_x, const struct bt_gpu_range touched[2])
{
	if (l->e->halves.size && p->n_tokens >= BT_GPU_MATRIX_FROM) {
		uint32_t s = pick(matrix_shape, 0, p->n_rows, p->n_tokens);
		emit_matrix(l, matrix[format][s], p, n_x, parts(p->n_tokens, matrix_shape[s].tokens),
		            parts(p->n_rows, matrix_shape[s].rows), touched, 2);
	} else {
		uint32_t s = pick(shape, small_tiles(l), p->n_rows, p->n_tokens);
		bt_gpu_emit(l,
		            bt_gpu_cmd(tile[format][s], p, parts(p->n_tokens, shape[s].tokens),
		                       parts(p->n_rows, shape[s].rows), 1),
		            touched, 2);
	}
}

/* Experts: a narrow tile where an expert has few tokens. */
#define NARROW 32u
#define WIDE   64u
static const uint16_t tile_experts[BT_GPU_FORMATS][2] = {
#define FORMAT(name, ...) [BT_GPU_F_##name] = {BT_GPU_K_tile_##name##_x32, BT_GPU_K_tile_##name##_x64},
#include "backend/gpu/kernels/formats.inc"
#undef FORMAT
};
static const uint16_t matrix_experts[BT_GPU_FORMATS][2] = {
#define FORMAT(name, ...) [BT_GPU_F_##name] = {BT_GPU_K_matrix_##name##_x32, BT_GPU_K_matrix_##name##_x64},
#include "backend/gpu/kernels/formats.inc"
#undef FORMAT
};
#define EXPERT_ROWS 128u

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

bool bt_gpu_is_grouped(const struct bt_gpu_lowering *l, uint32_t n_tokens, uint32_t n_used)
{
	return n_tokens >= BT_GPU_TILE_FROM && n_tokens * n_used >= l->op->matmul.mat[0].w->dim[2];
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

void bt_gpu_emit_expert_tile(struct bt_gpu_lowering *l, const struct bt_gpu_matrix *m, uint32_t choice,
                             struct bt_gpu_tile p, uint32_t n_x, const struct bt_gpu_range touched[2])
{
	bool matrix_cores = l->e->halves.size && n_x >= BT_GPU_MATRIX_FROM;
	struct groups g = groups_of(l->op->matmul.mat[0].w, p.n_tokens, p.n_used, small_tiles(l));
	uint32_t wide = g.tokens == WIDE, rows = parts(p.n_rows, EXPERT_ROWS);
	group(l, &g, choice, p.n_used);
	p.list = l->e->groups.address + g.list;
	p.tiles = l->e->groups.address + g.tiles;
	struct bt_gpu_range all[] = {touched[0], touched[1], {l->e->groups.address, g.size, false}};
	if (matrix_cores) emit_matrix(l, matrix_experts[m->format][wide], &p, n_x, g.n_tiles, rows, all, 3);
	else bt_gpu_emit(l, bt_gpu_cmd(tile_experts[m->format][wide], &p, g.n_tiles, rows, 1), all, 3);
}
