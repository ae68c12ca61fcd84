#include "base/buf.h"

#include <stdio.h>
#include <string.h>

void bt_buf_init(struct bt_buf *b, enum bt_mem_cat cat, size_t limit)
{
	*b = (struct bt_buf){.cat = cat, .limit = limit};
}

/* Make room for len more bytes and the NUL; false (and sticky) when that can't be. */
static bool reserve(struct bt_buf *b, size_t len)
{
	if (b->status) return false;
	if (len > b->limit || b->len > b->limit - len) {
		b->status = BATON_ERR_LIMIT;
		return false;
	}
	size_t need = b->len + len + 1;
	if (need <= b->cap) return true;
	size_t cap = b->cap ? b->cap : 64;
	while (cap < need) cap *= 2;
	char *p = bt_mem_realloc(b->cat, b->data, cap);
	if (!p) {
		b->status = BATON_ERR_NOMEM;
		return false;
	}
	b->data = p;
	b->cap = cap;
	return true;
}

void bt_buf_add(struct bt_buf *b, const void *data, size_t len)
{
	if (!reserve(b, len)) return;
	if (len) memcpy(b->data + b->len, data, len);
	b->len += len;
	b->data[b->len] = 0;
}

void bt_buf_adds(struct bt_buf *b, const char *s)
{
	bt_buf_add(b, s, strlen(s));
}

void bt_buf_addc(struct bt_buf *b, char c)
{
	bt_buf_add(b, &c, 1);
}

void bt_buf_addf(struct bt_buf *b, const char *fmt, ...)
{
	va_list ap, again;
	va_start(ap, fmt);
	va_copy(again, ap);
	int n = vsnprintf(NULL, 0, fmt, ap);
	if (n >= 0 && reserve(b, (size_t)n)) {
		vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
		b->len += (size_t)n;
	}
	va_end(again);
	va_end(ap);
}

void bt_buf_add_codepoint(struct bt_buf *b, uint32_t cp)
{
	if (cp > 0x10FFFF || (cp >= 0xD800 && cp < 0xE000)) cp = 0xFFFD;
	char s[4];
	size_t n;
	if (cp < 0x80) {
		s[0] = (char)cp;
		n = 1;
	} else if (cp < 0x800) {
		s[0] = (char)(0xC0 | cp >> 6);
		s[1] = (char)(0x80 | (cp & 63));
		n = 2;
	} else if (cp < 0x10000) {
		s[0] = (char)(0xE0 | cp >> 12);
		s[1] = (char)(0x80 | (cp >> 6 & 63));
		s[2] = (char)(0x80 | (cp & 63));
		n = 3;
	} else {
		s[0] = (char)(0xF0 | cp >> 18);
		s[1] = (char)(0x80 | (cp >> 12 & 63));
		s[2] = (char)(0x80 | (cp >> 6 & 63));
		s[3] = (char)(0x80 | (cp & 63));
		n = 4;
	}
	bt_buf_add(b, s, n);
}

void bt_buf_clear(struct bt_buf *b)
{
	b->len = 0;
	b->status = BATON_OK;
	if (b->data) b->data[0] = 0;
}

void bt_buf_free(struct bt_buf *b)
{
	bt_mem_free(b->data);
	b->data = NULL;
	b->len = b->cap = 0;
}

const char *bt_buf_str(const struct bt_buf *b)
{
	return b->data ? b->data : "";
}

enum baton_status bt_buf_check(const struct bt_buf *b, struct baton_error *err, const char *what)
{
	if (b->status == BATON_ERR_LIMIT)
		return bt_fail(err, BATON_ERR_LIMIT, "%s is longer than the limit of %zu bytes", what, b->limit);
	if (b->status) return bt_fail_nomem(err, b->len, what);
	return BATON_OK;
}
