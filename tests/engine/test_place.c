/* Placing: rules to devices, cuts, crossings, shares and their memory, on plans made up layer by layer. */
#include "engine/model.h"
#include "plan/place.h"

#include "helpers.h"

enum { N = 64, FF = 128, HEADS = 4, D = 16, VOCAB = 100, N_EXPERT = 8, USED = 4 };

/* A plan with its weights, whose names are those of GGUF files; only shapes, no data. */
struct model {
	struct bt_plan plan;
	struct bt_tensor t[256];
	char name[256][64];
	uint32_t n_tensors, h;
	struct bt_rope rope;
};

static const struct bt_tensor *weight(struct model *m, int layer, const char *name, uint64_t d0, uint64_t d1,
                                      uint64_t d2)
{
	struct bt_tensor *t = &m->t[m->n_tensors];
	char *text = m->name[m->n_tensors++];
	assert_true(m->n_tensors < 256);
	if (layer < 0) snprintf(text, sizeof m->name[0], "%s", name);
	else snprintf(text, sizeof m->name[0], "blk.%d.%s", layer, name);
	*t = (struct bt_tensor){.name = {text, strlen(text)}, .dim = {d0, d1, d2, 1}, .n_rows = d1 * d2};
	t->size = d0 * d1 * d2 * 4;
	return t;
}

static struct bt_op *add(struct model *m, enum bt_op_kind kind, int layer, uint32_t in0, uint32_t in1, uint32_t out)
{
	struct bt_op *op = bt_plan_op(&m->plan, kind, (uint32_t)layer);
	op->in[0] = in0;
	op->in[1] = in1;
	op->out[0] = out;
	return op;
}

static uint32_t value(struct model *m, const char *name, uint32_t width, enum bt_rows rows)
{
	return bt_plan_value(&m->plan, name, width, rows);
}

static void mat(struct bt_op *op, const struct bt_tensor *w, uint32_t out)
{
	op->matmul.mat[op->matmul.n_mats].w = w;
	op->out[op->matmul.n_mats++] = out;
}

static uint32_t norm(struct model *m, int l, const char *name, enum bt_rows rows)
{
	char full[40];
	snprintf(full, sizeof full, "%s.weight", name);
	struct bt_op *op = add(m, BT_OP_RMS_NORM, l, m->h, BT_NO_VALUE, value(m, name, N, rows));
	op->norm.w = weight(m, strcmp(name, "output_norm") ? l : -1, full, N, 1, 1);
	op->norm.n_groups = 1;
	return op->out[0];
}

static void add_attention(struct model *m, int l)
{
	uint32_t x = norm(m, l, "attn_norm", BT_ROWS_TOKENS);
	uint32_t q = value(m, "q", N, BT_ROWS_TOKENS), k = value(m, "k", N, BT_ROWS_TOKENS);
	uint32_t v = value(m, "v", N, BT_ROWS_TOKENS), a = value(m, "a", N, BT_ROWS_TOKENS);
	struct bt_op *op = add(m, BT_OP_MATMUL, l, x, BT_NO_VALUE, BT_NO_VALUE);
	mat(op, weight(m, l, "attn_q.weight", N, N, 1), q);
	mat(op, weight(m, l, "attn_k.weight", N, N, 1), k);
	mat(op, weight(m, l, "attn_v.weight", N, N, 1), v);
	op = add(m, BT_OP_ROPE, l, q, k, q);
	op->out[1] = k;
	op->rope.rope = &m->rope;
	op->rope.d = D;
	uint32_t cache = bt_plan_cache(&m->plan, (uint32_t)l, HEADS, D, D);
	add(m, BT_OP_KV_STORE, l, k, v, BT_NO_VALUE)->kv.cache = cache;
	op = add(m, BT_OP_ATTENTION, l, q, BT_NO_VALUE, a);
	op->attention.cache = cache;
	op->attention.n_head = HEADS;
	op = add(m, BT_OP_MATMUL, l, a, BT_NO_VALUE, BT_NO_VALUE);
	mat(op, weight(m, l, "attn_output.weight", N, N, 1), m->h);
	op->matmul.epilogue = BT_EPI_ADD;
}

static void gated(struct model *m, int l, struct bt_op *op, const char *kind, uint64_t experts)
{
	char gate[40], up[40];
	enum bt_rows rows = experts > 1 ? BT_ROWS_EXPERTS : BT_ROWS_TOKENS;
	snprintf(gate, sizeof gate, "ffn_gate%s.weight", kind);
	snprintf(up, sizeof up, "ffn_up%s.weight", kind);
	mat(op, weight(m, l, gate, N, FF, experts), value(m, "ffn", FF, rows));
	mat(op, weight(m, l, up, N, FF, experts), value(m, "ffn_up", FF, rows));
	op->matmul.epilogue = BT_EPI_SILU_GATE;
}

