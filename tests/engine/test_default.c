/* Which device computes when nobody names one. This program brings a table of back ends of its own: beside the CPU two
 * GPUs made of the null back end, with memory and abilities as each test wants them. */
#include "engine/session.h"

#include "helpers.h"

extern const struct bt_backend bt_backend_cpu, bt_backend_null;
static struct bt_backend gpu;
const struct bt_backend *const bt_backend_table[] = {&bt_backend_cpu, &gpu, &bt_backend_null, NULL};

static struct {
	uint64_t memory[2], max_alloc;
	bool hidden, fails, cannot_attend, wants_no_plan, larger;
} machine;

static enum baton_status describe(uint32_t index, struct bt_device_info *out, struct baton_error *err)
{
	(void)err;
	*out = (struct bt_device_info){.memory_total = 1u << 30, .hidden = machine.hidden};
	out->memory_free = machine.memory[index];
	out->max_alloc = machine.max_alloc;
	snprintf(out->name, sizeof out->name, "GPU%u", index);
	snprintf(out->description, sizeof out->description, "a pretended GPU");
	return BATON_OK;
}

static enum baton_status open_gpu(uint32_t index, const struct bt_device_params *params, struct bt_device **out,
                                  struct baton_error *err)
{
	*out = NULL;
	if (machine.fails) return bt_fail(err, BATON_ERR_DEVICE, "GPU%u: pulled out", index);
	return bt_backend_null.open(index, params, out, err);
}

static enum baton_status compile(struct bt_device *dev, const struct bt_compile *c, struct bt_exec **out,
                                 struct baton_error *err)
{
	*out = NULL;
	if (machine.wants_no_plan) return bt_fail(err, BATON_ERR_UNSUPPORTED, "this plan is not for me");
	return bt_backend_null.compile(dev, c, out, err);
}

static bool supports(uint32_t index, const struct bt_plan *plan, const struct bt_op *op)
{
	(void)index, (void)plan;
	return !machine.cannot_attend || op->kind != BT_OP_ATTENTION;
}

static uint64_t weight_bytes(const struct bt_tensor *t, bool exact)
{
	return t->size * (machine.larger || exact ? 3 : 1);
}

/* A session with these parameters computes on `device`, and says `why` if not on the GPU. */
static void expect(const struct baton_session_params *p, const char *device, const char *why)
{
	struct baton_model *m = open_fixture("llama-plain.Q8_0", false);
	struct baton_session *s = open_session(m, p);
	struct baton_session_info info;
	baton_session_get_info(s, &info);
	assert_string_equal(info.device, device);
	assert_int_equal(info.chosen, p->device == NULL);
	if (!*why) assert_string_equal(info.why_not, "");
	else if (!strstr(info.why_not, why)) fail_msg("'%s' has no '%s'", info.why_not, why);
	eval_prompt(s, 0, 0, 0, 5);
	assert_non_null(baton_logits(s, 4));
	baton_session_close(&s);
	baton_model_close(&m);
}

static struct baton_session_params some_params(void)
{
	struct baton_session_params p = baton_session_params_default();
	p.n_ctx = 256;
	p.n_threads = 1;
	memset(&machine, 0, sizeof machine);
	machine.memory[0] = machine.memory[1] = 1u << 30;
	return p;
}

static void the_first_gpu_that_can_do_it(void **state)
{
	(void)state;
	struct baton_session_params p = some_params();
	expect(&p, "GPU0", "");
	machine.memory[0] = 100000;
	expect(&p, "GPU1", "");
	machine.memory[1] = 100000;
	expect(&p, "CPU", "GPU0 has 0.0 GB free, and the model does not fit");
	machine.memory[0] = 0; /* nobody knows: taken for enough */
	expect(&p, "GPU0", "");
}

static void what_is_asked_for_counts(void **state)
{
	(void)state;
	struct baton_session_params p = some_params();
	p.n_gpu_layers = 1; /* part of the model is what its user wants */
	expect(&p, "GPU0, CPU", "");
	p.n_gpu_layers = 99;
	machine.memory[0] = machine.memory[1] = 100000;
	expect(&p, "CPU", "does not fit");
	p.n_gpu_layers = 0;
	expect(&p, "CPU", "");
	p.n_gpu_layers = -1;
	p.device = "GPU0"; /* named: as much as fits */
	struct baton_model *m = open_fixture("llama-plain.Q8_0", false);
	struct baton_session *s = open_session(m, &p);
	assert_false(s->devices.chosen);
	assert_true(s->devices.place.n_gpu_layers <= m->plan.n_layer);
	baton_session_close(&s);
	baton_model_close(&m);
	p = some_params();
	p.device = "none";
	expect(&p, "CPU", "");
	p.device = "cpu";
	expect(&p, "CPU", "");
}

