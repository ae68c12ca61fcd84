/* Tests of the sampler chain: distributions computed by hand, and properties that hold for any logits. */
#include "engine/sample_impl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <float.h>
#include <math.h>
#include <string.h>

#define V 8 /* vocabulary of the small tests */

/* Everything off: the plain softmax. */
static struct baton_sampler_params neutral(void)
{
	struct baton_sampler_params p;
	baton_sampler_params_init(&p);
	p.top_k = 0;
	p.top_p = 1;
	p.min_p = 0;
	p.temp = 1;
	return p;
}

static struct bt_sampler *open_sampler(const struct baton_sampler_params *p, uint32_t n_vocab)
{
	struct bt_sampler *s;
	struct baton_error err = {0};
	if (bt_sampler_open(p, n_vocab, 4096, NULL, NULL, &s, &err)) fail_msg("%s", err.text);
	return s;
}

static int32_t pick(struct bt_sampler *s, const float *logits)
{
	int32_t id;
	struct baton_error err = {0};
	if (bt_sampler_pick(s, logits, &id, &err)) fail_msg("%s", err.text);
	return id;
}

/* The probability of each of V tokens after one pick. */
static void distribution(const struct baton_sampler_params *p, const float *logits, const int32_t *history, size_t n,
                         double out[V])
{
	struct bt_sampler *s = open_sampler(p, V);
	for (size_t i = 0; i < n; i++) bt_sampler_accept(s, history[i]);
	pick(s, logits);
	size_t n_cand;
	const struct bt_candidate *c = bt_sampler_candidates(s, &n_cand);
	for (int i = 0; i < V; i++) out[i] = 0;
	for (size_t i = 0; i < n_cand; i++) out[c[i].id] = (double)c[i].p;
	bt_sampler_close(&s);
}

static void expect(const struct baton_sampler_params *p, const float *logits, const int32_t *history, size_t n,
                   const double want[V], const char *what)
{
	double got[V];
	distribution(p, logits, history, n, got);
	for (int i = 0; i < V; i++)
		if (fabs(got[i] - want[i]) > 1e-5)
			fail_msg("%s: token %d has %.6f, expected %.6f", what, i, got[i], want[i]);
}

/* log of {.4 .25 .15 .1 .05 .03 .015 .005}, in an order that is not sorted: token 3 is the likeliest. */
static const double probs[V] = {0.05, 0.25, 0.005, 0.4, 0.1, 0.015, 0.15, 0.03};

static void log_probs(float *logits)
{
	for (int i = 0; i < V; i++) logits[i] = (float)log(probs[i]) + 3; /* softmax does not see the 3 */
}

/* Only the tokens of the mask stay, in proportion. */
static void only(unsigned mask, double out[V])
{
	double sum = 0;
	for (int i = 0; i < V; i++) sum += mask >> i & 1 ? probs[i] : 0;
	for (int i = 0; i < V; i++) out[i] = mask >> i & 1 ? probs[i] / sum : 0;
}

