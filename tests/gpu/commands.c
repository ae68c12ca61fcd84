/* commands.c: what a model's step is lowered to, as a line of JSON for every command.
 *
 *   gpu_commands MODEL [-p TOKENS] [-d DEPTH]
 *
 * A step of TOKENS tokens (1: generation) behind DEPTH others, for a device with unlimited memory. The file's data is not
 * read, so a file of holes with a large model's directory does (bench/isa writes such files). The first line tells of
 * the model; then each command: kernel, workgroups, whether it waits for those before it, and the matrices that it reads
 * (rows, columns, bytes on the device).
 */
#include "arch/arch.h"
#include "backend/gpu/lower.h"
#include "engine/cache.h"
#include "paper.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct step {
	uint32_t tokens, depth;
};

/* A matrix in the device's table without its data: bt_gpu_weights_get finds it there and uploads nothing. */
static enum baton_status add_matrix(struct bt_gpu_device *dev, const struct bt_tensor *t, struct baton_error *err)
{
	for (uint32_t i = 0; i < dev->n_matrices; i++)
		if (dev->matrix[i]->tensor == t) return BATON_OK;
	void *array = bt_mem_realloc(BT_MEM_HOST, dev->matrix, (dev->n_matrices + 1) * sizeof(void *));
	struct bt_gpu_matrix *m = NULL;
	if (!array) return bt_fail_nomem(err, sizeof *m, "the table of weights");
	dev->matrix = array;
	static struct bt_gpu_block paper; /* nothing stands in it */
	enum baton_status status = bt_gpu_cut(t, false, bt_gpu_most_part(&dev->gpu->caps), &m, err);
	if (status) return status;
	dev->matrix[dev->n_matrices++] = m;
	dev->cap_matrices = dev->n_matrices;
	struct bt_gpu_row_bytes row = bt_gpu_row_bytes(m->format, m->n_k);
	for (uint32_t i = 0; i < m->n_parts && !status; i++) {
		uint64_t offset[BT_GPU_PLANES], bytes = bt_gpu_plane_offsets(m->format, m->n_k, m->part[i].n, offset);
		struct bt_gpu_mem mem;
		status = dev->gpu->driver->alloc(dev->gpu, BT_MEM_WEIGHTS, BT_GPU_LOCAL, bytes, &mem, err);
		m->part[i].block = &paper;
		for (int p = 0; p < BT_GPU_PLANES; p++)
			m->part[i].plane[p] = row.plane[p] ? mem.address + offset[p] : 0;
	}
	return status;
}

static enum baton_status add_matrices(struct bt_gpu_device *dev, const struct bt_plan *plan, struct baton_error *err)
{
	enum baton_status status = BATON_OK;
	for (uint32_t i = 0; i < plan->n_ops && !status; i++) {
		const struct bt_op *op = &plan->op[i];
		for (uint32_t j = 0; bt_op_multiplies(op) && j < op->matmul.n_mats && !status; j++)
			status = add_matrix(dev, op->matmul.mat[j].w, err);
	}
	return status;
}

/* Rows, columns and bytes of the matrix, or of its part, whose quants are at that address; of experts those of one. How many. */
static uint32_t print_matrix(const struct bt_gpu_matrix *m, uint64_t address, uint32_t before)
{
	struct bt_gpu_row_bytes row = bt_gpu_row_bytes(m->format, m->n_k);
	uint64_t bytes = 0;
	for (int p = 0; p < BT_GPU_PLANES; p++) bytes += row.plane[p];
	for (uint32_t i = 0; i < m->n_parts && !m->exact; i++) {
		uint64_t rows = m->part[i].n < m->n_rows ? m->part[i].n : m->n_rows;
		if (m->part[i].plane[BT_GPU_PLANE_Q] != address) continue;
		printf("%s[%u, %u, %llu]", before ? ", " : "", (unsigned)rows, m->n_k,
		       (unsigned long long)(bytes * rows));
		return 1;
	}
	return 0;
}

/* The matrices whose quants stand among a command's parameters, and its other particulars. */
static void print_command(const struct bt_gpu_device *dev, const struct bt_gpu_cmd *cmd)
{
	printf("{\"kernel\": \"%s\", \"grid\": [%u, %u, %u], \"barrier\": %s, \"matrices\": [",
	       bt_gpu_kernel_table[cmd->kernel].name, cmd->grid[0], cmd->grid[1], cmd->grid[2],
	       cmd->barrier ? "true" : "false");
	uint32_t params = bt_gpu_kernel_table[cmd->kernel].params, found = 0;
	for (uint32_t at = 0; at + 8 <= params; at += 8) {
		uint64_t address;
		memcpy(&address, cmd->params + at, sizeof address);
		for (uint32_t i = 0; i < dev->n_matrices && address; i++)
			found += print_matrix(dev->matrix[i], address, found);
	}
	printf("]}\n");
}

