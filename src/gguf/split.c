/* split.c: the names of a model's parts, PREFIX-00001-of-00003.gguf (llama.cpp's gguf-split). */
#include "gguf/internal.h"

#include <inttypes.h>
#include <stdio.h>

#define SUFFIX_LEN (sizeof "-00001-of-00003.gguf" - 1)

enum baton_status bt_split_path(const char *path, uint64_t no, uint64_t count, char **out, struct baton_error *err)
{
	char want[64], part[64];
	size_t len = strlen(path);
	const char *end = path + (len < SUFFIX_LEN ? 0 : len - SUFFIX_LEN);
	snprintf(want, sizeof want, "-of-%05" PRIu64 ".gguf", count);
	bool ok = len >= SUFFIX_LEN && *end == '-' && strlen(want) == SUFFIX_LEN - 6 && !strcmp(end + 6, want);
	for (int i = 1; ok && i <= 5; i++) ok = end[i] >= '0' && end[i] <= '9';
	*out = NULL;
	if (!ok)
		return bt_fail(err, BATON_ERR_FORMAT,
		               "%.200s: is one part of a model in %" PRIu64
		               " files, but its name does not end in -NNNNN%s, so the "
		               "others cannot be found; give it its original name",
		               path, count, want);
	snprintf(part, sizeof part, "-%05" PRIu64 "%s", no + 1, want);
	*out = bt_mem_strdup(BT_MEM_HOST, path);
	if (!*out) return bt_fail_nomem(err, len + 1, "a file name");
	memcpy(*out + (end - path), part, SUFFIX_LEN);
	return BATON_OK;
}