static void tails_are_cut_where_they_should_be(void **state)
{
	(void)state;
	float logits[V];
	double want[V];
	log_probs(logits);
	const unsigned t3 = 1 << 3, t1 = 1 << 1, t6 = 1 << 6, t4 = 1 << 4, t0 = 1 << 0;

	struct baton_sampler_params p = neutral();
	expect(&p, logits, NULL, 0, probs, "neutral");
	p.top_k = 3;
	only(t3 | t1 | t6, want);
	expect(&p, logits, NULL, 0, want, "top_k 3");
	p.top_k = 100;
	expect(&p, logits, NULL, 0, probs, "top_k above the vocabulary");

	p = neutral();
	p.top_p = 0.79f; /* .4 .65 .8 */
	expect(&p, logits, NULL, 0, want, "top_p 0.79");
	p.top_p = 0.81f;
	only(t3 | t1 | t6 | t4, want);
	expect(&p, logits, NULL, 0, want, "top_p 0.81");
	p.top_p = 0;
	only(t3, want);
	expect(&p, logits, NULL, 0, want, "top_p 0 keeps one");

	p = neutral();
	p.min_p = 0.1f; /* at least 0.04 */
	only(t3 | t1 | t6 | t4 | t0, want);
	expect(&p, logits, NULL, 0, want, "min_p 0.1");
	p.min_p = 1;
	only(t3, want);
	expect(&p, logits, NULL, 0, want, "min_p 1 keeps one");

	/* Entropy 1.5724; |-log p - H|: t1 .186, t6 .325, t3 .656, t4 .730, t0 1.423 ... */
	p = neutral();
	p.typical_p = 0.39f;
	only(t1 | t6, want);
	expect(&p, logits, NULL, 0, want, "typical_p 0.39");
	p.typical_p = 0.45f;
	only(t1 | t6 | t3, want);
	expect(&p, logits, NULL, 0, want, "typical_p 0.45");
	p.typical_p = 0.85f;
	only(t1 | t6 | t3 | t4, want);
	expect(&p, logits, NULL, 0, want, "typical_p 0.85");
	p.typical_p = 0;
	only(t1, want);
	expect(&p, logits, NULL, 0, want, "typical_p 0 keeps one");

	p = neutral();
	p.xtc_probability = 1;
	p.xtc_threshold = 0.1f;
	only((1 << V) - 1 - (t3 | t1 | t6), want); /* t4, the least likely of those above, stays */
	logits[4] += 1e-4f;                        /* 0.1 in float may fall on either side */
	double got[V];
	distribution(&p, logits, NULL, 0, got);
	for (int i = 0; i < V; i++) assert_true(fabs(got[i] - want[i]) < 1e-3);
	logits[4] -= 1e-4f;
	p.xtc_threshold = 0.3f; /* one token above: nothing to exclude */
	expect(&p, logits, NULL, 0, probs, "xtc, one above the threshold");

	/* Logits with mean 0: sigma 1 keeps what is within one standard deviation of the largest. */
	const float spread[V] = {4, -4, 3.9f, 0.2f, -4, 1.1f, -0.2f, -1};
	p = neutral();
	p.top_n_sigma = 1; /* sigma 2.8614: from 1.1386 */
	distribution(&p, spread, NULL, 0, got);
	assert_true(got[0] > 0 && got[2] > 0 && got[5] == 0 && got[3] == 0);
	p.top_n_sigma = 1.02f;
	distribution(&p, spread, NULL, 0, got);
	assert_true(got[5] > 0 && got[3] == 0);
}

static void temperature_sharpens_and_flattens(void **state)
{
	(void)state;
	float logits[V];
	double want[V], sum = 0;
	log_probs(logits);
	struct baton_sampler_params p = neutral();
	p.temp = 0.5f;
	for (int i = 0; i < V; i++) sum += want[i] = probs[i] * probs[i];
	for (int i = 0; i < V; i++) want[i] /= sum;
	expect(&p, logits, NULL, 0, want, "temp 0.5");
	p.temp = 0;
	only(1 << 3, want);
	expect(&p, logits, NULL, 0, want, "temp 0");

	/* Entropy 1.5724 of at most log 8 is a share of .7562; from 0.5 to 1.5 with exponent 2 that gives 1.0718. */
	p.temp = 1;
	p.dynatemp_range = 0.5f;
	p.dynatemp_exponent = 2;
	double entropy = 0;
	for (int i = 0; i < V; i++) entropy -= probs[i] * log(probs[i]);
	double temp = 0.5 + pow(entropy / log(8), 2);
	assert_true(fabs(temp - 1.0718) < 1e-4);
	sum = 0;
	for (int i = 0; i < V; i++) sum += want[i] = pow(probs[i], 1 / temp);
	for (int i = 0; i < V; i++) want[i] /= sum;
	expect(&p, logits, NULL, 0, want, "dynamic temperature");
}