static void a_gpu_that_cannot_do_all_is_left_alone(void **state)
{
	(void)state;
	struct baton_session_params p = some_params();
	machine.cannot_attend = true;
	expect(&p, "CPU", "GPU0 does not compute 'attention' of layer 0 yet");
	p = some_params();
	machine.hidden = true;
	expect(&p, "CPU", "");
}

/* What goes wrong on a device that nobody has named is no failure. */
static void a_gpu_that_fails_is_left_alone(void **state)
{
	(void)state;
	struct baton_session_params p = some_params();
	machine.fails = true;
	expect(&p, "CPU", "GPU0: pulled out");
	p = some_params();
	machine.wants_no_plan = true;
	expect(&p, "CPU", "this plan is not for me");
	struct baton_model *m = open_fixture("llama-plain.Q8_0", false);
	struct baton_session *s;
	struct baton_error err;
	p.device = "GPU0";
	assert_int_equal(baton_session_open(m, &p, &s, &err), BATON_ERR_UNSUPPORTED);
	assert_null(s);
	p = some_params();
	machine.fails = true;
	p.type_k = "q9_9"; /* the caller's mistake stays one */
	assert_int_equal(baton_session_open(m, &p, &s, &err), BATON_ERR_ARG);
	baton_model_close(&m);
}

/* Less and less memory: of a model with experts first those go to the CPU, then whole layers; it always fits, and what was
 * chosen can be asked for by its flags. */
static void experts_make_room_before_layers(void **state)
{
	(void)state;
	struct baton_session_params p = some_params();
	struct baton_model *m = open_fixture("qwen35moe.Q4_0", false);
	uint32_t n_layer = m->plan.n_layer, seen_moe = 0, seen_layers = 0, last_moe = 0, last_ngl = n_layer + 1;
	uint64_t all = 0;
	p.device = "GPU0";
	for (uint64_t memory = 1u << 30; memory > 20000;
	     memory = memory == 1u << 30 ? all + all / 8 : memory * 15 / 16) {
		machine.memory[0] = memory;
		p.fit = true;
		p.n_gpu_layers = -1;
		p.n_cpu_moe = 0;
		struct baton_session *s = open_session(m, &p);
		struct baton_session_info info;
		baton_session_get_info(s, &info);
		const struct bt_place_total *t = &s->devices.place.device[1];
		uint64_t take = t->weights + t->cache + t->state + t->scratch;
		if (!all) all = take;
		assert_true(take <= memory - memory / 16 || !info.n_gpu_layers);
		assert_int_equal(info.fitted, info.n_cpu_moe > 0 || info.n_gpu_layers <= n_layer);
		assert_true(info.n_cpu_moe >= last_moe && info.n_gpu_layers <= last_ngl);
		if (info.n_gpu_layers <= n_layer) assert_int_equal(info.n_cpu_moe, n_layer); /* experts first */
		seen_moe += info.n_cpu_moe > 0 && info.n_cpu_moe < n_layer;
		seen_layers += info.n_gpu_layers > 0 && info.n_gpu_layers <= n_layer;
		last_moe = info.n_cpu_moe;
		last_ngl = info.n_gpu_layers;
		baton_session_close(&s);
		p.n_gpu_layers = (int32_t)info.n_gpu_layers;
		p.n_cpu_moe = info.n_cpu_moe;
		s = open_session(m, &p);
		t = &s->devices.place.device[1];
		assert_int_equal(take, t->weights + t->cache + t->state + t->scratch);
		baton_session_close(&s);
	}
	assert_true(seen_moe && seen_layers && !last_ngl);
	baton_model_close(&m);
}

