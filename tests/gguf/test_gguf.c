/* Tests of src/gguf: what sound files say, mapped, read, from memory and in parts; and files that cannot be opened. */
#include "make.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];

static const char *in_folder(char *buf, size_t size, const char *name)
{
	snprintf(buf, size, "%s/%s", folder, name);
	return buf;
}

/* Descriptors open in this process, and maps of files in the folder. */
static size_t open_things(void)
{
	size_t n = 0;
	char line[512];
	FILE *maps = fopen("/proc/self/maps", "r");
	assert_non_null(maps);
	while (fgets(line, sizeof line, maps)) n += strstr(line, folder) != NULL;
	fclose(maps);
	for (int fd = 0; fd < 256; fd++) n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* One key of every type, a few arrays, two tensors. */
static void make_sample(struct bt_buf *b, uint32_t version)
{
	put_header(b, version, 2, 19);
	put_kv(b, "u8", BT_GGUF_U8, 200, 1);
	put_kv(b, "i8", BT_GGUF_I8, 0x80, 1);
	put_kv(b, "u16", BT_GGUF_U16, 65535, 2);
	put_kv(b, "i16", BT_GGUF_I16, 0x8000, 2);
	put_kv(b, "u32", BT_GGUF_U32, UINT32_MAX, 4);
	put_kv(b, "i32", BT_GGUF_I32, 0x80000000, 4);
	put_kv(b, "f32", BT_GGUF_F32, 0x3FC00000, 4); /* 1.5 */
	put_kv(b, "yes", BT_GGUF_BOOL, 1, 1);
	put_kv(b, "no", BT_GGUF_BOOL, 0, 1);
	put_kv(b, "u64", BT_GGUF_U64, UINT64_MAX, 8);
	put_kv(b, "i64", BT_GGUF_I64, (uint64_t)-5, 8);
	put_kv(b, "f64", BT_GGUF_F64, 0xC000000000000000, 8); /* -2 */
	put_kv(b, "big.f64", BT_GGUF_F64, 0x7FE0000000000000, 8);
	put_kv_str(b, "name", "sample");
	put_kv_array(b, "words", BT_GGUF_STRING, 3);
	put_str(b, "one");
	put_str(b, "");
	put_str(b, "three");
	put_kv_array(b, "layers", BT_GGUF_I32, 3);
	for (int i = 0; i < 3; i++) put(b, 10 + (unsigned)i, 4);
	put_kv_array(b, "flags", BT_GGUF_BOOL, 2);
	put(b, 0x0100, 2);
	put_kv_array(b, "none", BT_GGUF_F32, 0);
	put_kv(b, "small", BT_GGUF_U64, 7, 8);
	put_tensor(b, "a.weight", 4, 2, BT_TYPE_F32, 32);
	put_tensor(b, "b.weight", 8, 1, BT_TYPE_F32, 0); /* stored in the other order */
	pad(b, 32);
	put_floats(b, 8, 100);
	put_floats(b, 8, 0);
}

static void check_numbers(const struct bt_gguf *g)
{
	static const struct {
		const char *key;
		int64_t i;
	} want[] = {{"u8", 200},
	            {"i8", -128},
	            {"u16", 65535},
	            {"i16", -32768},
	            {"u32", UINT32_MAX},
	            {"i32", INT32_MIN},
	            {"f32", 1},
	            {"yes", 1},
	            {"no", 0},
	            {"u64", INT64_MAX},
	            {"i64", -5},
	            {"f64", -2},
	            {"big.f64", INT64_MAX}};
	for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
		const struct bt_gguf_kv *kv = bt_gguf_find(g, want[i].key);
		assert_non_null(kv);
		assert_int_equal(bt_gguf_int_at(kv, 0), want[i].i);
		assert_int_equal(bt_gguf_int_at(kv, 1), 0);
	}
	assert_true(bt_gguf_float_at(bt_gguf_find(g, "f32"), 0) == 1.5);
	assert_true(bt_gguf_float_at(bt_gguf_find(g, "u64"), 0) == 0x1p64);
	assert_true(bt_gguf_float_at(bt_gguf_find(g, "i8"), 0) == -128);
	assert_int_equal(bt_gguf_int_at(bt_gguf_find(g, "name"), 0), 0);
	assert_null(bt_gguf_str_at(bt_gguf_find(g, "u8"), 0).data);
}

