#include "gguf/write.h"

#include "base/buf.h"
#include "base/limits.h"
#include "gguf/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define VERSION           3
#define DEFAULT_ALIGNMENT 32

struct key {
	struct bt_str name; /* owned */
	enum bt_gguf_type type;
	char *value; /* as it stands in the file behind the type; owned */
	size_t size;
};

struct tensor {
	struct bt_str name; /* owned */
	const struct bt_type *type;
	uint32_t n_dims;
	uint64_t dim[4];
	uint64_t offset; /* in the data section, from begin on */
	uint64_t size;
};

struct bt_gguf_writer {
	struct baton_error error; /* the first of the building calls, reported by begin */
	struct key *keys;
	size_t n_keys, cap_keys;
	struct tensor *tensors;
	size_t n_tensors, cap_tensors;
	uint32_t alignment;
	uint64_t file_bytes;
	/* From begin on. */
	char *path, *temp;
	int fd;
	size_t at_tensor; /* the one whose data comes next */
	uint64_t at_byte; /* how much of it is written */
};

enum baton_status bt_gguf_writer_new(struct bt_gguf_writer **out, struct baton_error *err)
{
	*out = bt_mem_zalloc(BT_MEM_HOST, sizeof **out);
	if (!*out) return bt_fail_nomem(err, sizeof **out, "writing a GGUF file");
	(*out)->fd = -1;
	return BATON_OK;
}

void bt_gguf_writer_close(struct bt_gguf_writer **wp)
{
	struct bt_gguf_writer *w = *wp;
	*wp = NULL;
	if (!w) return;
	if (w->fd >= 0) {
		close(w->fd);
		unlink(w->temp);
	}
	for (size_t i = 0; i < w->n_keys; i++) {
		bt_mem_free((char *)w->keys[i].name.data);
		bt_mem_free(w->keys[i].value);
	}
	for (size_t i = 0; i < w->n_tensors; i++) bt_mem_free((char *)w->tensors[i].name.data);
	bt_mem_free(w->keys);
	bt_mem_free(w->tensors);
	bt_mem_free(w->path);
	bt_mem_free(w->temp);
	bt_mem_free(w);
}

/* Room for one more element; false and a sticky error without memory. */
static bool grow(struct bt_gguf_writer *w, void **array, size_t n, size_t *cap, size_t size)
{
	if (n < *cap) return true;
	size_t want = *cap ? 2 * *cap : 64;
	void *p = bt_mem_realloc(BT_MEM_HOST, *array, want * size);
	if (!p) {
		bt_fail_nomem(&w->error, want * size, "writing a GGUF file");
		return false;
	}
	*array = p;
	*cap = want;
	return true;
}

static bool copy_name(struct bt_gguf_writer *w, struct bt_str name, size_t limit, const char *what, struct bt_str *out)
{
	if (!name.len || name.len > limit) {
		bt_fail(&w->error, BATON_ERR_ARG,
		        "writing a GGUF file: the name of a %s has %zu bytes; 1 to %zu are allowed", what, name.len,
		        limit);
		return false;
	}
	char *copy = bt_mem_strndup(BT_MEM_HOST, name.data, name.len);
	if (!copy) bt_fail_nomem(&w->error, name.len, "writing a GGUF file");
	*out = (struct bt_str){copy, name.len};
	return copy;
}

static struct key *find_key(struct bt_gguf_writer *w, struct bt_str name)
{
	for (size_t i = 0; i < w->n_keys; i++)
		if (w->keys[i].name.len == name.len && !memcmp(w->keys[i].name.data, name.data, name.len))
			return &w->keys[i];
	return NULL;
}

