#include "engine/devices.h"

#include <stdio.h>
#include <string.h>

/* A sixteenth of a device's free memory is left to what no plan knows of: drivers, other programs. */
#define MEMORY_LEFT 16u

static enum baton_status add_device(struct bt_devices *d, const char *name, struct baton_error *err)
{
	struct bt_session_device dev = {0};
	enum baton_status status = bt_backend_find(name, &dev.backend, &dev.index, err);
	if (!status) status = dev.backend->describe(dev.index, &dev.info, err);
	if (status) return status;
	for (uint32_t i = 0; i < d->n; i++) {
		if (strcmp(d->device[i].info.name, dev.info.name)) continue;
		if (!i) return BATON_OK; /* the host takes part anyway */
		return bt_fail(err, BATON_ERR_ARG, "-dev names %s twice", dev.info.name);
	}
	if (d->n == BT_MAX_DEVICES)
		return bt_fail(err, BATON_ERR_ARG, "-dev names more than %u devices", BT_MAX_DEVICES - 1);
	d->device[d->n++] = dev;
	return BATON_OK;
}

static enum baton_status add_host(struct bt_devices *d, struct baton_error *err)
{
	for (const struct bt_backend *const *b = bt_backend_table; *b; b++) {
		if (!(*b)->host) continue;
		d->device[0].backend = *b;
		d->n = 1;
		return (*b)->describe(0, &d->device[0].info, err);
	}
	return bt_fail(err, BATON_ERR_UNSUPPORTED, "this build has no back end for the host");
}

static enum baton_status find_devices(struct bt_devices *d, const char *list, struct baton_error *err)
{
	enum baton_status status = add_host(d, err);
	if (status || !list || !strcasecmp(list, "none")) return status;
	while (!status) {
		char name[sizeof d->device[0].info.name];
		size_t len = strcspn(list, ",/");
		snprintf(name, sizeof name, "%.*s", (int)(len < sizeof name ? len : sizeof name), list);
		status = add_device(d, name, err);
		list += len;
		if (!*list++) break;
	}
	return status;
}

/* The n-th device that may be chosen without being named; false: there are fewer. */
static bool candidate(uint32_t n, struct bt_session_device *out)
{
	for (const struct bt_backend *const *b = bt_backend_table; *b; b++) {
		for (uint32_t i = 0, count = (*b)->host ? 0 : (*b)->count(); i < count; i++) {
			*out = (struct bt_session_device){.backend = *b, .index = i};
			if ((*b)->describe(i, &out->info, NULL) || out->info.hidden) continue;
			if (!n--) return true;
		}
	}
	return false;
}

bool bt_devices_accelerated(const char *list)
{
	struct bt_devices d = {0};
	struct bt_session_device first;
	return list ? !find_devices(&d, list, NULL) && d.n > 1 : candidate(0, &first);
}

/* bt_place_device.supports */
static bool supports(const void *user, const struct bt_plan *plan, const struct bt_op *op)
{
	const struct bt_session_device *dev = user;
	return dev->backend->supports(dev->index, plan, op);
}

/* What this session may fill: weights of the model that are there already count as free. 0: unknown. */
static uint64_t free_memory(const struct bt_devices *d, uint32_t i)
{
	const struct bt_session_device *dev = &d->device[i];
	uint64_t memory = dev->info.memory_free;
	return memory ? memory + bt_store_held(d->store, dev->backend, dev->index) : 0;
}

/* bt_place_need.weight_bytes */
static uint64_t weight_bytes(const void *user, uint32_t device, const struct bt_tensor *t)
{
	const struct bt_devices *d = user;
	const struct bt_backend *b = d->device[device].backend;
	return b->weight_bytes ? b->weight_bytes(t, d->exact) : t->size;
}

