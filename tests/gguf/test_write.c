/* Tests of the GGUF writer: what it writes is what was asked for, byte for byte where that can be said, and nothing is
 * left behind when it fails. */
#include "gguf/write.h"
#include "make.h"

#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[64];

static const char *in_folder(char *buf, size_t size, const char *name)
{
	snprintf(buf, size, "%s/%s", folder, name);
	return buf;
}

static size_t files_in(const char *path)
{
	DIR *d = opendir(path);
	assert_non_null(d);
	size_t n = 0;
	for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

static struct bt_str str(const char *s)
{
	return (struct bt_str){s, strlen(s)};
}

static void what_is_written_is_read_back(void **state)
{
	(void)state;
	size_t blocks = live_blocks();
	char path[128];
	struct baton_error err = {0};
	struct bt_gguf_writer *w;
	struct bt_gguf *g;
	int16_t numbers[3] = {-1, 0, 300};
	struct bt_str words[3] = {str("a"), str(""), str("long word")};
	int64_t big = -5000000000;
	float data[16];
	for (int i = 0; i < 16; i++) data[i] = (float)i;
	assert_int_equal(bt_gguf_writer_new(&w, &err), BATON_OK);
	bt_gguf_writer_set_u32(w, "first", 7);
	bt_gguf_writer_set_u32(w, "gone", 8);
	bt_gguf_writer_set_f32(w, "float", 1.5f);
	bt_gguf_writer_set_bool(w, "bool", true);
	bt_gguf_writer_set_str(w, "string", "text");
	bt_gguf_writer_set_scalar(w, "big", BT_GGUF_I64, &big);
	bt_gguf_writer_set_array(w, "numbers", BT_GGUF_I16, numbers, 3);
	bt_gguf_writer_set_strs(w, "words", words, 3);
	bt_gguf_writer_set_strs(w, "no words", NULL, 0);
	bt_gguf_writer_set_u32(w, "general.alignment", 128);
	bt_gguf_writer_set_str(w, "first", "now a string"); /* keeps its place */
	bt_gguf_writer_remove(w, "gone");
	bt_gguf_writer_remove(w, "never there");
	bt_gguf_writer_add_tensor(w, str("one"), bt_type_get(BT_TYPE_F32), 2, (uint64_t[]){3, 2});
	bt_gguf_writer_add_tensor(w, str("two"), bt_type_get(BT_TYPE_F32), 1, (uint64_t[]){10});
	assert_int_equal(bt_gguf_writer_begin(w, in_folder(path, sizeof path, "w.gguf"), &err), BATON_OK);
	assert_int_equal(access(path, F_OK), -1);
	/* In pieces that do not keep to tensors or values. */
	assert_int_equal(bt_gguf_writer_data(w, data, 5, &err), BATON_OK);
	assert_int_equal(bt_gguf_writer_data(w, (char *)data + 5, 30, &err), BATON_OK);
	assert_int_equal(bt_gguf_writer_data(w, (char *)data + 35, 29, &err), BATON_OK);
	uint64_t bytes = bt_gguf_writer_file_bytes(w);
	assert_int_equal(bt_gguf_writer_finish(w, &err), BATON_OK);
	bt_gguf_writer_close(&w);
	assert_null(w);

	assert_int_equal(bt_gguf_open(path, NULL, &g, &err), BATON_OK);
	assert_int_equal(bt_gguf_version(g), 3);
	assert_int_equal(bt_gguf_file_bytes(g), bytes);
	assert_int_equal(bytes % 128, 0);
	assert_int_equal(bt_gguf_n_kv(g), 9);
	assert_true(bt_str_eq(bt_gguf_kv_at(g, 0)->key, "first"));
	assert_true(bt_str_eq(bt_gguf_str_at(bt_gguf_kv_at(g, 0), 0), "now a string"));
	assert_true(bt_gguf_float_at(bt_gguf_find(g, "float"), 0) == 1.5);
	assert_int_equal(bt_gguf_find(g, "bool")->type, BT_GGUF_BOOL);
	assert_int_equal(bt_gguf_int_at(bt_gguf_find(g, "big"), 0), big);
	assert_int_equal(bt_gguf_int_at(bt_gguf_find(g, "numbers"), 0), -1);
	assert_int_equal(bt_gguf_int_at(bt_gguf_find(g, "numbers"), 2), 300);
	assert_true(bt_str_eq(bt_gguf_str_at(bt_gguf_find(g, "words"), 2), "long word"));
	assert_int_equal(bt_gguf_find(g, "no words")->count, 0);
	const struct bt_tensor *one = bt_gguf_tensor(g, "one"), *two = bt_gguf_tensor(g, "two");
	assert_true(one->n_dims == 2 && one->dim[0] == 3 && one->dim[1] == 2 && two->n_dims == 1);
	assert_memory_equal(one->data, data, 24);
	assert_memory_equal(two->data, data + 6, 40);
	assert_int_equal((uintptr_t)two->data % 128, 0);
	struct stat st;
	assert_int_equal(stat(path, &st), 0);
	mode_t mask = umask(0);
	umask(mask);
	assert_int_equal(st.st_mode & 0777, 0666 & ~mask);
	bt_gguf_close(&g);
	assert_int_equal(live_blocks(), blocks);
}

static void write_copy(const char *from, const char *to)
{
	struct baton_error err = {0};
	struct bt_gguf *g;
	struct bt_gguf_writer *w;
	assert_int_equal(bt_gguf_open(from, NULL, &g, &err), BATON_OK);
	assert_int_equal(bt_gguf_writer_new(&w, &err), BATON_OK);
	bt_gguf_writer_copy_kv(w, g);
	for (size_t i = 0; i < bt_gguf_n_tensors(g); i++) {
		const struct bt_tensor *t = bt_gguf_tensor_at(g, i);
		bt_gguf_writer_add_tensor(w, t->name, t->type, t->n_dims, t->dim);
	}
	assert_int_equal(bt_gguf_writer_begin(w, to, &err), BATON_OK);
	for (size_t i = 0; i < bt_gguf_n_tensors(g); i++) {
		const struct bt_tensor *t = bt_gguf_tensor_at(g, i);
		assert_int_equal(bt_gguf_writer_data(w, t->data, t->size, &err), BATON_OK);
	}
	assert_int_equal(bt_gguf_writer_finish(w, &err), BATON_OK);
	bt_gguf_writer_close(&w);
	bt_gguf_close(&g);
}

/* The reference writer made these files: a copy of all their parts must be the same bytes. */
static void a_copy_is_the_same_file(void **state)
{
	(void)state;
	static const char *const names[] = {"models/llama-plain.Q8_0.gguf", "malformed/00-sound.gguf"};
	char from[1024], to[128];
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		size_t n, m;
		write_copy(data_path(from, sizeof from, names[i]), in_folder(to, sizeof to, "copy.gguf"));
		unsigned char *a = read_file(from, &n), *b = read_file(to, &m);
		assert_int_equal(n, m);
		assert_memory_equal(a, b, n);
		free(a);
		free(b);
		/* The file that is read may be the one that is replaced. */
		write_copy(to, to);
		b = read_file(to, &m);
		assert_int_equal(n, m);
		free(b);
	}
	unlink(to);
}

