/* Tests of asking ahead, and of what memory is said to be available. */
#include "base/ahead.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];

/* Pages of p[n] that are in memory; p at the beginning of a page. */
static size_t resident(const char *p, size_t n)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), pages = (n + page - 1) / page, in = 0;
	unsigned char *map = malloc(pages);
	assert_non_null(map);
	assert_int_equal(mincore((void *)(uintptr_t)p, n, map), 0); /* NOLINT: an address */
	for (size_t i = 0; i < pages; i++) in += map[i] & 1;
	free(map);
	return in;
}

/* Asks for two pieces in the middle of a file that is nowhere in memory (all holes: nothing has to be waited for). */
static void what_is_asked_for_comes_and_nothing_else(void **state)
{
	(void)state;
	char path[128];
	size_t page = (size_t)sysconf(_SC_PAGESIZE), size = (size_t)64 << 20, at = (size_t)20 << 20,
	       n = (size_t)1 << 20;
	snprintf(path, sizeof path, "%s/holes", folder);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	char *p = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	assert_int_equal(resident(p, size), 0);
	madvise(p, page, MADV_WILLNEED);
	bool heeded = resident(p, size) > 0; /* not by an emulator, nor where files live in memory */
	/* Both ends within a page: three quarters of a piece more than a mebibyte, and one byte. */
	bt_ahead_ask(p + at + 100, n + 3 * page);
	bt_ahead_ask(p + 2 * at, 1);
	bt_ahead_ask(p, 0);
	if (heeded) {
		assert_int_equal(resident(p + at, n + 4 * page), (n + 4 * page) / page);
		assert_int_equal(resident(p + 2 * at, page), 1);
		assert_int_equal(resident(p, size), 1 + (n + 4 * page) / page + 1);
	}
	/* Memory that is no file's stays as it is. */
	char *anonymous = bt_mem_pages(BT_MEM_HOST, n);
	assert_non_null(anonymous);
	anonymous[5] = 7;
	bt_ahead_ask(anonymous, n);
	assert_int_equal(anonymous[5], 7);
	assert_int_equal(resident(anonymous, n), 1);
	bt_mem_free_pages(BT_MEM_HOST, anonymous, n);
	munmap(p, size);
	close(fd);
	unlink(path);
	if (!heeded) skip();
}

static void asking_ends_when_nothing_is_read_and_begins_again(void **state)
{
	(void)state;
	struct bt_ahead a = {0};
	bt_ahead_step(&a);
	assert_true(a.cold);
	bt_ahead_step(&a);
	assert_false(a.cold);
	/* A page that is not in memory costs a wait, which is counted. */
	char path[128];
	snprintf(path, sizeof path, "%s/cold", folder);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	char *p = mmap(NULL, 1 << 20, PROT_READ, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	assert_int_equal(*(volatile char *)p, 0);
	bt_ahead_step(&a);
	assert_true(a.cold);
	assert_int_equal(*(volatile char *)p, 0);
	bt_ahead_step(&a);
	assert_false(a.cold);
	munmap(p, 1 << 20);
	close(fd);
	unlink(path);
}

static void put(const char *name, const char *text)
{
	char path[256];
	snprintf(path, sizeof path, "%s/%s", folder, name);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void the_smallest_limit_on_memory_counts(void **state)
{
	(void)state;
	char none[128], memory[128];
	snprintf(none, sizeof none, "%s/none", folder);
	snprintf(memory, sizeof memory, "%s/memory", folder);
	assert_int_equal(mkdir(memory, 0700), 0);
	assert_true(bt_mem_available() > 0);
	assert_true(bt_mem_available_in(none, none) == UINT64_MAX);
	put("meminfo", "MemTotal:       24684096 kB\nMemFree:  1000 kB\nMemAvailable:    2000 kB\n");
	assert_int_equal(bt_mem_available_in(folder, none), 2048000);
	/* A control group, version 2: without a limit, with one; files in the cache give way. */
	put("memory.max", "max\n");
	put("memory.current", "900000\n");
	assert_int_equal(bt_mem_available_in(folder, folder), 2048000);
	put("memory.max", "1000000\n");
	assert_int_equal(bt_mem_available_in(folder, folder), 100000);
	put("memory.stat", "anon 500000\nfile 400000\n");
	assert_int_equal(bt_mem_available_in(folder, folder), 500000);
	put("memory.max", "300000\n");
	assert_int_equal(bt_mem_available_in(folder, folder), 0);
	put("memory.max", "max\n");
	/* Version 1. */
	put("memory/memory.limit_in_bytes", "70000\n");
	put("memory/memory.usage_in_bytes", "50000\n");
	put("memory/memory.stat", "cache 1\ntotal_cache 10000\n");
	assert_int_equal(bt_mem_available_in(folder, folder), 30000);
}

int main(void)
{
	strcpy(folder, "/tmp/test_ahead.XXXXXX");
	if (!mkdtemp(folder)) return 1;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_asked_for_comes_and_nothing_else),
		cmocka_unit_test(asking_ends_when_nothing_is_read_and_begins_again),
		cmocka_unit_test(the_smallest_limit_on_memory_counts),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	char command[128];
	snprintf(command, sizeof command, "rm -rf %s", folder);
	return system(command) ? 1 : failed;
}