static void add_dense(struct model *m, int l)
{
	struct bt_op *op = add(m, BT_OP_MATMUL, l, norm(m, l, "ffn_norm", BT_ROWS_TOKENS), BT_NO_VALUE, BT_NO_VALUE);
	gated(m, l, op, "", 1);
	op = add(m, BT_OP_MATMUL, l, op->out[0], BT_NO_VALUE, BT_NO_VALUE);
	mat(op, weight(m, l, "ffn_down.weight", FF, N, 1), m->h);
	op->matmul.epilogue = BT_EPI_ADD;
}

static void add_experts(struct model *m, int l, bool shared)
{
	uint32_t x = norm(m, l, "ffn_norm", BT_ROWS_TOKENS), score = value(m, "router", N_EXPERT, BT_ROWS_TOKENS);
	uint32_t choice = value(m, "experts", 2 * USED, BT_ROWS_TOKENS), z = value(m, "down", N, BT_ROWS_EXPERTS);
	mat(add(m, BT_OP_MATMUL, l, x, BT_NO_VALUE, BT_NO_VALUE), weight(m, l, "ffn_gate_inp.weight", N, N_EXPERT, 1),
	    score);
	add(m, BT_OP_ROUTER, l, score, BT_NO_VALUE, choice);
	struct bt_op *op;
	if (shared) {
		op = add(m, BT_OP_MATMUL, l, x, BT_NO_VALUE, BT_NO_VALUE);
		gated(m, l, op, "_shexp", 1);
		op = add(m, BT_OP_MATMUL, l, op->out[0], BT_NO_VALUE, BT_NO_VALUE);
		mat(op, weight(m, l, "ffn_down_shexp.weight", FF, N, 1), m->h);
		op->matmul.epilogue = BT_EPI_ADD;
	}
	op = add(m, BT_OP_MATMUL_EXPERTS, l, x, choice, BT_NO_VALUE);
	gated(m, l, op, "_exps", N_EXPERT);
	mat(add(m, BT_OP_MATMUL_EXPERTS, l, op->out[0], choice, BT_NO_VALUE),
	    weight(m, l, "ffn_down_exps.weight", FF, N, N_EXPERT), z);
	add(m, BT_OP_EXPERT_SUM, l, z, choice, m->h);
}

/* layers: a letter for each half of a layer, a space between layers: a attention, d dense, e experts, s experts and a shared one. */
static struct model *build(const char *layers)
{
	struct model *m = calloc(1, sizeof *m);
	struct bt_plan *p = &m->plan;
	bt_plan_init(p);
	m->rope.n_pairs = D / 2;
	p->n_embd = N;
	p->n_vocab = VOCAB;
	p->n_expert_used = USED;
	m->h = value(m, "h", N, BT_ROWS_TOKENS);
	const struct bt_tensor *embd = weight(m, -1, "token_embd.weight", N, VOCAB, 1);
	add(m, BT_OP_EMBED, 0, BT_NO_VALUE, BT_NO_VALUE, m->h)->embed.w = embd;
	int l = 0;
	for (const char *s = layers; *s; s++) {
		if (*s == ' ') l++;
		if (*s == 'a') add_attention(m, l);
		if (*s == 'd') add_dense(m, l);
		if (*s == 'e' || *s == 's') add_experts(m, l, *s == 's');
	}
	p->n_layer = (uint32_t)l + 1;
	struct bt_op *op = add(m, BT_OP_GATHER, l, m->h, BT_NO_VALUE, value(m, "h_out", N, BT_ROWS_LOGITS));
	m->h = op->out[0];
	uint32_t x = norm(m, l, "output_norm", BT_ROWS_LOGITS);
	op = add(m, BT_OP_LOGITS, l, x, BT_NO_VALUE, BT_NO_VALUE);
	op->matmul.mat[op->matmul.n_mats++].w = weight(m, -1, "output.weight", N, VOCAB, 1);
	assert_int_equal(bt_plan_check(p, NULL), BATON_OK);
	return m;
}

static void drop(struct model *m)
{
	bt_plan_free(&m->plan);
	free(m);
}

/* "0:embed-1.matmul | 1[h]:2.rms_norm-3.logits": for each segment its device, what crosses, its first and last operation
 * with their layers. */
