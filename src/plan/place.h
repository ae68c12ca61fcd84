/* place.h: which device computes which operation, and where a plan is cut for that.
 *
 * The rules' names and meanings are llama.cpp's. They decide for operations that read matrices: -ot first, then -ncmoe,
 * then -ngl. All else follows: a KV cache or recurrent state lies where what it keeps is computed, and an operation
 * without a matrix goes where the fewest bytes have to cross. Matrices that one operation multiplies (q k v; gate up) stay
 * together: the first pattern that matches one of them decides.
 *
 * Device 0 is the host: it looks tokens up in the embedding and takes what nobody else does.
 */
#ifndef BT_PLAN_PLACE_H
#define BT_PLAN_PLACE_H

#include "plan/plan.h"

#define BT_MAX_DEVICES 16u

struct bt_place_device {
	const char *name;
	uint64_t memory; /* bytes that may be filled; 0: unknown, taken for enough */
	/* (optional) Whether the device computes this operation; what it does not falls to the host. NULL: everything. */
	bool (*supports)(const void *user, const struct bt_plan *plan, const struct bt_op *op);
	const void *user;
};

struct bt_place_rules {
	int32_t n_gpu_layers; /* layers, counted from the last, that the devices behind the host share; more than there are:
	                                the output too; -1: as many as their memory holds */
	uint32_t n_cpu_moe; /* the experts of so many layers, counted from the first, stay on the host */
	const char
		*override_tensor; /* "REGEX=DEVICE", several separated by , or ; the first that matches a weight's name
	                                counts; NULL: none */
	/* n_gpu_layers is -1, and neither of the others says anything: of a model with experts, whose weights are many and read
	 * seldom, those of the first layers stay on the host before whole layers do. */
	bool fit;
};

/* What the plan takes beside its weights. */
struct bt_place_need {
	const uint64_t *cache;       /* [n_caches] bytes of each KV cache */
	const uint64_t *state;       /* [n_states] bytes of each recurrent state, all sequences together */
	uint32_t n_tokens, n_logits; /* most rows in a step */
	/* (optional) Bytes that a weight takes on a device; NULL: as many as in the file. */
	uint64_t (*weight_bytes)(const void *user, uint32_t device, const struct bt_tensor *t);
	const void *user;
};

/* A value that goes from one device to another before a segment runs. */
struct bt_crossing {
	uint32_t value;
	uint8_t from, to;
	uint32_t part; /* of `from`, behind which it leaves: it must be over, and only the next may have begun */
	uint32_t leaves, arrives; /* which of plan->keep it is in the share of `from`, and of `to` */
};

/* What one device computes in one go. It waits for those whose values cross to it, and for what its device does before; all else
 * may be under way beside it. */
struct bt_segment {
	uint32_t device, first, n;      /* operations order[first] .. order[first + n - 1] of the placement */
	uint32_t part;                  /* which part of the device's share it is */
	uint32_t crossing, n_crossings; /* what has to cross before it runs */
};

/* What a device gets. */
struct bt_place_total {
	uint64_t weights, cache, state, scratch; /* bytes; a weight that two devices read counts on both */
	uint32_t n_ops, n_segments;
};

struct bt_placement {
	struct bt_arena arena; /* owns everything below */
	uint32_t n_devices;
	uint32_t n_gpu_layers; /* after -1 was resolved; n_layer + 1: all and the output */
	uint32_t n_cpu_moe;    /* likewise, after fitting */
	uint8_t *op;           /* [n_ops] device of each operation */
	uint8_t *cache;        /* [n_caches] */
	uint8_t *state;        /* [n_states] */
	uint32_t *order;       /* [n_ops] the plan's operations in the order in which they run, segment by segment */
	struct bt_segment *segment;
	uint32_t n_segments;
	uint32_t n_beside; /* segments that begin while another device computes one */
	struct bt_crossing *crossing;
	uint32_t n_crossings;
	struct bt_place_total device[BT_MAX_DEVICES];
};

/* Place a checked plan on n devices. Bad patterns and unknown names give one sentence (BATON_ERR_ARG). On failure
 * *out is empty. */
enum baton_status bt_place(const struct bt_plan *plan, const struct bt_place_device *device, uint32_t n,
                           const struct bt_place_rules *rules, const struct bt_place_need *need,
                           struct bt_placement *out, struct baton_error *err);
void bt_placement_free(struct bt_placement *p);

/* The share of one device: a plan of its operations alone, with a part for each of its segments. Values, caches and
 * states keep their numbers; they, and all that operations point to, remain the whole plan's, which must outlive the
 * share. */
enum baton_status bt_place_share(const struct bt_plan *plan, const struct bt_placement *p, uint32_t device,
                                 struct bt_plan *share, struct baton_error *err);
void bt_share_free(struct bt_plan *share);

/* Bytes of one crossing in a step of n_tokens and n_logits. */
static inline size_t bt_crossing_bytes(const struct bt_plan *plan, const struct bt_crossing *c, uint32_t n_tokens,
                                       uint32_t n_logits)
{
	return bt_plan_rows(plan, c->value, n_tokens, n_logits) * plan->value[c->value].width * sizeof(float);
}

/* ---- Between the files of this room ---- */

/* For each operation the device that a pattern of `rules` names, or BT_NO_DEVICE. */
#define BT_NO_DEVICE UINT8_MAX
enum baton_status bt_place_overrides(const struct bt_plan *plan, const struct bt_place_device *device, uint32_t n,
                                     const char *rules, uint8_t *forced, struct baton_error *err);

/* Walk the plan with operation i on device[i]: what crosses, in bytes for a step of one token that wants no logits (those
 * count a little). home[n_values] and valid[n_values] are working space. */
uint64_t bt_cut_cost(const struct bt_plan *plan, const uint8_t *device, uint8_t *home, uint32_t *valid);
/* order.c: fill p's order and segments from p->op, but for what crosses. */
enum baton_status bt_order(const struct bt_plan *plan, struct bt_placement *p, struct baton_error *err);
/* Fill p's order, segments, crossings and totals from p->op. */
enum baton_status bt_cut(const struct bt_plan *plan, const struct bt_place_need *need, struct bt_placement *p,
                         struct baton_error *err);

#endif