/* split.* keys speak of the old files. */
static void split_keys_are_not_copied(void **state)
{
	(void)state;
	struct bt_buf b;
	put_header(&b, 3, 0, 3);
	put_kv(&b, "split.no", BT_GGUF_U16, 0, 2);
	put_kv(&b, "split.count", BT_GGUF_U16, 1, 2);
	put_kv(&b, "splitter", BT_GGUF_U16, 5, 2);
	struct bt_gguf *g;
	struct bt_gguf_writer *w;
	char path[128];
	assert_int_equal(bt_gguf_open_memory(b.data, b.len, "part", &g, NULL), BATON_OK);
	assert_int_equal(bt_gguf_writer_new(&w, NULL), BATON_OK);
	bt_gguf_writer_copy_kv(w, g);
	bt_gguf_close(&g);
	bt_buf_free(&b);
	assert_int_equal(bt_gguf_writer_begin(w, in_folder(path, sizeof path, "s.gguf"), NULL), BATON_OK);
	assert_int_equal(bt_gguf_writer_finish(w, NULL), BATON_OK);
	bt_gguf_writer_close(&w);
	assert_int_equal(bt_gguf_open(path, NULL, &g, NULL), BATON_OK);
	assert_int_equal(bt_gguf_n_kv(g), 1);
	assert_int_equal(bt_gguf_int_at(bt_gguf_find(g, "splitter"), 0), 5);
	bt_gguf_close(&g);
	unlink(path);
}

enum mistake {
	EMPTY_KEY,
	STRING_SCALAR,
	ZERO_DIMENSION,
	FIVE_DIMENSIONS,
	HALF_BLOCK,
	HUGE,
	TWINS,
	ALIGNMENT_24,
	ALIGNMENT_TEXT,
	MISTAKES
};