static void check_arrays(const struct bt_gguf *g)
{
	const struct bt_gguf_kv *kv = bt_gguf_find(g, "words");
	assert_int_equal(kv->count, 3);
	assert_true(bt_str_eq(bt_gguf_str_at(kv, 0), "one"));
	assert_true(bt_str_eq(bt_gguf_str_at(kv, 1), ""));
	assert_true(bt_str_eq(bt_gguf_str_at(kv, 2), "three"));
	assert_null(bt_gguf_str_at(kv, 3).data);
	uint32_t out[4];
	struct baton_error err;
	bool found;
	assert_int_equal(bt_gguf_get_u32_per_layer(g, "layers", 9, out, 2, &found, &err), BATON_OK);
	assert_true(found && out[0] == 10 && out[1] == 11);
	assert_int_equal(bt_gguf_get_u32_per_layer(g, "u16", 9, out, 4, NULL, &err), BATON_OK);
	assert_int_equal(out[3], 65535);
	assert_int_equal(bt_gguf_get_u32_per_layer(g, "flags", 9, out, 2, NULL, &err), BATON_OK);
	assert_true(out[0] == 0 && out[1] == 1);
	assert_int_equal(bt_gguf_get_u32_per_layer(g, "absent", 9, out, 4, &found, &err), BATON_OK);
	assert_true(!found && out[3] == 9);
	assert_int_equal(bt_gguf_get_u32_per_layer(g, "layers", 9, out, 4, NULL, &err), BATON_ERR_FORMAT);
	assert_non_null(strstr(err.text, "3 entries for 4"));
	assert_int_equal(bt_gguf_get_u32_per_layer(g, "words", 9, out, 2, NULL, &err), BATON_ERR_FORMAT);
	assert_int_equal(bt_gguf_find(g, "none")->count, 0);
}

static void check_getters(const struct bt_gguf *g)
{
	struct baton_error err;
	uint32_t u = 0;
	float f = 0;
	bool yes = false, found = false;
	struct bt_str s;
	assert_int_equal(bt_gguf_get_u32(g, "small", 1, &u, &found, &err), BATON_OK);
	assert_true(found && u == 7);
	assert_int_equal(bt_gguf_get_u32(g, "absent", 42, &u, &found, &err), BATON_OK);
	assert_true(!found && u == 42);
	assert_int_equal(bt_gguf_get_u32(g, "i64", 1, &u, NULL, &err), BATON_ERR_FORMAT);
	assert_non_null(strstr(err.text, "'i64' is out of range: -5"));
	assert_int_equal(bt_gguf_get_u32(g, "u64", 1, &u, NULL, &err), BATON_ERR_FORMAT);
	assert_int_equal(bt_gguf_get_u32(g, "name", 1, &u, NULL, &err), BATON_ERR_FORMAT);
	assert_non_null(strstr(err.text, "'name' must be an integer, not string"));
	assert_int_equal(bt_gguf_get_u32(g, "layers", 1, &u, NULL, &err), BATON_ERR_FORMAT);
	assert_non_null(strstr(err.text, "not array of i32"));
	assert_int_equal(bt_gguf_get_f32(g, "f64", 0, &f, NULL, &err), BATON_OK);
	assert_true(f == -2);
	assert_int_equal(bt_gguf_get_f32(g, "u8", 0, &f, NULL, &err), BATON_ERR_FORMAT);
	assert_int_equal(bt_gguf_get_bool(g, "yes", false, &yes, NULL, &err), BATON_OK);
	assert_true(yes);
	assert_int_equal(bt_gguf_get_bool(g, "u8", false, &yes, NULL, &err), BATON_ERR_FORMAT);
	assert_int_equal(bt_gguf_get_str(g, "name", &s, &found, &err), BATON_OK);
	assert_true(found && bt_str_eq(s, "sample"));
	assert_int_equal(bt_gguf_get_str(g, "absent", &s, &found, &err), BATON_OK);
	assert_true(!found && !s.data);
	assert_int_equal(bt_gguf_get_str(g, "words", &s, NULL, &err), BATON_ERR_FORMAT);
}

