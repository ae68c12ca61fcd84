#include "text/tokenizer.h"

#include "base/limits.h"
#include "text/bpe.h"
#include "text/pretok.h"
#include "text/spm.h"
#include "text/utf8.h"
#include "text/vocab.h"

#include <stdlib.h>
#include <string.h>

struct bt_tokenizer {
	struct bt_vocab vocab;
	bool spm; /* SentencePiece, else byte-level BPE */
	char *pre;
	struct bt_pretok *pretok;
	struct bt_bpe bpe;
	struct bt_spm sentencepiece;
};

/* What one call of bt_tokenize needs. */
struct work {
	struct bt_pretok_work pretok;
	struct bt_merge merge;
};

static enum baton_status open_bpe(struct bt_tokenizer *t, const struct bt_gguf *g, struct baton_error *err)
{
	struct bt_str pre;
	enum baton_status status = bt_gguf_get_str(g, "tokenizer.ggml.pre", &pre, NULL, err);
	if (status) return status;
	const struct bt_pretok_row *row = bt_pretok_find(pre);
	if (!row) {
		size_t rows = 0;
		char shown[64];
		while (bt_pretok_table[rows].names) rows++;
		return bt_fail(
			err, BATON_ERR_UNSUPPORTED,
			"tokenizer.ggml.pre is '%s', a pre-tokenizer that this build does not know (it knows %zu "
			"families; `baton tokenize --known` lists them)",
			bt_str_show(pre, shown, sizeof shown), rows);
	}
	t->pre = pre.len ? bt_mem_strndup(BT_MEM_TEXT, pre.data, pre.len) : bt_mem_strdup(BT_MEM_TEXT, "default");
	if (!t->pre) return bt_fail_nomem(err, pre.len, "the tokenizer");
	status = bt_vocab_open_specials(&t->vocab, g, false, row->flags & BT_PRETOK_BOS, err);
	if (!status) status = bt_bpe_open(&t->bpe, &t->vocab, g, row->flags & BT_PRETOK_WHOLE, err);
	return status ? status : bt_pretok_open(row, &t->pretok, err);
}

enum baton_status bt_tokenizer_open(const struct bt_gguf *g, struct bt_tokenizer **out, struct baton_error *err)
{
	*out = NULL;
	struct bt_str model;
	bool found;
	enum baton_status status = bt_gguf_get_str(g, "tokenizer.ggml.model", &model, &found, err);
	if (status || !found || bt_str_eq(model, "none")) return status;
	bool spm = bt_str_eq(model, "llama");
	char shown[64];
	if (!spm && !bt_str_eq(model, "gpt2"))
		return bt_fail(err, BATON_ERR_UNSUPPORTED,
		               "tokenizer.ggml.model is '%s'; this build knows 'gpt2' (byte-level BPE) and 'llama' "
		               "(SentencePiece)",
		               bt_str_show(model, shown, sizeof shown));
	struct bt_tokenizer *t = bt_mem_zalloc(BT_MEM_TEXT, sizeof *t);
	if (!t) return bt_fail_nomem(err, sizeof *t, "the tokenizer");
	t->spm = spm;
	status = bt_vocab_open(&t->vocab, g, err);
	if (!status && !spm) status = open_bpe(t, g, err);
	if (!status && spm) status = bt_vocab_open_specials(&t->vocab, g, true, true, err);
	if (!status && spm) status = bt_spm_open(&t->sentencepiece, &t->vocab, g, err);
	if (status) bt_tokenizer_close(&t);
	else *out = t;
	return status;
}

void bt_tokenizer_close(struct bt_tokenizer **tp)
{
	struct bt_tokenizer *t = *tp;
	if (!t) return;
	bt_pretok_close(&t->pretok);
	bt_bpe_free(&t->bpe);
	bt_spm_free(&t->sentencepiece);
	bt_vocab_free(&t->vocab);
	bt_mem_free(t->pre);
	bt_mem_free(t);
	*tp = NULL;
}

uint32_t bt_tokenizer_n_vocab(const struct bt_tokenizer *t)
{
	return t->vocab.n;
}

const char *bt_tokenizer_model(const struct bt_tokenizer *t)
{
	return t->spm ? "llama" : "gpt2";
}

const char *bt_tokenizer_pre(const struct bt_tokenizer *t)
{
	return t->pre ? t->pre : "";
}

