#include "engine/sample_impl.h"

#include <math.h>
#include <string.h>

void baton_sampler_params_init(struct baton_sampler_params *p)
{
	*p = (struct baton_sampler_params){
		.penalty_last_n = 64,
		.penalty_repeat = 1,
		.dry_base = 1.75f,
		.dry_allowed_length = 2,
		.dry_penalty_last_n = -1,
		.top_n_sigma = -1,
		.top_k = 40,
		.typical_p = 1,
		.top_p = 0.95f,
		.min_p = 0.05f,
		.xtc_threshold = 0.1f,
		.temp = 0.8f,
		.dynatemp_exponent = 1,
	};
}

/* The chain. A stage runs when its parameters switch it on; `drops` stages run after all that change logits. */
static bool bias_on(const struct baton_sampler_params *p)
{
	return p->n_logit_bias > 0;
}

static bool penalties_on(const struct baton_sampler_params *p)
{
	return p->penalty_last_n && (p->penalty_repeat != 1 || p->penalty_frequency != 0 || p->penalty_presence != 0);
}

static bool dry_on(const struct baton_sampler_params *p)
{
	return p->dry_multiplier != 0 && p->dry_base >= 1 && p->dry_penalty_last_n;
}

static bool top_n_sigma_on(const struct baton_sampler_params *p)
{
	return p->top_n_sigma > 0;
}

static bool top_k_on(const struct baton_sampler_params *p)
{
	return p->top_k > 0;
}

static bool typical_p_on(const struct baton_sampler_params *p)
{
	return p->typical_p < 1;
}

static bool top_p_on(const struct baton_sampler_params *p)
{
	return p->top_p < 1;
}

static bool min_p_on(const struct baton_sampler_params *p)
{
	return p->min_p > 0;
}

static bool xtc_on(const struct baton_sampler_params *p)
{
	return p->xtc_probability > 0 && p->xtc_threshold <= 0.5f;
}

static bool temp_on(const struct baton_sampler_params *p)
{
	return p->temp != 1 || p->dynatemp_range > 0;
}

struct stage {
	const char *name;
	bool drops; /* drops candidates or rescales all; needs those that are forbidden gone */
	bool (*on)(const struct baton_sampler_params *p);
	void (*apply)(struct bt_sampler *s);
};

static const struct stage stages[] = {
	{"logit_bias", false, bias_on, bt_sample_bias}, {"penalties", false, penalties_on, bt_sample_penalties},
	{"dry", false, dry_on, bt_sample_dry},          {"top_n_sigma", true, top_n_sigma_on, bt_sample_top_n_sigma},
	{"top_k", true, top_k_on, bt_sample_top_k},     {"typical_p", true, typical_p_on, bt_sample_typical_p},
	{"top_p", true, top_p_on, bt_sample_top_p},     {"min_p", true, min_p_on, bt_sample_min_p},
	{"xtc", true, xtc_on, bt_sample_xtc},           {"temperature", true, temp_on, bt_sample_temp},
};

