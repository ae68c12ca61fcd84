/* products.c: matrix-vector kernels by the teams that share a row, at the shapes of a model of 7 billion weights: what split_of
 * in src/backend/gpu/lower_matmul.c is to choose.
 *
 *   gpu_products [SHAPE]     on the first Vulkan device
 *
 * Each line is a shape: microseconds and GB/s for every number of teams that share a row. Copies of the matrix take turns so that
 * it comes from memory; a barrier stands between two products, as in a step. The matrices hold noise: what is looked up in shared
 * memory takes as long as with weights. For a person who tunes kernels.
 */
#include "backend/gpu/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

extern const struct bt_gpu_driver bt_vk_driver;

static const struct shape {
	const char *name;
	enum bt_gpu_format format;
	uint32_t rows, k;
	bool gate;
} shapes[] = {
	{"o q4_K", BT_GPU_F_i4_super_min, 3584, 3584, false},
	{"kv q4_K", BT_GPU_F_i4_super_min, 512, 3584, false},
	{"kv q6_K", BT_GPU_F_i6_super_16, 512, 3584, false},
	{"down q4_K", BT_GPU_F_i4_super_min, 3584, 18944, false},
	{"down q6_K", BT_GPU_F_i6_super_16, 3584, 18944, false},
	{"logits q6_K", BT_GPU_F_i6_super_16, 152064, 3584, false},
	{"gate q4_K", BT_GPU_F_i4_super_min, 18944, 3584, true},
	{"expert q4_K", BT_GPU_F_i4_super_min, 768, 2048, true},
	{"o q2_K", BT_GPU_F_i2_book, 3584, 3584, false},
	{"down q2_K", BT_GPU_F_i2_book, 3584, 18944, false},
	{"gate q2_K", BT_GPU_F_i2_book, 18944, 3584, true},
	{"down q3_K", BT_GPU_F_i3_super_16, 3584, 18944, false},
	{"gate q3_K", BT_GPU_F_i3_super_16, 18944, 3584, true},
	{"o iq2", BT_GPU_F_i2_grid, 3584, 3584, false},
	{"down iq2", BT_GPU_F_i2_grid, 3584, 18944, false},
	{"gate iq2", BT_GPU_F_i2_grid, 18944, 3584, true},
	{"o iq3", BT_GPU_F_i3_grid, 3584, 3584, false},
	{"down iq3", BT_GPU_F_i3_grid, 3584, 18944, false},
	{"gate iq3", BT_GPU_F_i3_grid, 18944, 3584, true},
	{"o iq4", BT_GPU_F_i4_book, 3584, 3584, false},
	{"down iq4", BT_GPU_F_i4_book, 3584, 18944, false},
	{"gate iq4", BT_GPU_F_i4_book, 18944, 3584, true},
	{"expert iq4", BT_GPU_F_i4_book, 768, 2048, true},
};

/* The kernels of a format for one token. */
static const uint16_t products[BT_GPU_FORMATS] = {
#define FORMAT(name, ...) [BT_GPU_F_##name] = BT_GPU_K_matvec_##name##_1,
#include "backend/gpu/kernels/formats.inc"
#undef FORMAT
};
static const uint16_t gates[BT_GPU_FORMATS] = {
#define FORMAT(name, ...) [BT_GPU_F_##name] = BT_GPU_K_gate_##name##_1,
#include "backend/gpu/kernels/formats.inc"
#undef FORMAT
};

struct bench {
	struct bt_gpu *gpu;
	struct bt_gpu_mem weights, x, y;
	struct baton_error err;
};

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static struct bt_gpu_mat planes_at(const struct shape *s, uint64_t base)
{
	uint64_t offset[BT_GPU_PLANES];
	struct bt_gpu_row_bytes row = bt_gpu_row_bytes(s->format, s->k);
	bt_gpu_plane_offsets(s->format, s->k, s->rows, offset);
	return (struct bt_gpu_mat){base + offset[0], row.plane[1] ? base + offset[1] : 0, base + offset[2],
	                           row.plane[3] ? base + offset[3] : 0};
}

static struct bt_gpu_cmd command(const struct bench *b, const struct shape *s, uint32_t split, uint64_t base,
                                 uint64_t bytes)
{
	struct bt_gpu_matvec m = {.w = planes_at(s, base),
	                          .xq = b->x.address,
	                          .y = b->y.address,
	                          .n_rows = s->rows,
	                          .part = s->rows,
	                          .n_blocks = s->k / 32,
	                          .n_tokens = 1,
	                          .n_used = 1,
	                          .split = split};
	struct bt_gpu_gate g = {.gate = m.w,
	                        .up = planes_at(s, base + bytes),
	                        .xq = m.xq,
	                        .yq = m.y,
	                        .n_rows = s->rows,
	                        .part = s->rows,
	                        .n_blocks = m.n_blocks,
	                        .n_tokens = 1,
	                        .n_used = 1,
	                        .split = split};
	uint32_t tall = s->gate ? 32 : 32 / split;
	return bt_gpu_cmd(s->gate ? gates[s->format] : products[s->format], s->gate ? (void *)&g : (void *)&m,
	                  (s->rows + tall - 1) / tall, 1, 1);
}

