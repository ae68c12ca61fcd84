/* Tests of src/gguf against bad input: the catalogue of corrupt files, every cut and every flipped bit of a small file,
 * and every failed allocation. With an argument: cut that file, named from the folder of fetched models, at every
 * 1,000th byte. */
#include "make.h"

#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* What the sentence about a file of the catalogue must name, apart from the file itself. */
static const struct {
	const char *file, *says;
} sentences[] = {
	{"01-", "empty"},
	{"02-", "version"},
	{"03-", "key count"},
	{"04-", "tokenizer.ggml.pre"},
	{"05-", "blk.0.attn_k.weight"},
	{"06-", "token_embd.weight"},
	{"07-", "blk.0.ffn_down.weight"},
	{"08-", "begins with 'GGML'"},
	{"09-", "version 0"},
	{"10-", "version 99"},
	{"11-", "big-endian"},
	{"12-", "4611686018427387904 tensors are too many for a file of"},
	{"13-", "4611686018427387904 keys are too many for a file of"},
	{"14-", "tensor count, 14"},
	{"15-", "key 19"},
	{"16-", "'llama.note': its string takes 9223372036854775809 bytes"},
	{"17-", "'llama.note': its array of 2305843009213693952"},
	{"18-", "'llama.note': its value has unknown type 77"},
	{"19-", "'llama.note': an array of arrays"},
	{"20-", "'llama.block_count' appears twice"},
	{"21-", "'output_norm.weight' appears twice"},
	{"22-", "'blk.0.attn_q.weight': its type 4444 is unknown; supported are F32, "},
	{"23-", "Q4_2) was removed"},
	{"24-", "'blk.0.attn_q.weight': its dimension 1 is 0"},
	{"25-", "overflows: 8589934592 x 8589934592"},
	{"26-", "'blk.0.attn_q.weight'"},
	{"27-", "7 dimensions"},
	{"28-", "2147483648 dimensions"},
	{"29-", "'blk.0.attn_k.weight': its 128 bytes of data at offset 1099511627776"},
	{"30-", "'blk.0.attn_k.weight': its 128 bytes of data at offset 18446744073709551584"},
	{"31-", "'token_embd.weight' and 'blk.0.attn_k.weight' overlap"},
	{"32-", "no multiple of the alignment"},
	{"33-", "alignment is 0"},
	{"34-", "alignment is 24"},
	{"35-", "'general.alignment': it must be a u32"},
	{"36-", "rows of 8 values are no multiple of the 256 in a block of Q4_K"},
	{"50-", "4000 bytes"},
};

static const char *sentence_about(const char *file)
{
	for (size_t i = 0; i < sizeof sentences / sizeof *sentences; i++)
		if (!strncmp(file, sentences[i].file, strlen(sentences[i].file))) return sentences[i].says;
	fail_msg("no sentence is expected of %s: add it to the table", file);
	return NULL;
}

/* Open, look at everything that can be looked at, close. Whatever the bytes are, this must come back. */
static enum baton_status probe(const void *data, size_t size, struct baton_error *err)
{
	struct bt_gguf *g;
	enum baton_status status = bt_gguf_open_memory(data, size, "probe", &g, err);
	if (status) {
		assert_null(g);
		return status;
	}
	const char *end = (const char *)data + size;
	for (size_t i = 0; i < bt_gguf_n_kv(g); i++) {
		const struct bt_gguf_kv *kv = bt_gguf_kv_at(g, i);
		for (uint64_t k = 0; k < kv->count; k++) {
			struct bt_str s = bt_gguf_str_at(kv, k);
			if (s.data) assert_true(s.data >= (const char *)data && s.len <= (size_t)(end - s.data));
			bt_gguf_int_at(kv, k);
			bt_gguf_float_at(kv, k);
		}
	}
	for (size_t i = 0; i < bt_gguf_n_tensors(g); i++) {
		const struct bt_tensor *t = bt_gguf_tensor_at(g, i);
		assert_true((const char *)t->data >= (const char *)data &&
		            t->size <= (size_t)(end - (const char *)t->data));
		assert_int_equal(t->size, t->row_bytes * t->n_rows);
	}
	bt_gguf_close(&g);
	return status;
}