static enum baton_status check_params(const struct baton_sampler_params *p, uint32_t n_vocab, struct baton_error *err)
{
	const struct {
		const char *name;
		double value, min, max;
	} ranges[] = {
		{"penalty_last_n", p->penalty_last_n, -1, INT32_MAX},
		{"penalty_repeat", p->penalty_repeat, 0.01, 100},
		{"penalty_frequency", p->penalty_frequency, -100, 100},
		{"penalty_presence", p->penalty_presence, -100, 100},
		{"dry_multiplier", p->dry_multiplier, 0, 1000},
		{"dry_base", p->dry_base, 0, 100},
		{"dry_allowed_length", p->dry_allowed_length, 0, INT32_MAX},
		{"dry_penalty_last_n", p->dry_penalty_last_n, -1, INT32_MAX},
		{"top_n_sigma", p->top_n_sigma, -1, 1000},
		{"top_k", p->top_k, -1, INT32_MAX},
		{"typical_p", p->typical_p, 0, 1},
		{"top_p", p->top_p, 0, 1},
		{"min_p", p->min_p, 0, 1},
		{"xtc_probability", p->xtc_probability, 0, 1},
		{"xtc_threshold", p->xtc_threshold, 0, 1},
		{"temp", p->temp, -1, 1000},
		{"dynatemp_range", p->dynatemp_range, 0, 1000},
		{"dynatemp_exponent", p->dynatemp_exponent, 0, 100},
	};
	for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
		if (!(ranges[i].value >= ranges[i].min && ranges[i].value <= ranges[i].max)) /* NaN fails too */
			return bt_fail(err, BATON_ERR_ARG, "sampler: %s is %g, it must lie within %g and %g",
			               ranges[i].name, ranges[i].value, ranges[i].min, ranges[i].max);
	for (size_t i = 0; i < p->n_logit_bias; i++) {
		const struct baton_logit_bias *b = &p->logit_bias[i];
		if (b->token < 0 || (uint32_t)b->token >= n_vocab)
			return bt_fail(err, BATON_ERR_ARG, "sampler: logit bias for token %d, the vocabulary has %u",
			               b->token, n_vocab);
		if (isnan(b->bias))
			return bt_fail(err, BATON_ERR_ARG, "sampler: the logit bias of token %d is no number",
			               b->token);
	}
	if (p->n_dry_breakers > BT_SAMPLE_BREAKERS)
		return bt_fail(err, BATON_ERR_ARG, "sampler: more than %d DRY sequence breakers", BT_SAMPLE_BREAKERS);
	for (size_t i = 0; p->dry_breakers && i < p->n_dry_breakers; i++)
		if (!*p->dry_breakers[i] || strlen(p->dry_breakers[i]) >= BT_SAMPLE_BREAKER_BYTES)
			return bt_fail(err, BATON_ERR_ARG, "sampler: a DRY sequence breaker has 1 to %d bytes",
			               BT_SAMPLE_BREAKER_BYTES - 1);
	if (!n_vocab) return bt_fail(err, BATON_ERR_ARG, "sampler: the vocabulary is empty");
	return BATON_OK;
}

static uint32_t look_back(int32_t n, uint32_t n_ctx)
{
	return n < 0 || (uint32_t)n > n_ctx ? n_ctx : (uint32_t)n;
}

/* The parameters' arrays, copied. */
static bool copy_params(struct bt_sampler *s, const struct baton_sampler_params *p)
{
	static const char *const usual[] = {"\n", ":", "\"", "*"}; /* llama.cpp's */
	const char *const *breakers = p->dry_breakers ? p->dry_breakers : usual;
	s->p = *p;
	if (!p->dry_breakers) s->p.n_dry_breakers = sizeof usual / sizeof *usual;
	s->bias = bt_mem_array(BT_MEM_HOST, p->n_logit_bias, sizeof *s->bias);
	s->breakers = bt_mem_array(BT_MEM_HOST, s->p.n_dry_breakers, sizeof *s->breakers);
	if (!s->bias || !s->breakers) return false;
	if (p->n_logit_bias) memcpy(s->bias, p->logit_bias, p->n_logit_bias * sizeof *s->bias);
	for (size_t i = 0; i < s->p.n_dry_breakers; i++) strcpy(s->breakers[i], breakers[i]);
	s->p.logit_bias = s->bias;
	s->p.dry_breakers = NULL;
	return true;
}

static bool changes_logits(const struct baton_sampler_params *p)
{
	return bias_on(p) || penalties_on(p) || dry_on(p);
}

