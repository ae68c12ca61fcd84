/* show_place.c: `baton show --place`: which device gets which layers, and what crosses between them. */
#include "tools/show.h"
#include "tools/ui.h"

#include "engine/session.h"

#include <inttypes.h>
#include <string.h>

#define MOST_LINES 64 /* kinds of layers times ways to place them */

/* What stands between the norms of a layer, in the words of the table; operations that are not here say nothing of it. */
static const char *part_name(enum bt_op_kind kind)
{
	static const char *const names[BT_OP_KINDS] = {
		[BT_OP_EMBED] = "embedding", [BT_OP_ATTENTION] = "attention",    [BT_OP_DELTA_NET] = "DeltaNet",
		[BT_OP_MAMBA2] = "Mamba-2",  [BT_OP_MATMUL_EXPERTS] = "experts", [BT_OP_LOGITS] = "output",
	};
	return names[kind];
}

/* Layers of one kind whose parts are on the same devices, or the embedding or output beside the layers. */
struct line {
	uint32_t layer, n; /* the last of them; how many */
	uint32_t run;      /* the first of the last run of neighbours */
	uint64_t weights;  /* bytes of all */
	char ranges[64];   /* runs that are over: "0-2,4-6,..." */
	char text[160];    /* "attention on CPU1; experts on CPU" */
};

/* Add "attention on CPU"; parts on one device share its name: "attention, experts on CPU". */
static void add_part(struct line *l, const char *part, const char *device, char *before, size_t size)
{
	size_t len = strlen(l->text);
	if (!strcmp(before, device)) { /* take the device off the end again */
		len -= strlen(" on ") + strlen(device);
		snprintf(l->text + len, sizeof l->text - len, ", %s on %s", part, device);
	} else {
		snprintf(l->text + len, sizeof l->text - len, "%s%s on %s", len ? "; " : "", part, device);
	}
	snprintf(before, size, "%s", device);
}

/* Does operation i stand before routed experts of its layer? */
static bool before_experts(const struct bt_plan *plan, uint32_t i)
{
	const uint32_t layer = plan->op[i].layer;
	while (i < plan->n_ops && plan->op[i].layer == layer && plan->op[i].kind != BT_OP_MATMUL_EXPERTS) i++;
	return i < plan->n_ops && plan->op[i].layer == layer;
}

/* The next line: operations from *at on that belong together. */
static void next_line(const struct bt_devices *d, uint32_t *at, struct line *l)
{
	const struct bt_plan *plan = d->plan;
	const struct bt_op *op = &plan->op[*at];
	char before[32] = "";
	const char *last = NULL;
	*l = (struct line){.layer = op->layer, .run = op->layer, .n = 1};
	uint32_t i = *at;
	for (; i < plan->n_ops && plan->op[i].layer == l->layer; i++) {
		op = &plan->op[i];
		bool alone = op->kind == BT_OP_EMBED || op->kind == BT_OP_LOGITS;
		if (alone && i > *at) break;
		const struct bt_tensor *t[BT_OP_TENSORS];
		for (uint32_t j = 0, n = bt_op_tensors(op, t); j < n; j++) l->weights += t[j]->size;
		const char *part = part_name(op->kind);
		/* A product that adds to h behind no part of a name ends a feed-forward network. */
		if (op->kind == BT_OP_MATMUL &&
		    (op->matmul.epilogue == BT_EPI_SILU_GATE || op->matmul.epilogue == BT_EPI_RELU2))
			part = before_experts(plan, i) ? "shared expert" : "feed-forward";
		if (part && (!last || strcmp(last, part)))
			add_part(l, part, d->device[d->place.op[i]].info.name, before, sizeof before);
		if (part) last = part;
		if (!alone) continue;
		l->n = 0;
		i++;
		break;
	}
	*at = i;
}

static void end_run(struct line *l)
{
	size_t len = strlen(l->ranges);
	if (len > 20) { /* enough of them: the last run stands for those between */
		char *dots = strstr(l->ranges, ",...");
		if (dots) *dots = 0;
		len = strlen(l->ranges);
		len += (size_t)snprintf(l->ranges + len, sizeof l->ranges - len, ",...");
	}
	if (l->layer > l->run)
		snprintf(l->ranges + len, sizeof l->ranges - len, "%s%" PRIu32 "-%" PRIu32, len ? "," : "", l->run,
		         l->layer);
	else snprintf(l->ranges + len, sizeof l->ranges - len, "%s%" PRIu32, len ? "," : "", l->run);
}

