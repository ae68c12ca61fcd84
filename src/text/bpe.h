/* bpe.h: byte-level byte-pair encoding (Sennrich et al. 2016; on bytes as in GPT-2). Used inside src/text only. */
#ifndef BT_TEXT_BPE_H
#define BT_TEXT_BPE_H

#include "text/merge.h"
#include "text/vocab.h"

struct bt_bpe_pair {
	int32_t left, right; /* left -1: free */
	int32_t joined;
	uint32_t rank;
};

struct bt_bpe {
	const struct bt_vocab *vocab;
	struct bt_bpe_pair *pair; /* open addressing, mask + 1 slots */
	uint32_t mask;
	int32_t byte[256]; /* token of a single byte, -1: none */
	bool whole;        /* a piece that is itself a token is taken whole */
};

/* Read tokenizer.ggml.merges. A merge without a blank, or one that makes or joins what is no token, can never help to
 * spell a text and is passed over. b is zeroed first; free it whatever comes back. v must outlive b. */
enum baton_status bt_bpe_open(struct bt_bpe *b, const struct bt_vocab *v, const struct bt_gguf *g, bool whole,
                              struct baton_error *err);
void bt_bpe_free(struct bt_bpe *b);

/* Append the ids of one piece of text. A byte that the vocabulary lacks (SmolLM2 has no U+0004) becomes nothing, as with
 * the publishers' library. */
enum baton_status bt_bpe_encode(const struct bt_bpe *b, struct bt_merge *work, const char *piece, size_t len,
                                struct bt_tokens *out, struct baton_error *err);

#endif