/* Where the size bytes of name's value go; NULL with a sticky error. is_new: known not to be there yet. */
static char *put_key(struct bt_gguf_writer *w, struct bt_str name, enum bt_gguf_type type, size_t size, bool is_new)
{
	if (w->error.status) return NULL;
	char *value = bt_mem_alloc(BT_MEM_HOST, size);
	if (!value) {
		bt_fail_nomem(&w->error, size, "writing a GGUF file");
		return NULL;
	}
	struct key *k = is_new ? NULL : find_key(w, name);
	if (k) {
		bt_mem_free(k->value);
	} else {
		struct bt_str copy;
		if (!grow(w, (void **)&w->keys, w->n_keys, &w->cap_keys, sizeof *w->keys) ||
		    !copy_name(w, name, BT_LIMIT_GGUF_KEY_NAME, "key", &copy)) {
			bt_mem_free(value);
			return NULL;
		}
		k = &w->keys[w->n_keys++];
		k->name = copy;
	}
	k->type = type;
	k->value = value;
	k->size = size;
	return value;
}

static char *put_le(char *p, uint64_t v, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) *p++ = (char)(v >> 8 * i);
	return p;
}

/* One value in this machine's form, as the file has it. */
static char *put_native(char *p, const void *value, size_t bytes)
{
	const char *v = value;
	bool little = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__;
	for (size_t i = 0; i < bytes; i++) *p++ = v[little ? i : bytes - 1 - i];
	return p;
}

static struct bt_str str(const char *s)
{
	return (struct bt_str){s, strlen(s)};
}

static void bad_type(struct bt_gguf_writer *w, const char *key, enum bt_gguf_type type)
{
	if (w->error.status) return;
	bt_fail(&w->error, BATON_ERR_ARG, "writing a GGUF file: key '%.100s' can't be of type %s here", key,
	        bt_gguf_type_name(type));
}

void bt_gguf_writer_set_scalar(struct bt_gguf_writer *w, const char *key, enum bt_gguf_type type, const void *value)
{
	size_t bytes = bt_gguf_type_bytes(type);
	if (!bytes) {
		bad_type(w, key, type);
		return;
	}
	char *p = put_key(w, str(key), type, bytes, false);
	if (p) put_native(p, value, bytes);
}

void bt_gguf_writer_set_u32(struct bt_gguf_writer *w, const char *key, uint32_t value)
{
	bt_gguf_writer_set_scalar(w, key, BT_GGUF_U32, &value);
}

void bt_gguf_writer_set_f32(struct bt_gguf_writer *w, const char *key, float value)
{
	bt_gguf_writer_set_scalar(w, key, BT_GGUF_F32, &value);
}

void bt_gguf_writer_set_bool(struct bt_gguf_writer *w, const char *key, bool value)
{
	uint8_t byte = value;
	bt_gguf_writer_set_scalar(w, key, BT_GGUF_BOOL, &byte);
}

void bt_gguf_writer_set_str(struct bt_gguf_writer *w, const char *key, const char *value)
{
	size_t len = strlen(value);
	char *p = put_key(w, str(key), BT_GGUF_STRING, 8 + len, false);
	if (p) memcpy(put_le(p, len, 8), value, len);
}

void bt_gguf_writer_set_array(struct bt_gguf_writer *w, const char *key, enum bt_gguf_type elem_type,
                              const void *values, uint64_t count)
{
	size_t bytes = bt_gguf_type_bytes(elem_type), size;
	if (!bytes) {
		bad_type(w, key, elem_type);
		return;
	}
	if (!bt_mul_size(count, bytes, &size) || !bt_add_size(size, 12, &size))
		size = SIZE_MAX; /* the allocation fails */
	char *p = put_key(w, str(key), BT_GGUF_ARRAY, size, false);
	if (!p) return;
	p = put_le(put_le(p, elem_type, 4), count, 8);
	for (uint64_t i = 0; i < count; i++) p = put_native(p, (const char *)values + i * bytes, bytes);
}

void bt_gguf_writer_set_strs(struct bt_gguf_writer *w, const char *key, const struct bt_str *values, uint64_t count)
{
	size_t size = 12;
	for (uint64_t i = 0; i < count; i++)
		if (!bt_add_size(size, 8, &size) || !bt_add_size(size, values[i].len, &size)) size = SIZE_MAX;
	char *p = put_key(w, str(key), BT_GGUF_ARRAY, size, false);
	if (!p) return;
	p = put_le(put_le(p, BT_GGUF_STRING, 4), count, 8);
	for (uint64_t i = 0; i < count; i++) {
		p = put_le(p, values[i].len, 8);
		if (values[i].len) memcpy(p, values[i].data, values[i].len);
		p += values[i].len;
	}
}

