#include "base/mem.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* In front of every block, so that free needs no size. One cache line: the block behind it stays aligned. */
struct header {
	size_t size;
	enum bt_mem_cat cat;
};
#define HEADER BT_MEM_ALIGN
_Static_assert(sizeof(struct header) <= HEADER, "the header fits into its line");

static atomic_size_t cur[BT_MEM_CATS], peak[BT_MEM_CATS], live, allocs, fail_at;

static bool inject(void)
{
	size_t n = atomic_fetch_add_explicit(&allocs, 1, memory_order_relaxed) + 1;
	return n == atomic_load_explicit(&fail_at, memory_order_relaxed);
}

static void count(enum bt_mem_cat cat, size_t size)
{
	size_t now = atomic_fetch_add_explicit(&cur[cat], size, memory_order_relaxed) + size;
	size_t old = atomic_load_explicit(&peak[cat], memory_order_relaxed);
	while (now > old && !atomic_compare_exchange_weak_explicit(&peak[cat], &old, now, memory_order_relaxed,
	                                                           memory_order_relaxed))
		;
	atomic_fetch_add_explicit(&live, 1, memory_order_relaxed);
}

static void uncount(enum bt_mem_cat cat, size_t size)
{
	atomic_fetch_sub_explicit(&cur[cat], size, memory_order_relaxed);
	atomic_fetch_sub_explicit(&live, 1, memory_order_relaxed);
}

void *bt_mem_alloc(enum bt_mem_cat cat, size_t size)
{
	size_t total;
	/* One byte at least: a pointer to the end of its block is none of its own to a leak checker. */
	if (inject() || !bt_add_size(size ? size : 1, HEADER, &total) || total > PTRDIFF_MAX) return NULL;
	void *base = NULL;
	if (posix_memalign(&base, BT_MEM_ALIGN, total)) return NULL;
	struct header *h = base;
	h->size = size;
	h->cat = cat;
	count(cat, size);
	return (char *)base + HEADER;
}

void *bt_mem_zalloc(enum bt_mem_cat cat, size_t size)
{
	void *p = bt_mem_alloc(cat, size);
	if (p) memset(p, 0, size);
	return p;
}

void *bt_mem_array(enum bt_mem_cat cat, size_t n, size_t size)
{
	size_t total;
	return bt_mul_size(n, size, &total) ? bt_mem_zalloc(cat, total) : NULL;
}

void *bt_mem_realloc(enum bt_mem_cat cat, void *p, size_t size)
{
	if (!p) return bt_mem_alloc(cat, size);
	/* realloc() does not keep the alignment, so: allocate, copy, free. Growth is geometric everywhere. */
	const struct header *h = (const struct header *)((char *)p - HEADER);
	void *q = bt_mem_alloc(cat, size);
	if (!q) return NULL;
	memcpy(q, p, h->size < size ? h->size : size);
	bt_mem_free(p);
	return q;
}

void bt_mem_free(void *p)
{
	if (!p) return;
	struct header *h = (struct header *)((char *)p - HEADER);
	uncount(h->cat, h->size);
	free(h);
}

char *bt_mem_strndup(enum bt_mem_cat cat, const char *s, size_t len)
{
	char *p = len < PTRDIFF_MAX ? bt_mem_alloc(cat, len + 1) : NULL;
	if (!p) return NULL;
	memcpy(p, s, len);
	p[len] = 0;
	return p;
}

char *bt_mem_strdup(enum bt_mem_cat cat, const char *s)
{
	return bt_mem_strndup(cat, s, strlen(s));
}

void *bt_mem_pages(enum bt_mem_cat cat, size_t size)
{
	if (inject()) return NULL;
	void *p = mmap(NULL, size ? size : 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
	               0);
	if (p == MAP_FAILED) return NULL;
	count(cat, size);
	return p;
}

void bt_mem_free_pages(enum bt_mem_cat cat, void *p, size_t size)
{
	if (!p) return;
	munmap(p, size ? size : 1);
	uncount(cat, size);
}

void bt_mem_get_stats(struct bt_mem_stats *s)
{
	for (int i = 0; i < BT_MEM_CATS; i++) {
		s->current[i] = atomic_load_explicit(&cur[i], memory_order_relaxed);
		s->peak[i] = atomic_load_explicit(&peak[i], memory_order_relaxed);
	}
	s->blocks = atomic_load_explicit(&live, memory_order_relaxed);
	s->allocs = atomic_load_explicit(&allocs, memory_order_relaxed);
}

const char *bt_mem_cat_name(enum bt_mem_cat cat)
{
	static const char *const name[BT_MEM_CATS] = {"host", "weights", "kv", "state", "scratch", "staging", "text"};
	return cat < BT_MEM_CATS ? name[cat] : "?";
}

void bt_mem_fail_at(size_t k)
{
	atomic_store(&allocs, 0);
	atomic_store(&fail_at, k);
}

struct bt_arena_chunk {
	struct bt_arena_chunk *next;
	size_t size, used;
};
#define CHUNK_HEAD 32
#define CHUNK_MIN  ((size_t)64 << 10)
_Static_assert(sizeof(struct bt_arena_chunk) <= CHUNK_HEAD, "chunk header");

void bt_arena_init(struct bt_arena *a, enum bt_mem_cat cat, size_t limit)
{
	*a = (struct bt_arena){.cat = cat, .limit = limit};
}

void *bt_arena_alloc(struct bt_arena *a, size_t size)
{
	size_t need;
	if (!bt_add_size(size, 15, &need)) return NULL;
	need &= ~(size_t)15;
	if (a->limit && (need > a->limit || a->used > a->limit - need)) return NULL;
	struct bt_arena_chunk *c = a->head;
	if (!c || c->size - c->used < need) {
		size_t want = need > CHUNK_MIN ? need : CHUNK_MIN, total;
		if (!bt_add_size(want, CHUNK_HEAD, &total)) return NULL;
		c = bt_mem_alloc(a->cat, total);
		if (!c) return NULL;
		*c = (struct bt_arena_chunk){.size = want, .next = a->head};
		/* An oversized chunk is full at once: keep filling the one before it. */
		if (a->head && want > CHUNK_MIN) {
			c->next = a->head->next;
			a->head->next = c;
		} else {
			a->head = c;
		}
	}
	void *p = (char *)c + CHUNK_HEAD + c->used;
	c->used += need;
	a->used += need;
	return p;
}

void *bt_arena_zalloc(struct bt_arena *a, size_t size)
{
	void *p = bt_arena_alloc(a, size);
	if (p) memset(p, 0, size);
	return p;
}

char *bt_arena_strndup(struct bt_arena *a, const char *s, size_t len)
{
	char *p = len < PTRDIFF_MAX ? bt_arena_alloc(a, len + 1) : NULL;
	if (!p) return NULL;
	memcpy(p, s, len);
	p[len] = 0;
	return p;
}

void bt_arena_free(struct bt_arena *a)
{
	for (struct bt_arena_chunk *c = a->head, *next; c; c = next) {
		next = c->next;
		bt_mem_free(c);
	}
	a->head = NULL;
	a->used = 0;
}
