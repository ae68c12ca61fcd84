/* check.h: does a device compute what the host computes? For `baton doctor`.
 *
 * The operations of a plan are run one by one on both, with the same random inputs: a prompt of 70 tokens, one token behind it,
 * five more. Operations that do the same work (kind, shapes, weight types) are tried once. So every kernel that a model uses is
 * compared at that model's own shapes.
 */
#ifndef BT_ENGINE_CHECK_H
#define BT_ENGINE_CHECK_H

#include "backend/backend.h"

struct bt_check {
	const char *op; /* "matmul" */
	char types[48]; /* of its matrices: "Q4_K", "Q4_K/Q6_K"; "": none */
	uint32_t layer; /* of the first that does this work */
	uint32_t n_alike;
	double error; /* largest difference, relative to the largest value of the host's result */
	double allowed;
	bool ok;
	char text[256]; /* why not, in words; "" otherwise */
};
/* Gets each result as it comes; false: stop. */
typedef bool (*bt_check_fn)(void *user, const struct bt_check *result);

/* Check an opened device. n_skipped counts operations that it does not compute, which is no fault. Returns a failure only where
 * the check itself could not be made (memory, BATON_ERR_CANCELLED); faults of the device are results. */
enum baton_status bt_check_plan(const struct bt_plan *plan, const struct bt_backend *backend, uint32_t index,
                                struct bt_device *dev, bt_check_fn fn, void *user, uint32_t *n_skipped,
                                struct baton_error *err);
/* The largest difference of n values, relative to the largest of `want`; infinity where one is no number. */
double bt_check_values(const float *want, const float *got, size_t n);
/* Bytes that go to the device, are copied there and come back are the same. A fault is BATON_ERR_DEVICE. */
enum baton_status bt_check_memory(const struct bt_backend *backend, struct bt_device *dev, struct baton_error *err);

/* A plan to check where there is no model: every weight type that baton writes, and the other operations of a small transformer.
 * Not to be run as a whole. Tensors and their data are in *data, which outlives the plan. */
enum baton_status bt_check_default_plan(struct bt_plan *plan, struct bt_arena *data, struct baton_error *err);

#endif