/* The bytes of a value in an opened file, from behind its type. */
static struct bt_str value_bytes(const struct bt_gguf_kv *kv)
{
	const char *begin = (const char *)kv->value, *end = begin;
	if (kv->type == BT_GGUF_STRING) begin -= 8;
	if (kv->type == BT_GGUF_ARRAY) begin -= 12;
	if (kv->strings && kv->count) end = kv->strings[kv->count - 1].data + kv->strings[kv->count - 1].len;
	else end += kv->count * bt_gguf_type_bytes(kv->type == BT_GGUF_ARRAY ? kv->elem_type : kv->type);
	return (struct bt_str){begin, (size_t)(end - begin)};
}

void bt_gguf_writer_copy_kv(struct bt_gguf_writer *w, const struct bt_gguf *g)
{
	bool is_new = w->n_keys == 0; /* then no key can be there twice, and nothing need be searched */
	for (size_t i = 0; i < g->n_kv; i++) {
		const struct bt_gguf_kv *kv = &g->kv[i];
		if (kv->key.len > 6 && !memcmp(kv->key.data, "split.", 6)) continue;
		struct bt_str bytes = value_bytes(kv);
		char *p = put_key(w, kv->key, kv->type, bytes.len, is_new);
		if (!p) return;
		memcpy(p, bytes.data, bytes.len);
	}
}

void bt_gguf_writer_remove(struct bt_gguf_writer *w, const char *key)
{
	struct key *k = find_key(w, str(key));
	if (!k) return;
	bt_mem_free((char *)k->name.data);
	bt_mem_free(k->value);
	memmove(k, k + 1, (size_t)(w->keys + --w->n_keys - k) * sizeof *k);
}

void bt_gguf_writer_add_tensor(struct bt_gguf_writer *w, struct bt_str name, const struct bt_type *type,
                               uint32_t n_dims, const uint64_t *dim)
{
	if (w->error.status) return;
	struct tensor t = {.type = type, .n_dims = n_dims, .dim = {1, 1, 1, 1}, .size = type->bytes};
	char show[96];
	bool ok = n_dims <= 4;
	for (uint32_t i = 0; ok && i < n_dims; i++) {
		t.dim[i] = dim[i];
		uint64_t n = i ? dim[i] : dim[i] / type->block;
		ok = dim[i] && !__builtin_mul_overflow(t.size, n, &t.size) && t.size <= INT64_MAX;
	}
	if (!ok || t.dim[0] % type->block) {
		bt_fail(&w->error, BATON_ERR_ARG, "writing a GGUF file: tensor '%s' can't have these dimensions as %s",
		        bt_str_show(name, show, sizeof show), type->name);
		return;
	}
	if (!grow(w, (void **)&w->tensors, w->n_tensors, &w->cap_tensors, sizeof *w->tensors)) return;
	if (copy_name(w, name, BT_LIMIT_GGUF_NAME, "tensor", &t.name)) w->tensors[w->n_tensors++] = t;
}

static uint64_t padded(uint64_t n, uint64_t alignment)
{
	return (n + alignment - 1) & ~(alignment - 1);
}

static enum baton_status choose_alignment(struct bt_gguf_writer *w, struct baton_error *err)
{
	const struct key *k = find_key(w, str("general.alignment"));
	w->alignment = DEFAULT_ALIGNMENT;
	if (!k) return BATON_OK;
	if (k->type == BT_GGUF_U32) w->alignment = bt_le32((const unsigned char *)k->value);
	if (k->type != BT_GGUF_U32 || w->alignment < 8 || w->alignment & (w->alignment - 1))
		return bt_fail(err, BATON_ERR_ARG,
		               "writing a GGUF file: general.alignment must be a u32 and a power of two, 8 or more");
	return BATON_OK;
}