static void make_mistake(struct bt_gguf_writer *w, enum mistake what)
{
	const struct bt_type *f32 = bt_type_get(BT_TYPE_F32), *q8 = bt_type_get(BT_TYPE_Q8_0);
	uint64_t one[5] = {1, 1, 1, 1, 1};
	switch (what) {
	case EMPTY_KEY: bt_gguf_writer_set_u32(w, "", 1); break;
	case STRING_SCALAR: bt_gguf_writer_set_scalar(w, "x", BT_GGUF_STRING, "x"); break;
	case ZERO_DIMENSION: bt_gguf_writer_add_tensor(w, str("t"), f32, 2, (uint64_t[]){4, 0}); break;
	case FIVE_DIMENSIONS: bt_gguf_writer_add_tensor(w, str("t"), f32, 5, one); break;
	case HALF_BLOCK: bt_gguf_writer_add_tensor(w, str("t"), q8, 1, (uint64_t[]){48}); break;
	case HUGE: bt_gguf_writer_add_tensor(w, str("t"), f32, 2, (uint64_t[]){1ull << 33, 1ull << 33}); break;
	case TWINS:
		bt_gguf_writer_add_tensor(w, str("t"), f32, 1, one);
		bt_gguf_writer_add_tensor(w, str("t"), f32, 1, one);
		break;
	case ALIGNMENT_24: bt_gguf_writer_set_u32(w, "general.alignment", 24); break;
	default: bt_gguf_writer_set_str(w, "general.alignment", "32"); break;
	}
}

static void mistakes_are_told_at_the_beginning(void **state)
{
	(void)state;
	size_t blocks = live_blocks(), files = files_in(folder);
	char path[128];
	in_folder(path, sizeof path, "mistake.gguf");
	for (int what = 0; what < MISTAKES; what++) {
		struct bt_gguf_writer *w;
		struct baton_error err = {0};
		assert_int_equal(bt_gguf_writer_new(&w, &err), BATON_OK);
		make_mistake(w, (enum mistake)what);
		bt_gguf_writer_set_u32(w, "more", 1);
		assert_int_not_equal(bt_gguf_writer_begin(w, path, &err), BATON_OK);
		assert_true(strlen(err.text) > 20);
		assert_int_equal(bt_gguf_writer_data(w, "x", 1, &err), BATON_ERR_ARG);
		assert_int_equal(bt_gguf_writer_finish(w, &err), BATON_ERR_ARG);
		bt_gguf_writer_close(&w);
	}
	assert_int_equal(files_in(folder), files);
	assert_int_equal(live_blocks(), blocks);
}

static struct bt_gguf_writer *one_tensor(uint64_t floats)
{
	struct bt_gguf_writer *w;
	assert_int_equal(bt_gguf_writer_new(&w, NULL), BATON_OK);
	bt_gguf_writer_set_u32(w, "key", 1);
	bt_gguf_writer_add_tensor(w, str("t"), bt_type_get(BT_TYPE_F32), 1, &floats);
	return w;
}

static void nothing_is_left_of_an_unfinished_file(void **state)
{
	(void)state;
	size_t files = files_in(folder), n;
	char path[128], bad[160];
	struct baton_error err;
	float data[8] = {0};
	in_folder(path, sizeof path, "old.gguf");
	write_file(path, "old", 3);
	/* Given up, too little, too much: the old file stays as it was. */
	for (int way = 0; way < 3; way++) {
		struct bt_gguf_writer *w = one_tensor(6);
		assert_int_equal(bt_gguf_writer_begin(w, path, &err), BATON_OK);
		assert_int_equal(files_in(folder), files + 2);
		assert_int_equal(bt_gguf_writer_data(w, data, 20, &err), BATON_OK);
		if (way == 1) {
			assert_int_equal(bt_gguf_writer_finish(w, &err), BATON_ERR_ARG);
			assert_non_null(strstr(err.text, "'t' is incomplete"));
		} else if (way == 2) {
			assert_int_equal(bt_gguf_writer_data(w, data, 5, &err), BATON_ERR_ARG);
			assert_non_null(strstr(err.text, "1 bytes more"));
		}
		bt_gguf_writer_close(&w);
		assert_int_equal(files_in(folder), files + 1);
		free(read_file(path, &n));
		assert_int_equal(n, 3);
	}
	unlink(path);
	/* Places that can't be written. */
	const struct {
		const char *path, *says;
	} cases[] = {{folder, "not a regular file"}, {"/dev/null", "not a regular file"}, {bad, "No such file"}};
	in_folder(bad, sizeof bad, "no/such/folder.gguf");
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct bt_gguf_writer *w = one_tensor(6);
		assert_int_not_equal(bt_gguf_writer_begin(w, cases[i].path, &err), BATON_OK);
		assert_non_null(strstr(err.text, cases[i].says));
		bt_gguf_writer_close(&w);
	}
	assert_int_equal(files_in(folder), files);
}

