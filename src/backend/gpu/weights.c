/* weights.c: tensors into device memory: packed row by row into one staging buffer while the other one is being copied. */
#include "backend/gpu/device.h"

#include <string.h>

#define BLOCK ((uint64_t)64 << 20) /* device memory is taken in blocks of at least this: drivers limit their number */

/* One more element at the end of a growing array. */
static enum baton_status grow(void **array, uint32_t n, uint32_t *cap, size_t size, struct baton_error *err)
{
	if (n < *cap) return BATON_OK;
	uint32_t want = *cap ? *cap * 2 : 64;
	void *p = bt_mem_realloc(BT_MEM_HOST, *array, want * size);
	if (!p) return bt_fail_nomem(err, want * size, "the table of weights");
	*array = p;
	*cap = want;
	return BATON_OK;
}

/* `size` bytes in the last block, or in a new one. */
static enum baton_status place(struct bt_gpu_device *dev, uint64_t size, const struct bt_gpu_mem **block,
                               uint64_t *offset, struct baton_error *err)
{
	enum baton_status status = BATON_OK;
	if (!dev->n_blocks || dev->block_used + size > dev->block[dev->n_blocks - 1].size) {
		uint64_t want = size > BLOCK ? size : BLOCK;
		void *array = dev->block;
		status = grow(&array, dev->n_blocks, &dev->cap_blocks, sizeof *dev->block, err);
		dev->block = array;
		if (!status && size > dev->gpu->caps.max_alloc)
			status = bt_fail(err, BATON_ERR_UNSUPPORTED,
			                 "a tensor of %.1f GB; this device gives %.1f GB at once", (double)size * 1e-9,
			                 (double)dev->gpu->caps.max_alloc * 1e-9);
		if (!status)
			status = dev->gpu->driver->alloc(dev->gpu, BT_MEM_WEIGHTS, BT_GPU_LOCAL, want,
			                                 &dev->block[dev->n_blocks], err);
		if (status) return status;
		dev->n_blocks++;
		dev->block_used = 0;
	}
	*block = &dev->block[dev->n_blocks - 1];
	*offset = dev->block_used;
	dev->block_used += (size + 255) & ~(uint64_t)255;
	return BATON_OK;
}

struct upload {
	struct bt_gpu_device *dev;
	const struct bt_tensor *t;
	enum bt_gpu_format format;
	const struct bt_gpu_mem *block;
	uint64_t offset[BT_GPU_PLANES]; /* of the planes in the block */
	struct bt_gpu_row_bytes row;
	struct bt_gpu_packer space;
	char *packed; /* one row, all planes */
};

/* Rows r0 .. r1 into staging buffer s, and the copies that bring them to their place. */
static uint32_t pack_rows(const struct upload *u, int s, uint64_t r0, uint64_t r1, struct bt_gpu_cmd cmd[BT_GPU_PLANES])
{
	uint64_t at[BT_GPU_PLANES], size = 0, row_at = 0;
	void *row[BT_GPU_PLANES];
	for (int p = 0; p < BT_GPU_PLANES; p++) {
		at[p] = size;
		size += ((uint64_t)u->row.plane[p] * (r1 - r0) + 15) & ~(uint64_t)15;
		row[p] = u->packed + row_at;
		row_at += (u->row.plane[p] + 15u) & ~15u;
	}
	for (uint64_t r = r0; r < r1; r++) {
		bt_gpu_pack_row(u->format, u->t->type, bt_tensor_row(u->t, r), u->t->dim[0], &u->space, row);
		/* Whole rows at a time: staging memory may be slow to read and to write in pieces. */
		for (int p = 0; p < BT_GPU_PLANES; p++)
			memcpy((char *)u->dev->staging[s].host + at[p] + (r - r0) * u->row.plane[p], row[p],
			       u->row.plane[p]);
	}
	uint32_t n = 0;
	for (int p = 0; p < BT_GPU_PLANES; p++)
		if (u->row.plane[p])
			cmd[n++] = bt_gpu_cmd_copy(u->block, u->offset[p] + r0 * u->row.plane[p], &u->dev->staging[s],
			                           at[p], (uint64_t)u->row.plane[p] * (r1 - r0));
	return n;
}