static void add_le(struct bt_buf *b, uint64_t v, size_t bytes)
{
	char p[8];
	put_le(p, v, bytes);
	bt_buf_add(b, p, bytes);
}

static struct bt_str tensor_name(const void *entries, size_t i)
{
	return ((const struct tensor *)entries)[i].name;
}

/* Offsets, and the directory up to the data section. */
static enum baton_status build_directory(struct bt_gguf_writer *w, const char *path, struct bt_buf *b,
                                         struct baton_error *err)
{
	struct bt_name_index index = {0};
	enum baton_status status = bt_name_index_build(&index, w->n_tensors, tensor_name, w->tensors, path, "tensor",
	                                               err);
	bt_mem_free(index.slot);
	if (!status) status = choose_alignment(w, err);
	if (status) return status;
	bt_buf_add(b, "GGUF", 4);
	add_le(b, VERSION, 4);
	add_le(b, w->n_tensors, 8);
	add_le(b, w->n_keys, 8);
	for (size_t i = 0; i < w->n_keys; i++) {
		const struct key *k = &w->keys[i];
		add_le(b, k->name.len, 8);
		bt_buf_add(b, k->name.data, k->name.len);
		add_le(b, k->type, 4);
		bt_buf_add(b, k->value, k->size);
	}
	uint64_t offset = 0;
	for (size_t i = 0; i < w->n_tensors; i++) {
		struct tensor *t = &w->tensors[i];
		t->offset = offset;
		if (t->size > INT64_MAX / 2 - offset)
			return bt_fail(err, BATON_ERR_ARG, "%.200s: the tensors are too large for one file", path);
		offset += padded(t->size, w->alignment);
		add_le(b, t->name.len, 8);
		bt_buf_add(b, t->name.data, t->name.len);
		add_le(b, t->n_dims, 4);
		for (uint32_t k = 0; k < t->n_dims; k++) add_le(b, t->dim[k], 8);
		add_le(b, t->type->id, 4);
		add_le(b, t->offset, 8);
	}
	while (b->len % w->alignment && !b->status) bt_buf_addc(b, 0);
	w->file_bytes = b->len + offset;
	return bt_buf_check(b, err, "the directory of a GGUF file");
}

static enum baton_status write_failed(const struct bt_gguf_writer *w, struct baton_error *err)
{
	int e = errno;
	bool full = e == ENOSPC || e == EDQUOT;
	return bt_fail(err, BATON_ERR_IO, "cannot write %.200s: %s%s (%.1f MiB are needed)", w->path, strerror(e),
	               full ? "; free some or choose another folder" : "", (double)w->file_bytes / 1048576.0);
}

static enum baton_status write_all(struct bt_gguf_writer *w, const void *data, uint64_t size, struct baton_error *err)
{
	const char *p = data;
	while (size) {
		/* Linux writes at most 2 GiB a call. */
		ssize_t n = write(w->fd, p, size < ((uint64_t)1 << 30) ? size : (uint64_t)1 << 30);
		if (n < 0 && errno == EINTR) continue;
		if (n < 0) return write_failed(w, err);
		p += n;
		size -= (uint64_t)n;
	}
	return BATON_OK;
}

