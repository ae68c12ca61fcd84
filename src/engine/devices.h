/* devices.h: the devices of a session: which take part, what is placed on each, and one step over all of them.
 *
 * With one device its plan is the model's, and a step is one call. With several each has a share of the plan; values that
 * one computes and another reads are copied when the reader's turn comes, and parts that do not need each other are computed at
 * the same time where a back end can begin one without waiting for it.
 */
#ifndef BT_ENGINE_DEVICES_H
#define BT_ENGINE_DEVICES_H

#include "engine/store.h"
#include "plan/place.h"

struct bt_session_device {
	const struct bt_backend *backend;
	uint32_t index; /* among the back end's devices */
	struct bt_device_info info;
	struct bt_device *dev; /* NULL: nothing is placed on it, so it was not opened */
	bool lost;             /* it has failed: no session is to have it again */
	struct bt_plan share;  /* of several devices; empty where one has the whole plan */
	struct bt_exec *exec;
	uint32_t begun, over; /* parts of its share in the step under way: begun, and known to be over */
};

struct bt_devices {
	const struct bt_plan *plan;
	struct bt_store *store;                          /* the model's */
	struct bt_session_device device[BT_MAX_DEVICES]; /* [0] is the host, whether it is used or not */
	uint32_t n;
	struct bt_placement place;
	bool exact;      /* as in struct bt_compile */
	uint32_t n_ctx;  /* tokens that need's caches are for */
	bool chosen;     /* nobody named devices: who computes was decided here */
	bool tried;      /* then: a GPU was found fit; stays after bt_devices_open has failed */
	char why[256];   /* or why the GPU that there is does not compute; "": it does, or there is none */
	char names[128]; /* "Vulkan0, CPU": those that compute more than the lookup in the embedding, the host last */
};

/* Find the devices of a list ("Vulkan0,Vulkan1", also separated by /; "none": the host alone), place the plan on them and open
 * those that got something. Rules and sizes as in plan/place.h. list NULL: the first device beside the host that is not hidden,
 * computes every operation and has the memory for all that the rules give it; else the host. */
/* exact and n_ctx of d are set before. What the rules ask for explicitly must fit where rules->fit is set: else one sentence with the
 * rules that would (BATON_ERR_NOMEM). */
enum baton_status bt_devices_open(struct bt_devices *d, const struct bt_plan *plan, struct bt_store *store,
                                  const char *list, const struct bt_device_params *params,
                                  const struct bt_place_rules *rules, const struct bt_place_need *need,
                                  struct baton_error *err);
/* Takes half-opened ones too. */
void bt_devices_close(struct bt_devices *d);

/* Make the plan ready on all devices; c->plan is not looked at. On failure everything is as before. */
enum baton_status bt_devices_compile(struct bt_devices *d, const struct bt_compile *c, struct baton_error *err);
/* Compute one step; logits are in step->logits on return, and nothing is under way, whatever the status. */
enum baton_status bt_devices_run(struct bt_devices *d, struct bt_step *step, struct baton_error *err);
/* A call on the devices has failed so: after BATON_ERR_DEVICE no other session is to be given the same ones. */
void bt_devices_failed(struct bt_devices *d, enum baton_status status);
/* What the first device of names is, "AMD EPYC (avx512vnni)". */
const char *bt_devices_description(const struct bt_devices *d);
/* Bytes of scratch memory on all devices. */
size_t bt_devices_scratch(const struct bt_devices *d);

/* Does the list name anything but the host (NULL: is there anything else that is not hidden)? false also for a list that is no
 * good. */
bool bt_devices_accelerated(const char *list);

#endif