static enum baton_status place(struct bt_devices *d, const struct bt_place_rules *rules,
                               const struct bt_place_need *need, struct baton_error *err)
{
	struct bt_place_device device[BT_MAX_DEVICES];
	for (uint32_t i = 0; i < d->n; i++) {
		const struct bt_session_device *dev = &d->device[i];
		uint64_t memory = free_memory(d, i);
		device[i] = (struct bt_place_device){.name = dev->info.name,
		                                     .memory = memory - memory / MEMORY_LEFT,
		                                     .supports = dev->backend->supports ? supports : NULL,
		                                     .user = dev};
	}
	struct bt_place_need sized = *need;
	sized.weight_bytes = weight_bytes;
	sized.user = d;
	return bt_place(d->plan, device, d->n, rules, &sized, &d->place, err);
}

/* Placed by rules that leave nothing open, it must fit. The sentence says what would: fewer layers, or a smaller context. */
static enum baton_status check_fit(struct bt_devices *d, const struct bt_place_rules *rules,
                                   const struct bt_place_need *need, struct baton_error *err)
{
	for (uint32_t i = 1; i < d->n && rules->fit && rules->n_gpu_layers >= 0; i++) {
		const struct bt_place_total *t = &d->place.device[i];
		uint64_t rest = t->weights + t->state + t->scratch, take = rest + t->cache, free = free_memory(d, i);
		uint64_t memory = free - free / MEMORY_LEFT;
		if (!memory || take <= memory) continue;
		char context[48] = "";
		/* In floating point: millions of tokens times hundreds of gigabytes. */
		double fits = t->cache && rest < memory ? (double)(memory - rest) / (double)t->cache * d->n_ctx : 0;
		uint64_t n_ctx = (uint64_t)fits / 256 * 256;
		if (n_ctx) snprintf(context, sizeof context, " or -c %u", (unsigned)n_ctx);
		struct bt_place_rules open = *rules;
		struct bt_devices other = *d;
		open.n_gpu_layers = -1;
		other.place = (struct bt_placement){0};
		enum baton_status status = place(&other, &open, need, err);
		if (status) return status;
		uint32_t ngl = other.place.n_gpu_layers, ncmoe = other.place.n_cpu_moe;
		char moe[32] = "";
		if (ncmoe > rules->n_cpu_moe) snprintf(moe, sizeof moe, " -ncmoe %u", ncmoe);
		bt_placement_free(&other.place);
		return bt_fail(
			err, BATON_ERR_NOMEM,
			"%s: %.2f GB are needed for -ngl %d -c %u, %.2f GB are free for it; -ngl %u%s%s would fit "
			"(--fit off tries nevertheless)",
			d->device[i].info.name, (double)take * 1e-9, rules->n_gpu_layers, d->n_ctx,
			(double)memory * 1e-9, ngl, moe, context);
	}
	return BATON_OK;
}

/* May device 1, which nobody has named, have what the rules give it? Else d->why says what is in the way. */
static bool suits(struct bt_devices *d, const struct bt_place_rules *rules)
{
	const struct bt_session_device *dev = &d->device[1];
	const struct bt_place_total *t = &d->place.device[1];
	uint64_t take = t->weights + t->cache + t->state + t->scratch, memory = free_memory(d, 1);
	for (uint32_t i = 0; i < d->plan->n_ops; i++) {
		const struct bt_op *op = &d->plan->op[i];
		if (op->kind == BT_OP_EMBED || !dev->backend->supports || supports(dev, d->plan, op)) continue;
		snprintf(d->why, sizeof d->why, "%s does not compute '%s' of layer %u yet", dev->info.name,
		         bt_op_table[op->kind].name, op->layer);
		return false;
	}
	if (rules->n_gpu_layers < 0 ? d->place.n_gpu_layers <= d->plan->n_layer || d->place.n_cpu_moe > rules->n_cpu_moe
	                            : memory && take > memory) {
		snprintf(d->why, sizeof d->why,
		         "%s has %.1f GB free, and the model does not fit (-dev %s -ngl N shares it)", dev->info.name,
		         (double)memory * 1e-9, dev->info.name);
		return false;
	}
	return true;
}