/* Add a layer to those like it. */
static void join(struct line *l, const struct line *one)
{
	if (one->layer != l->layer + 1) {
		end_run(l);
		l->run = one->layer;
	}
	l->layer = one->layer;
	l->n += one->n;
	l->weights += one->weights;
}

/* The kinds of layers in the order of their first; at most `most`. Returns how many. */
static size_t collect(const struct bt_devices *d, struct line *lines, size_t most)
{
	size_t n = 0, k;
	struct line l;
	for (uint32_t at = 0; at < d->plan->n_ops;) {
		next_line(d, &at, &l);
		if (!l.text[0] && n) { /* the norm in front of the output counts for the layer that it stands behind */
			lines[n - 1].weights += l.weights;
			continue;
		}
		for (k = 0; k < n && (!lines[k].n || !l.n || strcmp(lines[k].text, l.text)); k++) {
		}
		if (k < n) join(&lines[k], &l);
		else if (n < most) lines[n++] = l;
	}
	for (k = 0; k < n; k++)
		if (lines[k].n) end_run(&lines[k]);
	return n;
}

static void put_layers(const struct bt_devices *d, FILE *out)
{
	struct line lines[MOST_LINES];
	char bytes[32];
	size_t n = collect(d, lines, MOST_LINES);
	fprintf(out, "\n  %-26s%12s  where\n", "layers", "weights");
	for (size_t i = 0; i < n; i++)
		fprintf(out, "  %-26s%12s  %s\n", lines[i].ranges, bt_ui_bytes(bytes, sizeof bytes, lines[i].weights),
		        lines[i].text);
}

/* Segments that wait for another device. */
static uint32_t borders(const struct bt_devices *d)
{
	uint32_t n = 0;
	for (uint32_t s = 0; s < d->place.n_segments; s++) n += d->place.segment[s].n_crossings > 0;
	return n;
}

static uint64_t crossing_bytes(const struct bt_devices *d, uint32_t n_tokens, uint32_t n_logits)
{
	uint64_t bytes = 0;
	for (uint32_t i = 0; i < d->place.n_crossings; i++)
		bytes += bt_crossing_bytes(d->plan, &d->place.crossing[i], n_tokens, n_logits);
	return bytes;
}

/* The same kind of value on the same way? */
static bool same_crossing(const struct bt_plan *plan, const struct bt_crossing *a, const struct bt_crossing *b)
{
	return a->from == b->from && a->to == b->to && !strcmp(plan->value[a->value].name, plan->value[b->value].name);
}

static void put_crossings(const struct bt_devices *d, uint32_t n_ubatch, FILE *out)
{
	char token[32], batch[32];
	if (d->place.n_segments < 2) {
		fprintf(out, "\n  nothing crosses between devices%s\n",
		        d->n < 2 ? ": the CPU is the only one, and -ngl, -ncmoe and -ot change nothing" : "");
		return;
	}
	fprintf(out, "\n  crossing: %s for a token, %s for %" PRIu32 " of a prompt, at %" PRIu32 " borders\n",
	        bt_ui_bytes(token, sizeof token, crossing_bytes(d, 1, 1)),
	        bt_ui_bytes(batch, sizeof batch, crossing_bytes(d, n_ubatch, 1)), n_ubatch, borders(d));
	for (uint32_t i = 0; i < d->place.n_crossings; i++) {
		const struct bt_crossing *c = &d->place.crossing[i];
		uint32_t n = 0, before = 0;
		for (uint32_t j = 0; j < d->place.n_crossings; j++) {
			bool same = same_crossing(d->plan, c, &d->place.crossing[j]);
			n += same;
			before += same && j < i;
		}
		if (before) continue; /* counted with the first of its kind */
		char way[80];
		snprintf(way, sizeof way, "%s > %s", d->device[c->from].info.name, d->device[c->to].info.name);
		fprintf(out, "    %-24s%-24s%6" PRIu32 " x %s\n", d->plan->value[c->value].name, way, n,
		        bt_ui_bytes(token, sizeof token, bt_crossing_bytes(d->plan, c, 1, 1)));
	}
	if (!d->place.n_beside) fprintf(out, "  the devices take turns\n");
	else fprintf(out, "  two devices compute at the same time: %" PRIu32 " x\n", d->place.n_beside);
}

