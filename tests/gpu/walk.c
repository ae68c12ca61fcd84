/* walk.c: the kernel walk for GPUs: kernels by their own parameters, against the CPU's plain C kernels.
 *
 *   gpu_walk emulator [WIDTH]
 *                       in the emulator, at subgroup widths 8, 32 and 64, or one of them
 *   gpu_walk Vulkan [plain]
 *                       on the first Vulkan device (exit status 77 where there is none); plain: with the kernels for devices
 *                       that exchange nothing between lanes
 *   gpu_walk Vulkan large | caches
 *                       matrices and caches of more than 4 GiB only, or the latter alone: for a card and a machine with room for
 *                       them (walk_large.c, walk_caches.c)
 *   gpu_walk planted    faulty kernels, which the emulator must find
 *
 * Products with rounded activations whose rows are one team's follow the CPU's order of summation, so they are compared bit
 * for bit; where a target's exp or the order differ, the tolerance belongs to the operation: see the table `tolerance` in walk.h.
 */
#include "walk.h"

#include "emu.h"
#include "emu_driver.h"

#ifdef BT_HAVE_VULKAN
extern const struct bt_gpu_driver bt_vk_driver;
extern const struct bt_backend bt_backend_vulkan;
#endif

static const uint16_t matvec[BT_GPU_FORMATS][3] = {
#define FORMAT(name, ...) \
	[BT_GPU_F_##name] = {BT_GPU_K_matvec_##name##_1, BT_GPU_K_matvec_##name##_4, BT_GPU_K_matvec_##name##_8},
#include "backend/gpu/kernels/formats.inc"
#undef FORMAT
	[BT_GPU_F_f32] = {BT_GPU_K_matvec_f32_1, BT_GPU_K_matvec_f32_4, BT_GPU_K_matvec_f32_4},
	[BT_GPU_F_f16] = {BT_GPU_K_matvec_f16_1, BT_GPU_K_matvec_f16_4, BT_GPU_K_matvec_f16_4},
	[BT_GPU_F_bf16] = {BT_GPU_K_matvec_bf16_1, BT_GPU_K_matvec_bf16_4, BT_GPU_K_matvec_bf16_4},
};

static void walk_product(struct walk *w, const struct bt_type *type, bool exact, uint64_t k, uint64_t rows, uint32_t n,
                         uint32_t split)
{
	struct bt_tensor t = matrix_of(w, type, k, rows);
	float *x = rows_of(w, n * k), *want = calloc(n * rows, 4), *got = calloc(n * rows, 4);
	struct bt_cpu_acts a = acts_of(w, x, n, k);
	const struct bt_gpu_matrix *m = NULL;
	snprintf(w->what, sizeof w->what, "%s%s %llu x %llu, %u tokens, split by %u", type->name, exact ? " exact" : "",
	         (unsigned long long)rows, (unsigned long long)k, n, split);
	if (bt_gpu_weights_get((struct bt_gpu_device *)w->device, &t, exact, &m, &w->err)) {
		fail(w, w->err.text);
		return;
	}
	bool floats = bt_gpu_format_is_float(m->format);
	uint32_t *blocks = blocks_of(&a);
	struct bt_dev_mem dx = floats ? put(w, x, n * k * 4) : put(w, blocks, n * k / 32 * 48),
			  dy = put(w, NULL, n * rows * 4);
	uint32_t c = n > 4 && !floats ? 2 : n > 1, columns = c == 2 ? 8 : c ? 4 : 1, tall = c == 2 || floats ? 16 : 32;
	tall /= split;
	uint32_t gx = (uint32_t)(rows + tall - 1) / tall, gy = (n + columns - 1) / columns;
	if (floats) {
		struct bt_gpu_matvec_float p = {.w = m->part[0].plane[0],
		                                .x = at(&dx),
		                                .y = at(&dy),
		                                .n_rows = (uint32_t)rows,
		                                .part = (uint32_t)rows,
		                                .n_k = (uint32_t)k,
		                                .n_blocks = m->n_blocks,
		                                .n_tokens = n,
		                                .split = split};
		launch(w, matvec[m->format][c], &p, gx, gy, 1);
	} else {
		struct bt_gpu_matvec p = {.w = bt_gpu_planes(m->part),
		                          .xq = at(&dx),
		                          .y = at(&dy),
		                          .n_rows = (uint32_t)rows,
		                          .part = (uint32_t)rows,
		                          .n_blocks = m->n_blocks,
		                          .n_tokens = n,
		                          .split = split};
		launch(w, matvec[m->format][c], &p, gx, gy, 1);
	}
	take(w, got, &dy, n * rows * 4);
	cpu_product(w, &t, &a, floats, want);
	judge(w, product_op(m, split), got, want, n * rows);
	bt_gpu_device_free(w->device, &dx);
	/* The tensor goes away, and with it what the device knows of it. */
	((struct bt_gpu_matrix *)m)->tensor = NULL;
	free((void *)t.data);
	free_acts(&a);
	free(blocks);
	free(x);
	free(want);
	free(got);
}

static const uint16_t gate[BT_GPU_FORMATS][3] = {
#define FORMAT(name, ...) \
	[BT_GPU_F_##name] = {BT_GPU_K_gate_##name##_1, BT_GPU_K_gate_##name##_4, BT_GPU_K_gate_##name##_wide},
#include "backend/gpu/kernels/formats.inc"
#undef FORMAT
};

/* Both matrices and the gate, as floats and rounded. split 0: by workgroups of many threads. */
static void walk_gate(struct walk *w, const struct bt_type *type, uint64_t k, uint64_t rows, uint32_t n, uint32_t split)
{
	struct bt_tensor t[2] = {matrix_of(w, type, k, rows), matrix_of(w, type, k, rows)};
	float *x = rows_of(w, n * k), *want = calloc(n * rows, 4), *up = calloc(n * rows, 4),
	      *got = calloc(n * rows, 4);
	/* Inputs such that the gate is in its middle: far out it is an exponential of rounding errors. */
	struct bt_cpu_acts a = acts_of(w, x, n, k);
	cpu_product(w, &t[0], &a, false, want);
	float most = 0;
	for (size_t i = 0; i < n * rows; i++) most = fmaxf(most, fabsf(want[i]));
	for (size_t i = 0; i < n * k; i++) x[i] *= 4 / most;
	free_acts(&a);
	a = acts_of(w, x, n, k);
	const struct bt_gpu_matrix *m[2] = {NULL, NULL};
	snprintf(w->what, sizeof w->what, "gate %s %llu x %llu, %u tokens, split by %u", type->name,
	         (unsigned long long)rows, (unsigned long long)k, n, split);
	uint32_t kernel = split ? n > 1 : 2;
	for (int i = 0; i < 2; i++)
		if (bt_gpu_weights_get((struct bt_gpu_device *)w->device, &t[i], false, &m[i], &w->err)) {
			fail(w, w->err.text);
			return;
		}
	uint32_t *blocks = blocks_of(&a), *yq = calloc(n * rows / 32 + 1, 48);
	struct bt_dev_mem dx = put(w, blocks, n * k / 32 * 48), dy = put(w, NULL, n * rows * 4),
			  dq = put(w, NULL, (n * rows / 32 + 1) * 48);
	struct bt_gpu_gate p = {.gate = bt_gpu_planes(m[0]->part),
	                        .up = bt_gpu_planes(m[1]->part),
	                        .xq = at(&dx),
	                        .y = at(&dy),
	                        .yq = rows % 32 ? 0 : at(&dq),
	                        .n_rows = (uint32_t)rows,
	                        .part = (uint32_t)rows,
	                        .n_blocks = m[0]->n_blocks,
	                        .n_tokens = n,
	                        .split = split ? split : 4};
	launch(w, gate[m[0]->format][kernel], &p, (uint32_t)(rows + 31) / 32, n > 1 ? (n + 3) / 4 : 1, 1);
	take(w, got, &dy, n * rows * 4);
	take(w, yq, &dq, (n * rows / 32 + 1) * 48);
	cpu_product(w, &t[0], &a, false, want);
	cpu_product(w, &t[1], &a, false, up);
	for (size_t i = 0; i < n * rows; i++) want[i] = want[i] / (1 + expf(-want[i])) * up[i];
	judge(w, OP_GATE, got, want, n * rows);
	if (rows % 32 == 0) {
		struct bt_cpu_acts y = acts_of(w, got, n, rows);
		uint32_t *same = blocks_of(&y);
		judge_blocks(w, yq, same, n * (uint32_t)rows / 32);
		free(same);
		free_acts(&y);
	}
	bt_gpu_device_free(w->device, &dx);
	for (int i = 0; i < 2; i++) {
		((struct bt_gpu_matrix *)m[i])->tensor = NULL;
		free((void *)t[i].data);
	}
	free_acts(&a);
	free(blocks), free(yq), free(x), free(want), free(up), free(got);
}

static void walk_products(struct walk *w)
{
	for (uint32_t id = 0; id < BT_TYPE_COUNT; id++) {
		const struct bt_type *type = bt_type_get(id);
		if (!type) continue;
		walk_product(w, type, false, 256, 33, 1, 1);
		walk_product(w, type, false, 1280, 35, 1, 4);
		walk_product(w, type, false, 512, 35, 3, 1);
		walk_product(w, type, false, 768, 18, 2, 2);
		walk_product(w, type, false, 1024, 17, 9, 1);
		walk_product(w, type, false, 1792, 3, 5, 16);
		walk_product(w, type, true, 256, 5, 2, 1);
		if (bt_gpu_format_is_float(bt_gpu_format_of(type, false))) continue;
		walk_gate(w, type, 256, 33, 1, 1);
		walk_gate(w, type, 1280, 64, 1, 4);
		walk_gate(w, type, 1280, 64, 1, 0);
		walk_gate(w, type, 768, 32, 5, 2);
		if (type->block == 32) walk_product(w, type, false, 96, 7, 5, 1);
	}
}

static void walk_norm(struct walk *w, uint32_t n, uint32_t rows, bool team)
{
	float *x = rows_of(w, n * rows), *wt = rows_of(w, n), *want = calloc(n * rows, 4), *got = calloc(n * rows, 4);
	uint32_t *blocks = calloc(n * rows / 32 + 1, 48);
	snprintf(w->what, sizeof w->what, "rms_norm %u x %u%s", rows, n, team ? " by teams" : "");
	struct bt_dev_mem dx = put(w, x, n * rows * 4), dw = put(w, wt, n * 4), dy = put(w, NULL, n * rows * 4),
			  dq = put(w, NULL, (n * rows / 32 + 1) * 48);
	struct bt_gpu_norm p = {.x = at(&dx),
	                        .w = at(&dw),
	                        .y = at(&dy),
	                        .xq = n % 32 ? 0 : at(&dq),
	                        .n = n,
	                        .n_groups = 1,
	                        .n_total = rows,
	                        .eps = 1e-5f};
	launch(w, team ? BT_GPU_K_rms_norm_team : BT_GPU_K_rms_norm, &p, team ? (rows + 31) / 32 : rows, 1, 1);
	take(w, got, &dy, n * rows * 4);
	take(w, blocks, &dq, (n * rows / 32 + 1) * 48);
	for (uint32_t r = 0; r < rows; r++) w->cpu.rms_norm(x + r * n, wt, 1e-5f, n, want + r * n);
	judge(w, OP_NORM, got, want, n * rows);
	if (n % 32 == 0) { /* the rounded form of what it gave */
		struct bt_cpu_acts a = acts_of(w, got, rows, n);
		uint32_t *same = blocks_of(&a);
		judge_blocks(w, blocks, same, n * rows / 32);
		free(same);
		free_acts(&a);
	}
	bt_gpu_device_free(w->device, &dx);
	bt_gpu_device_free(w->device, &dw);
	free(x), free(wt), free(want), free(got), free(blocks);
}

static void walk_round(struct walk *w, uint32_t k, uint32_t n)
{
	float *x = rows_of(w, n * k);
	x[0] = 1e30f, x[33] = 0;
	for (int i = 64; i < 96; i++) x[i] = 0;
	struct bt_cpu_acts a = acts_of(w, x, n, k);
	uint32_t *want = blocks_of(&a), *got = calloc(n * k / 32, 48);
	snprintf(w->what, sizeof w->what, "quantize %u x %u", n, k);
	struct bt_dev_mem dx = put(w, x, n * k * 4), dq = put(w, NULL, n * k / 32 * 48);
	struct bt_gpu_quantize p = {at(&dx), at(&dq), n * k / 32};
	launch(w, BT_GPU_K_quantize, &p, (p.n_blocks + 31) / 32, 1, 1);
	take(w, got, &dq, n * k / 32 * 48);
	judge_blocks(w, got, want, n * k / 32);
	bt_gpu_device_free(w->device, &dx);
	free_acts(&a);
	free(want), free(got), free(x);
}

struct attn {
	uint32_t n_head, n_kv, d, n_keys, window;
	float softcap;
	const struct bt_type *keys, *values;
	uint16_t store, kernel, tile;
	uint32_t heads, split_keys; /* query heads that `kernel` serves at once; keys in a split */
};

enum { N = 11 }; /* queries */

/* The same by the CPU, with the rows packed into its own layout. */
static void cpu_attention(struct walk *w, const struct attn *c, const float *k, const float *v, const float *q,
                          const uint32_t *pages, float *want)
{
	uint32_t d = c->d, row = c->n_kv * d, n_pages = (c->n_keys + 63) / 64;
	size_t kb = bt_type_row_bytes(c->keys, d), vb = bt_type_row_bytes(c->values, d), pages_of = c->n_kv * 64;
	char *kc = calloc(n_pages, pages_of * kb), *vc = calloc(n_pages, pages_of * vb),
	     *scratch = aligned_alloc(64, (w->cpu.scratch + 127) / 64 * 64);
	for (uint32_t i = 0; i < c->n_keys; i++)
		for (uint32_t h = 0; h < c->n_kv; h++) {
			size_t to = pages[i / 64] * pages_of + h * 64 + i % 64;
			w->cpu.kv_pack(c->keys, k + (size_t)i * row + h * d, kc + to * kb, d);
			w->cpu.kv_pack(c->values, v + (size_t)i * row + h * d, vc + to * vb, d);
		}
	uint32_t rows[N];
	int32_t at_pos[N];
	for (int i = 0; i < N; i++) {
		rows[i] = (uint32_t)i;
		at_pos[i] = (int32_t)c->n_keys - N + i;
	}
	struct bt_cpu_attn a = {.q = q,
	                        .out = want,
	                        .q_stride = c->n_head * d,
	                        .out_stride = c->n_head * d,
	                        .row = rows,
	                        .pos = at_pos,
	                        .n = N,
	                        .n_head = c->n_head,
	                        .n_head_kv = c->n_kv,
	                        .d_k = d,
	                        .d_v = d,
	                        .scale = 0.2f,
	                        .softcap = c->softcap,
	                        .window = c->window,
	                        .k = kc,
	                        .v = vc,
	                        .k_page_bytes = pages_of * kb,
	                        .v_page_bytes = pages_of * vb,
	                        .k_type = c->keys,
	                        .v_type = c->values,
	                        .pages = pages};
	for (uint32_t h = 0; h < c->n_kv; h++) w->cpu.attention(&a, h, 0, N, scratch);
	free(kc);
	free(vc);
	free(scratch);
}

/* The kernel for matrix cores that does the same as a kernel for prompts; BT_GPU_KERNELS: there is none. */
static uint32_t on_matrix_cores(const struct walk *w, uint32_t tile, const char *kind)
{
	const char *what = tile ? strstr(bt_gpu_kernel_table[tile].name, "_tile") : NULL;
	char name[64];
	uint32_t k = BT_GPU_KERNELS;
	if (!what || !w->gpu->caps.matrix_cores) return k;
	snprintf(name, sizeof name, "attention_%s%s", kind, what + strlen("_tile"));
	for (k = 0; k < BT_GPU_KERNELS && strcmp(bt_gpu_kernel_table[k].name, name);) k++;
	return k;
}

/* Keys and values in[0] and in[1] of all tokens to their pages; steps: positions, rows of the page table, the table. */
static void store_tokens(struct walk *w, const struct attn *c, const struct bt_dev_mem in[2],
                         const struct bt_dev_mem cache[2], const struct bt_dev_mem *steps[3])
{
	struct bt_gpu_kv_store st = {.k = at(&in[0]),
	                             .v = at(&in[1]),
	                             .k_cache = at(&cache[0]),
	                             .v_cache = at(&cache[1]),
	                             .pos = at(steps[0]),
	                             .page0 = at(steps[1]),
	                             .pages = at(steps[2]),
	                             .n_rows = c->n_keys,
	                             .n_head_kv = c->n_kv,
	                             .d_k = c->d,
	                             .d_v = c->d,
	                             .n_kv_row = c->n_kv};
	launch(w, c->store, &st, (c->n_kv * ((c->d + 63) / 64) * 2 + 7) / 8, c->n_keys, 1);
}

/* A cache before any token is stored: what stands behind the last one must not count. */
static struct bt_dev_mem no_numbers(struct walk *w, size_t bytes)
{
	void *junk = malloc(bytes);
	memset(junk, 0xFF, bytes);
	struct bt_dev_mem mem = put(w, junk, bytes);
	free(junk);
	return mem;
}

/* Store n_keys tokens of one sequence, ask for the last N, the later ones as if they were a second sequence's; with the
 * kernel for few tokens and those for prompts, by one workgroup and in splits. */
static void walk_attention(struct walk *w, const struct attn *c)
{
	uint32_t d = c->d, row = c->n_kv * d, n_pages = (c->n_keys + 63) / 64, pages[64], pos[2048], zero[2048] = {0};
	uint32_t page0[N] = {0};
	const struct bt_type *type[2] = {c->keys, c->values};
	size_t out = (size_t)N * c->n_head * d;
	snprintf(w->what, sizeof w->what, "attention %s, %s, %u/%u heads of %u, %u keys, window %u, cap %g",
	         c->keys->name, c->values->name, c->n_head, c->n_kv, d, c->n_keys, c->window, (double)c->softcap);
	for (uint32_t i = 0; i < 2 * n_pages; i++) pages[i] = n_pages - 1 - i % n_pages;
	for (uint32_t i = 0; i < c->n_keys; i++) pos[i] = i;
	for (uint32_t i = 4; i < N; i++) page0[i] = n_pages;
	float *kv[2] = {rows_of(w, c->n_keys * row), rows_of(w, c->n_keys * row)}, *q = rows_of(w, out),
	      *want = calloc(out, 4), *got = calloc(out, 4);
	struct bt_dev_mem in[2], cache[2], dq = put(w, q, out * 4), dpos = put(w, pos, sizeof pos),
					   dzero = put(w, zero, sizeof zero), dpages = put(w, pages, sizeof pages),
					   dpage0 = put(w, page0, sizeof page0);
	for (int i = 0; i < 2; i++) {
		in[i] = put(w, kv[i], c->n_keys * row * 4);
		cache[i] = no_numbers(w, (size_t)c->n_kv * 64 * bt_type_row_bytes(type[i], d) * n_pages);
	}
	store_tokens(w, c, in, cache, (const struct bt_dev_mem *[]){&dpos, &dzero, &dpages});
	cpu_attention(w, c, kv[0], kv[1], q, pages, want);
	uint32_t most = c->n_keys / c->split_keys + 2, group = c->n_head / c->n_kv,
		 tall = c->n_kv * ((group + c->heads - 1) / c->heads), n_blocks = (uint32_t)out / 32;
	uint32_t *blocks = calloc(n_blocks, 48);
	struct bt_dev_mem part = put(w, NULL, (size_t)N * c->n_head * most * (d + 2) * 4);
	uint32_t tiles = (N * group + 63) / 64; /* 64 query heads each; on matrix cores those of whole tokens */
	uint32_t on_cores = group > 64 ? 0 : (N + 64 / group - 1) / (64 / group);
	const bool few = (d == 64 || d == 128) && group <= 16; /* heads as wide as a kernel's */
	const struct {
		uint32_t kernel, wide, tall;
		enum op op;
		bool dealt; /* pages to splits */
	} ways[] = {{c->kernel, N, tall, OP_ATTENTION, true},
	            {c->tile ? c->tile : BT_GPU_KERNELS, tiles, c->n_kv, OP_ATTENTION, false},
	            {on_matrix_cores(w, group <= 64 ? c->tile : 0, "matrix"), on_cores, c->n_kv, OP_MATRIX_ATTENTION,
	             false},
	            {on_matrix_cores(w, few ? c->tile : 0, "few"), N, c->n_kv, OP_MATRIX_ATTENTION, false}};
	for (size_t i = 0; i < 2 * sizeof ways / sizeof *ways; i++) {
		const bool split = i % 2;
		const uint32_t n_splits = ways[i / 2].dealt ? 2 : most; /* some of several pages, or none */
		if (ways[i / 2].kernel == BT_GPU_KERNELS) continue;
		struct bt_dev_mem dy = put(w, NULL, out * 4), dyq = put(w, NULL, n_blocks * 48);
		struct bt_gpu_attention p = {.q = at(&dq),
		                             .k = at(&cache[0]),
		                             .v = at(&cache[1]),
		                             .y = at(&dy),
		                             .yq = at(&dyq),
		                             .part = split ? at(&part) : 0,
		                             .pos = at(&dpos) + (c->n_keys - N) * 4,
		                             .page0 = at(&dpage0),
		                             .pages = at(&dpages),
		                             .n_rows = N,
		                             .n_head = c->n_head,
		                             .n_head_kv = c->n_kv,
		                             .d_k = d,
		                             .d_v = d,
		                             .n_splits = split ? n_splits : 0,
		                             .window = c->window,
		                             .split_keys = ways[i / 2].dealt ? 0 : c->split_keys,
		                             .scale = 0.2f,
		                             .softcap = c->softcap,
		                             .group = group};
		launch(w, ways[i / 2].kernel, &p, ways[i / 2].wide, ways[i / 2].tall, split ? n_splits : 1);
		struct bt_gpu_attention_merge m = {p.part,    p.y, p.yq,     p.pos,     N,
		                                   c->n_head, d,   n_splits, c->window, p.split_keys};
		if (split) launch(w, BT_GPU_K_attention_merge, &m, N, c->n_head, 1);
		take(w, got, &dy, out * 4);
		take(w, blocks, &dyq, n_blocks * 48);
		judge(w, ways[i / 2].op, got, want, out);
		struct bt_cpu_acts a = acts_of(w, got, N, c->n_head * d);
		uint32_t *same = blocks_of(&a);
		judge_blocks(w, blocks, same, n_blocks);
		free(same);
		free_acts(&a);
	}
	struct bt_dev_mem *all[] = {&in[0], &in[1], &cache[0], &cache[1], &dq, &dpos, &dzero, &dpages, &dpage0, &part};
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) bt_gpu_device_free(w->device, all[i]);
	free(kv[0]), free(kv[1]), free(q), free(want), free(got), free(blocks);
}

/* Keys stored with their positions are those that were turned first and stored then; queries are turned likewise. */
static void walk_positions(struct walk *w, uint16_t kernel, const struct bt_type *keys, const struct bt_type *values,
                           uint32_t d, uint32_t n_pairs, bool neox)
{
	enum { ROWS = 5, HEADS = 3, KV = 2 };
	const uint32_t n_q = ROWS * HEADS * d, n_k = ROWS * KV * d, n_angles = ROWS * n_pairs,
		       order[] = {0, 1, 2, 3, 4};
	size_t size[2] = {KV * 64 * bt_type_row_bytes(keys, d), KV * 64 * bt_type_row_bytes(values, d)};
	float *x[] = {rows_of(w, n_q), rows_of(w, n_k), rows_of(w, n_k), rows_of(w, n_angles), rows_of(w, n_angles)};
	float *q[2] = {calloc(n_q, 4), calloc(n_q, 4)};
	char *cache[2][2];
	snprintf(w->what, sizeof w->what, "positions and store %s, %s, heads of %u, %u pairs%s", keys->name,
	         values->name, d, n_pairs, neox ? ", neox" : "");
	struct bt_dev_mem c = put(w, x[3], n_angles * 4), s = put(w, x[4], n_angles * 4),
			  pos = put(w, order, sizeof order), zero = put(w, NULL, sizeof order);
	for (int way = 0; way < 2; way++) {
		struct bt_dev_mem dq = put(w, x[0], n_q * 4), k = put(w, x[1], n_k * 4), v = put(w, x[2], n_k * 4),
				  to[2] = {put(w, NULL, size[0]), put(w, NULL, size[1])};
		struct bt_gpu_rope rope[] = {{at(&dq), at(&c), at(&s), ROWS, HEADS, d, n_pairs, neox},
		                             {at(&k), at(&c), at(&s), ROWS, KV, d, n_pairs, neox}};
		for (int i = 0; i < 2 && !way; i++)
			launch(w, BT_GPU_K_rope, &rope[i], (rope[i].n_head * n_pairs * ROWS + 255) / 256, 1, 1);
		struct bt_gpu_kv_store p = {.q = way ? at(&dq) : 0,
		                            .k = at(&k),
		                            .v = at(&v),
		                            .cos = at(&c),
		                            .sin = at(&s),
		                            .k_cache = at(&to[0]),
		                            .v_cache = at(&to[1]),
		                            .pos = at(&pos),
		                            .page0 = at(&zero),
		                            .pages = at(&zero),
		                            .n_rows = ROWS,
		                            .n_head = way ? HEADS : 0,
		                            .n_head_kv = KV,
		                            .d_k = d,
		                            .d_v = d,
		                            .n_pairs = way ? n_pairs : 0,
		                            .neox = neox,
		                            .n_kv_row = KV};
		launch(w, kernel, &p, ((p.n_head * p.n_pairs + 7) / 8 + KV * 2 * ((d + 63) / 64) + 7) / 8, ROWS, 1);
		take(w, q[way], &dq, n_q * 4);
		for (int i = 0; i < 2; i++) take(w, cache[way][i] = malloc(size[i]), &to[i], size[i]);
		bt_gpu_device_free(w->device, &k);
		bt_gpu_device_free(w->device, &v);
	}
	judge(w, OP_ROPE, q[1], q[0], n_q);
	for (int i = 0; i < 2; i++) {
		w->cases++;
		if (memcmp(cache[0][i], cache[1][i], size[i])) fail(w, i ? "other values in the cache" : "other keys");
		free(cache[0][i]), free(cache[1][i]), free(q[i]);
	}
	for (int i = 0; i < 5; i++) free(x[i]);
	struct bt_dev_mem *all[] = {&c, &s, &pos, &zero};
	for (int i = 0; i < 4; i++) bt_gpu_device_free(w->device, all[i]);
}

#define KIND_0 bt_type_get(BT_TYPE_F16)
#define KIND_1 bt_type_get(BT_TYPE_Q8_0)
#define KIND_2 bt_type_get(BT_TYPE_F32)
/* The tile kernel takes long in the emulator: one case for each width. */
#define CASES(name, k, v)                                                                                                \
	{4, 4, 64, 70, 0, 0, k, v, BT_GPU_K_kv_store_##name, BT_GPU_K_attention_##name##_64_1, 0, 1, 64},                \
		{6, 2,  64, 200, 0, 0, k, v, BT_GPU_K_kv_store_##name, BT_GPU_K_attention_##name##_64_4, TILE(name, 64), \
	         4, 128},                                                                                                \
		{16, 1, 64, 90, 0, 0, k, v, BT_GPU_K_kv_store_##name, BT_GPU_K_attention_##name##_64_8, TILE(name, 64),  \
	         8,  64},                                                                                                \
		{2, 2, 128, 270, 40, 0, k, v, BT_GPU_K_kv_store_##name, BT_GPU_K_attention_##name##_128_1, 0, 1, 64},    \
		{7, 1, 128, 66, 0, 3, k, v, BT_GPU_K_kv_store_##name, BT_GPU_K_attention_##name##_128_4, 0, 4, 64},      \
		{14,                                                                                                     \
	         2,                                                                                                      \
	         128,                                                                                                    \
	         130,                                                                                                    \
	         0,                                                                                                      \
	         0,                                                                                                      \
	         k,                                                                                                      \
	         v,                                                                                                      \
	         BT_GPU_K_kv_store_##name,                                                                               \
	         BT_GPU_K_attention_##name##_128_8,                                                                      \
	         TILE(name, 128),                                                                                        \
	         8,                                                                                                      \
	         64},                                                                                                    \
		{1, 1, 256, 33, 0, 0, k, v, BT_GPU_K_kv_store_##name, BT_GPU_K_attention_##name##_256_1, 0, 1, 64},      \
		{10,                                                                                                     \
	         1,                                                                                                      \
	         192,                                                                                                    \
	         140,                                                                                                    \
	         300,                                                                                                    \
	         0,                                                                                                      \
	         k,                                                                                                      \
	         v,                                                                                                      \
	         BT_GPU_K_kv_store_##name,                                                                               \
	         BT_GPU_K_attention_##name##_256_4,                                                                      \
	         TILE(name, 256),                                                                                        \
	         4,                                                                                                      \
	         128},                                                                                                   \
	{                                                                                                                \
		9, 1, 256, 80, 70, 2, k, v, BT_GPU_K_kv_store_##name, BT_GPU_K_attention_##name##_256_8,                 \
			TILE(name, 256), 8, 64                                                                           \
	}
/* Rows of q8_0 with an odd number of blocks: words of scales that two tokens share. */
#define ODD_CASES(name, k, v)                                                                                     \
	{7, 1, 96, 130, 0, 0, k, v, BT_GPU_K_kv_store_##name, BT_GPU_K_attention_##name##_128_8, TILE(name, 128), \
	 8, 64},                                                                                                  \
	{                                                                                                         \
		6, 3, 32, 75, 0, 0, k, v, BT_GPU_K_kv_store_##name, BT_GPU_K_attention_##name##_64_4, 0, 4, 64    \
	}
#define TILE(name, d) BT_GPU_K_attention_tile_##name##_##d
static void walk_attentions(struct walk *w)
{
	struct attn c[] = {
#define CACHE(name, k, v) CASES(name, KIND_##k, KIND_##v), ODD_CASES(name, KIND_##k, KIND_##v),
#include "backend/gpu/kernels/caches.inc"
#undef CACHE
		/* A token's heads in two tiles and more. */
		{70, 1, 32, 40, 0, 0, KIND_0, KIND_0, BT_GPU_K_kv_store_f16, BT_GPU_K_attention_f16_64_8, TILE(f16, 64),
	         8, 64},
	};
	for (size_t i = 0; i < sizeof c / sizeof *c; i++) walk_attention(w, &c[i]);
#define CACHE(name, k, v)                                                              \
	walk_positions(w, BT_GPU_K_kv_store_##name, KIND_##k, KIND_##v, 64, 32, true); \
	walk_positions(w, BT_GPU_K_kv_store_##name, KIND_##k, KIND_##v, 96, 48, true); \
	walk_positions(w, BT_GPU_K_kv_store_##name, KIND_##k, KIND_##v, 128, 24, false);
#include "backend/gpu/kernels/caches.inc"
#undef CACHE
	walk_positions(w, BT_GPU_K_kv_store_f16, bt_type_get(BT_TYPE_F16), bt_type_get(BT_TYPE_F16), 80, 17, true);
}

void release_plan(struct bt_exec *e, struct bt_plan *plan)
{
	for (uint32_t i = 0; e && i < e->n_held; i++) ((struct bt_gpu_matrix *)e->held[i])->tensor = NULL;
	bt_gpu_release(e);
	plan->part = NULL;
	plan->keep = NULL;
	bt_plan_free(plan);
}

static unsigned walk_all(const struct bt_gpu_driver *driver, uint32_t index, const struct bt_device_params *params,
                         const char *name, enum baton_status *opened)
{
	struct walk w = {.rng = 42, .fused = driver == &emu_driver};
	*opened = bt_gpu_device_open(NULL, driver, index, params, &w.device, &w.err);
	if (*opened) {
		printf("skipped: %s\n", w.err.text);
		return 1;
	}
	w.gpu = ((struct bt_gpu_device *)w.device)->gpu;
	bt_cpu_kernels_init(&w.cpu, BT_CPU_C, 4096, 256);
	walk_round(&w, 256, 5);
	walk_round(&w, 96, 3);
	const uint32_t widths[] = {20, 32, 96, 128, 512, 576, 1024, 1030};
	for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
		walk_norm(&w, widths[i], 35, false);
		if (widths[i] <= 512) walk_norm(&w, widths[i], 35, true);
	}
	walk_products(&w);
	walk_attentions(&w);
	walk_ops(&w);
	walk_recurrent(&w);
	walk_tiles(&w);
	/* Slow in the emulator, and the same at every width: 32 has matrix cores, 64 what stands in for them. */
	if (!w.fused || index > 8) {
		walk_parts(&w);
		walk_caches(&w);
	}
	if (!w.fused) {
		walk_large(&w, true);
		walk_large_caches(&w, true, 0);
	}
	printf("%s %u: %u cases, %u failures\n", name, index, w.cases, w.failures);
	bt_gpu_device_close(w.device);
	return w.failures || w.cases < 100;
}

#ifdef BT_HAVE_VULKAN
static int large(const struct bt_device_params *params, bool caches)
{
	struct walk w = {.rng = 42};
	struct bt_device_info info = {.memory_free = 0};
	bt_backend_vulkan.describe(0, &info, NULL);
	if (bt_gpu_device_open(NULL, &bt_vk_driver, 0, params, &w.device, &w.err)) {
		printf("skipped: %s\n", w.err.text);
		return 77;
	}
	w.gpu = ((struct bt_gpu_device *)w.device)->gpu;
	bt_cpu_kernels_init(&w.cpu, BT_CPU_C, 8192, 256);
	if (!caches) walk_large(&w, false);
	walk_large_caches(&w, false, info.memory_free ? info.memory_free : 1);
	printf("large: %u cases, %u failures\n", w.cases, w.failures);
	bt_gpu_device_close(w.device);
	if (!w.cases) return 77;
	return w.failures || (!caches && w.cases < 100);
}
#endif

static int planted(void)
{
	unsigned found = 0;
	uint32_t grid[3] = {2, 1, 1};
	for (unsigned i = 0; i < emu_n_planted; i++) {
		void *host;
		struct bt_gpu_gate_rows p = {.gate = emu_alloc(1024, &host),
		                             .up = emu_alloc(1024, &host),
		                             .y = emu_alloc(256, &host)};
		const char *what = emu_launch_planted(i, grid, &p, 32);
		printf("%s\n", what ? what : "a planted fault was not found");
		found += what != NULL;
	}
	printf("%u of %u planted faults found\n", found, emu_n_planted);
	return found != emu_n_planted || !found;
}

/* At one width, or with 0 at all of them. */
static int emulated(const struct bt_device_params *params, unsigned long only)
{
	const uint32_t widths[] = {8, 32, 64};
	enum baton_status opened;
	unsigned bad = 0, n = 0;
	for (int i = 0; i < 3; i++) {
		if (only && only != widths[i]) continue;
		bad += walk_all(&emu_driver, widths[i], params, "emulator, width", &opened);
		n++;
	}
	return bad || !n;
}

int main(int argc, char **argv)
{
	enum baton_status opened;
	struct bt_device_params params = {0};
	if (argc == 2 && !strcmp(argv[1], "planted")) return planted();
	if (argc == 2 && !strcmp(argv[1], "emulator")) return emulated(&params, 0);
	if (argc == 3 && !strcmp(argv[1], "emulator")) return emulated(&params, strtoul(argv[2], NULL, 10));
#ifdef BT_HAVE_VULKAN
	if (argc == 3 && !strcmp(argv[1], "Vulkan") && !strcmp(argv[2], "large")) return large(&params, false);
	if (argc == 3 && !strcmp(argv[1], "Vulkan") && !strcmp(argv[2], "caches")) return large(&params, true);
	params.plain_kernels = argc == 3 && !strcmp(argv[2], "plain");
	if ((argc == 2 || params.plain_kernels) && !strcmp(argv[1], "Vulkan")) {
		unsigned bad = walk_all(&bt_vk_driver, 0, &params, params.plain_kernels ? "Vulkan plain" : "Vulkan",
		                        &opened);
		return opened ? 77 : bad != 0;
	}
#endif
	fprintf(stderr, "usage: gpu_walk emulator [8 | 32 | 64] | planted | Vulkan [plain | large | caches]\n");
	return 2;
}