static size_t peak_host(void)
{
	struct bt_mem_stats s;
	bt_mem_get_stats(&s);
	return s.peak[BT_MEM_HOST];
}

static void check_catalogue_entry(const char *file, const char *expect, const char *stage)
{
	char path[1024];
	struct baton_error err = {0};
	struct bt_gguf *g;
	snprintf(path, sizeof path, "%s/malformed/%s", getenv("BATON_TEST_DATA"), file);
	size_t blocks = live_blocks();
	enum baton_status status = bt_gguf_open(path, NULL, &g, &err);
	if (strcmp(stage, "parse") != 0 || strcmp(expect, "reject") != 0) {
		/* The container is sound; what is wrong inside is for others to see. */
		if (status) fail_msg("%s", err.text);
		bt_gguf_close(&g);
		return;
	}
	if (!status) fail_msg("%s was accepted", file);
	assert_null(g);
	assert_int_equal(err.status, status);
	const char *says = sentence_about(file);
	if (!strstr(err.text, says) || !strstr(err.text, file)) fail_msg("'%s' does not say '%s'", err.text, says);
	assert_null(strchr(err.text, '\n'));
	assert_int_equal(live_blocks(), blocks);
	struct bt_gguf_params p = {.read = true};
	assert_int_equal(bt_gguf_open(path, &p, &g, NULL), status);
}

static void the_catalogue_is_judged_as_its_index_says(void **state)
{
	(void)state;
	char path[1024];
	json_error_t e;
	json_t *index = json_load_file(data_path(path, sizeof path, "malformed/index.json"), 0, &e), *entry;
	if (!index) fail_msg("%s: %s", path, e.text);
	size_t i;
	assert_true(json_array_size(index) >= 51);
	json_array_foreach(index, i, entry) check_catalogue_entry(json_string_value(json_object_get(entry, "file")),
	                                                          json_string_value(json_object_get(entry, "expect")),
	                                                          json_string_value(json_object_get(entry, "stage")));
	json_decref(index);
	/* None of them made the library allocate: all are below 9,000 bytes. */
	assert_in_range(peak_host(), 1, 16384);
}

static void every_cut_of_a_file_is_refused(void **state)
{
	(void)state;
	size_t size, blocks = live_blocks();
	char path[1024];
	unsigned char *sound = read_file(data_path(path, sizeof path, "malformed/00-sound.gguf"), &size);
	assert_int_equal(probe(sound, size, NULL), BATON_OK);
	for (size_t n = 0; n < size; n++) {
		struct baton_error err = {0};
		/* An own block of the exact size, so that sanitizers see a byte too far. */
		unsigned char *cut = malloc(n ? n : 1);
		memcpy(cut, sound, n);
		if (probe(cut, n, &err) != BATON_ERR_FORMAT) fail_msg("cut at %zu: %s", n, err.text);
		free(cut);
	}
	free(sound);
	assert_int_equal(live_blocks(), blocks);
	assert_in_range(peak_host(), 1, 16384);
}

static void no_flipped_bit_does_harm(void **state)
{
	(void)state;
	size_t size, blocks = live_blocks(), refused = 0;
	char path[1024];
	unsigned char *bytes = read_file(data_path(path, sizeof path, "malformed/00-sound.gguf"), &size);
	size_t directory = 1760; /* where its data section begins */
	for (size_t bit = 0; bit < 8 * directory; bit++) {
		struct baton_error err = {0};
		bytes[bit / 8] ^= 1 << bit % 8;
		if (probe(bytes, size, &err)) {
			refused++;
			assert_int_not_equal(err.status, BATON_ERR_NOMEM);
			assert_non_null(strstr(err.text, "probe: "));
			for (const char *p = err.text; *p; p++) assert_in_range(*p, ' ', '~');
		}
		bytes[bit / 8] ^= 1 << bit % 8;
	}
	/* Lengths, types and counts are about half of the directory. */
	assert_in_range(refused, 2 * directory, 6 * directory);
	free(bytes);
	assert_int_equal(live_blocks(), blocks);
	/* A flipped type may turn bytes into strings, each with an entry in a table: at most twice the file. */
	assert_in_range(peak_host(), 1, 3 * size + 8192);
}