void bt_show_place_text(const struct baton_session *s, FILE *out)
{
	const struct bt_devices *d = &s->devices;
	static const char *const heads[] = {"weights", "KV cache", "state", "scratch", "together"};
	char text[32];
	fprintf(out, "\nPlacement for %" PRIu32 " tokens (-c)", s->params.n_ctx);
	if (d->n > 1) {
		uint32_t n = d->place.n_gpu_layers, n_layer = d->plan->n_layer;
		if (n > n_layer) fprintf(out, ", -ngl %" PRIu32 ": all layers and the output", n);
		else fprintf(out, ", -ngl %" PRIu32 ": of %" PRIu32 " layers", n, n_layer);
	}
	fprintf(out, "\n  %-14s", "device");
	for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) fprintf(out, "%12s", heads[i]);
	fputc('\n', out);
	for (uint32_t i = 0; i < d->n; i++) {
		const struct bt_place_total *t = &d->place.device[i];
		uint64_t scratch = d->device[i].exec ? d->device[i].backend->scratch(d->device[i].exec) : 0;
		const uint64_t bytes[] = {t->weights, t->cache, t->state, scratch,
		                          t->weights + t->cache + t->state + scratch};
		fprintf(out, "  %-14s", d->device[i].info.name);
		for (size_t j = 0; j < sizeof bytes / sizeof *bytes; j++)
			fprintf(out, "%12s", bt_ui_bytes(text, sizeof text, bytes[j]));
		fputc('\n', out);
	}
	put_layers(d, out);
	put_crossings(d, s->params.n_ubatch, out);
}

static json_t *totals(const struct bt_devices *d, uint32_t i)
{
	const struct bt_session_device *dev = &d->device[i];
	const struct bt_place_total *t = &d->place.device[i];
	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I}", "device", dev->info.name, "operations",
	                 (json_int_t)t->n_ops, "segments", (json_int_t)t->n_segments, "weights", (json_int_t)t->weights,
	                 "kv_cache", (json_int_t)t->cache, "state", (json_int_t)t->state, "scratch",
	                 (json_int_t)(dev->exec ? dev->backend->scratch(dev->exec) : 0));
}

static json_t *layer_kind(const struct line *l)
{
	return json_pack("{s:s, s:I, s:I, s:s}", "layers", l->ranges, "count", (json_int_t)l->n, "weights",
	                 (json_int_t)l->weights, "where", l->text);
}

static json_t *crossing(const struct bt_devices *d, const struct bt_crossing *c)
{
	return json_pack("{s:s, s:s, s:s, s:I}", "value", d->plan->value[c->value].name, "from",
	                 d->device[c->from].info.name, "to", d->device[c->to].info.name, "bytes_per_token",
	                 (json_int_t)bt_crossing_bytes(d->plan, c, 1, 1));
}

json_t *bt_show_place_json(const struct baton_session *s)
{
	const struct bt_devices *d = &s->devices;
	struct line lines[MOST_LINES];
	size_t n = collect(d, lines, MOST_LINES);
	json_t *devices = json_array(), *layers = json_array(), *crossings = json_array();
	int bad = 0;
	for (uint32_t i = 0; i < d->n; i++) bad |= json_array_append_new(devices, totals(d, i));
	for (size_t i = 0; i < n; i++) bad |= json_array_append_new(layers, layer_kind(&lines[i]));
	for (uint32_t i = 0; i < d->place.n_crossings; i++)
		bad |= json_array_append_new(crossings, crossing(d, &d->place.crossing[i]));
	json_t *o = json_pack("{s:I, s:I, s:I, s:o, s:o, s:o}", "n_gpu_layers",
	                      (json_int_t)(d->n > 1 ? d->place.n_gpu_layers : 0), "borders", (json_int_t)borders(d),
	                      "overlaps", (json_int_t)d->place.n_beside, "devices", devices, "layers", layers,
	                      "crossings", crossings);
	if (!bad) return o;
	json_decref(o);
	return NULL;
}
