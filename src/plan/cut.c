/* What crosses between the segments of a placed plan, and each device's share. */
#include "plan/place.h"

#include <stdlib.h>
#include <string.h>

/* Where the values are while the plan is walked: home is the device that wrote a value last, valid has a bit for every
 * device that holds it as it is now. */
struct walk {
	const struct bt_plan *plan;
	uint8_t *home;
	uint32_t *valid;
	uint32_t *part; /* the part of home that wrote it; not for costs */
};

/* The values that an operation reads: its inputs, and results that it adds to. */
static uint32_t values_read(const struct bt_op *op, uint32_t v[BT_MAX_INS + BT_MAX_MATS])
{
	uint32_t n = 0;
	for (size_t j = 0; j < BT_MAX_INS; j++)
		if (op->in[j] != BT_NO_VALUE) v[n++] = op->in[j];
	if (bt_op_adds(op)) v[n++] = op->out[0];
	return n;
}

static void note_writes(struct walk *w, const struct bt_op *op, uint8_t device)
{
	for (size_t j = 0; j < BT_MAX_MATS; j++) {
		if (op->out[j] == BT_NO_VALUE) continue;
		w->home[op->out[j]] = device;
		w->valid[op->out[j]] = 1u << device;
	}
}

/* A value's weight in the choice of places: rows of a step of one token, in sixteenths; rows of logits count for one of
 * them, because a prompt has few. */
static uint64_t value_cost(const struct bt_plan *p, uint32_t v)
{
	uint64_t cost = (uint64_t)bt_plan_rows(p, v, 16, 1) * p->value[v].width;
	return cost ? cost : 1;
}

uint64_t bt_cut_cost(const struct bt_plan *plan, const uint8_t *device, uint8_t *home, uint32_t *valid)
{
	struct walk w = {plan, home, valid};
	uint64_t cost = 0;
	memset(valid, 0, plan->n_values * sizeof *valid);
	for (uint32_t i = 0; i < plan->n_ops; i++) {
		uint32_t v[BT_MAX_INS + BT_MAX_MATS], n = values_read(&plan->op[i], v), bit = 1u << device[i];
		for (uint32_t j = 0; j < n; j++) {
			if (valid[v[j]] & bit) continue;
			cost += value_cost(plan, v[j]);
			valid[v[j]] |= bit;
		}
		note_writes(&w, &plan->op[i], device[i]);
	}
	return cost;
}

/* What crosses before each segment, but for the keeps. out NULL only counts. */
static uint32_t find_crossings(struct walk *w, struct bt_placement *p, struct bt_crossing *out)
{
	uint32_t n = 0;
	memset(w->valid, 0, w->plan->n_values * sizeof *w->valid);
	for (uint32_t s = 0; s < p->n_segments; s++) {
		struct bt_segment *seg = &p->segment[s];
		uint8_t to = (uint8_t)seg->device;
		seg->crossing = n;
		for (uint32_t i = seg->first; i < seg->first + seg->n; i++) {
			const struct bt_op *op = &w->plan->op[p->order[i]];
			uint32_t v[BT_MAX_INS + BT_MAX_MATS], n_read = values_read(op, v);
			for (uint32_t j = 0; j < n_read; j++) {
				if (w->valid[v[j]] >> to & 1) continue;
				w->valid[v[j]] |= 1u << to;
				if (out)
					out[n] = (struct bt_crossing){.value = v[j],
					                              .from = w->home[v[j]],
					                              .to = to,
					                              .part = w->part[v[j]]};
				n++;
			}
			note_writes(w, op, to);
			for (size_t j = 0; j < BT_MAX_MATS; j++)
				if (op->out[j] != BT_NO_VALUE) w->part[op->out[j]] = seg->part;
		}
		seg->n_crossings = n - seg->crossing;
	}
	return n;
}

/* What a segment takes from a device leaves behind one part of it: the last that has any of it, so that there is one to wait for.
 * Boxes of mapped memory hold two parts, by turns: it may not be an older one than the last but one. */