const char *bt_tokenizer_known_pre(size_t i)
{
	return bt_pretok_table[i].names;
}

int32_t bt_tokenizer_bos(const struct bt_tokenizer *t)
{
	return t->vocab.bos;
}

int32_t bt_tokenizer_eos(const struct bt_tokenizer *t)
{
	return t->vocab.eos;
}

bool bt_tokenizer_add_bos(const struct bt_tokenizer *t)
{
	return t->vocab.add_bos;
}

bool bt_tokenizer_add_eos(const struct bt_tokenizer *t)
{
	return t->vocab.add_eos;
}

static bool in_range(const struct bt_tokenizer *t, int32_t id)
{
	return id >= 0 && (uint32_t)id < t->vocab.n;
}

bool bt_tokenizer_is_end(const struct bt_tokenizer *t, int32_t id)
{
	return in_range(t, id) && t->vocab.flags[id] & BT_VOCAB_END;
}

enum bt_token_type bt_tokenizer_type(const struct bt_tokenizer *t, int32_t id)
{
	return in_range(t, id) ? (enum bt_token_type)t->vocab.type[id] : BT_TOKEN_UNUSED;
}

struct bt_str bt_tokenizer_text(const struct bt_tokenizer *t, int32_t id)
{
	return in_range(t, id) ? t->vocab.text[id] : (struct bt_str){"", 0};
}

int32_t bt_tokenizer_find(const struct bt_tokenizer *t, const char *text, size_t len)
{
	return bt_vocab_find(&t->vocab, text, len);
}

bool bt_tokenizer_adds_space(const struct bt_tokenizer *t)
{
	return t->spm && t->sentencepiece.space_prefix;
}

bool bt_tokens_grow(struct bt_tokens *t)
{
	size_t cap = t->cap ? 2 * t->cap : 256;
	int32_t *grown = bt_mem_realloc(BT_MEM_TEXT, t->ids, cap * sizeof *grown);
	if (!grown) return false;
	t->ids = grown;
	t->cap = cap;
	return true;
}

void bt_tokens_free(struct bt_tokens *tokens)
{
	bt_mem_free(tokens->ids);
	*tokens = (struct bt_tokens){0};
}

/* A stretch of text between special tokens, by byte-level BPE. */
static enum baton_status encode_bpe(const struct bt_tokenizer *t, struct work *w, const char *text, size_t len,
                                    struct bt_tokens *out, struct baton_error *err)
{
	char *repaired = NULL, *stand_in = NULL;
	const char *cut = text; /* what the pre-tokenizer sees: the same lengths, well-formed */
	enum baton_status status = BATON_OK;
	if (bt_utf8_valid_prefix(text, len) != len) {
		status = bt_utf8_repair(text, len, &repaired, &stand_in, &len, err);
		if (status) return status;
		text = repaired;
		cut = stand_in;
	}
	if (len > UINT32_MAX) /* a gigabyte that is not UTF-8 may grow to three */
		status = bt_fail(err, BATON_ERR_LIMIT, "a text of %zu bytes is too long to tokenize", len);
	if (!status) status = bt_pretok_split(t->pretok, &w->pretok, cut, len, err);
	size_t from = 0;
	for (size_t i = 0; !status && i < w->pretok.pieces.n; i++) {
		size_t to = w->pretok.pieces.end[i];
		status = bt_bpe_encode(&t->bpe, &w->merge, text + from, to - from, out, err);
		from = to;
	}
	if (stand_in != repaired) bt_mem_free(stand_in);
	bt_mem_free(repaired);
	return status;
}

static enum baton_status encode(const struct bt_tokenizer *t, struct work *w, const char *text, size_t len,
                                struct bt_tokens *out, struct baton_error *err)
{
	if (!len) return BATON_OK;
	if (t->spm) return bt_spm_encode(&t->sentencepiece, &w->merge, text, len, out, err);
	return encode_bpe(t, w, text, len, out, err);
}

static bool is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The text between special tokens is encoded stretch by stretch. Of special tokens that begin at one place the longest
 * counts, and the leftmost goes first. */
