/* weights.c: tensors into device memory: all threads pack rows into one staging buffer while the other one is being copied.
 * What is there stays for the sessions to come; when memory is short, what nobody uses goes. */
#include "backend/gpu/device.h"

#include "base/ahead.h"

#include <string.h>

#define BLOCK   ((uint64_t)64 << 20) /* device memory is taken in blocks of this and more: drivers limit their number */
#define VECTORS ((uint64_t)1 << 20)  /* likewise for tensors of one row */

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

/* `size` bytes in the last block of a kind, or in a new one. */
static enum baton_status place(struct bt_gpu_device *dev, uint64_t size, bool vectors, struct bt_gpu_block **out,
                               uint64_t *offset, struct baton_error *err)
{
	struct bt_gpu_block *last = NULL;
	for (uint32_t i = 0; i < dev->n_blocks; i++)
		if (dev->block[i]->vectors == vectors) last = dev->block[i];
	if (!last || last->used + size > last->mem.size) {
		if (size > dev->gpu->caps.max_alloc)
			return bt_fail(err, BATON_ERR_UNSUPPORTED,
			               "a tensor of %.1f GB; this device gives %.1f GB at once", (double)size * 1e-9,
			               (double)dev->gpu->caps.max_alloc * 1e-9);
		void *array = dev->block;
		enum baton_status status = grow(&array, dev->n_blocks, &dev->cap_blocks, sizeof(void *), err);
		dev->block = array;
		if (status) return status;
		last = bt_mem_zalloc(BT_MEM_HOST, sizeof *last);
		if (!last) return bt_fail_nomem(err, sizeof *last, "the table of weights");
		uint64_t want = vectors ? VECTORS : BLOCK;
		if (dev->upload && dev->upload->room < want) want = dev->upload->room;
		status = bt_gpu_take(dev, BT_MEM_WEIGHTS, BT_GPU_LOCAL, want > size ? want : size, &last->mem, err);
		if (status) {
			bt_mem_free(last);
			return status;
		}
		last->vectors = vectors;
		dev->block[dev->n_blocks++] = last;
	}
	*out = last;
	*offset = last->used;
	size = (size + 255) & ~(uint64_t)255;
	last->used += size;
	if (dev->upload) dev->upload->room -= dev->upload->room > size ? size : dev->upload->room;
	return BATON_OK;
}

/* What a thread packs with. */
struct packer {
	struct bt_gpu_packer space;
	char *packed; /* one row, all planes */
	uint32_t top; /* of rows of F16 or BF16: the bits of the largest magnitude so far */
};

struct upload {
	struct bt_gpu_device *dev;
	struct bt_gpu_upload *up;
	const struct bt_tensor *t;
	enum bt_gpu_format format;
	const struct bt_gpu_mem *block;
	uint64_t offset[BT_GPU_PLANES]; /* of the planes in the block */
	struct bt_gpu_row_bytes row;
	struct packer *packer; /* [threads] */
	/* The rows under way: from r0 on, planes at `at` of a staging buffer. */
	uint64_t r0, at[BT_GPU_PLANES];
	char *staging;
};

/* Of n values of F16 or BF16 and `top`: the bits of the largest magnitude. They are ordered like the magnitudes, with infinity and NaN
 * above all. */
static uint32_t largest(const void *row, uint64_t n, uint32_t top)
{
	const uint16_t *v = row;
	for (uint64_t i = 0; i < n; i++) {
		uint32_t m = v[i] & 0x7FFFu;
		top = m > top ? m : top;
	}
	return top;
}