/* Counts and lengths that claim much must not be believed: nothing of their size may be allocated. */
static void claims_are_not_believed(void **state)
{
	(void)state;
	struct bt_mem_stats s;
	for (int shift = 8; shift < 64; shift++) /* less would fit */
		for (int what = 0; what < 5; what++) {
			uint64_t n = (uint64_t)1 << shift;
			struct bt_buf b;
			put_header(&b, 3, what == 0 ? n : 1, what == 1 ? n : 1);
			if (what == 2) put_kv_array(&b, "a", BT_GGUF_STRING, n);
			else if (what == 3) put_kv_array(&b, "a", BT_GGUF_F64, n);
			else put_kv_str(&b, "a", "b");
			if (what == 4) put_tensor(&b, "t", n, n, BT_TYPE_F32, 0);
			for (int i = 0; i < 4096; i++) put(&b, 0, 1);
			struct baton_error err;
			bt_mem_fail_at(0); /* counts from here */
			struct bt_gguf *g;
			assert_int_not_equal(bt_gguf_open_memory(b.data, b.len, "claims", &g, &err), BATON_OK);
			bt_mem_get_stats(&s);
			assert_int_equal(s.allocs, 2); /* its name and the empty model, nothing else */
			bt_buf_free(&b);
		}
}

static void a_key_needs_a_name(void **state)
{
	(void)state;
	struct bt_buf b;
	struct bt_gguf *g;
	struct baton_error err;
	put_header(&b, 3, 0, 1);
	put_kv(&b, "", BT_GGUF_U32, 1, 4);
	assert_int_equal(bt_gguf_open_memory(b.data, b.len, "nameless", &g, &err), BATON_ERR_FORMAT);
	assert_string_equal(err.text, "nameless: key 0: its name is empty (at byte 24)");
	bt_buf_free(&b);
}

/* The hash of src/gguf/index.c. */
static uint32_t hash(const char *s)
{
	uint64_t h = 0xCBF29CE484222325u;
	for (; *s; s++) h = (h ^ (unsigned char)*s) * 0x100000001B3u;
	h = (h ^ h >> 33) * 0xFF51AFD7ED558CCDu;
	return (uint32_t)(h ^ h >> 33);
}

/* Names chosen so that all fall into one slot would make the index quadratic: 65,536 of them, minutes of work. */
static void colliding_names_are_refused(void **state)
{
	(void)state;
	enum { N = 2000, SLOTS = 4096 };
	struct bt_buf b;
	struct bt_gguf *g;
	struct baton_error err;
	char name[32];
	put_header(&b, 3, 0, N);
	for (unsigned i = 0, found = 0; found < N; i++) {
		snprintf(name, sizeof name, "%x", i);
		if (hash(name) % SLOTS != 0) continue;
		put_kv(&b, name, BT_GGUF_U8, 0, 1);
		found++;
	}
	assert_int_equal(bt_gguf_open_memory(b.data, b.len, "colliding", &g, &err), BATON_ERR_FORMAT);
	assert_non_null(strstr(err.text, "collide"));
	bt_buf_free(&b);
}

static void duplicates_are_found_wherever_they_stand(void **state)
{
	(void)state;
	for (unsigned twin = 0; twin < 3000; twin += 271) {
		struct bt_buf b;
		char name[32];
		put_header(&b, 3, 0, 3001);
		for (unsigned i = 0; i <= 3000; i++) {
			snprintf(name, sizeof name, "key.%u", i < 3000 ? i : twin);
			put_kv(&b, name, BT_GGUF_U8, 0, 1);
		}
		struct baton_error err;
		struct bt_gguf *g;
		assert_int_equal(bt_gguf_open_memory(b.data, b.len, "twins", &g, &err), BATON_ERR_FORMAT);
		snprintf(name, sizeof name, "'key.%u' appears twice", twin);
		assert_non_null(strstr(err.text, name));
		bt_buf_free(&b);
	}
}