/* Seconds of one product; the least of some runs of 48. */
static enum baton_status time_one(struct bench *b, const struct shape *s, uint32_t split, double *seconds)
{
	enum { N = 48 };
	struct bt_gpu_cmd cmd[N];
	uint64_t offset[BT_GPU_PLANES], bytes = bt_gpu_plane_offsets(s->format, s->k, s->rows, offset);
	uint64_t each = s->gate ? 2 * bytes : bytes, copies = b->weights.size / each;
	bool wanted[BT_GPU_KERNELS] = {false};
	wanted[s->gate ? gates[s->format] : products[s->format]] = true;
	for (uint32_t i = 0; i < N; i++) {
		cmd[i] = command(b, s, split, b->weights.address + i % copies * each, bytes);
		cmd[i].barrier = true;
	}
	struct bt_gpu_recording *rec = NULL;
	enum baton_status status = b->gpu->driver->prepare(b->gpu, wanted, &b->err);
	if (!status) status = b->gpu->driver->record(b->gpu, cmd, N, &rec, &b->err);
	*seconds = 1e30;
	for (int i = 0; i < 8 && !status; i++) {
		double begin = now();
		status = b->gpu->driver->start(b->gpu, &rec, 1, &b->err);
		if (!status) status = b->gpu->driver->wait(b->gpu, b->gpu->started, &b->err);
		double took = (now() - begin) / N;
		if (i && took < *seconds) *seconds = took;
	}
	b->gpu->driver->discard(b->gpu, rec);
	return status;
}

/* Noise all over the memory for weights. */
static enum baton_status make_noise(struct bench *b)
{
	struct bt_gpu_mem noise = {0};
	uint64_t seed = 7, size = (uint64_t)64 << 20;
	enum baton_status status = b->gpu->driver->alloc(b->gpu, BT_MEM_STAGING, BT_GPU_WRITE, size, &noise, &b->err);
	for (uint64_t i = 0; i < size / 8 && !status; i++)
		((uint64_t *)noise.host)[i] = seed = seed * 6364136223846793005u + 1442695040888963407u;
	for (uint64_t at = 0; at + size <= b->weights.size && !status; at += size) {
		struct bt_gpu_cmd cmd = bt_gpu_cmd_copy(&b->weights, at, &noise, 0, size);
		status = bt_gpu_run_once(b->gpu, &cmd, 1, &b->err);
	}
	b->gpu->driver->free(b->gpu, &noise);
	return status;
}

static enum baton_status compare(struct bench *b, const struct shape *s)
{
	enum baton_status status = BATON_OK;
	uint64_t offset[BT_GPU_PLANES], bytes = bt_gpu_plane_offsets(s->format, s->k, s->rows, offset);
	if (s->gate) bytes *= 2;
	printf("%-12s %6u x %5u, %5.1f MB", s->name, s->rows, s->k, (double)bytes * 1e-6);
	for (uint32_t split = 1; split <= (s->gate ? 4 : 16) && !status; split *= 2) {
		double seconds;
		status = time_one(b, s, split, &seconds);
		printf("  %7.2f us %5.0f", seconds * 1e6, (double)bytes / seconds * 1e-9);
	}
	printf(" GB/s\n");
	return status;
}

int main(int argc, char **argv)
{
	struct bench b = {0};
	struct bt_device_params params = {0};
	enum baton_status status = bt_vk_driver.open(0, &params, &b.gpu, &b.err);
	uint64_t size = (uint64_t)1 << 30;
	if (!status) status = bt_vk_driver.alloc(b.gpu, BT_MEM_WEIGHTS, BT_GPU_LOCAL, size, &b.weights, &b.err);
	if (!status) status = bt_vk_driver.alloc(b.gpu, BT_MEM_SCRATCH, BT_GPU_LOCAL, 1 << 20, &b.x, &b.err);
	if (!status) status = bt_vk_driver.alloc(b.gpu, BT_MEM_SCRATCH, BT_GPU_LOCAL, 1 << 20, &b.y, &b.err);
	if (!status) status = make_noise(&b);
	printf("microseconds and GB/s with 1, 2, 4, 8, 16 teams to a row\n");
	for (size_t i = 0; i < sizeof shapes / sizeof *shapes && !status; i++)
		if (argc < 2 || !strcmp(argv[1], shapes[i].name)) status = compare(&b, &shapes[i]);
	if (b.gpu) {
		struct bt_gpu_mem *mem[] = {&b.weights, &b.x, &b.y};
		for (int i = 0; i < 3; i++) bt_vk_driver.free(b.gpu, mem[i]);
		bt_vk_driver.close(b.gpu);
	}
	if (status) fprintf(stderr, "gpu_products: %s\n", b.err.text);
	return status != BATON_OK;
}
