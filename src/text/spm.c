#include "text/spm.h"

#include "base/half.h"
#include "base/limits.h"
#include "text/utf8.h"

#include <stdio.h>
#include <string.h>

/* U+2581, which stands for a blank. */
#define BLANK "\xE2\x96\x81"

/* Floats as integers in the opposite order: the best score has the lowest key. */
static uint32_t key_of(float score)
{
	if (!(score == score)) return UINT32_MAX;      /* NaN: last */
	uint32_t u = bt_bits_from_float(score + 0.0f); /* -0 as 0 */
	uint32_t ascending = u & 0x80000000u ? ~u : u | 0x80000000u;
	return ~ascending;
}

static bool blank_at(const char *s, size_t len, size_t pos)
{
	return len - pos >= 3 && !memcmp(s + pos, BLANK, 3);
}

/* Length of the symbol at s: a character, as far as its lead byte announces it. */
static size_t symbol_length(const char *s, size_t len)
{
	size_t n = bt_utf8_announced((unsigned char)s[0]);
	return n < len ? n : len;
}

/* End of the stretch at s that begins with blanks and goes on to the next symbol that is a blank. */
static size_t word_end(const char *s, size_t len)
{
	size_t i = 0;
	while (blank_at(s, len, i)) i += 3;
	while (i < len && !blank_at(s, len, i)) i += symbol_length(s + i, len - i);
	return i;
}

/* Does every token end where its first word does? Then nothing can be joined over such a place, and short stretches
 * with small heaps are joined in place of the whole text: the result is the same. */
static bool only_words(const struct bt_vocab *v)
{
	for (uint32_t i = 0; i < v->n; i++)
		if (word_end(v->text[i].data, v->text[i].len) < v->text[i].len) return false;
	return true;
}

enum baton_status bt_spm_open(struct bt_spm *s, const struct bt_vocab *v, const struct bt_gguf *g,
                              struct baton_error *err)
{
	*s = (struct bt_spm){.vocab = v};
	static const char key[] = "tokenizer.ggml.scores";
	enum baton_status status = bt_gguf_get_bool(g, "tokenizer.ggml.add_space_prefix", true, &s->space_prefix, NULL,
	                                            err);
	if (status) return status;
	const struct bt_gguf_kv *kv = bt_gguf_find(g, key);
	if (kv && (kv->type != BT_GGUF_ARRAY || (kv->elem_type != BT_GGUF_F32 && kv->elem_type != BT_GGUF_I32)))
		return bt_fail(err, BATON_ERR_FORMAT, "%s is not a list of numbers of 32 bits", key);
	if (kv && kv->count < v->n)
		return bt_fail(err, BATON_ERR_FORMAT, "%s has %llu entries for %u tokens", key,
		               (unsigned long long)kv->count, v->n);
	s->key = bt_mem_array(BT_MEM_TEXT, v->n, sizeof *s->key);
	if (!s->key) return bt_fail_nomem(err, v->n * sizeof *s->key, "the scores of the tokenizer");
	for (uint32_t i = 0; i < v->n; i++) s->key[i] = key_of(kv ? (float)bt_gguf_float_at(kv, i) : 0.0f);
	s->words = only_words(v);
	for (unsigned i = 0; i < 256; i++) {
		char name[8];
		snprintf(name, sizeof name, "<0x%02X>", i);
		s->byte[i] = bt_vocab_find(v, name, 6);
		if (s->byte[i] < 0) s->byte[i] = bt_vocab_find(v, &(char){(char)i}, 1);
	}
	return BATON_OK;
}

void bt_spm_free(struct bt_spm *s)
{
	bt_mem_free(s->key);
	*s = (struct bt_spm){0};
}

struct joining {
	const struct bt_spm *spm;
	const char *text;
};

static int32_t join(const void *user, const struct bt_symbol *left, const struct bt_symbol *right, uint32_t *key)
{
	const struct joining *j = user;
	int32_t id = bt_vocab_find(j->spm->vocab, j->text + left->pos, left->len + right->len);
	if (id >= 0) *key = j->spm->key[id];
	return id;
}

/* A symbol that is no token, byte by byte. */
static bool add_bytes(const struct bt_spm *s, const char *text, size_t len, struct bt_tokens *out)
{
	for (size_t i = 0; i < len; i++) {
		int32_t id = s->byte[(unsigned char)text[i]];
		if (id < 0) id = s->vocab->unk;
		if (id >= 0 && !bt_tokens_add(out, id)) return false;
	}
	return true;
}

/* Join text[from .. to), which is not empty. */
static bool encode(const struct bt_spm *s, struct bt_merge *work, const char *text, size_t from, size_t to,
                   struct bt_tokens *out)
{
	work->n = 0;
	for (size_t i = from; i < to;) {
		size_t n = symbol_length(text + i, to - i);
		if (!bt_merge_add(work, (uint32_t)i, (uint32_t)n, bt_vocab_find(s->vocab, text + i, n))) return false;
		i += n;
	}
	struct joining j = {s, text};
	if (!bt_merge_run(work, join, &j)) return false;
	for (uint32_t i = 0; i != BT_MERGE_NONE; i = work->symbol[i].next) {
		const struct bt_symbol *y = &work->symbol[i];
		if (y->id >= 0 ? !bt_tokens_add(out, y->id) : !add_bytes(s, text + y->pos, y->len, out)) return false;
	}
	return true;
}

enum baton_status bt_spm_encode(const struct bt_spm *s, struct bt_merge *work, const char *text, size_t len,
                                struct bt_tokens *out, struct baton_error *err)
{
	const size_t prefix = s->space_prefix;
	size_t blanks = prefix;
	for (size_t i = 0; i < len; i++) blanks += text[i] == ' ';
	size_t size = len + prefix + 2 * blanks;
	if (size > UINT32_MAX) return bt_fail(err, BATON_ERR_LIMIT, "a text of %zu bytes is too long to tokenize", len);
	char *marked = bt_mem_alloc(BT_MEM_TEXT, size);
	if (!marked) return bt_fail_nomem(err, size, "a text");
	size_t n = 0;
	for (size_t i = 0; i < len + prefix; i++) {
		char c = i < prefix ? ' ' : text[i - prefix];
		if (c != ' ') {
			marked[n++] = c;
			continue;
		}
		memcpy(marked + n, BLANK, 3);
		n += 3;
	}
	bool done = true;
	for (size_t from = 0, to; done && from < n; from = to) {
		to = s->words ? from + word_end(marked + from, n - from) : n;
		done = encode(s, work, marked, from, to, out);
	}
	bt_mem_free(marked);
	return done ? BATON_OK : bt_fail_nomem(err, n * sizeof *work->symbol, "the tokens of a text");
}