/* bt_task_fn: rows r0 + begin .. r0 + end into staging memory. */
static void pack_some(void *arg, size_t begin, size_t end, unsigned thread)
{
	const struct upload *u = arg;
	struct packer *w = &u->packer[thread];
	void *row[BT_GPU_PLANES];
	uint64_t row_at = 0;
	for (int p = 0; p < BT_GPU_PLANES; p++) {
		row[p] = w->packed + row_at;
		row_at += (u->row.plane[p] + 15u) & ~15u;
	}
	for (size_t r = begin; r < end; r++) {
		bt_gpu_pack_row(u->format, u->t->type, bt_tensor_row(u->t, u->r0 + r), u->t->dim[0], &w->space, row);
		if (u->format == BT_GPU_F_f16 || u->format == BT_GPU_F_bf16)
			w->top = largest(row[0], u->t->dim[0], w->top);
		/* Whole rows at a time: staging memory may be slow to read and to write in pieces. */
		for (int p = 0; p < BT_GPU_PLANES; p++)
			memcpy(u->staging + u->at[p] + r * u->row.plane[p], row[p], u->row.plane[p]);
	}
}

/* Rows r0 .. r1 into staging buffer s, and the copies that bring them to their place. */
static uint32_t pack_rows(struct upload *u, int s, uint64_t r0, uint64_t r1, struct bt_gpu_cmd cmd[BT_GPU_PLANES])
{
	uint64_t size = 0;
	u->r0 = r0;
	u->staging = u->dev->staging[s].host;
	for (int p = 0; p < BT_GPU_PLANES; p++) {
		u->at[p] = size;
		size += ((uint64_t)u->row.plane[p] * (r1 - r0) + 15) & ~(uint64_t)15;
	}
	bt_pool_run(u->up->pool, pack_some, u, r1 - r0, 0);
	uint32_t n = 0;
	for (int p = 0; p < BT_GPU_PLANES; p++)
		if (u->row.plane[p])
			cmd[n++] = bt_gpu_cmd_copy(u->block, u->offset[p] + r0 * u->row.plane[p], &u->dev->staging[s],
			                           u->at[p], (uint64_t)u->row.plane[p] * (r1 - r0));
	return n;
}

/* false: the caller wants no more. */
static bool tell(struct bt_gpu_upload *up, uint64_t bytes)
{
	up->done += bytes;
	if (!up->progress || !up->total) return true;
	return up->progress->fn(up->progress->user, BATON_STAGE_WEIGHTS, up->done < up->total ? up->done : up->total,
	                        up->total);
}

/* What stands in front of the rows of super. */
static enum baton_status upload_book(struct upload *u, struct baton_error *err)
{
	struct bt_gpu *gpu = u->dev->gpu;
	struct bt_gpu_mem *staging = &u->dev->staging[0];
	uint32_t bytes = bt_gpu_book_bytes(u->format);
	if (!bytes) return BATON_OK;
	bt_gpu_pack_book(u->t->type, staging->host);
	struct bt_gpu_cmd cmd = bt_gpu_cmd_copy(u->block, u->offset[BT_GPU_PLANE_SUPER], staging, 0, bytes);
	u->offset[BT_GPU_PLANE_SUPER] += bytes;
	u->up->done += bytes;
	return bt_gpu_run_once(gpu, &cmd, 1, err);
}

