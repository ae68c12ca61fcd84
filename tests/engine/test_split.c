/* Sessions over several devices: the same bits as on one, whatever the split. */
#include "engine/session.h"

#include "helpers.h"

static const char *const models[] = {"llama-plain.Q8_0",
                                     "qwen2.Q4_K_M",
                                     "qwen3.Q8_0",
                                     "qwen35.Q8_0",
                                     "qwen35moe.Q4_0",
                                     "nemotron_h_moe.Q5_K_M",
                                     "nemotron_h_moe-latent.F32"};

/* "CPU1" is the processor a second time, with threads and memory of its own; devices: what the session says of itself. */
static const struct setting {
	const char *device;
	int32_t ngl;
	uint32_t ncmoe;
	const char *ot, *devices;
} settings[] = {
	{"CPU1", 0, 0, NULL, "CPU"},
	{"CPU1", 1, 0, NULL, "CPU1, CPU"},
	{"CPU1", 2, 0, NULL, "CPU1, CPU"},
	{"CPU1", 99, 0, NULL, "CPU1"},
	{"CPU1", -1, 0, NULL, "CPU1"},
	{"CPU1", 99, 0, "token_embd=CPU1", "CPU1"},
	{"CPU1", 99, 1, NULL, NULL}, /* CPU too where layer 0 has experts */
	{"CPU1", 99, 2, NULL, NULL},
	{"CPU1", 99, 0, "ssm_(out|alpha)|attn_(k|gate)|conv1d=CPU", "CPU1, CPU"},
	{"CPU1", 99, 0, "attn=CPU", "CPU1, CPU"},
	{"CPU1", 99, 0, "attn_output=CPU", "CPU1, CPU"},
	{"CPU1", 0, 0, "ffn_down=CPU1", "CPU1, CPU"},
	{"CPU1", 0, 0, "norm=CPU1", "CPU1, CPU"},
	{"CPU1", 99, 1, "output\\.weight=CPU,blk\\.1\\.attn_(q|k|v)=CPU", "CPU1, CPU"},
	/* Routed experts on one, the shared one on the other: computed at the same time where there is a GPU. */
	{"CPU1", 99, 0, "ffn_(gate|up|down)_shexp=CPU", NULL},
	{"CPU1", 99, 0, "shexp=CPU", NULL},
	{"CPU1", 99, 2, "shexp=CPU1,blk\\.1\\.ffn_latent_down=CPU", NULL},
	{"cpu1,CPU", 1, 0, "blk\\.0\\.ffn_(up|gate)=CPU1;blk\\.1\\.ffn_down=CPU", "CPU1, CPU"},
};

struct record {
	float *row[1024];
	size_t n, bytes;
};

static void keep(struct record *r, struct baton_session *s, const struct baton_input *in, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const float *logits = baton_logits(s, i);
		assert_int_equal(logits != NULL, in[i].logits);
		if (!logits) continue;
		assert_true(r->n < 1024);
		r->row[r->n] = malloc(r->bytes);
		memcpy(r->row[r->n++], logits, r->bytes);
	}
}

/* n tokens of a prompt to a sequence; every `each`-th asks for logits. */
static void go(struct record *r, struct baton_session *s, unsigned prompt, uint32_t seq, size_t n, size_t each)
{
	struct baton_input in[256];
	size_t from = baton_seq_length(s, seq);
	for (size_t i = 0; i < n; i++)
		in[i] = (struct baton_input){prompt_token(prompt, from + i), seq, each && (i + 1) % each == 0};
	eval(s, in, n);
	keep(r, s, in, n);
}

/* Everything that a session does, with the logits on the way: prompts, single tokens, several sequences in a call, copies,
 * cutting back, many rows of logits and none. */