/* Nobody has named devices: the first that can do it all alone, else the host. */
static enum baton_status place_by_default(struct bt_devices *d, const struct bt_place_rules *rules,
                                          const struct bt_place_need *need, struct baton_error *err)
{
	struct bt_session_device dev;
	char why[sizeof d->why] = "";
	d->chosen = true;
	for (uint32_t i = 0; rules->n_gpu_layers && candidate(i, &dev); i++) {
		d->device[1] = dev;
		d->n = 2;
		enum baton_status status = place(d, rules, need, err);
		if (status) return status;
		if (suits(d, rules)) {
			d->why[0] = 0;
			d->tried = true;
			return BATON_OK;
		}
		if (!why[0]) memcpy(why, d->why, sizeof why);
		bt_placement_free(&d->place);
	}
	memcpy(d->why, why, sizeof why);
	d->n = 1;
	return place(d, rules, need, err);
}

/* Does the device do more than look tokens up? */
static bool computes(const struct bt_devices *d, uint32_t device)
{
	for (uint32_t i = 0; i < d->plan->n_ops; i++)
		if (d->place.op[i] == device && d->plan->op[i].kind != BT_OP_EMBED) return true;
	return false;
}

static void list_names(struct bt_devices *d)
{
	size_t len = 0;
	for (uint32_t k = 1; k <= d->n; k++) {
		uint32_t i = k % d->n; /* the host last */
		if (!computes(d, i) || len >= sizeof d->names) continue;
		int n = snprintf(d->names + len, sizeof d->names - len, "%s%s", len ? ", " : "",
		                 d->device[i].info.name);
		len += n > 0 ? (size_t)n : 0;
	}
}

const char *bt_devices_description(const struct bt_devices *d)
{
	for (uint32_t k = 1; k <= d->n; k++)
		if (computes(d, k % d->n)) return d->device[k % d->n].info.description;
	return d->device[0].info.description;
}

enum baton_status bt_devices_open(struct bt_devices *d, const struct bt_plan *plan, struct bt_store *store,
                                  const char *list, const struct bt_device_params *params,
                                  const struct bt_place_rules *rules, const struct bt_place_need *need,
                                  struct baton_error *err)
{
	*d = (struct bt_devices){.plan = plan, .store = store, .exact = d->exact, .n_ctx = d->n_ctx};
	enum baton_status status = find_devices(d, list, err);
	if (!status) status = list ? place(d, rules, need, err) : place_by_default(d, rules, need, err);
	if (!status && list) status = check_fit(d, rules, need, err);
	if (!status) list_names(d);
	struct bt_device_params own = *params;
	own.by_turns = d->place.n_segments > 1;
	for (uint32_t i = 0; i < d->n && !status; i++) {
		struct bt_session_device *dev = &d->device[i];
		if (!d->place.device[i].n_ops) continue;
		status = bt_store_take(store, dev->backend, dev->index, &own, &dev->dev, err);
		if (!status && d->place.n_segments > 1) status = bt_place_share(plan, &d->place, i, &dev->share, err);
	}
	if (status) {
		bool tried = d->tried;
		bt_devices_close(d);
		d->tried = tried;
	}
	return status;
}

void bt_devices_close(struct bt_devices *d)
{
	for (uint32_t i = 0; i < d->n; i++) {
		struct bt_session_device *dev = &d->device[i];
		if (dev->exec) dev->backend->release(dev->exec);
		if (dev->share.n_parts) bt_share_free(&dev->share);
		bt_store_give(d->store, dev->dev, dev->lost);
	}
	if (d->place.n_devices) bt_placement_free(&d->place);
	*d = (struct bt_devices){0};
}

enum baton_status bt_devices_compile(struct bt_devices *d, const struct bt_compile *c, struct baton_error *err)
{
	struct bt_exec *exec[BT_MAX_DEVICES] = {NULL};
	enum baton_status status = BATON_OK;
	for (uint32_t i = 0; i < d->n && !status; i++) {
		struct bt_session_device *dev = &d->device[i];
		if (!dev->dev) continue;
		struct bt_compile own = *c;
		own.plan = dev->share.n_parts ? &dev->share : d->plan;
		status = dev->backend->compile(dev->dev, &own, &exec[i], err);
	}
	for (uint32_t i = 0; i < d->n; i++) {
		struct bt_session_device *dev = &d->device[i];
		struct bt_exec *old = status ? exec[i] : dev->exec;
		if (!status) dev->exec = exec[i];
		if (old) dev->backend->release(old);
	}
	return status;
}

