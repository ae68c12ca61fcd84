/* Compiled kernels on disk: used when they are sound, ignored and replaced when they are not, no trouble when there is no
 * place for them. On the first Vulkan device (exit status 77 where there is none). */
#include "backend/gpu/vulkan/vk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <dirent.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];

static struct bt_gpu *open_gpu(const char *dir)
{
	struct bt_device_params params = {.cache_dir = dir, .n_threads = 2};
	struct baton_error err = {0};
	struct bt_gpu *gpu;
	if (bt_vk_driver.open(0, &params, &gpu, &err)) fail_msg("%s", err.text);
	return gpu;
}

/* Open, compile a few kernels, keep, close. Was a file of before used? */
static bool use(const char *dir)
{
	struct bt_gpu *gpu = open_gpu(dir);
	struct baton_error err = {0};
	bool wanted[BT_GPU_KERNELS] = {[BT_GPU_K_gather] = true, [BT_GPU_K_rope] = true, [BT_GPU_K_quantize] = true};
	bool loaded = ((struct bt_vk *)gpu)->cache_loaded;
	if (bt_vk_driver.prepare(gpu, wanted, &err)) fail_msg("%s", err.text);
	for (uint32_t k = 0; k < BT_GPU_KERNELS; k++)
		assert_int_equal(wanted[k], ((struct bt_vk *)gpu)->pipeline[k] != VK_NULL_HANDLE);
	bt_vk_driver.keep(gpu);
	bt_vk_driver.close(gpu);
	return loaded;
}

/* The one file in the folder: nothing else may lie there, no part of one either. */
static void only_file(char *path, size_t size)
{
	DIR *d = opendir(folder);
	assert_non_null(d);
	int n = 0;
	for (struct dirent *e; (e = readdir(d));) {
		if (e->d_name[0] == '.') continue;
		assert_int_equal(strncmp(e->d_name, "vulkan-", 7), 0);
		snprintf(path, size, "%s/%s", folder, e->d_name);
		n++;
	}
	closedir(d);
	assert_int_equal(n, 1);
}

static size_t read_file(const char *path, unsigned char *data, size_t cap)
{
	FILE *f = fopen(path, "rb");
	assert_non_null(f);
	size_t n = fread(data, 1, cap, f);
	fclose(f);
	assert_true(n > 64 && n < cap);
	return n;
}

static void write_file(const char *path, const unsigned char *data, size_t n)
{
	FILE *f = fopen(path, "wb");
	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
}

static int start(void **state)
{
	(void)state;
	snprintf(folder, sizeof folder, "/tmp/baton-test-XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

static int end(void **state)
{
	char command[128];
	(void)state;
	snprintf(command, sizeof command, "rm -r '%s'", folder);
	return system(command);
}

static void what_was_compiled_is_found_again(void **state)
{
	(void)state;
	char path[512], again[512];
	struct stat before, after;
	assert_false(use(folder));
	only_file(path, sizeof path);
	assert_int_equal(stat(path, &before), 0);
	assert_int_equal(before.st_mode & 0777, 0600);
	assert_true(use(folder));
	only_file(again, sizeof again);
	assert_string_equal(path, again);
	/* A device that compiled nothing writes nothing. */
	assert_int_equal(stat(path, &before), 0);
	struct bt_gpu *gpu = open_gpu(folder);
	assert_true(((struct bt_vk *)gpu)->cache_loaded);
	bt_vk_driver.keep(gpu);
	bt_vk_driver.close(gpu);
	assert_int_equal(stat(path, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
}

/* Every byte of the file matters, and so does its length; what is wrong is replaced. */
static void damaged_files_are_replaced(void **state)
{
	(void)state;
	static unsigned char data[1 << 22], bad[1 << 22];
	char path[512];
	use(folder);
	only_file(path, sizeof path);
	size_t n = read_file(path, data, sizeof data), step = n / 40 + 1;
	for (size_t at = 0; at < n; at += at < 64 ? 3 : step) {
		memcpy(bad, data, n);
		bad[at] ^= 0x40;
		write_file(path, bad, n);
		if (use(folder)) fail_msg("a change of byte %zu of %zu was not seen", at, n);
		only_file(path, sizeof path);
		assert_true(use(folder));
	}
	for (size_t len = 0; len < n; len += len < 64 ? 13 : step) {
		write_file(path, data, len);
		if (use(folder)) fail_msg("%zu bytes of %zu were taken", len, n);
		assert_true(use(folder));
	}
	write_file(path, data, n + 1);
	assert_false(use(folder));
	assert_true(use(folder));
	/* A folder in its place can't be replaced, and does no harm. */
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_false(use(folder));
	assert_int_equal(rmdir(path), 0);
}

static void no_place_is_no_failure(void **state)
{
	(void)state;
	char path[512], longer[2048];
	assert_false(use(NULL));
	/* A file stands where the folder should be: nobody, root included, can write there. */
	snprintf(path, sizeof path, "%s/file", folder);
	write_file(path, (const unsigned char *)"x", 1);
	assert_false(use(path));
	assert_false(use(path));
	assert_int_equal(unlink(path), 0);
	memset(longer, 'x', sizeof longer);
	longer[0] = '/';
	longer[sizeof longer - 1] = 0;
	assert_false(use(longer));
	/* Folders are made. */
	snprintf(path, sizeof path, "%s/a/b", folder);
	assert_false(use(path));
	assert_true(use(path));
}

int main(void)
{
	struct baton_error err;
	struct bt_gpu *gpu;
	struct bt_device_params params = {0};
	if (bt_vk_driver.open(0, &params, &gpu, &err)) {
		printf("skipped: %s\n", err.text);
		return 77;
	}
	bt_vk_driver.close(gpu);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_was_compiled_is_found_again, start, end),
		cmocka_unit_test_setup_teardown(damaged_files_are_replaced, start, end),
		cmocka_unit_test_setup_teardown(no_place_is_no_failure, start, end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
