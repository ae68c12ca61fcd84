/* sample_stages.c: the stages that look at single tokens. What each computes is llama.cpp's (src/llama-sampling.cpp, read
 * for its definitions), the papers are named beside them. */
#include "engine/sample_impl.h"

#include <float.h>
#include <math.h>
#include <string.h>

void bt_sample_bias(struct bt_sampler *s)
{
	for (size_t i = 0; i < s->p.n_logit_bias; i++) {
		float *l = &s->logits[s->bias[i].token];
		if (s->bias[i].bias == -INFINITY) *l = -INFINITY;
		else if (*l > -INFINITY) *l = bt_sample_clamp(bt_sample_clamp(*l) + s->bias[i].bias);
	}
}

/* Repetition penalty of CTRL (Keskar et al. 2019, section 4.1), multiplied instead of divided where the logit is not
 * positive; presence and frequency as in OpenAI's API. */
void bt_sample_penalties(struct bt_sampler *s)
{
	uint32_t n = bt_sampler_known(s, s->penalty_n), n_touched = 0;
	for (uint32_t i = 0; i < n; i++) {
		int32_t id = bt_sampler_recent(s, i);
		if (id < 0 || (uint32_t)id >= s->n_vocab) continue;
		if (!s->count[id]++) s->touched[n_touched++] = id;
	}
	for (uint32_t i = 0; i < n_touched; i++) {
		int32_t id = s->touched[i];
		float count = (float)s->count[id], l = bt_sample_clamp(s->logits[id]);
		s->count[id] = 0;
		if (!(s->logits[id] > -INFINITY)) continue;
		l = l > 0 ? l / s->p.penalty_repeat : l * s->p.penalty_repeat;
		s->logits[id] = bt_sample_clamp(l - count * s->p.penalty_frequency - s->p.penalty_presence);
	}
}

/* Whether a is chosen before b. */
static inline bool likelier(const struct bt_candidate *a, const struct bt_candidate *b)
{
	return a->logit > b->logit || (a->logit == b->logit && a->id < b->id);
}

/* The same by ascending p, where typical_p keeps its score. */
static inline bool more_typical(const struct bt_candidate *a, const struct bt_candidate *b)
{
	return a->p < b->p || (a->p == b->p && a->id < b->id);
}

static inline void swap(struct bt_candidate *a, struct bt_candidate *b)
{
	struct bt_candidate t = *a;
	*a = *b;
	*b = t;
}

typedef bool (*before_fn)(const struct bt_candidate *a, const struct bt_candidate *b);

/* Restore the heap c[0..n), whose root is its last in order, below position i. */
static inline __attribute__((always_inline)) void sift(struct bt_candidate *c, size_t i, size_t n, before_fn before)
{
	for (size_t child; (child = 2 * i + 1) < n; i = child) {
		if (child + 1 < n && before(&c[child], &c[child + 1])) child++;
		if (!before(&c[i], &c[child])) return;
		swap(&c[i], &c[child]);
	}
}

/* Make c[0..k) the first k of all n, in order: a heap of the best k, over which the rest is drawn once. Next to free when
 * k is small, which is the usual case. */
static inline __attribute__((always_inline)) void sort_first(struct bt_candidate *c, size_t n, size_t k,
                                                             before_fn before)
{
	if (k > n) k = n;
	if (!k) return;
	for (size_t i = k / 2; i-- > 0;) sift(c, i, k, before);
	for (size_t i = k; i < n; i++) {
		if (!before(&c[i], &c[0])) continue;
		swap(&c[i], &c[0]);
		sift(c, 0, k, before);
	}
	for (size_t i = k; i-- > 1;) {
		swap(&c[0], &c[i]);
		sift(c, 0, i, before);
	}
}

void bt_sample_sort(struct bt_sampler *s, size_t k)
{
	if (k > s->n_cand) k = s->n_cand;
	if (k <= s->n_sorted) return;
	sort_first(s->cand, s->n_cand, k, likelier);
	s->n_sorted = k;
}