static void penalties_touch_only_what_occurred(void **state)
{
	(void)state;
	const float logits[V] = {2, 1, -1, 0.5f, 3, -2, 0, 1.5f};
	const int32_t history[] = {5, 4, 2, 4, 0, 4, 99, -7}; /* the last two are no tokens */
	struct baton_sampler_params p = neutral();
	p.penalty_repeat = 2;
	p.penalty_frequency = 0.25f;
	p.penalty_presence = 0.5f;
	p.penalty_last_n = 7; /* without the 5 */
	/* 0: 2/2 - .25 - .5 = .25; 4: 3/2 - .75 - .5 = .25; 2: -1*2 - .25 - .5 = -2.75 */
	const double after[V] = {0.25, 1, -2.75, 0.5, 0.25, -2, 0, 1.5};
	double want[V], sum = 0;
	for (int i = 0; i < V; i++) sum += want[i] = exp(after[i]);
	for (int i = 0; i < V; i++) want[i] /= sum;
	expect(&p, logits, history, 8, want, "penalties");
	/* Picking again gives the same: nothing is left behind in the scratch arrays. */
	struct bt_sampler *s = open_sampler(&p, V);
	for (int i = 0; i < 8; i++) bt_sampler_accept(s, history[i]);
	size_t n;
	for (int round = 0; round < 3; round++) {
		pick(s, logits);
		assert_true(fabs((double)bt_sampler_candidates(s, &n)[4].p - want[4]) < 1e-6);
	}
	bt_sampler_reset(s);
	assert_int_equal(bt_sampler_position(s), 0);
	pick(s, logits);
	sum = 0;
	for (int i = 0; i < V; i++) sum += exp((double)logits[i]);
	assert_true(fabs((double)bt_sampler_candidates(s, &n)[4].p - exp(3) / sum) < 1e-6);
	bt_sampler_close(&s);

	p.penalty_last_n = 0;
	for (int i = 0; i < V; i++) want[i] = exp((double)logits[i]) / sum;
	expect(&p, logits, history, 8, want, "penalties off");
}

static void biases_move_and_forbid(void **state)
{
	(void)state;
	float logits[V];
	log_probs(logits);
	struct baton_logit_bias bias[] = {{3, -INFINITY}, {2, 5}};
	struct baton_sampler_params p = neutral();
	p.logit_bias = bias;
	p.n_logit_bias = 2;
	double want[V], sum = 0;
	for (int i = 0; i < V; i++) sum += want[i] = i == 3 ? 0 : i == 2 ? probs[i] * exp(5) : probs[i];
	for (int i = 0; i < V; i++) want[i] /= sum;
	expect(&p, logits, NULL, 0, want, "bias");
}

/* Token t stands for the letter 'a' + t, token 7 for a newline, token 6 for "x:". */
static size_t letters(void *user, int32_t token, char *buf, size_t size)
{
	(void)user;
	assert_true(size >= 2);
	if (token == 6) return memcpy(buf, "x:", 2), 2;
	buf[0] = token == 7 ? '\n' : (char)('a' + token);
	return 1;
}

/* How far DRY has lowered the logit of each token. */
static void dry(const struct baton_sampler_params *p, bt_sampler_piece_fn piece, const char *history, double out[V])
{
	const float logits[V] = {0};
	struct bt_sampler *s;
	struct baton_error err;
	assert_int_equal(bt_sampler_open(p, V, 100, piece, NULL, &s, &err), BATON_OK);
	for (const char *c = history; *c; c++) bt_sampler_accept(s, *c == '\n' ? 7 : *c == ':' ? 6 : *c - 'a');
	pick(s, logits);
	size_t n;
	const struct bt_candidate *c = bt_sampler_candidates(s, &n);
	assert_int_equal(n, V);
	for (size_t i = 0; i < n; i++) out[c[i].id] = -(double)c[i].logit;
	bt_sampler_close(&s);
}

