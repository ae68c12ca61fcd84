/* vocab.h: the tokens of a GGUF file: text to id, types, special tokens. Used inside src/text only. */
#ifndef BT_TEXT_VOCAB_H
#define BT_TEXT_VOCAB_H

#include "text/tokenizer.h"

/* A text as the table sees it: enough to tell texts of up to eight bytes apart without looking at them. */
struct bt_vocab_key {
	uint64_t head; /* the first eight bytes, zeros behind */
	uint32_t tag;  /* hash << 8 | length, at most 255 */
};

struct bt_vocab_slot {
	uint64_t head;
	uint32_t tag;
	int32_t id; /* -1: free */
};

struct bt_vocab {
	const struct bt_str *text; /* [n] in the file */
	uint32_t n;
	uint32_t longest;           /* bytes of the longest token */
	uint8_t *type;              /* [n] enum bt_token_type */
	uint8_t *flags;             /* [n] BT_VOCAB_* */
	struct bt_vocab_slot *slot; /* open addressing, mask + 1 slots */
	uint32_t mask;

	/* Control, unknown and user-defined tokens in byte order, to be found in texts; first[b] .. first[b + 1] are
	 * those that begin with byte b. */
	int32_t *special; /* [n_special] */
	uint32_t n_special, n_user, first[257];

	int32_t bos, eos, unk; /* -1: none */
	bool add_bos, add_eos;
};

enum {
	BT_VOCAB_END = 1,    /* ends an answer */
	BT_VOCAB_RSTRIP = 2, /* blanks after it are dropped */
};

/* Read and check tokenizer.ggml.tokens and .token_type, and build the table. v is zeroed first; free it whatever comes
 * back. */
enum baton_status bt_vocab_open(struct bt_vocab *v, const struct bt_gguf *g, struct baton_error *err);
/* Read the ids of special tokens, find the tokens that end an answer, list the special tokens. spm: ids have
 * SentencePiece's defaults. add_bos: what holds where the file does not say. */
enum baton_status bt_vocab_open_specials(struct bt_vocab *v, const struct bt_gguf *g, bool spm, bool add_bos,
                                         struct baton_error *err);
void bt_vocab_free(struct bt_vocab *v);

/* The token with exactly this text, -1 when there is none. */
int32_t bt_vocab_find(const struct bt_vocab *v, const char *text, size_t len);
/* The same in two steps, for callers that have many texts to look up and let the memory work ahead. */
struct bt_vocab_key bt_vocab_key(const char *text, size_t len);
int32_t bt_vocab_find_key(const struct bt_vocab *v, struct bt_vocab_key key, const char *text, size_t len);
static inline void bt_vocab_prefetch(const struct bt_vocab *v, struct bt_vocab_key key)
{
	__builtin_prefetch(&v->slot[key.tag >> 8 & v->mask]);
}
/* The longest special token at text[pos .. len), -1 when there is none. all: control and unknown tokens too, not only
 * user-defined ones. */
int32_t bt_vocab_special_at(const struct bt_vocab *v, const char *text, size_t len, size_t pos, bool all);

bool bt_tokens_grow(struct bt_tokens *t);
/* Append an id; false when there is no memory. */
static inline bool bt_tokens_add(struct bt_tokens *t, int32_t id)
{
	if (t->n == t->cap && !bt_tokens_grow(t)) return false;
	t->ids[t->n++] = id;
	return true;
}

#endif
