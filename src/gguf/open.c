/* open.c: from files to one model: parts, tables, indices, the place of every tensor's data. */
#include "base/limits.h"
#include "gguf/internal.h"

#include <inttypes.h>
#include <unistd.h>

static struct bt_str kv_name(const void *entries, size_t i)
{
	return ((const struct bt_gguf_kv *)entries)[i].key;
}

static struct bt_str tensor_name(const void *entries, size_t i)
{
	return ((const struct bt_tensor *)entries)[i].name;
}

/* The part's own word on its place in the model. */
static enum baton_status check_part(const struct bt_gguf *g, uint32_t i, uint64_t n_tensors, struct baton_error *err)
{
	const struct bt_gguf_file *f = &g->files[i];
	const struct bt_directory *d = &f->dir;
	if (!d->has_split)
		return bt_fail(err, BATON_ERR_FORMAT,
		               "%.200s: is part %u of %u by its name, but has no key 'split.count'", f->path, i + 1,
		               g->n_files);
	if (d->split_count != g->n_files)
		return bt_fail(err, BATON_ERR_FORMAT,
		               "%.200s: is part %u of %u by its name, but key 'split.count' is %" PRIu64, f->path,
		               i + 1, g->n_files, d->split_count);
	if (d->split_no != i)
		return bt_fail(err, BATON_ERR_FORMAT,
		               "%.200s: is part %u of %u by its name, but key 'split.no' says part %" PRIu64, f->path,
		               i + 1, g->n_files, d->split_no + 1);
	if (d->split_tensors != n_tensors)
		return bt_fail(err, BATON_ERR_FORMAT,
		               "%.200s: key 'split.tensors.count' is %" PRIu64 ", but the %u parts have %" PRIu64
		               " tensors",
		               f->path, d->split_tensors, g->n_files, n_tensors);
	return BATON_OK;
}

/* Make g->files hold all parts of the model that *first belongs to; *first is moved into its place. */
static enum baton_status open_parts(struct bt_gguf *g, struct bt_gguf_file *first, struct baton_error *err)
{
	uint64_t n = first->dir.has_split && first->dir.split_count ? first->dir.split_count : 1;
	if (n > BT_LIMIT_GGUF_SPLITS)
		return bt_fail(err, BATON_ERR_LIMIT, "%.200s: key 'split.count' is %" PRIu64 "; the limit is %d",
		               first->path, n, BT_LIMIT_GGUF_SPLITS);
	if (n > 1 && first->fd < 0)
		return bt_fail(err, BATON_ERR_UNSUPPORTED,
		               "%.200s: is one of %" PRIu64
		               " files of a model; from memory only whole models can be opened",
		               first->path, n);
	g->files = bt_mem_array(BT_MEM_HOST, n, sizeof *g->files);
	if (!g->files) return bt_fail_nomem(err, n * sizeof *g->files, "the files of a model");
	for (g->n_files = 0; g->n_files < n; g->n_files++) g->files[g->n_files].fd = -1;
	if (n == 1) {
		g->files[0] = *first;
		*first = (struct bt_gguf_file){.fd = -1};
		return BATON_OK;
	}
	uint64_t n_tensors = 0;
	for (uint32_t i = 0; i < n; i++) {
		struct bt_gguf_file *f = &g->files[i];
		char *path;
		enum baton_status status = bt_split_path(first->path, i, n, &path, err);
		if (!status) status = bt_gguf_file_open(f, path, err);
		if (!status) status = bt_directory_scan(f, err);
		if (status) return status;
		n_tensors += f->dir.n_tensors;
	}
	for (uint32_t i = 0; i < n; i++) {
		enum baton_status status = check_part(g, i, n_tensors, err);
		if (status) return status;
	}
	return BATON_OK;
}