static bool alloc_state(struct bt_sampler *s)
{
	s->cand = bt_mem_array(BT_MEM_HOST, s->n_vocab, sizeof *s->cand);
	if (!s->cand) return false;
	if (changes_logits(&s->p)) s->logits = bt_mem_array(BT_MEM_HOST, s->n_vocab, sizeof *s->logits);
	if (changes_logits(&s->p) && !s->logits) return false;
	if (!s->window) return true;
	s->history = bt_mem_array(BT_MEM_HOST, s->window, sizeof *s->history);
	s->breaks = bt_mem_array(BT_MEM_HOST, s->window, sizeof *s->breaks);
	s->touched = bt_mem_array(BT_MEM_HOST, s->window, sizeof *s->touched);
	s->match = bt_mem_array(BT_MEM_HOST, s->dry_n, sizeof *s->match);
	s->count = bt_mem_array(BT_MEM_HOST, s->n_vocab, sizeof *s->count);
	return s->history && s->breaks && s->touched && s->match && s->count;
}

enum baton_status bt_sampler_open(const struct baton_sampler_params *params, uint32_t n_vocab, uint32_t n_ctx,
                                  bt_sampler_piece_fn piece, void *piece_user, struct bt_sampler **out,
                                  struct baton_error *err)
{
	*out = NULL;
	enum baton_status st = check_params(params, n_vocab, err);
	if (st) return st;
	struct bt_sampler *s = bt_mem_zalloc(BT_MEM_HOST, sizeof *s);
	if (!s) return bt_fail_nomem(err, sizeof *s, "the sampler");
	s->n_vocab = n_vocab;
	s->piece = piece;
	s->piece_user = piece_user;
	if (penalties_on(params)) s->penalty_n = look_back(params->penalty_last_n, n_ctx);
	if (dry_on(params)) s->dry_n = look_back(params->dry_penalty_last_n, n_ctx);
	s->window = s->penalty_n > s->dry_n ? s->penalty_n : s->dry_n;
	if (!copy_params(s, params) || !alloc_state(s)) {
		bt_sampler_close(&s);
		return bt_fail_nomem(err, (size_t)n_vocab * sizeof *s->cand, "the sampler");
	}
	*out = s;
	return BATON_OK;
}

void bt_sampler_close(struct bt_sampler **s)
{
	if (!*s) return;
	bt_mem_free((*s)->bias);
	bt_mem_free((*s)->breakers);
	bt_mem_free((*s)->history);
	bt_mem_free((*s)->breaks);
	bt_mem_free((*s)->touched);
	bt_mem_free((*s)->match);
	bt_mem_free((*s)->count);
	bt_mem_free((*s)->cand);
	bt_mem_free((*s)->logits);
	bt_mem_free(*s);
	*s = NULL;
}

enum baton_status bt_sampler_clone(const struct bt_sampler *s, struct bt_sampler **out, struct baton_error *err)
{
	const char *breakers[BT_SAMPLE_BREAKERS];
	struct baton_sampler_params p = s->p;
	for (size_t i = 0; i < p.n_dry_breakers; i++) breakers[i] = s->breakers[i];
	p.dry_breakers = breakers;
	struct bt_sampler *c;
	enum baton_status st = bt_sampler_open(&p, s->n_vocab, s->window, s->piece, s->piece_user, &c, err);
	*out = c;
	if (st) return st;
	c->position = s->position;
	if (s->window) {
		memcpy(c->history, s->history, s->window * sizeof *s->history);
		memcpy(c->breaks, s->breaks, s->window * sizeof *s->breaks);
	}
	memcpy(c->tail, s->tail, sizeof s->tail);
	c->n_tail = s->n_tail;
	return BATON_OK;
}

void bt_sampler_accept(struct bt_sampler *s, int32_t token)
{
	if (s->window) {
		uint32_t at = (uint32_t)(s->position % s->window);
		s->history[at] = token;
		s->breaks[at] = 0;
		if (s->dry_n) bt_sample_dry_accept(s, token, &s->breaks[at]);
	}
	s->position++;
}

void bt_sampler_reset(struct bt_sampler *s)
{
	s->position = 0;
	s->n_tail = 0;
}

void bt_sampler_set_seed(struct bt_sampler *s, uint64_t seed)
{
	s->p.seed = seed;
}

uint64_t bt_sampler_position(const struct bt_sampler *s)
{
	return s->position;
}

uint32_t bt_sampler_known(const struct bt_sampler *s, uint32_t want)
{
	return s->position < want ? (uint32_t)s->position : want;
}

