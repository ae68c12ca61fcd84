/* available.c: how much memory this process may still fill without others being swapped out or somebody being killed.
 *
 * Sources: Linux Documentation/filesystems/proc.rst (MemAvailable), admin-guide/cgroup-v2.rst (memory.max,
 * memory.current, memory.stat), admin-guide/cgroup-v1/memory.rst.
 */
#include "base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The number behind `key` at the beginning of a line of dir/name, or (key "") the file's only number. */
static bool read_number(const char *dir, const char *name, const char *key, uint64_t *out)
{
	char path[512], line[256];
	snprintf(path, sizeof path, "%s/%s", dir, name);
	FILE *f = fopen(path, "r");
	if (!f) return false;
	bool ok = false;
	size_t n = strlen(key);
	while (!ok && fgets(line, sizeof line, f))
		ok = !strncmp(line, key, n) && sscanf(line + n, "%" SCNu64, out) == 1; /* "max" is no number */
	fclose(f);
	return ok;
}

/* What a control group has left: cached pages of files count as used there, but give way. */
static uint64_t group_left(const char *dir, const char *limit, const char *usage, const char *cache)
{
	uint64_t max, used, files;
	if (!read_number(dir, limit, "", &max) || !read_number(dir, usage, "", &used)) return UINT64_MAX;
	if (!read_number(dir, "memory.stat", cache, &files)) files = 0;
	used = used > files ? used - files : 0;
	return max > used ? max - used : 0;
}

uint64_t bt_mem_available_in(const char *proc, const char *cgroup)
{
	uint64_t kib, left;
	uint64_t bytes = read_number(proc, "meminfo", "MemAvailable:", &kib) && kib <= UINT64_MAX / 1024 ? kib * 1024
	                                                                                                 : UINT64_MAX;
	left = group_left(cgroup, "memory.max", "memory.current", "file ");
	if (left < bytes) bytes = left;
	char v1[512];
	snprintf(v1, sizeof v1, "%s/memory", cgroup);
	left = group_left(v1, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_cache ");
	return left < bytes ? left : bytes;
}

uint64_t bt_mem_available(void)
{
	return bt_mem_available_in("/proc", "/sys/fs/cgroup");
}
