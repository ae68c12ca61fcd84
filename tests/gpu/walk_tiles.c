/* walk_tiles.c: products of many tokens (kernels/tile.k, tile_float.k, tile_packed.k, matrix_tile.k), every format in every shape of tile, and the
 * lists of the experts' tokens. */
#include "walk.h"

static const struct {
	uint32_t rows, tokens;
} shape[] = {{32, 32}, {64, 64}, {128, 64}};
enum { SHAPES = sizeof shape / sizeof *shape };
static const uint16_t tile[BT_GPU_FORMATS][SHAPES] = {
#define FORMAT(name, ...) \
	[BT_GPU_F_##name] = {BT_GPU_K_tile_##name##_32x32, BT_GPU_K_tile_##name##_64x64, BT_GPU_K_tile_##name##_128x64},
#include "backend/gpu/kernels/formats.inc"
#undef FORMAT
};

/* On matrix cores: the same shapes, then those of experts. */
static const uint32_t matrix_rows[SHAPES] = {64, 128, 128}, matrix_tokens[SHAPES] = {64, 64, 128};
static const uint16_t on_matrix_cores[BT_GPU_FORMATS][SHAPES + 2] = {
#define FORMAT(name, ...)                                                                     \
	[BT_GPU_F_##name] = {BT_GPU_K_matrix_##name##_64x64, BT_GPU_K_matrix_##name##_128x64, \
	                     BT_GPU_K_matrix_##name##_128x128, BT_GPU_K_matrix_##name##_x32,  \
	                     BT_GPU_K_matrix_##name##_x64},
#include "backend/gpu/kernels/formats.inc"
	FORMAT(f16) FORMAT(bf16)
#undef FORMAT
};
/* Of floats, without and with experts: 64 x 64. */
static const uint16_t tile_float[BT_GPU_FORMATS][2] = {
	[BT_GPU_F_f32] = {BT_GPU_K_tile_f32, BT_GPU_K_tile_f32_x},
	[BT_GPU_F_f16] = {BT_GPU_K_tile_f16, BT_GPU_K_tile_f16_x},
	[BT_GPU_F_bf16] = {BT_GPU_K_tile_bf16, BT_GPU_K_tile_bf16_x},
};

/* Likewise with activations in halves. */
static const uint16_t packed[BT_GPU_FORMATS][2] = {
	[BT_GPU_F_f16] = {BT_GPU_K_tile_packed_f16, BT_GPU_K_tile_packed_f16_x},
	[BT_GPU_F_bf16] = {BT_GPU_K_tile_packed_bf16, BT_GPU_K_tile_packed_bf16_x},
};

static enum op packed_op(const struct bt_gpu_matrix *m)
{
	return m->format == BT_GPU_F_f16 ? OP_HALF_TILE : OP_PACKED_TILE;
}

/* The product of tile_float.k with activations in halves; x: rows of activations, gx: workgroups along the tokens. */
static void launch_packed(struct walk *w, const struct bt_gpu_matrix *m, const struct bt_gpu_tile_float *p, uint32_t x,
                          uint32_t gx)
{
	struct bt_dev_mem dh = put(w, NULL, (size_t)x * p->n_blocks * 64), ds = put(w, NULL, (size_t)x * 4);
	struct bt_gpu_halve h = {.x = p->x,
	                         .xh = at(&dh),
	                         .scale = at(&ds),
	                         .n_blocks = p->n_blocks,
	                         .n_k = p->n_k,
	                         .top = BT_GPU_PACKED_TOP};
	launch(w, BT_GPU_K_halve_floats, &h, x, 1, 1);
	struct bt_gpu_tile_packed same = {p->w,      at(&dh),     at(&ds),     p->y,      p->bias,  p->list, p->tiles,
	                                  p->n_rows, p->n_blocks, p->n_tokens, p->n_used, p->flags, p->part};
	if (!bt_gpu_scale_packed(m, &same)) fail(w, "weights too large for packed halves");
	launch(w, packed[m->format][p->tiles != 0], &same, gx, (p->n_rows + 63) / 64, 1);
	bt_gpu_device_free(w->device, &dh);
	bt_gpu_device_free(w->device, &ds);
}

/* The same product on matrix cores: what p says, with the activations, n_k floats where that is not 0, halved first; x: rows of
 * activations. */
static void launch_matrix(struct walk *w, uint32_t kernel, const struct bt_gpu_tile *p, uint32_t n_k, uint32_t x,
                          uint32_t gx, uint32_t rows)
{
	struct bt_dev_mem dh = put(w, NULL, (size_t)x * p->n_blocks * 64), ds = put(w, NULL, (size_t)x * 4);
	struct bt_gpu_halve h = {.x = p->xq,
	                         .xh = at(&dh),
	                         .scale = at(&ds),
	                         .n_blocks = p->n_blocks,
	                         .n_k = n_k,
	                         .top = BT_GPU_MATRIX_TOP};
	launch(w, n_k ? BT_GPU_K_halve_floats : BT_GPU_K_halve, &h, x, 1, 1);
	struct bt_gpu_matrix_tile m = {p->w,      at(&dh),     at(&ds),     p->y,      p->bias,  p->list, p->tiles,
	                               p->n_rows, p->n_blocks, p->n_tokens, p->n_used, p->flags, p->part};
	launch(w, kernel, &m, gx, (p->n_rows + rows - 1) / rows, 1);
	bt_gpu_device_free(w->device, &dh);
	bt_gpu_device_free(w->device, &ds);
}

/* With a bias, and added to what is there. */
static void walk_tile(struct walk *w, const struct bt_type *type, uint32_t s, uint64_t k, uint64_t rows, uint32_t n)
{
	struct bt_tensor t = matrix_of(w, type, k, rows);
	float *x = rows_of(w, n * k), *bias = rows_of(w, rows), *want = calloc(n * rows, 4),
	      *got = rows_of(w, n * rows);
	struct bt_cpu_acts a = acts_of(w, x, n, k);
	uint32_t *blocks = blocks_of(&a);
	const struct bt_gpu_matrix *m = NULL;
	snprintf(w->what, sizeof w->what, "tile %ux%u of %s %llu x %llu, %u tokens", shape[s].rows, shape[s].tokens,
	         type->name, (unsigned long long)rows, (unsigned long long)k, n);
	if (bt_gpu_weights_get((struct bt_gpu_device *)w->device, &t, false, &m, &w->err)) {
		fail(w, w->err.text);
		return;
	}
	cpu_product(w, &t, &a, false, want);
	for (size_t i = 0; i < n * rows; i++) want[i] += bias[i % rows] + got[i];
	struct bt_dev_mem dx = put(w, blocks, n * k / 32 * 48), db = put(w, bias, rows * 4),
			  dy = put(w, got, n * rows * 4);
	struct bt_gpu_tile p = {.w = bt_gpu_planes(m->part),
	                        .xq = at(&dx),
	                        .y = at(&dy),
	                        .bias = at(&db),
	                        .n_rows = (uint32_t)rows,
	                        .n_blocks = m->n_blocks,
	                        .n_tokens = n,
	                        .flags = BT_GPU_STORE_ADD,
	                        .part = (uint32_t)rows};
	launch(w, tile[m->format][s], &p, (n + shape[s].tokens - 1) / shape[s].tokens,
	       (uint32_t)(rows + shape[s].rows - 1) / shape[s].rows, 1);
	float *first = calloc(n * rows, 4);
	take(w, first, &dy, n * rows * 4);
	judge(w, OP_TILE, first, want, n * rows);
	if (w->gpu->caps.matrix_cores) {
		dy = put(w, got, n * rows * 4);
		p.y = at(&dy);
		launch_matrix(w, on_matrix_cores[m->format][s], &p, 0, n, (n + matrix_tokens[s] - 1) / matrix_tokens[s],
		              matrix_rows[s]);
		take(w, first, &dy, n * rows * 4);
		judge(w, OP_MATRIX_TILE, first, want, n * rows);
	}
	bt_gpu_device_free(w->device, &dx);
	bt_gpu_device_free(w->device, &db);
	/* The tensor goes away, and with it what the device knows of it. */
	((struct bt_gpu_matrix *)m)->tensor = NULL;
	free((void *)t.data);
	free_acts(&a);
	free(blocks), free(x), free(bias), free(want), free(got), free(first);
}

/* The same of floats, and their rows of any length. big: all weights, and all activations, are near the largest, which is that;
 * 0: they are of the usual sizes. */
static void walk_float_tile(struct walk *w, const struct bt_type *type, uint64_t k, uint64_t rows, uint32_t n,
                            float big)
{
	struct bt_tensor t = matrix_of(w, type, k, rows);
	float *x = rows_of(w, n * k), *bias = rows_of(w, rows), *want = calloc(n * rows, 4),
	      *got = rows_of(w, n * rows), *result = calloc(n * rows, 4);
	struct bt_cpu_acts a = {.n_tokens = n, .k = k, .f32 = x, .f32_stride = k};
	const struct bt_gpu_matrix *m = NULL;
	snprintf(w->what, sizeof w->what, "tile of %s %llu x %llu, %u tokens, up to %g", type->name,
	         (unsigned long long)rows, (unsigned long long)k, n, (double)big);
	for (size_t r = 0; r < rows && big > 0; r++) {
		float *row = calloc(k, 4);
		for (size_t i = 0; i < k; i++) row[i] = big * (r % 2 ? -1 : 1) * (1 - 0.01f * fabsf(draw(w)));
		type->pack(row, (char *)t.data + r * t.row_bytes, k, NULL);
		free(row);
	}
	for (size_t i = 0; i < n * k && big > 0; i++) x[i] = 1 + 0.01f * x[i];
	if (bt_gpu_weights_get((struct bt_gpu_device *)w->device, &t, false, &m, &w->err)) {
		fail(w, w->err.text);
		return;
	}
	cpu_product(w, &t, &a, true, want);
	for (size_t i = 0; i < n * rows; i++) want[i] += bias[i % rows] + got[i];
	struct bt_dev_mem dx = put(w, x, n * k * 4), db = put(w, bias, rows * 4), dy = put(w, got, n * rows * 4);
	struct bt_gpu_tile_float p = {.w = m->part[0].plane[0],
	                              .x = at(&dx),
	                              .y = at(&dy),
	                              .bias = at(&db),
	                              .n_rows = (uint32_t)rows,
	                              .n_k = (uint32_t)k,
	                              .n_blocks = m->n_blocks,
	                              .n_tokens = n,
	                              .flags = BT_GPU_STORE_ADD,
	                              .part = (uint32_t)rows};
	launch(w, tile_float[m->format][0], &p, (n + 63) / 64, (uint32_t)(rows + 63) / 64, 1);
	take(w, result, &dy, n * rows * 4);
	judge(w, OP_FLOAT_PRODUCT, result, want, n * rows);
	if (packed[m->format][0] && w->gpu->caps.packed_halves) {
		dy = put(w, got, n * rows * 4);
		p.y = at(&dy);
		launch_packed(w, m, &p, n, (n + 63) / 64);
		take(w, result, &dy, n * rows * 4);
		judge(w, packed_op(m), result, want, n * rows);
	}
	/* Matrix cores take weights as they are. */
	bool fits = m->format != BT_GPU_F_f32 && big < 65504;
	for (uint32_t s = 0; s < SHAPES && fits && w->gpu->caps.matrix_cores; s++) {
		dy = put(w, got, n * rows * 4);
		struct bt_gpu_tile same = {.w = bt_gpu_planes(m->part),
		                           .xq = p.x,
		                           .y = at(&dy),
		                           .bias = p.bias,
		                           .n_rows = p.n_rows,
		                           .n_blocks = p.n_blocks,
		                           .n_tokens = n,
		                           .flags = p.flags,
		                           .part = p.part};
		launch_matrix(w, on_matrix_cores[m->format][s], &same, p.n_k, n,
		              (n + matrix_tokens[s] - 1) / matrix_tokens[s], matrix_rows[s]);
		take(w, result, &dy, n * rows * 4);
		judge(w, OP_MATRIX_TILE, result, want, n * rows);
	}
	bt_gpu_device_free(w->device, &dx);
	bt_gpu_device_free(w->device, &db);
	((struct bt_gpu_matrix *)m)->tensor = NULL;
	free((void *)t.data);
	free(x), free(bias), free(want), free(got), free(result);
}

/* A matrix with one weight that is no finite number is none for halves. */
static void walk_not_finite(struct walk *w, const struct bt_type *type, float odd)
{
	struct bt_tensor t = matrix_of(w, type, 64, 3);
	float row[64] = {[40] = odd};
	const struct bt_gpu_matrix *m = NULL;
	struct bt_gpu_tile_packed p;
	snprintf(w->what, sizeof w->what, "scales of %s with a weight of %g", type->name, (double)odd);
	type->pack(row, (char *)t.data + t.row_bytes, 64, NULL);
	w->cases++;
	if (bt_gpu_weights_get((struct bt_gpu_device *)w->device, &t, false, &m, &w->err)) {
		fail(w, w->err.text);
		return;
	}
	if (bt_gpu_scale_packed(m, &p) != (isfinite(odd) != 0)) fail(w, "the other answer");
	((struct bt_gpu_matrix *)m)->tensor = NULL;
	free((void *)t.data);
}

/* Experts: E of them, of which each token uses two. Everyone chooses the last, nobody the first. */
enum { E = 5, USED = 2 };

static uint32_t *choice_of(uint32_t n)
{
	uint32_t *c = calloc((size_t)n * 2 * USED, sizeof *c);
	for (uint32_t t = 0; t < n; t++) {
		c[t * 2 * USED + t % 2] = E - 1;
		c[t * 2 * USED + (t + 1) % 2] = 1 + t * t % (E - 2);
	}
	return c;
}

/* Lists, counts and tiles against those made here. */
static void judge_lists(struct walk *w, const uint32_t *choice, uint32_t n, uint32_t tokens, const uint32_t *list,
                        const uint32_t *count, const uint32_t *tiles, uint32_t n_tiles)
{
	uint32_t at_tile = 0;
	bool same = true;
	w->cases++;
	for (uint32_t e = 0; e < E; e++) {
		uint32_t found = 0;
		for (uint32_t i = 0; i < n * USED; i++)
			if (choice[i / USED * 2 * USED + i % USED] == e) same &= list[e * n + found++] == i;
		same &= count[e] == found;
		for (uint32_t first = 0; first < found; first += tokens, at_tile++)
			same &= at_tile < n_tiles && tiles[at_tile * 3] == e && tiles[at_tile * 3 + 1] == first &&
			        tiles[at_tile * 3 + 2] == (found - first < tokens ? found - first : tokens);
	}
	for (; at_tile < n_tiles; at_tile++) same &= !tiles[at_tile * 3 + 2];
	if (!same) fail(w, "lists of another choice");
}

static const uint16_t tile_experts[BT_GPU_FORMATS][2] = {
#define FORMAT(name, ...) [BT_GPU_F_##name] = {BT_GPU_K_tile_##name##_x32, BT_GPU_K_tile_##name##_x64},
#include "backend/gpu/kernels/formats.inc"
#undef FORMAT
};

/* What each expert makes of the rows that chose it: want [n][USED][rows]. */
static void cpu_experts(struct walk *w, const struct bt_tensor *t, const float *x, uint32_t n, bool per_slot,
                        const uint32_t *choice, bool floats, float *want)
{
	uint64_t k = t->dim[0], rows = t->dim[1];
	for (uint32_t i = 0; i < n * USED; i++) {
		struct bt_tensor one = *t;
		one.data = (const char *)t->data + choice[i / USED * 2 * USED + i % USED] * rows * t->row_bytes;
		struct bt_cpu_acts a = acts_of(w, x + (per_slot ? i : i / USED) * k, 1, k);
		cpu_product(w, &one, &a, floats, want + i * rows);
		free_acts(&a);
	}
}

static void walk_experts(struct walk *w, const struct bt_type *type, bool wide, uint64_t k, uint64_t rows, uint32_t n,
                         bool per_slot)
{
	struct bt_tensor t = matrix_of(w, type, k, rows * E);
	uint32_t tokens = wide ? 64 : 32, n_tiles = E + n * USED / tokens, n_x = per_slot ? n * USED : n;
	float *x = rows_of(w, n_x * k), *want = calloc(n * USED * rows, 4), *got = calloc(n * USED * rows, 4);
	struct bt_cpu_acts a = acts_of(w, x, n_x, k);
	uint32_t *blocks = blocks_of(&a), *choice = choice_of(n), *list = calloc(E * n, 4), count[E],
		 *tiles = calloc(n_tiles, 12);
	const struct bt_gpu_matrix *m = NULL;
	t.dim[1] = rows, t.dim[2] = E, t.matrix_bytes = rows * t.row_bytes;
	snprintf(w->what, sizeof w->what, "experts of %s %llu x %llu, %u tokens, tiles of %u", type->name,
	         (unsigned long long)rows, (unsigned long long)k, n, tokens);
	if (bt_gpu_weights_get((struct bt_gpu_device *)w->device, &t, false, &m, &w->err)) {
		fail(w, w->err.text);
		return;
	}
	bool floats = bt_gpu_format_is_float(m->format);
	cpu_experts(w, &t, x, n, per_slot, choice, floats, want);
	struct bt_dev_mem dx = floats ? put(w, x, n_x * k * 4) : put(w, blocks, n_x * k / 32 * 48),
			  dy = put(w, NULL, n * USED * rows * 4), dc = put(w, choice, n * 2 * USED * 4),
			  dl = put(w, list, E * n * 4), dn = put(w, NULL, E * 4), dt = put(w, NULL, n_tiles * 12);
	struct bt_gpu_expert_lists lists = {at(&dc), at(&dl), at(&dn), n, USED};
	launch(w, BT_GPU_K_expert_lists, &lists, E, 1, 1);
	struct bt_gpu_expert_tiles cut = {at(&dn), at(&dt), E, n_tiles, tokens};
	launch(w, BT_GPU_K_expert_tiles, &cut, 1, 1, 1);
	struct bt_gpu_tile p = {.w = bt_gpu_planes(m->part),
	                        .xq = at(&dx),
	                        .y = at(&dy),
	                        .list = at(&dl),
	                        .tiles = at(&dt),
	                        .n_rows = (uint32_t)rows,
	                        .n_blocks = m->n_blocks,
	                        .n_tokens = n,
	                        .n_used = USED,
	                        .flags = per_slot ? BT_GPU_X_PER_SLOT : 0,
	                        .part = BT_GPU_PART_EXPERTS(0, E)};
	struct bt_gpu_tile_float pf = {.w = m->part[0].plane[0],
	                               .x = p.xq,
	                               .y = p.y,
	                               .list = p.list,
	                               .tiles = p.tiles,
	                               .n_rows = p.n_rows,
	                               .n_k = (uint32_t)k,
	                               .n_blocks = p.n_blocks,
	                               .n_tokens = n,
	                               .n_used = USED,
	                               .flags = p.flags,
	                               .part = p.part};
	if (floats) launch(w, tile_float[m->format][1], &pf, n_tiles, (uint32_t)(rows + 63) / 64, 1);
	else
		launch(w, tile_experts[m->format][wide], &p, n_tiles,
		       (uint32_t)(wide ? rows + 127 : rows + 63) / (wide ? 128 : 64), 1);
	take(w, got, &dy, n * USED * rows * 4);
	judge(w, floats ? OP_FLOAT_PRODUCT : OP_TILE, got, want, n * USED * rows);
	if (packed[m->format][1] && w->gpu->caps.packed_halves) {
		dy = put(w, NULL, n * USED * rows * 4);
		pf.y = at(&dy);
		launch_packed(w, m, &pf, n_x, n_tiles);
		take(w, got, &dy, n * USED * rows * 4);
		judge(w, packed_op(m), got, want, n * USED * rows);
	}
	if (w->gpu->caps.matrix_cores && m->format != BT_GPU_F_f32) {
		dy = put(w, NULL, n * USED * rows * 4);
		p.y = at(&dy);
		launch_matrix(w, on_matrix_cores[m->format][SHAPES + wide], &p, floats ? pf.n_k : 0, n_x, n_tiles, 128);
		take(w, got, &dy, n * USED * rows * 4);
		judge(w, OP_MATRIX_TILE, got, want, n * USED * rows);
	}
	take(w, list, &dl, E * n * 4);
	take(w, count, &dn, sizeof count);
	take(w, tiles, &dt, n_tiles * 12);
	judge_lists(w, choice, n, tokens, list, count, tiles, n_tiles);
	bt_gpu_device_free(w->device, &dx);
	bt_gpu_device_free(w->device, &dc);
	((struct bt_gpu_matrix *)m)->tensor = NULL;
	free((void *)t.data);
	free_acts(&a);
	free(blocks), free(choice), free(list), free(tiles), free(x), free(want), free(got);
}

void walk_tiles(struct walk *w)
{
	static const enum bt_type_id floats[] = {BT_TYPE_F32, BT_TYPE_F16, BT_TYPE_BF16};
	bool walked[BT_GPU_FORMATS] = {false};
	for (int i = 0; i < 3; i++) {
		const struct bt_type *type = bt_type_get(floats[i]);
		walk_float_tile(w, type, 100, 67, 9, 0);
		walk_float_tile(w, type, 128, 130, 66, 0);
		walk_float_tile(w, type, 37, 64, 64, 0);
		/* Sums that must not pass the end of a half: of weights at its end, of some that fit in none, and of tiny ones. */
		walk_float_tile(w, type, 96, 6, 5, i == 1 ? 65504 : 1e29f);
		walk_float_tile(w, type, 96, 6, 5, 3e-5f);
		for (int odd = 0; odd < 3 && i > 0; odd++)
			walk_not_finite(w, type, (float[]){-INFINITY, NAN, -60000}[odd]);
		walk_experts(w, type, i % 2, 96, 70, 70, i % 2);
	}
	for (uint32_t id = 0; id < BT_TYPE_COUNT; id++) {
		const struct bt_type *type = bt_type_get(id);
		enum bt_gpu_format f = type ? bt_gpu_format_of(type, false) : BT_GPU_F_f32;
		if (!type || bt_gpu_format_is_float(f) || walked[f]) continue;
		walked[f] = true;
		/* Rows, tokens and blocks that fill no tile, and such as fill one to the last. */
		for (uint32_t s = 0; s < SHAPES; s++) {
			walk_tile(w, type, s, 256 * (1 + s % 2), shape[s].rows + 3, 9 + 2 * s);
			walk_tile(w, type, s, 256, 5, shape[s].tokens + 1);
			if (type->block == 32) walk_tile(w, type, s, 96 + 64 * s, shape[s].rows, shape[s].tokens);
		}
		walk_experts(w, type, f % 2, 256, 131, 70, f % 3);
		walk_experts(w, type, !(f % 2), 256, 40, 300, !(f % 3));
	}
}
