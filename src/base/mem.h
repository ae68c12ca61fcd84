/* mem.h: the one allocator of the library, and arenas on top of it.
 *
 * Every host allocation carries a category, which feeds the memory report and lets a test make the k-th allocation
 * fail. All functions are thread-safe; blocks are aligned to BT_MEM_ALIGN bytes, so that SIMD code may load from their
 * start. Sizes are checked before they are multiplied: use bt_mem_array for counts that come from a file or a request.
 */
#ifndef BT_BASE_MEM_H
#define BT_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BT_MEM_ALIGN 64

enum bt_mem_cat {
	BT_MEM_HOST,    /* directories, tables, strings, everything small */
	BT_MEM_WEIGHTS, /* tensor data that was read rather than mapped */
	BT_MEM_KV,      /* KV cache pages */
	BT_MEM_STATE,   /* recurrent state and its snapshots */
	BT_MEM_SCRATCH, /* activations and per-thread panels */
	BT_MEM_STAGING, /* upload and download buffers */
	BT_MEM_TEXT,    /* tokenizer, templates */
	BT_MEM_CATS
};

/* NULL when there is no memory, or when the failure injection says so. size 0 gives a valid block. */
void *bt_mem_alloc(enum bt_mem_cat cat, size_t size);
void *bt_mem_zalloc(enum bt_mem_cat cat, size_t size);
/* count * size bytes, zeroed; NULL on overflow. */
void *bt_mem_array(enum bt_mem_cat cat, size_t count, size_t size);
/* Grow or shrink; p NULL allocates. On failure the old block stays valid and NULL is returned. */
void *bt_mem_realloc(enum bt_mem_cat cat, void *p, size_t size);
void bt_mem_free(void *p);
char *bt_mem_strdup(enum bt_mem_cat cat, const char *s);
/* len bytes of s and a final NUL. */
char *bt_mem_strndup(enum bt_mem_cat cat, const char *s, size_t len);

/* Anonymous pages straight from the system, for blocks that are large and may never be touched (KV caches): counted in
 * full, resident only when used. Free with bt_mem_free_pages and the same size. */
void *bt_mem_pages(enum bt_mem_cat cat, size_t size);
void bt_mem_free_pages(enum bt_mem_cat cat, void *p, size_t size);

/* Bytes that this process may still fill without anybody else being swapped out or killed: what the system calls available
 * (which counts cached files, since those give way), or less where a control group (a container) allows less.
 * UINT64_MAX when nobody knows. The other form reads /proc and /sys/fs/cgroup elsewhere (tests). */
uint64_t bt_mem_available(void);
uint64_t bt_mem_available_in(const char *proc, const char *cgroup);

struct bt_mem_stats {
	size_t current[BT_MEM_CATS]; /* bytes asked for and not freed yet */
	size_t peak[BT_MEM_CATS];
	size_t blocks; /* live blocks */
	size_t allocs; /* allocations since the process began (or since bt_mem_fail_at) */
};
void bt_mem_get_stats(struct bt_mem_stats *stats);
const char *bt_mem_cat_name(enum bt_mem_cat cat);

/* Failure injection for tests: reset the count of allocations and make the k-th from now (1 = the next) fail once.
 * 0 switches it off. */
void bt_mem_fail_at(size_t k);

/* An arena: many small objects with one lifetime, freed together. Not thread-safe. */
struct bt_arena {
	struct bt_arena_chunk *head;
	enum bt_mem_cat cat;
	size_t used, limit; /* bytes given out; the ceiling (0: none) past which allocations fail */
};
void bt_arena_init(struct bt_arena *a, enum bt_mem_cat cat, size_t limit);
/* 16-byte aligned, not zeroed. NULL when memory or the limit is exhausted. */
void *bt_arena_alloc(struct bt_arena *a, size_t size);
void *bt_arena_zalloc(struct bt_arena *a, size_t size);
char *bt_arena_strndup(struct bt_arena *a, const char *s, size_t len);
void bt_arena_free(struct bt_arena *a);

/* *out = a * b, a + b; false on overflow. */
static inline bool bt_mul_size(size_t a, size_t b, size_t *out)
{
	return !__builtin_mul_overflow(a, b, out);
}
static inline bool bt_add_size(size_t a, size_t b, size_t *out)
{
	return !__builtin_add_overflow(a, b, out);
}

#endif
