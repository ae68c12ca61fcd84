/* Tests that of a mapped model with experts only what is used is read: the file is made here, far larger than what a few
 * tokens need, and nearly all of it are holes, so it takes neither disk nor time. */
#include "../gguf/make.h"
#include "helpers.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

enum { WIDTH = 256, FF = 4096, EXPERTS = 256, USED = 2, LAYERS = 2, HEAD = 64, HEADS = 4, VOCAB = 512 };

struct made {
	struct bt_buf b;
	uint64_t offset;
};

static void add(struct made *m, const char *name, int layer, uint64_t d0, uint64_t d1, uint64_t d2)
{
	char full[64];
	snprintf(full, sizeof full, "%s.weight", name);
	if (layer >= 0) snprintf(full, sizeof full, "blk.%d.%s.weight", layer, name);
	put_str(&m->b, full);
	put(&m->b, d2 ? 3 : 2, 4);
	put(&m->b, d0, 8);
	put(&m->b, d1, 8);
	if (d2) put(&m->b, d2, 8);
	put(&m->b, d2 ? BT_TYPE_Q8_0 : BT_TYPE_F32, 4);
	put(&m->b, m->offset, 8);
	uint64_t bytes = d2 ? d0 / 32 * 34 * d1 * d2 : d0 * d1 * 4;
	m->offset += (bytes + 31) / 32 * 32;
}

static void put_key(struct bt_buf *b, const char *key, uint32_t value)
{
	char full[64];
	snprintf(full, sizeof full, "qwen3moe.%s", key);
	put_kv(b, full, BT_GGUF_U32, value, 4);
}

/* The experts come last; what stands in front of them is written with numbers that let the router choose. Returns the
 * bytes in front. */
static uint64_t make_model(const char *path, uint64_t *size)
{
	struct made m = {0};
	put_header(&m.b, 3, 3 + LAYERS * 12, 12);
	put_kv_str(&m.b, "general.architecture", "qwen3moe");
	put_key(&m.b, "block_count", LAYERS);
	put_key(&m.b, "context_length", 64);
	put_key(&m.b, "embedding_length", WIDTH);
	put_key(&m.b, "attention.head_count", HEADS);
	put_key(&m.b, "attention.head_count_kv", HEADS);
	put_key(&m.b, "attention.key_length", HEAD);
	put_key(&m.b, "attention.value_length", HEAD);
	put_kv(&m.b, "qwen3moe.attention.layer_norm_rms_epsilon", BT_GGUF_F32, 0x358637BD, 4); /* 1e-6 */
	put_key(&m.b, "expert_count", EXPERTS);
	put_key(&m.b, "expert_used_count", USED);
	put_key(&m.b, "expert_feed_forward_length", FF);
	add(&m, "token_embd", -1, WIDTH, VOCAB, 0);
	add(&m, "output", -1, WIDTH, VOCAB, 0);
	add(&m, "output_norm", -1, WIDTH, 1, 0);
	for (int i = 0; i < LAYERS; i++) {
		add(&m, "attn_norm", i, WIDTH, 1, 0);
		add(&m, "ffn_norm", i, WIDTH, 1, 0);
		add(&m, "attn_q", i, WIDTH, HEADS * HEAD, 0);
		add(&m, "attn_k", i, WIDTH, HEADS * HEAD, 0);
		add(&m, "attn_v", i, WIDTH, HEADS * HEAD, 0);
		add(&m, "attn_output", i, HEADS * HEAD, WIDTH, 0);
		add(&m, "attn_q_norm", i, HEAD, 1, 0);
		add(&m, "attn_k_norm", i, HEAD, 1, 0);
		add(&m, "ffn_gate_inp", i, WIDTH, EXPERTS, 0);
	}
	uint64_t dense = m.offset;
	for (int i = 0; i < LAYERS; i++) {
		add(&m, "ffn_gate_exps", i, WIDTH, FF, EXPERTS);
		add(&m, "ffn_up_exps", i, WIDTH, FF, EXPERTS);
		add(&m, "ffn_down_exps", i, FF, WIDTH, EXPERTS);
	}
	pad(&m.b, 32);
	dense += m.b.len;
	*size = m.b.len + m.offset;
	uint32_t x = 1;
	while (m.b.len < dense) {
		x = x * 1664525 + 1013904223;
		float f = ((float)(x >> 8) / (1 << 24) - 0.5f) * 0.2f;
		bt_buf_add(&m.b, &f, sizeof f);
	}
	write_file(path, m.b.data, m.b.len);
	assert_int_equal(truncate(path, (off_t)*size), 0);
	bt_buf_free(&m.b);
	return dense;
}

/* Bytes of the file that are in memory. */
static uint64_t in_memory(const char *path, uint64_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), pages = (size + page - 1) / page, in = 0;
	int fd = open(path, O_RDONLY);
	assert_true(fd >= 0);
	void *p = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	unsigned char *map = malloc(pages);
	assert_non_null(map);
	assert_int_equal(mincore(p, size, map), 0);
	for (size_t i = 0; i < pages; i++) in += map[i] & 1;
	free(map);
	munmap(p, size);
	close(fd);
	return in * page;
}

static bool advice_is_heeded(const char *path, uint64_t size)
{
	int fd = open(path, O_RDONLY);
	void *p = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *last = (char *)p + (size - 1) / page * page;
	unsigned char there = 0;
	madvise(last, page, MADV_WILLNEED);
	assert_int_equal(mincore(last, page, &there), 0);
	munmap(p, size);
	close(fd);
	return there & 1;
}

static long waits(void)
{
	struct rusage u;
	getrusage(RUSAGE_SELF, &u);
	return u.ru_majflt;
}

static void experts_are_read_when_they_are_used(void **state)
{
	(void)state;
	char path[] = "/tmp/test_mapped.XXXXXX";
	close(mkstemp(path));
	uint64_t size, dense = make_model(path, &size);
	uint64_t expert = (uint64_t)3 * WIDTH / 32 * 34 * FF, token = LAYERS * USED * expert;
	/* Without it, under an emulator of another processor for one, the system reads around every page as it likes. */
	if (!advice_is_heeded(path, size)) {
		unlink(path);
		skip();
	}
	/* Room for what the system reads around the pages of the other weights, which lie in front. */
	uint64_t around = (uint64_t)32 << 20;
	assert_true(size > (dense + around + 4 * token) * 6);

	struct baton_model *m;
	struct baton_error err = {0};
	if (baton_model_open(path, NULL, &m, &err)) fail_msg("%s", err.text);
	assert_true(in_memory(path, size) <= dense + around);
	/* A session's first step always asks ahead; later ones as long as the system counts reads, which it does not do for
	 * holes. So: a session for every token. */
	uint64_t before = dense;
	for (size_t i = 0; i < 4; i++) {
		struct baton_session_params p = baton_session_params_default();
		p.n_threads = 2;
		struct baton_session *s = open_session(m, &p);
		assert_true(in_memory(path, size) <= before + around);
		long waited = waits();
		eval_prompt(s, 0, 0, i, 1);
		uint64_t now = in_memory(path, size);
		/* The experts of a token come whole, and no page of them is waited for. */
		if (i) {
			assert_true(now <= before + token + (uint64_t)LAYERS * USED * 3 * 65536);
			assert_int_equal(waits(), waited);
		}
		if (!i) assert_true(now >= token && now <= dense + around + token);
		before = now;
		baton_session_close(&s);
	}
	assert_true(before > 2 * token); /* they were not all the same experts */
	assert_true(before <= dense + around + 4 * token);
	baton_model_close(&m);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(experts_are_read_when_they_are_used)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