static void dry_expects(const struct baton_sampler_params *p, bt_sampler_piece_fn piece, const char *history, int token,
                        double penalty)
{
	double got[V];
	dry(p, piece, history, got);
	for (int i = 0; i < V; i++)
		if (fabs(got[i] - (i == token ? penalty : 0)) > 1e-5)
			fail_msg("'%s': token %d lost %g", history, i, got[i]);
}

static void dry_sees_repeated_sequences(void **state)
{
	(void)state;
	struct baton_sampler_params p = neutral();
	p.dry_multiplier = 2;
	p.dry_base = 1.5f;
	dry_expects(&p, letters, "abcab", 2, 2);            /* "ab" again: c would make it three */
	dry_expects(&p, letters, "abca", -1, 0);            /* one token is below the allowed length */
	dry_expects(&p, letters, "eabcdeabc", 3, 2 * 2.25); /* "eabc": length 4 */
}

static void dry_details(void **state)
{
	(void)state;
	struct baton_sampler_params p = neutral();
	double got[V];
	p.dry_multiplier = 2;
	p.dry_base = 1.5f;
	dry(&p, letters, "abcfabdeab", got);
	assert_true(got[2] == 2 && got[3] == 2 && got[0] == 0 && got[1] == 0);
	/* A breaker between them: only what stands behind it counts. */
	dry_expects(&p, letters, "ab\nabc\nab", 2, 2);
	dry_expects(&p, letters, "a\nbca\nb", -1, 0);
	dry_expects(&p, NULL, "a\nbca\nb", 2, 2 * 1.5);
	/* A token that holds a breaker itself is never penalised. */
	dry_expects(&p, letters, "ab\nab", -1, 0);
	dry_expects(&p, letters, "ab:ab", -1, 0);
	/* A breaker of several tokens: "bc" in "a b c". */
	const char *const bc[] = {"bc"};
	p.dry_breakers = bc;
	p.n_dry_breakers = 1;
	dry_expects(&p, letters, "abcdefabcde", 5, 2); /* "de" only, not "abcde" */
	p.dry_breakers = NULL;
	/* The window. */
	p.dry_penalty_last_n = 4;
	dry_expects(&p, letters, "abcab", -1, 0);
	p.dry_penalty_last_n = 5;
	dry_expects(&p, letters, "abcab", 2, 2);
	p.dry_penalty_last_n = 0;
	dry_expects(&p, letters, "abcab", -1, 0);
	/* A very long repetition stays finite. */
	p.dry_penalty_last_n = -1;
	p.dry_base = 100;
	char many[100];
	memset(many, 'a', 99);
	many[99] = 0;
	dry(&p, letters, many, got);
	assert_true(isfinite(got[0]) && got[0] > 1e30);
}

static void ties_go_to_the_smaller_id(void **state)
{
	(void)state;
	enum { N = 1000 };
	float logits[N];
	for (int i = 0; i < N; i++) logits[i] = (float)(i % 10 == 3);
	struct baton_sampler_params p = neutral();
	for (int k = 1; k < 150; k += 7) {
		p.top_k = k;
		struct bt_sampler *s = open_sampler(&p, N);
		pick(s, logits);
		size_t n;
		const struct bt_candidate *c = bt_sampler_candidates(s, &n);
		assert_int_equal(n, k);
		/* The hundred tokens 3, 13, ..., then 0, 1, 2, 4, ... */
		for (int i = 0; i < k; i++) {
			int q = (i - 100) / 9, r = (i - 100) % 9;
			assert_int_equal(c[i].id, i < 100 ? 10 * i + 3 : 10 * q + r + (r >= 3));
		}
		bt_sampler_close(&s);
	}
	p = neutral();
	p.temp = 0;
	struct bt_sampler *s = open_sampler(&p, N);
	assert_int_equal(pick(s, logits), 3);
	bt_sampler_close(&s);
}