static void check_tensors(const struct bt_gguf *g, bool data)
{
	assert_int_equal(bt_gguf_n_tensors(g), 2);
	const struct bt_tensor *a = bt_gguf_tensor(g, "a.weight"), *b = bt_gguf_tensor(g, "b.weight");
	assert_ptr_equal(a, bt_gguf_tensor_at(g, 0));
	assert_ptr_equal(b, bt_gguf_tensor_at(g, 1));
	assert_null(bt_gguf_tensor(g, "a.weigh"));
	assert_null(bt_gguf_tensor(g, ""));
	assert_true(a->n_dims == 2 && a->dim[0] == 4 && a->dim[1] == 2 && a->dim[2] == 1 && a->dim[3] == 1);
	assert_true(a->row_bytes == 16 && a->n_rows == 2 && a->size == 32 && a->type->id == BT_TYPE_F32);
	if (!data) {
		assert_null(a->data);
		return;
	}
	float f;
	memcpy(&f, a->data, sizeof f);
	assert_true(f == 0);
	memcpy(&f, (const char *)b->data + 28, sizeof f);
	assert_true(f == 107);
}

static void check_sample(const struct bt_gguf *g, uint32_t version, bool data)
{
	assert_int_equal(bt_gguf_version(g), version);
	assert_int_equal(bt_gguf_n_files(g), 1);
	assert_int_equal(bt_gguf_n_kv(g), 19);
	assert_true(bt_str_eq(bt_gguf_kv_at(g, 0)->key, "u8"));
	assert_null(bt_gguf_find(g, "u"));
	check_numbers(g);
	check_arrays(g);
	check_getters(g);
	check_tensors(g, data);
}

static void sound_files_open_in_every_way(void **state)
{
	(void)state;
	char path[128];
	struct baton_error err = {0};
	for (uint32_t version = 2; version <= 3; version++) {
		size_t blocks = live_blocks(), things = open_things();
		struct bt_buf b;
		make_sample(&b, version);
		write_file(in_folder(path, sizeof path, "sample.gguf"), b.data, b.len);
		struct bt_gguf *g;
		assert_int_equal(bt_gguf_open_memory(b.data, b.len, "memory", &g, &err), BATON_OK);
		check_sample(g, version, true);
		assert_int_equal(bt_gguf_file_bytes(g), b.len);
		bt_gguf_close(&g);
		assert_null(g);
		for (int way = 0; way < 4; way++) {
			struct bt_gguf_params p = {.read = way & 1, .no_data = way & 2};
			assert_int_equal(bt_gguf_open(path, &p, &g, &err), BATON_OK);
			assert_int_equal(bt_gguf_is_mapped(g), !p.read);
			assert_string_equal(bt_gguf_path(g), path);
			/* What was read stays whole when the file goes. */
			if (p.read) truncate(path, 0);
			check_sample(g, version, !p.no_data);
			bt_gguf_close(&g);
			write_file(path, b.data, b.len);
		}
		bt_buf_free(&b);
		assert_int_equal(live_blocks(), blocks);
		assert_int_equal(open_things(), things);
	}
	bt_gguf_close(&(struct bt_gguf *){NULL});
}

struct watch {
	uint64_t done, total;
	int calls, stop_at;
};

static bool watch(void *user, uint64_t done, uint64_t total)
{
	struct watch *w = user;
	assert_true(done > w->done && done <= total);
	w->done = done;
	w->total = total;
	return ++w->calls != w->stop_at;
}

static void reading_reports_progress_and_can_be_cancelled(void **state)
{
	(void)state;
	size_t blocks = live_blocks();
	/* 40 MiB: several pieces. */
	struct bt_buf b;
	put_header(&b, 3, 1, 0);
	put_tensor(&b, "large", 1 << 20, 10, BT_TYPE_F32, 0);
	pad(&b, 32);
	char path[128];
	write_file(in_folder(path, sizeof path, "large.gguf"), b.data, b.len);
	assert_int_equal(truncate(path, (off_t)(b.len + ((size_t)40 << 20))), 0);
	struct watch w = {0};
	struct bt_gguf_params p = {.read = true, .progress = watch, .user = &w};
	struct bt_gguf *g;
	struct baton_error err;
	assert_int_equal(bt_gguf_open(path, &p, &g, &err), BATON_OK);
	assert_true(w.calls >= 3 && w.done == (uint64_t)40 << 20 && w.total == w.done);
	struct bt_mem_stats s;
	bt_mem_get_stats(&s);
	assert_int_equal(s.current[BT_MEM_WEIGHTS], (size_t)40 << 20);
	assert_int_equal((uintptr_t)bt_gguf_tensor_at(g, 0)->data % BT_MEM_ALIGN, 0);
	bt_gguf_close(&g);
	w = (struct watch){.stop_at = 2};
	assert_int_equal(bt_gguf_open(path, &p, &g, &err), BATON_ERR_CANCELLED);
	assert_null(g);
	assert_int_equal(w.calls, 2);
	bt_buf_free(&b);
	assert_int_equal(live_blocks(), blocks);
}