static enum baton_status encode_all(const struct bt_tokenizer *t, struct work *w, const char *text, size_t len,
                                    bool special, struct bt_tokens *out, struct baton_error *err)
{
	const struct bt_vocab *v = &t->vocab;
	if (!(special ? v->n_special : v->n_user)) return encode(t, w, text, len, out, err);
	size_t from = 0, pos = 0;
	while (pos < len) {
		int32_t id = bt_vocab_special_at(v, text, len, pos, special);
		if (id < 0) {
			pos++;
			continue;
		}
		enum baton_status status = encode(t, w, text + from, pos - from, out, err);
		if (status) return status;
		if (!bt_tokens_add(out, id)) return bt_fail_nomem(err, len, "the tokens of a text");
		pos += v->text[id].len;
		while (v->flags[id] & BT_VOCAB_RSTRIP && pos < len && is_blank(text[pos])) pos++;
		from = pos;
	}
	return encode(t, w, text + from, len - from, out, err);
}

enum baton_status bt_tokenize(const struct bt_tokenizer *t, const char *text, size_t len, unsigned flags,
                              struct bt_tokens *out, struct baton_error *err)
{
	if (len > BT_LIMIT_TEXT)
		return bt_fail(err, BATON_ERR_LIMIT, "a text of %zu bytes is too long to tokenize; the limit is %zu",
		               len, BT_LIMIT_TEXT);
	struct work w = {0};
	size_t n = out->n;
	bool bos = flags & BT_TOKENIZE_BOS && t->vocab.add_bos, eos = flags & BT_TOKENIZE_BOS && t->vocab.add_eos;
	enum baton_status status = BATON_OK;
	if (bos && !bt_tokens_add(out, t->vocab.bos)) status = bt_fail_nomem(err, len, "the tokens of a text");
	if (!status) status = encode_all(t, &w, text, len, flags & BT_TOKENIZE_SPECIAL, out, err);
	if (!status && eos && !bt_tokens_add(out, t->vocab.eos))
		status = bt_fail_nomem(err, len, "the tokens of a text");
	if (status) out->n = n;
	bt_pretok_work_free(&w.pretok);
	bt_merge_free(&w.merge);
	return status;
}

/* A byte token's text is "<0x0A>". */
static int byte_value(struct bt_str s)
{
	char hex[3] = {0};
	if (s.len != 6 || memcmp(s.data, "<0x", 3) || s.data[5] != '>') return -1;
	memcpy(hex, s.data + 3, 2);
	char *end;
	unsigned long value = strtoul(hex, &end, 16);
	return end == hex + 2 ? (int)value : -1;
}

/* SentencePiece's U+2581 is a blank. */
static void add_unmarked(struct bt_str s, struct bt_buf *out)
{
	for (size_t i = 0; i < s.len;) {
		if (s.len - i >= 3 && !memcmp(s.data + i, "\xE2\x96\x81", 3)) {
			bt_buf_addc(out, ' ');
			i += 3;
		} else {
			bt_buf_addc(out, s.data[i++]);
		}
	}
}

/* Letters of the byte alphabet as bytes, anything else as it stands. */
static void add_letters(struct bt_str s, struct bt_buf *out)
{
	for (size_t i = 0; i < s.len;) {
		unsigned n;
		int byte = bt_letter_byte(bt_utf8_decode(s.data + i, s.len - i, &n));
		if (byte >= 0) bt_buf_addc(out, (char)byte);
		else bt_buf_add(out, s.data + i, n);
		i += n;
	}
}

void bt_token_piece(const struct bt_tokenizer *t, int32_t id, bool special, struct bt_buf *out)
{
	if (!in_range(t, id)) return;
	struct bt_str s = t->vocab.text[id];
	int byte;
	switch ((enum bt_token_type)t->vocab.type[id]) {
	case BT_TOKEN_CONTROL:
	case BT_TOKEN_UNKNOWN:
		if (special) bt_buf_add(out, s.data, s.len);
		return;
	case BT_TOKEN_USER: bt_buf_add(out, s.data, s.len); return;
	case BT_TOKEN_UNUSED: return;
	case BT_TOKEN_BYTE:
		byte = byte_value(s);
		if (byte < 0) bt_buf_add(out, s.data, s.len);
		else bt_buf_addc(out, (char)byte);
		return;
	case BT_TOKEN_NORMAL:
		if (t->spm) add_unmarked(s, out);
		else add_letters(s, out);
		return;
	}
}