static const char *describe(const struct bt_plan *p, const struct bt_placement *pl)
{
	static char text[4096];
	size_t len = 0;
	*text = 0;
	for (uint32_t s = 0; s < pl->n_segments; s++) {
		const struct bt_segment *seg = &pl->segment[s];
		const struct bt_op *a = &p->op[pl->order[seg->first]], *b = &p->op[pl->order[seg->first + seg->n - 1]];
		len += (size_t)snprintf(text + len, sizeof text - len, "%s%u", s ? " | " : "", seg->device);
		for (uint32_t i = 0; i < seg->n_crossings; i++) {
			const struct bt_crossing *c = &pl->crossing[seg->crossing + i];
			assert_int_equal(c->to, seg->device);
			assert_int_not_equal(c->from, c->to);
			len += (size_t)snprintf(text + len, sizeof text - len, "%s%s", i ? "," : "[",
			                        p->value[c->value].name);
		}
		len += (size_t)snprintf(text + len, sizeof text - len, "%s:%u.%s-%u.%s", seg->n_crossings ? "]" : "",
		                        a->layer, bt_op_table[a->kind].name, b->layer, bt_op_table[b->kind].name);
	}
	return text;
}

static const struct bt_place_device devices[] = {{.name = "CPU"}, {.name = "gpu1"}, {.name = "gpu2"}};
static const struct bt_place_need no_need = {.n_tokens = 8, .n_logits = 2};

struct rule_case {
	const char *layers;
	uint32_t n_devices;
	struct bt_place_rules rules;
	const char *segments;
};

static const struct rule_case cases[] = {
	/* One device: one segment whatever the rules say. */
	{"ad ad", 1, {99, 0, NULL}, "0:0.embed-1.logits"},
	{"ae ae", 1, {-1, 1, "exps=CPU"}, "0:0.embed-1.logits"},
	/* -ngl counts from the last layer; the norm of a layer goes with it, so that h alone crosses. */
	{"ad ad ad ad", 2, {0, 0, NULL}, "0:0.embed-3.logits"},
	{"ad ad ad ad",
         2,
         {1, 0, NULL},
         "0:0.embed-2.matmul | 1[h]:3.rms_norm-3.gather | 0[h_out]:3.rms_norm-3.logits"},
	{"ad ad ad ad",
         2,
         {3, 0, NULL},
         "0:0.embed-0.matmul | 1[h]:1.rms_norm-3.gather | 0[h_out]:3.rms_norm-3.logits"},
	{"ad ad ad ad", 2, {4, 0, NULL}, "0:0.embed-0.embed | 1[h]:0.rms_norm-3.gather | 0[h_out]:3.rms_norm-3.logits"},
	/* More than there are layers: the output too. The embedding stays. */
	{"ad ad ad ad", 2, {5, 0, NULL}, "0:0.embed-0.embed | 1[h]:0.rms_norm-3.logits"},
	{"ad ad ad ad", 2, {99, 0, NULL}, "0:0.embed-0.embed | 1[h]:0.rms_norm-3.logits"},
	{"ad ad ad ad", 2, {-1, 0, NULL}, "0:0.embed-0.embed | 1[h]:0.rms_norm-3.logits"},
	/* Two accelerators share the layers; the output counts as one more. */
	{"ad ad ad ad",
         3,
         {4, 0, NULL},
         "0:0.embed-0.embed | 1[h]:0.rms_norm-1.matmul | 2[h]:2.rms_norm-3.gather | 0[h_out]:3.rms_norm-3.logits"},
	{"ad ad ad", 3, {9, 0, NULL}, "0:0.embed-0.embed | 1[h]:0.rms_norm-1.matmul | 2[h]:2.rms_norm-2.logits"},
	/* -ncmoe: experts and their sum on the host, router and all else not. */
	{"ae ae",
         2,
         {9, 1, NULL},
         "0:0.embed-0.embed | 1[h]:0.rms_norm-0.router | 0[ffn_norm,experts,h]:0.matmul_experts-0.expert_sum | "
         "1[h]:1.rms_norm-1.logits"},
	{"ad ae",
         2,
         {9, 2, NULL},
         "0:0.embed-0.embed | 1[h]:0.rms_norm-1.router | 0[ffn_norm,experts,h]:1.matmul_experts-1.gather | "
         "1[h_out]:1.rms_norm-1.logits"},
	{"ad ad", 2, {9, 2, NULL}, "0:0.embed-0.embed | 1[h]:0.rms_norm-1.logits"},
	/* -ot: the first that matches counts, before -ncmoe and -ngl; a cache follows its keys. */
	{"ad ad",
         2,
         {0, 0, "blk\\.1\\.=gpu1"},
         "0:0.embed-0.matmul | 1[h]:1.rms_norm-1.gather | 0[h_out]:1.rms_norm-1.logits"},
	{"ad ad",
         2,
         {9, 0, "blk\\.0\\.ffn=CPU,ffn_(up|down)=gpu1"},
         "0:0.embed-0.embed | 1[h]:0.rms_norm-0.matmul | 0[h]:0.rms_norm-0.matmul | 1[h]:1.rms_norm-1.logits"},
	{"ad ad",
         2,
         {9, 0, "ffn_(up|down)=gpu1;blk\\.0\\.ffn=CPU"},
         "0:0.embed-0.embed | 1[h]:0.rms_norm-0.matmul | 0[h]:0.rms_norm-0.rms_norm | "
         "1[ffn_norm]:0.matmul-1.logits"},
	{"ae ae",
         2,
         {9, 2, "blk\\.1\\..*_exps=GPU1"},
         "0:0.embed-0.embed | 1[h]:0.rms_norm-0.router | 0[ffn_norm,experts,h]:0.matmul_experts-0.expert_sum | "
         "1[h]:1.rms_norm-1.logits"},
	{"ad", 2, {9, 0, "attn_(q|k|v|norm)=CPU"}, "0:0.embed-0.attention | 1[a,h]:0.matmul-0.logits"},
	{"ad", 2, {9, 0, "token_embd=gpu1"}, "1:0.embed-0.logits"},
	{"ad", 2, {0, 0, "^output\\.weight$=gpu1"}, "0:0.embed-0.gather | 1[h_out]:0.rms_norm-0.logits"},
	/* Only one projection is told: matrices of one operation stay together. */
	{"ae",
         2,
         {9, 0, "ffn_up_exps=CPU"},
         "0:0.embed-0.embed | 1[h]:0.rms_norm-0.router | 0[ffn_norm,experts]:0.matmul_experts-0.matmul_experts | "
         "1[ffn]:0.matmul_experts-0.logits"},
};