static enum baton_status allocate_tables(struct bt_gguf *g, struct baton_error *err)
{
	const struct bt_directory *d = &g->files[0].dir;
	g->n_kv = d->n_kv;
	for (uint32_t i = 0; i < g->n_files; i++) g->n_tensors += g->files[i].dir.n_tensors;
	if (g->n_tensors > BT_LIMIT_GGUF_TENSORS)
		return bt_fail(err, BATON_ERR_LIMIT, "%.200s: the model has %zu tensors; the limit is %d",
		               bt_gguf_path(g), g->n_tensors, BT_LIMIT_GGUF_TENSORS);
	g->kv = bt_mem_array(BT_MEM_HOST, g->n_kv, sizeof *g->kv);
	/* Not zeroed: the table of a large vocabulary is most of the work of opening a file. */
	size_t bytes;
	if (bt_mul_size(d->n_strings, sizeof *g->strings, &bytes)) g->strings = bt_mem_alloc(BT_MEM_HOST, bytes);
	g->tensors = bt_mem_array(BT_MEM_HOST, g->n_tensors, sizeof *g->tensors);
	if (!g->kv || !g->strings || !g->tensors)
		return bt_fail_nomem(err,
		                     g->n_kv * sizeof *g->kv + d->n_strings * sizeof *g->strings +
		                             g->n_tensors * sizeof *g->tensors,
		                     "the directory of a GGUF file");
	return BATON_OK;
}

/* The entries of every file's directory. */
static enum baton_status fill_tables(struct bt_gguf *g, struct baton_error *err)
{
	struct bt_tensor *t = g->tensors;
	for (uint32_t i = 0; i < g->n_files; i++) {
		struct bt_gguf_file *f = &g->files[i];
		const unsigned char *bytes = f->directory ? f->directory : f->data;
		enum baton_status status = bt_directory_fill(f, bytes, i, i ? NULL : g->kv, i ? NULL : g->strings, t,
		                                             err);
		if (!status) status = bt_directory_check_overlap(f, t, f->dir.n_tensors, err);
		if (status) return status;
		t += f->dir.n_tensors;
	}
	return BATON_OK;
}

/* Where every tensor's data is in memory. */
static void place_data(struct bt_gguf *g)
{
	for (size_t i = 0; i < g->n_tensors; i++) {
		struct bt_tensor *t = &g->tensors[i];
		const struct bt_gguf_file *f = &g->files[t->file];
		t->data = f->weights ? (const unsigned char *)f->weights + (t->offset - f->dir.data_start)
		                     : f->data + t->offset;
	}
}

/* Everything behind the opening of the first file, which it takes over. */
static enum baton_status assemble(struct bt_gguf *g, struct bt_gguf_file *first, const struct bt_gguf_params *params,
                                  struct baton_error *err)
{
	enum baton_status status = bt_directory_scan(first, err);
	if (!status) status = open_parts(g, first, err);
	if (!status) status = allocate_tables(g, err);
	if (status) return status;
	struct bt_gguf_reading reading = {.params = params};
	for (uint32_t i = 0; i < g->n_files; i++)
		reading.total += g->files[i].dir.data_end - g->files[i].dir.data_start;
	/* Names and overlaps are checked before the weights, which may be huge, are read. */
	status = fill_tables(g, err);
	if (!status) status = bt_name_index_build(&g->kv_index, g->n_kv, kv_name, g->kv, bt_gguf_path(g), "key", err);
	if (!status)
		status = bt_name_index_build(&g->tensor_index, g->n_tensors, tensor_name, g->tensors, bt_gguf_path(g),
		                             "tensor", err);
	if (!status && g->read && !params->no_data) status = bt_gguf_check_memory(&reading, bt_gguf_path(g), err);
	for (uint32_t i = 0; i < g->n_files && !status && g->read; i++)
		status = bt_gguf_file_read(&g->files[i], &reading, err);
	if (!status && g->read) status = fill_tables(g, err); /* names move from the map to the copy */
	if (!status && !params->no_data) place_data(g);
	for (uint32_t i = 0; i < g->n_files && !status; i++)
		if (g->files[i].fd >= 0) {
			close(g->files[i].fd);
			g->files[i].fd = -1;
		}
	return status;
}

