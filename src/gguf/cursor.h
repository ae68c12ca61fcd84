/* cursor.h: reading little-endian numbers from bytes that nobody has checked yet.
 *
 * The first error is kept, with its sentence and byte offset; every later read gives 0 or NULL and does nothing, so the
 * callers check once, at the end or where a value decides how to go on.
 */
#ifndef BT_GGUF_CURSOR_H
#define BT_GGUF_CURSOR_H

#include "gguf/gguf.h"

struct bt_cursor {
	const unsigned char *data;
	uint64_t size, pos;
	enum baton_status status;
	struct baton_error *err;
	/* What is being read, for the sentence. */
	const char *file;
	const char *item; /* "key", "tensor"; NULL: the header */
	uint64_t index;   /* its number, counted from 0 */
	struct bt_str name;
};

/* Keep the first error: "FILE: ITEM INDEX 'NAME': message (at byte AT)". */
void bt_cursor_fail(struct bt_cursor *c, enum baton_status status, uint64_t at, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* Step over n bytes; where they begin, or NULL when there are fewer left. what: "its value". */
const unsigned char *bt_cursor_take(struct bt_cursor *c, uint64_t n, const char *what);
uint32_t bt_cursor_u32(struct bt_cursor *c, const char *what);
uint64_t bt_cursor_u64(struct bt_cursor *c, const char *what);
/* A string: u64 length, then that many bytes. */
struct bt_str bt_cursor_str(struct bt_cursor *c, const char *what);

/* The same without a cursor, for bytes known to be there; p need not be aligned. */
static inline uint16_t bt_le16(const unsigned char *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t bt_le32(const unsigned char *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t bt_le64(const unsigned char *p)
{
	return bt_le32(p) | (uint64_t)bt_le32(p + 4) << 32;
}

#endif
