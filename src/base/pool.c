/* pool.c: the thread pool.
 *
 * A loop is published by one store to `work`, a 64-bit word {loop number, chunks not claimed yet}. A thread claims a
 * chunk by compare-and-swap of {n, left} to {n, left - 1}: it succeeds only while loop n still has chunks, and a loop
 * can't end before the claimed chunk is done, so the plain fields that describe the loop are stable while they are read.
 * `unfinished` counts the chunks that are not done; the caller waits for it alone.
 *
 * Sleeping: both sides follow Dekker's pattern (announce, then look again; all sequentially consistent), so no wake-up
 * is lost: a worker counts itself in `sleepers` before it looks at `work` for the last time, the caller stores `work`
 * before it looks at `sleepers`; likewise the caller's `caller_sleeps` and the last chunk's `unfinished`.
 */
#include "base/pool.h"
#include "base/limits.h"
#include "base/mem.h"

#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* How long an idle thread looks before it sleeps: longer than the serial work between two loops of a generation step
 * (a few microseconds), short enough that a busy machine loses little. */
#define SPIN_NS 40000
/* The same where a GPU computes between two loops. */
#define PATIENT_NS 1000000

struct worker {
	struct bt_pool *pool;
	pthread_t thread;
	unsigned index;
};

struct bt_pool {
	/* written by the caller before `work` is stored, read by holders of a chunk */
	bt_task_fn fn;
	void *arg;
	size_t n_items, chunk;
	uint32_t n_chunks;

	unsigned n_threads;
	struct worker *workers; /* [n_threads - 1] */
	unsigned n_started;
	_Atomic uint64_t patience; /* nanoseconds that an idle worker looks for work before it sleeps */
	uint32_t loop;             /* number of the last loop; the caller's own */

	/* each on a cache line of its own */
	_Alignas(BT_MEM_ALIGN) _Atomic uint64_t work;
	_Alignas(BT_MEM_ALIGN) _Atomic uint32_t unfinished;
	_Atomic uint32_t caller_sleeps;
	_Alignas(BT_MEM_ALIGN) _Atomic uint32_t wake; /* futex of the workers: the number of the last loop */
	_Atomic uint32_t sleepers;
	_Atomic bool quit;
};

