/* directory.c: the header, the keys and the tensor descriptions of one file, checked entry by entry.
 *
 * Layout (ggml, docs/gguf.md): "GGUF", u32 version, u64 tensor count, u64 key count; per key a string, u32 type, value;
 * per tensor a string, u32 number of dimensions, u64 each, u32 type, u64 offset into the data section, which begins at
 * the next multiple of general.alignment.
 */
#include "base/limits.h"
#include "gguf/internal.h"

#include <inttypes.h>
#include <stdio.h>

/* The least bytes that an entry can take: they bound a count by the file's size. */
#define KEY_MIN    14 /* length, one letter, type, one byte */
#define TENSOR_MIN 25 /* length, one letter, number of dimensions, type, offset */

#define DEFAULT_ALIGNMENT 32

/* First bytes of what people take for a GGUF file. */
static const struct {
	const char *magic, *what;
} other_formats[] = {
	{"GGML", "a ggml file from before GGUF"},
	{"ggml", "a ggml file from before GGUF"},
	{"lmgg", "a ggml file from before GGUF"},
	{"fmgg", "a ggml file from before GGUF"},
	{"tjgg", "a ggml file from before GGUF"},
	{"PK\3\4", "a zip archive, perhaps a PyTorch checkpoint"},
	{"vers", "perhaps a Git LFS pointer: the real file was not fetched"},
	{"<!DO", "a web page"},
	{"<!do", "a web page"},
	{"<htm", "a web page"},
};

static bool read_magic(struct bt_cursor *c)
{
	if (c->size == 0) {
		c->status = bt_fail(c->err, BATON_ERR_FORMAT, "%.200s: the file is empty", c->file);
		return false;
	}
	const unsigned char *p = bt_cursor_take(c, 4, "the magic number");
	if (!p || !memcmp(p, "GGUF", 4)) return p;
	const char *what = NULL;
	for (size_t i = 0; i < sizeof other_formats / sizeof *other_formats; i++)
		if (!memcmp(p, other_formats[i].magic, 4)) what = other_formats[i].what;
	char show[16];
	struct bt_str begin = {(const char *)p, 4};
	bt_cursor_fail(c, BATON_ERR_FORMAT, 0, "not a GGUF file: it begins with '%s' instead of 'GGUF'%s%s%s",
	               bt_str_show(begin, show, sizeof show), what ? " (" : "", what ? what : "", what ? ")" : "");
	return false;
}

/* Version and counts. */
static void read_header(struct bt_cursor *c, struct bt_directory *d)
{
	if (!read_magic(c)) return;
	uint64_t at = c->pos;
	d->version = bt_cursor_u32(c, "the version");
	if (c->status) return;
	if (d->version && !(d->version & 0xFFFF)) {
		bt_cursor_fail(
			c, BATON_ERR_UNSUPPORTED, at,
			"the file is in big-endian byte order; convert it to little-endian (gguf_convert_endian.py)");
	} else if (d->version == 0) {
		bt_cursor_fail(c, BATON_ERR_FORMAT, at, "version 0 does not exist: corrupt");
	} else if (d->version != 2 && d->version != 3) {
		bt_cursor_fail(c, BATON_ERR_UNSUPPORTED, at, "GGUF version %u is not supported; 2 and 3 are",
		               d->version);
	}
	at = c->pos;
	d->n_tensors = bt_cursor_u64(c, "the tensor count");
	d->n_kv = bt_cursor_u64(c, "the key count");
	if (c->status) return;
	uint64_t left = c->size - c->pos;
	if (d->n_tensors > left / TENSOR_MIN)
		bt_cursor_fail(c, BATON_ERR_FORMAT, at,
		               "%" PRIu64 " tensors are too many for a file of %" PRIu64 " bytes", d->n_tensors,
		               c->size);
	else if (d->n_kv > left / KEY_MIN)
		bt_cursor_fail(c, BATON_ERR_FORMAT, at + 8,
		               "%" PRIu64 " keys are too many for a file of %" PRIu64 " bytes", d->n_kv, c->size);
	else if (d->n_tensors > BT_LIMIT_GGUF_TENSORS)
		bt_cursor_fail(c, BATON_ERR_LIMIT, at, "%" PRIu64 " tensors; the limit is %u", d->n_tensors,
		               BT_LIMIT_GGUF_TENSORS);
	else if (d->n_kv > BT_LIMIT_GGUF_KEYS)
		bt_cursor_fail(c, BATON_ERR_LIMIT, at + 8, "%" PRIu64 " keys; the limit is %u", d->n_kv,
		               BT_LIMIT_GGUF_KEYS);
}