/* Experts of a layer beside its shared one: the host's segment comes after the other device's, and waits for less. */
static const struct rule_case side_by_side[] = {
	{"as ad",
         2,
         {9, 1, NULL},
         "0:0.embed-0.embed | 1[h]:0.rms_norm-0.router | 1:0.matmul-0.matmul | "
         "0[ffn_norm,experts]:0.matmul_experts-0.matmul_experts | 0[h]:0.expert_sum-0.expert_sum | "
         "1[h]:1.rms_norm-1.logits"},
	{"as ad",
         2,
         {9, 0, "ffn_(gate|up|down)_shexp=CPU"},
         "0:0.embed-0.embed | 1[h]:0.rms_norm-0.rms_norm | 1:0.matmul-0.router | "
         "1:0.matmul_experts-0.matmul_experts | 0[ffn_norm,h]:0.matmul-0.matmul | 1[h]:0.expert_sum-1.logits"},
	{"as ad",
         2,
         {9, 0, "ffn_gate_inp|shexp=CPU"},
         "0:0.embed-0.embed | 1[h]:0.rms_norm-0.matmul | 0[h]:0.rms_norm-0.router | "
         "1[ffn_norm,experts]:0.matmul_experts-0.matmul_experts | 0:0.matmul-0.matmul | "
         "1[h]:0.expert_sum-1.logits"},
	/* On two cards. */
	{"as ad",
         3,
         {9, 0, "_exps=gpu2,blk=gpu1"},
         "0:0.embed-0.embed | 1[h]:0.rms_norm-0.router | 1:0.matmul-0.matmul | "
         "2[ffn_norm,experts]:0.matmul_experts-0.matmul_experts | 2[h]:0.expert_sum-0.expert_sum | "
         "1[h]:1.rms_norm-1.gather | 2[h_out]:1.rms_norm-1.logits"},
	/* Of the experts only the second product. */
	{"as",
         2,
         {9, 0, "ffn_down_exps=CPU"},
         "0:0.embed-0.embed | 1[h]:0.rms_norm-0.matmul_experts | 1:0.matmul-0.matmul | "
         "0[ffn,experts]:0.matmul_experts-0.matmul_experts | 0[h]:0.expert_sum-0.gather | "
         "1[h_out]:0.rms_norm-0.logits"},
};

static void check_case(const struct rule_case *c, const char *table, size_t i, bool beside)
{
	struct model *m = build(c->layers);
	struct bt_placement pl;
	struct baton_error err = {0};
	if (bt_place(&m->plan, devices, c->n_devices, &c->rules, &no_need, &pl, &err)) fail_msg("%s", err.text);
	const char *got = describe(&m->plan, &pl);
	if (strcmp(got, c->segments)) fail_msg("%s %zu:\n  got  %s\n  want %s", table, i, got, c->segments);
	assert_int_equal(pl.n_beside > 0, beside);
	bt_placement_free(&pl);
	drop(m);
}

