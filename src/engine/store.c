#include "engine/store.h"

#include <pthread.h>

struct kept {
	const struct bt_backend *backend;
	uint32_t index, users;
	bool lost;
	struct bt_device *dev; /* NULL: a free place */
};
#define MOST 64u

struct bt_store {
	pthread_mutex_t
		lock; /* of everything below, and held while a device is opened: two sessions must not open it twice */
	struct kept kept[MOST];
};

enum baton_status bt_store_open(struct bt_store **out, struct baton_error *err)
{
	*out = bt_mem_zalloc(BT_MEM_HOST, sizeof **out);
	if (!*out) return bt_fail_nomem(err, sizeof **out, "the devices of a model");
	pthread_mutex_init(&(*out)->lock, NULL);
	return BATON_OK;
}

void bt_store_close(struct bt_store **store)
{
	struct bt_store *st = *store;
	if (!st) return;
	for (uint32_t i = 0; i < MOST; i++)
		if (st->kept[i].dev) st->kept[i].backend->close(st->kept[i].dev);
	pthread_mutex_destroy(&st->lock);
	bt_mem_free(st);
	*store = NULL;
}

/* The place of a device that may be used, or NULL. */
static struct kept *find(struct bt_store *st, const struct bt_backend *backend, uint32_t index)
{
	for (uint32_t i = 0; i < MOST; i++) {
		struct kept *k = &st->kept[i];
		if (k->dev && !k->lost && k->backend == backend && k->index == index) return k;
	}
	return NULL;
}

enum baton_status bt_store_take(struct bt_store *st, const struct bt_backend *backend, uint32_t index,
                                const struct bt_device_params *params, struct bt_device **out, struct baton_error *err)
{
	if (!st || !backend->shared) return backend->open(index, params, out, err);
	enum baton_status status = BATON_OK;
	pthread_mutex_lock(&st->lock);
	struct kept *k = find(st, backend, index);
	*out = k ? k->dev : NULL;
	if (!k) status = backend->open(index, params, out, err);
	for (uint32_t i = 0; i < MOST && !k && !status; i++)
		if (!st->kept[i].dev) {
			k = &st->kept[i];
			*k = (struct kept){.backend = backend, .index = index, .dev = *out};
		}
	if (k && !status) k->users++; /* else, with every place full, it is this session's alone */
	pthread_mutex_unlock(&st->lock);
	return status;
}

void bt_store_give(struct bt_store *st, struct bt_device *dev, bool lost)
{
	struct kept *k = NULL;
	if (!dev) return;
	if (st) pthread_mutex_lock(&st->lock);
	for (uint32_t i = 0; st && i < MOST && !k; i++)
		if (st->kept[i].dev == dev) k = &st->kept[i];
	if (k) {
		k->users--;
		k->lost |= lost;
	}
	if (!k || (k->lost && !k->users)) {
		dev->backend->close(dev);
		if (k) *k = (struct kept){0};
	}
	if (st) pthread_mutex_unlock(&st->lock);
}

uint64_t bt_store_held(struct bt_store *st, const struct bt_backend *backend, uint32_t index)
{
	uint64_t bytes = 0;
	if (!st || !backend->held) return 0;
	pthread_mutex_lock(&st->lock);
	struct kept *k = find(st, backend, index);
	if (k) bytes = backend->held(k->dev);
	pthread_mutex_unlock(&st->lock);
	return bytes;
}