static uint32_t next_random(uint32_t *x)
{
	return *x = *x * 1664525 + 1013904223;
}

/* Large vocabularies and every cutter at once: the same tokens stay as when everything is sorted first. */
static void partial_sorting_loses_nothing(void **state)
{
	(void)state;
	enum { N = 5000 };
	static float logits[N];
	uint32_t x = 1;
	for (int i = 0; i < N; i++) logits[i] = (float)(next_random(&x) >> 8) / 16777216 * 9;
	struct baton_sampler_params p = neutral();
	p.top_p = 0.9f;
	struct bt_sampler *s = open_sampler(&p, N);
	pick(s, logits);
	size_t n;
	const struct bt_candidate *c = bt_sampler_candidates(s, &n);
	static bool in[N];
	double sum = 0, reached = 0;
	float least = INFINITY;
	for (int i = 0; i < N; i++) sum += exp((double)logits[i]);
	for (size_t i = 0; i < n; i++) {
		assert_false(in[c[i].id]);
		in[c[i].id] = true;
		if (c[i].logit < least) least = c[i].logit;
		reached += exp((double)logits[c[i].id]) / sum;
	}
	/* Just enough of them, and the likeliest. */
	assert_true(n > 500 && reached >= 0.9 - 1e-4 && reached - exp((double)least) / sum < 0.9 + 1e-4);
	for (int i = 0; i < N; i++) assert_true(in[i] || logits[i] <= least);
	bt_sampler_close(&s);
}

static void the_draw_follows_the_distribution(void **state)
{
	(void)state;
	float logits[V];
	log_probs(logits);
	struct baton_sampler_params p = neutral();
	p.seed = 42;
	struct bt_sampler *s = open_sampler(&p, V);
	int count[V] = {0}, n = 20000;
	for (int i = 0; i < n; i++) {
		int32_t id = pick(s, logits);
		assert_int_equal(pick(s, logits), id); /* picking does not move the random numbers, accepting does */
		count[id]++;
		bt_sampler_accept(s, id);
	}
	double chi = 0;
	for (int i = 0; i < V; i++) chi += pow(count[i] - n * probs[i], 2) / (n * probs[i]);
	assert_true(chi < 24.3); /* 7 degrees of freedom, one in a thousand; the seed is fixed */
	bt_sampler_close(&s);
}

static void a_resumed_stream_goes_on_the_same(void **state)
{
	(void)state;
	float logits[V];
	log_probs(logits);
	struct baton_sampler_params p = neutral();
	p.seed = 0x123456789ABCDEF;
	p.penalty_repeat = 1.2f;
	p.penalty_last_n = 10;
	p.dry_multiplier = 0.5f;
	p.xtc_probability = 0.5f;
	struct bt_sampler *s = open_sampler(&p, V), *clone = NULL, *fresh;
	int32_t ids[60];
	for (int i = 0; i < 60; i++) {
		struct baton_error err;
		if (i == 30) assert_int_equal(bt_sampler_clone(s, &clone, &err), BATON_OK);
		ids[i] = pick(s, logits);
		bt_sampler_accept(s, ids[i]);
	}
	fresh = open_sampler(&p, V);
	for (int i = 0; i < 30; i++) bt_sampler_accept(fresh, ids[i]);
	for (int i = 30; i < 60; i++) {
		assert_int_equal(pick(clone, logits), ids[i]);
		assert_int_equal(pick(fresh, logits), ids[i]);
		bt_sampler_accept(clone, ids[i]);
		bt_sampler_accept(fresh, ids[i]);
	}
	p.seed++;
	struct bt_sampler *other = open_sampler(&p, V);
	int same = 0;
	for (int i = 0; i < 60; i++) {
		same += pick(other, logits) == ids[i];
		bt_sampler_accept(other, ids[i]);
	}
	assert_true(same < 50);
	bt_sampler_close(&s);
	bt_sampler_close(&clone);
	bt_sampler_close(&fresh);
	bt_sampler_close(&other);
}

