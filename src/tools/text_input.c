#include "tools/text_input.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum baton_status bt_text_read(const char *path, struct bt_buf *b, struct baton_error *err)
{
	bool standard = !strcmp(path, "-");
	const char *name = standard ? "standard input" : path;
	FILE *f = standard ? stdin : fopen(path, "re");
	char block[65536];
	if (!f) return bt_fail(err, BATON_ERR_IO, "cannot read %.300s: %s", name, strerror(errno));
	for (size_t n; (n = fread(block, 1, sizeof block, f)) > 0 && !b->status;) bt_buf_add(b, block, n);
	enum baton_status st = bt_buf_check(b, err, name);
	if (!st && ferror(f)) st = bt_fail(err, BATON_ERR_IO, "cannot read %.300s: %s", name, strerror(errno));
	if (!standard) fclose(f);
	return st;
}
