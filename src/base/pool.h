/* pool.h: one pool of threads; work handed out in chunks.
 *
 * bt_pool_run is a parallel loop over items: chunks are claimed one at a time by whoever is free, so a slow, stolen or
 * sleeping core delays nobody beyond the chunk that it holds. The caller works too. Nobody waits for a thread that has
 * not claimed a chunk: a claim is a compare-and-swap on one word that carries the loop's number, so a late thread
 * can't take work of a loop that is over. Idle workers spin briefly, then sleep on a futex.
 */
#ifndef BT_BASE_POOL_H
#define BT_BASE_POOL_H

#include "base/status.h"

struct bt_pool;

/* One chunk: items begin <= i < end. thread is 0 (the caller) .. n_threads-1: for per-thread scratch memory. */
typedef void (*bt_task_fn)(void *arg, size_t begin, size_t end, unsigned thread);

/* n_threads counts the caller: n_threads - 1 workers are started. 0 means bt_pool_default_threads(). */
enum baton_status bt_pool_open(unsigned n_threads, struct bt_pool **out, struct baton_error *err);
void bt_pool_close(struct bt_pool **pool);
/* Workers are to look for work longer before they sleep: another device computes between two loops of a step. */
void bt_pool_wait_longer(struct bt_pool *pool);
unsigned bt_pool_threads(const struct bt_pool *pool);

/* Run fn over n_items in chunks of `chunk` items (0: as many chunks as give every thread about four). Returns when all
 * are done. One caller at a time; fn must not call bt_pool_run on the same pool. pool NULL: runs on the caller alone. */
void bt_pool_run(struct bt_pool *pool, bt_task_fn fn, void *arg, size_t n_items, size_t chunk);

/* Physical cores that this process may run on (affinity mask, cgroup quota), at least 1. */
unsigned bt_pool_default_threads(void);

#endif
