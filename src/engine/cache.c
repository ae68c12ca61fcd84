#include "engine/cache.h"

/* Bytes of a head's share of a page. */
static size_t share(const struct bt_type *type, uint32_t d)
{
	return BT_KV_PAGE * bt_type_row_bytes(type, d);
}

size_t bt_cache_page_bytes(const struct bt_cache_need *need)
{
	const struct bt_cache_shape *s = need->shape;
	return s->n_head_kv * (share(need->type_k, s->d_k) + share(need->type_v, s->d_v));
}

uint64_t bt_cache_head_bytes(const struct bt_cache_need *need)
{
	size_t k = share(need->type_k, need->shape->d_k), v = share(need->type_v, need->shape->d_v);
	return (uint64_t)need->n_pages * (k > v ? k : v);
}

uint32_t bt_cache_parts(const struct bt_cache_need *need, uint64_t max_alloc)
{
	uint64_t head = bt_cache_head_bytes(need), n = need->shape->n_head_kv;
	if (!max_alloc || head * n <= max_alloc) return 1;
	uint64_t most = max_alloc / head; /* heads of a part */
	return most ? (uint32_t)((n + most - 1) / most) : 0;
}

enum baton_status bt_cache_open(const struct bt_backend *backend, struct bt_device *dev, uint64_t max_alloc,
                                const struct bt_cache_need *need, struct bt_cache *out, struct baton_error *err)
{
	const struct bt_cache_shape *s = need->shape;
	uint32_t n = bt_cache_parts(need, max_alloc);
	*out = (struct bt_cache){.share_k = share(need->type_k, s->d_k), .share_v = share(need->type_v, s->d_v)};
	if (!n)
		return bt_fail(err, BATON_ERR_NOMEM, "a head's keys take %.2f GB; %.2f GB can be had at once",
		               (double)bt_cache_head_bytes(need) * 1e-9, (double)max_alloc * 1e-9);
	out->part = bt_mem_array(BT_MEM_HOST, n, sizeof *out->part);
	if (!out->part) return bt_fail_nomem(err, n * sizeof *out->part, "the KV cache");
	out->n_parts = n;
	enum baton_status status = BATON_OK;
	for (uint32_t i = 0; i < n && !status; i++) {
		struct bt_cache_part *p = &out->part[i];
		p->head0 = (uint32_t)((uint64_t)s->n_head_kv * i / n);
		p->n_head = (uint32_t)((uint64_t)s->n_head_kv * (i + 1) / n) - p->head0;
		size_t shares = (size_t)need->n_pages * p->n_head;
		status = backend->alloc(dev, BT_MEM_KV, shares * out->share_k, &p->k, err);
		if (!status) status = backend->alloc(dev, BT_MEM_KV, shares * out->share_v, &p->v, err);
	}
	return status;
}

void bt_cache_close(const struct bt_backend *backend, struct bt_device *dev, struct bt_cache *cache)
{
	for (uint32_t i = 0; i < cache->n_parts; i++) {
		backend->free(dev, &cache->part[i].k);
		backend->free(dev, &cache->part[i].v);
	}
	bt_mem_free(cache->part);
	*cache = (struct bt_cache){0};
}

enum baton_status bt_cache_copy_page(const struct bt_backend *backend, struct bt_device *dev, struct bt_cache *cache,
                                     uint32_t dst, uint32_t src, struct baton_error *err)
{
	enum baton_status status = BATON_OK;
	for (uint32_t i = 0; i < cache->n_parts && !status; i++) {
		struct bt_cache_part *p = &cache->part[i];
		size_t k = p->n_head * cache->share_k, v = p->n_head * cache->share_v;
		status = backend->copy(dev, &p->k, dst * k, &p->k, src * k, k, err);
		if (!status) status = backend->copy(dev, &p->v, dst * v, &p->v, src * v, v, err);
	}
	return status;
}
