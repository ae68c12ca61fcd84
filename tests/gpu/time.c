/* time.c: where the time of a step goes on a GPU: every command of a model's plan, timed on the device.
 *
 *   gpu_time MODEL [-dev NAME] [-p TOKENS] [-d DEPTH] [-r REPEATS]
 *
 * A step of TOKENS tokens (1: generation) behind DEPTH others is lowered as the engine does. The whole is timed, with its
 * barriers and without any, then each kind of command by itself: all its instances in the step one behind the other, so
 * that weights come from memory and not from a cache. For a person who tunes kernels; the test suite only sees that it
 * works.
 */
#include "backend/gpu/lower.h"
#include "baton.h"
#include "engine/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct settings {
	const char *model, *device;
	uint32_t tokens, depth, repeats;
};

/* The commands of one kind: the same kernel on the same number of workgroups. */
struct kind {
	uint16_t kernel;
	uint32_t grid[3], n;
	uint64_t bytes; /* of weights or states, in all instances */
	double seconds;
};
#define MAX_KINDS 128

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int by_time(const void *a, const void *b)
{
	double x = ((const struct kind *)a)->seconds, y = ((const struct kind *)b)->seconds;
	return (x < y) - (x > y);
}

/* Bytes that a product with the matrix, or with its part, reads whose quants are at that address; of experts those of one. */
static uint64_t bytes_at(const struct bt_gpu_matrix *m, uint64_t address)
{
	struct bt_gpu_row_bytes row = bt_gpu_row_bytes(m->format, m->n_k);
	uint64_t bytes = 0;
	for (int p = 0; p < BT_GPU_PLANES; p++) bytes += row.plane[p];
	for (uint32_t i = 0; i < m->n_parts && m->n_rows > 1; i++)
		if (m->part[i].plane[BT_GPU_PLANE_Q] == address)
			return bytes * (m->part[i].n < m->n_rows ? m->part[i].n : m->n_rows);
	return 0;
}

/* Bytes of the matrices whose quants a command's parameters begin with (a gate has two), or of the states that it reads and
 * writes. */
static uint64_t weight_bytes(const struct bt_gpu_device *dev, const struct bt_gpu_cmd *cmd)
{
	uint64_t bytes = 0;
	if (cmd->kernel >= BT_GPU_K_delta_net_64 && cmd->kernel <= BT_GPU_K_mamba2_256) {
		struct bt_gpu_recurrence p;
		memcpy(&p, cmd->params, sizeof p);
		return 2 * (uint64_t)p.slot_bytes * cmd->grid[2];
	}
	const char *name = bt_gpu_kernel_table[cmd->kernel].name;
	if (strncmp(name, "mat", 3) && strncmp(name, "gate_", 5) && strncmp(name, "tile", 4)) return 0;
	for (uint32_t at = 0; at + 8 <= BT_GPU_MAX_PARAMS; at += 8) {
		uint64_t address;
		memcpy(&address, cmd->params + at, sizeof address);
		for (uint32_t i = 0; i < dev->n_matrices && address; i++) bytes += bytes_at(dev->matrix[i], address);
	}
	return bytes;
}

/* Seconds of one run of the commands: the least of several. */
static enum baton_status time_of(struct bt_gpu *gpu, const struct bt_gpu_cmd *cmd, uint32_t n, uint32_t repeats,
                                 double *seconds, struct baton_error *err)
{
	struct bt_gpu_recording *rec = NULL;
	enum baton_status status = gpu->driver->record(gpu, cmd, n, &rec, err);
	*seconds = 1e30;
	for (uint32_t i = 0; i < repeats + 2 && !status; i++) {
		double begin = now();
		status = gpu->driver->start(gpu, &rec, 1, err);
		if (!status) status = gpu->driver->wait(gpu, gpu->started, err);
		double took = now() - begin;
		if (i >= 2 && took < *seconds) *seconds = took;
	}
	gpu->driver->discard(gpu, rec);
	return status;
}

