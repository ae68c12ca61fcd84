/* The order in which a placed plan runs: segments, which of them wait for what, and what two devices compute at the same time.
 *
 * A segment is what one device computes in one go. To begin with that is a run of the plan up to the next change of device; then
 * the next device would always wait for the one before. So neighbours X and Y are looked at in pairs: Y may begin with
 * operations that need only some of X, or nothing of it. X is then split into what those need and the rest, Y into those and
 * the rest:
 *
 *     X Y    becomes    X1, then X2 beside Y1, then Y2
 *
 * Nothing is computed differently or in another order as far as it depends on each other: whoever reads or writes a value, a
 * cache or a state that another operation writes keeps its place towards it. */
#include "plan/place.h"

#include <string.h>

/* What an operation touches: values, and behind them the plan's caches and states as if they were values. */
struct touch {
	uint32_t what;
	bool write;
};
#define TOUCHES (BT_MAX_INS + BT_MAX_MATS + 1)

static uint32_t touches(const struct bt_plan *p, const struct bt_op *op, struct touch t[TOUCHES])
{
	uint32_t n = 0;
	for (size_t j = 0; j < BT_MAX_INS; j++)
		if (op->in[j] != BT_NO_VALUE) t[n++] = (struct touch){op->in[j], false};
	for (size_t j = 0; j < BT_MAX_MATS; j++)
		if (op->out[j] != BT_NO_VALUE) t[n++] = (struct touch){op->out[j], true};
	uint32_t cache = p->n_values, state = cache + p->n_caches;
	switch (op->kind) {
	case BT_OP_KV_STORE: t[n++] = (struct touch){cache + op->kv.cache, true}; break;
	case BT_OP_ATTENTION: t[n++] = (struct touch){cache + op->attention.cache, false}; break;
	case BT_OP_CONV: t[n++] = (struct touch){state + op->conv.state, true}; break;
	case BT_OP_DELTA_NET:
	case BT_OP_MAMBA2: t[n++] = (struct touch){state + op->recurrence.state, true}; break;
	default: break;
	}
	return n;
}

enum { READ = 1, WRITTEN = 2 };

/* Working space. */
struct order {
	const struct bt_plan *plan;
	struct bt_placement *p;
	uint8_t *seen;  /* [values, caches, states] READ, WRITTEN: by the operations that are noted */
	bool *first;    /* [n_ops] part of X1 or Y1 */
	uint32_t *rest; /* [n_ops] */
};

static void note_nothing(struct order *o)
{
	memset(o->seen, 0, o->plan->n_values + o->plan->n_caches + o->plan->n_states);
}

static void note(struct order *o, uint32_t op)
{
	struct touch t[TOUCHES];
	for (uint32_t i = 0, n = touches(o->plan, &o->plan->op[op], t); i < n; i++)
		o->seen[t[i].what] |= t[i].write ? WRITTEN | READ : READ;
}

/* Must the operation keep its place towards one that is noted? */
static bool tied(const struct order *o, uint32_t op)
{
	struct touch t[TOUCHES];
	for (uint32_t i = 0, n = touches(o->plan, &o->plan->op[op], t); i < n; i++)
		if (o->seen[t[i].what] & (t[i].write ? READ : WRITTEN)) return true;
	return false;
}

static bool heavy(const struct order *o, uint32_t op)
{
	return bt_op_table[o->plan->op[op].kind].heavy;
}

/* Mark in `first` what operation y of Y (the plan's operations from y0 on) needs of X, and what of Y needs no more. x: the
 * operations of X. false: there is no heavy work left in X to be done beside y. */
static bool mark(struct order *o, const uint32_t *x, uint32_t n_x, uint32_t y0, uint32_t n_y, uint32_t y)
{
	bool left = false;
	note_nothing(o);
	note(o, y);
	for (uint32_t i = y; i-- > y0;)
		if (tied(o, i)) note(o, i);
	for (uint32_t i = n_x; i-- > 0;) {
		o->first[x[i]] = tied(o, x[i]);
		if (o->first[x[i]]) note(o, x[i]);
		else left |= heavy(o, x[i]);
	}
	if (!left) return false;
	note_nothing(o);
	for (uint32_t i = 0; i < n_x; i++)
		if (!o->first[x[i]]) note(o, x[i]);
	for (uint32_t i = y0; i < y0 + n_y; i++) {
		o->first[i] = !tied(o, i);
		if (!o->first[i]) note(o, i);
	}
	return true;
}

static void add_segment(struct bt_placement *p, uint32_t device, uint32_t first, uint32_t n)
{
	if (n) p->segment[p->n_segments++] = (struct bt_segment){.device = device, .first = first, .n = n};
}

/* Put those that are marked, or those that are not, at `at` of the order; returns how many. */
static uint32_t put(struct order *o, const uint32_t *op, uint32_t n, bool first, uint32_t at)
{
	uint32_t put = 0;
	for (uint32_t i = 0; i < n; i++)
		if (o->first[op[i]] == first) o->p->order[at + put++] = op[i];
	return put;
}

/* X, the last segment so far, and Y of n_y operations behind it become X1, X2, Y1, Y2. The host computes what it is given before
 * it does anything else, so the other device comes first. */
