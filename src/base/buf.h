/* buf.h: a growable byte string with a mandatory ceiling.
 *
 * Errors are sticky: after a failed append (no memory, or past the ceiling) every later append does nothing, and the
 * one check at the end sees it. data is always NUL-terminated once anything was appended.
 */
#ifndef BT_BASE_BUF_H
#define BT_BASE_BUF_H

#include "base/mem.h"
#include "base/status.h"

struct bt_buf {
	char *data;
	size_t len, cap, limit;
	enum baton_status status; /* BATON_OK, BATON_ERR_NOMEM or BATON_ERR_LIMIT */
	enum bt_mem_cat cat;
};

/* limit: the most bytes it may ever hold (a name from base/limits.h). */
void bt_buf_init(struct bt_buf *b, enum bt_mem_cat cat, size_t limit);
void bt_buf_add(struct bt_buf *b, const void *data, size_t len);
void bt_buf_adds(struct bt_buf *b, const char *s);
void bt_buf_addc(struct bt_buf *b, char c);
void bt_buf_addf(struct bt_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The UTF-8 form of a code point (U+FFFD for what is none). */
void bt_buf_add_codepoint(struct bt_buf *b, uint32_t cp);
/* Forget the contents and the error, keep the memory. */
void bt_buf_clear(struct bt_buf *b);
void bt_buf_free(struct bt_buf *b);
/* "" instead of NULL. */
const char *bt_buf_str(const struct bt_buf *b);
/* The sticky error as a sentence about `what`, or BATON_OK. */
enum baton_status bt_buf_check(const struct bt_buf *b, struct baton_error *err, const char *what);

#endif