void bt_sample_take(struct bt_sampler *s, const float *logits, size_t n, size_t k)
{
	struct bt_candidate *c = s->cand;
	size_t have = 0, i = 0;
	for (; i < n && have < k; i++)
		if (logits[i] > -INFINITY) c[have++] = (struct bt_candidate){(int32_t)i, bt_sample_clamp(logits[i]), 0};
	for (size_t j = have / 2; j-- > 0;) sift(c, j, have, likelier);
	/* The rest is compared with the last of the best k only: nearly all of it fails at once. Of equal ones the first
	 * stays, which is the smaller id. */
	for (; i < n; i++) {
		if (!(logits[i] > c[0].logit) || !(bt_sample_clamp(logits[i]) > c[0].logit)) continue;
		c[0] = (struct bt_candidate){(int32_t)i, bt_sample_clamp(logits[i]), 0};
		sift(c, 0, have, likelier);
	}
	sort_first(c, have, have, likelier);
	s->n_cand = s->n_sorted = have;
	s->has_p = false;
}

static void keep(struct bt_sampler *s, size_t n)
{
	if (n < 1) n = 1;
	if (n >= s->n_cand) return;
	s->n_cand = n;
	if (s->n_sorted > n) s->n_sorted = n;
	s->has_p = false;
}

static float max_logit(const struct bt_sampler *s)
{
	if (s->n_sorted) return s->cand[0].logit;
	float max = s->cand[0].logit;
	for (size_t i = 1; i < s->n_cand; i++)
		if (s->cand[i].logit > max) max = s->cand[i].logit;
	return max;
}

void bt_sample_softmax(struct bt_sampler *s)
{
	if (s->has_p) return;
	float max = max_logit(s);
	double sum = 0;
	for (size_t i = 0; i < s->n_cand; i++) {
		s->cand[i].p = expf(s->cand[i].logit - max);
		sum += (double)s->cand[i].p;
	}
	float scale = (float)(1 / sum);
	for (size_t i = 0; i < s->n_cand; i++) s->cand[i].p *= scale;
	s->has_p = true;
}

/* Drop what has a logit below the bound; the order stays. */
static void drop_below(struct bt_sampler *s, float bound)
{
	size_t n = 0, sorted = 0;
	for (size_t i = 0; i < s->n_cand; i++) {
		if (s->cand[i].logit < bound) continue;
		sorted += i < s->n_sorted;
		s->cand[n++] = s->cand[i];
	}
	if (n == s->n_cand || !n) return;
	s->n_cand = n;
	s->n_sorted = sorted;
	s->has_p = false;
}

/* Tang et al. 2024, "Top-n-sigma: not all logits are you need". */
void bt_sample_top_n_sigma(struct bt_sampler *s)
{
	double sum = 0, squares = 0, n = (double)s->n_cand;
	for (size_t i = 0; i < s->n_cand; i++) sum += (double)s->cand[i].logit;
	double mean = sum / n;
	for (size_t i = 0; i < s->n_cand; i++) {
		double d = (double)s->cand[i].logit - mean;
		squares += d * d;
	}
	drop_below(s, (float)((double)max_logit(s) - (double)s->p.top_n_sigma * sqrt(squares / n)));
}

void bt_sample_top_k(struct bt_sampler *s)
{
	if ((size_t)s->p.top_k >= s->n_cand) return;
	bt_sample_sort(s, (size_t)s->p.top_k);
	keep(s, (size_t)s->p.top_k);
}

/* Meister et al. 2022, "Locally typical sampling". */
void bt_sample_typical_p(struct bt_sampler *s)
{
	bt_sample_softmax(s);
	double entropy = 0;
	for (size_t i = 0; i < s->n_cand; i++)
		if (s->cand[i].p > 0) entropy -= (double)s->cand[i].p * log((double)s->cand[i].p);
	float max = max_logit(s);
	double sum = 0, reached = 0;
	for (size_t i = 0; i < s->n_cand; i++) {
		struct bt_candidate *c = &s->cand[i];
		sum += exp((double)(c->logit - max));
		c->p = c->p > 0 ? fabsf(-logf(c->p) - (float)entropy) : INFINITY;
	}
	sort_first(s->cand, s->n_cand, s->n_cand, more_typical);
	size_t n = 0;
	while (n < s->n_cand && reached <= (double)s->p.typical_p)
		reached += exp((double)(s->cand[n++].logit - max)) / sum;
	s->n_sorted = 0;
	s->has_p = false;
	keep(s, n);
}

/* Move what is likelier than the pivot (the middle of three) to the front; how many that are. At least one candidate is
 * left behind them. */
