/* gguf.h: reading and validating GGUF, and nothing else knows the format.
 *
 * Source of the format: the GGUF specification in the ggml repository (docs/gguf.md), versions 2 and 3, little-endian.
 * bt_gguf_open reads the whole directory (header, metadata, tensor descriptions) of a file, or of all files of a split
 * model when given any one of them (-00001-of-0000N), checks it against the files' sizes before anything of a size
 * taken from the file is allocated, and only then maps or reads the data. A bad file gives one sentence with the file's
 * name, what is wrong, in which key or tensor, and the byte offset.
 *
 * A mapped file must not be truncated or overwritten in place while it is open: the kernel answers a read past the new
 * end with SIGBUS, which the library does not catch. Replacing it by rename is safe. With `read` everything is copied
 * and the file may change afterwards.
 */
#ifndef BT_GGUF_GGUF_H
#define BT_GGUF_GGUF_H

#include "base/mem.h"
#include "base/status.h"
#include "quant/type.h"

#include <string.h>

enum bt_gguf_type {
	BT_GGUF_U8 = 0,
	BT_GGUF_I8 = 1,
	BT_GGUF_U16 = 2,
	BT_GGUF_I16 = 3,
	BT_GGUF_U32 = 4,
	BT_GGUF_I32 = 5,
	BT_GGUF_F32 = 6,
	BT_GGUF_BOOL = 7,
	BT_GGUF_STRING = 8,
	BT_GGUF_ARRAY = 9,
	BT_GGUF_U64 = 10,
	BT_GGUF_I64 = 11,
	BT_GGUF_F64 = 12,
};

/* Bytes inside the mapped directory: not NUL-terminated, may hold any byte. */
struct bt_str {
	const char *data;
	size_t len;
};

static inline bool bt_str_eq(struct bt_str a, const char *b)
{
	return strlen(b) == a.len && !memcmp(a.data ? a.data : "", b, a.len);
}

/* For messages and tables: s in buf (of size bytes, at least 8) with control and non-ASCII bytes as '?', and cut with
 * "..." where it is too long. Returns buf. */
const char *bt_str_show(struct bt_str s, char *buf, size_t size);

struct bt_gguf_kv {
	struct bt_str key;
	enum bt_gguf_type type;
	enum bt_gguf_type elem_type; /* of an array */
	uint64_t count;              /* elements of an array, 1 otherwise */
	const unsigned char *value;  /* first byte of the value (for arrays and strings: behind type, count and length);
	                                possibly unaligned */
	struct bt_str *strings;      /* [count] for STRING and for arrays of strings, else NULL */
	uint64_t offset;             /* of the key in its file, for messages */
};

struct bt_tensor {
	struct bt_str name;
	const struct bt_type *type; /* row of quant/type.h, never NULL */
	uint32_t n_dims;            /* 0..4 as stored; 0 is a single value */
	uint64_t dim[4];            /* fastest first; 1 beyond n_dims */
	uint64_t row_bytes;         /* bytes of dim[0] values */
	uint64_t n_rows;            /* dim[1] * dim[2] * dim[3] */
	uint64_t matrix_bytes; /* from one matrix of dim[0] x dim[1] to the next: row_bytes * dim[1] (in a view of some
	                               rows of every matrix, as src/arch makes them, more) */
	uint64_t size;         /* row_bytes * n_rows */
	uint64_t offset;       /* absolute, in its file */
	uint32_t file;         /* index of its file in a split model */
	const void *data;      /* mapped or read; NULL when opened without data */
};

/* Row r (0 .. n_rows - 1, over all matrices) of a tensor with data. */
static inline const void *bt_tensor_row(const struct bt_tensor *t, uint64_t r)
{
	return (const char *)t->data + r / t->dim[1] * t->matrix_bytes + r % t->dim[1] * t->row_bytes;
}

struct bt_gguf;

const char *bt_gguf_type_name(enum bt_gguf_type type); /* "u32", "string", ...: static; "?" when unknown */
/* Bytes of one value; 0 for strings, arrays and unknown types. */
size_t bt_gguf_type_bytes(enum bt_gguf_type type);
bool bt_gguf_is_int(enum bt_gguf_type type); /* u8 .. i64; not bool */