/* What the fuzzer found worth keeping: runs also where there is no fuzzer. */
static void the_corpus_of_the_fuzzer_does_no_harm(void **state)
{
	(void)state;
	char folder[1024], path[1300];
	size_t n = 0, blocks = live_blocks();
	DIR *dir = opendir(data_path(folder, sizeof folder, "../fuzz/corpus/gguf"));
	assert_non_null(dir);
	for (struct dirent *e; (e = readdir(dir));) {
		if (e->d_name[0] == '.') continue;
		size_t size;
		snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
		unsigned char *bytes = read_file(path, &size);
		probe(bytes, size, NULL);
		free(bytes);
		n++;
	}
	closedir(dir);
	assert_true(n > 100);
	assert_int_equal(live_blocks(), blocks);
}

static void every_failed_allocation_is_survived(void **state)
{
	(void)state;
	char path[1024];
	data_path(path, sizeof path, "models/llama-plain.Q8_0.gguf");
	for (int read = 0; read < 2; read++) {
		struct bt_gguf_params p = {.read = read};
		size_t blocks = live_blocks(), k;
		for (k = 1; k < 100; k++) {
			struct baton_error err = {0};
			struct bt_gguf *g;
			bt_mem_fail_at(k);
			enum baton_status status = bt_gguf_open(path, &p, &g, &err);
			bt_mem_fail_at(0);
			if (!status) bt_gguf_close(&g);
			assert_null(g);
			assert_int_equal(live_blocks(), blocks);
			if (!status) break;
			assert_int_equal(status, BATON_ERR_NOMEM);
			assert_non_null(strstr(err.text, "out of memory"));
		}
		assert_in_range(k, 7, 30); /* it did loop, and it did end */
	}
}

/* Cut the file at every 1,000th byte: all cuts are refused, for they all miss some tensor's data. */
static void cut_at_every_1000th_byte(const char *path)
{
	size_t blocks = live_blocks();
	int fd = open(path, O_RDONLY);
	struct stat st;
	assert_true(fd >= 0 && !fstat(fd, &st));
	size_t size = (size_t)st.st_size;
	const unsigned char *data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
	assert_ptr_not_equal(data, MAP_FAILED);
	struct baton_error err;
	if (probe(data, size, &err)) fail_msg("%s", err.text);
	for (size_t n = 0; n < size; n += 1000)
		if (probe(data, n, &err) != BATON_ERR_FORMAT) fail_msg("cut at %zu was accepted", n);
	munmap((void *)data, size);
	close(fd);
	assert_int_equal(live_blocks(), blocks);
}

static void a_small_model_cut_anywhere_is_refused(void **state)
{
	(void)state;
	char path[1024];
	cut_at_every_1000th_byte(data_path(path, sizeof path, "models/llama-plain.Q8_0.gguf"));
}

static char given[1024];

static void the_given_model_cut_anywhere_is_refused(void **state)
{
	(void)state;
	cut_at_every_1000th_byte(given);
}

static int run_given(const char *name)
{
	const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	snprintf(given, sizeof given, "%s%s/baton/models/%s", xdg ? xdg : home ? home : "", xdg ? "" : "/.cache", name);
	if (access(given, R_OK)) {
		printf("skipped: %s is not there; `baton pull smollm2` fetches it\n", given);
		return 77;
	}
	const struct CMUnitTest tests[] = {cmocka_unit_test(the_given_model_cut_anywhere_is_refused)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
	if (argc > 1) return run_given(argv[1]);
	const struct CMUnitTest tests[] = {
		/* In this order: peaks of memory only grow. */
		cmocka_unit_test(the_catalogue_is_judged_as_its_index_says),
		cmocka_unit_test(every_cut_of_a_file_is_refused),
		cmocka_unit_test(no_flipped_bit_does_harm),
		cmocka_unit_test(claims_are_not_believed),
		cmocka_unit_test(a_key_needs_a_name),
		cmocka_unit_test(colliding_names_are_refused),
		cmocka_unit_test(duplicates_are_found_wherever_they_stand),
		cmocka_unit_test(the_corpus_of_the_fuzzer_does_no_harm),
		cmocka_unit_test(every_failed_allocation_is_survived),
		cmocka_unit_test(a_small_model_cut_anywhere_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