static enum baton_status upload_rows(struct upload *u, struct baton_error *err)
{
	struct bt_gpu *gpu = u->dev->gpu;
	struct bt_gpu_recording *rec[2] = {NULL, NULL};
	enum baton_status status = BATON_OK;
	uint64_t row = 0, n_rows = u->t->n_rows;
	for (int p = 0; p < BT_GPU_PLANES; p++) row += u->row.plane[p];
	uint64_t step = u->dev->staging[0].size / (row + 64);
	if (!step)
		return bt_fail(err, BATON_ERR_UNSUPPORTED, "a row of %llu bytes is too long for the GPU back end",
		               (unsigned long long)row);
	int s = 0;
	for (uint64_t r = 0; r < n_rows && !status; r += step, s ^= 1) {
		struct bt_gpu_cmd cmd[BT_GPU_PLANES];
		uint64_t end = r + step < n_rows ? r + step : n_rows, next = end + step < n_rows ? end + step : n_rows;
		/* While these are packed the system reads those. */
		if (next > end) bt_ahead_ask(bt_tensor_row(u->t, end), (next - end) * u->t->row_bytes);
		uint32_t n = pack_rows(u, s, r, end, cmd);
		status = gpu->driver->wait(gpu, gpu->started, err);
		gpu->driver->discard(gpu, rec[s]);
		rec[s] = NULL;
		if (!status) status = gpu->driver->record(gpu, cmd, n, &rec[s], err);
		if (!status) status = gpu->driver->start(gpu, &rec[s], 1, err);
		if (!status && !tell(u->up, (end - r) * row)) status = bt_fail(err, BATON_ERR_CANCELLED, "cancelled");
	}
	enum baton_status last = gpu->driver->wait(gpu, gpu->started, status ? NULL : err);
	for (int i = 0; i < 2; i++) gpu->driver->discard(gpu, rec[i]);
	return status ? status : last;
}

static enum baton_status open_packers(struct upload *u, unsigned n, struct baton_error *err)
{
	size_t k = u->t->dim[0] + 32, row = 64;
	for (int p = 0; p < BT_GPU_PLANES; p++) row += u->row.plane[p] + 16u;
	u->packer = bt_mem_array(BT_MEM_STAGING, n, sizeof *u->packer);
	for (unsigned i = 0; u->packer && i < n; i++) {
		struct packer *w = &u->packer[i];
		w->top = 0;
		w->packed = bt_mem_array(BT_MEM_STAGING, row, 1);
		w->space.q = bt_mem_array(BT_MEM_STAGING, k, 1);
		w->space.scale = bt_mem_array(BT_MEM_STAGING, k / 16 + 1, sizeof(float));
		w->space.min = bt_mem_array(BT_MEM_STAGING, k / 16 + 1, sizeof(float));
		w->space.f32 = bt_mem_array(BT_MEM_STAGING, k, sizeof(float));
		if (!w->packed || !w->space.q || !w->space.scale || !w->space.min || !w->space.f32)
			return bt_fail_nomem(err, n * (row + k * 6), "packing weights");
	}
	return u->packer ? BATON_OK : bt_fail_nomem(err, n * sizeof *u->packer, "packing weights");
}

static void close_packers(struct upload *u, unsigned n)
{
	for (unsigned i = 0; u->packer && i < n; i++) {
		bt_mem_free(u->packer[i].packed);
		bt_mem_free(u->packer[i].space.q);
		bt_mem_free(u->packer[i].space.scale);
		bt_mem_free(u->packer[i].space.min);
		bt_mem_free(u->packer[i].space.f32);
	}
	bt_mem_free(u->packer);
}

static enum baton_status upload(struct bt_gpu_device *dev, struct bt_gpu_matrix *m, struct baton_error *err)
{
	struct bt_gpu_upload alone = {.pool = NULL}, *up = dev->upload ? dev->upload : &alone;
	const struct bt_tensor *t = m->tensor;
	struct upload u = {
		.dev = dev, .up = up, .t = t, .format = m->format, .row = bt_gpu_row_bytes(m->format, t->dim[0])};
	uint64_t base = 0, bytes = bt_gpu_plane_offsets(m->format, t->dim[0], t->n_rows, u.offset);
	enum baton_status status = place(dev, bytes, t->n_rows == 1, &m->block, &base, err);
	if (status) return status;
	u.block = &m->block->mem;
	for (int p = 0; p < BT_GPU_PLANES; p++) {
		u.offset[p] += base;
		m->plane[p] = u.row.plane[p] ? u.block->address + u.offset[p] : 0;
	}
	unsigned n = up->pool ? bt_pool_threads(up->pool) : 1;
	status = open_packers(&u, n, err);
	if (!status) status = upload_book(&u, err);
	if (!status) status = upload_rows(&u, err);
	uint32_t top = 0;
	for (unsigned i = 0; i < n && !status; i++)
		if (top < u.packer[i].top) top = u.packer[i].top;
	m->below = m->format == BT_GPU_F_f16 ? (int)(top >> 10) - 14 : (int)(top >> 7) - 126;
	close_packers(&u, n);
	if (status) m->block->used = base; /* for the next one */
	return status;
}