static enum baton_status upload_rows(const struct upload *u, struct baton_error *err)
{
	struct bt_gpu *gpu = u->dev->gpu;
	struct bt_gpu_recording *rec[2] = {NULL, NULL};
	enum baton_status status = BATON_OK;
	uint64_t bytes = 64;
	for (int p = 0; p < BT_GPU_PLANES; p++) bytes += u->row.plane[p];
	uint64_t step = u->dev->staging[0].size / bytes;
	if (!step)
		return bt_fail(err, BATON_ERR_UNSUPPORTED, "a row of %llu bytes is too long for the GPU back end",
		               (unsigned long long)bytes);
	int s = 0;
	for (uint64_t r = 0; r < u->t->n_rows && !status; r += step, s ^= 1) {
		struct bt_gpu_cmd cmd[BT_GPU_PLANES];
		uint32_t n = pack_rows(u, s, r, r + step < u->t->n_rows ? r + step : u->t->n_rows, cmd);
		status = gpu->driver->wait(gpu, err);
		gpu->driver->discard(gpu, rec[s]);
		rec[s] = NULL;
		if (!status) status = gpu->driver->record(gpu, cmd, n, &rec[s], err);
		if (!status) status = gpu->driver->start(gpu, rec[s], err);
	}
	enum baton_status last = gpu->driver->wait(gpu, status ? NULL : err);
	for (int i = 0; i < 2; i++) gpu->driver->discard(gpu, rec[i]);
	return status ? status : last;
}

static enum baton_status upload(struct bt_gpu_device *dev, struct bt_gpu_matrix *m, struct baton_error *err)
{
	const struct bt_tensor *t = m->tensor;
	struct upload u = {.dev = dev, .t = t, .format = m->format, .row = bt_gpu_row_bytes(m->format, t->dim[0])};
	uint64_t base, bytes = bt_gpu_plane_offsets(m->format, t->dim[0], t->n_rows, u.offset), row = 64;
	enum baton_status status = place(dev, bytes, &u.block, &base, err);
	if (status) return status;
	for (int p = 0; p < BT_GPU_PLANES; p++) {
		u.offset[p] += base;
		m->plane[p] = u.row.plane[p] ? u.block->address + u.offset[p] : 0;
		row += u.row.plane[p] + 16u;
	}
	size_t k = t->dim[0] + 32;
	u.packed = bt_mem_array(BT_MEM_STAGING, row, 1);
	u.space.q = bt_mem_array(BT_MEM_STAGING, k, 1);
	u.space.scale = bt_mem_array(BT_MEM_STAGING, k / 16 + 1, sizeof(float));
	u.space.min = bt_mem_array(BT_MEM_STAGING, k / 16 + 1, sizeof(float));
	u.space.f32 = bt_mem_array(BT_MEM_STAGING, k, sizeof(float));
	if (!u.packed || !u.space.q || !u.space.scale || !u.space.min || !u.space.f32)
		status = bt_fail_nomem(err, row + k * 6, "packing weights");
	if (!status) status = upload_rows(&u, err);
	bt_mem_free(u.packed);
	bt_mem_free(u.space.q);
	bt_mem_free(u.space.scale);
	bt_mem_free(u.space.min);
	bt_mem_free(u.space.f32);
	return status;
}

enum baton_status bt_gpu_weights_get(struct bt_gpu_device *dev, const struct bt_tensor *t, bool exact,
                                     const struct bt_gpu_matrix **out, struct baton_error *err)
{
	for (uint32_t i = 0; i < dev->n_matrices; i++) {
		*out = dev->matrix[i];
		if ((*out)->tensor == t && (*out)->exact == exact) return BATON_OK;
	}
	*out = NULL;
	void *array = dev->matrix;
	enum baton_status status = grow(&array, dev->n_matrices, &dev->cap_matrices, sizeof(void *), err);
	dev->matrix = array;
	if (status) return status;
	struct bt_gpu_matrix *m = bt_mem_zalloc(BT_MEM_HOST, sizeof *m);
	if (!m) return bt_fail_nomem(err, sizeof *m, "the table of weights");
	*m = (struct bt_gpu_matrix){.tensor = t,
	                            .exact = exact,
	                            .format = bt_gpu_format_of(t->type, exact),
	                            .n_rows = (uint32_t)t->dim[1],
	                            .n_k = (uint32_t)t->dim[0],
	                            .n_blocks = (uint32_t)((t->dim[0] + 31) / 32)};
	status = upload(dev, m, err);
	if (status) {
		bt_mem_free(m);
		return status;
	}
	dev->matrix[dev->n_matrices++] = m;
	*out = m;
	return BATON_OK;
}

void bt_gpu_weights_free(struct bt_gpu_device *dev)
{
	for (uint32_t i = 0; i < dev->n_matrices; i++) bt_mem_free(dev->matrix[i]);
	for (uint32_t i = 0; i < dev->n_blocks; i++) dev->gpu->driver->free(dev->gpu, &dev->block[i]);
	bt_mem_free(dev->matrix);
	bt_mem_free(dev->block);
}