static bool can_be_mapped(const char *path, uint64_t size)
{
	int fd = open(path, O_RDONLY);
	assert_true(fd >= 0);
	void *p = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (p == MAP_FAILED) return false;
	munmap(p, size);
	return true;
}

/* A file of holes, twice as large as the memory that is free: no disk is needed. */
static void too_little_memory_is_said_before_reading(void **state)
{
	(void)state;
	size_t blocks = live_blocks(), things = open_things();
	uint64_t available = bt_mem_available(), gib = (uint64_t)1 << 30;
	if (available == UINT64_MAX) skip();
	uint64_t bytes = (available / gib * 2 + 8) * gib;
	struct bt_buf b;
	put_header(&b, 3, 1, 0);
	put_tensor(&b, "large", 1 << 20, bytes >> 22, BT_TYPE_F32, 0);
	pad(&b, 32);
	char path[128];
	write_file(in_folder(path, sizeof path, "huge.gguf"), b.data, b.len);
	/* A file system without holes, or an emulator of another processor, which maps less than a machine does. */
	if (truncate(path, (off_t)(b.len + bytes)) || !can_be_mapped(path, bytes)) {
		unlink(path);
		bt_buf_free(&b);
		skip();
	}
	struct watch w = {0};
	struct bt_gguf_params p = {.read = true, .progress = watch, .user = &w};
	struct bt_gguf *g;
	struct baton_error err;
	assert_int_equal(bt_gguf_open(path, &p, &g, &err), BATON_ERR_NOMEM);
	assert_int_equal(w.calls, 0);
	char needs[64];
	snprintf(needs, sizeof needs, "needs %u.00 GiB", (unsigned)(bytes / gib));
	assert_non_null(strstr(err.text, needs));
	assert_non_null(strstr(err.text, "without -mmp 0"));
	/* Its directory may be read, and it may be mapped. */
	p.no_data = true;
	assert_int_equal(bt_gguf_open(path, &p, &g, &err), BATON_OK);
	bt_gguf_close(&g);
	assert_int_equal(bt_gguf_open(path, NULL, &g, &err), BATON_OK);
	bt_gguf_close(&g);
	unlink(path);
	bt_buf_free(&b);
	assert_int_equal(live_blocks(), blocks);
	assert_int_equal(open_things(), things);
}

static void what_is_no_file_is_refused_in_one_line(void **state)
{
	(void)state;
	char path[128];
	in_folder(path, sizeof path, "pipe.gguf");
	assert_int_equal(mkfifo(path, 0600), 0);
	const struct {
		const char *path, *says;
	} cases[] = {{"/nonexistent/x.gguf", "No such file"},
	             {folder, "is a directory"},
	             {"/dev/null", "not a regular file"},
	             {path, "not a regular file"},
	             {"", "No such file"}};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct baton_error err;
		struct bt_gguf *g;
		assert_int_equal(bt_gguf_open(cases[i].path, NULL, &g, &err), BATON_ERR_IO);
		assert_null(g);
		assert_non_null(strstr(err.text, cases[i].says));
		assert_null(strchr(err.text, '\n'));
		assert_int_equal(bt_gguf_open(cases[i].path, NULL, &g, NULL), BATON_ERR_IO);
	}
	if (geteuid() == 0) return; /* root may read everything */
	struct baton_error err;
	struct bt_gguf *g;
	write_file(in_folder(path, sizeof path, "secret.gguf"), "GGUF", 4);
	chmod(path, 0);
	assert_int_equal(bt_gguf_open(path, NULL, &g, &err), BATON_ERR_IO);
	assert_non_null(strstr(err.text, "Permission denied"));
}