static struct bt_gpu_matrix *find(const struct bt_gpu_device *dev, const struct bt_tensor *t, bool exact)
{
	for (uint32_t i = 0; i < dev->n_matrices; i++)
		if (dev->matrix[i]->tensor == t && dev->matrix[i]->exact == exact) return dev->matrix[i];
	return NULL;
}

uint64_t bt_gpu_weight_bytes(const struct bt_tensor *t, bool exact)
{
	/* Norms and biases are floats always. */
	enum bt_gpu_format f = bt_gpu_format_of(t->type, exact || t->n_rows == 1);
	struct bt_gpu_row_bytes row = bt_gpu_row_bytes(f, t->dim[0]);
	uint64_t bytes = bt_gpu_book_bytes(f);
	for (int p = 0; p < BT_GPU_PLANES; p++) bytes += (uint64_t)row.plane[p] * t->n_rows;
	return bytes;
}

uint64_t bt_gpu_weights_missing(const struct bt_gpu_device *dev, const struct bt_tensor *t, bool exact)
{
	return find(dev, t, exact) ? 0 : bt_gpu_weight_bytes(t, exact);
}

enum baton_status bt_gpu_weights_get(struct bt_gpu_device *dev, const struct bt_tensor *t, bool exact,
                                     const struct bt_gpu_matrix **out, struct baton_error *err)
{
	struct bt_gpu_matrix *m = find(dev, t, exact);
	*out = NULL;
	if (!m) {
		void *array = dev->matrix;
		enum baton_status status = grow(&array, dev->n_matrices, &dev->cap_matrices, sizeof(void *), err);
		dev->matrix = array;
		if (status) return status;
		m = bt_mem_zalloc(BT_MEM_HOST, sizeof *m);
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
	}
	m->block->users++;
	*out = m;
	return BATON_OK;
}

void bt_gpu_weights_put(const struct bt_gpu_matrix *m)
{
	m->block->users--;
}

/* Free blocks without users, and the matrices in them; all: every block. */
static bool drop(struct bt_gpu_device *dev, bool all)
{
	uint32_t n = 0, n_before = dev->n_blocks;
	for (uint32_t i = 0; i < dev->n_matrices; i++) {
		if (all || !dev->matrix[i]->block->users) bt_mem_free(dev->matrix[i]);
		else dev->matrix[n++] = dev->matrix[i];
	}
	dev->n_matrices = n;
	n = 0;
	for (uint32_t i = 0; i < n_before; i++) {
		struct bt_gpu_block *b = dev->block[i];
		if (!all && b->users) {
			dev->block[n++] = b;
			continue;
		}
		dev->gpu->driver->free(dev->gpu, &b->mem);
		bt_mem_free(b);
	}
	dev->n_blocks = n;
	return n < n_before;
}

bool bt_gpu_weights_trim(struct bt_gpu_device *dev)
{
	return drop(dev, false);
}

void bt_gpu_weights_free(struct bt_gpu_device *dev)
{
	drop(dev, true);
	bt_mem_free(dev->matrix);
	bt_mem_free(dev->block);
}

size_t bt_gpu_held(struct bt_device *device)
{
	struct bt_gpu_device *dev = (struct bt_gpu_device *)device;
	size_t bytes = 0;
	pthread_mutex_lock(&dev->lock);
	for (uint32_t i = 0; i < dev->n_blocks; i++) bytes += dev->block[i]->mem.size;
	pthread_mutex_unlock(&dev->lock);
	return bytes;
}
