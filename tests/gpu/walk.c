/* walk.c: the kernel walk for GPUs: kernels by their own parameters, against the CPU's plain C kernels.
 *
 *   gpu_walk emulator   in the emulator, at subgroup widths 8, 32 and 64
 *   gpu_walk Vulkan     on the first Vulkan device (exit status 77 where there is none)
 *   gpu_walk planted    faulty kernels, which the emulator must find
 *
 * Products with rounded activations follow the CPU's order of summation, so they are compared bit for bit; where a
 * target's exp or the order differ, the tolerance belongs to the operation: see the table `tolerance`.
 */
#include "backend/cpu/kernels.h"
#include "backend/cpu/levels.h"
#include "backend/gpu/device.h"
#include "emu.h"
#include "emu_driver.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef BT_HAVE_VULKAN
extern const struct bt_gpu_driver bt_vk_driver;
#endif

enum op { OP_NORM, OP_ROUND, OP_PRODUCT, OP_FLOAT_PRODUCT, OP_GATE, OP_ATTENTION, OPS };
/* Largest difference from the CPU's result, relative to the largest value of the result. */
static const double tolerance[OPS] = {
	[OP_NORM] = 1e-6,          /* another order in one sum */
	[OP_ROUND] = 0,            /* the same arithmetic */
	[OP_PRODUCT] = 4e-7,       /* the same order; Vulkan's fma may round twice */
	[OP_FLOAT_PRODUCT] = 2e-6, /* another order */
	[OP_GATE] = 2e-6,          /* the target's own exp */
	[OP_ATTENTION] = 4e-6,     /* the target's own exp, another order */
};

struct walk {
	struct bt_device *device;
	struct bt_gpu *gpu;
	struct bt_cpu_kernels cpu;
	bool fused; /* fma and division round once, as in C: then products and rounding must give the CPU's bits */
	uint64_t rng;
	unsigned cases, failures;
	char what[128];
	struct baton_error err;
};

static float draw(struct walk *w)
{
	float sum = 0;
	for (int i = 0; i < 4; i++) {
		w->rng = w->rng * 6364136223846793005u + 1442695040888963407u;
		sum += (float)(w->rng >> 40) * 0x1p-24f - 0.5f;
	}
	return sum * 1.7f;
}

static void fail(struct walk *w, const char *why)
{
	w->failures++;
	printf("%s: %s\n", w->what, why);
}

static void judge(struct walk *w, enum op op, const float *got, const float *want, size_t n)
{
	double most = 0, worst = 0;
	w->cases++;
	for (size_t i = 0; i < n; i++) most = fmax(most, fabs((double)want[i]));
	for (size_t i = 0; i < n; i++) {
		double d = fabs((double)got[i] - want[i]);
		worst = d <= worst ? worst : d; /* NaN wins */
	}
	if (op == OP_PRODUCT && w->fused && memcmp(got, want, n * sizeof *got)) fail(w, "not the CPU's bits");
	if (worst <= tolerance[op] * most) return;
	char text[128];
	snprintf(text, sizeof text, "off by %g where values reach %g; %g of it is allowed", worst, most, tolerance[op]);
	fail(w, text);
}

static struct bt_dev_mem put(struct walk *w, const void *data, size_t size)
{
	struct bt_dev_mem mem;
	if (bt_gpu_device_alloc(w->device, BT_MEM_SCRATCH, size, &mem, &w->err) ||
	    (data && bt_gpu_device_upload(w->device, &mem, 0, data, size, &w->err)))
		fail(w, w->err.text);
	return mem;
}

static uint64_t at(const struct bt_dev_mem *mem)
{
	return ((const struct bt_gpu_mem *)mem->handle)->address;
}

static void launch(struct walk *w, uint32_t kernel, const void *params, uint32_t x, uint32_t y, uint32_t z)
{
	bool wanted[BT_GPU_KERNELS] = {false};
	wanted[kernel] = true;
	struct bt_gpu_cmd cmd = bt_gpu_cmd((enum bt_gpu_kernel)kernel, params, x, y, z);
	if (w->gpu->driver->prepare(w->gpu, wanted, &w->err) || bt_gpu_run_once(w->gpu, &cmd, 1, &w->err))
		fail(w, w->err.text);
}

static void take(struct walk *w, void *out, struct bt_dev_mem *mem, size_t size)
{
	if (bt_gpu_device_download(w->device, out, mem, 0, size, &w->err)) fail(w, w->err.text);
	bt_gpu_device_free(w->device, mem);
}