static void futex_wait(_Atomic uint32_t *word, uint32_t seen)
{
	/* any error (the word has changed, a signal) means: look again */
	(void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word, uint32_t n)
{
	(void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, n, NULL, NULL, 0);
}

static void relax(void)
{
#if defined __x86_64__
	__builtin_ia32_pause();
#elif defined __aarch64__
	__asm__ volatile("yield");
#endif
}

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* A bounded wait: false when the time is over. *until is 0 at first. */
static bool spin(uint64_t *until, unsigned *count, uint64_t patience)
{
	relax();
	if (++*count & 15) return true;
	uint64_t now = now_ns();
	if (!*until) *until = now + patience;
	return now < *until;
}

/* Claim and run chunks until none is left. */
static void work_on(struct bt_pool *p, unsigned thread)
{
	uint64_t w = atomic_load_explicit(&p->work, memory_order_acquire);
	while ((uint32_t)w) {
		if (!atomic_compare_exchange_weak_explicit(&p->work, &w, w - 1, memory_order_acq_rel,
		                                           memory_order_acquire))
			continue;
		size_t i = p->n_chunks - (uint32_t)w, begin = i * p->chunk, end = begin + p->chunk;
		p->fn(p->arg, begin, end < p->n_items ? end : p->n_items, thread);
		if (atomic_fetch_sub(&p->unfinished, 1) == 1 && atomic_load(&p->caller_sleeps))
			futex_wake(&p->unfinished, 1);
		w = atomic_load_explicit(&p->work, memory_order_acquire);
	}
}

static bool has_work(struct bt_pool *p)
{
	return (uint32_t)atomic_load_explicit(&p->work, memory_order_relaxed) || atomic_load(&p->quit);
}

static void wait_for_work(struct bt_pool *p)
{
	uint64_t until = 0;
	unsigned count = 0;
	while (!has_work(p))
		if (!spin(&until, &count, atomic_load_explicit(&p->patience, memory_order_relaxed))) break;
	while (!has_work(p)) {
		atomic_fetch_add(&p->sleepers, 1);
		uint32_t seen = atomic_load(&p->wake);
		if (!(uint32_t)atomic_load(&p->work) && !atomic_load(&p->quit)) futex_wait(&p->wake, seen);
		atomic_fetch_sub(&p->sleepers, 1);
	}
}

static void *worker_main(void *arg)
{
	struct worker *me = arg;
	while (!atomic_load(&me->pool->quit)) {
		work_on(me->pool, me->index);
		wait_for_work(me->pool);
	}
	return NULL;
}

static void wake_workers(struct bt_pool *p, uint32_t n)
{
	atomic_fetch_add(&p->wake, 1);
	uint32_t asleep = atomic_load(&p->sleepers);
	if (asleep) futex_wake(&p->wake, asleep < n ? asleep : n);
}

void bt_pool_run(struct bt_pool *p, bt_task_fn fn, void *arg, size_t n_items, size_t chunk)
{
	if (!n_items) return;
	size_t threads = p ? p->n_threads : 1;
	if (!chunk) chunk = (n_items + 4 * threads - 1) / (4 * threads);
	size_t n_chunks = (n_items - 1) / chunk + 1;
	if (threads == 1 || n_chunks == 1) {
		for (size_t i = 0; i < n_items; i += chunk) fn(arg, i, n_items - i < chunk ? n_items : i + chunk, 0);
		return;
	}
	while (n_chunks > UINT32_MAX) n_chunks = (n_items - 1) / (chunk *= 2) + 1;
	p->fn = fn;
	p->arg = arg;
	p->n_items = n_items;
	p->chunk = chunk;
	p->n_chunks = (uint32_t)n_chunks;
	atomic_store(&p->unfinished, p->n_chunks);
	atomic_store(&p->work, (uint64_t)++p->loop << 32 | p->n_chunks);
	wake_workers(p, p->n_chunks - 1);

	work_on(p, 0);
	uint64_t until = 0;
	unsigned count = 0;
	while (atomic_load(&p->unfinished))
		if (!spin(&until, &count, SPIN_NS)) break;
	while (atomic_load(&p->unfinished)) {
		atomic_store(&p->caller_sleeps, 1);
		uint32_t left = atomic_load(&p->unfinished);
		if (left) futex_wait(&p->unfinished, left);
		atomic_store(&p->caller_sleeps, 0);
	}
}

enum baton_status bt_pool_open(unsigned n_threads, struct bt_pool **out, struct baton_error *err)
{
	*out = NULL;
	if (!n_threads) n_threads = bt_pool_default_threads();
	if (n_threads > BT_LIMIT_THREADS)
		return bt_fail(err, BATON_ERR_LIMIT, "thread pool: %u threads asked for, at most %d are allowed",
		               n_threads, BT_LIMIT_THREADS);
	struct bt_pool *p = bt_mem_zalloc(BT_MEM_HOST, sizeof *p);
	if (!p) return bt_fail_nomem(err, sizeof *p, "the thread pool");
	p->n_threads = n_threads;
	p->patience = SPIN_NS;
	p->workers = bt_mem_array(BT_MEM_HOST, n_threads, sizeof *p->workers);
	if (!p->workers) {
		bt_pool_close(&p);
		return bt_fail_nomem(err, n_threads * sizeof *p->workers, "the thread pool");
	}
	for (unsigned i = 0; i + 1 < n_threads; i++) {
		p->workers[i] = (struct worker){.pool = p, .index = i + 1};
		int e = pthread_create(&p->workers[i].thread, NULL, worker_main, &p->workers[i]);
		if (e) {
			bt_pool_close(&p);
			return bt_fail(err, BATON_ERR_NOMEM,
			               "thread pool: thread %u of %u can't be started: %s; ask for fewer", i + 2,
			               n_threads, strerror(e));
		}
		p->n_started++;
	}
	*out = p;
	return BATON_OK;
}

void bt_pool_close(struct bt_pool **pool)
{
	struct bt_pool *p = *pool;
	*pool = NULL;
	if (!p) return;
	atomic_store(&p->quit, true);
	wake_workers(p, p->n_started);
	for (unsigned i = 0; i < p->n_started; i++) pthread_join(p->workers[i].thread, NULL);
	bt_mem_free(p->workers);
	bt_mem_free(p);
}

void bt_pool_wait_longer(struct bt_pool *pool)
{
	atomic_store(&pool->patience, PATIENT_NS);
}

unsigned bt_pool_threads(const struct bt_pool *pool)
{
	return pool ? pool->n_threads : 1;
}