/* Part no of count, with `tensors` tensors t<first>... of one float each. */
static void make_part(const char *name, uint32_t no, uint32_t count, uint32_t total, uint32_t first, uint32_t tensors)
{
	struct bt_buf b;
	char path[160], tensor[16];
	put_header(&b, 3, tensors, no ? 3 : 4);
	put_kv(&b, "split.no", BT_GGUF_U16, no, 2);
	put_kv(&b, "split.count", BT_GGUF_U16, count, 2);
	put_kv(&b, "split.tensors.count", BT_GGUF_I32, total, 4);
	if (!no) put_kv_str(&b, "general.name", "split model");
	for (uint32_t i = 0; i < tensors; i++) {
		snprintf(tensor, sizeof tensor, "t%u", first + i);
		put_tensor(&b, tensor, 1, 1, BT_TYPE_F32, 32 * (uint64_t)i);
	}
	for (uint32_t i = 0; i < tensors; i++) {
		pad(&b, 32);
		put_floats(&b, 1, (float)(first + i));
	}
	write_file(in_folder(path, sizeof path, name), b.data, b.len);
	bt_buf_free(&b);
}

static void make_parts(uint32_t total)
{
	make_part("m-00001-of-00003.gguf", 0, 3, total, 0, 0); /* metadata only, as gguf-split can write it */
	make_part("m-00002-of-00003.gguf", 1, 3, total, 0, 3);
	make_part("m-00003-of-00003.gguf", 2, 3, total, 3, 2);
}

static void split_models_open_by_any_part(void **state)
{
	(void)state;
	size_t blocks = live_blocks();
	make_parts(5);
	for (int part = 1; part <= 3; part++)
		for (int read = 0; read < 2; read++) {
			char name[64], path[160], tensor[16];
			snprintf(name, sizeof name, "m-%05d-of-00003.gguf", part);
			struct bt_gguf_params p = {.read = read};
			struct bt_gguf *g;
			struct baton_error err = {0};
			assert_int_equal(bt_gguf_open(in_folder(path, sizeof path, name), &p, &g, &err), BATON_OK);
			assert_int_equal(bt_gguf_n_files(g), 3);
			assert_non_null(strstr(bt_gguf_path(g), "m-00001-of-00003.gguf"));
			assert_non_null(bt_gguf_find(g, "general.name"));
			assert_int_equal(bt_gguf_n_tensors(g), 5);
			for (unsigned i = 0; i < 5; i++) {
				snprintf(tensor, sizeof tensor, "t%u", i);
				const struct bt_tensor *t = bt_gguf_tensor(g, tensor);
				assert_ptr_equal(t, bt_gguf_tensor_at(g, i));
				assert_int_equal(t->file, i < 3 ? 1 : 2);
				float f;
				memcpy(&f, t->data, sizeof f);
				assert_true(f == (float)i);
			}
			bt_gguf_close(&g);
		}
	assert_int_equal(live_blocks(), blocks);
}

static void refuse_parts(const char *open, const char *says)
{
	char path[160];
	struct bt_gguf *g;
	struct baton_error err;
	size_t blocks = live_blocks(), things = open_things();
	assert_int_not_equal(bt_gguf_open(in_folder(path, sizeof path, open), NULL, &g, &err), BATON_OK);
	assert_int_equal(open_things(), things);
	if (!strstr(err.text, says)) fail_msg("'%s' does not say '%s'", err.text, says);
	assert_int_equal(live_blocks(), blocks);
}

