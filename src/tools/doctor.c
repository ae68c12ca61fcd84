/* doctor.c: `baton doctor [MODEL]`: do the machine's devices compute what the CPU computes? */
#include "engine/check.h"
#include "tools/open.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

/* Logits of two devices differ by the noise of rounding: root mean square of the differences, relative to that of the logits
 * around their mean. Another order of sums gives some 1e-3, a wrong kernel about 1. */
#define LOGITS_ALLOWED 0.1
#define PROMPT         24

struct doctor {
	const struct bt_opts *o;
	struct baton_model *model; /* NULL: the plan is made up */
	struct bt_plan plan;       /* that plan */
	struct bt_arena data;
	bool json;
	/* The device at hand. */
	const struct bt_backend *backend;
	uint32_t index;
	struct bt_device_info info;
	json_t *report;
	bool wrong;
	uint32_t n_ops, n_wrong;
	double worst;
	const char *worst_op;
};

/* A line about the device at hand, unless it is JSON that is asked for. */
static void say(const struct doctor *d, const char *head, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void say(const struct doctor *d, const char *head, const char *fmt, ...)
{
	va_list ap;
	if (d->json) return;
	printf("  %-11s ", head);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
}

/* bt_check_fn */
static bool take_check(void *user, const struct bt_check *r)
{
	struct doctor *d = user;
	d->n_ops++;
	if (!(r->error <= d->worst)) {
		d->worst = r->error;
		d->worst_op = r->op;
	}
	if (!r->ok) {
		d->n_wrong++;
		d->wrong = true;
		say(d, "WRONG", "%s%s%s of layer %u and %u like it: %s (off by %.2g of its largest value)", r->op,
		    r->types[0] ? " " : "", r->types, r->layer, r->n_alike - 1, r->text, r->error);
	}
	json_t *one = json_pack("{s:s, s:s, s:i, s:i, s:b, s:s}", "op", r->op, "types", r->types, "layer",
	                        (int)r->layer, "alike", (int)r->n_alike, "ok", r->ok, "text", r->text);
	if (one && isfinite(r->error)) json_object_set_new(one, "error", json_real(r->error));
	json_array_append_new(json_object_get(d->report, "operations"), one);
	return !bt_ui_interrupted();
}

/* Something that went wrong with the whole device. */
static void fault(struct doctor *d, const char *what, const struct baton_error *err)
{
	d->wrong = true;
	say(d, "WRONG", "%s: %s", what, err->text);
	json_array_append_new(json_object_get(d->report, "faults"),
	                      json_pack("{s:s, s:s}", "what", what, "text", err->text));
}

static enum baton_status check_operations(struct doctor *d, struct bt_device *dev, struct baton_error *err)
{
	uint32_t skipped;
	const struct bt_plan *plan = d->model ? &d->model->plan : &d->plan;
	enum baton_status status = bt_check_plan(plan, d->backend, d->index, dev, take_check, d, &skipped, err);
	if (status) return status;
	json_object_set_new(d->report, "left_to_the_cpu", json_integer(skipped));
	say(d, "operations", "%u kinds tried, %u wrong; largest difference %.1e (%s)", d->n_ops, d->n_wrong, d->worst,
	    d->worst_op ? d->worst_op : "none");
	if (skipped) say(d, "", "%u operations of the plan are left to the CPU", skipped);
	return BATON_OK;
}

/* Logits behind a prompt and one more token: [2][n_vocab]. */
static enum baton_status logits_on(const struct doctor *d, const char *device, float *out, struct baton_error *err)
{
	struct baton_session *s;
	struct baton_session_params p = baton_session_params_default();
	struct baton_input in[PROMPT];
	uint32_t n_vocab = d->model->plan.n_vocab;
	p.device = device;
	p.n_ctx = 128;
	p.n_threads = bt_opt_int(d->o, BT_OPT_THREADS) > 0 ? (uint32_t)bt_opt_int(d->o, BT_OPT_THREADS) : 0;
	p.gpu_timeout = bt_opt_float(d->o, BT_OPT_GPU_TIMEOUT);
	p.cache_dir = d->o->cache_dir[0] ? d->o->cache_dir : NULL;
	enum baton_status status = bt_tool_open_session(d->model, &p, &s, err);
	for (uint32_t i = 0; i < PROMPT; i++)
		in[i] = (struct baton_input){.token = (int32_t)((i * 131 + 7) % n_vocab), .logits = i + 1 == PROMPT};
	if (!status) status = baton_eval(s, in, PROMPT, err);
	if (!status) memcpy(out, baton_logits(s, PROMPT - 1), n_vocab * sizeof *out);
	in[0].logits = true;
	if (!status) status = baton_eval(s, in, 1, err);
	if (!status) memcpy(out + n_vocab, baton_logits(s, 0), n_vocab * sizeof *out);
	baton_session_close(&s);
	return status;
}

static double difference(const float *a, const float *b, size_t n)
{
	double mean = 0, spread = 0, off = 0;
	for (size_t i = 0; i < n; i++) mean += a[i] / (double)n;
	for (size_t i = 0; i < n; i++) {
		spread += (a[i] - mean) * (a[i] - mean);
		off += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
	}
	return spread > 0 ? sqrt(off / spread) : off;
}

static enum baton_status check_logits(struct doctor *d, struct baton_error *err)
{
	size_t n = d->model->plan.n_vocab;
	float *a = bt_mem_array(BT_MEM_HOST, 4 * n, sizeof *a);
	if (!a) return bt_fail_nomem(err, 4 * n * sizeof *a, "logits");
	enum baton_status status = logits_on(d, "none", a, err);
	struct baton_error bad;
	if (!status && logits_on(d, d->info.name, a + 2 * n, &bad)) {
		fault(d, "the model", &bad);
	} else if (!status) {
		double prompt = difference(a, a + 2 * n, n), next = difference(a + n, a + 3 * n, n);
		bool ok = prompt <= LOGITS_ALLOWED && next <= LOGITS_ALLOWED;
		d->wrong |= !ok;
		say(d, ok ? "logits" : "WRONG",
		    "logits differ from the CPU's by %.1e of their spread, and %.1e one token on", prompt, next);
		json_object_set_new(d->report, "logits",
		                    json_pack("{s:b, s:f, s:f}", "ok", ok, "prompt", isfinite(prompt) ? prompt : -1.0,
		                              "next", isfinite(next) ? next : -1.0));
	}
	bt_mem_free(a);
	return status;
}

/* All that is to be known of the device at hand. Returns what kept the check itself from being made. */
static enum baton_status examine(struct doctor *d, struct baton_error *err)
{
	struct bt_device_params params = {.timeout = bt_opt_float(d->o, BT_OPT_GPU_TIMEOUT),
	                                  .cache_dir = d->o->cache_dir[0] ? d->o->cache_dir : NULL};
	struct bt_device *dev = NULL;
	struct baton_error bad;
	char features[512] = "";
	if (d->backend->features) d->backend->features(d->index, features, sizeof features);
	if (!d->json) printf("%s: %s\n", d->info.name, d->info.description);
	if (d->info.memory_total)
		say(d, "memory", "%llu MiB, %llu MiB free", (unsigned long long)(d->info.memory_total >> 20),
		    (unsigned long long)(d->info.memory_free >> 20));
	if (features[0]) say(d, "features", "%s", features);
	d->report = json_pack("{s:s, s:s, s:b, s:I, s:I, s:s, s:[], s:[]}", "device", d->info.name, "description",
	                      d->info.description, "software", d->info.software, "memory_total",
	                      (json_int_t)d->info.memory_total, "memory_free", (json_int_t)d->info.memory_free,
	                      "features", features, "faults", "operations");
	if (!d->report) return bt_fail_nomem(err, 0, "a report");
	enum baton_status status = BATON_OK;
	if (d->backend->open(d->index, &params, &dev, &bad)) fault(d, "opening", &bad);
	else if (bt_check_memory(d->backend, dev, &bad)) fault(d, "memory", &bad);
	else status = check_operations(d, dev, err);
	if (dev) d->backend->close(dev);
	if (!status && d->model && dev) status = check_logits(d, err);
	return status;
}

static bool wanted(const struct doctor *d, const struct bt_device_info *info)
{
	size_t n = bt_opt_count(d->o, BT_OPT_DOCTOR_DEVICE);
	for (size_t i = 0; i < n; i++)
		if (!strcasecmp(bt_opt_str_at(d->o, BT_OPT_DOCTOR_DEVICE, i), info->name)) return true;
	return !n && (info->software || !info->hidden);
}

/* The device at hand, with its verdict; an exit status. */
static int judge(struct doctor *d)
{
	struct baton_error err;
	d->wrong = false;
	d->n_ops = d->n_wrong = 0;
	d->worst = 0;
	d->worst_op = NULL;
	enum baton_status status = examine(d, &err);
	if (!status) {
		json_object_set_new(d->report, "ok", json_boolean(!d->wrong));
		say(d, "verdict", "%s", d->wrong ? "WRONG: don't use it (-dev none computes on the CPU)" : "all right");
		if (d->json) json_dumpf(d->report, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER), putchar('\n');
	}
	json_decref(d->report);
	d->report = NULL;
	if (status) return bt_ui_fail(&err);
	return d->wrong ? BT_EXIT_FAILED : BT_EXIT_OK;
}

static int judge_all(struct doctor *d)
{
	uint32_t n = 0;
	int rc = BT_EXIT_OK;
	for (const struct bt_backend *const *b = bt_backend_table; *b; b++) {
		for (uint32_t i = (*b)->host ? !bt_opt_count(d->o, BT_OPT_DOCTOR_DEVICE) : 0; i < (*b)->count(); i++) {
			d->backend = *b;
			d->index = i;
			if ((*b)->describe(i, &d->info, NULL) || !wanted(d, &d->info)) continue;
			n++;
			int one = judge(d);
			if (one == BT_EXIT_INTERRUPTED) return one;
			if (one) rc = one;
		}
	}
	if (!n && !d->json)
		printf("no GPU: libvulkan and a driver for Vulkan 1.2 with buffer device addresses are needed (Debian: "
		       "libvulkan1, mesa-vulkan-drivers or the card's own driver)\n");
	return rc;
}

int bt_doctor_main(const struct bt_opts *o)
{
	struct doctor d = {.o = o, .json = bt_opt_flag(o, BT_OPT_JSON)};
	struct baton_error err;
	int rc = BT_EXIT_OK;
	for (size_t i = 0; i < bt_opt_count(o, BT_OPT_DOCTOR_DEVICE); i++) {
		const struct bt_backend *b;
		uint32_t index;
		if (bt_backend_find(bt_opt_str_at(o, BT_OPT_DOCTOR_DEVICE, i), &b, &index, &err))
			return bt_ui_fail(&err);
	}
	bt_ui_catch_interrupt();
	if (o->n_args) rc = bt_tool_open_model(o, &d.model);
	else if (bt_check_default_plan(&d.plan, &d.data, &err)) rc = bt_ui_fail(&err);
	if (rc) return rc;
	rc = judge_all(&d);
	if (!d.model) {
		bt_plan_free(&d.plan);
		bt_arena_free(&d.data);
	}
	baton_model_close(&d.model);
	return rc;
}
