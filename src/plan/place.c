/* Placing: from rules to a device for every operation. */
#include "plan/place.h"

#include <string.h>

/* Rounds of moving operations to cheaper devices; two are enough for the families there are. */
#define ROUNDS 4

struct place {
	const struct bt_plan *plan;
	const struct bt_place_device *device;
	uint32_t n;
	const struct bt_place_rules *rules;
	uint32_t n_cpu_moe;
	uint8_t *forced; /* [n_ops] by -ot, or BT_NO_DEVICE */
	uint8_t *layer;  /* [n_layer + 1] by -ngl; the last is the output's */
	uint8_t *home;   /* [n_values] working space of bt_cut_cost */
	uint32_t *valid;
	uint32_t *users; /* [n_values] devices whose operations name the value */
	uint8_t *op;     /* [n_ops] the result */
	uint8_t *cache, *state;
};

static bool has_matrix(const struct bt_op *op)
{
	return op->kind == BT_OP_EMBED || op->kind == BT_OP_MATMUL || op->kind == BT_OP_MATMUL_EXPERTS ||
	       op->kind == BT_OP_LOGITS;
}

/* Layers [n_layer - n_gpu_layers, n_layer), and the output behind them, over the devices behind the host: in one run
 * each, in proportion to their memory where all of them say how much they have. */
static void spread_layers(struct place *p, uint32_t n_gpu_layers)
{
	uint32_t n_layer = p->plan->n_layer, n_units = n_layer + 1;
	uint32_t begin = n_gpu_layers > n_layer ? 0 : n_layer - n_gpu_layers;
	uint32_t end = n_gpu_layers > n_layer ? n_units : n_layer;
	double total = 0;
	bool known = true;
	for (uint32_t d = 1; d < p->n; d++) {
		total += (double)p->device[d].memory;
		known = known && p->device[d].memory;
	}
	memset(p->layer, 0, n_units);
	if (p->n < 2) return;
	double upto = 0;
	for (uint32_t d = 1, l = begin; d < p->n; d++) {
		upto += known ? (double)p->device[d].memory / total : 1.0 / (p->n - 1);
		while (l < end && ((double)(l - begin) / (end - begin) < upto || d + 1 == p->n))
			p->layer[l++] = (uint8_t)d;
	}
}

/* The device that a rule gives an operation with a matrix. */
static uint8_t by_rule(const struct place *p, uint32_t i)
{
	const struct bt_op *op = &p->plan->op[i];
	if (p->forced[i] != BT_NO_DEVICE) return p->forced[i];
	if (op->kind == BT_OP_EMBED) return 0;
	if (op->kind == BT_OP_MATMUL_EXPERTS && op->layer < p->n_cpu_moe) return 0;
	return p->layer[op->kind == BT_OP_LOGITS ? p->plan->n_layer : op->layer];
}

static bool names(const uint32_t *list, size_t n, uint32_t v)
{
	for (size_t i = 0; i < n; i++)
		if (list[i] == v) return true;
	return false;
}

/* Where the value that operation i reads first is computed: the device of the last operation with a matrix on the way to
 * it, or of a device that a pattern has chosen. */
static uint8_t source_device(const struct place *p, uint32_t i)
{
	const struct bt_op *op = &p->plan->op[i];
	uint32_t v = op->in[0];
	while (i-- > 0) {
		const struct bt_op *by = &p->plan->op[i];
		if (!names(by->out, BT_MAX_MATS, v)) continue;
		if (has_matrix(by) || p->forced[i] != BT_NO_DEVICE) return p->op[i];
		if (!names(by->in, BT_MAX_INS, v)) v = by->in[0]; /* else in place: go on with the same value */
		if (v == BT_NO_VALUE) break;
	}
	return p->layer[op->layer];
}

/* The lasting memory that an operation works on: its place in the caches or states, NULL for none. */
static uint8_t *memory_of(const struct place *p, const struct bt_op *op)
{
	switch (op->kind) {
	case BT_OP_KV_STORE: return &p->cache[op->kv.cache];
	case BT_OP_ATTENTION: return &p->cache[op->attention.cache];
	case BT_OP_CONV: return &p->state[op->conv.state];
	case BT_OP_DELTA_NET:
	case BT_OP_MAMBA2: return &p->state[op->recurrence.state];
	default: return NULL;
	}
}

