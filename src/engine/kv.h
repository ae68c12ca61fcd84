/* kv.h: the paged KV cache: which page of memory holds which 64 positions of which sequence.
 *
 * Pages are shared between sequences with a common beginning and counted; a shared page that is not full is copied
 * before anything is appended to it. This is bookkeeping only: the memory belongs to the session.
 */
#ifndef BT_ENGINE_KV_H
#define BT_ENGINE_KV_H

#include "backend/backend.h"

struct bt_seq {
	uint32_t *page; /* [cap_pages] */
	uint32_t n_pages, length;
};

struct bt_kv {
	uint32_t n_pages, n_free, n_seq, cap_pages; /* cap_pages: pages that one sequence may have */
	uint32_t *free;                             /* stack of free pages */
	uint32_t *refs;                             /* [n_pages] sequences that use a page */
	struct bt_seq *seq;                         /* [n_seq] */
};

/* Copy page src of every cache to page dst. */
typedef enum baton_status (*bt_kv_copy_fn)(void *user, uint32_t dst, uint32_t src, struct baton_error *err);

enum baton_status bt_kv_open(struct bt_kv *kv, uint32_t n_pages, uint32_t n_seq, uint32_t cap_pages,
                             struct baton_error *err);
void bt_kv_close(struct bt_kv *kv);

/* Pages that appending n tokens to seq would take from the free ones. */
uint32_t bt_kv_pages_needed(const struct bt_kv *kv, uint32_t seq, uint32_t n);

/* Make room for n more tokens and lengthen the sequence by them. The caller has checked that the pages are there
 * (bt_kv_pages_needed <= n_free) and that the sequence may grow so long; on failure (of a copy) nothing has changed. */
enum baton_status bt_kv_append(struct bt_kv *kv, uint32_t seq, uint32_t n, bt_kv_copy_fn copy, void *user,
                               struct baton_error *err);
/* Shorten to n tokens; pages that nobody uses any more are free again. */
void bt_kv_truncate(struct bt_kv *kv, uint32_t seq, uint32_t n);
/* dst shares all pages of src. */
void bt_kv_share(struct bt_kv *kv, uint32_t src, uint32_t dst);

#endif
