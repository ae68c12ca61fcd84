/* The page tables of the KV cache: counting, sharing, copying on write. */
#include "engine/kv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdlib.h>

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pages_are_shared_and_copied_on_write),
		cmocka_unit_test(random_use_never_loses_a_page),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