/* The temporary file beside w->path, and room for all of it. */
static enum baton_status create(struct bt_gguf_writer *w, struct baton_error *err)
{
	struct stat st;
	if (!stat(w->path, &st) && !S_ISREG(st.st_mode))
		return bt_fail(err, BATON_ERR_ARG, "cannot write %.200s: it is there already and is not a regular file",
		               w->path);
	size_t size = strlen(w->path) + 40;
	w->temp = bt_mem_alloc(BT_MEM_HOST, size);
	if (!w->temp) return bt_fail_nomem(err, size, "a file name");
	for (int i = 0; w->fd < 0 && i < 100; i++) {
		snprintf(w->temp, size, "%s.%ld-%d.tmp", w->path, (long)getpid(), i);
		w->fd = open(w->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
		if (w->fd < 0 && errno != EEXIST) break;
	}
	if (w->fd < 0) return bt_fail(err, BATON_ERR_IO, "cannot create %.200s: %s", w->temp, strerror(errno));
	/* A help, not a need: not every file system can. */
	if (fallocate(w->fd, 0, 0, (off_t)w->file_bytes) && (errno == ENOSPC || errno == EDQUOT || errno == EFBIG))
		return write_failed(w, err);
	return BATON_OK;
}

enum baton_status bt_gguf_writer_begin(struct bt_gguf_writer *w, const char *path, struct baton_error *err)
{
	if (w->error.status) return bt_fail(err, w->error.status, "%s", w->error.text);
	if (w->path) return bt_fail(err, BATON_ERR_ARG, "writing a GGUF file: begun twice");
	w->path = bt_mem_strdup(BT_MEM_HOST, path);
	if (!w->path) return bt_fail_nomem(err, strlen(path), "a file name");
	struct bt_buf b;
	bt_buf_init(&b, BT_MEM_HOST, BT_LIMIT_GGUF_DIRECTORY);
	enum baton_status status = build_directory(w, path, &b, err);
	if (!status) status = create(w, err);
	if (!status) status = write_all(w, b.data, b.len, err);
	bt_buf_free(&b);
	return status;
}

uint64_t bt_gguf_writer_file_bytes(const struct bt_gguf_writer *w)
{
	return w->file_bytes;
}

enum baton_status bt_gguf_writer_data(struct bt_gguf_writer *w, const void *data, uint64_t size,
                                      struct baton_error *err)
{
	if (w->fd < 0) return bt_fail(err, BATON_ERR_ARG, "writing a GGUF file: data before begin");
	const char *p = data;
	while (size) {
		if (w->at_tensor == w->n_tensors)
			return bt_fail(err, BATON_ERR_ARG, "%.200s: %" PRIu64 " bytes more than the tensors have",
			               w->path, size);
		const struct tensor *t = &w->tensors[w->at_tensor];
		uint64_t n = t->size - w->at_byte < size ? t->size - w->at_byte : size;
		enum baton_status status = write_all(w, p, n, err);
		if (status) return status;
		p += n;
		size -= n;
		w->at_byte += n;
		if (w->at_byte < t->size) break;
		static const char zeros[4096];
		for (uint64_t pad = padded(t->size, w->alignment) - t->size, k; pad; pad -= k) {
			k = pad < sizeof zeros ? pad : sizeof zeros;
			if ((status = write_all(w, zeros, k, err))) return status;
		}
		w->at_tensor++;
		w->at_byte = 0;
	}
	return BATON_OK;
}

/* Make the new name itself safe. Not every file system lets a folder be synced: a refusal is no error. */
static void sync_folder(const char *path, char *temp)
{
	const char *slash = strrchr(path, '/');
	size_t len = slash ? (size_t)(slash - path) + 1 : 0;
	memcpy(temp, slash ? path : ".", slash ? len : 1);
	temp[slash ? len : 1] = 0;
	int fd = open(temp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) return;
	(void)fsync(fd);
	close(fd);
}

enum baton_status bt_gguf_writer_finish(struct bt_gguf_writer *w, struct baton_error *err)
{
	if (w->fd < 0) return bt_fail(err, BATON_ERR_ARG, "writing a GGUF file: finish before begin");
	if (w->at_tensor < w->n_tensors) {
		char show[96];
		return bt_fail(err, BATON_ERR_ARG, "%.200s: the data of tensor '%s' is incomplete", w->path,
		               bt_str_show(w->tensors[w->at_tensor].name, show, sizeof show));
	}
	if (fsync(w->fd) || rename(w->temp, w->path)) return write_failed(w, err);
	int fd = w->fd;
	w->fd = -1; /* the temporary file is no more: nothing is left to remove */
	sync_folder(w->path, w->temp);
	if (close(fd)) return write_failed(w, err);
	return BATON_OK;
}