static float *rows_of(struct walk *w, size_t n)
{
	float *x = calloc(n, sizeof *x);
	for (size_t i = 0; i < n; i++) x[i] = draw(w);
	return x;
}

/* Rows rounded by the CPU, in the form of kernels/round.k. */
static uint32_t *blocks_of(const struct bt_cpu_acts *a)
{
	size_t n = a->n_tokens * a->k / 32;
	uint32_t *out = calloc(n, 48);
	for (size_t b = 0; b < n; b++) {
		memcpy(out + b * 12, a->q + b * 32, 32);
		memcpy(out + b * 12 + 8, a->d + b, 4);
		memcpy(out + b * 12 + 9, a->sum + b * 2, 8);
	}
	return out;
}

static struct bt_cpu_acts acts_of(struct walk *w, const float *x, size_t n, size_t k)
{
	struct bt_cpu_acts a = {.n_tokens = n, .k = k, .f32 = x, .f32_stride = k};
	a.q = calloc(n, k);
	a.d = calloc(n * k / 32, sizeof *a.d);
	a.sum = calloc(n * k / 16, sizeof *a.sum);
	for (size_t t = 0; t < n; t++)
		w->cpu.quantize_row(x + t * k, k, a.q + t * k, a.d + t * (k / 32), a.sum + t * (k / 16));
	return a;
}

static void free_acts(struct bt_cpu_acts *a)
{
	free(a->q);
	free(a->d);
	free(a->sum);
}

/* A matrix of any type, of random values; bytes at random where baton can't write the type, with scales kept sane. */
static struct bt_tensor matrix_of(struct walk *w, const struct bt_type *type, uint64_t k, uint64_t rows)
{
	struct bt_tensor t = {.type = type, .n_dims = 2, .dim = {k, rows, 1, 1}, .n_rows = rows};
	t.row_bytes = bt_type_row_bytes(type, k);
	t.size = t.matrix_bytes = t.row_bytes * rows;
	unsigned char *data = calloc(1, t.size);
	float *x = rows_of(w, k);
	for (uint64_t r = 0; r < rows; r++) {
		if (type->pack) type->pack(x, data + r * t.row_bytes, k, NULL);
		else
			for (uint64_t i = 0; i < t.row_bytes; i++)
				data[r * t.row_bytes + i] = (unsigned char)((draw(w) + 4) * 9);
		x[r % k] = draw(w) * 3;
	}
	free(x);
	t.data = data;
	return t;
}

static void cpu_product(struct walk *w, const struct bt_tensor *t, const struct bt_cpu_acts *a, bool as_float, float *y)
{
	char *scratch = aligned_alloc(64, (w->cpu.scratch + 127) / 64 * 64);
	struct bt_cpu_matmul m = {.type = t->type,
	                          .w = t->data,
	                          .row_bytes = t->row_bytes,
	                          .k = t->dim[0],
	                          .x = a,
	                          .n_tokens = a->n_tokens,
	                          .y = y,
	                          .y_stride = t->dim[1]};
	(as_float ? w->cpu.matmul_exact : w->cpu.matmul[t->type->id])(&m, 0, t->dim[1], scratch);
	free(scratch);
}