/* On success *out; *first is consumed either way. */
static enum baton_status open_from(struct bt_gguf_file *first, const struct bt_gguf_params *params,
                                   struct bt_gguf **out, struct baton_error *err)
{
	static const struct bt_gguf_params none;
	if (!params) params = &none;
	enum baton_status status;
	struct bt_gguf *g = bt_mem_zalloc(BT_MEM_HOST, sizeof *g);
	if (g) {
		g->read = params->read;
		status = assemble(g, first, params, err);
	} else {
		status = bt_fail_nomem(err, sizeof *g, "a model");
	}
	bt_gguf_file_close(first);
	if (status) bt_gguf_close(&g);
	*out = g;
	return status;
}

enum baton_status bt_gguf_open(const char *path, const struct bt_gguf_params *params, struct bt_gguf **out,
                               struct baton_error *err)
{
	*out = NULL;
	char *copy = bt_mem_strdup(BT_MEM_HOST, path);
	if (!copy) return bt_fail_nomem(err, strlen(path) + 1, "a file name");
	struct bt_gguf_file first;
	enum baton_status status = bt_gguf_file_open(&first, copy, err);
	if (status) {
		bt_gguf_file_close(&first);
		return status;
	}
	return open_from(&first, params, out, err);
}

enum baton_status bt_gguf_open_memory(const void *data, size_t size, const char *name, struct bt_gguf **out,
                                      struct baton_error *err)
{
	*out = NULL;
	struct bt_gguf_file first = {.fd = -1, .data = data, .size = size};
	first.path = bt_mem_strdup(BT_MEM_HOST, name);
	if (!first.path) return bt_fail_nomem(err, strlen(name) + 1, "a name");
	return open_from(&first, NULL, out, err);
}

void bt_gguf_close(struct bt_gguf **gp)
{
	struct bt_gguf *g = *gp;
	*gp = NULL;
	if (!g) return;
	for (uint32_t i = 0; i < g->n_files; i++) bt_gguf_file_close(&g->files[i]);
	bt_mem_free(g->files);
	bt_mem_free(g->kv);
	bt_mem_free(g->strings);
	bt_mem_free(g->tensors);
	bt_mem_free(g->kv_index.slot);
	bt_mem_free(g->tensor_index.slot);
	bt_mem_free(g);
}

const char *bt_gguf_path(const struct bt_gguf *g)
{
	return g->files[0].path;
}

uint32_t bt_gguf_version(const struct bt_gguf *g)
{
	return g->files[0].dir.version;
}

uint32_t bt_gguf_n_files(const struct bt_gguf *g)
{
	return g->n_files;
}

uint64_t bt_gguf_file_bytes(const struct bt_gguf *g)
{
	uint64_t bytes = 0;
	for (uint32_t i = 0; i < g->n_files; i++) bytes += g->files[i].size;
	return bytes;
}

bool bt_gguf_is_mapped(const struct bt_gguf *g)
{
	return !g->read;
}

size_t bt_gguf_n_kv(const struct bt_gguf *g)
{
	return g->n_kv;
}

const struct bt_gguf_kv *bt_gguf_kv_at(const struct bt_gguf *g, size_t i)
{
	return &g->kv[i];
}

const struct bt_gguf_kv *bt_gguf_find(const struct bt_gguf *g, const char *key)
{
	int64_t i = bt_name_index_find(&g->kv_index, kv_name, g->kv, (struct bt_str){key, strlen(key)});
	return i < 0 ? NULL : &g->kv[i];
}

size_t bt_gguf_n_tensors(const struct bt_gguf *g)
{
	return g->n_tensors;
}

const struct bt_tensor *bt_gguf_tensor_at(const struct bt_gguf *g, size_t i)
{
	return &g->tensors[i];
}

const struct bt_tensor *bt_gguf_tensor(const struct bt_gguf *g, const char *name)
{
	int64_t i = bt_name_index_find(&g->tensor_index, tensor_name, g->tensors, (struct bt_str){name, strlen(name)});
	return i < 0 ? NULL : &g->tensors[i];
}
