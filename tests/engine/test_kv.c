/* The page tables of the KV cache: counting, sharing, copying on write. And its memory, in parts of whole heads. */
#include "engine/cache.h"
#include "engine/kv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

struct copies {
	unsigned n;
	uint32_t dst, src;
	enum baton_status status;
};

static enum baton_status copy(void *user, uint32_t dst, uint32_t src, struct baton_error *err)
{
	struct copies *c = user;
	if (c->status) return bt_fail(err, c->status, "the copy failed");
	c->n++;
	c->dst = dst;
	c->src = src;
	return BATON_OK;
}

/* Every page is free or used by as many sequences as its count says. */
static void check_counts(const struct bt_kv *kv)
{
	uint32_t *seen = calloc(kv->n_pages, sizeof *seen), used = 0;
	for (uint32_t s = 0; s < kv->n_seq; s++) {
		assert_int_equal(kv->seq[s].n_pages, (kv->seq[s].length + BT_KV_PAGE - 1) / BT_KV_PAGE);
		for (uint32_t i = 0; i < kv->seq[s].n_pages; i++) seen[kv->seq[s].page[i]]++;
	}
	for (uint32_t p = 0; p < kv->n_pages; p++) {
		assert_int_equal(seen[p], kv->refs[p]);
		used += seen[p] > 0;
	}
	for (uint32_t i = 0; i < kv->n_free; i++) assert_int_equal(kv->refs[kv->free[i]], 0);
	assert_int_equal(used + kv->n_free, kv->n_pages);
	free(seen);
}

static void pages_are_shared_and_copied_on_write(void **state)
{
	(void)state;
	struct bt_kv kv;
	struct copies c = {0};
	assert_int_equal(bt_kv_open(&kv, 8, 3, 8, NULL), BATON_OK);
	assert_int_equal(bt_kv_pages_needed(&kv, 0, 1), 1);
	assert_int_equal(bt_kv_append(&kv, 0, 100, copy, &c, NULL), BATON_OK);
	check_counts(&kv);
	bt_kv_share(&kv, 0, 1);
	bt_kv_share(&kv, 0, 2);
	check_counts(&kv);
	assert_int_equal(kv.n_free, 6);

	/* The second page holds 36 tokens of three sequences: whoever appends gets a copy. */
	assert_int_equal(bt_kv_pages_needed(&kv, 1, 1), 1);
	uint32_t old = kv.seq[1].page[1];
	assert_int_equal(bt_kv_append(&kv, 1, 1, copy, &c, NULL), BATON_OK);
	assert_int_equal(c.n, 1);
	assert_int_equal(c.src, old);
	assert_int_equal(c.dst, kv.seq[1].page[1]);
	assert_int_not_equal(c.dst, old);
	check_counts(&kv);
	assert_int_equal(kv.seq[0].page[0], kv.seq[1].page[0]);

	/* A copy that fails leaves everything as it was. */
	c.status = BATON_ERR_DEVICE;
	assert_int_equal(bt_kv_append(&kv, 2, 1, copy, &c, NULL), BATON_ERR_DEVICE);
	assert_int_equal(kv.seq[2].length, 100);
	check_counts(&kv);

	/* Cut to a page border: nothing is shared in part, nothing is copied. */
	c.status = BATON_OK;
	bt_kv_truncate(&kv, 2, 64);
	assert_int_equal(bt_kv_pages_needed(&kv, 2, 1), 1);
	assert_int_equal(bt_kv_append(&kv, 2, 64, copy, &c, NULL), BATON_OK);
	assert_int_equal(c.n, 1);
	check_counts(&kv);
	for (uint32_t s = 0; s < 3; s++) bt_kv_truncate(&kv, s, 0);
	assert_int_equal(kv.n_free, 8);
	check_counts(&kv);
	bt_kv_close(&kv);
}

static void random_use_never_loses_a_page(void **state)
{
	(void)state;
	struct bt_kv kv;
	struct copies c = {0};
	assert_int_equal(bt_kv_open(&kv, 40, 5, 40, NULL), BATON_OK);
	srand(1);
	for (int i = 0; i < 20000; i++) {
		uint32_t s = (uint32_t)rand() % 5, n = (uint32_t)rand() % 150;
		switch (rand() % 3) {
		case 0:
			if (bt_kv_pages_needed(&kv, s, n) <= kv.n_free)
				assert_int_equal(bt_kv_append(&kv, s, n, copy, &c, NULL), BATON_OK);
			break;
		case 1: bt_kv_truncate(&kv, s, kv.seq[s].length ? (uint32_t)rand() % kv.seq[s].length : 0); break;
		case 2: bt_kv_share(&kv, s, (uint32_t)rand() % 5); break;
		}
		check_counts(&kv);
	}
	assert_true(c.n > 100);
	bt_kv_close(&kv);
}

extern const struct bt_backend bt_backend_cpu;

/* Five heads of 32 keys and 64 values, as halves; three pages. */
static const struct bt_cache_shape five = {.n_head_kv = 5, .d_k = 32, .d_v = 64};
enum { KEYS = 64 * 32 * 2, VALUES = 64 * 64 * 2, PAGES = 3 };