/* Where the strings of keys go. out NULL: only walk over them. Adds up what was read. */
struct strings {
	struct bt_str *out; /* [room] */
	uint64_t used, room;
};

/* count strings in a row. This walks whole vocabularies, hence its own loop. Returns their place in s. */
static struct bt_str *read_strings(struct bt_cursor *c, uint64_t count, struct strings *s)
{
	if (c->status) return NULL;
	if (s->out && count > s->room - s->used) {
		bt_cursor_fail(c, BATON_ERR_IO, c->pos, "the file changed while it was read");
		return NULL;
	}
	struct bt_str *out = s->out ? s->out + s->used : NULL;
	const unsigned char *p = c->data + c->pos;
	uint64_t left = c->size - c->pos;
	for (uint64_t i = 0; i < count; i++) {
		uint64_t len = left < 8 ? 0 : bt_le64(p);
		if (left < 8 || len > left - 8) {
			/* The cursor has the sentence for this: let it fail in the same place. */
			char what[64] = "its string";
			if (count > 1) snprintf(what, sizeof what, "string %" PRIu64 " of %" PRIu64, i, count);
			c->pos = (uint64_t)(p - c->data);
			bt_cursor_str(c, what);
			return NULL;
		}
		if (out) out[i] = (struct bt_str){(const char *)p + 8, (size_t)len};
		p += 8 + len;
		left -= 8 + len;
	}
	c->pos = (uint64_t)(p - c->data);
	s->used += count;
	return out;
}

static void read_array(struct bt_cursor *c, struct bt_gguf_kv *kv, struct strings *strings)
{
	uint64_t at = c->pos;
	kv->elem_type = bt_cursor_u32(c, "the type of its elements");
	kv->count = bt_cursor_u64(c, "the length of its array");
	if (c->status) return;
	size_t bytes = bt_gguf_type_bytes(kv->elem_type);
	bool is_strings = kv->elem_type == BT_GGUF_STRING;
	if (kv->elem_type == BT_GGUF_ARRAY) { /* the specification allows them, no published key uses them */
		bt_cursor_fail(c, BATON_ERR_UNSUPPORTED, at, "an array of arrays is not supported");
	} else if (!bytes && !is_strings) {
		bt_cursor_fail(c, BATON_ERR_FORMAT, at, "its array has elements of unknown type %u",
		               (unsigned)kv->elem_type);
	} else if (kv->count > (c->size - c->pos) / (is_strings ? 8 : bytes)) {
		bt_cursor_fail(c, BATON_ERR_FORMAT, at,
		               "its array of %" PRIu64
		               " values (%s) goes past the end of the file: truncated or corrupt",
		               kv->count, bt_gguf_type_name(kv->elem_type));
	}
	kv->value = c->data + c->pos;
	if (is_strings) kv->strings = read_strings(c, kv->count, strings);
	else if (!c->status) bt_cursor_take(c, kv->count * bytes, "its array");
}

/* Key i. */
static void read_kv(struct bt_cursor *c, uint64_t i, struct bt_gguf_kv *kv, struct strings *strings)
{
	c->item = "key";
	c->index = i;
	c->name = (struct bt_str){NULL, 0};
	*kv = (struct bt_gguf_kv){.offset = c->pos, .count = 1};
	kv->key = bt_cursor_str(c, "its name");
	if (!kv->key.len) bt_cursor_fail(c, BATON_ERR_FORMAT, kv->offset, "its name is empty");
	else if (kv->key.len > BT_LIMIT_GGUF_KEY_NAME)
		bt_cursor_fail(c, BATON_ERR_LIMIT, kv->offset, "its name has %zu bytes; the limit is %d", kv->key.len,
		               BT_LIMIT_GGUF_KEY_NAME);
	c->name = kv->key;
	uint64_t at = c->pos;
	kv->type = bt_cursor_u32(c, "its type");
	if (c->status) return;
	kv->value = c->data + c->pos;
	size_t bytes = bt_gguf_type_bytes(kv->type);
	if (kv->type == BT_GGUF_ARRAY) {
		read_array(c, kv, strings);
	} else if (kv->type == BT_GGUF_STRING) {
		kv->value += 8;
		kv->strings = read_strings(c, 1, strings);
	} else if (!bytes) {
		bt_cursor_fail(c, BATON_ERR_FORMAT, at, "its value has unknown type %u", (unsigned)kv->type);
	} else {
		bt_cursor_take(c, bytes, "its value");
	}
}

