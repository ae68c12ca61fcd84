/* time_tiles.c: every shape of tile, on matrix cores and in packed halves too, by itself on the first GPU, for a person who tunes src/backend/gpu/lower_tiles.c.
 *
 *   gpu_time_tiles [ROWS K TOKENS]...   with none: the sizes of a model of 7B and some counts of tokens
 *
 * A line for every size, format and shape: microseconds, and 10^12 operations a second (a product and a sum are two).
 */
#include "backend/gpu/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

extern const struct bt_gpu_driver bt_vk_driver;

static const char *const format_name[] = {
#define FORMAT(name, ...) [BT_GPU_F_##name] = #name,
#include "backend/gpu/kernels/formats.inc"
#undef FORMAT
};
static const enum bt_gpu_format timed[] = {BT_GPU_F_i4_half, BT_GPU_F_i4_super_min, BT_GPU_F_i6_super_16,
                                           BT_GPU_F_i8_half, BT_GPU_F_i3_super_16,  BT_GPU_F_i4_book,
                                           BT_GPU_F_i2_book, BT_GPU_F_i3_grid,      BT_GPU_F_i2_grid};

struct size {
	uint32_t rows, k, tokens;
};
static const struct size usual[] = {{3584, 3584, 512},  {512, 3584, 512},   {18944, 3584, 512}, {3584, 18944, 512},
                                    {18944, 3584, 128}, {3584, 18944, 128}, {18944, 3584, 64},  {3584, 3584, 64},
                                    {18944, 3584, 32},  {3584, 3584, 32},   {18944, 3584, 16},  {3584, 3584, 16}};

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Memory of noise: zeros would need less power, and so run faster, than weights do. */
static enum baton_status noise(struct bt_device *dev, uint64_t size, struct bt_dev_mem *out, struct baton_error *err)
{
	uint64_t seed = 7, n = size / 8 + 1;
	uint64_t *data = malloc(n * 8);
	if (!data) return BATON_ERR_NOMEM;
	for (uint64_t i = 0; i < n; i++) data[i] = seed = seed * 6364136223846793005u + 1442695040888963407u;
	enum baton_status status = bt_gpu_device_alloc(dev, BT_MEM_SCRATCH, size, out, err);
	if (!status) status = bt_gpu_device_upload(dev, out, 0, data, size, err);
	free(data);
	return status;
}

/* The least of several runs of ten at once. */
static enum baton_status time_kernel(struct bt_gpu *gpu, const struct bt_gpu_cmd *cmd, double *seconds,
                                     struct baton_error *err)
{
	enum { TIMES = 10 };
	struct bt_gpu_cmd all[TIMES];
	struct bt_gpu_recording *rec = NULL;
	bool wanted[BT_GPU_KERNELS] = {false};
	wanted[cmd->kernel] = true;
	for (int i = 0; i < TIMES; i++) all[i] = *cmd, all[i].barrier = true;
	enum baton_status status = gpu->driver->prepare(gpu, wanted, err);
	if (!status) status = gpu->driver->record(gpu, all, TIMES, &rec, err);
	*seconds = 1e30;
	for (int i = 0; i < 5 && !status; i++) {
		double begin = now();
		status = gpu->driver->start(gpu, &rec, 1, err);
		if (!status) status = gpu->driver->wait(gpu, gpu->started, err);
		double took = (now() - begin) / TIMES;
		if (took < *seconds) *seconds = took;
	}
	gpu->driver->discard(gpu, rec);
	return status;
}

/* Does a kernel whose name begins so multiply that format in tiles? rows and tokens of its tile. */
static bool is_tile(uint32_t kernel, const char *begin, enum bt_gpu_format f, uint32_t *rows, uint32_t *tokens)
{
	const char *name = bt_gpu_kernel_table[kernel].name, *at = strstr(name, format_name[f]);
	char end;
	if (strncmp(name, begin, strlen(begin)) || at != name + strlen(begin)) return false;
	return sscanf(at + strlen(format_name[f]), "_%ux%u%c", rows, tokens, &end) == 2;
}

static void say(struct size z, const struct bt_gpu_cmd *cmd, double seconds)
{
	printf("%5u x %5u, %3u tokens  %-28s %6u groups %10.1f us %8.2f T/s\n", z.rows, z.k, z.tokens,
	       bt_gpu_kernel_table[cmd->kernel].name, cmd->grid[0] * cmd->grid[1], seconds * 1e6,
	       2.0 * z.rows * z.k * z.tokens / seconds * 1e-12);
	fflush(stdout);
}