static void rules_give_devices(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check_case(&cases[i], "case", i, false);
	for (size_t i = 0; i < sizeof side_by_side / sizeof *side_by_side; i++)
		check_case(&side_by_side[i], "side by side", i, true);
}

/* Rules that are refused, and words of the sentence. */
static void bad_rules_are_refused(void **state)
{
	(void)state;
	static const struct {
		const char *rules, *words;
	} bad[] = {
		{"blk=Vulkan3", "no device 'Vulkan3' takes part here; these do: CPU, gpu1"},
		{"blk", "expects PATTERN=DEVICE"},
		{"=CPU", "expects PATTERN=DEVICE"},
		{"blk=", "expects PATTERN=DEVICE"},
		{"blk=CPU,ffn", "got 'ffn'"},
		{"blk\\.(0=CPU", "no regular expression"},
		{"(.*?)*$(?!blk)((a+)+)+z|(.|..)*(.|..)*(.|..)*(.|..)*(.|..)*#=CPU", "takes too long"},
	};
	struct model *m = build("ad");
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct bt_place_rules rules = {-1, 0, bad[i].rules};
		struct bt_placement pl;
		struct baton_error err = {0};
		assert_int_equal(bt_place(&m->plan, devices, 2, &rules, &no_need, &pl, &err), BATON_ERR_ARG);
		if (!strstr(err.text, bad[i].words)) fail_msg("'%s' gives '%s'", bad[i].rules, err.text);
		assert_null(strchr(err.text, '\n'));
		assert_null(pl.op);
	}
	drop(m);
}

static void bytes_add_up(void **state)
{
	(void)state;
	struct model *m = build("ad ae ae");
	uint64_t cache[3] = {100, 200, 400}, all = 0;
	struct bt_place_need need = {.cache = cache, .n_tokens = 8, .n_logits = 2};
	struct bt_place_rules rules = {2, 2, NULL};
	struct bt_placement pl;
	assert_int_equal(bt_place(&m->plan, devices, 2, &rules, &need, &pl, NULL), BATON_OK);
	for (uint32_t i = 0; i < m->n_tensors; i++) all += m->t[i].size;
	assert_int_equal(pl.device[0].weights + pl.device[1].weights, all);
	assert_int_equal(pl.device[0].cache, 100);
	assert_int_equal(pl.device[1].cache, 600);
	/* On the device: two layers without the experts of layer 1. */
	uint64_t attention = 4 * N * N + N, experts = 3ull * N * FF * N_EXPERT, router = N * N_EXPERT + N;
	assert_int_equal(pl.device[1].weights, 4 * (2 * attention + experts + 2 * router));
	bt_placement_free(&pl);
	drop(m);
	/* A weight that two devices read is on both. */
	m = build("ad");
	m->plan.op[m->plan.n_ops - 1].matmul.mat[0].w = m->plan.op[0].embed.w;
	rules = (struct bt_place_rules){9, 0, NULL};
	assert_int_equal(bt_place(&m->plan, devices, 2, &rules, &no_need, &pl, NULL), BATON_OK);
	assert_int_equal(pl.device[0].weights, m->plan.op[0].embed.w->size);
	all = 0;
	for (uint32_t i = 0; i + 1 < m->n_tensors; i++)
		all += m->t[i].size; /* the last is the output that is unused now */
	assert_int_equal(pl.device[1].weights, all);
	bt_placement_free(&pl);
	drop(m);
}

static void as_many_layers_as_fit(void **state)
{
	(void)state;
	struct model *m = build("ad ad ad ad ad ad ad ad");
	uint64_t cache[8], layer = 4ull * (4 * N * N + 2 * N + 3 * N * FF), last = 0;
	for (int i = 0; i < 8; i++) cache[i] = 5000;
	struct bt_place_need need = {.cache = cache, .n_tokens = 8, .n_logits = 2};
	struct bt_place_rules rules = {-1, 0, NULL}, explicit = {0, 0, NULL};
	struct bt_place_device two[2] = {devices[0], devices[1]};
	for (uint32_t want = 0; want <= 9; want++) {
		/* What exactly `want` layers take is enough for them, and one byte less is not. */
		struct bt_placement pl;
		explicit.n_gpu_layers = (int32_t)want;
		assert_int_equal(bt_place(&m->plan, devices, 2, &explicit, &need, &pl, NULL), BATON_OK);
		const struct bt_place_total *t = &pl.device[1];
		uint64_t takes = t->weights + t->cache + t->scratch;
		if (want && want < 9) assert_in_range(takes - last, layer + 5000, layer + 5000 + 30000);
		last = takes;
		bt_placement_free(&pl);
		for (uint32_t less = 0; less < 2 && want; less++) {
			two[1].memory = takes - less;
			assert_int_equal(bt_place(&m->plan, two, 2, &rules, &need, &pl, NULL), BATON_OK);
			assert_int_equal(pl.n_gpu_layers, want - less);
			bt_placement_free(&pl);
		}
	}
	/* Layers in proportion to memory. */
	struct bt_place_device three[3] = {devices[0], devices[1], devices[2]};
	three[1].memory = 3ull << 30;
	three[2].memory = 1ull << 30;
	struct bt_placement pl;
	assert_int_equal(bt_place(&m->plan, three, 3, &rules, &need, &pl, NULL), BATON_OK);
	assert_int_equal(pl.device[1].cache, 7 * 5000); /* 9 units: 6.75 */
	assert_int_equal(pl.device[2].cache, 1 * 5000);
	bt_placement_free(&pl);
	drop(m);
}