static void split(struct order *o, uint32_t n_y)
{
	struct bt_placement *p = o->p;
	struct bt_segment x = p->segment[--p->n_segments];
	uint32_t device = p->op[p->order[x.first + x.n]], at = x.first, n = x.n + n_y;
	memcpy(o->rest, &p->order[at], n * sizeof *o->rest);
	const uint32_t *ops_x = o->rest, *ops_y = o->rest + x.n;
	uint32_t n_x1 = put(o, ops_x, x.n, true, at);
	add_segment(p, x.device, at, n_x1);
	at += n_x1;
	for (int i = 0; i < 2; i++) {
		bool is_y = i == (x.device != 0);
		uint32_t k = is_y ? put(o, ops_y, n_y, true, at) : put(o, ops_x, x.n, false, at);
		add_segment(p, is_y ? device : x.device, at, k);
		at += k;
	}
	add_segment(p, device, at, put(o, ops_y, n_y, false, at));
}

/* Is there a way to compute some of Y, the plan's operations from y0 on, beside some of X, the last segment? */
static bool overlap(struct order *o, uint32_t y0, uint32_t n_y)
{
	const struct bt_segment *x = &o->p->segment[o->p->n_segments - 1];
	for (uint32_t y = y0; y < y0 + n_y; y++)
		if (heavy(o, y) && mark(o, &o->p->order[x->first], x->n, y0, n_y, y)) return true;
	return false;
}

/* Does segment b need that a is over, or a that b has not begun? */
static bool segments_tied(struct order *o, const struct bt_segment *a, const struct bt_segment *b)
{
	note_nothing(o);
	for (uint32_t i = 0; i < a->n; i++) note(o, o->p->order[a->first + i]);
	for (uint32_t i = 0; i < b->n; i++)
		if (tied(o, o->p->order[b->first + i])) return true;
	return false;
}

/* Bring a segment of another device than the host before those of the host that have nothing to do with it. */
static void move_ahead(struct order *o, uint32_t s)
{
	struct bt_placement *p = o->p;
	for (; s && p->segment[s].device; s--) {
		struct bt_segment *before = &p->segment[s - 1], *seg = &p->segment[s];
		if (before->device || segments_tied(o, before, seg)) return;
		uint32_t first = before->first;
		memcpy(o->rest, &p->order[first], before->n * sizeof *o->rest);
		memmove(&p->order[first], &p->order[seg->first], seg->n * sizeof *o->rest);
		memcpy(&p->order[first + seg->n], o->rest, before->n * sizeof *o->rest);
		struct bt_segment host = *before;
		*before = *seg;
		*seg = host;
		before->first = first;
		seg->first = first + before->n;
	}
}

static void find_segments(struct order *o)
{
	const struct bt_plan *plan = o->plan;
	struct bt_placement *p = o->p;
	p->n_segments = 0;
	for (uint32_t i = 0; i < plan->n_ops; i++) p->order[i] = i;
	for (uint32_t i = 0, n; i < plan->n_ops; i += n) {
		for (n = 1; i + n < plan->n_ops && p->op[i + n] == p->op[i];) n++;
		/* Where all of Y has been taken forward, its end is not the last segment: what follows begins anew. */
		bool pair = i && p->segment[p->n_segments - 1].device != p->op[i] &&
		            p->segment[p->n_segments - 1].device == p->op[i - 1];
		if (pair && overlap(o, i, n)) split(o, n);
		else add_segment(p, p->op[i], i, n);
	}
	for (uint32_t s = 1; s < p->n_segments; s++) move_ahead(o, s);
	uint32_t parts[BT_MAX_DEVICES] = {0};
	for (uint32_t s = 0; s < p->n_segments; s++) p->segment[s].part = parts[p->segment[s].device]++;
	for (uint32_t d = 0; d < p->n_devices; d++) p->device[d].n_segments = parts[d];
}

enum baton_status bt_order(const struct bt_plan *plan, struct bt_placement *p, struct baton_error *err)
{
	struct bt_arena work;
	bt_arena_init(&work, BT_MEM_HOST, 0);
	struct order o = {.plan = plan, .p = p};
	/* A run of the plan becomes three segments at most. */
	uint32_t runs = 1;
	for (uint32_t i = 1; i < plan->n_ops; i++) runs += p->op[i] != p->op[i - 1];
	p->order = bt_arena_zalloc(&p->arena, (plan->n_ops + 1u) * sizeof *p->order);
	p->segment = bt_arena_zalloc(&p->arena, 3u * runs * sizeof *p->segment);
	o.seen = bt_arena_zalloc(&work, plan->n_values + plan->n_caches + plan->n_states + 1u);
	o.first = bt_arena_zalloc(&work, plan->n_ops + 1u);
	o.rest = bt_arena_zalloc(&work, (plan->n_ops + 1u) * sizeof *o.rest);
	enum baton_status status = BATON_OK;
	if (p->order && p->segment && o.seen && o.first && o.rest) find_segments(&o);
	else status = bt_fail_nomem(err, plan->n_ops * sizeof *p->order, "placing the plan");
	bt_arena_free(&work);
	return status;
}
