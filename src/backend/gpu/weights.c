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
	/* The part under way: its rows, and its planes in the block. */
	uint64_t first, end;
	const struct bt_gpu_mem *block;
	uint64_t offset[BT_GPU_PLANES];
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
			cmd[n++] = bt_gpu_cmd_copy(u->block, u->offset[p] + (r0 - u->first) * u->row.plane[p],
			                           &u->dev->staging[s], u->at[p],
			                           (uint64_t)u->row.plane[p] * (r1 - r0));
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
	uint64_t row = 0;
	for (int p = 0; p < BT_GPU_PLANES; p++) row += u->row.plane[p];
	uint64_t step = u->dev->staging[0].size / (row + 64);
	if (!step)
		return bt_fail(err, BATON_ERR_UNSUPPORTED, "a row of %llu bytes is too long for the GPU back end",
		               (unsigned long long)row);
	int s = 0;
	for (uint64_t r = u->first; r < u->end && !status; r += step, s ^= 1) {
		struct bt_gpu_cmd cmd[BT_GPU_PLANES];
		uint64_t end = r + step < u->end ? r + step : u->end, next = end + step < u->end ? end + step : u->end;
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

/* One part: memory for it, which counts as used from then on, so that it stays when the next part's is made; its book, its rows. */
static enum baton_status upload_part(struct upload *u, struct bt_gpu_part *part, struct baton_error *err)
{
	uint64_t base = 0, bytes = bt_gpu_plane_offsets(u->format, u->t->dim[0], part->n, u->offset);
	enum baton_status status = place(u->dev, bytes, u->t->n_rows == 1, &part->block, &base, err);
	if (status) return status;
	part->block->users++;
	u->block = &part->block->mem;
	u->first = part->first;
	u->end = part->first + part->n;
	for (int p = 0; p < BT_GPU_PLANES; p++) {
		u->offset[p] += base;
		part->plane[p] = u->row.plane[p] ? u->block->address + u->offset[p] : 0;
	}
	status = upload_book(u, err);
	return status ? status : upload_rows(u, err);
}

/* All parts; used once. */
static enum baton_status upload(struct bt_gpu_device *dev, struct bt_gpu_matrix *m, struct baton_error *err)
{
	struct bt_gpu_upload alone = {.pool = NULL}, *up = dev->upload ? dev->upload : &alone;
	const struct bt_tensor *t = m->tensor;
	struct upload u = {
		.dev = dev, .up = up, .t = t, .format = m->format, .row = bt_gpu_row_bytes(m->format, t->dim[0])};
	unsigned n = up->pool ? bt_pool_threads(up->pool) : 1;
	enum baton_status status = open_packers(&u, n, err);
	for (uint32_t i = 0; i < m->n_parts && !status; i++) status = upload_part(&u, &m->part[i], err);
	uint32_t top = 0;
	for (unsigned i = 0; i < n && !status; i++)
		if (top < u.packer[i].top) top = u.packer[i].top;
	m->below = m->format == BT_GPU_F_f16 ? (int)(top >> 10) - 14 : (int)(top >> 7) - 126;
	close_packers(&u, n);
	/* After a failure their places are free again, from the last one on. */
	for (uint32_t i = m->n_parts; status && i > 0; i--) {
		struct bt_gpu_part *part = &m->part[i - 1];
		if (!part->block) continue;
		part->block->used = part->plane[BT_GPU_PLANE_Q] - part->block->mem.address;
		part->block->users--;
	}
	return status;
}

uint64_t bt_gpu_most_part(const struct bt_gpu_caps *caps)
{
	uint64_t most = caps->part ? caps->part : BT_GPU_REACH;
	return most < caps->max_alloc ? most : caps->max_alloc;
}

enum baton_status bt_gpu_cut(const struct bt_tensor *t, bool exact, uint64_t most, struct bt_gpu_matrix **out,
                             struct baton_error *err)
{
	enum bt_gpu_format f = bt_gpu_format_of(t->type, exact);
	uint64_t offset[BT_GPU_PLANES], rows = bt_gpu_part_rows(f, t, most);
	*out = NULL;
	if (!rows)
		return bt_fail(err, BATON_ERR_UNSUPPORTED,
		               "%s of a tensor of %.2f GB take more than %.2f GB, the most that may stand in one block "
		               "of this device's memory",
		               t->n_rows > t->dim[1] ? "the rows of one matrix" : "32 rows",
		               (double)bt_gpu_plane_offsets(f, t->dim[0], t->n_rows, offset) * 1e-9,
		               (double)most * 1e-9);
	uint32_t n = (uint32_t)((t->n_rows + rows - 1) / rows);
	struct bt_gpu_matrix *m = bt_mem_zalloc(BT_MEM_HOST, sizeof *m + n * sizeof *m->part);
	if (!m) return bt_fail_nomem(err, sizeof *m, "the table of weights");
	*m = (struct bt_gpu_matrix){.tensor = t,
	                            .exact = exact,
	                            .format = f,
	                            .n_rows = (uint32_t)t->dim[1],
	                            .n_k = (uint32_t)t->dim[0],
	                            .n_blocks = (uint32_t)((t->dim[0] + 31) / 32),
	                            .n_parts = n};
	for (uint32_t i = 0; i < n; i++) {
		m->part[i].first = i * rows;
		m->part[i].n = i + 1 < n ? rows : t->n_rows - i * rows;
	}
	*out = m;
	return BATON_OK;
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

uint64_t bt_gpu_weights_missing(const struct bt_gpu_device *dev, const struct bt_tensor *t, bool exact,
                                uint32_t *n_parts)
{
	enum bt_gpu_format f = bt_gpu_format_of(t->type, exact || t->n_rows == 1);
	uint64_t rows = bt_gpu_part_rows(f, t, bt_gpu_most_part(&dev->gpu->caps));
	uint32_t n = rows ? (uint32_t)((t->n_rows + rows - 1) / rows) : 1;
	if (n_parts) *n_parts = n;
	return find(dev, t, exact) ? 0 : bt_gpu_weight_bytes(t, exact) + (n - 1) * bt_gpu_book_bytes(f);
}

static enum baton_status get(struct bt_gpu_device *dev, const struct bt_tensor *t, bool exact, uint64_t most,
                             const struct bt_gpu_matrix **out, struct baton_error *err)
{
	struct bt_gpu_matrix *m = find(dev, t, exact);
	*out = NULL;
	if (!m) {
		void *array = dev->matrix;
		enum baton_status status = grow(&array, dev->n_matrices, &dev->cap_matrices, sizeof(void *), err);
		dev->matrix = array;
		if (!status) status = bt_gpu_cut(t, exact, most, &m, err);
		if (!status) status = upload(dev, m, err);
		if (status) {
			bt_mem_free(m);
			return status;
		}
		dev->matrix[dev->n_matrices++] = m;
	} else
		for (uint32_t i = 0; i < m->n_parts; i++) m->part[i].block->users++;
	*out = m;
	return BATON_OK;
}

enum baton_status bt_gpu_weights_get(struct bt_gpu_device *dev, const struct bt_tensor *t, bool exact,
                                     const struct bt_gpu_matrix **out, struct baton_error *err)
{
	return get(dev, t, exact, bt_gpu_most_part(&dev->gpu->caps), out, err);
}

enum baton_status bt_gpu_weights_whole(struct bt_gpu_device *dev, const struct bt_tensor *t,
                                       const struct bt_gpu_matrix **out, struct baton_error *err)
{
	uint64_t most = dev->gpu->caps.max_alloc;
	*out = NULL;
	if (bt_gpu_part_rows(bt_gpu_format_of(t->type, true), t, most) != t->n_rows)
		return bt_fail(err, BATON_ERR_UNSUPPORTED, "a tensor of %.2f GB; this device gives %.2f GB at once",
		               (double)bt_gpu_weight_bytes(t, true) * 1e-9, (double)most * 1e-9);
	return get(dev, t, true, most, out, err);
}

void bt_gpu_weights_put(const struct bt_gpu_matrix *m)
{
	for (uint32_t i = 0; i < m->n_parts; i++) m->part[i].block->users--;
}

/* Does any part stand in a block that nobody uses? */
static bool idle(const struct bt_gpu_matrix *m)
{
	for (uint32_t i = 0; i < m->n_parts; i++)
		if (!m->part[i].block->users) return true;
	return false;
}

/* Free blocks without users, and the matrices in them; all: every block. */
static bool drop(struct bt_gpu_device *dev, bool all)
{
	uint32_t n = 0, n_before = dev->n_blocks;
	for (uint32_t i = 0; i < dev->n_matrices; i++) {
		if (all || idle(dev->matrix[i])) bt_mem_free(dev->matrix[i]);
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