/* Operations on a cache or state are where it is; the first of them, in the order of the plan, decides. */
static void place_memory(struct place *p)
{
	memset(p->cache, BT_NO_DEVICE, p->plan->n_caches);
	memset(p->state, BT_NO_DEVICE, p->plan->n_states);
	for (uint32_t i = 0; i < p->plan->n_ops; i++) {
		uint8_t *at = memory_of(p, &p->plan->op[i]);
		if (!at) continue;
		if (*at == BT_NO_DEVICE) *at = p->forced[i] != BT_NO_DEVICE ? p->forced[i] : source_device(p, i);
		p->op[i] = *at;
	}
	for (uint32_t i = 0; i < p->plan->n_caches; i++) /* one that nobody uses is anywhere */
		if (p->cache[i] == BT_NO_DEVICE) p->cache[i] = p->op[0];
	for (uint32_t i = 0; i < p->plan->n_states; i++)
		if (p->state[i] == BT_NO_DEVICE) p->state[i] = p->op[0];
}

/* May the operation be moved to where it costs least? */
static bool is_free(const struct place *p, uint32_t i)
{
	const struct bt_op *op = &p->plan->op[i];
	return !has_matrix(op) && p->forced[i] == BT_NO_DEVICE && !memory_of(p, op);
}

static void note_users(struct place *p)
{
	memset(p->users, 0, p->plan->n_values * sizeof *p->users);
	for (uint32_t i = 0; i < p->plan->n_ops; i++) {
		const struct bt_op *op = &p->plan->op[i];
		for (size_t j = 0; j < BT_MAX_INS; j++)
			if (op->in[j] != BT_NO_VALUE) p->users[op->in[j]] |= 1u << p->op[i];
		for (size_t j = 0; j < BT_MAX_MATS; j++)
			if (op->out[j] != BT_NO_VALUE) p->users[op->out[j]] |= 1u << p->op[i];
	}
}

/* The devices that operation i has neighbours on. */
static uint32_t neighbours(const struct place *p, uint32_t i)
{
	const struct bt_op *op = &p->plan->op[i];
	uint32_t mask = 0;
	for (size_t j = 0; j < BT_MAX_INS; j++)
		if (op->in[j] != BT_NO_VALUE) mask |= p->users[op->in[j]];
	for (size_t j = 0; j < BT_MAX_MATS; j++)
		if (op->out[j] != BT_NO_VALUE) mask |= p->users[op->out[j]];
	return mask;
}

/* Move single operations as long as fewer bytes cross for it. */
static void settle(struct place *p)
{
	uint64_t cost = bt_cut_cost(p->plan, p->op, p->home, p->valid);
	bool moved = p->n > 1;
	for (int round = 0; round < ROUNDS && moved; round++) {
		moved = false;
		note_users(p);
		for (uint32_t i = 0; i < p->plan->n_ops; i++) {
			if (!is_free(p, i)) continue;
			uint32_t mask = neighbours(p, i) & ~(1u << p->op[i]);
			for (uint32_t d = 0; d < p->n; d++) {
				if (!(mask >> d & 1)) continue;
				uint8_t before = p->op[i];
				p->op[i] = (uint8_t)d;
				uint64_t now = bt_cut_cost(p->plan, p->op, p->home, p->valid);
				if (now < cost) {
					cost = now;
					moved = true;
				} else {
					p->op[i] = before;
				}
			}
		}
	}
}

/* What a device can't compute falls to the host; what it would have kept goes with it. */
static void drop_unsupported(struct place *p)
{
	for (uint32_t i = 0; i < p->plan->n_ops; i++) {
		const struct bt_op *op = &p->plan->op[i];
		const struct bt_place_device *dev = &p->device[p->op[i]];
		if (!dev->supports || dev->supports(dev->user, p->plan, op)) continue;
		uint8_t *at = memory_of(p, op);
		p->op[i] = 0;
		if (at) *at = 0;
	}
	for (uint32_t i = 0; i < p->plan->n_ops; i++) {
		uint8_t *at = memory_of(p, &p->plan->op[i]);
		if (at) p->op[i] = *at;
	}
}

static void place_layers(struct place *p, uint32_t n_gpu_layers)
{
	const struct bt_plan *plan = p->plan;
	spread_layers(p, n_gpu_layers);
	/* To begin with, an operation that no rule speaks of goes with the next one that has a matrix: norms with what
	 * they prepare. */
	for (uint32_t i = plan->n_ops; i-- > 0;) {
		bool ruled = has_matrix(&plan->op[i]) || p->forced[i] != BT_NO_DEVICE || i + 1 == plan->n_ops;
		p->op[i] = ruled ? by_rule(p, i) : p->op[i + 1];
	}
	place_memory(p);
	settle(p);
	drop_unsupported(p);
}

static bool fits(const struct place *p, const struct bt_placement *out)
{
	for (uint32_t d = 1; d < p->n; d++) {
		const struct bt_place_total *t = &out->device[d];
		uint64_t memory = p->device[d].memory;
		if (memory && t->weights + t->cache + t->state + t->scratch > memory) return false;
	}
	return true;
}

static bool has_experts(const struct bt_plan *plan)
{
	for (uint32_t i = 0; i < plan->n_ops; i++)
		if (plan->op[i].kind == BT_OP_MATMUL_EXPERTS) return true;
	return false;
}

