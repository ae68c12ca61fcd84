/* The memory planner: first fit over the lifetimes of the plan's values.
 *
 * The plan is a straight line, so a value lives from the first operation that names it to the last. Values are placed in
 * order of size, largest first, each at the lowest offset where no value alive at the same time is. */
#include "plan/plan.h"

#include <stdlib.h>

struct placed {
	uint32_t value, first, last;
	size_t size, offset;
};

static void note_use(struct placed *at, uint32_t v, uint32_t op)
{
	if (v == BT_NO_VALUE) return;
	if (at[v].first > op) at[v].first = op;
	if (at[v].last < op) at[v].last = op;
}

static int by_size(const void *a, const void *b)
{
	const struct placed *x = a, *y = b;
	if (x->size != y->size) return x->size < y->size ? 1 : -1;
	return x->value < y->value ? -1 : 1;
}

/* The lowest offset at which v fits among the n values placed already. */
static size_t find_place(const struct placed *at, size_t n, const struct placed *v)
{
	size_t offset = 0;
	for (bool moved = true; moved;) {
		moved = false;
		for (size_t i = 0; i < n; i++) {
			if (at[i].last < v->first || at[i].first > v->last) continue;
			if (at[i].offset >= offset + v->size || offset >= at[i].offset + at[i].size) continue;
			offset = at[i].offset + at[i].size;
			moved = true;
		}
	}
	return offset;
}

enum baton_status bt_plan_layout(const struct bt_plan *p, uint32_t n_tokens, uint32_t n_logits, uint32_t rest,
                                 size_t *offset, size_t *size, struct baton_error *err)
{
	struct placed *at = bt_mem_array(BT_MEM_HOST, p->n_values + 1, sizeof *at);
	if (!at) return bt_fail_nomem(err, p->n_values * sizeof *at, "planning memory");
	for (uint32_t v = 0; v < p->n_values; v++) {
		size_t bytes = bt_plan_rows(p, v, n_tokens, n_logits) * p->value[v].width * sizeof(float);
		at[v] = (struct placed){.value = v, .first = UINT32_MAX, .size = (bytes + 63) & ~(size_t)63};
	}
	for (uint32_t i = 0; i < p->n_ops; i++) {
		const struct bt_op *op = &p->op[i];
		for (size_t j = 0; j < sizeof op->in / sizeof *op->in; j++) note_use(at, op->in[j], i);
		for (size_t j = 0; j < sizeof op->out / sizeof *op->out; j++) note_use(at, op->out[j], i);
	}
	for (uint32_t i = 0; i < p->n_keeps; i++) note_use(at, p->keep[i].value, p->keep[i].op);
	for (uint32_t v = 0; v < p->n_values; v++) {
		at[v].last += rest;
		if (at[v].first == UINT32_MAX) at[v].size = 0; /* not in this share */
	}
	qsort(at, p->n_values, sizeof *at, by_size);
	*size = 0;
	for (uint32_t i = 0; i < p->n_values; i++) {
		at[i].offset = find_place(at, i, &at[i]);
		offset[at[i].value] = at[i].offset;
		if (*size < at[i].offset + at[i].size) *size = at[i].offset + at[i].size;
	}
	bt_mem_free(at);
	return BATON_OK;
}
