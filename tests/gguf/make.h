/* make.h: GGUF files byte by byte, for tests: independent of the library's writer, and as wrong as a test wants. */
#ifndef TEST_MAKE_H
#define TEST_MAKE_H

#include "base/buf.h"
#include "gguf/gguf.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

static inline void put(struct bt_buf *b, uint64_t v, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) bt_buf_addc(b, (char)(v >> 8 * i));
}

static inline void put_str(struct bt_buf *b, const char *s)
{
	put(b, strlen(s), 8);
	bt_buf_adds(b, s);
}

static inline void put_header(struct bt_buf *b, uint32_t version, uint64_t n_tensors, uint64_t n_kv)
{
	bt_buf_init(b, BT_MEM_STAGING, SIZE_MAX / 4);
	bt_buf_adds(b, "GGUF");
	put(b, version, 4);
	put(b, n_tensors, 8);
	put(b, n_kv, 8);
}

/* A key whose value has `bytes` bytes of little-endian v. */
static inline void put_kv(struct bt_buf *b, const char *key, enum bt_gguf_type type, uint64_t v, size_t bytes)
{
	put_str(b, key);
	put(b, type, 4);
	put(b, v, bytes);
}

static inline void put_kv_str(struct bt_buf *b, const char *key, const char *value)
{
	put_str(b, key);
	put(b, BT_GGUF_STRING, 4);
	put_str(b, value);
}

/* The head of an array; its elements follow. */
static inline void put_kv_array(struct bt_buf *b, const char *key, enum bt_gguf_type elem, uint64_t count)
{
	put_str(b, key);
	put(b, BT_GGUF_ARRAY, 4);
	put(b, elem, 4);
	put(b, count, 8);
}

static inline void put_tensor(struct bt_buf *b, const char *name, uint64_t dim0, uint64_t dim1, uint32_t type,
                              uint64_t offset)
{
	put_str(b, name);
	put(b, 2, 4);
	put(b, dim0, 8);
	put(b, dim1, 8);
	put(b, type, 4);
	put(b, offset, 8);
}

static inline void pad(struct bt_buf *b, size_t alignment)
{
	while (b->len % alignment) bt_buf_addc(b, 0);
}

static inline void put_floats(struct bt_buf *b, size_t n, float first)
{
	for (size_t i = 0; i < n; i++) {
		float f = first + (float)i;
		bt_buf_add(b, &f, sizeof f);
	}
}

static inline void write_file(const char *path, const void *data, size_t size)
{
	FILE *f = fopen(path, "wb");
	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, size, f), size);
	assert_int_equal(fclose(f), 0);
}

/* All bytes of a file; free() them. */
static inline unsigned char *read_file(const char *path, size_t *size)
{
	FILE *f = fopen(path, "rb");
	if (!f) fail_msg("%s is missing", path);
	fseek(f, 0, SEEK_END);
	*size = (size_t)ftell(f);
	rewind(f);
	unsigned char *p = malloc(*size + 1);
	assert_non_null(p);
	assert_int_equal(fread(p, 1, *size, f), *size);
	fclose(f);
	return p;
}

static inline const char *data_path(char *buf, size_t size, const char *name)
{
	const char *dir = getenv("BATON_TEST_DATA");
	assert_non_null(dir);
	snprintf(buf, size, "%s/%s", dir, name);
	return buf;
}

static inline size_t live_blocks(void)
{
	struct bt_mem_stats s;
	bt_mem_get_stats(&s);
	return s.blocks;
}

#endif
