/* walk.h: what the files of the kernel walk for GPUs share: memory of the device under test, launches, comparisons, and the
 * CPU's side of a product. The cases are in walk.c (norms, products, attention), walk_ops.c (what is between them),
 * walk_recurrent.c (what carries a state), walk_tiles.c (products for prompts), walk_parts.c (matrices in parts), walk_caches.c
 * (caches in parts) and walk_large.c (matrices that have to stand so).
 */
#ifndef BT_TESTS_GPU_WALK_H
#define BT_TESTS_GPU_WALK_H

#include "backend/cpu/kernels.h"
#include "backend/cpu/levels.h"
#include "backend/gpu/lower.h"
#include "engine/check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum op {
	OP_NORM,
	OP_ROUND,
	OP_PRODUCT,
	OP_HALVES_PRODUCT,
	OP_SPLIT_PRODUCT,
	OP_FLOAT_PRODUCT,
	OP_GATE,
	OP_ATTENTION,
	OP_COPY,
	OP_ROPE,
	OP_EXPERT_SUM,
	OP_ROUTER,
	OP_CONV,
	OP_RECURRENCE,
	OP_TILE,
	OP_MATRIX_TILE,
	OP_HALF_TILE,
	OP_PACKED_TILE,
	OP_MATRIX_ATTENTION,
	OPS
};
/* Largest difference from the CPU's result, relative to the largest value of the result. */
static const double tolerance[OPS] = {
	[OP_NORM] = 1e-6,             /* another order in one sum */
	[OP_ROUND] = 0,               /* the same arithmetic */
	[OP_PRODUCT] = 4e-7,          /* the same order; Vulkan's fma may round twice */
	[OP_HALVES_PRODUCT] = 4e-7,   /* halves of 32 values are scaled each: one rounding more */
	[OP_SPLIT_PRODUCT] = 1e-6,    /* teams share a row: another order */
	[OP_FLOAT_PRODUCT] = 3e-6,    /* another order */
	[OP_GATE] = 2e-6,             /* the target's own exp */
	[OP_ATTENTION] = 4e-6,        /* the target's own exp, another order */
	[OP_COPY] = 0,                /* values as they are */
	[OP_ROPE] = 2e-7,             /* the same arithmetic; Vulkan's fma may round twice */
	[OP_EXPERT_SUM] = 4e-7,       /* the same order; the CPU's may be fused */
	[OP_ROUTER] = 2e-6,           /* the target's own exp, another order */
	[OP_CONV] = 2e-6,             /* the target's own exp */
	[OP_RECURRENCE] = 4e-6,       /* another order, over the rows of a sequence */
	[OP_TILE] = 1e-6,             /* one sum in the order of blocks instead of eight */
	[OP_MATRIX_TILE] = 1e-3,      /* both factors rounded to 11 bits */
	[OP_HALF_TILE] = 1e-3,        /* activations rounded to 11 bits */
	[OP_PACKED_TILE] = 2e-3,      /* activations rounded to 11 bits, and so sums of up to 32 products */
	[OP_MATRIX_ATTENTION] = 2e-3, /* queries and weights likewise */
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

static inline float draw(struct walk *w)
{
	float sum = 0;
	for (int i = 0; i < 4; i++) {
		w->rng = w->rng * 6364136223846793005u + 1442695040888963407u;
		sum += (float)(w->rng >> 40) * 0x1p-24f - 0.5f;
	}
	return sum * 1.7f;
}

static inline void fail(struct walk *w, const char *why)
{
	w->failures++;
	printf("%s: %s\n", w->what, why);
}

static inline void judge(struct walk *w, enum op op, const float *got, const float *want, size_t n)
{
	double off = bt_check_values(want, got, n);
	w->cases++;
	if (op == OP_PRODUCT && w->fused && memcmp(got, want, n * sizeof *got)) fail(w, "not the CPU's bits");
	if (off <= tolerance[op]) return;
	char text[128];
	snprintf(text, sizeof text, "off by %g of the largest value; %g of it is allowed", off, tolerance[op]);
	fail(w, text);
}

static inline struct bt_dev_mem put(struct walk *w, const void *data, size_t size)
{
	struct bt_dev_mem mem;
	if (bt_gpu_device_alloc(w->device, BT_MEM_SCRATCH, size, &mem, &w->err) ||
	    (data && bt_gpu_device_upload(w->device, &mem, 0, data, size, &w->err)))
		fail(w, w->err.text);
	return mem;
}

static inline uint64_t at(const struct bt_dev_mem *mem)
{
	return ((const struct bt_gpu_mem *)mem->handle)->address;
}

static inline void launch(struct walk *w, uint32_t kernel, const void *params, uint32_t x, uint32_t y, uint32_t z)
{
	bool wanted[BT_GPU_KERNELS] = {false};
	wanted[kernel] = true;
	struct bt_gpu_cmd cmd = bt_gpu_cmd((enum bt_gpu_kernel)kernel, params, x, y, z);
	if (w->gpu->driver->prepare(w->gpu, wanted, &w->err) || bt_gpu_run_once(w->gpu, &cmd, 1, &w->err))
		fail(w, w->err.text);
}

static inline void take(struct walk *w, void *out, struct bt_dev_mem *mem, size_t size)
{
	if (bt_gpu_device_download(w->device, out, mem, 0, size, &w->err)) fail(w, w->err.text);
	bt_gpu_device_free(w->device, mem);
}

/* Free what a case made. */
static inline void drop(struct walk *w, struct bt_dev_mem *mem, size_t n)
{
	for (size_t i = 0; i < n; i++) bt_gpu_device_free(w->device, &mem[i]);
}

static inline float *rows_of(struct walk *w, size_t n)
{
	float *x = calloc(n, sizeof *x);
	for (size_t i = 0; i < n; i++) x[i] = draw(w);
	return x;
}

/* Rows rounded by the CPU, in the form of kernels/round.k. */
static inline uint32_t *blocks_of(const struct bt_cpu_acts *a)
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

static inline struct bt_cpu_acts acts_of(struct walk *w, const float *x, size_t n, size_t k)
{
	struct bt_cpu_acts a = {.n_tokens = n, .k = k, .f32 = x, .f32_stride = k};
	a.q = calloc(n, k);
	a.d = calloc(n * k / 32, sizeof *a.d);
	a.sum = calloc(n * k / 16, sizeof *a.sum);
	for (size_t t = 0; t < n; t++)
		w->cpu.quantize_row(x + t * k, k, a.q + t * k, a.d + t * (k / 32), a.sum + t * (k / 16));
	return a;
}

static inline void free_acts(struct bt_cpu_acts *a)
{
	free(a->q);
	free(a->d);
	free(a->sum);
}

/* A block of bytes at random, drawn again until its scales are such as weights have. */
static inline void draw_block(struct walk *w, const struct bt_type *type, unsigned char *block)
{
	int8_t q[256];
	float scale[16], least, most;
	do {
		for (uint32_t i = 0; i < type->bytes; i++) {
			draw(w);
			block[i] = (unsigned char)(w->rng >> 56);
		}
		type->unpack_i8(block, q, scale, NULL, type->block);
		least = most = fabsf(scale[0]);
		for (uint32_t i = 1; i < type->block / type->group; i++) {
			least = fminf(least, fabsf(scale[i]));
			most = fmaxf(most, fabsf(scale[i]));
		}
	} while (!(least > 1e-3f && most < 1));
}

/* A matrix of any type, of random values; of random bytes where baton can't write the type. MXFP4's are so small that no half
 * could be their scale. */
static inline struct bt_tensor matrix_of(struct walk *w, const struct bt_type *type, uint64_t k, uint64_t rows)
{
	struct bt_tensor t = {.type = type, .n_dims = 2, .dim = {k, rows, 1, 1}, .n_rows = rows};
	t.row_bytes = bt_type_row_bytes(type, k);
	t.size = t.matrix_bytes = t.row_bytes * rows;
	unsigned char *data = calloc(1, t.size);
	float *x = rows_of(w, k);
	for (uint64_t i = 0; i < k && type->id == BT_TYPE_MXFP4; i++) x[i] *= 1e-12f;
	for (uint64_t r = 0; r < rows; r++) {
		if (type->pack) type->pack(x, data + r * t.row_bytes, k, NULL);
		else
			for (uint64_t b = 0; b < k / type->block; b++)
				draw_block(w, type, data + r * t.row_bytes + b * type->bytes);
		x[r % k] *= -1.5f;
	}
	free(x);
	t.data = data;
	return t;
}

/* How near the CPU a product with rounded activations must be. */
static inline enum op product_op(const struct bt_gpu_matrix *m, uint32_t split)
{
	bool halves = m->format == BT_GPU_F_i2_book || m->format == BT_GPU_F_i2_grid;
	if (bt_gpu_format_is_float(m->format)) return OP_FLOAT_PRODUCT;
	if (split > 1) return OP_SPLIT_PRODUCT;
	return halves && m->tensor->type->group == 32 ? OP_HALVES_PRODUCT : OP_PRODUCT;
}

static inline void cpu_product(struct walk *w, const struct bt_tensor *t, const struct bt_cpu_acts *a, bool as_float,
                               float *y)
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

/* Is a word of a rounded block off by no more than a division that is off by some units in the last place makes it: the scale
 * by three units; a value that lies between two others by one, and the sums of such with it? *flips counts those. */
static inline bool nearly(uint32_t word, uint32_t got, uint32_t want, uint32_t *flips)
{
	if (word == 8) return got - want + 3 <= 6;
	if (word >= 9) return got - want + 2 <= 4;
	for (int i = 0; i < 32; i += 8) {
		int d = (int8_t)(got >> i) - (int8_t)(want >> i);
		if (d < -1 || d > 1) return false;
		*flips += d != 0;
	}
	return true;
}

/* Rounded blocks have the CPU's bits, but for what Vulkan lets a division be off (2.5 units in the last place: Vulkan
 * specification, "Precision and Operation of SPIR-V Instructions"); the emulator's is exact. */
static inline void judge_blocks(struct walk *w, const uint32_t *got, const uint32_t *want, uint32_t n_blocks)
{
	uint32_t flips = 0;
	w->cases++;
	for (uint32_t i = 0; i < n_blocks * 12; i++) {
		if (got[i] == want[i] || (!w->fused && nearly(i % 12, got[i], want[i], &flips))) continue;
		printf("block %u word %u: %08x, the CPU has %08x\n", i / 12, i % 12, got[i], want[i]);
		fail(w, "rounded otherwise than on the CPU");
		return;
	}
	if (flips > 1 + n_blocks / 32)
		fail(w, "more than one value in a thousand is rounded otherwise than on the CPU");
}

/* Release what was compiled from a plan made by hand, and the plan, whose parts and keeps are the caller's. Its tensors may go away
 * then: the device forgets them. e may be NULL. */
void release_plan(struct bt_exec *e, struct bt_plan *plan);

/* Each walks its kernels over sizes. */
void walk_ops(struct walk *w);
void walk_recurrent(struct walk *w);
void walk_tiles(struct walk *w);
void walk_parts(struct walk *w);
void walk_caches(struct walk *w);
/* Caches of more than 4 GiB of keys, where so many bytes of memory are enough (0: not known); small: of more than 16 MiB. */
void walk_large_caches(struct walk *w, bool small, uint64_t memory);
/* Matrices of more than 4 GiB; small: of more than 16 MiB, in parts of that. */
void walk_large(struct walk *w, bool small);

#endif