/* All layers, but the experts of as few as possible on the host: halving. *fit: even with none of them it is not too much. */
static enum baton_status place_experts(struct place *p, const struct bt_place_need *need, struct bt_placement *out,
                                       bool *fit, struct baton_error *err)
{
	uint32_t lo = 0, hi = p->plan->n_layer, n = 0; /* hi may fit, below lo nothing does */
	out->n_gpu_layers = p->plan->n_layer + 1;
	for (;;) {
		p->n_cpu_moe = out->n_cpu_moe = n;
		place_layers(p, out->n_gpu_layers);
		enum baton_status status = bt_cut(p->plan, need, out, err);
		if (status) return status;
		*fit = fits(p, out);
		if (*fit) hi = n;
		else lo = n + 1;
		if ((*fit && lo == hi) || lo > hi) return BATON_OK;
		n = lo + (hi - lo) / 2;
	}
}

/* As many layers as fit: halving, since what a device gets grows with the layers. */
static enum baton_status place_fitting(struct place *p, const struct bt_place_need *need, struct bt_placement *out,
                                       struct baton_error *err)
{
	uint32_t lo = 0, hi = p->plan->n_layer + 1, n = hi;
	if (p->rules->fit && !p->n_cpu_moe && !p->rules->override_tensor && has_experts(p->plan)) {
		bool fit;
		enum baton_status status = place_experts(p, need, out, &fit, err);
		if (status || fit) return status;
		/* Not even without experts: whole layers, too; theirs are on the host now. */
	}
	for (;;) {
		place_layers(p, n);
		enum baton_status status = bt_cut(p->plan, need, out, err);
		if (status) return status;
		out->n_gpu_layers = n;
		if (n == lo) return BATON_OK; /* known to fit, or nothing to be done about it */
		if (fits(p, out)) lo = n;
		else hi = n - 1;
		n = lo == hi ? lo : (lo + hi + 1) / 2;
		if (n == out->n_gpu_layers) return BATON_OK;
	}
}

static enum baton_status open_place(struct place *p, struct bt_placement *out, struct bt_arena *work,
                                    struct baton_error *err)
{
	const struct bt_plan *plan = p->plan;
	out->op = p->op = bt_arena_zalloc(&out->arena, plan->n_ops + 1u);
	out->cache = p->cache = bt_arena_zalloc(&out->arena, plan->n_caches + 1u);
	out->state = p->state = bt_arena_zalloc(&out->arena, plan->n_states + 1u);
	p->forced = bt_arena_zalloc(work, plan->n_ops + 1u);
	p->layer = bt_arena_zalloc(work, plan->n_layer + 1u);
	p->home = bt_arena_zalloc(work, plan->n_values + 1u);
	p->valid = bt_arena_zalloc(work, (plan->n_values + 1u) * sizeof *p->valid);
	p->users = bt_arena_zalloc(work, (plan->n_values + 1u) * sizeof *p->users);
	bool ok = p->op && p->cache && p->state && p->forced && p->layer && p->home && p->valid && p->users;
	return ok ? BATON_OK : bt_fail_nomem(err, plan->n_ops, "placing the plan");
}

enum baton_status bt_place(const struct bt_plan *plan, const struct bt_place_device *device, uint32_t n,
                           const struct bt_place_rules *rules, const struct bt_place_need *need,
                           struct bt_placement *out, struct baton_error *err)
{
	struct place p = {.plan = plan, .device = device, .n = n, .rules = rules, .n_cpu_moe = rules->n_cpu_moe};
	struct bt_arena work;
	*out = (struct bt_placement){.n_devices = n, .n_cpu_moe = rules->n_cpu_moe};
	bt_arena_init(&out->arena, BT_MEM_HOST, 0);
	bt_arena_init(&work, BT_MEM_HOST, 0);
	if (!n || n > BT_MAX_DEVICES)
		return bt_fail(err, BATON_ERR_ARG, "%u devices; 1 to %u can share a model", n, BT_MAX_DEVICES);
	enum baton_status status = open_place(&p, out, &work, err);
	if (!status) status = bt_place_overrides(plan, device, n, rules->override_tensor, p.forced, err);
	if (!status && rules->n_gpu_layers < 0) {
		status = place_fitting(&p, need, out, err);
	} else if (!status) {
		uint32_t all = plan->n_layer + 1, wanted = (uint32_t)rules->n_gpu_layers;
		out->n_gpu_layers = wanted < all ? wanted : all;
		place_layers(&p, out->n_gpu_layers);
		status = bt_cut(plan, need, out, err);
	}
	bt_arena_free(&work);
	if (status) bt_placement_free(out);
	return status;
}

void bt_placement_free(struct bt_placement *p)
{
	bt_arena_free(&p->arena);
	*p = (struct bt_placement){0};
}
