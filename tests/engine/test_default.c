/* Which device computes when nobody names one. This program brings a table of back ends of its own: beside the CPU two
 * GPUs made of the null back end, with memory and abilities as each test wants them. */
#include "engine/session.h"

#include "helpers.h"

extern const struct bt_backend bt_backend_cpu, bt_backend_null;
static struct bt_backend gpu;
const struct bt_backend *const bt_backend_table[] = {&bt_backend_cpu, &gpu, &bt_backend_null, NULL};

static struct {
	uint64_t memory[2];
	bool hidden, fails, cannot_attend, wants_no_plan;
} machine;

static enum baton_status describe(uint32_t index, struct bt_device_info *out, struct baton_error *err)
{
	(void)err;
	*out = (struct bt_device_info){.memory_total = 1u << 30, .hidden = machine.hidden};
	out->memory_free = machine.memory[index];
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

int main(void)
{
	gpu = bt_backend_null;
	gpu.name = "GPU";
	gpu.describe = describe;
	gpu.open = open_gpu;
	gpu.compile = compile;
	gpu.supports = supports;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_gpu_that_can_do_it),
		cmocka_unit_test(what_is_asked_for_counts),
		cmocka_unit_test(a_gpu_that_cannot_do_all_is_left_alone),
		cmocka_unit_test(a_gpu_that_fails_is_left_alone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
