#include "engine/kv.h"

#include <string.h>

enum baton_status bt_kv_open(struct bt_kv *kv, uint32_t n_pages, uint32_t n_seq, uint32_t cap_pages,
                             struct baton_error *err)
{
	*kv = (struct bt_kv){.n_pages = n_pages, .n_seq = n_seq, .cap_pages = cap_pages};
	kv->free = bt_mem_array(BT_MEM_HOST, n_pages + 1u, sizeof *kv->free);
	kv->refs = bt_mem_array(BT_MEM_HOST, n_pages + 1u, sizeof *kv->refs);
	kv->seq = bt_mem_array(BT_MEM_HOST, n_seq + 1u, sizeof *kv->seq);
	bool ok = kv->free && kv->refs && kv->seq;
	for (uint32_t s = 0; ok && s < n_seq; s++)
		ok = (kv->seq[s].page = bt_mem_array(BT_MEM_HOST, cap_pages + 1u, sizeof(uint32_t))) != NULL;
	if (!ok) {
		bt_kv_close(kv);
		return bt_fail_nomem(err, (size_t)n_pages * sizeof *kv->free, "the page tables of the KV cache");
	}
	/* The lowest page is on top, so that a short conversation touches the front of the memory only. */
	while (kv->n_free < n_pages) {
		kv->free[kv->n_free] = n_pages - 1 - kv->n_free;
		kv->n_free++;
	}
	return BATON_OK;
}

void bt_kv_close(struct bt_kv *kv)
{
	for (uint32_t s = 0; kv->seq && s < kv->n_seq; s++) bt_mem_free(kv->seq[s].page);
	bt_mem_free(kv->seq);
	bt_mem_free(kv->free);
	bt_mem_free(kv->refs);
	*kv = (struct bt_kv){0};
}

/* Is the last page partly filled and used by others too? */
static bool must_copy(const struct bt_kv *kv, const struct bt_seq *s)
{
	return s->length % BT_KV_PAGE && kv->refs[s->page[s->n_pages - 1]] > 1;
}

uint32_t bt_kv_pages_needed(const struct bt_kv *kv, uint32_t seq, uint32_t n)
{
	const struct bt_seq *s = &kv->seq[seq];
	if (!n) return 0;
	return (s->length + n + BT_KV_PAGE - 1) / BT_KV_PAGE - s->n_pages + must_copy(kv, s);
}

static uint32_t take(struct bt_kv *kv)
{
	uint32_t page = kv->free[--kv->n_free];
	kv->refs[page] = 1;
	return page;
}

static void drop(struct bt_kv *kv, uint32_t page)
{
	if (!--kv->refs[page]) kv->free[kv->n_free++] = page;
}

enum baton_status bt_kv_append(struct bt_kv *kv, uint32_t seq, uint32_t n, bt_kv_copy_fn copy, void *user,
                               struct baton_error *err)
{
	struct bt_seq *s = &kv->seq[seq];
	if (n && must_copy(kv, s)) {
		uint32_t *last = &s->page[s->n_pages - 1], fresh = take(kv);
		enum baton_status status = copy(user, fresh, *last, err);
		if (status) {
			drop(kv, fresh);
			return status;
		}
		drop(kv, *last);
		*last = fresh;
	}
	s->length += n;
	while (s->n_pages * BT_KV_PAGE < s->length) s->page[s->n_pages++] = take(kv);
	return BATON_OK;
}

void bt_kv_truncate(struct bt_kv *kv, uint32_t seq, uint32_t n)
{
	struct bt_seq *s = &kv->seq[seq];
	if (n >= s->length) return;
	uint32_t keep = (n + BT_KV_PAGE - 1) / BT_KV_PAGE;
	while (s->n_pages > keep) drop(kv, s->page[--s->n_pages]);
	s->length = n;
}

void bt_kv_share(struct bt_kv *kv, uint32_t src, uint32_t dst)
{
	if (src == dst) return;
	bt_kv_truncate(kv, dst, 0);
	struct bt_seq *to = &kv->seq[dst], *from = &kv->seq[src];
	for (uint32_t i = 0; i < from->n_pages; i++) kv->refs[to->page[i] = from->page[i]]++;
	to->n_pages = from->n_pages;
	to->length = from->length;
}