/* Wait until a part of a device's share is over. */
static enum baton_status finish(struct bt_session_device *dev, uint32_t part, struct bt_step *step,
                                struct baton_error *err)
{
	enum baton_status status = BATON_OK;
	if (part < dev->over) return BATON_OK;
	step->part = part;
	if (dev->backend->wait) status = dev->backend->wait(dev->exec, step, err);
	if (!status) dev->over = part + 1;
	return status;
}

/* Bring what a segment reads to where it is read: memory of the host's on both sides. */
static enum baton_status bring(struct bt_devices *d, const struct bt_segment *seg, struct bt_step *step,
                               struct baton_error *err)
{
	struct bt_session_device *to = &d->device[seg->device];
	enum baton_status status = BATON_OK;
	/* Where it is written the last part but one has read. */
	if (seg->n_crossings && seg->part > 1) status = finish(to, seg->part - 2, step, err);
	for (uint32_t i = 0; i < seg->n_crossings && !status; i++) {
		const struct bt_crossing *x = &d->place.crossing[seg->crossing + i];
		struct bt_session_device *from = &d->device[x->from];
		size_t bytes = bt_crossing_bytes(d->plan, x, step->n_tokens, step->n_logits);
		status = finish(from, x->part, step, err);
		if (!status && bytes)
			memcpy(to->backend->window(to->exec, x->arrives), from->backend->window(from->exec, x->leaves),
			       bytes);
	}
	return status;
}

/* How many segments from s on are one device's and need nothing from others that the first does not: they begin together. */
static uint32_t together(const struct bt_devices *d, uint32_t s)
{
	const struct bt_segment *seg = &d->place.segment[s];
	uint32_t n = 1;
	while (n < BT_MOST_PARTS && s + n < d->place.n_segments && seg[n].device == seg->device && !seg[n].n_crossings)
		n++;
	return n;
}

/* Begin n parts; what a device without `start` begins is over when the call is. */
static enum baton_status begin(struct bt_session_device *dev, struct bt_step *step, uint32_t n, struct baton_error *err)
{
	enum baton_status status = BATON_OK;
	step->part = dev->begun;
	if (dev->backend->start) {
		status = dev->backend->start(dev->exec, step, n, err);
		if (!status) dev->begun += n;
		return status;
	}
	for (uint32_t i = 0; i < n && !status; i++) {
		step->part = dev->begun++;
		status = dev->backend->run(dev->exec, step, err);
	}
	return status;
}

enum baton_status bt_devices_run(struct bt_devices *d, struct bt_step *step, struct baton_error *err)
{
	enum baton_status status = BATON_OK;
	for (uint32_t i = 0; i < d->n; i++) d->device[i].begun = d->device[i].over = 0;
	for (uint32_t s = 0, n; s < d->place.n_segments && !status; s += n) {
		const struct bt_segment *seg = &d->place.segment[s];
		n = together(d, s);
		status = bring(d, seg, step, err);
		if (!status) status = begin(&d->device[seg->device], step, n, err);
	}
	/* Whatever has happened: what was begun reads and writes memory of the session's. */
	for (uint32_t i = 0; i < d->n; i++) {
		struct bt_session_device *dev = &d->device[i];
		enum baton_status last = dev->begun ? finish(dev, dev->begun - 1, step, status ? NULL : err) : BATON_OK;
		if (!status) status = last;
	}
	return status;
}

void bt_devices_failed(struct bt_devices *d, enum baton_status status)
{
	for (uint32_t i = 0; i < d->n && status == BATON_ERR_DEVICE; i++) d->device[i].lost = true;
}

size_t bt_devices_scratch(const struct bt_devices *d)
{
	size_t bytes = 0;
	for (uint32_t i = 0; i < d->n; i++)
		if (d->device[i].exec) bytes += d->device[i].backend->scratch(d->device[i].exec);
	return bytes;
}
