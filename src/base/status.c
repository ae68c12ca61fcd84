#define BT_STATUS_C
#include "base/status.h"

#include <stdio.h>
#include <string.h>

const char *baton_status_text(enum baton_status status)
{
	static const char *const text[] = {
		[BATON_OK] = "success",
		[BATON_ERR_ARG] = "bad argument",
		[BATON_ERR_NOMEM] = "out of memory",
		[BATON_ERR_IO] = "input or output failed",
		[BATON_ERR_FORMAT] = "malformed data",
		[BATON_ERR_UNSUPPORTED] = "not supported",
		[BATON_ERR_LIMIT] = "limit exceeded",
		[BATON_ERR_DEVICE] = "device failure",
		[BATON_ERR_CANCELLED] = "cancelled",
		[BATON_ERR_TEMPLATE] = "template error",
	};
	size_t i = (size_t)status;
	return i < sizeof text / sizeof *text && text[i] ? text[i] : "unknown status";
}

enum baton_status bt_vfail(struct baton_error *err, enum baton_status status, const char *fmt, va_list ap)
{
	if (err) {
		err->status = status;
		if (vsnprintf(err->text, sizeof err->text, fmt, ap) < 0) err->text[0] = 0;
	}
	return status;
}

enum baton_status bt_fail(struct baton_error *err, enum baton_status status, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	bt_vfail(err, status, fmt, ap);
	va_end(ap);
	return status;
}

enum baton_status bt_fail_prefix(struct baton_error *err, const char *prefix)
{
	if (!err) return BATON_ERR_ARG;
	char copy[sizeof err->text];
	memcpy(copy, err->text, sizeof copy);
	/* Both parts are cut to fit: the end of a very long path is worth less than the reason. */
	if (snprintf(err->text, sizeof err->text, "%.200s: %.300s", prefix, copy) < 0) err->text[0] = 0;
	return err->status;
}

enum baton_status bt_fail_nomem(struct baton_error *err, size_t size, const char *what)
{
	return bt_fail(err, BATON_ERR_NOMEM, "cannot allocate %.1f MiB for %s: out of memory", (double)size / 1048576.0,
	               what);
}