static enum baton_status time_size(struct bt_gpu_device *dev, struct size z, enum bt_gpu_format f,
                                   struct baton_error *err)
{
	struct bt_dev_mem w = {0}, x = {0}, y = {0};
	uint64_t offset[BT_GPU_PLANES], base;
	enum baton_status status = noise(&dev->base, bt_gpu_plane_offsets(f, z.k, z.rows, offset), &w, err);
	if (!status) status = noise(&dev->base, (uint64_t)z.tokens * (z.k / 32) * 64, &x, err);
	if (!status) status = noise(&dev->base, (uint64_t)z.tokens * z.rows * 4, &y, err);
	for (uint32_t k = 0; k < BT_GPU_KERNELS && !status; k++) {
		uint32_t rows, tokens;
		double seconds;
		bool matrix = dev->gpu->caps.matrix_cores && is_tile(k, "matrix_", f, &rows, &tokens);
		if (!matrix && !is_tile(k, "tile_", f, &rows, &tokens)) continue;
		base = ((struct bt_gpu_mem *)w.handle)->address;
		uint64_t in = ((struct bt_gpu_mem *)x.handle)->address, out = ((struct bt_gpu_mem *)y.handle)->address;
		struct bt_gpu_mat mat = {base + offset[0], base + offset[1], base + offset[2], base + offset[3]};
		struct bt_gpu_tile p = {.w = mat,
		                        .xq = in,
		                        .y = out,
		                        .n_rows = z.rows,
		                        .n_blocks = z.k / 32,
		                        .n_tokens = z.tokens,
		                        .part = z.rows};
		struct bt_gpu_matrix_tile m = {.w = mat,
		                               .xh = in,
		                               .scale = out,
		                               .y = out,
		                               .n_rows = z.rows,
		                               .part = z.rows,
		                               .n_blocks = z.k / 32,
		                               .n_tokens = z.tokens};
		struct bt_gpu_cmd cmd = bt_gpu_cmd((enum bt_gpu_kernel)k, matrix ? (void *)&m : &p,
		                                   (z.tokens + tokens - 1) / tokens, (z.rows + rows - 1) / rows, 1);
		status = time_kernel(dev->gpu, &cmd, &seconds, err);
		if (!status) say(z, &cmd, seconds);
	}
	bt_gpu_device_free(&dev->base, &w);
	bt_gpu_device_free(&dev->base, &x);
	bt_gpu_device_free(&dev->base, &y);
	return status;
}

/* F16 and BF16 by tile_float.k, and by tile_packed.k where there are packed halves. */
static enum baton_status time_halves(struct bt_gpu_device *dev, struct size z, struct baton_error *err)
{
	struct bt_dev_mem w = {0}, x = {0}, y = {0};
	uint32_t wide = (z.tokens + 63) / 64, tall = (z.rows + 63) / 64;
	double seconds;
	enum baton_status status = noise(&dev->base, (uint64_t)z.rows * z.k * 2, &w, err);
	if (!status) status = noise(&dev->base, (uint64_t)z.tokens * z.k * 4, &x, err);
	if (!status) status = noise(&dev->base, (uint64_t)z.tokens * z.rows * 4, &y, err);
	if (!status) {
		uint64_t at_w = ((struct bt_gpu_mem *)w.handle)->address,
			 at_x = ((struct bt_gpu_mem *)x.handle)->address,
			 at_y = ((struct bt_gpu_mem *)y.handle)->address;
		struct bt_gpu_tile_float f = {.w = at_w,
		                              .x = at_x,
		                              .y = at_y,
		                              .n_rows = z.rows,
		                              .part = z.rows,
		                              .n_k = z.k,
		                              .n_blocks = z.k / 32,
		                              .n_tokens = z.tokens};
		struct bt_gpu_tile_packed p = {.w = at_w,
		                               .xh = at_x,
		                               .scale = at_x,
		                               .y = at_y,
		                               .n_rows = z.rows,
		                               .part = z.rows,
		                               .n_blocks = z.k / 32,
		                               .n_tokens = z.tokens,
		                               .w_down = 1,
		                               .w_up = 1};
		struct bt_gpu_cmd cmd[] = {bt_gpu_cmd(BT_GPU_K_tile_f16, &f, wide, tall, 1),
		                           bt_gpu_cmd(BT_GPU_K_tile_bf16, &f, wide, tall, 1),
		                           bt_gpu_cmd(BT_GPU_K_tile_packed_f16, &p, wide, tall, 1),
		                           bt_gpu_cmd(BT_GPU_K_tile_packed_bf16, &p, wide, tall, 1)};
		for (int i = 0; i < (dev->gpu->caps.packed_halves ? 4 : 2) && !status; i++) {
			status = time_kernel(dev->gpu, &cmd[i], &seconds, err);
			if (!status) say(z, &cmd[i], seconds);
		}
	}
	bt_gpu_device_free(&dev->base, &w);
	bt_gpu_device_free(&dev->base, &x);
	bt_gpu_device_free(&dev->base, &y);
	return status;
}

int main(int argc, char **argv)
{
	struct bt_device_params params = {0};
	struct bt_device *dev;
	struct baton_error err = {0};
	enum baton_status status = bt_gpu_device_open(NULL, &bt_vk_driver, 0, &params, &dev, &err);
	int n = argc > 1 ? (argc - 1) / 3 : (int)(sizeof usual / sizeof *usual);
	for (int i = 0; i < n && !status; i++) {
		struct size z = usual[argc > 1 ? 0 : i];
		if (argc > 1)
			z = (struct size){(uint32_t)atoi(argv[1 + 3 * i]), (uint32_t)atoi(argv[2 + 3 * i]) / 256 * 256,
			                  (uint32_t)atoi(argv[3 + 3 * i])};
		if (!z.rows || !z.k || !z.tokens) {
			fprintf(stderr, "usage: gpu_time_tiles [ROWS K TOKENS]...\n");
			status = BATON_ERR_ARG;
		}
		for (size_t f = 0; f < sizeof timed / sizeof *timed && !status; f++)
			status = time_size((struct bt_gpu_device *)dev, z, timed[f], &err);
		if (!status) status = time_halves((struct bt_gpu_device *)dev, z, &err);
	}
	if (status) fprintf(stderr, "gpu_time_tiles: %s\n", err.text);
	bt_gpu_device_close(dev);
	return status == BATON_ERR_DEVICE ? 77 : status != BATON_OK; /* 77: skipped, to meson */
}