/* Known answers of the Random123 library (tests/kat_vectors). */
static void random_numbers_are_philox(void **state)
{
	(void)state;
	static const struct {
		uint32_t counter[4], key[2], out[4];
	} known[] = {
		{{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{{~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
	         {0xa4093822, 0x299f31d0},
	         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	};
	for (size_t i = 0; i < 3; i++) {
		uint32_t out[4];
		bt_philox(known[i].counter, known[i].key, out);
		assert_memory_equal(out, known[i].out, sizeof out);
	}
}

static float hostile(uint32_t *x)
{
	static const float values[] = {NAN,    INFINITY, -INFINITY, FLT_MAX, -FLT_MAX, FLT_MIN,
	                               1e-45f, 0,        -0.0f,     1e30f,   -1e30f};
	uint32_t r = next_random(x) >> 8;
	return r % 3 ? (float)(r % 1000) / 50 - 10 : values[r / 3 % (sizeof values / sizeof *values)];
}

static float range(uint32_t *x, float low, float high)
{
	return low + (float)(next_random(x) >> 8) / 16777216 * (high - low);
}

static struct baton_sampler_params random_params(uint32_t *x)
{
	struct baton_sampler_params p;
	baton_sampler_params_init(&p);
	p.seed = next_random(x);
	p.temp = next_random(x) & 0x10000 ? range(x, 0, 2) : range(x, 0, 1e-30f);
	p.top_k = (int32_t)(next_random(x) >> 16) % 50;
	p.top_p = range(x, 0, 1);
	p.min_p = range(x, 0, 1);
	p.typical_p = range(x, 0, 1.0f);
	p.top_n_sigma = range(x, -1, 5);
	p.xtc_probability = range(x, 0, 1);
	p.xtc_threshold = range(x, 0, 0.6f);
	p.dynatemp_range = range(x, 0, 1);
	p.penalty_repeat = range(x, 0.01f, 100);
	p.penalty_frequency = range(x, -100, 100);
	p.penalty_presence = range(x, -100, 100);
	p.penalty_last_n = (int32_t)(next_random(x) >> 16) % 20;
	p.dry_multiplier = range(x, 0, 5);
	p.dry_base = range(x, 1, 100);
	p.dry_allowed_length = (int32_t)(next_random(x) >> 16) % 4;
	return p;
}

static void no_logits_and_parameters_break_it(void **state)
{
	(void)state;
	enum { N = 40 };
	uint32_t x = 7;
	for (int round = 0; round < 3000; round++) {
		struct baton_sampler_params p = random_params(&x);
		struct bt_sampler *s = open_sampler(&p, N);
		for (int step = 0; step < 12; step++) {
			float logits[N];
			bool any = false;
			for (int i = 0; i < N; i++) any |= (logits[i] = hostile(&x)) > -INFINITY;
			int32_t id;
			assert_int_equal(bt_sampler_pick(s, logits, &id, NULL), any ? BATON_OK : BATON_ERR_ARG);
			assert_true(id >= 0 && id < N && logits[id] > -INFINITY);
			size_t n;
			const struct bt_candidate *c = bt_sampler_candidates(s, &n);
			double sum = 0;
			assert_true(n >= 1 && n <= N);
			for (size_t i = 0; i < n; i++) {
				sum += (double)c[i].p;
				if (c[i].id == id) assert_true(c[i].p > 0);
			}
			assert_true(fabs(sum - 1) < 1e-4);
			bt_sampler_accept(s, (int32_t)(next_random(&x) >> 16) % 4);
		}
		bt_sampler_close(&s);
	}
	const float bad[3] = {NAN, -INFINITY, NAN};
	struct baton_sampler_params p = neutral();
	struct bt_sampler *s = open_sampler(&p, 3);
	struct baton_error err;
	int32_t id;
	assert_int_equal(bt_sampler_pick(s, bad, &id, &err), BATON_ERR_ARG);
	assert_int_equal(id, -1);
	bt_sampler_close(&s);
}

static void bad_parameters_are_named(void **state)
{
	(void)state;
	struct baton_error err;
	struct bt_sampler *s = (void *)&err;
	struct baton_sampler_params p = neutral();
	p.top_p = NAN;
	assert_int_equal(bt_sampler_open(&p, V, 10, NULL, NULL, &s, &err), BATON_ERR_ARG);
	assert_null(s);
	assert_non_null(strstr(err.text, "top_p"));
	p = neutral();
	struct baton_logit_bias bias = {V, 1};
	p.logit_bias = &bias;
	p.n_logit_bias = 1;
	assert_int_equal(bt_sampler_open(&p, V, 10, NULL, NULL, &s, &err), BATON_ERR_ARG);
	assert_non_null(strstr(err.text, "token 8"));
	p = neutral();
	const char *const breakers[] = {""};
	p.dry_breakers = breakers;
	p.n_dry_breakers = 1;
	assert_int_equal(bt_sampler_open(&p, V, 10, NULL, NULL, &s, &err), BATON_ERR_ARG);
	p = neutral();
	assert_int_equal(bt_sampler_open(&p, 0, 10, NULL, NULL, &s, &err), BATON_ERR_ARG);
}

static void opening_survives_failed_allocations_and_picking_makes_none(void **state)
{
	(void)state;
	struct bt_mem_stats before, after;
	bt_mem_get_stats(&before);
	struct baton_sampler_params p = neutral();
	p.penalty_repeat = 2;
	p.dry_multiplier = 1;
	struct baton_error err;
	struct bt_sampler *s = NULL, *clone;
	size_t k = 1;
	for (; !s; k++) {
		bt_mem_fail_at(k);
		enum baton_status st = bt_sampler_open(&p, V, 100, letters, NULL, &s, &err);
		bt_mem_fail_at(0);
		assert_int_equal(st, s ? BATON_OK : BATON_ERR_NOMEM);
	}
	assert_true(k > 6);
	bt_mem_fail_at(3);
	assert_int_equal(bt_sampler_clone(s, &clone, &err), BATON_ERR_NOMEM);
	bt_mem_fail_at(0);
	float logits[V];
	log_probs(logits);
	struct bt_mem_stats mid;
	bt_mem_get_stats(&mid);
	for (int i = 0; i < 50; i++) bt_sampler_accept(s, pick(s, logits));
	bt_mem_get_stats(&after);
	assert_int_equal(after.allocs, mid.allocs);
	bt_sampler_close(&s);
	bt_sampler_close(&s);
	bt_mem_get_stats(&after);
	assert_int_equal(after.blocks, before.blocks);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tails_are_cut_where_they_should_be),
		cmocka_unit_test(temperature_sharpens_and_flattens),
		cmocka_unit_test(penalties_touch_only_what_occurred),
		cmocka_unit_test(biases_move_and_forbid),
		cmocka_unit_test(dry_sees_repeated_sequences),
		cmocka_unit_test(dry_details),
		cmocka_unit_test(ties_go_to_the_smaller_id),
		cmocka_unit_test(partial_sorting_loses_nothing),
		cmocka_unit_test(the_draw_follows_the_distribution),
		cmocka_unit_test(a_resumed_stream_goes_on_the_same),
		cmocka_unit_test(random_numbers_are_philox),
		cmocka_unit_test(no_logits_and_parameters_break_it),
		cmocka_unit_test(bad_parameters_are_named),
		cmocka_unit_test(opening_survives_failed_allocations_and_picking_makes_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