static bool no_attention(const void *user, const struct bt_plan *plan, const struct bt_op *op)
{
	(void)user, (void)plan;
	return op->kind != BT_OP_ATTENTION;
}

static void what_a_device_cannot_do_falls_to_the_host(void **state)
{
	(void)state;
	struct model *m = build("ad ad");
	struct bt_place_device two[2] = {devices[0], devices[1]};
	struct bt_place_rules rules = {9, 0, NULL};
	struct bt_placement pl;
	two[1].supports = no_attention;
	assert_int_equal(bt_place(&m->plan, two, 2, &rules, &no_need, &pl, NULL), BATON_OK);
	assert_string_equal(describe(&m->plan, &pl),
	                    "0:0.embed-0.embed | 1[h]:0.rms_norm-0.rope | 0[k,v,q]:0.kv_store-0.attention | "
	                    "1[a]:0.matmul-1.rope | 0[k,v,q]:1.kv_store-1.attention | 1[a]:1.matmul-1.logits");
	assert_int_equal(pl.cache[0], 0);
	bt_placement_free(&pl);
	drop(m);
}

/* The shares run on numbers instead of floats. Every device has scratch memory of its own, laid out for its share; each operation
 * checks that what it reads is what the plan has there, run in its own order, and writes a new number.
 *
 * A device that is `late` runs a part only when somebody waits for it; what crosses stands in boxes of two parts until then, as on
 * a GPU. For the others that memory is where the value is, as on the CPU. */
enum { TOKENS = 8, OUT = 2 }; /* those of no_need */
struct side {
	struct bt_plan share;
	uint64_t *mem, *box[2][2]; /* box[leaves][part % 2][value] */
	size_t *offset;
	uint32_t begun, over, done[512]; /* done[i]: which operation of the plan its i-th one is */
	bool late;
};
struct numbers {
	const struct bt_plan *plan;
	const struct bt_placement *pl;
	struct side side[BT_MAX_DEVICES];
	uint64_t (*reads)[BT_MAX_INS + 1], (*writes)[BT_MAX_MATS]; /* [n_ops] what it must find, and leaves */
	uint32_t cache[8];                                         /* operations that have stored to each */
};

/* The first and the last words of a value. */
static uint64_t *value_in(const struct numbers *n, const struct side *s, uint32_t v, bool last)
{
	size_t bytes = bt_plan_rows(n->plan, v, TOKENS, OUT) * n->plan->value[v].width * 4;
	return s->mem + (last ? s->offset[v] + bytes - 8 : s->offset[v]) / 8;
}

static void set(const struct numbers *n, const struct side *s, uint32_t v, uint64_t number)
{
	for (uint64_t *w = value_in(n, s, v, false); w <= value_in(n, s, v, true); w++) *w = number;
}

static uint64_t get(const struct numbers *n, const struct side *s, uint32_t v)
{
	assert_int_equal(*value_in(n, s, v, false), *value_in(n, s, v, true));
	return *value_in(n, s, v, false);
}

/* What operations find and leave in the order of the plan. */
static void plan_numbers(struct numbers *n)
{
	uint64_t *now = calloc(n->plan->n_values, sizeof *now), stamp = 1;
	for (uint32_t i = 0; i < n->plan->n_ops; i++) {
		const struct bt_op *op = &n->plan->op[i];
		for (size_t j = 0; j < BT_MAX_INS; j++)
			if (op->in[j] != BT_NO_VALUE) n->reads[i][j] = now[op->in[j]];
		if (bt_op_adds(op)) n->reads[i][BT_MAX_INS] = now[op->out[0]];
		for (size_t j = 0; j < BT_MAX_MATS; j++)
			if (op->out[j] != BT_NO_VALUE) n->writes[i][j] = now[op->out[j]] = stamp++;
	}
	free(now);
}

