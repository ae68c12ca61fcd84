/* Tests of the thread pool: every item once, right thread numbers, results visible, sleeping and waking, failures. */
#include "base/limits.h"
#include "base/mem.h"
#include "base/pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

struct count {
	unsigned char *hits; /* [n] */
	size_t n, chunk;
	unsigned n_threads;
	atomic_uint bad;
};

static void count_items(void *arg, size_t begin, size_t end, unsigned thread)
{
	struct count *c = arg;
	if (thread >= c->n_threads || begin >= end || end > c->n || (c->chunk && end - begin > c->chunk))
		atomic_fetch_add(&c->bad, 1);
	for (size_t i = begin; i < end; i++) c->hits[i]++; /* plain: a race here is a doubly claimed chunk */
}

static void every_item_runs_once(void **state)
{
	(void)state;
	static const size_t sizes[] = {1, 2, 3, 7, 64, 1000, 4099}, chunks[] = {0, 1, 2, 5, 64, 5000};
	static unsigned char hits[4099];
	for (unsigned threads = 1; threads <= 5; threads++) {
		struct bt_pool *pool = NULL;
		assert_int_equal(bt_pool_open(threads, &pool, NULL), BATON_OK);
		assert_int_equal(bt_pool_threads(pool), threads);
		for (unsigned i = 0; i < 7; i++)
			for (unsigned j = 0; j < 6; j++) {
				struct count c = {.hits = hits,
				                  .n = sizes[i],
				                  .chunk = chunks[j],
				                  .n_threads = threads};
				memset(hits, 0, sizeof hits);
				bt_pool_run(pool, count_items, &c, sizes[i], chunks[j]);
				for (size_t k = 0; k < sizes[i]; k++) assert_int_equal(hits[k], 1);
				assert_int_equal(c.bad, 0);
			}
		bt_pool_run(pool, count_items, NULL, 0, 1);
		bt_pool_close(&pool);
		assert_null(pool);
		bt_pool_close(&pool);
	}
}

static void without_a_pool_the_caller_works(void **state)
{
	(void)state;
	unsigned char hits[10] = {0};
	struct count c = {.hits = hits, .n = 10, .chunk = 3, .n_threads = 1};
	bt_pool_run(NULL, count_items, &c, 10, 3);
	for (int i = 0; i < 10; i++) assert_int_equal(hits[i], 1);
	assert_int_equal(c.bad, 0);
	assert_int_equal(bt_pool_threads(NULL), 1);
}

/* Many short loops, each depending on the one before, so that late workers meet loops that are over; now and then a
 * pause, so that workers fall asleep and have to be woken. */
static void loops_follow_each_other(void **state)
{
	(void)state;
	enum { N = 61, LOOPS = 20000 };
	static unsigned char hits[N];
	struct bt_pool *pool = NULL;
	assert_int_equal(bt_pool_open(4, &pool, NULL), BATON_OK);
	for (unsigned loop = 0; loop < LOOPS; loop++) {
		struct count c = {.hits = hits, .n = 1 + loop % N, .chunk = 1 + loop % 3, .n_threads = 4};
		unsigned char before = hits[0];
		bt_pool_run(pool, count_items, &c, c.n, c.chunk);
		assert_int_equal(hits[0], (unsigned char)(before + 1));
		assert_int_equal(c.bad, 0);
		if (loop % 4000 == 0) nanosleep(&(struct timespec){.tv_nsec = 3000000}, NULL);
	}
	unsigned total = 0;
	for (unsigned loop = 0; loop < LOOPS; loop++) total += loop % N == N - 1;
	assert_int_equal(hits[N - 1], (unsigned char)total);
	bt_pool_close(&pool);
}

static void first_chunk_waits(void *arg, size_t begin, size_t end, unsigned thread)
{
	atomic_uint *done = arg;
	(void)end, (void)thread;
	if (begin == 0) /* the holder of chunk 0 is held up until all others are done: someone else must do them */
		while (atomic_load(done) < 99) sched_yield();
	atomic_fetch_add(done, 1);
}

static void a_held_up_thread_delays_only_its_chunk(void **state)
{
	(void)state;
	struct bt_pool *pool = NULL;
	assert_int_equal(bt_pool_open(3, &pool, NULL), BATON_OK);
	for (int i = 0; i < 20; i++) {
		atomic_uint done = 0;
		bt_pool_run(pool, first_chunk_waits, &done, 100, 1);
		assert_int_equal(done, 100);
	}
	bt_pool_close(&pool);
}

static void opening_fails_cleanly(void **state)
{
	(void)state;
	struct baton_error err;
	struct bt_pool *pool = NULL;
	struct bt_mem_stats before, after;
	bt_mem_get_stats(&before);
	assert_int_equal(bt_pool_open(BT_LIMIT_THREADS + 1, &pool, &err), BATON_ERR_LIMIT);
	for (size_t k = 1; k <= 2; k++) {
		bt_mem_fail_at(k);
		assert_int_equal(bt_pool_open(2, &pool, &err), BATON_ERR_NOMEM);
		assert_null(pool);
	}
	bt_mem_fail_at(0);
	bt_mem_get_stats(&after);
	assert_int_equal(before.blocks, after.blocks);
	assert_true(bt_pool_default_threads() >= 1);
	assert_int_equal(bt_pool_open(0, &pool, &err), BATON_OK);
	assert_int_equal(bt_pool_threads(pool), bt_pool_default_threads());
	bt_pool_close(&pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_item_runs_once),    cmocka_unit_test(without_a_pool_the_caller_works),
		cmocka_unit_test(loops_follow_each_other), cmocka_unit_test(a_held_up_thread_delays_only_its_chunk),
		cmocka_unit_test(opening_fails_cleanly),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