/* Called while data is read (never while it is mapped). Return false to cancel. */
typedef bool (*bt_progress_fn)(void *user, uint64_t done, uint64_t total);

struct bt_gguf_params {
	bool no_data; /* directory only: tensors' data stay NULL (but must lie within the file all the same) */
	bool read;    /* read into memory (-mmp 0) instead of mapping */
	bt_progress_fn progress;
	void *user;
};

/* Open path. On success *out owns maps and tables. params may be NULL (map). */
enum baton_status bt_gguf_open(const char *path, const struct bt_gguf_params *params, struct bt_gguf **out,
                               struct baton_error *err);
/* The same over bytes in memory that outlive the object (tests, fuzzing); name is used in messages. */
enum baton_status bt_gguf_open_memory(const void *data, size_t size, const char *name, struct bt_gguf **out,
                                      struct baton_error *err);
/* Closes, frees and clears *g; NULL and half-built objects are fine. */
void bt_gguf_close(struct bt_gguf **g);

const char *bt_gguf_path(const struct bt_gguf *g); /* of the first file */
uint32_t bt_gguf_version(const struct bt_gguf *g);
uint32_t bt_gguf_n_files(const struct bt_gguf *g);
uint64_t bt_gguf_file_bytes(const struct bt_gguf *g); /* all files together */
bool bt_gguf_is_mapped(const struct bt_gguf *g);

/* Metadata. In a split model: that of the first file. */
size_t bt_gguf_n_kv(const struct bt_gguf *g);
const struct bt_gguf_kv *bt_gguf_kv_at(const struct bt_gguf *g, size_t i);
/* NULL when absent. Hashed: constant time. */
const struct bt_gguf_kv *bt_gguf_find(const struct bt_gguf *g, const char *key);

/* Typed getters. *found (may be NULL) tells whether the key is there; when it is absent the default is stored and the
 * status is BATON_OK; a key of an incompatible type or out of range is BATON_ERR_FORMAT with a sentence that
 * does not name the file (the caller does, once for all keys). Integer getters accept any integer type whose value fits; float ones accept f32 and f64. */
enum baton_status bt_gguf_get_u32(const struct bt_gguf *g, const char *key, uint32_t dflt, uint32_t *out, bool *found,
                                  struct baton_error *err);
enum baton_status bt_gguf_get_f32(const struct bt_gguf *g, const char *key, float dflt, float *out, bool *found,
                                  struct baton_error *err);
enum baton_status bt_gguf_get_bool(const struct bt_gguf *g, const char *key, bool dflt, bool *out, bool *found,
                                   struct baton_error *err);
/* out->data points into the file; {NULL, 0} when absent. */
enum baton_status bt_gguf_get_str(const struct bt_gguf *g, const char *key, struct bt_str *out, bool *found,
                                  struct baton_error *err);
/* A scalar, or an array with one entry per block: fills out[n] either way (a scalar is repeated; an array must have at
 * least n entries). Bool arrays give 0 and 1. */
enum baton_status bt_gguf_get_u32_per_layer(const struct bt_gguf *g, const char *key, uint32_t dflt, uint32_t *out,
                                            size_t n, bool *found, struct baton_error *err);

/* Elements of an array (i < kv->count) or the scalar itself (i = 0), converted: out-of-range numbers are clamped to
 * int64_t, floats rounded toward zero. 0 or {NULL, 0} for an i past the end and for strings read as numbers or the other
 * way round. */
int64_t bt_gguf_int_at(const struct bt_gguf_kv *kv, uint64_t i);
uint64_t bt_gguf_u64_at(const struct bt_gguf_kv *kv, uint64_t i); /* of u64 values: all of their range */
double bt_gguf_float_at(const struct bt_gguf_kv *kv, uint64_t i);
struct bt_str bt_gguf_str_at(const struct bt_gguf_kv *kv, uint64_t i);

/* Tensors, in file order; all files of a split model. */
size_t bt_gguf_n_tensors(const struct bt_gguf *g);
const struct bt_tensor *bt_gguf_tensor_at(const struct bt_gguf *g, size_t i);
const struct bt_tensor *bt_gguf_tensor(const struct bt_gguf *g, const char *name); /* NULL when absent; hashed */

#endif
