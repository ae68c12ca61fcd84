/* sample.h: choosing the next token from the logits: a chain of stages under llama.cpp's names, defaults and order.
 *
 * logit bias -> penalties -> dry -> top_n_sigma -> top_k -> typical_p -> top_p -> min_p -> xtc -> temperature -> draw
 *
 * The random numbers are a function of (seed, number of accepted tokens), not a running state: a stream that is resumed
 * elsewhere, by accepting the same tokens, goes on exactly as it would have. Picking changes nothing that a later pick
 * sees, and allocates nothing. Not thread-safe; one sampler per sequence.
 *
 * Ties are decided by the smaller token id. A logit that is NaN or -inf is never chosen, +inf counts as the largest
 * finite number.
 */
#ifndef BT_ENGINE_SAMPLE_H
#define BT_ENGINE_SAMPLE_H

#include "base/mem.h"
#include "base/status.h"

/* The bytes of a token's text into buf (at most size of them are written); returns their number. For DRY's breakers. */
typedef size_t (*bt_sampler_piece_fn)(void *user, int32_t token, char *buf, size_t size);

struct bt_sampler;

/* n_ctx bounds how far "the whole context" looks back. piece may be NULL: then nothing breaks DRY's sequences. params and
 * what it points to are copied. BATON_ERR_ARG names the parameter that is out of range. */
enum baton_status bt_sampler_open(const struct baton_sampler_params *params, uint32_t n_vocab, uint32_t n_ctx,
                                  bt_sampler_piece_fn piece, void *piece_user, struct bt_sampler **out,
                                  struct baton_error *err);
/* Closes, frees and clears *s; NULL and half-built objects are fine. */
void bt_sampler_close(struct bt_sampler **s);
/* A copy that goes its own way from here. */
enum baton_status bt_sampler_clone(const struct bt_sampler *s, struct bt_sampler **out, struct baton_error *err);

/* The sequence grew by token (of the prompt or chosen). Tokens outside the vocabulary are counted and else ignored. */
void bt_sampler_accept(struct bt_sampler *s, int32_t token);
/* Forget all accepted tokens. */
void bt_sampler_reset(struct bt_sampler *s);
/* Other random numbers from here on. */
void bt_sampler_set_seed(struct bt_sampler *s, uint64_t seed);
/* Tokens accepted since opening or reset. */
uint64_t bt_sampler_position(const struct bt_sampler *s);

/* The next token; it is not accepted yet. logits: [n_vocab], not changed. BATON_ERR_ARG when nothing can be chosen:
 * every logit is NaN, -inf or forbidden by the bias. */
enum baton_status bt_sampler_pick(struct bt_sampler *s, const float *logits, int32_t *token, struct baton_error *err);

/* What the last pick chose from: the tokens left by the chain, likeliest first where a stage has sorted them, with their
 * final probabilities. Valid until the next call. */
struct bt_candidate {
	int32_t id;
	float logit;
	float p;
};
const struct bt_candidate *bt_sampler_candidates(const struct bt_sampler *s, size_t *n);

#endif
