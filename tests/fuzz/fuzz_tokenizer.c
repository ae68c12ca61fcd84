/* Fuzz target: the first byte says what the others are.
 *
 * 0 to 0x7F: a text, for a small vocabulary that has every byte, under the pre-tokenizer (or SentencePiece) that the
 * byte chooses; the text must come back from its tokens. 0x80 and above: a GGUF file, whose tokenizer is opened and
 * used. The lowest bit has control tokens recognised.
 */
#include "base/limits.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool what)
{
	if (!what) __builtin_trap();
}

static void put(struct bt_buf *b, uint64_t v, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) bt_buf_addc(b, (char)(v >> 8 * i));
}

static void put_str(struct bt_buf *b, const char *s, size_t len)
{
	put(b, len, 8);
	bt_buf_add(b, s, len);
}

static void put_kv_str(struct bt_buf *b, const char *key, const char *value, size_t len)
{
	put_str(b, key, strlen(key));
	put(b, BT_GGUF_STRING, 4);
	put_str(b, value, len);
}

static void put_kv_array(struct bt_buf *b, const char *key, enum bt_gguf_type elem, uint64_t count)
{
	put_str(b, key, strlen(key));
	put(b, BT_GGUF_ARRAY, 4);
	put(b, elem, 4);
	put(b, count, 8);
}

static const char *const words[] = {"th", "the", "in", "an", "ing", "12", "ab", "abc", "((", "\xE2\x96\x81t"};
static const char *const merges[] = {"t h", "th e", "i n", "a n", "in g", "1 2", "a b", "ab c", "( ("};
static const char *const specials[] = {"<|a|>", "<|a", "[u]", "[uu]"};
static const int special_types[] = {BT_TOKEN_CONTROL, BT_TOKEN_CONTROL, BT_TOKEN_USER, BT_TOKEN_USER};
enum { WORDS = 10, MERGES = 9, SPECIALS = 4, TOKENS = 256 + WORDS + SPECIALS };

/* 256 bytes, some words, some special tokens. pre NULL: SentencePiece. */
static void make(struct bt_buf *b, const char *pre, size_t pre_len)
{
	bt_buf_init(b, BT_MEM_TEXT, 1 << 20);
	bt_buf_adds(b, "GGUF");
	put(b, 3, 4);
	put(b, 0, 8);
	put(b, pre ? 5 : 4, 8);
	put_kv_str(b, "tokenizer.ggml.model", pre ? "gpt2" : "llama", pre ? 4 : 5);
	if (pre) put_kv_str(b, "tokenizer.ggml.pre", pre, pre_len);
	put_kv_array(b, "tokenizer.ggml.tokens", BT_GGUF_STRING, TOKENS);
	for (unsigned i = 0; i < 256; i++) {
		char text[8];
		size_t n = 6;
		if (pre) n = bt_utf8_encode(bt_byte_letter((unsigned char)i), text);
		else snprintf(text, sizeof text, "<0x%02X>", i);
		put_str(b, text, n);
	}
	for (unsigned i = 0; i < WORDS; i++) put_str(b, words[i], strlen(words[i]));
	for (unsigned i = 0; i < SPECIALS; i++) put_str(b, specials[i], strlen(specials[i]));
	put_kv_array(b, "tokenizer.ggml.token_type", BT_GGUF_I32, TOKENS);
	for (unsigned i = 0; i < 256; i++) put(b, pre ? BT_TOKEN_NORMAL : BT_TOKEN_BYTE, 4);
	for (unsigned i = 0; i < WORDS; i++) put(b, BT_TOKEN_NORMAL, 4);
	for (unsigned i = 0; i < SPECIALS; i++) put(b, (uint64_t)special_types[i], 4);
	if (pre) {
		put_kv_array(b, "tokenizer.ggml.merges", BT_GGUF_STRING, MERGES);
		for (unsigned i = 0; i < MERGES; i++) put_str(b, merges[i], strlen(merges[i]));
	} else {
		put_kv_array(b, "tokenizer.ggml.scores", BT_GGUF_F32, TOKENS);
		for (unsigned i = 0; i < TOKENS; i++) put(b, 0xC0000000u + (i << 16), 4); /* -2 and below */
	}
}

/* The tokenizer that byte k chooses; opened when first needed and kept. */
static const struct bt_tokenizer *choose(unsigned k)
{
	static struct bt_tokenizer *opened[128];
	static struct bt_gguf *files[128]; /* hold the memory that the leak check would miss */
	size_t rows = 0;
	while (bt_tokenizer_known_pre(rows)) rows++;
	k %= rows + 1;
	if (opened[k]) return opened[k];
	const char *names = k < rows ? bt_tokenizer_known_pre(k) : NULL;
	struct bt_buf file;
	make(&file, names, names ? strcspn(names, " ") : 0);
	require(!file.status && !bt_gguf_open_memory(file.data, file.len, "fuzz", &files[k], NULL));
	require(!bt_tokenizer_open(files[k], &opened[k], NULL));
	return opened[k];
}

