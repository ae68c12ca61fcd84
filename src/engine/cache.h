/* cache.h: the memory of a layer's keys and values (struct bt_cache in backend/backend.h). */
#ifndef BT_ENGINE_CACHE_H
#define BT_ENGINE_CACHE_H

#include "backend/backend.h"

/* What a cache is to hold. */
struct bt_cache_need {
	const struct bt_cache_shape *shape;
	const struct bt_type *type_k, *type_v;
	uint32_t n_pages;
};

/* Bytes of all heads' keys and values in a page; of the keys or the values, whichever are more, of one head in all pages. */
size_t bt_cache_page_bytes(const struct bt_cache_need *need);
uint64_t bt_cache_head_bytes(const struct bt_cache_need *need);

/* How many parts of whole heads, near-equal ones, the cache takes on a device that gives max_alloc bytes at once (0: any number). 0:
 * not even one head fits. */
uint32_t bt_cache_parts(const struct bt_cache_need *need, uint64_t max_alloc);
/* The memory in that many parts, all zeros. On failure, BATON_ERR_NOMEM where no head fits, *out is still to be closed. */
enum baton_status bt_cache_open(const struct bt_backend *backend, struct bt_device *dev, uint64_t max_alloc,
                                const struct bt_cache_need *need, struct bt_cache *out, struct baton_error *err);
/* Takes half-opened ones and {0}, and leaves {0}. */
void bt_cache_close(const struct bt_backend *backend, struct bt_device *dev, struct bt_cache *cache);
/* Copy a page's keys and values to another page. */
enum baton_status bt_cache_copy_page(const struct bt_backend *backend, struct bt_device *dev, struct bt_cache *cache,
                                     uint32_t dst, uint32_t src, struct baton_error *err);

#endif