static struct record work(struct baton_session *s, uint32_t n_vocab)
{
	struct record r = {.bytes = n_vocab * sizeof(float)};
	struct baton_error err;
	struct baton_input in[120];
	go(&r, s, 0, 0, 100, 50); /* steps with and without logits */
	assert_int_equal(baton_seq_copy(s, 0, 1, &err), BATON_OK);
	for (int i = 0; i < 5; i++) go(&r, s, 1, 0, 1, 1);
	go(&r, s, 2, 1, 40, 1); /* more rows than planned at first; copies a shared page */
	assert_int_equal(baton_seq_truncate(s, 1, 90, &err), BATON_OK);
	go(&r, s, 0, 1, 30, 3);
	for (uint32_t i = 0; i < 120; i++) in[i] = (struct baton_input){prompt_token(3, i), i * i % 3, i % 4 == 1};
	eval(s, in, 120);
	keep(&r, s, in, 120);
	assert_int_equal(baton_seq_truncate(s, 2, 0, &err), BATON_OK);
	go(&r, s, 4, 2, 70, 0);
	for (int i = 0; i < 3; i++) go(&r, s, 4, 2, 1, 1);
	return r;
}

static void forget(struct record *r)
{
	while (r->n) free(r->row[--r->n]);
}

static struct baton_session_params params_for(const struct setting *c)
{
	struct baton_session_params p = baton_session_params_default();
	p.n_threads = 2;
	p.n_ubatch = 33;
	p.n_seq = 3;
	p.n_ctx = 1024;
	if (!c) return p;
	p.device = c->device;
	p.n_gpu_layers = c->ngl;
	p.n_cpu_moe = c->ncmoe;
	p.override_tensor = c->ot;
	return p;
}

static void a_split_changes_no_bit(void **state)
{
	(void)state;
	uint32_t beside = 0;
	for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
		struct baton_model *m = open_fixture(models[i], false);
		struct baton_session_params p = params_for(NULL);
		struct baton_session *s = open_session(m, &p);
		assert_int_equal(s->devices.place.n_segments, 1);
		struct record want = work(s, m->plan.n_vocab);
		assert_true(want.n > 50);
		baton_session_close(&s);
		for (size_t c = 0; c < sizeof settings / sizeof *settings; c++) {
			p = params_for(&settings[c]);
			s = open_session(m, &p);
			beside += s->devices.place.n_beside > 0;
			struct baton_session_info info;
			baton_session_get_info(s, &info);
			if (settings[c].devices) assert_string_equal(info.device, settings[c].devices);
			struct record got = work(s, m->plan.n_vocab);
			assert_int_equal(got.n, want.n);
			for (size_t k = 0; k < want.n; k++)
				if (memcmp(got.row[k], want.row[k], want.bytes))
					fail_msg("%s, setting %zu: row %zu differs", models[i], c, k);
			forget(&got);
			baton_session_close(&s);
		}
		forget(&want);
		baton_model_close(&m);
	}
	assert_true(beside >=
	            15); /* three models, whose experts are split from the shared one by five settings at least */
}

/* Values that go to the null devices come back as they were: layer 0 there is no layer 0. With two such devices they also go
 * from one to the other. */
static void values_survive_devices_that_do_nothing(void **state)
{
	(void)state;
	static const struct setting away[] = {
		{"null", 0, 0, "blk\\.0\\.=null", "null, CPU"},
		{"null,null1", 0, 0, "blk\\.0\\.attn=null,blk\\.0\\.ffn=null1", "null, null1, CPU"},
		{"null1/null", 0, 0, "blk\\.0\\.attn=null,blk\\.0\\.ffn=null1", "null1, null, CPU"},
	};
	struct baton_model *m = open_fixture("llama-plain.Q8_0", false);
	struct bt_plan *plan = &m->plan;
	struct record got[3];
	for (size_t c = 0; c < 3; c++) {
		struct baton_session_params p = params_for(&away[c]);
		struct baton_session *s = open_session(m, &p);
		struct baton_session_info info;
		baton_session_get_info(s, &info);
		assert_string_equal(info.device, away[c].devices);
		assert_null(s->cache[0].part->k.host);
		assert_non_null(s->cache[1].part->k.host);
		got[c] = work(s, plan->n_vocab);
		baton_session_close(&s);
	}
	/* The model without its layer 0. */
	uint32_t n = 0;
	for (uint32_t i = 0; i < plan->n_ops; i++)
		if (plan->op[i].layer != 0 || plan->op[i].kind == BT_OP_EMBED) plan->op[n++] = plan->op[i];
	assert_true(n < plan->n_ops);
	plan->n_ops = n;
	struct baton_session_params p = params_for(NULL);
	struct baton_session *s = open_session(m, &p);
	struct record want = work(s, plan->n_vocab);
	for (size_t c = 0; c < 3; c++) {
		assert_int_equal(got[c].n, want.n);
		for (size_t k = 0; k < want.n; k++) assert_memory_equal(got[c].row[k], want.row[k], want.bytes);
		forget(&got[c]);
	}
	forget(&want);
	baton_session_close(&s);
	baton_model_close(&m);
}