static void every_failed_allocation_is_survived(void **state)
{
	(void)state;
	char from[1024], path[128];
	struct bt_gguf *g;
	data_path(from, sizeof from, "malformed/00-sound.gguf");
	assert_int_equal(bt_gguf_open(from, NULL, &g, NULL), BATON_OK);
	in_folder(path, sizeof path, "alloc.gguf");
	size_t blocks = live_blocks(), files = files_in(folder), k;
	for (k = 1; k < 1000; k++) {
		struct bt_gguf_writer *w;
		struct baton_error err = {0};
		bt_mem_fail_at(k);
		enum baton_status status = bt_gguf_writer_new(&w, &err);
		if (!status) {
			bt_gguf_writer_copy_kv(w, g);
			bt_gguf_writer_set_strs(w, "words", &(struct bt_str){"word", 4}, 1);
			for (size_t i = 0; i < bt_gguf_n_tensors(g); i++) {
				const struct bt_tensor *t = bt_gguf_tensor_at(g, i);
				bt_gguf_writer_add_tensor(w, t->name, t->type, t->n_dims, t->dim);
			}
			status = bt_gguf_writer_begin(w, path, &err);
		}
		bt_mem_fail_at(0);
		if (status) assert_non_null(strstr(err.text, "out of memory"));
		bt_gguf_writer_close(&w);
		assert_int_equal(live_blocks(), blocks);
		assert_int_equal(files_in(folder), files);
		if (!status) break;
		assert_int_equal(status, BATON_ERR_NOMEM);
	}
	assert_in_range(k, 30, 200);
	bt_gguf_close(&g);
}

/* Run f(path) in a child; its exit status. */
static int in_child(int (*f)(const char *path), const char *path)
{
	int status;
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (!pid) _exit(f(path));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* 0: refused with the sentence and nothing left; 77: could not be tried; else what went wrong. */
static int write_too_much(const char *path, const char *says)
{
	static const char zeros[1 << 16];
	struct baton_error err = {0};
	struct bt_gguf_writer *w = one_tensor(1 << 20);
	enum baton_status status = bt_gguf_writer_begin(w, path, &err);
	for (int i = 0; i < 64 && !status; i++) status = bt_gguf_writer_data(w, zeros, sizeof zeros, &err);
	bt_gguf_writer_close(&w);
	if (status != BATON_ERR_IO) return 1;
	if (!strstr(err.text, says) || !strstr(err.text, path) || !strstr(err.text, "(4.0 MiB are needed)")) return 2;
	return 0;
}

static int on_a_full_disk(const char *path)
{
	if (unshare(CLONE_NEWNS) && unshare(CLONE_NEWUSER | CLONE_NEWNS)) return 77;
	if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) || mount("none", folder, "tmpfs", 0, "size=1m"))
		return 77;
	int result = write_too_much(path, "No space left on device; free some or choose another folder");
	return result ? result : files_in(folder) ? 3 : 0;
}

static int past_the_largest_file(const char *path)
{
	struct rlimit limit = {1 << 20, 1 << 20};
	signal(SIGXFSZ, SIG_IGN);
	if (setrlimit(RLIMIT_FSIZE, &limit)) return 77;
	return write_too_much(path, "File too large");
}

static void a_full_disk_is_one_clear_sentence(void **state)
{
	(void)state;
	char path[128];
	size_t files = files_in(folder);
	in_folder(path, sizeof path, "full.gguf");
	assert_int_equal(in_child(past_the_largest_file, path), 0);
	assert_int_equal(files_in(folder), files);
	int result = in_child(on_a_full_disk, path);
	if (result == 77) print_message("not tried: a small file system can't be mounted here\n");
	else assert_int_equal(result, 0);
}

static int make_folder(void **state)
{
	(void)state;
	snprintf(folder, sizeof folder, "/tmp/baton-write-XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	(void)state;
	char command[96];
	snprintf(command, sizeof command, "rm -r %s", folder);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read_back),
		cmocka_unit_test(a_copy_is_the_same_file),
		cmocka_unit_test(split_keys_are_not_copied),
		cmocka_unit_test(mistakes_are_told_at_the_beginning),
		cmocka_unit_test(nothing_is_left_of_an_unfinished_file),
		cmocka_unit_test(every_failed_allocation_is_survived),
		cmocka_unit_test(a_full_disk_is_one_clear_sentence),
	};
	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