static void split_models_must_fit_together(void **state)
{
	(void)state;
	char path[160], other[160];
	make_parts(6);
	refuse_parts("m-00002-of-00003.gguf", "'split.tensors.count' is 6, but the 3 parts have 5");
	make_parts(5);
	make_part("m-00003-of-00003.gguf", 1, 3, 5, 3, 2);
	refuse_parts("m-00001-of-00003.gguf", "'split.no' says part 2");
	make_part("m-00003-of-00003.gguf", 2, 4, 5, 3, 2);
	refuse_parts("m-00001-of-00003.gguf", "'split.count' is 4");
	make_part("m-00003-of-00003.gguf", 2, 3, 5, 2, 2);
	refuse_parts("m-00001-of-00003.gguf", "'t2' appears twice");
	unlink(in_folder(path, sizeof path, "m-00003-of-00003.gguf"));
	refuse_parts("m-00001-of-00003.gguf", "m-00003-of-00003.gguf: No such file");
	make_parts(5);
	rename(in_folder(path, sizeof path, "m-00002-of-00003.gguf"), in_folder(other, sizeof other, "renamed.gguf"));
	refuse_parts("renamed.gguf", "its name does not end in -NNNNN-of-00003.gguf");
	make_part("m-0000x-of-00003.gguf", 0, 3, 5, 0, 0);
	refuse_parts("m-0000x-of-00003.gguf", "its name does not end in -NNNNN-of-00003.gguf");
	make_part("m-00001-of-00003.gguf", 0, 60000, 5, 0, 0);
	refuse_parts("m-00001-of-00003.gguf", "'split.count' is 60000");
	/* A file with split.count 1 is whole, whatever its name. */
	make_part("whole.gguf", 0, 1, 2, 0, 2);
	struct bt_gguf *g;
	assert_int_equal(bt_gguf_open(in_folder(path, sizeof path, "whole.gguf"), NULL, &g, NULL), BATON_OK);
	bt_gguf_close(&g);
}

static void names_are_shown_without_control_bytes(void **state)
{
	(void)state;
	char buf[16];
	assert_string_equal(bt_str_show((struct bt_str){"a\033[31m\n\xC3\xA4", 9}, buf, sizeof buf), "a?[31m???");
	assert_string_equal(bt_str_show((struct bt_str){"0123456789abcdef", 16}, buf, sizeof buf), "0123456789ab...");
	assert_string_equal(bt_str_show((struct bt_str){"0123456789abcde", 15}, buf, sizeof buf), "0123456789abcde");
	assert_string_equal(bt_str_show((struct bt_str){NULL, 0}, buf, sizeof buf), "");
}

/* 20,000 keys and tensors: every name must be found, and none other. */
static void many_names_are_found(void **state)
{
	(void)state;
	enum { N = 20000 };
	struct bt_buf b;
	char name[32];
	put_header(&b, 3, N, N);
	for (unsigned i = 0; i < N; i++) {
		snprintf(name, sizeof name, "key.%u", i);
		put_kv(&b, name, BT_GGUF_U32, i, 4);
	}
	for (unsigned i = 0; i < N; i++) {
		snprintf(name, sizeof name, "blk.%u.weight", i);
		put_tensor(&b, name, 1, 1, BT_TYPE_F32,
		           32 * (uint64_t)(N - 1 - i)); /* backwards: the order is sorted */
	}
	pad(&b, 32);
	for (size_t i = 0; i < 8 * N; i++) put_floats(&b, 1, 0);
	struct bt_gguf *g;
	struct baton_error err = {0};
	assert_int_equal(bt_gguf_open_memory(b.data, b.len, "many", &g, &err), BATON_OK);
	for (unsigned i = 0; i < N; i++) {
		uint32_t v = 0;
		snprintf(name, sizeof name, "key.%u", i);
		assert_int_equal(bt_gguf_get_u32(g, name, 0, &v, NULL, NULL), BATON_OK);
		assert_int_equal(v, i);
		snprintf(name, sizeof name, "blk.%u.weight", i);
		assert_ptr_equal(bt_gguf_tensor(g, name), bt_gguf_tensor_at(g, i));
		snprintf(name, sizeof name, "blk.%u.weighs", i);
		assert_null(bt_gguf_tensor(g, name));
	}
	bt_gguf_close(&g);
	bt_buf_free(&b);
}

static int make_folder(void **state)
{
	(void)state;
	snprintf(folder, sizeof folder, "/tmp/baton-gguf-XXXXXX");
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
		cmocka_unit_test(sound_files_open_in_every_way),
		cmocka_unit_test(reading_reports_progress_and_can_be_cancelled),
		cmocka_unit_test(too_little_memory_is_said_before_reading),
		cmocka_unit_test(what_is_no_file_is_refused_in_one_line),
		cmocka_unit_test(split_models_open_by_any_part),
		cmocka_unit_test(split_models_must_fit_together),
		cmocka_unit_test(names_are_shown_without_control_bytes),
		cmocka_unit_test(many_names_are_found),
	};
	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
