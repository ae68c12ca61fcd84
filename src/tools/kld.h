/* kld.h: log-probabilities of one model kept in a file, and another model compared with them.
 *
 * The file is llama.cpp's (llama-perplexity --kl-divergence-base): the bytes "_logits_", three int32 (tokens of a window,
 * vocabulary, windows), the tokens of all windows as int32, then for each scored position a row of 16-bit words: two
 * floats (scale, least log-probability), one word for each token, and padding to an even number of words. A word w
 * stands for the log-probability scale * w + least; what lies more than 16 below the largest logit is cut off.
 */
#ifndef BT_TOOLS_KLD_H
#define BT_TOOLS_KLD_H

#include "base/mem.h"
#include "base/status.h"

#include <stdio.h>

struct bt_kld_head {
	int32_t n_ctx, n_vocab, n_chunk;
};

/* Of a window of n_ctx tokens the second half is scored, but for its last token, which has no successor. */
static inline int bt_kld_first(int n_ctx)
{
	return n_ctx / 2;
}
static inline int bt_kld_scored(int n_ctx)
{
	return n_ctx - 1 - n_ctx / 2;
}

/* 16-bit words of a row. */
static inline size_t bt_kld_row_words(int n_vocab)
{
	return 2 * (((size_t)n_vocab + 1) / 2) + 4;
}

/* Write or read what stands before the rows. Reading allocates *tokens [n_chunk * n_ctx] (bt_mem_free) and checks every
 * number. name: the file, for messages. */
enum baton_status bt_kld_write_head(FILE *f, const struct bt_kld_head *head, const int32_t *tokens, const char *name,
                                    struct baton_error *err);
enum baton_status bt_kld_read_head(FILE *f, struct bt_kld_head *head, int32_t **tokens, const char *name,
                                   struct baton_error *err);

/* The row for logits [n_vocab]. */
void bt_kld_pack(const float *logits, int n_vocab, uint16_t *row);

/* -log p(token) under logits [n_vocab]. */
double bt_kld_nll(const float *logits, int n_vocab, int32_t token);

/* Sums over positions: the model at hand against the base. */
struct bt_kld {
	double nll, nll2, base, base2, nll_base; /* negative log-likelihoods of the text, their squares and product */
	double kld, kld2;                        /* Kullback-Leibler divergence from the base */
	double dp, dp2, dp4;                     /* difference of the probability of the right token */
	size_t same_top, n;
	float *klds, *dps; /* [n] each value, for medians and percentiles */
};

/* Room for cap positions. Free klds and dps with bt_mem_free. */
enum baton_status bt_kld_open(struct bt_kld *k, size_t cap, struct baton_error *err);
void bt_kld_close(struct bt_kld *k);
/* One position: logits of the model, row of the base, the token that really follows. */
void bt_kld_add(struct bt_kld *k, const float *logits, int n_vocab, const uint16_t *row, int32_t token);
/* The line of a window (0: the heading) and the tables at the end, in llama.cpp's words. Sorts klds and dps. */
void bt_kld_print_chunk(const struct bt_kld *k, int chunk, FILE *out);
void bt_kld_print(struct bt_kld *k, FILE *out);

#endif
