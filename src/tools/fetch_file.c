/* fetch_file.c: one file, from an address into the cache. */
#include "tools/fetch.h"

#include "tools/http.h"
#include "tools/ui.h"

#include <errno.h>
#include <fcntl.h>
#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define ATTEMPTS 5 /* in a row that bring nothing */

enum baton_status bt_fetch_folder(const char *path, struct baton_error *err)
{
	char dir[4096];
	if (strlen(path) >= sizeof dir) return bt_fail(err, BATON_ERR_IO, "the path is too long: %.200s...", path);
	strcpy(dir, path);
	for (char *slash = strchr(dir + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		if (mkdir(dir, 0777) && errno != EEXIST)
			return bt_fail(err, BATON_ERR_IO, "cannot create the folder %.300s: %s", dir, strerror(errno));
		*slash = '/';
	}
	return BATON_OK;
}

enum baton_status bt_fetch_check(const char *path, const char *want, const char *label, struct baton_error *err)
{
	static const char digits[] = "0123456789abcdef";
	if (!want || !*want) return BATON_OK;
	enum { CHUNK = 1 << 20 };
	struct sha256_ctx sha;
	struct bt_ui_progress bar;
	struct stat st;
	unsigned char hash[SHA256_DIGEST_SIZE];
	char hex[2 * SHA256_DIGEST_SIZE + 1] = {0}, text[128];
	enum baton_status status = BATON_OK;
	uint64_t done = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st)) {
		status = bt_fail(err, BATON_ERR_IO, "cannot read %.300s: %s", path, strerror(errno));
		if (fd >= 0) close(fd);
		return status;
	}
	uint8_t *data = bt_mem_alloc(BT_MEM_HOST, CHUNK);
	if (!data) {
		close(fd);
		return bt_fail_nomem(err, CHUNK, "a file");
	}
	sha256_init(&sha);
	snprintf(text, sizeof text, "checking %.100s", label);
	bt_ui_progress_begin(&bar, text, 0, (uint64_t)st.st_size);
	for (ssize_t n; (n = read(fd, data, CHUNK)) != 0;) {
		if (n < 0) {
			status = bt_fail(err, BATON_ERR_IO, "cannot read %.300s: %s", path, strerror(errno));
			break;
		}
		sha256_update(&sha, (size_t)n, data);
		if (!bt_ui_progress_load(&bar, done += (uint64_t)n, 0)) {
			status = bt_fail(err, BATON_ERR_CANCELLED, "interrupted");
			break;
		}
	}
	bt_ui_progress_end(&bar);
	bt_mem_free(data);
	close(fd);
	if (status) return status;
	sha256_digest(&sha, sizeof hash, hash);
	for (size_t i = 0; i < sizeof hash; i++) {
		hex[2 * i] = digits[hash[i] >> 4];
		hex[2 * i + 1] = digits[hash[i] & 15];
	}
	if (!strcasecmp(hex, want)) return BATON_OK;
	return bt_fail(err, BATON_ERR_FORMAT, "%.100s is not what it should be: its SHA-256 is %s, not %.64s", label,
	               hex, want);
}

/* A download under way: PATH.part, and PATH.part.etag that tells which file the part belongs to. */
struct part {
	struct bt_fetch_file *file;
	char path[4096], etag_path[4096];
	char etag[256];
	int fd;
	uint64_t size;
	struct bt_ui_progress bar;
	bool locked;   /* it is ours to change */
	bool no_space; /* the file will not fit on the disk */
};

/* Forget what was downloaded. */
static enum baton_status part_restart(struct part *p, struct baton_error *err)
{
	p->size = 0;
	p->etag[0] = 0;
	unlink(p->etag_path);
	if (ftruncate(p->fd, 0)) return bt_fail(err, BATON_ERR_IO, "cannot write %.300s: %s", p->path, strerror(errno));
	return BATON_OK;
}

