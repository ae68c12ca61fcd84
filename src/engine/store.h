/* store.h: devices that all sessions of a model share, with the weights that they hold.
 *
 * A back end whose devices may be shared (struct bt_backend, `shared`) keeps packed weights in an opened device. So the model
 * keeps the device: a second session finds its weights there, and they stay until the model is closed. A device that was lost is
 * not given out again. All calls may come from several threads.
 */
#ifndef BT_ENGINE_STORE_H
#define BT_ENGINE_STORE_H

#include "backend/backend.h"

struct bt_store;

enum baton_status bt_store_open(struct bt_store **out, struct baton_error *err);
/* When no session uses a device any more. NULL is fine. */
void bt_store_close(struct bt_store **store);

/* Device `index`, the one that there is or a new one; to be given back. store NULL, or devices that can't be shared: always a
 * new one. */
enum baton_status bt_store_take(struct bt_store *store, const struct bt_backend *backend, uint32_t index,
                                const struct bt_device_params *params, struct bt_device **out, struct baton_error *err);
/* lost: it has answered BATON_ERR_DEVICE. NULL is fine. */
void bt_store_give(struct bt_store *store, struct bt_device *dev, bool lost);
/* Bytes of weights that the store's device `index` holds: memory that is not free and yet there for this model. */
uint64_t bt_store_held(struct bt_store *store, const struct bt_backend *backend, uint32_t index);

#endif
