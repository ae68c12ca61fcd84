/* Routing: which experts, with which weights, against a plain reading of the rules in double precision.
 *
 *   test_router [DEVICE]   on the CPU, or on that device */
#include "backend/backend.h"
#include "base/half.h"

#include "helpers.h"

#include <math.h>

enum { EXPERTS = 24, TOKENS = 40, USED_MAX = 8 };

struct rules {
	bool sigmoid, bias, normalize;
	uint32_t used, n_group, n_group_used;
	float scale;
};

static float table[TOKENS][EXPERTS], bias[EXPERTS];
static const char *device = "CPU";

/* Does a come before b: larger, or equal and of the lower number? */
static bool before(const double *x, uint32_t a, uint32_t b)
{
	return x[a] > x[b] || (x[a] == x[b] && a < b);
}

/* How many of n come before i. */
static uint32_t rank_of(const double *x, uint32_t n, uint32_t i)
{
	uint32_t rank = 0;
	for (uint32_t j = 0; j < n; j++) rank += j != i && before(x, j, i);
	return rank;
}

/* weight[e]: what expert e counts for; -1: not chosen. */
static void expect(const struct rules *r, const float *logit, double *weight)
{
	double score[EXPERTS], key[EXPERTS], group[EXPERTS], max = -INFINITY, sum = 0, chosen = 0;
	uint32_t size = EXPERTS / r->n_group;
	for (uint32_t e = 0; e < EXPERTS; e++) /* not fmax(): gcc 12 for arm64 breaks down on it at -O3 */
		if (logit[e] > max) max = logit[e];
	for (uint32_t e = 0; e < EXPERTS; e++) sum += exp(logit[e] - max);
	for (uint32_t e = 0; e < EXPERTS; e++) {
		score[e] = r->sigmoid ? 1 / (1 + exp(-(double)logit[e])) : exp(logit[e] - max) / sum;
		key[e] = score[e] + (r->bias ? (double)bias[e] : 0);
	}
	for (uint32_t g = 0; g < r->n_group; g++) {
		group[g] = 0;
		for (uint32_t i = 0; i < size; i++)
			if (rank_of(key + g * size, size, i) < 2) group[g] += key[g * size + i];
	}
	for (uint32_t e = 0; e < EXPERTS; e++)
		if (rank_of(group, r->n_group, e / size) >= r->n_group_used) key[e] = -INFINITY;
	for (uint32_t e = 0; e < EXPERTS; e++) {
		weight[e] = rank_of(key, EXPERTS, e) < r->used ? score[e] : -1;
		if (weight[e] >= 0) chosen += weight[e];
	}
	for (uint32_t e = 0; e < EXPERTS; e++)
		if (weight[e] >= 0) weight[e] *= (double)r->scale / (r->normalize ? chosen : 1);
}

/* The choices of all tokens on the device: [TOKENS][2 used]. */
static void route(const struct rules *r, float *out)
{
	struct bt_tensor embd = {.type = bt_type_get(BT_TYPE_F32), .dim = {EXPERTS, TOKENS, 1, 1}, .n_rows = TOKENS};
	struct bt_tensor add = {.type = embd.type, .dim = {EXPERTS, 1, 1, 1}, .n_rows = 1, .data = bias};
	embd.row_bytes = EXPERTS * sizeof(float);
	embd.size = embd.matrix_bytes = sizeof table;
	embd.data = table;
	struct bt_plan p;
	bt_plan_init(&p);
	p.n_embd = EXPERTS;
	p.n_vocab = TOKENS;
	p.n_expert_used = r->used;
	struct bt_op *op = bt_plan_op(&p, BT_OP_EMBED, 0);
	uint32_t score = op->out[0] = bt_plan_value(&p, "score", EXPERTS, BT_ROWS_TOKENS);
	op->embed.w = &embd;
	op = bt_plan_op(&p, BT_OP_ROUTER, 0);
	op->in[0] = score;
	uint32_t choice = op->out[0] = bt_plan_value(&p, "choice", 2 * r->used, BT_ROWS_TOKENS);
	op->router.select_bias = r->bias ? &add : NULL;
	op->router.n_expert = EXPERTS;
	op->router.n_used = r->used;
	op->router.n_group = r->n_group;
	op->router.n_group_used = r->n_group_used;
	op->router.sigmoid = r->sigmoid;
	op->router.normalize = r->normalize;
	op->router.scale = r->scale;
	struct bt_keep keep = {choice, p.n_ops - 1, 0, true};
	p.keep = &keep;
	p.n_keeps = 1;
	struct baton_error err;
	assert_int_equal(bt_plan_check(&p, &err), BATON_OK);

	const struct bt_backend *b;
	struct bt_device *dev;
	struct bt_exec *exec;
	uint32_t index;
	struct bt_device_params dp = {.n_threads = 3};
	struct bt_compile c = {.plan = &p, .n_tokens = TOKENS, .n_logits = 1};
	assert_int_equal(bt_backend_find(device, &b, &index, &err), BATON_OK);
	assert_int_equal(b->open(index, &dp, &dev, &err), BATON_OK);
	assert_int_equal(b->compile(dev, &c, &exec, &err), BATON_OK);
	int32_t token[TOKENS], pos[TOKENS];
	for (int i = 0; i < TOKENS; i++) token[i] = pos[i] = i;
	struct bt_step_seq seq = {.n = TOKENS};
	struct bt_step step = {.n_tokens = TOKENS, .n_seqs = 1, .token = token, .pos = pos, .seq = &seq};
	assert_int_equal(b->run(exec, &step, &err), BATON_OK);
	memcpy(out, b->window(exec, 0), (size_t)TOKENS * 2 * r->used * sizeof(float));
	b->release(exec);
	b->close(dev);
	bt_plan_free(&p);
}