static void run_op(struct numbers *n, const struct side *s, uint32_t i)
{
	const struct bt_op *op = &n->plan->op[i];
	for (size_t j = 0; j < BT_MAX_INS; j++)
		if (op->in[j] != BT_NO_VALUE) assert_int_equal(get(n, s, op->in[j]), n->reads[i][j]);
	if (bt_op_adds(op)) assert_int_equal(get(n, s, op->out[0]), n->reads[i][BT_MAX_INS]);
	for (size_t j = 0; j < BT_MAX_MATS; j++)
		if (op->out[j] != BT_NO_VALUE) set(n, s, op->out[j], n->writes[i][j]);
	if (op->kind == BT_OP_KV_STORE) n->cache[op->kv.cache]++;
	if (op->kind == BT_OP_ATTENTION) assert_int_equal(n->cache[op->attention.cache], 1);
}

static void run_part(struct numbers *n, struct side *s, uint32_t number)
{
	struct bt_part part = bt_plan_part(&s->share, number);
	assert_int_equal(s->over++, number);
	for (uint32_t i = 0; i < s->share.n_keeps && s->late; i++) {
		const struct bt_keep *k = &s->share.keep[i];
		if (k->part == number && !k->leaves) set(n, s, k->value, s->box[0][number % 2][k->value]);
	}
	for (uint32_t i = part.first; i < part.first + part.n; i++) run_op(n, s, s->done[i]);
	memset(s->box[1][number % 2], 0, n->plan->n_values * sizeof(uint64_t));
	for (uint32_t i = 0; i < s->share.n_keeps && s->late; i++) {
		const struct bt_keep *k = &s->share.keep[i];
		if (k->part == number && k->leaves) s->box[1][number % 2][k->value] = get(n, s, k->value);
	}
}

static void wait_for_part(struct numbers *n, struct side *s, uint32_t part)
{
	assert_true(part < s->begun);
	while (s->over <= part) run_part(n, s, s->over);
}

static void run_segment(struct numbers *n, const struct bt_segment *seg)
{
	struct side *to = &n->side[seg->device];
	assert_int_equal(seg->part, to->begun);
	if (seg->n_crossings && seg->part > 1) wait_for_part(n, to, seg->part - 2);
	if (seg->n_crossings) memset(to->box[0][seg->part % 2], 0, n->plan->n_values * sizeof(uint64_t));
	for (uint32_t i = 0; i < seg->n_crossings; i++) {
		const struct bt_crossing *c = &n->pl->crossing[seg->crossing + i];
		struct side *from = &n->side[c->from];
		const struct bt_keep *leaves = &from->share.keep[c->leaves], *arrives = &to->share.keep[c->arrives];
		assert_true(leaves->value == c->value && leaves->leaves && leaves->part == c->part);
		assert_true(arrives->value == c->value && !arrives->leaves && arrives->part == seg->part);
		wait_for_part(n, from, c->part);
		uint64_t number = from->late ? from->box[1][c->part % 2][c->value] : get(n, from, c->value);
		if (to->late) to->box[0][seg->part % 2][c->value] = number;
		else set(n, to, c->value, number);
	}
	to->begun++;
	if (!to->late) run_part(n, to, seg->part);
}

static void open_sides(struct numbers *n, unsigned late)
{
	size_t size;
	for (uint32_t d = 0; d < n->pl->n_devices; d++) {
		struct side *s = &n->side[d];
		assert_int_equal(bt_place_share(n->plan, n->pl, d, &s->share, NULL), BATON_OK);
		s->offset = calloc(n->plan->n_values, sizeof *s->offset);
		assert_int_equal(bt_plan_layout(&s->share, TOKENS, OUT, BT_PLAN_REST, s->offset, &size, NULL),
		                 BATON_OK);
		assert_int_equal(size, n->pl->device[d].scratch);
		s->mem = calloc(size / 8 + 1, 8);
		for (int i = 0; i < 4; i++) s->box[i / 2][i % 2] = calloc(n->plan->n_values, 8);
		s->late = late >> d & 1;
	}
	uint32_t n_done[BT_MAX_DEVICES] = {0};
	assert_true(n->plan->n_ops <= 512);
	for (uint32_t i = 0; i < n->pl->n_segments; i++) {
		const struct bt_segment *seg = &n->pl->segment[i];
		struct side *s = &n->side[seg->device];
		assert_int_equal(bt_plan_part(&s->share, seg->part).n, seg->n);
		for (uint32_t k = seg->first; k < seg->first + seg->n; k++) {
			uint32_t at = n_done[seg->device]++;
			s->done[at] = n->pl->order[k];
			assert_memory_equal(&s->share.op[at], &n->plan->op[n->pl->order[k]], sizeof(struct bt_op));
		}
	}
}

