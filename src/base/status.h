/* status.h: filling a struct baton_error. */
#ifndef BT_BASE_STATUS_H
#define BT_BASE_STATUS_H

#include "baton.h"

#include <stdarg.h>

/* Store status and the formatted sentence in err (which may be NULL) and return status, so that callers can write
 * `return bt_fail(err, BATON_ERR_IO, "%s: %s", path, strerror(errno));`. The sentence is cut, never overrun. */
enum baton_status bt_fail(struct baton_error *err, enum baton_status status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

enum baton_status bt_vfail(struct baton_error *err, enum baton_status status, const char *fmt, va_list ap)
	__attribute__((format(printf, 3, 0)));

/* Put "prefix: " in front of the sentence already in err (a file's name, say) and return its status. */
enum baton_status bt_fail_prefix(struct baton_error *err, const char *prefix);

/* The usual sentence for a failed allocation of size bytes for `what`. */
enum baton_status bt_fail_nomem(struct baton_error *err, size_t size, const char *what);

/* Tells the static analyser what it cannot see across files: none of them returns BATON_OK. */
#if defined __clang_analyzer__ && !defined BT_STATUS_C
#define bt_fail(err, status, ...)   (bt_fail(err, status, __VA_ARGS__), (status))
#define bt_fail_prefix(err, text)   (bt_fail_prefix(err, text), BATON_ERR_ARG)
#define bt_fail_nomem(err, n, what) (bt_fail_nomem(err, n, what), BATON_ERR_NOMEM)
#endif

#endif
