/* spm.h: SentencePiece's BPE model, joining by score (Kudo and Richardson 2018). Used inside src/text only. */
#ifndef BT_TEXT_SPM_H
#define BT_TEXT_SPM_H

#include "text/merge.h"
#include "text/vocab.h"

struct bt_spm {
	const struct bt_vocab *vocab;
	uint32_t *key;     /* [vocab->n] of the scores: the lower, the sooner */
	int32_t byte[256]; /* token that stands for a byte, -1: none */
	bool words;        /* no token goes on with a blank after anything else: texts may be cut there */
	bool space_prefix; /* a blank is put in front of every stretch of text between special tokens */
};

/* Read tokenizer.ggml.scores and .add_space_prefix. s is zeroed first; free it whatever comes back. v must outlive s. */
enum baton_status bt_spm_open(struct bt_spm *s, const struct bt_vocab *v, const struct bt_gguf *g,
                              struct baton_error *err);
void bt_spm_free(struct bt_spm *s);

/* Append the ids of a text of any bytes. What is no token is written in byte tokens, else as the unknown token, else left out. */
enum baton_status bt_spm_encode(const struct bt_spm *s, struct bt_merge *work, const char *text, size_t len,
                                struct bt_tokens *out, struct baton_error *err);

#endif