static uint32_t sort_out(const struct bt_gpu_device *dev, const struct bt_gpu_cmd *cmd, uint32_t n, struct kind *kind,
                         uint32_t *kind_of)
{
	uint32_t n_kinds = 0;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t k = 0;
		while (k < n_kinds &&
		       (kind[k].kernel != cmd[i].kernel || memcmp(kind[k].grid, cmd[i].grid, sizeof cmd[i].grid)))
			k++;
		if (k == MAX_KINDS) k--;
		if (k == n_kinds) {
			kind[n_kinds] = (struct kind){.kernel = cmd[i].kernel};
			memcpy(kind[n_kinds++].grid, cmd[i].grid, sizeof cmd[i].grid);
		}
		kind[k].n++;
		kind[k].bytes += weight_bytes(dev, &cmd[i]);
		kind_of[i] = k;
	}
	return n_kinds;
}

static enum baton_status time_kinds(const struct bt_gpu_device *dev, const struct bt_gpu_cmd *cmd, uint32_t n,
                                    uint32_t repeats, struct baton_error *err)
{
	struct kind kind[MAX_KINDS];
	uint32_t *kind_of = calloc(n, sizeof *kind_of);
	struct bt_gpu_cmd *some = calloc(n, sizeof *some);
	enum baton_status status = kind_of && some ? BATON_OK : BATON_ERR_NOMEM;
	uint32_t n_kinds = status ? 0 : sort_out(dev, cmd, n, kind, kind_of);
	double sum = 0;
	for (uint32_t k = 0; k < n_kinds && !status; k++) {
		uint32_t m = 0;
		for (uint32_t i = 0; i < n; i++)
			if (kind_of[i] == k) some[m++] = cmd[i];
		for (uint32_t i = 0; i < m; i++) some[i].barrier = true;
		status = time_of(dev->gpu, some, m, repeats, &kind[k].seconds, err);
		sum += kind[k].seconds;
	}
	if (!status) qsort(kind, n_kinds, sizeof *kind, by_time);
	printf("%-28s %18s %6s %10s %10s %6s %8s\n", "kernel", "workgroups", "times", "us each", "us", "share", "GB/s");
	for (uint32_t k = 0; k < n_kinds && !status; k++) {
		const struct kind *t = &kind[k];
		char grid[40];
		snprintf(grid, sizeof grid, "%ux%ux%u", t->grid[0], t->grid[1], t->grid[2]);
		printf("%-28s %18s %6u %10.2f %10.1f %5.1f%% %8.0f\n", bt_gpu_kernel_table[t->kernel].name, grid, t->n,
		       t->seconds / t->n * 1e6, t->seconds * 1e6, t->seconds / sum * 100,
		       (double)t->bytes / t->seconds * 1e-9);
	}
	free(kind_of);
	free(some);
	return status;
}

static enum baton_status time_step(struct bt_exec *e, const struct settings *set, struct baton_error *err)
{
	struct bt_gpu *gpu = e->dev->gpu;
	const struct bt_gpu_recorded *last = &e->recorded[0];
	for (uint32_t i = 1; i < e->n_recorded; i++)
		if (e->recorded[i].used > last->used) last = &e->recorded[i];
	struct bt_gpu_cmd *cmd = NULL;
	uint32_t n = 0, barriers = 0;
	double whole, loose;
	enum baton_status status = bt_gpu_lower(e, last->shape, &cmd, &n, err);
	if (!status) status = time_of(gpu, cmd, n, set->repeats, &whole, err);
	if (!status) {
		struct bt_gpu_cmd *free_cmd = calloc(n, sizeof *free_cmd);
		if (!free_cmd) status = BATON_ERR_NOMEM;
		for (uint32_t i = 0; i < n && !status; i++) {
			free_cmd[i] = cmd[i];
			free_cmd[i].barrier = false;
			barriers += cmd[i].barrier;
		}
		if (!status) status = time_of(gpu, free_cmd, n, set->repeats, &loose, err);
		free(free_cmd);
	}
	if (!status)
		printf("%u tokens at depth %u: %u commands, %u barriers; %.1f us, %.1f us without barriers: %.1f t/s\n",
		       set->tokens, set->depth, n, barriers, whole * 1e6, loose * 1e6, set->tokens / whole);
	if (!status) status = time_kinds(e->dev, cmd, n, set->repeats, err);
	bt_mem_free(cmd);
	return status;
}