int32_t bt_sampler_recent(const struct bt_sampler *s, uint32_t i)
{
	return s->history[(s->position - 1 - i) % s->window];
}

bool bt_sampler_recent_breaks(const struct bt_sampler *s, uint32_t i)
{
	return s->breaks[(s->position - 1 - i) % s->window];
}

void bt_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
	uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key[0], k1 = key[1];
	for (int round = 0; round < 10; round++) {
		uint64_t a = (uint64_t)0xD2511F53 * c0, b = (uint64_t)0xCD9E8D57 * c2;
		c0 = (uint32_t)(b >> 32) ^ c1 ^ k0;
		c1 = (uint32_t)b;
		c2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
		c3 = (uint32_t)a;
		k0 += 0x9E3779B9;
		k1 += 0xBB67AE85;
	}
	out[0] = c0;
	out[1] = c1;
	out[2] = c2;
	out[3] = c3;
}

static void draw_numbers(struct bt_sampler *s)
{
	const uint32_t counter[4] = {(uint32_t)s->position, (uint32_t)(s->position >> 32), 0, 0};
	const uint32_t key[2] = {(uint32_t)s->p.seed, (uint32_t)(s->p.seed >> 32)};
	uint32_t words[4];
	bt_philox(counter, key, words);
	for (int i = 0; i < 2; i++) s->random[i] = (float)(words[i] >> 8) * 0x1p-24f; /* 24 bits: exact, below 1 */
}

/* Whether only the likeliest token matters: greedy, and no stage that could drop it. */
static bool is_greedy(const struct baton_sampler_params *p)
{
	return p->temp <= 0 && !typical_p_on(p) && !xtc_on(p);
}

/* Make candidates of the logits: not more than the stages to come can use. */
static void fill(struct bt_sampler *s, const float *logits)
{
	size_t most = s->n_vocab, n = 0;
	if (is_greedy(&s->p)) most = 1;
	else if (top_k_on(&s->p) && !top_n_sigma_on(&s->p)) most = (size_t)s->p.top_k;
	if (most < s->n_vocab) {
		bt_sample_take(s, logits, s->n_vocab, most);
		return;
	}
	for (uint32_t i = 0; i < s->n_vocab; i++)
		if (logits[i] > -INFINITY)
			s->cand[n++] = (struct bt_candidate){(int32_t)i, bt_sample_clamp(logits[i]), 0};
	s->n_cand = n;
	s->n_sorted = 0;
	s->has_p = false;
}

static void run_stages(struct bt_sampler *s, bool drops)
{
	for (size_t i = 0; i < sizeof stages / sizeof *stages; i++)
		if (stages[i].drops == drops && stages[i].on(&s->p)) stages[i].apply(s);
}

enum baton_status bt_sampler_pick(struct bt_sampler *s, const float *logits, int32_t *token, struct baton_error *err)
{
	*token = -1;
	if (s->logits) {
		memcpy(s->logits, logits, s->n_vocab * sizeof *logits);
		run_stages(s, false);
		logits = s->logits;
	}
	fill(s, logits);
	if (!s->n_cand)
		return bt_fail(err, BATON_ERR_ARG,
		               "no token can be chosen: every logit is forbidden, NaN or minus infinity");
	draw_numbers(s);
	run_stages(s, true);
	bt_sample_softmax(s);
	/* The last candidate takes what rounding left over. */
	double at = 0;
	size_t i = 0;
	for (; i + 1 < s->n_cand; i++) {
		at += (double)s->cand[i].p;
		if (at > (double)s->random[0]) break;
	}
	/* A probability that has underflowed to 0 is never drawn, not even by the last one. */
	while (i > 0 && s->cand[i].p == 0) i--;
	*token = s->cand[i].id;
	return BATON_OK;
}

const struct bt_candidate *bt_sampler_candidates(const struct bt_sampler *s, size_t *n)
{
	*n = s->n_cand;
	return s->cand;
}
