/* sample_impl.h: the sampler's state, shared by sample.c and the files of its stages. */
#ifndef BT_ENGINE_SAMPLE_IMPL_H
#define BT_ENGINE_SAMPLE_IMPL_H

#include "engine/sample.h"

#include <float.h>

#define BT_SAMPLE_BREAKER_BYTES 64  /* of one of DRY's breakers */
#define BT_SAMPLE_BREAKERS      64  /* of them */
#define BT_SAMPLE_PIECE_BYTES   512 /* of a token's text that breakers are looked for in */

struct bt_sampler {
	struct baton_sampler_params p; /* its pointers lead to bias and breakers below */
	uint32_t n_vocab;
	bt_sampler_piece_fn piece;
	void *piece_user;

	struct baton_logit_bias *bias;             /* [p.n_logit_bias] */
	char (*breakers)[BT_SAMPLE_BREAKER_BYTES]; /* [p.n_dry_breakers], NUL-terminated */
	const char **breaker_list;

	uint64_t position; /* accepted tokens */
	/* The last accepted tokens, a ring: the newest at (position - 1) % window. */
	int32_t *history;                   /* [window] */
	uint8_t *breaks;                    /* [window] whether one of DRY's breakers ends in this token */
	uint32_t window;                    /* what the penalties and DRY look back on at most; 0: neither is on */
	uint32_t penalty_n, dry_n;          /* tokens each of them looks back on */
	char tail[BT_SAMPLE_BREAKER_BYTES]; /* the last bytes of the text, for breakers that span tokens */
	size_t n_tail;

	/* Scratch of one pick. */
	float *logits;             /* [n_vocab] a copy for the stages that change logits; NULL when none is on */
	struct bt_candidate *cand; /* [n_vocab] */
	size_t n_cand, n_sorted;   /* the first n_sorted are the likeliest ones, in order */
	bool has_p;                /* p of all candidates is the softmax of their logits */
	uint32_t *count;           /* [n_vocab] all 0 between stages; NULL when window is 0 */
	int32_t *touched;          /* [window] tokens whose count is not 0 */
	uint32_t *match;           /* [dry_n] */
	float random[2];           /* [0, 1): for the draw, for XTC */
};

/* Number of remembered tokens, at most want; the i-th newest (0: the last accepted). */
uint32_t bt_sampler_known(const struct bt_sampler *s, uint32_t want);
int32_t bt_sampler_recent(const struct bt_sampler *s, uint32_t i);
bool bt_sampler_recent_breaks(const struct bt_sampler *s, uint32_t i);

/* Stages that change logits, before there are candidates. */
void bt_sample_bias(struct bt_sampler *s);
void bt_sample_penalties(struct bt_sampler *s);
void bt_sample_dry(struct bt_sampler *s);
/* Whether one of DRY's breakers occurs in the text of token, or ends in it after the text before. */
void bt_sample_dry_accept(struct bt_sampler *s, int32_t token, uint8_t *breaks);

/* Stages that drop candidates. Each keeps at least one. */
void bt_sample_top_n_sigma(struct bt_sampler *s);
void bt_sample_top_k(struct bt_sampler *s);
void bt_sample_typical_p(struct bt_sampler *s);
void bt_sample_top_p(struct bt_sampler *s);
void bt_sample_min_p(struct bt_sampler *s);
void bt_sample_xtc(struct bt_sampler *s);
void bt_sample_temp(struct bt_sampler *s);
/* Fill in the probabilities of all candidates. */
void bt_sample_softmax(struct bt_sampler *s);
/* Make the likeliest k of n logits the candidates, in order; those that are NaN or -inf never are. */
void bt_sample_take(struct bt_sampler *s, const float *logits, size_t n, size_t k);
/* Make the first k candidates the likeliest ones, in order; the rest stays in any (but repeatable) order. */
void bt_sample_sort(struct bt_sampler *s, size_t k);

static inline float bt_sample_clamp(float logit)
{
	return logit > FLT_MAX ? FLT_MAX : logit < -FLT_MAX ? -FLT_MAX : logit;
}

/* Philox 4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011): four random words
 * for a counter and a key. */
void bt_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

#endif