static const uint16_t matvec[BT_GPU_FORMATS][3] = {
#define FORMAT(name, ...) \
	[BT_GPU_F_##name] = {BT_GPU_K_matvec_##name##_1, BT_GPU_K_matvec_##name##_4, BT_GPU_K_matvec_##name##_8},
#include "backend/gpu/kernels/formats.inc"
#undef FORMAT
	[BT_GPU_F_f32] = {BT_GPU_K_matvec_f32_1, BT_GPU_K_matvec_f32_4, BT_GPU_K_matvec_f32_4},
	[BT_GPU_F_f16] = {BT_GPU_K_matvec_f16_1, BT_GPU_K_matvec_f16_4, BT_GPU_K_matvec_f16_4},
	[BT_GPU_F_bf16] = {BT_GPU_K_matvec_bf16_1, BT_GPU_K_matvec_bf16_4, BT_GPU_K_matvec_bf16_4},
};

static void walk_product(struct walk *w, const struct bt_type *type, bool exact, uint64_t k, uint64_t rows, uint32_t n)
{
	struct bt_tensor t = matrix_of(w, type, k, rows);
	float *x = rows_of(w, n * k), *want = calloc(n * rows, 4), *got = calloc(n * rows, 4);
	struct bt_cpu_acts a = acts_of(w, x, n, k);
	const struct bt_gpu_matrix *m = NULL;
	snprintf(w->what, sizeof w->what, "%s%s %llu x %llu, %u tokens", type->name, exact ? " exact" : "",
	         (unsigned long long)rows, (unsigned long long)k, n);
	if (bt_gpu_weights_get((struct bt_gpu_device *)w->device, &t, exact, &m, &w->err)) {
		fail(w, w->err.text);
		return;
	}
	bool floats = bt_gpu_format_is_float(m->format);
	uint32_t *blocks = blocks_of(&a);
	struct bt_dev_mem dx = floats ? put(w, x, n * k * 4) : put(w, blocks, n * k / 32 * 48),
			  dy = put(w, NULL, n * rows * 4);
	uint32_t c = n > 4 && !floats ? 2 : n > 1, columns = c == 2 ? 8 : c ? 4 : 1, tall = c == 2 || floats ? 16 : 32;
	uint32_t gx = (uint32_t)(rows + tall - 1) / tall, gy = (n + columns - 1) / columns;
	if (floats) {
		struct bt_gpu_matvec_float p = {.w = m->plane[0],
		                                .x = at(&dx),
		                                .y = at(&dy),
		                                .n_rows = (uint32_t)rows,
		                                .n_k = (uint32_t)k,
		                                .n_blocks = m->n_blocks,
		                                .n_tokens = n};
		launch(w, matvec[m->format][c], &p, gx, gy, 1);
	} else {
		struct bt_gpu_matvec p = {.w = {m->plane[0], m->plane[1], m->plane[2], m->plane[3]},
		                          .xq = at(&dx),
		                          .y = at(&dy),
		                          .n_rows = (uint32_t)rows,
		                          .n_blocks = m->n_blocks,
		                          .n_tokens = n};
		launch(w, matvec[m->format][c], &p, gx, gy, 1);
	}
	take(w, got, &dy, n * rows * 4);
	cpu_product(w, &t, &a, floats, want);
	judge(w, floats ? OP_FLOAT_PRODUCT : OP_PRODUCT, got, want, n * rows);
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

static void walk_products(struct walk *w)
{
	for (uint32_t id = 0; id < BT_TYPE_COUNT; id++) {
		const struct bt_type *type = bt_type_get(id);
		if (!type) continue;
		walk_product(w, type, false, 256, 33, 1);
		walk_product(w, type, false, 512, 35, 3);
		walk_product(w, type, false, 1024, 17, 9);
		walk_product(w, type, true, 256, 5, 2);
		if (type->block == 32) walk_product(w, type, false, 96, 7, 5);
	}
}

/* Rounded blocks have the CPU's bits but for the scale: Vulkan lets a division be off by 2.5 units in the last place (Vulkan
 * specification, "Precision and Operation of SPIR-V Instructions"), the emulator's is exact. */
static void judge_blocks(struct walk *w, const uint32_t *got, const uint32_t *want, uint32_t n_blocks)
{
	uint32_t slack = w->fused ? 0 : 3;
	w->cases++;
	for (uint32_t i = 0; i < n_blocks * 12; i++) {
		if (got[i] == want[i] || (i % 12 == 8 && got[i] - want[i] + slack <= 2 * slack)) continue;
		printf("block %u word %u: %08x, the CPU has %08x\n", i / 12, i % 12, got[i], want[i]);
		fail(w, "rounded otherwise than on the CPU");
		return;
	}
}

static void walk_norm(struct walk *w, uint32_t n, uint32_t rows)
{
	float *x = rows_of(w, n * rows), *wt = rows_of(w, n), *want = calloc(n * rows, 4), *got = calloc(n * rows, 4);
	uint32_t *blocks = calloc(n * rows / 32 + 1, 48);
	snprintf(w->what, sizeof w->what, "rms_norm %u x %u", rows, n);
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
	bool team = n <= 512;
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
	const struct bt_type *type;
	uint16_t store, kernel;
	uint32_t heads; /* of the kernel */
};

enum { N = 3 }; /* queries */

/* The same by the CPU, with the rows packed into its own layout. */
static void cpu_attention(struct walk *w, const struct attn *c, const float *k, const float *v, const float *q,
                          const uint32_t *pages, float *want)
{
	uint32_t d = c->d, row = c->n_kv * d, n_pages = (c->n_keys + 63) / 64;
	size_t page = (size_t)c->n_kv * 64 * bt_type_row_bytes(c->type, d);
	char *kc = calloc(n_pages, page), *vc = calloc(n_pages, page),
	     *scratch = aligned_alloc(64, (w->cpu.scratch + 127) / 64 * 64);
	size_t bytes = bt_type_row_bytes(c->type, d);
	for (uint32_t i = 0; i < c->n_keys; i++)
		for (uint32_t h = 0; h < c->n_kv; h++) {
			size_t to = pages[i / 64] * page + (h * 64 + i % 64) * bytes;
			w->cpu.kv_pack(c->type, k + (size_t)i * row + h * d, kc + to, d);
			w->cpu.kv_pack(c->type, v + (size_t)i * row + h * d, vc + to, d);
		}
	uint32_t rows[N] = {0, 1, 2};
	int32_t at_pos[N] = {(int32_t)c->n_keys - 3, (int32_t)c->n_keys - 2, (int32_t)c->n_keys - 1};
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
	                        .k_page_bytes = page,
	                        .v_page_bytes = page,
	                        .k_type = c->type,
	                        .v_type = c->type,
	                        .pages = pages};
	for (uint32_t h = 0; h < c->n_kv; h++) w->cpu.attention(&a, h, 0, N, scratch);
	free(kc);
	free(vc);
	free(scratch);
}

/* Store n_keys tokens of one sequence, ask for the last three; both ways of going through the splits. */
static void walk_attention(struct walk *w, const struct attn *c)
{
	uint32_t d = c->d, row = c->n_kv * d, n_pages = (c->n_keys + 63) / 64, pages[64], pos[2048], zero[2048] = {0};
	size_t page = (size_t)c->n_kv * 64 * bt_type_row_bytes(c->type, d), out = (size_t)N * c->n_head * d;
	snprintf(w->what, sizeof w->what, "attention %s, %u/%u heads of %u, %u keys, window %u, cap %g", c->type->name,
	         c->n_head, c->n_kv, d, c->n_keys, c->window, (double)c->softcap);
	for (uint32_t i = 0; i < n_pages; i++) pages[i] = n_pages - 1 - i;
	for (uint32_t i = 0; i < c->n_keys; i++) pos[i] = i;
	float *k = rows_of(w, c->n_keys * row), *v = rows_of(w, c->n_keys * row), *q = rows_of(w, out),
	      *want = calloc(out, 4), *got = calloc(out, 4), *split = calloc(out, 4);
	struct bt_dev_mem in[2] = {put(w, k, c->n_keys * row * 4), put(w, v, c->n_keys * row * 4)};
	struct bt_dev_mem cache[2] = {put(w, NULL, page * n_pages), put(w, NULL, page * n_pages)},
			  dq = put(w, q, out * 4);
	struct bt_dev_mem dpos = put(w, pos, sizeof pos), dzero = put(w, zero, sizeof zero),
			  dpages = put(w, pages, sizeof pages);
	for (int i = 0; i < 2; i++) {
		struct bt_gpu_kv_store p = {at(&in[i]),  at(&cache[i]), at(&dpos), at(&dzero),
		                            at(&dpages), c->n_keys,     c->n_kv,   d};
		launch(w, c->store, &p, (c->n_keys * c->n_kv * ((d + 31) / 32) + 63) / 64, 1, 1);
	}
	uint32_t n_splits = (c->n_keys + 255) / 256 + 1, group = c->n_head / c->n_kv,
		 tall = c->n_kv * ((group + c->heads - 1) / c->heads);
	struct bt_dev_mem part = put(w, NULL, (size_t)N * c->n_head * n_splits * (d + 2) * 4);
	for (int way = 0; way < 2; way++) {
		struct bt_dev_mem dy = put(w, NULL, out * 4);
		struct bt_gpu_attention p = {.q = at(&dq),
		                             .k = at(&cache[0]),
		                             .v = at(&cache[1]),
		                             .y = at(&dy),
		                             .part = way ? at(&part) : 0,
		                             .pos = at(&dpos) + (c->n_keys - N) * 4,
		                             .page0 = at(&dzero),
		                             .pages = at(&dpages),
		                             .n_rows = N,
		                             .n_head = c->n_head,
		                             .n_head_kv = c->n_kv,
		                             .d_k = d,
		                             .d_v = d,
		                             .n_splits = way ? n_splits : 0,
		                             .window = c->window,
		                             .scale = 0.2f,
		                             .softcap = c->softcap};
		launch(w, c->kernel, &p, N, tall, way ? n_splits : 1);
		struct bt_gpu_attention_merge m = {p.part, p.y, p.pos, N, c->n_head, d, n_splits, c->window};
		if (way) launch(w, BT_GPU_K_attention_merge, &m, N, c->n_head, 1);
		take(w, way ? split : got, &dy, out * 4);
	}
	cpu_attention(w, c, k, v, q, pages, want);
	judge(w, OP_ATTENTION, got, want, out);
	w->cases++;
	if (memcmp(got, split, out * 4)) fail(w, "not the same bits in splits of their own");
	struct bt_dev_mem *all[] = {&in[0], &in[1], &cache[0], &cache[1], &dq, &dpos, &dzero, &dpages, &part};
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) bt_gpu_device_free(w->device, all[i]);
	free(k), free(v), free(q), free(want), free(got), free(split);
}