static struct bt_cache_need need_of_five(void)
{
	const struct bt_type *half = bt_type_get(BT_TYPE_F16);
	return (struct bt_cache_need){&five, half, half, PAGES};
}

static void parts_are_near_equal_and_of_whole_heads(void **state)
{
	(void)state;
	struct bt_cache_need need = need_of_five();
	assert_int_equal(bt_cache_page_bytes(&need), 5 * (KEYS + VALUES));
	assert_int_equal(bt_cache_head_bytes(&need), PAGES * VALUES);
	const struct {
		uint64_t heads;
		uint32_t parts;
	} c[] = {{5, 1}, {4, 2}, {3, 2}, {2, 3}, {1, 5}};
	assert_int_equal(bt_cache_parts(&need, 0), 1);
	assert_int_equal(bt_cache_parts(&need, PAGES * VALUES - 1), 0);
	for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
		assert_int_equal(bt_cache_parts(&need, c[i].heads * PAGES * VALUES), c[i].parts);
		assert_int_equal(bt_cache_parts(&need, (c[i].heads + 1) * PAGES * VALUES - 1), c[i].parts);
	}
	/* The largest that limits.h allows: nothing is cut off at 32 bits. */
	struct bt_cache_shape large = {.n_head_kv = 128, .d_k = 256, .d_v = 256};
	need = (struct bt_cache_need){&large, need.type_k, need.type_v, 1 << 20};
	assert_true(bt_cache_head_bytes(&need) == (uint64_t)1 << 35);
	assert_int_equal(bt_cache_parts(&need, (uint64_t)3 << 35), 43);
	assert_int_equal(bt_cache_parts(&need, (uint64_t)1 << 32), 0);
}

static void pages_are_copied_in_every_part(void **state)
{
	(void)state;
	const struct bt_backend *cpu = &bt_backend_cpu;
	struct bt_device_params params = {.n_threads = 1};
	struct bt_device *dev;
	struct bt_cache cache;
	struct bt_cache_need need = need_of_five();
	assert_int_equal(cpu->open(0, &params, &dev, NULL), BATON_OK);
	assert_int_equal(bt_cache_open(cpu, dev, 2 * PAGES * VALUES, &need, &cache, NULL), BATON_OK);
	assert_int_equal(cache.n_parts, 3);
	uint32_t heads = 0;
	for (uint32_t i = 0; i < 3; i++) {
		struct bt_cache_part *p = &cache.part[i];
		assert_int_equal(p->head0, heads);
		heads += p->n_head;
		assert_true(p->n_head == 1 || p->n_head == 2);
		assert_int_equal(p->k.size, PAGES * p->n_head * KEYS);
		assert_int_equal(p->v.size, PAGES * p->n_head * VALUES);
		for (size_t j = 0; j < p->k.size; j++) ((unsigned char *)p->k.host)[j] = (unsigned char)(j / 7 + i);
		for (size_t j = 0; j < p->v.size; j++) ((unsigned char *)p->v.host)[j] = (unsigned char)(j / 5 + i);
	}
	assert_int_equal(heads, 5);
	assert_int_equal(bt_cache_copy_page(cpu, dev, &cache, 0, 2, NULL), BATON_OK);
	for (uint32_t i = 0; i < 3; i++)
		for (int values = 0; values < 2; values++) {
			const struct bt_dev_mem *mem = values ? &cache.part[i].v : &cache.part[i].k;
			size_t page = mem->size / PAGES;
			for (size_t j = 0; j < mem->size; j++) {
				size_t from = j < page ? j + 2 * page : j;
				assert_int_equal(((unsigned char *)mem->host)[j],
				                 (unsigned char)(from / (values ? 5 : 7) + i));
			}
		}
	bt_cache_close(cpu, dev, &cache);
	assert_null(cache.part);
	cpu->close(dev);
}

/* Whatever there is no memory for: what was had before is given back. */
static void half_a_cache_is_closed(void **state)
{
	(void)state;
	const struct bt_backend *cpu = &bt_backend_cpu;
	struct bt_device_params params = {.n_threads = 1};
	struct bt_cache_need need = need_of_five();
	struct bt_device *dev;
	struct bt_cache cache;
	struct bt_mem_stats before, after;
	assert_int_equal(cpu->open(0, &params, &dev, NULL), BATON_OK);
	bt_mem_get_stats(&before);
	for (uint64_t n = 1; n <= 7; n++) {
		bt_mem_fail_at(n);
		assert_int_equal(bt_cache_open(cpu, dev, 2 * PAGES * VALUES, &need, &cache, NULL), BATON_ERR_NOMEM);
		bt_mem_fail_at(0);
		bt_cache_close(cpu, dev, &cache);
		bt_mem_get_stats(&after);
		assert_int_equal(before.blocks, after.blocks);
	}
	assert_int_equal(bt_cache_open(cpu, dev, VALUES, &need, &cache, NULL), BATON_ERR_NOMEM);
	bt_cache_close(cpu, dev, &cache);
	cpu->close(dev);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pages_are_shared_and_copied_on_write),
		cmocka_unit_test(random_use_never_loses_a_page),
		cmocka_unit_test(parts_are_near_equal_and_of_whole_heads),
		cmocka_unit_test(pages_are_copied_in_every_part),
		cmocka_unit_test(half_a_cache_is_closed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