static void join_crossings(struct bt_placement *p)
{
	uint32_t begun[BT_MAX_DEVICES] = {0}, over[BT_MAX_DEVICES] = {0}, keeps[BT_MAX_DEVICES] = {0};
	p->n_beside = 0;
	for (uint32_t s = 0; s < p->n_segments; s++) {
		struct bt_segment *seg = &p->segment[s];
		uint32_t part[BT_MAX_DEVICES];
		for (uint32_t d = 0; d < p->n_devices; d++) part[d] = begun[d] < 2 ? 0 : begun[d] - 2;
		for (uint32_t i = seg->crossing; i < seg->crossing + seg->n_crossings; i++) {
			const struct bt_crossing *c = &p->crossing[i];
			if (part[c->from] < c->part) part[c->from] = c->part;
		}
		for (uint32_t i = seg->crossing; i < seg->crossing + seg->n_crossings; i++) {
			struct bt_crossing *c = &p->crossing[i];
			c->part = part[c->from];
			c->arrives = keeps[c->to]++;
			c->leaves = keeps[c->from]++;
			if (over[c->from] <= c->part) over[c->from] = c->part + 1;
		}
		bool beside = false;
		for (uint32_t d = 1; d < p->n_devices; d++) beside |= d != seg->device && over[d] < begun[d];
		p->n_beside += beside;
		begun[seg->device]++;
	}
}

/* A weight and a device that reads it. */
struct use {
	const struct bt_tensor *t;
	uint32_t device;
};

static int by_use(const void *a, const void *b)
{
	const struct use *x = a, *y = b;
	if (x->device != y->device) return x->device < y->device ? -1 : 1;
	return x->t < y->t ? -1 : x->t > y->t;
}

static enum baton_status add_weights(const struct bt_plan *plan, const struct bt_place_need *need,
                                     struct bt_placement *p, struct baton_error *err)
{
	struct use *use = bt_mem_array(BT_MEM_HOST, plan->n_ops * (size_t)BT_OP_TENSORS + 1, sizeof *use);
	size_t n = 0;
	if (!use) return bt_fail_nomem(err, plan->n_ops * (size_t)BT_OP_TENSORS * sizeof *use, "placing the plan");
	for (uint32_t i = 0; i < plan->n_ops; i++) {
		const struct bt_tensor *t[BT_OP_TENSORS];
		for (uint32_t j = 0, k = bt_op_tensors(&plan->op[i], t); j < k; j++)
			use[n++] = (struct use){t[j], p->op[i]};
		p->device[p->op[i]].n_ops++;
	}
	qsort(use, n, sizeof *use, by_use);
	for (size_t i = 0; i < n; i++)
		if (!i || by_use(&use[i - 1], &use[i]))
			p->device[use[i].device].weights += need->weight_bytes
			                                            ? need->weight_bytes(need->user, use[i].device,
			                                                                 use[i].t)
			                                            : use[i].t->size;
	bt_mem_free(use);
	return BATON_OK;
}

/* Scratch memory: the share's values, laid out as a GPU would; the CPU's take less. */
static enum baton_status add_scratch(const struct bt_plan *plan, const struct bt_place_need *need,
                                     struct bt_placement *p, struct baton_error *err)
{
	size_t *offset = bt_mem_array(BT_MEM_HOST, plan->n_values + 1, sizeof *offset);
	if (!offset) return bt_fail_nomem(err, plan->n_values * sizeof *offset, "placing the plan");
	enum baton_status status = BATON_OK;
	for (uint32_t d = 0; d < p->n_devices && !status; d++) {
		struct bt_plan share;
		size_t size = 0;
		if (!p->device[d].n_ops) continue;
		status = bt_place_share(plan, p, d, &share, err);
		if (!status)
			status = bt_plan_layout(&share, need->n_tokens, need->n_logits, BT_PLAN_REST, offset, &size,
			                        err);
		p->device[d].scratch = size;
		bt_share_free(&share);
	}
	bt_mem_free(offset);
	return status;
}