#define CACHE(type, name)                                                                                      \
	{4, 4, 64, 70, 0, 0, type, BT_GPU_K_kv_store_##name, BT_GPU_K_attention_##name##_64_1, 1},             \
		{6, 2, 64, 300, 0, 0, type, BT_GPU_K_kv_store_##name, BT_GPU_K_attention_##name##_64_4, 4},    \
		{2, 2, 128, 530, 40, 0, type, BT_GPU_K_kv_store_##name, BT_GPU_K_attention_##name##_128_1, 1}, \
		{7, 1, 128, 66, 0, 3, type, BT_GPU_K_kv_store_##name, BT_GPU_K_attention_##name##_128_4, 4},   \
		{1, 1, 256, 33, 0, 0, type, BT_GPU_K_kv_store_##name, BT_GPU_K_attention_##name##_256_1, 1},   \
	{                                                                                                      \
		3, 1, 192, 260, 300, 0, type, BT_GPU_K_kv_store_##name, BT_GPU_K_attention_##name##_256_2, 2   \
	}
static void walk_attentions(struct walk *w)
{
	struct attn c[] = {CACHE(bt_type_get(BT_TYPE_F16), f16), CACHE(bt_type_get(BT_TYPE_Q8_0), q8_0),
	                   CACHE(bt_type_get(BT_TYPE_F32), f32)};
	for (size_t i = 0; i < sizeof c / sizeof *c; i++) walk_attention(w, &c[i]);
}

static unsigned walk_all(const struct bt_gpu_driver *driver, uint32_t index, const char *name,
                         enum baton_status *opened)
{
	struct walk w = {.rng = 42, .fused = driver == &emu_driver};
	struct bt_device_params params = {0};
	*opened = bt_gpu_device_open(NULL, driver, index, &params, &w.device, &w.err);
	if (*opened) {
		printf("skipped: %s\n", w.err.text);
		return 1;
	}
	w.gpu = ((struct bt_gpu_device *)w.device)->gpu;
	bt_cpu_kernels_init(&w.cpu, BT_CPU_C, 4096, 256);
	walk_round(&w, 256, 5);
	walk_round(&w, 96, 3);
	const uint32_t widths[] = {20, 32, 96, 128, 512, 576, 1024, 1030};
	for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) walk_norm(&w, widths[i], 35);
	walk_products(&w);
	walk_attentions(&w);
	printf("%s %u: %u cases, %u failures\n", name, index, w.cases, w.failures);
	bt_gpu_device_close(w.device);
	return w.failures || w.cases < 100;
}

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

int main(int argc, char **argv)
{
	enum baton_status opened;
	if (argc == 2 && !strcmp(argv[1], "planted")) return planted();
	if (argc == 2 && !strcmp(argv[1], "emulator")) {
		unsigned bad = 0;
		const uint32_t width[] = {8, 32, 64};
		for (int i = 0; i < 3; i++) bad += walk_all(&emu_driver, width[i], "emulator, width", &opened);
		return bad != 0;
	}
#ifdef BT_HAVE_VULKAN
	if (argc == 2 && !strcmp(argv[1], "Vulkan")) {
		unsigned bad = walk_all(&bt_vk_driver, 0, "Vulkan", &opened);
		return opened ? 77 : bad != 0;
	}
#endif
	fprintf(stderr, "usage: gpu_walk emulator | planted | Vulkan\n");
	return 2;
}