/* Bit d of late: device d. */
static void run_by_numbers(const struct bt_plan *p, const struct bt_placement *pl, unsigned late)
{
	struct numbers n = {.plan = p, .pl = pl};
	n.reads = calloc(p->n_ops, sizeof *n.reads);
	n.writes = calloc(p->n_ops, sizeof *n.writes);
	plan_numbers(&n);
	open_sides(&n, late);
	for (uint32_t s = 0; s < pl->n_segments; s++) run_segment(&n, &pl->segment[s]);
	uint32_t n_ops = 0;
	for (uint32_t d = 0; d < pl->n_devices; d++) {
		struct side *s = &n.side[d];
		if (s->begun) wait_for_part(&n, s, s->begun - 1);
		n_ops += s->share.n_ops;
		bt_share_free(&s->share);
		free(s->offset);
		free(s->mem);
		for (int i = 0; i < 4; i++) free(s->box[i / 2][i % 2]);
	}
	assert_int_equal(n_ops, p->n_ops);
	free(n.reads);
	free(n.writes);
}

/* A device for every operation by chance, worse than any rules: values that wait on one device while it does other things. Only
 * caches stay where they are stored to. */
static void place_by_chance(const struct bt_plan *p, struct bt_placement *pl)
{
	uint8_t cache[8];
	for (uint32_t i = 0; i < p->n_ops; i++) {
		pl->op[i] = i && rand() % 2 ? pl->op[i - 1] : (uint8_t)(rand() % 3);
		if (p->op[i].kind == BT_OP_KV_STORE) cache[p->op[i].kv.cache] = pl->op[i];
		if (p->op[i].kind == BT_OP_ATTENTION) pl->op[i] = cache[p->op[i].attention.cache];
	}
}

static void nothing_is_lost_between_devices(void **state)
{
	(void)state;
	struct model *m = build("ad as ae ad as");
	uint32_t beside = 0, moved = 0;
	srand(5);
	for (int round = 0; round < 400; round++) {
		struct bt_place_rules rules = {0, 0, NULL};
		struct bt_placement pl;
		assert_int_equal(bt_place(&m->plan, devices, 3, &rules, &no_need, &pl, NULL), BATON_OK);
		place_by_chance(&m->plan, &pl);
		assert_int_equal(bt_cut(&m->plan, &no_need, &pl, NULL), BATON_OK);
		for (unsigned late = 0; late < 8; late++) run_by_numbers(&m->plan, &pl, late);
		beside += pl.n_beside;
		for (uint32_t i = 0; i < m->plan.n_ops; i++) moved += pl.order[i] != i;
		bt_placement_free(&pl);
	}
	assert_true(beside > 400 && moved > 1000);
	const size_t n_cases = sizeof cases / sizeof *cases, n_beside = sizeof side_by_side / sizeof *side_by_side;
	for (size_t i = 0; i < n_cases + n_beside; i++) {
		const struct rule_case *c = i < n_cases ? &cases[i] : &side_by_side[i - n_cases];
		struct model *other = build(c->layers);
		struct bt_placement pl;
		assert_int_equal(bt_place(&other->plan, devices, c->n_devices, &c->rules, &no_need, &pl, NULL),
		                 BATON_OK);
		for (unsigned late = 0; late < 8; late++) run_by_numbers(&other->plan, &pl, late);
		bt_placement_free(&pl);
		drop(other);
	}
	drop(m);
}

/* Every weight of a file that computes anything is some operation's: sizes of whole models come out right. */
static void all_weights_of_a_file_are_placed(void **state)
{
	(void)state;
	static const char *const names[] = {"llama-plain.Q8_0", "qwen2.Q4_0",     "qwen3.Q8_0",
	                                    "qwen35.Q8_0",      "qwen35moe.Q4_0", "nemotron_h_moe.Q5_K_M"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		struct baton_model *m = open_fixture(names[i], false);
		struct bt_place_rules rules = {0, 0, NULL};
		struct bt_placement pl;
		assert_int_equal(bt_place(&m->plan, devices, 2, &rules, &no_need, &pl, NULL), BATON_OK);
		assert_int_equal(pl.device[0].weights, m->size);
		assert_int_equal(pl.n_segments, 1);
		bt_placement_free(&pl);
		baton_model_close(&m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rules_give_devices),
		cmocka_unit_test(bad_rules_are_refused),
		cmocka_unit_test(bytes_add_up),
		cmocka_unit_test(as_many_layers_as_fit),
		cmocka_unit_test(what_a_device_cannot_do_falls_to_the_host),
		cmocka_unit_test(nothing_is_lost_between_devices),
		cmocka_unit_test(all_weights_of_a_file_are_placed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
