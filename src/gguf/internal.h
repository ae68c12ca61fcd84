/* internal.h: what the files of src/gguf share. Nothing outside this folder includes it.
 *
 * A directory is read twice. bt_directory_scan walks it without allocating anything and checks whatever can be checked
 * from one entry and the file's size; only then are the tables allocated, with sizes that the file is now known to
 * justify, and bt_directory_fill walks it again with the same code to fill them. What needs all entries together
 * (duplicate names, overlapping data) is checked last.
 */
#ifndef BT_GGUF_INTERNAL_H
#define BT_GGUF_INTERNAL_H

#include "gguf/cursor.h"
#include "gguf/gguf.h"

/* What a scan finds in one file. */
struct bt_directory {
	uint64_t file_size;
	uint32_t version;
	uint64_t n_kv, n_tensors;
	uint64_t n_strings;     /* string values and elements of string arrays */
	uint64_t tensors_start; /* first byte of the tensor descriptions */
	uint64_t data_start;    /* first byte of the data section: aligned end of the descriptions */
	uint64_t data_end;      /* one past the last tensor's data */
	uint32_t alignment;
	/* split.no, split.count, split.tensors.count; has_split is false when there is no split.count. */
	bool has_split;
	uint64_t split_no, split_count, split_tensors;
};

/* Bytes of the directory: a file without tensors may end before the data section would begin. */
static inline uint64_t bt_directory_bytes(const struct bt_directory *d)
{
	return d->data_start < d->file_size ? d->data_start : d->file_size;
}

struct bt_gguf_file {
	char *path;
	int fd;                    /* -1 when closed */
	const unsigned char *data; /* the file's bytes, mapped or the caller's; NULL once the map is gone */
	uint64_t size;
	void *map;       /* to unmap, size bytes; NULL: not ours */
	void *directory; /* copy of the bytes up to data_start, when the data was read */
	void *weights;   /* the data section, when it was read: weight_bytes, in pages of their own */
	uint64_t weight_bytes;
	struct bt_directory dir;
};

/* Open addressing over the numbers of entries; see index.c. */
struct bt_name_index {
	uint32_t *slot; /* [mask + 1]: entry + 1, 0 when free */
	uint32_t mask;
};

struct bt_gguf {
	struct bt_gguf_file *files; /* [n_files] */
	uint32_t n_files;
	bool read;
	struct bt_gguf_kv *kv; /* [n_kv], of the first file */
	size_t n_kv;
	struct bt_str *strings;    /* what kv[].strings point into */
	struct bt_tensor *tensors; /* [n_tensors], of all files in order */
	size_t n_tensors;
	struct bt_name_index kv_index, tensor_index;
};

/* Take path over (it is freed by bt_gguf_file_close), open the file and map all of it. */
enum baton_status bt_gguf_file_open(struct bt_gguf_file *f, char *path, struct baton_error *err);
/* How far the reading of all files of a model has come. */
struct bt_gguf_reading {
	const struct bt_gguf_params *params;
	uint64_t done, total; /* bytes of data */
	bool drop_cache;      /* let go of the system's copy of what has been read */
};
/* Before anything is read for -mmp 0: is there memory for r->total bytes? Sets drop_cache. */
enum baton_status bt_gguf_check_memory(struct bt_gguf_reading *r, const char *path, struct baton_error *err);
/* After the scan, for -mmp 0: directory and data into memory; the map goes. */
enum baton_status bt_gguf_file_read(struct bt_gguf_file *f, struct bt_gguf_reading *r, struct baton_error *err);
void bt_gguf_file_close(struct bt_gguf_file *f);

/* Path of part `no` (from 0) of `count`, given the path of any part: the same with another number. The name of the
 * given one must end in -00001-of-0000N.gguf, N being count. Free *out with bt_mem_free. */
enum baton_status bt_split_path(const char *path, uint64_t no, uint64_t count, char **out, struct baton_error *err);

/* Check everything that can be checked without tables. f->data, f->size and f->path are set. */
enum baton_status bt_directory_scan(struct bt_gguf_file *f, struct baton_error *err);
/* Fill kv[dir.n_kv] with strings[dir.n_strings], and tensors[dir.n_tensors] with file number `file`; kv may be NULL.
 * bytes: the directory, in the file's map or a copy of it. */
enum baton_status bt_directory_fill(const struct bt_gguf_file *f, const unsigned char *bytes, uint32_t file,
                                    struct bt_gguf_kv *kv, struct bt_str *strings, struct bt_tensor *tensors,
                                    struct baton_error *err);
/* No two tensors of the file may share a byte. tensors[n] are the file's. */
enum baton_status bt_directory_check_overlap(const struct bt_gguf_file *f, const struct bt_tensor *tensors, size_t n,
                                             struct baton_error *err);

/* Index names; name_at gives the i-th of n. what: "key", "tensor". */
enum baton_status bt_name_index_build(struct bt_name_index *x, size_t n, struct bt_str (*name_at)(const void *, size_t),
                                      const void *entries, const char *file, const char *what, struct baton_error *err);
/* The entry with this name, or -1. */
int64_t bt_name_index_find(const struct bt_name_index *x, struct bt_str (*name_at)(const void *, size_t),
                           const void *entries, struct bt_str name);

#endif