static size_t partition(struct bt_candidate *c, size_t n)
{
	size_t front = 0;
	if (likelier(&c[n / 2], &c[0])) swap(&c[n / 2], &c[0]);
	if (likelier(&c[n - 1], &c[0])) swap(&c[n - 1], &c[0]);
	if (likelier(&c[n - 1], &c[n / 2])) swap(&c[n - 1], &c[n / 2]);
	struct bt_candidate pivot = c[n / 2];
	for (size_t i = 0; i < n; i++) {
		if (!likelier(&c[i], &pivot)) continue;
		swap(&c[i], &c[front]);
		front++;
	}
	return front;
}

/* Nucleus sampling, Holtzman et al. 2019, "The curious case of neural text degeneration". Selected as quickselect does,
 * by probability in place of rank, so that a large vocabulary is not sorted. */
void bt_sample_top_p(struct bt_sampler *s)
{
	bt_sample_softmax(s);
	double reached = 0, p = (double)s->p.top_p;
	size_t kept = 0, end = s->n_cand; /* [0, kept) stays, [end, n_cand) goes, between them it is open */
	for (int round = 0; s->n_sorted < s->n_cand && end - kept > 64 && round < 64; round++) {
		double mass = 0;
		size_t front = partition(s->cand + kept, end - kept);
		for (size_t i = 0; i < front; i++) mass += (double)s->cand[kept + i].p;
		if (reached + mass >= p) {
			end = kept + front;
		} else {
			kept += front;
			reached += mass;
		}
		s->n_sorted = 0;
	}
	if (s->n_sorted < s->n_cand) sort_first(s->cand + kept, end - kept, end - kept, likelier);
	do reached += (double)s->cand[kept++].p;
	while (kept < end && reached < p);
	if (s->n_sorted < s->n_cand) s->n_sorted = 0;
	keep(s, kept);
}

/* Nguyen et al. 2024, "Turning up the heat: min-p sampling". */
void bt_sample_min_p(struct bt_sampler *s)
{
	drop_below(s, max_logit(s) + logf(s->p.min_p));
}

/* "Exclude top choices": llama.cpp, pull request 9742. Of the tokens at or above the threshold only the least likely
 * stays. */
void bt_sample_xtc(struct bt_sampler *s)
{
	if (s->n_cand < 2 || s->random[1] >= s->p.xtc_probability) return;
	bt_sample_softmax(s);
	/* No more than 1 / threshold tokens can reach the threshold. */
	float most = s->p.xtc_threshold > 0 ? 1 / s->p.xtc_threshold + 2 : INFINITY;
	bt_sample_sort(s, most < (float)s->n_cand ? (size_t)most : s->n_cand);
	size_t above = 0;
	while (above < s->n_sorted && s->cand[above].p >= s->p.xtc_threshold) above++;
	if (above < 2) return;
	s->n_cand -= above - 1;
	s->n_sorted -= above - 1;
	memmove(s->cand, s->cand + above - 1, s->n_cand * sizeof *s->cand);
	s->has_p = false;
}

/* Temperature; with a range it follows the entropy (Zhu et al. 2023, "EDT: entropy-based dynamic temperature", as
 * llama.cpp has it): from temp - range where one token is certain to temp + range where all are equally likely. */
void bt_sample_temp(struct bt_sampler *s)
{
	float temp = s->p.temp;
	if (temp <= 0) {
		bt_sample_sort(s, 1);
		keep(s, 1);
		s->cand[0].p = 1;
		s->has_p = true;
		return;
	}
	if (s->p.dynatemp_range > 0) {
		if (s->n_cand < 2) return;
		float low = fmaxf(0, temp - s->p.dynatemp_range), high = temp + s->p.dynatemp_range;
		double entropy = 0;
		bt_sample_softmax(s);
		for (size_t i = 0; i < s->n_cand; i++)
			if (s->cand[i].p > 0) entropy -= (double)s->cand[i].p * log((double)s->cand[i].p);
		float share = (float)(entropy / log((double)s->n_cand));
		temp = low + (high - low) * powf(share > 0 ? share : 0, s->p.dynatemp_exponent);
	}
	if (temp < FLT_MIN) temp = FLT_MIN;
	for (size_t i = 0; i < s->n_cand; i++) s->cand[i].logit = bt_sample_clamp(s->cand[i].logit / temp);
	s->has_p = false;
}