static enum baton_status part_open(struct part *p, struct baton_error *err)
{
	struct stat st;
	p->fd = -1;
	enum baton_status status = bt_fetch_folder(p->file->path, err);
	if (status) return status;
	if ((size_t)snprintf(p->path, sizeof p->path, "%s.part", p->file->path) >= sizeof p->path ||
	    (size_t)snprintf(p->etag_path, sizeof p->etag_path, "%s.part.etag", p->file->path) >= sizeof p->etag_path)
		return bt_fail(err, BATON_ERR_IO, "the path is too long: %.200s...", p->file->path);
	p->fd = open(p->path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	if (p->fd < 0) return bt_fail(err, BATON_ERR_IO, "cannot write %.300s: %s", p->path, strerror(errno));
	if (flock(p->fd, LOCK_EX | LOCK_NB))
		return bt_fail(err, BATON_ERR_IO, "%.300s is being downloaded by another process", p->file->path);
	p->locked = true;
	if (fstat(p->fd, &st)) return bt_fail(err, BATON_ERR_IO, "cannot read %.300s: %s", p->path, strerror(errno));
	p->size = (uint64_t)st.st_size;
	FILE *f = fopen(p->etag_path, "re");
	if (f) {
		if (fgets(p->etag, sizeof p->etag, f)) p->etag[strcspn(p->etag, "\n")] = 0;
		fclose(f);
	}
	if (p->file->force || !*p->etag) return part_restart(p, err);
	return BATON_OK;
}

static void part_close(struct part *p)
{
	if (p->fd < 0) return;
	if (p->locked && !p->size) { /* nothing to go on from */
		unlink(p->path);
		unlink(p->etag_path);
	}
	close(p->fd);
}

/* Note the ETag before bytes of a new file come in; without one the next run starts over. */
static void part_note_etag(struct part *p, const char *etag)
{
	if (!strcmp(p->etag, etag)) return;
	snprintf(p->etag, sizeof p->etag, "%s", etag);
	unlink(p->etag_path);
	if (!*etag) return;
	FILE *f = fopen(p->etag_path, "we");
	if (!f) return;
	fprintf(f, "%s\n", etag);
	fclose(f);
}

static bool part_progress(void *user, uint64_t done, uint64_t total)
{
	struct part *p = user;
	struct statvfs fs;
	/* Better now than after an hour. */
	if (total > done && p->bar.total != total && !fstatvfs(p->fd, &fs) &&
	    fs.f_bavail < (total - done) / fs.f_frsize)
		p->no_space = true;
	return bt_ui_progress_load(&p->bar, done, total) && !p->no_space;
}

/* Wait before the next attempt; false after Ctrl-C. */
static bool pause_before(int attempt)
{
	struct timespec ts = {0, 100000000};
	for (int i = 0; i < 5 << attempt; i++) {
		if (bt_ui_interrupted()) return false;
		nanosleep(&ts, NULL);
	}
	return !bt_ui_interrupted();
}

/* One request. *again: the failure may pass. */
static enum baton_status part_attempt(struct part *p, struct bt_http_reply *reply, bool *again, struct baton_error *err)
{
	struct bt_http_request req = {.url = p->file->url,
	                              .token = p->file->token,
	                              .offset = *p->etag ? p->size : 0,
	                              .etag = p->etag,
	                              .progress = part_progress,
	                              .user = p};
	enum baton_status st = bt_http_download(&req, p->fd, reply, err);
	struct stat info;
	*again = reply->retry;
	if (!fstat(p->fd, &info)) p->size = (uint64_t)info.st_size;
	if (reply->status == 200 || reply->status == 206) part_note_etag(p, reply->etag);
	if (p->no_space) return bt_fail(err, BATON_ERR_IO, "%s", strerror(ENOSPC));
	if (st) return st;
	if (reply->status == 416 && reply->total == p->size) return BATON_OK; /* it was complete already */
	if (reply->status == 416) { /* the part is longer than the file: it belongs to another one */
		*again = true;
		enum baton_status cut = part_restart(p, err);
		return cut ? cut : bt_fail(err, BATON_ERR_IO, "the server refuses to send the rest");
	}
	if (reply->status != 200 && reply->status != 206)
		return bt_fail(err, BATON_ERR_IO, "%.100s answers %ld", reply->host, reply->status);
	if (reply->total && p->size != reply->total) {
		*again = true;
		if (p->size > reply->total) part_restart(p, NULL);
		return bt_fail(err, BATON_ERR_IO, "%.100s sent %llu of %llu bytes", reply->host,
		               (unsigned long long)p->size, (unsigned long long)reply->total);
	}
	return BATON_OK;
}

static enum baton_status part_download(struct part *p, struct bt_http_reply *reply, struct baton_error *err)
{
	enum baton_status st = BATON_OK;
	bt_ui_progress_begin(&p->bar, p->file->label, p->size, 0);
	for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
		bool again;
		st = part_attempt(p, reply, &again, err);
		if (!st || !again || attempt + 1 == ATTEMPTS || (reply->unreachable && attempt >= 1)) break;
		if (reply->received) attempt = 0; /* it got further: the connection is bad, not dead */
		if (!pause_before(attempt)) {
			st = bt_fail(err, BATON_ERR_CANCELLED, "interrupted");
			break;
		}
	}
	bt_ui_progress_end(&p->bar);
	if (st == BATON_ERR_IO && strstr(err->text, strerror(ENOSPC)))
		return bt_fail(err, st, "cannot write %.300s: the disk is full", p->path);
	return st;
}

static bool is_sha256(const char *s)
{
	return strlen(s) == 64 && strspn(s, "0123456789abcdefABCDEF") == 64;
}

enum baton_status bt_fetch_file(struct bt_fetch_file *file, long *status, bool *unreachable, struct baton_error *err)
{
	struct part p = {.file = file};
	struct bt_http_reply reply = {0};
	struct baton_error own;
	if (!err) err = &own;
	*status = 0;
	*unreachable = false;
	enum baton_status st = part_open(&p, err);
	if (!st) {
		st = part_download(&p, &reply, err);
		*status = reply.status >= 400 ? reply.status : 0;
		*unreachable = st && reply.unreachable;
	}
	if (st) goto done;
	if (!*file->sha256 && is_sha256(reply.linked_etag))
		snprintf(file->sha256, sizeof file->sha256, "%s", reply.linked_etag);
	st = bt_fetch_check(p.path, file->sha256, file->label, err);
	if (st == BATON_ERR_FORMAT) {
		char text[sizeof err->text];
		part_restart(&p, NULL);
		snprintf(text, sizeof text, "%s", err->text);
		bt_fail(err, st, "%.400s; it was removed, try again", text);
	}
	if (st) goto done;
	if (fsync(p.fd) || rename(p.path, file->path)) {
		st = bt_fail(err, BATON_ERR_IO, "cannot write %.300s: %s", file->path, strerror(errno));
		goto done;
	}
	unlink(p.etag_path);
done:
	part_close(&p);
	return st;
}