/* The keys that the container itself needs. */
static void note_kv(struct bt_cursor *c, struct bt_directory *d, const struct bt_gguf_kv *kv)
{
	if (c->status) return;
	uint64_t at = (uint64_t)(kv->value - c->data);
	if (bt_str_eq(kv->key, "general.alignment")) {
		if (kv->type != BT_GGUF_U32) {
			bt_cursor_fail(c, BATON_ERR_FORMAT, at, "it must be a u32, not %s",
			               bt_gguf_type_name(kv->type));
			return;
		}
		d->alignment = bt_le32(kv->value);
		if (d->alignment < 8 || d->alignment & (d->alignment - 1))
			bt_cursor_fail(c, BATON_ERR_FORMAT, at,
			               "the alignment is %u; it must be a power of two, 8 or more", d->alignment);
		return;
	}
	uint64_t *field = NULL;
	if (bt_str_eq(kv->key, "split.no")) field = &d->split_no;
	else if (bt_str_eq(kv->key, "split.count")) field = &d->split_count;
	else if (bt_str_eq(kv->key, "split.tensors.count")) field = &d->split_tensors;
	if (!field) return;
	if (!bt_gguf_is_int(kv->type) || bt_gguf_int_at(kv, 0) < 0) {
		bt_cursor_fail(c, BATON_ERR_FORMAT, at, "it must be a number that is not negative");
		return;
	}
	*field = (uint64_t)bt_gguf_int_at(kv, 0);
	if (field == &d->split_count) d->has_split = true;
}

/* Tensor types that ggml once had; from the comments of its enum ggml_type. */
static const struct {
	uint32_t id;
	const char *name;
} removed_types[] = {
	{4, "Q4_2"},      {5, "Q4_3"},        {31, "Q4_0_4_4"},   {32, "Q4_0_4_8"},
	{33, "Q4_0_8_8"}, {36, "IQ4_NL_4_4"}, {37, "IQ4_NL_4_8"}, {38, "IQ4_NL_8_8"},
};

static const struct bt_type *read_type(struct bt_cursor *c)
{
	uint64_t at = c->pos;
	uint32_t id = bt_cursor_u32(c, "its type");
	if (c->status) return NULL;
	const struct bt_type *type = bt_type_get(id);
	if (type) return type;
	for (size_t i = 0; i < sizeof removed_types / sizeof *removed_types; i++)
		if (removed_types[i].id == id) {
			bt_cursor_fail(c, BATON_ERR_UNSUPPORTED, at,
			               "its type %u (%s) was removed from the format; make the file again from the "
			               "original model",
			               id, removed_types[i].name);
			return NULL;
		}
	bt_cursor_fail(c, BATON_ERR_UNSUPPORTED, at, "its type %u is unknown; supported are %s", id, bt_type_list());
	return NULL;
}

/* Sizes from dimensions and type, without overflow. at: of the dimensions. */
static void measure_tensor(struct bt_cursor *c, struct bt_tensor *t, uint64_t at)
{
	if (c->status) return;
	t->n_rows = 1;
	bool fits = true;
	for (uint32_t i = 0; i < t->n_dims; i++) {
		if (!t->dim[i]) {
			bt_cursor_fail(c, BATON_ERR_FORMAT, at + 8 * i, "its dimension %u is 0", i);
			return;
		}
		if (i) fits = fits && !__builtin_mul_overflow(t->n_rows, t->dim[i], &t->n_rows);
	}
	if (t->dim[0] % t->type->block) {
		bt_cursor_fail(c, BATON_ERR_FORMAT, at,
		               "its rows of %" PRIu64 " values are no multiple of the %u in a block of %s", t->dim[0],
		               t->type->block, t->type->name);
		return;
	}
	fits = fits && !__builtin_mul_overflow(t->dim[0] / t->type->block, (uint64_t)t->type->bytes, &t->row_bytes) &&
	       !__builtin_mul_overflow(t->row_bytes, t->n_rows, &t->size);
	t->matrix_bytes = fits ? t->row_bytes * t->dim[1] : 0;
	if (!fits)
		bt_cursor_fail(c, BATON_ERR_FORMAT, at,
		               "its size overflows: %" PRIu64 " x %" PRIu64 " x %" PRIu64 " x %" PRIu64 " values of %s",
		               t->dim[0], t->dim[1], t->dim[2], t->dim[3], t->type->name);
}

/* From an offset in the data section to one in the file. at: of the offset. */
static void place_tensor(struct bt_cursor *c, const struct bt_directory *d, struct bt_tensor *t, uint64_t at)
{
	if (c->status) return;
	if (t->offset % d->alignment)
		bt_cursor_fail(c, BATON_ERR_FORMAT, at, "its offset %" PRIu64 " is no multiple of the alignment, %u",
		               t->offset, d->alignment);
	else if (d->data_start > d->file_size || t->offset > d->file_size - d->data_start ||
	         t->size > d->file_size - d->data_start - t->offset)
		bt_cursor_fail(c, BATON_ERR_FORMAT, at,
		               "its %" PRIu64 " bytes of data at offset %" PRIu64
		               " end past the end of the file, which has %" PRIu64 " bytes: truncated or corrupt",
		               t->size, t->offset, d->file_size);
	t->offset += d->data_start;
}

