/* file.c: one file: opened, mapped, or read into memory in large pieces. */
#include "gguf/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Large enough to keep a fast disk busy, small enough for a lively progress bar. */
#define PIECE ((uint64_t)16 << 20)

/* In huge pages where the system has them: there are 512 times fewer of them to be set up and to be looked up. */
static void *weight_pages(uint64_t size)
{
	void *p = bt_mem_pages(BT_MEM_WEIGHTS, size);
	if (p) madvise(p, size, MADV_HUGEPAGE);
	return p;
}

enum baton_status bt_gguf_file_open(struct bt_gguf_file *f, char *path, struct baton_error *err)
{
	*f = (struct bt_gguf_file){.path = path, .fd = -1};
	/* O_NONBLOCK: opening a pipe without a writer must not hang; on a regular file it means nothing. */
	f->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	if (f->fd < 0 || fstat(f->fd, &st)) return bt_fail(err, BATON_ERR_IO, "%.200s: %s", path, strerror(errno));
	if (S_ISDIR(st.st_mode)) return bt_fail(err, BATON_ERR_IO, "%.200s: is a directory, not a GGUF file", path);
	if (!S_ISREG(st.st_mode)) return bt_fail(err, BATON_ERR_IO, "%.200s: is not a regular file", path);
	f->size = (uint64_t)st.st_size;
	if (!f->size) return BATON_OK;
	void *map = f->size > SIZE_MAX ? MAP_FAILED : mmap(NULL, f->size, PROT_READ, MAP_SHARED, f->fd, 0);
	if (map == MAP_FAILED)
		return bt_fail(err, errno == ENOMEM ? BATON_ERR_NOMEM : BATON_ERR_IO,
		               "%.200s: cannot map %" PRIu64 " bytes: %s", path, f->size, strerror(errno));
	f->data = f->map = map;
	return BATON_OK;
}

/* size bytes from offset at into dst; r: they are weights, which count as progress. */
static enum baton_status read_at(const struct bt_gguf_file *f, unsigned char *dst, uint64_t at, uint64_t size,
                                 struct bt_gguf_reading *r, struct baton_error *err)
{
	for (uint64_t end = at + size; at < end;) {
		ssize_t n = pread(f->fd, dst, end - at < PIECE ? end - at : PIECE, (off_t)at);
		if (n < 0 && errno == EINTR) continue;
		if (n < 0)
			return bt_fail(err, BATON_ERR_IO, "%.200s: reading at byte %" PRIu64 ": %s", f->path, at,
			               strerror(errno));
		if (n == 0)
			return bt_fail(err, BATON_ERR_IO,
			               "%.200s: ends at byte %" PRIu64 ": it was cut while it was read", f->path, at);
		if (r && r->drop_cache) posix_fadvise(f->fd, (off_t)at, n, POSIX_FADV_DONTNEED);
		dst += n;
		at += (uint64_t)n;
		if (!r) continue;
		r->done += (uint64_t)n;
		if (r->params->progress && !r->params->progress(r->params->user, r->done, r->total))
			return bt_fail(err, BATON_ERR_CANCELLED, "%.200s: loading was cancelled", f->path);
	}
	return BATON_OK;
}

enum baton_status bt_gguf_check_memory(struct bt_gguf_reading *r, const char *path, struct baton_error *err)
{
	uint64_t available = bt_mem_available();
	const double gib = 1 << 30;
	if (r->total > available)
		return bt_fail(err, BATON_ERR_NOMEM,
		               "%.200s: to be read into memory it needs %.2f GiB; %.2f GiB are free: without -mmp 0 "
		               "it is mapped, and memory holds what is in use",
		               path, (double)r->total / gib, (double)available / gib);
	/* A small file's copy in the system's cache makes opening it again quick; a large one's takes the place that the
	 * weights themselves need. */
	r->drop_cache = r->total > available / 2;
	return BATON_OK;
}

enum baton_status bt_gguf_file_read(struct bt_gguf_file *f, struct bt_gguf_reading *r, struct baton_error *err)
{
	uint64_t dir_bytes = bt_directory_bytes(&f->dir), data_bytes = f->dir.data_end - f->dir.data_start;
	f->directory = bt_mem_alloc(BT_MEM_HOST, dir_bytes);
	if (!f->directory) return bt_fail_nomem(err, dir_bytes, "the directory of a GGUF file");
	enum baton_status status = read_at(f, f->directory, 0, dir_bytes, NULL, err);
	if (status) return status;
	munmap(f->map, f->size);
	f->map = NULL;
	f->data = NULL;
	if (r->params->no_data) return BATON_OK;
	f->weights = weight_pages(data_bytes);
	if (!f->weights) return bt_fail_nomem(err, data_bytes, "the weights; without -mmp 0 they are mapped instead");
	f->weight_bytes = data_bytes;
	posix_fadvise(f->fd, (off_t)f->dir.data_start, (off_t)data_bytes, POSIX_FADV_SEQUENTIAL);
	return read_at(f, f->weights, f->dir.data_start, data_bytes, r, err);
}

void bt_gguf_file_close(struct bt_gguf_file *f)
{
	if (f->map) munmap(f->map, f->size);
	if (f->fd >= 0) close(f->fd);
	bt_mem_free(f->directory);
	bt_mem_free_pages(BT_MEM_WEIGHTS, f->weights, f->weight_bytes);
	bt_mem_free(f->path);
	*f = (struct bt_gguf_file){.fd = -1};
}