/* Bytes of the whole and of the devices agree, and memory is asked for where it was planned. */
static void memory_is_where_the_placement_says(void **state)
{
	(void)state;
	struct baton_model *m = open_fixture("qwen3.Q8_0", false);
	struct setting c = {"null", 1, 0, NULL, ""};
	struct baton_session_params p = params_for(&c);
	struct baton_session *s = open_session(m, &p);
	struct baton_session_info info;
	baton_session_get_info(s, &info);
	const struct bt_placement *pl = &s->devices.place;
	assert_int_equal(info.n_gpu_layers, 1);
	assert_int_equal(pl->device[0].cache + pl->device[1].cache, info.kv_bytes);
	assert_int_equal(pl->device[0].cache, pl->device[1].cache);
	assert_int_equal(pl->device[1].cache, s->cache[1].part->k.size + s->cache[1].part->v.size);
	/* The null back end's scratch is the planned layout and nothing else. */
	const struct bt_session_device *null = &s->devices.device[1];
	assert_int_equal(null->backend->scratch(null->exec), pl->device[1].scratch);
	assert_true(null->share.n_ops < m->plan.n_ops / 2 + 5);
	baton_session_close(&s);
	baton_model_close(&m);
}

static void bad_placements_are_refused(void **state)
{
	(void)state;
	static const struct {
		struct setting c;
		const char *words;
	} bad[] = {
		{{"CPU1,CPU1", 0, 0, NULL, ""}, "CPU1 twice"},
		{{"CPU1,", 0, 0, NULL, ""}, "no device ''"},
		{{"", 0, 0, NULL, ""}, "no device ''"},
		{{"CPU1,Vulkan77", 0, 0, NULL, ""}, "no device 'Vulkan77'"},
		{{"CPU", 0, 0, "blk=CPU1", ""}, "no device 'CPU1' takes part here; these do: CPU"},
		{{"CPU1", 0, 0, "b(lk=CPU1", ""}, "no regular expression"},
		{{NULL, 0, 0, "blk", ""}, "expects PATTERN=DEVICE"},
	};
	struct baton_model *m = open_fixture("llama-plain.Q8_0", false);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct baton_session_params p = params_for(&bad[i].c);
		struct baton_session *s;
		struct baton_error err = {0};
		assert_int_equal(baton_session_open(m, &p, &s, &err), BATON_ERR_ARG);
		assert_null(s);
		if (!strstr(err.text, bad[i].words)) fail_msg("%zu: %s", i, err.text);
	}
	/* "none", and the CPU in whatever list: no split. */
	static const char *const alone[] = {"none", "CPU", "cpu", "CPU,CPU"};
	for (size_t i = 0; i < sizeof alone / sizeof *alone; i++) {
		struct baton_session_params p = params_for(NULL);
		p.device = alone[i];
		p.n_gpu_layers = 1;
		struct baton_session *s = open_session(m, &p);
		struct baton_session_info info;
		baton_session_get_info(s, &info);
		assert_string_equal(info.device, "CPU");
		assert_int_equal(info.n_gpu_layers, 0);
		baton_session_close(&s);
	}
	baton_model_close(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_split_changes_no_bit),
		cmocka_unit_test(values_survive_devices_that_do_nothing),
		cmocka_unit_test(memory_is_where_the_placement_says),
		cmocka_unit_test(bad_placements_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