/* Tensor i. d->data_start is 0 while it is not known: then the place of the data is not looked at. */
static void read_tensor(struct bt_cursor *c, const struct bt_directory *d, uint64_t i, struct bt_tensor *t)
{
	c->item = "tensor";
	c->index = i;
	c->name = (struct bt_str){NULL, 0};
	*t = (struct bt_tensor){.dim = {1, 1, 1, 1}};
	uint64_t at = c->pos;
	t->name = bt_cursor_str(c, "its name");
	if (!t->name.len)
		bt_cursor_fail(c, BATON_ERR_FORMAT, at,
		               "its name is empty; the tensor count, %" PRIu64 ", may be wrong", d->n_tensors);
	c->name = t->name;
	if (t->name.len > BT_LIMIT_GGUF_NAME)
		bt_cursor_fail(c, BATON_ERR_LIMIT, at, "its name has %zu bytes; the limit is %d", t->name.len,
		               BT_LIMIT_GGUF_NAME);
	at = c->pos;
	t->n_dims = bt_cursor_u32(c, "its number of dimensions");
	if (t->n_dims > 4)
		bt_cursor_fail(c, BATON_ERR_FORMAT, at, "it has %u dimensions; at most 4 are allowed", t->n_dims);
	at = c->pos;
	for (uint32_t k = 0; k < t->n_dims && !c->status; k++) t->dim[k] = bt_cursor_u64(c, "its dimension");
	t->type = read_type(c);
	measure_tensor(c, t, at);
	at = c->pos;
	t->offset = bt_cursor_u64(c, "its offset");
	if (d->data_start) place_tensor(c, d, t, at);
}

static struct bt_cursor cursor_over(const struct bt_gguf_file *f, const unsigned char *bytes, uint64_t size,
                                    struct baton_error *err)
{
	return (struct bt_cursor){.data = bytes, .size = size, .file = f->path, .err = err};
}

enum baton_status bt_directory_scan(struct bt_gguf_file *f, struct baton_error *err)
{
	struct bt_cursor c = cursor_over(f, f->data, f->size, err);
	struct bt_directory *d = &f->dir;
	*d = (struct bt_directory){.alignment = DEFAULT_ALIGNMENT, .file_size = f->size};
	read_header(&c, d);
	struct bt_gguf_kv kv;
	struct strings strings = {0};
	for (uint64_t i = 0; i < d->n_kv && !c.status; i++) {
		read_kv(&c, i, &kv, &strings);
		note_kv(&c, d, &kv);
	}
	d->n_strings = strings.used;
	/* The data section begins behind the last description: walk them once for its place, once more to check theirs. */
	struct bt_tensor t;
	d->tensors_start = c.pos;
	for (uint64_t i = 0; i < d->n_tensors && !c.status; i++) read_tensor(&c, d, i, &t);
	if (c.status) return c.status;
	d->data_start = d->data_end = (c.pos + d->alignment - 1) & ~((uint64_t)d->alignment - 1);
	c.pos = d->tensors_start;
	for (uint64_t i = 0; i < d->n_tensors && !c.status; i++) {
		read_tensor(&c, d, i, &t);
		if (t.offset + t.size > d->data_end) d->data_end = t.offset + t.size;
	}
	return c.status;
}

enum baton_status bt_directory_fill(const struct bt_gguf_file *f, const unsigned char *bytes, uint32_t file,
                                    struct bt_gguf_kv *kv, struct bt_str *strings, struct bt_tensor *tensors,
                                    struct baton_error *err)
{
	const struct bt_directory *d = &f->dir;
	/* Everything is checked again: a copy may show a file that has changed since the scan. */
	struct bt_cursor c = cursor_over(f, bytes, bt_directory_bytes(d), err);
	struct bt_directory again = {0};
	read_header(&c, &again);
	if (!c.status && (again.n_kv != d->n_kv || again.n_tensors != d->n_tensors))
		bt_cursor_fail(&c, BATON_ERR_IO, 0, "the file changed while it was read");
	struct strings s = {.out = strings, .room = d->n_strings};
	for (uint64_t i = 0; kv && i < d->n_kv && !c.status; i++) read_kv(&c, i, &kv[i], &s);
	c.pos = d->tensors_start;
	for (uint64_t i = 0; i < d->n_tensors && !c.status; i++) {
		read_tensor(&c, d, i, &tensors[i]);
		tensors[i].file = file;
	}
	return c.status;
}