enum baton_status bt_cut(const struct bt_plan *plan, const struct bt_place_need *need, struct bt_placement *p,
                         struct baton_error *err)
{
	struct walk w = {.plan = plan};
	enum baton_status status = BATON_OK;
	memset(p->device, 0, sizeof p->device);
	w.home = bt_mem_array(BT_MEM_HOST, plan->n_values + 1, sizeof *w.home);
	w.valid = bt_mem_array(BT_MEM_HOST, plan->n_values + 1, sizeof *w.valid);
	w.part = bt_mem_array(BT_MEM_HOST, plan->n_values + 1, sizeof *w.part);
	if (!w.home || !w.valid || !w.part) status = bt_fail_nomem(err, plan->n_values, "placing the plan");
	if (!status) status = bt_order(plan, p, err);
	if (status) goto out;
	p->n_crossings = find_crossings(&w, p, NULL);
	p->crossing = bt_arena_zalloc(&p->arena, (p->n_crossings + 1u) * sizeof *p->crossing);
	if (!p->crossing) {
		status = bt_fail_nomem(err, p->n_crossings * sizeof *p->crossing, "placing the plan");
		goto out;
	}
	find_crossings(&w, p, p->crossing);
	join_crossings(p);
	for (uint32_t i = 0; i < plan->n_caches; i++)
		if (need->cache) p->device[p->cache[i]].cache += need->cache[i];
	for (uint32_t i = 0; i < plan->n_states; i++)
		if (need->state) p->device[p->state[i]].state += need->state[i];
	status = add_weights(plan, need, p, err);
	if (!status) status = add_scratch(plan, need, p, err);
out:
	bt_mem_free(w.home);
	bt_mem_free(w.valid);
	bt_mem_free(w.part);
	return status;
}

/* Note in the share of `device` what must stay in place though no operation names it there: a value that arrives has its
 * place from the segment's first operation on; one that leaves keeps it up to the device's last operation before, since memory
 * that the CPU computes in is read when the other's turn comes. */
static void note_keeps(const struct bt_placement *p, uint32_t device, struct bt_plan *share)
{
	uint32_t done = 0; /* operations of this device so far */
	for (uint32_t s = 0; s < p->n_segments; s++) {
		const struct bt_segment *seg = &p->segment[s];
		for (uint32_t i = 0; i < seg->n_crossings; i++) {
			const struct bt_crossing *c = &p->crossing[seg->crossing + i];
			if (c->to == device)
				share->keep[share->n_keeps++] = (struct bt_keep){c->value, done, seg->part, false};
			if (c->from == device)
				share->keep[share->n_keeps++] = (struct bt_keep){c->value, done - 1, c->part, true};
		}
		if (seg->device == device) done += seg->n;
	}
}

enum baton_status bt_place_share(const struct bt_plan *plan, const struct bt_placement *p, uint32_t device,
                                 struct bt_plan *share, struct baton_error *err)
{
	const struct bt_place_total *total = &p->device[device];
	*share = *plan;
	bt_arena_init(&share->arena, BT_MEM_HOST, 0);
	share->n_ops = share->cap_ops = share->n_parts = share->n_keeps = 0;
	share->op = bt_arena_zalloc(&share->arena, (total->n_ops + 1u) * sizeof *share->op);
	share->part = bt_arena_zalloc(&share->arena, (total->n_segments + 1u) * sizeof *share->part);
	share->keep = bt_arena_zalloc(&share->arena, (2 * p->n_crossings + 1u) * sizeof *share->keep);
	if (!share->op || !share->part || !share->keep) {
		bt_share_free(share);
		return bt_fail_nomem(err, total->n_ops * sizeof *share->op, "a device's share of the plan");
	}
	for (uint32_t s = 0; s < p->n_segments; s++) {
		const struct bt_segment *seg = &p->segment[s];
		if (seg->device != device) continue;
		share->part[share->n_parts++] = (struct bt_part){share->n_ops, seg->n};
		for (uint32_t i = seg->first; i < seg->first + seg->n; i++)
			share->op[share->n_ops++] = plan->op[p->order[i]];
	}
	note_keeps(p, device, share);
	return BATON_OK;
}

void bt_share_free(struct bt_plan *share)
{
	struct bt_arena arena = share->arena;
	bt_arena_free(&arena);
	bt_plan_init(share);
}
