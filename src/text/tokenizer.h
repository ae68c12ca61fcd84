/* tokenizer.h: text to token ids and back, from the vocabulary in a GGUF file.
 *
 * Two models: byte-level BPE (`tokenizer.ggml.model` = gpt2) with the pre-tokenizers of pretok.c, and SentencePiece
 * (`llama`). The object is immutable after opening and may be shared by threads.
 */
#ifndef BT_TEXT_TOKENIZER_H
#define BT_TEXT_TOKENIZER_H

#include "base/buf.h"
#include "gguf/gguf.h"

/* tokenizer.ggml.token_type */
enum bt_token_type {
	BT_TOKEN_NORMAL = 1,
	BT_TOKEN_UNKNOWN = 2,
	BT_TOKEN_CONTROL = 3,
	BT_TOKEN_USER = 4,
	BT_TOKEN_UNUSED = 5,
	BT_TOKEN_BYTE = 6,
};

struct bt_tokenizer;

/* Strings are kept by reference into g, which must outlive the tokenizer. *out is NULL with BATON_OK when the file says
 * `tokenizer.ggml.model` = "none" or has no tokenizer at all. BATON_ERR_UNSUPPORTED names a model or a pre-tokenizer
 * that this build does not know: with another one the text would come out as other tokens than the model was trained
 * on. A byte-level vocabulary that names no pre-tokenizer gets "default", as in llama.cpp. The
 * sentence of a failure does not name the file. */
enum baton_status bt_tokenizer_open(const struct bt_gguf *g, struct bt_tokenizer **out, struct baton_error *err);
void bt_tokenizer_close(struct bt_tokenizer **t);

uint32_t bt_tokenizer_n_vocab(const struct bt_tokenizer *t);
const char *bt_tokenizer_model(const struct bt_tokenizer *t); /* "gpt2", "llama" */
/* As the file has it: "qwen2", ...; "default" where it has none; "" for SentencePiece. */
const char *bt_tokenizer_pre(const struct bt_tokenizer *t);
/* Names of the pre-tokenizers this build knows: "qwen2 deepseek-r1-qwen ...", one row of aliases for each i from 0 on;
 * NULL after the last. */
const char *bt_tokenizer_known_pre(size_t i);

/* Ids of special tokens, -1 when the vocabulary has none. */
int32_t bt_tokenizer_bos(const struct bt_tokenizer *t);
int32_t bt_tokenizer_eos(const struct bt_tokenizer *t);
bool bt_tokenizer_add_bos(const struct bt_tokenizer *t); /* whether this vocabulary wants one in front */
bool bt_tokenizer_add_eos(const struct bt_tokenizer *t); /* and one behind */
/* Ends an answer: eos, eot, and tokens known by their spelling (<|im_end|>, <|eot_id|>, <|endoftext|>, ...). */
bool bt_tokenizer_is_end(const struct bt_tokenizer *t, int32_t id);
enum bt_token_type bt_tokenizer_type(const struct bt_tokenizer *t, int32_t id);
/* The token as the file spells it (for templates: bos_token, eos_token). */
struct bt_str bt_tokenizer_text(const struct bt_tokenizer *t, int32_t id);
/* The token that the file spells exactly so, -1 when there is none. */
int32_t bt_tokenizer_find(const struct bt_tokenizer *t, const char *text, size_t len);
/* Whether a blank is put in front of a text, so that the text of its tokens begins with one blank too many. */
bool bt_tokenizer_adds_space(const struct bt_tokenizer *t);

enum {
	BT_TOKENIZE_BOS = 1,     /* add BOS (and EOS) where the vocabulary wants one */
	BT_TOKENIZE_SPECIAL = 2, /* control tokens written in the text become one id */
};

struct bt_tokens {
	int32_t *ids;
	size_t n, cap;
};

/* Append the ids of text to out (grown with bt_mem_realloc, category TEXT). Any bytes are accepted: what is not UTF-8
 * is read as U+FFFD by byte-level BPE and byte by byte by SentencePiece. On failure out is as it was. */
enum baton_status bt_tokenize(const struct bt_tokenizer *t, const char *text, size_t len, unsigned flags,
                              struct bt_tokens *out, struct baton_error *err);
void bt_tokens_free(struct bt_tokens *tokens);

/* Append the bytes that a token stands for. special: write control tokens out instead of nothing. An id out of range
 * stands for nothing. */
void bt_token_piece(const struct bt_tokenizer *t, int32_t id, bool special, struct bt_buf *out);

/* Streaming: bytes in, whole characters out. Holds back an unfinished UTF-8 character (at most 3 bytes); bytes that can
 * never become one come out as U+FFFD. */
struct bt_utf8_stream {
	unsigned char held[4];
	unsigned n;
};
void bt_utf8_stream_feed(struct bt_utf8_stream *s, const char *data, size_t len, struct bt_buf *out);
void bt_utf8_stream_end(struct bt_utf8_stream *s, struct bt_buf *out);

#endif