/* No driver gives any amount at once: a cache is cut between heads, and where one alone is too large, what would fit is told. */
static void caches_are_cut(struct baton_model *m, struct baton_session_params p)
{
	struct baton_error err;
	unsigned context = 0;
	p.n_ctx = 8192;
	struct baton_session *s = open_session(m, &p);
	const uint32_t n_head = m->plan.cache[0].n_head_kv;
	const uint64_t head = s->cache[0].part->k.size / n_head;
	assert_int_equal(s->cache[0].n_parts, 1);
	baton_session_close(&s);
	assert_true(n_head > 1);
	machine.max_alloc = head;
	s = open_session(m, &p);
	for (uint32_t i = 0; i < m->plan.n_caches; i++) assert_int_equal(s->cache[i].n_parts, n_head);
	baton_session_close(&s);
	machine.max_alloc = head / 2;
	assert_int_equal(baton_session_open(m, &p, &s, &err), BATON_ERR_NOMEM);
	const char *words = strstr(err.text, "with -c 8192; -c ");
	if (!words || sscanf(words, "with -c 8192; -c %u would fit", &context) != 1) fail_msg("%s", err.text);
	assert_int_equal(context, 4096);
	/* Sequences leave pages part-filled: what is told counts them. */
	p.n_seq = 9;
	assert_int_equal(baton_session_open(m, &p, &s, &err), BATON_ERR_NOMEM);
	words = strstr(err.text, "with -c 8192; -c ");
	if (!words || sscanf(words, "with -c 8192; -c %u would fit", &context) != 1) fail_msg("%s", err.text);
	assert_int_equal(context, 4096 - 8 * 64);
	p.n_ctx = context;
	s = open_session(m, &p);
	baton_session_close(&s);
	machine.max_alloc = 0;
}

/* What is asked for and does not fit is refused with what would; following it works. */
static void what_does_not_fit_is_refused(void **state)
{
	(void)state;
	struct baton_session_params p = some_params();
	struct baton_model *m = open_fixture("llama-plain.Q8_0", false);
	struct baton_session *s;
	struct baton_error err;
	p.device = "GPU0";
	p.n_gpu_layers = 99;
	p.n_ctx = 8192;
	s = open_session(m, &p);
	const struct bt_place_total *t = &s->devices.place.device[1];
	uint64_t rest = t->weights + t->state + t->scratch, cache = t->cache;
	baton_session_close(&s);
	machine.memory[0] = (rest + cache / 2) * 16 / 15 + 16;
	assert_int_equal(baton_session_open(m, &p, &s, &err), BATON_ERR_NOMEM);
	assert_null(s);
	unsigned ngl = 0, context = 0;
	const char *words = strstr(err.text, "are free for it; ");
	if (!words || sscanf(words, "are free for it; -ngl %u or -c %u would fit", &ngl, &context) != 2)
		fail_msg("%s", err.text);
	assert_true(ngl < 3 && context >= 3000 && context <= 4096);
	p.n_ctx = context;
	s = open_session(m, &p);
	baton_session_close(&s);
	p.n_ctx = 8192;
	p.n_gpu_layers = (int32_t)ngl;
	s = open_session(m, &p);
	baton_session_close(&s);
	p.n_gpu_layers = 99;
	p.fit = false;
	s = open_session(m, &p);
	assert_int_equal(s->devices.place.n_gpu_layers, 3);
	baton_session_close(&s);
	p.n_gpu_layers = -1; /* all */
	s = open_session(m, &p);
	assert_int_equal(s->devices.place.n_gpu_layers, 3);
	baton_session_close(&s);
	caches_are_cut(m, p);
	p.n_ctx = 8192;
	/* Weights count in the size that they have there. */
	p.fit = true;
	p.n_gpu_layers = 99;
	machine.memory[0] = (rest + cache) * 16 / 15 + 16;
	s = open_session(m, &p);
	baton_session_close(&s);
	machine.larger = true;
	assert_int_equal(baton_session_open(m, &p, &s, &err), BATON_ERR_NOMEM);
	baton_model_close(&m);
}

int main(void)
{
	gpu = bt_backend_null;
	gpu.name = "GPU";
	gpu.describe = describe;
	gpu.open = open_gpu;
	gpu.compile = compile;
	gpu.supports = supports;
	gpu.weight_bytes = weight_bytes;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_gpu_that_can_do_it),
		cmocka_unit_test(what_is_asked_for_counts),
		cmocka_unit_test(a_gpu_that_cannot_do_all_is_left_alone),
		cmocka_unit_test(a_gpu_that_fails_is_left_alone),
		cmocka_unit_test(experts_make_room_before_layers),
		cmocka_unit_test(what_does_not_fit_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