static enum baton_status eval(struct baton_session *s, uint32_t n, struct baton_error *err)
{
	enum baton_status status = BATON_OK;
	for (uint32_t done = 0; done < n && !status;) {
		struct baton_input in[512];
		uint32_t now_n = n - done < 512 ? n - done : 512;
		for (uint32_t i = 0; i < now_n; i++)
			in[i] = (struct baton_input){.token = (int32_t)((done + i) * 131 % 400 + 7),
			                             .logits = i + 1 == now_n};
		status = baton_eval(s, in, now_n, err);
		done += now_n;
	}
	return status;
}

/* What a token takes by baton_eval: what is more than the commands' own time is the CPU's work. */
static enum baton_status time_eval(struct baton_session *s, struct baton_error *err)
{
	double least = 1e30;
	enum baton_status status = BATON_OK;
	for (int i = 0; i < 40 && !status; i++) {
		double begin = now();
		status = eval(s, 1, err);
		double took = now() - begin;
		if (took < least) least = took;
	}
	if (!status) printf("a token by baton_eval: %.1f us\n", least * 1e6);
	return status;
}

static enum baton_status run(const struct settings *set, struct baton_error *err)
{
	struct baton_model *m = NULL;
	struct baton_session *s = NULL;
	struct baton_session_params p = baton_session_params_default();
	p.device = set->device;
	p.n_ctx = set->depth + set->tokens + 64;
	enum baton_status status = baton_model_open(set->model, NULL, &m, err);
	if (!status) status = baton_session_open(m, &p, &s, err);
	if (!status) status = eval(s, set->depth, err);
	if (!status) status = eval(s, set->tokens, err);
	if (!status && set->tokens == 1) status = time_eval(s, err);
	bool found = false;
	for (uint32_t i = 0; !status && i < s->devices.n; i++) {
		const struct bt_session_device *d = &s->devices.device[i];
		if (d->backend->run != bt_gpu_run || !d->exec) continue;
		found = true;
		printf("%s\n", d->info.description);
		status = time_step(d->exec, set, err);
	}
	if (!status && !found) status = bt_fail(err, BATON_ERR_DEVICE, "%s is no GPU", set->device);
	baton_session_close(&s);
	baton_model_close(&m);
	return status;
}

int main(int argc, char **argv)
{
	struct settings set = {.device = "Vulkan0", .tokens = 1, .repeats = 10};
	for (int i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : "0";
		if (argv[i][0] != '-') set.model = argv[i];
		else if (!strcmp(argv[i], "-dev")) set.device = value, i++;
		else if (!strcmp(argv[i], "-p")) set.tokens = (uint32_t)atoi(value), i++;
		else if (!strcmp(argv[i], "-d")) set.depth = (uint32_t)atoi(value), i++;
		else if (!strcmp(argv[i], "-r")) set.repeats = (uint32_t)atoi(value), i++;
		else set.model = NULL;
	}
	if (!set.model || !set.tokens || set.tokens > 512) {
		fprintf(stderr, "usage: gpu_time MODEL [-dev NAME] [-p TOKENS, at most 512] [-d DEPTH] [-r REPEATS]\n");
		return 2;
	}
	struct baton_error err = {0};
	enum baton_status status = run(&set, &err);
	if (status) fprintf(stderr, "gpu_time: %s\n", err.text);
	return status == BATON_ERR_DEVICE ? 77 : status != BATON_OK; /* 77: skipped, to meson */
}