static enum baton_status lower(struct bt_exec *e, const struct step *step, struct baton_error *err)
{
	const struct bt_plan *plan = e->c.plan;
	struct bt_gpu_shape shape = {.n_tokens = step->tokens, .n_logits = 1};
	uint32_t n = 0;
	bt_gpu_shape_attention(e, 1, step->depth + step->tokens - 1, &shape);
	if (plan->n_states) shape.n_seqs = 1;
	struct bt_gpu_cmd *cmd = NULL;
	enum baton_status status = bt_gpu_lower(e, shape, &cmd, &n, err);
	const struct bt_cache_shape *cache = plan->n_caches ? &plan->cache[0] : &(struct bt_cache_shape){0};
	uint32_t n_head = 0;
	for (uint32_t i = 0; i < plan->n_ops; i++)
		if (plan->op[i].kind == BT_OP_ATTENTION) n_head = plan->op[i].attention.n_head;
	if (!status)
		printf("{\"tokens\": %u, \"depth\": %u, \"n_embd\": %u, \"n_vocab\": %u, \"n_head\": %u, "
		       "\"n_head_kv\": %u, \"d_k\": %u, \"d_v\": %u, \"commands\": %u}\n",
		       step->tokens, step->depth, plan->n_embd, plan->n_vocab, n_head, cache->n_head_kv, cache->d_k,
		       cache->d_v, n);
	for (uint32_t i = 0; i < n && !status; i++) print_command(e->dev, &cmd[i]);
	bt_mem_free(cmd);
	return status;
}

/* Compile the plan with a cache for the step's positions, and lower. */
static enum baton_status run(const struct bt_plan *plan, const struct step *step, struct baton_error *err)
{
	static const struct bt_backend nothing = {.name = "paper",
	                                          .alloc = bt_gpu_device_alloc,
	                                          .free = bt_gpu_device_free};
	const uint32_t n_pages = (step->depth + step->tokens + BT_KV_PAGE - 1) / BT_KV_PAGE;
	struct bt_device *device = NULL;
	struct bt_exec *e = NULL;
	struct bt_compile c = {.plan = plan,
	                       .n_tokens = step->tokens,
	                       .n_logits = 1,
	                       .type_k = bt_type_get(BT_TYPE_F16),
	                       .type_v = bt_type_get(BT_TYPE_F16)};
	struct bt_cache *cache = bt_mem_array(BT_MEM_HOST, plan->n_caches + 1u, sizeof *cache);
	struct bt_dev_mem *state = bt_mem_array(BT_MEM_HOST, plan->n_states + 1u, sizeof *state);
	enum baton_status status = cache && state ? BATON_OK : bt_fail_nomem(err, 0, "the caches");
	if (!status) status = bt_gpu_device_open(&nothing, &paper_driver, 0, NULL, &device, err);
	for (uint32_t i = 0; i < plan->n_caches && !status; i++) {
		struct bt_cache_need need = {&plan->cache[i], c.type_k, c.type_v, n_pages};
		status = bt_cache_open(&nothing, device, 0, &need, &cache[i], err);
	}
	for (uint32_t i = 0; i < plan->n_states && !status; i++)
		status = bt_gpu_device_alloc(device, BT_MEM_STATE, 2 * plan->state[i].floats * sizeof(float), &state[i],
		                             err);
	c.cache = cache;
	c.state = state;
	if (!status) status = add_matrices((struct bt_gpu_device *)device, plan, err);
	if (!status) status = bt_gpu_compile(device, &c, &e, err);
	if (!status) status = lower(e, step, err);
	bt_gpu_release(e);
	for (uint32_t i = 0; device && i < plan->n_caches; i++) bt_cache_close(&nothing, device, &cache[i]);
	for (uint32_t i = 0; device && i < plan->n_states; i++) bt_gpu_device_free(device, &state[i]);
	bt_gpu_device_close(device);
	bt_mem_free(cache);
	bt_mem_free(state);
	return status;
}

int main(int argc, char **argv)
{
	struct step step = {.tokens = 1};
	const char *model = NULL;
	for (int i = 1; i < argc; i++) {
		uint32_t value = i + 1 < argc ? (uint32_t)strtoul(argv[i + 1], NULL, 10) : 0;
		if (!strcmp(argv[i], "-p")) step.tokens = value, i++;
		else if (!strcmp(argv[i], "-d")) step.depth = value, i++;
		else model = argv[i][0] == '-' || model ? "" : argv[i];
	}
	if (!model || !*model || !step.tokens || step.tokens > 4096 || step.depth > 1u << 20) {
		fprintf(stderr, "usage: gpu_commands MODEL [-p TOKENS, at most 4096] [-d DEPTH]\n");
		return 2;
	}
	struct baton_error err = {0};
	struct bt_gguf *g = NULL;
	struct bt_plan plan;
	enum baton_status status = bt_gguf_open(model, NULL, &g, &err);
	if (!status) {
		status = bt_arch_build(g, &plan, NULL, &err);
		if (!status) status = run(&plan, &step, &err);
		bt_plan_free(&plan);
	}
	bt_gguf_close(&g);
	if (status) fprintf(stderr, "gpu_commands: %s\n", err.text);
	return status != BATON_OK;
}