static void check(const struct rules *r)
{
	float out[TOKENS][2 * USED_MAX], *at = out[0];
	route(r, at);
	for (uint32_t t = 0; t < TOKENS; t++, at += 2 * r->used) {
		double weight[EXPERTS], last = INFINITY;
		expect(r, table[t], weight);
		for (uint32_t s = 0; s < r->used; s++) {
			uint32_t e = bt_bits_from_float(at[s]);
			assert_true(e < EXPERTS);
			assert_true(weight[e] >= 0); /* chosen, and once */
			assert_true(fabs(at[r->used + s] - weight[e]) <= 1e-6 * (double)r->scale);
			if (!r->bias) assert_true(at[r->used + s] <= last); /* best first */
			last = at[r->used + s];
			weight[e] = -1;
		}
	}
}

static void experts_are_chosen_by_the_rules(void **state)
{
	(void)state;
	srand(5);
	for (int t = 0; t < TOKENS; t++)
		for (int e = 0; e < EXPERTS; e++) table[t][e] = t == 7 ? 0.5f : (float)(rand() % 2001 - 1000) / 200;
	for (int e = 0; e < EXPERTS; e++) bias[e] = (float)(rand() % 1000) / 2000;
	static const uint32_t groups[][3] = {{1, 1, 8}, {1, 1, 1}, {4, 4, 6}, {4, 2, 6},
	                                     {4, 1, 6}, {8, 3, 2}, {24, 8, 8}};
	for (unsigned how = 0; how < 8; how++)
		for (unsigned g = 0; g < sizeof groups / sizeof *groups; g++)
			check(&(struct rules){.sigmoid = how & 1,
			                      .bias = how & 2,
			                      .normalize = how & 4,
			                      .n_group = groups[g][0],
			                      .n_group_used = groups[g][1],
			                      .used = groups[g][2],
			                      .scale = how & 1 ? 2.5f : 1});
}

static void scores_that_are_no_numbers_choose_something(void **state)
{
	(void)state;
	struct rules r = {.used = 4, .n_group = 1, .n_group_used = 1, .scale = 1};
	float out[TOKENS][2 * 4];
	for (int t = 0; t < TOKENS; t++)
		for (int e = 0; e < EXPERTS; e++) table[t][e] = NAN;
	route(&r, out[0]);
	for (int t = 0; t < TOKENS; t++)
		for (int s = 0; s < 4; s++) assert_true(bt_bits_from_float(out[t][s]) < EXPERTS);
}

int main(int argc, char **argv)
{
	const struct bt_backend *b;
	uint32_t index;
	struct baton_error err;
	if (argc > 1) device = argv[1];
	if (bt_backend_find(device, &b, &index, &err)) {
		printf("skipped: %s\n", err.text);
		return 77;
	}
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(experts_are_chosen_by_the_rules),
		cmocka_unit_test(scores_that_are_no_numbers_choose_something),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