static void add_pieces(const struct bt_tokenizer *t, const struct bt_tokens *tokens, struct bt_buf *out)
{
	for (size_t i = 0; i < tokens->n; i++) {
		require(tokens->ids[i] >= 0 && (uint32_t)tokens->ids[i] < bt_tokenizer_n_vocab(t));
		bt_token_piece(t, tokens->ids[i], true, out);
	}
}

/* The streaming reader must not care how its input is cut. */
static void check_stream(const struct bt_buf *bytes)
{
	struct bt_buf once, often;
	bt_buf_init(&once, BT_MEM_TEXT, 1 << 30);
	bt_buf_init(&often, BT_MEM_TEXT, 1 << 30);
	struct bt_utf8_stream a = {0}, b = {0};
	bt_utf8_stream_feed(&a, bt_buf_str(bytes), bytes->len, &once);
	bt_utf8_stream_end(&a, &once);
	for (size_t i = 0; i < bytes->len; i++) bt_utf8_stream_feed(&b, bytes->data + i, 1, &often);
	bt_utf8_stream_end(&b, &often);
	require(once.len == often.len && !memcmp(bt_buf_str(&once), bt_buf_str(&often), once.len));
	require(bt_utf8_valid_prefix(bt_buf_str(&once), once.len) == once.len);
	bt_buf_free(&once);
	bt_buf_free(&often);
}

static void text(const struct bt_tokenizer *t, unsigned flags, const char *s, size_t len)
{
	struct bt_tokens tokens = {0};
	struct bt_buf back;
	bt_buf_init(&back, BT_MEM_TEXT, 1 << 30);
	require(!bt_tokenize(t, s, len, flags, &tokens, NULL));
	add_pieces(t, &tokens, &back);
	check_stream(&back);
	bool spm = !strcmp(bt_tokenizer_model(t), "llama");
	if (!spm && bt_utf8_valid_prefix(s, len) == len) require(back.len == len && !memcmp(bt_buf_str(&back), s, len));
	/* SentencePiece puts a blank in front of each stretch; look at the simple case of one. */
	if (spm && len && !memchr(s, '[', len) && !memchr(s, '<', len) && !memchr(s, 0xE2, len)) {
		size_t n = 0;
		for (size_t i = 0; i < back.len; n++) { /* a blank comes back as one, or in the bytes of U+2581 */
			bool blank = back.len - i >= 3 && !memcmp(back.data + i, "\xE2\x96\x81", 3);
			back.data[n] = blank ? ' ' : back.data[i];
			i += blank ? 3 : 1;
		}
		require(n == len + 1 && back.data[0] == ' ' && !memcmp(back.data + 1, s, len));
	}
	bt_buf_free(&back);
	bt_tokens_free(&tokens);
}

static void vocabulary(const void *data, size_t size, unsigned flags)
{
	static const char sample[] = "Hello, <|a|> w\xC3\xB6rld 123 \xFF\xED\xA0\x80\n\n  aaaaaaaabbbbbbbb";
	struct bt_gguf *g = NULL;
	struct bt_tokenizer *t = NULL;
	struct bt_tokens tokens = {0};
	struct bt_buf back;
	struct baton_error err = {0};
	bt_buf_init(&back, BT_MEM_TEXT, 1 << 30);
	if (bt_gguf_open_memory(data, size, "fuzz", &g, NULL)) return;
	enum baton_status status = bt_tokenizer_open(g, &t, &err);
	require(!status || (!t && err.status == status && status != BATON_ERR_NOMEM));
	for (const char *p = err.text; *p; p++) require(*p >= ' ' && *p <= '~');
	if (t) {
		require(!bt_tokenize(t, sample, sizeof sample - 1, flags, &tokens, NULL));
		add_pieces(t, &tokens, &back);
		bt_buf_clear(&back);
		for (uint32_t i = 0; i < bt_tokenizer_n_vocab(t); i++) {
			bt_token_piece(t, (int32_t)i, true, &back);
			bt_tokenizer_is_end(t, (int32_t)i);
		}
		require(!back.status);
	}
	bt_buf_free(&back);
	bt_tokens_free(&tokens);
	bt_tokenizer_close(&t);
	bt_gguf_close(&g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size) return 0;
	unsigned flags = data[0] & 1 ? BT_TOKENIZE_SPECIAL : 0;
	const struct bt_tokenizer *t = data[0] & 0x80 ? NULL : choose(data[0] >> 1);
	struct bt_mem_stats before, after;
	bt_mem_get_stats(&before);
	if (t) text(t, flags, (const char *)data + 1, size - 1);
	else vocabulary(data + 1, size - 1, flags | BT_TOKENIZE_BOS);
	bt_mem_get_stats(&after);
	require(before.blocks == after.blocks);
	return 0;
}
