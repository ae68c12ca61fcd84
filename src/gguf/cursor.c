#include "gguf/cursor.h"

#include <inttypes.h>
#include <stdio.h>

void bt_cursor_fail(struct bt_cursor *c, enum baton_status status, uint64_t at, const char *fmt, ...)
{
	if (c->status) return;
	c->status = status;
	char where[160] = "", name[96], what[300];
	if (c->item && c->name.len)
		snprintf(where, sizeof where, "%s %" PRIu64 " '%s': ", c->item, c->index,
		         bt_str_show(c->name, name, sizeof name));
	else if (c->item) snprintf(where, sizeof where, "%s %" PRIu64 ": ", c->item, c->index);
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(what, sizeof what, fmt, ap);
	va_end(ap);
	bt_fail(c->err, status, "%.200s: %s%s (at byte %" PRIu64 ")", c->file, where, what, at);
}

const unsigned char *bt_cursor_take(struct bt_cursor *c, uint64_t n, const char *what)
{
	if (c->status) return NULL;
	if (n > c->size - c->pos) {
		bt_cursor_fail(c, BATON_ERR_FORMAT, c->pos,
		               "%s takes %" PRIu64 " bytes, but the file has only %" PRIu64
		               " more: truncated or corrupt",
		               what, n, c->size - c->pos);
		return NULL;
	}
	const unsigned char *p = c->data + c->pos;
	c->pos += n;
	return p;
}

uint32_t bt_cursor_u32(struct bt_cursor *c, const char *what)
{
	const unsigned char *p = bt_cursor_take(c, 4, what);
	return p ? bt_le32(p) : 0;
}

uint64_t bt_cursor_u64(struct bt_cursor *c, const char *what)
{
	const unsigned char *p = bt_cursor_take(c, 8, what);
	return p ? bt_le64(p) : 0;
}

struct bt_str bt_cursor_str(struct bt_cursor *c, const char *what)
{
	uint64_t len = bt_cursor_u64(c, what);
	const unsigned char *p = bt_cursor_take(c, len, what);
	return p ? (struct bt_str){(const char *)p, (size_t)len} : (struct bt_str){NULL, 0};
}
