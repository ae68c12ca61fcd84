/* The tokenizer object: bad vocabularies, special tokens, failed allocations, merging against a naive one, threads. */
#include "../gguf/make.h"

#include "base/limits.h"
#include "text/vocab.h"

#include <pthread.h>
#include <string.h>

/* A vocabulary as a GGUF file in memory; every field may be wrong. */
struct spec {
	const char *model, *pre, *name;
	const char *const *tokens; /* ends with NULL */
	const int *types;          /* one for each token; NULL: no such key */
	const float *scores;
	const char *const *merges; /* ends with NULL; NULL: no such key */
	int64_t bos, eos, unk;     /* -1: no such key */
	int add_bos, add_eos, space_prefix;
	size_t n_types; /* 0: as many as tokens */
};

static const struct spec blank = {.model = "gpt2",
                                  .pre = "gpt-2",
                                  .bos = -1,
                                  .eos = -1,
                                  .unk = -1,
                                  .add_bos = -1,
                                  .add_eos = -1,
                                  .space_prefix = -1};

static void put_strings(struct bt_buf *b, const char *key, const char *const *list)
{
	size_t n = 0;
	while (list[n]) n++;
	put_kv_array(b, key, BT_GGUF_STRING, n);
	for (size_t i = 0; i < n; i++) put_str(b, list[i]);
}

static void make(struct bt_buf *b, const struct spec *s)
{
	put_header(b, 3, 0, 0);
	uint64_t n_kv = 0;
	size_t n = 0;
	while (s->tokens && s->tokens[n]) n++;
#define KV(condition, call) \
	if (condition) {    \
		call;       \
		n_kv++;     \
	}
	KV(s->model, put_kv_str(b, "tokenizer.ggml.model", s->model))
	KV(s->pre, put_kv_str(b, "tokenizer.ggml.pre", s->pre))
	KV(s->name, put_kv_str(b, "general.name", s->name))
	KV(s->tokens, put_strings(b, "tokenizer.ggml.tokens", s->tokens))
	KV(s->merges, put_strings(b, "tokenizer.ggml.merges", s->merges))
	KV(s->bos >= 0, put_kv(b, "tokenizer.ggml.bos_token_id", BT_GGUF_U32, (uint64_t)s->bos, 4))
	KV(s->eos >= 0, put_kv(b, "tokenizer.ggml.eos_token_id", BT_GGUF_U32, (uint64_t)s->eos, 4))
	KV(s->unk >= 0, put_kv(b, "tokenizer.ggml.unknown_token_id", BT_GGUF_U32, (uint64_t)s->unk, 4))
	KV(s->add_bos >= 0, put_kv(b, "tokenizer.ggml.add_bos_token", BT_GGUF_BOOL, (uint64_t)s->add_bos, 1))
	KV(s->add_eos >= 0, put_kv(b, "tokenizer.ggml.add_eos_token", BT_GGUF_BOOL, (uint64_t)s->add_eos, 1))
	KV(s->space_prefix >= 0,
	   put_kv(b, "tokenizer.ggml.add_space_prefix", BT_GGUF_BOOL, (uint64_t)s->space_prefix, 1))
#undef KV
	if (s->types) {
		size_t n_types = s->n_types ? s->n_types : n;
		put_kv_array(b, "tokenizer.ggml.token_type", BT_GGUF_I32, n_types);
		for (size_t i = 0; i < n_types; i++) put(b, (uint32_t)s->types[i], 4);
		n_kv++;
	}
	if (s->scores) {
		put_kv_array(b, "tokenizer.ggml.scores", BT_GGUF_F32, n);
		bt_buf_add(b, s->scores, n * sizeof *s->scores);
		n_kv++;
	}
	memcpy(b->data + 16, &n_kv, sizeof n_kv);
	assert_int_equal(b->status, BATON_OK);
}

struct opened {
	struct bt_buf file;
	struct bt_gguf *g;
	struct bt_tokenizer *t;
	struct baton_error err;
};

static enum baton_status try_open(struct opened *o, const struct spec *s)
{
	*o = (struct opened){0};
	make(&o->file, s);
	assert_int_equal(bt_gguf_open_memory(o->file.data, o->file.len, "test.gguf", &o->g, &o->err), BATON_OK);
	return bt_tokenizer_open(o->g, &o->t, &o->err);
}

static void close_all(struct opened *o)
{
	bt_tokenizer_close(&o->t);
	bt_gguf_close(&o->g);
	bt_buf_free(&o->file);
}

static void open_spec(struct opened *o, const struct spec *s)
{
	if (try_open(o, s)) fail_msg("%s", o->err.text);
	assert_non_null(o->t);
}

/* want: "1 2 3". */
static void ids_are(const struct bt_tokenizer *t, const char *text, unsigned flags, const char *want)
{
	struct bt_tokens tokens = {0};
	struct baton_error err = {0};
	if (bt_tokenize(t, text, strlen(text), flags, &tokens, &err)) fail_msg("%s", err.text);
	char got[512];
	size_t n = 0;
	got[0] = '\0';
	for (size_t i = 0; i < tokens.n; i++)
		n += (size_t)snprintf(got + n, sizeof got - n, "%s%d", i ? " " : "", tokens.ids[i]);
	if (strcmp(got, want)) fail_msg("'%s' gives '%s', not '%s'", text, got, want);
	bt_tokens_free(&tokens);
}

static void refused(const struct spec *s, enum baton_status status, const char *words)
{
	struct opened o;
	size_t blocks = live_blocks();
	assert_int_equal(try_open(&o, s), status);
	assert_null(o.t);
	if (!strstr(o.err.text, words) || strstr(o.err.text, "test.gguf")) /* the caller names the file */
		fail_msg("no '%s' in: %s", words, o.err.text);
	assert_null(strchr(o.err.text, '\n'));
	close_all(&o);
	assert_int_equal(live_blocks(), blocks);
}

static void bad_vocabularies(void **state)
{
	(void)state;
	static const char *const abc[] = {"a", "b", "c", NULL}, *const none[] = {NULL},
				 *const twice[] = {"a", "b", "a", NULL};
	static const char *const merges[] = {"a b", NULL};
	static const int types[] = {1, 1, 1}, odd[] = {1, 77, 1}, negative[] = {1, -1, 1};
	static const float scores[] = {0, 0, 0};
	struct spec good = blank;
	good.tokens = abc;
	good.merges = merges;
	struct opened o;
	open_spec(&o, &good);
	close_all(&o);

	struct spec s = good;
	s.model = "unigram";
	refused(&s, BATON_ERR_UNSUPPORTED, "'unigram'");
	s = good, s.pre = "nonesuch";
	refused(&s, BATON_ERR_UNSUPPORTED, "'nonesuch'");
	s = good, s.tokens = NULL;
	refused(&s, BATON_ERR_FORMAT, "tokenizer.ggml.tokens is missing");
	s = good, s.tokens = none;
	refused(&s, BATON_ERR_FORMAT, "0 tokens");
	s = good, s.tokens = twice;
	refused(&s, BATON_ERR_FORMAT, "tokens 0 and 2 are the same ('a')");
	s = good, s.merges = NULL;
	refused(&s, BATON_ERR_FORMAT, "tokenizer.ggml.merges is missing");
	s = good, s.types = types, s.n_types = 2;
	refused(&s, BATON_ERR_FORMAT, "2 entries for 3 tokens");
	s = good, s.types = odd;
	refused(&s, BATON_ERR_FORMAT, "token 1 has type 77");
	s = good, s.types = negative;
	refused(&s, BATON_ERR_FORMAT, "token 1 has type -1");
	s = good, s.eos = 3;
	refused(&s, BATON_ERR_FORMAT, "eos_token_id is 3, but there are only 3 tokens");
	s = good, s.scores = scores, s.model = "llama", s.pre = NULL;
	open_spec(&o, &s);
	close_all(&o);

	/* No tokenizer at all is no mistake. */
	s = blank, s.model = "none";
	assert_int_equal(try_open(&o, &s), BATON_OK);
	assert_null(o.t);
	close_all(&o);
	s.model = NULL;
	assert_int_equal(try_open(&o, &s), BATON_OK);
	assert_null(o.t);
	close_all(&o);
	/* 0xFFFFFFFF is how converters write "no such token". */
	s = good, s.bos = UINT32_MAX, s.add_bos = 1;
	open_spec(&o, &s);
	assert_int_equal(bt_tokenizer_bos(o.t), -1);
	assert_false(bt_tokenizer_add_bos(o.t));
	close_all(&o);
	/* A missing name means the default pre-tokenizer. */
	s = good, s.pre = NULL;
	open_spec(&o, &s);
	assert_string_equal(bt_tokenizer_pre(o.t), "default");
	close_all(&o);
}

/* A file made so that its tokens all want one place in the table must not cost time that grows with the square. */
static void colliding_tokens(void **state)
{
	(void)state;
	enum { N = 2000, MASK = 4095 }; /* the table has 4096 slots then */
	static char text[N][12];
	static const char *tokens[N + 1];
	unsigned n = 0;
	for (unsigned i = 0; n < N; i++) {
		int len = snprintf(text[n], sizeof text[n], "%x", i);
		if ((bt_vocab_key(text[n], (size_t)len).tag >> 8 & MASK) == 77) {
			tokens[n] = text[n];
			n++;
		}
	}
	struct spec s = blank;
	static const char *const none[] = {NULL};
	s.tokens = tokens, s.merges = none;
	refused(&s, BATON_ERR_LIMIT, "collide");
	for (unsigned i = 0; i < N; i++) snprintf(text[i], sizeof text[i], "%x", i);
	struct opened o;
	open_spec(&o, &s);
	close_all(&o);
}

static void malformed_files(void **state)
{
	(void)state;
	static const struct {
		const char *file;
		bool open; /* expected */
	} files[] = {{"00-sound", true},
	             {"40-token-types-too-short", false},
	             {"41-fewer-tokens-than-embedding-rows", false},
	             {"42-merge-without-blank", true},
	             {"43-tokens-wrong-type", false}};
	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		char name[128], path[512];
		snprintf(name, sizeof name, "malformed/%s.gguf", files[i].file);
		struct bt_gguf *g;
		struct bt_tokenizer *t;
		struct baton_error err = {0};
		size_t blocks = live_blocks();
		assert_int_equal(bt_gguf_open(data_path(path, sizeof path, name), NULL, &g, &err), BATON_OK);
		enum baton_status status = bt_tokenizer_open(g, &t, &err);
		assert_int_equal(status, files[i].open ? BATON_OK : BATON_ERR_FORMAT);
		assert_int_equal(t != NULL, files[i].open);
		if (status) assert_non_null(strstr(err.text, "tokenizer.ggml."));
		if (t) {
			struct bt_tokens tokens = {0};
			assert_int_equal(bt_tokenize(t, "abcd xyz", 8, 0, &tokens, &err), BATON_OK);
			bt_tokens_free(&tokens);
		}
		bt_tokenizer_close(&t);
		bt_gguf_close(&g);
		assert_int_equal(live_blocks(), blocks);
	}
}

static void special_tokens(void **state)
{
	(void)state;
	static const char *const tokens[] = {"a",    "b", "<", ">", "<a>", "<a><b>",     "ab",   "<s>", "[x]",
	                                     "[xx]", "[", "x", "]", "s",   "<|im_end|>", "</s>", "/",   NULL};
	enum { LA = 4, LALB = 5, AB = 6, S = 7 };
	static const int types[] = {1, 1, 1, 1, 3, 3, 1, 3, 4, 4, 1, 1, 1, 1, 1, 1, 1};
	static const char *const merges[] = {"a b", NULL};
	struct spec s = blank;
	s.tokens = tokens, s.types = types, s.merges = merges, s.bos = S, s.eos = LA;
	struct opened o;
	open_spec(&o, &s);
	const unsigned all = BT_TOKENIZE_SPECIAL;
	ids_are(o.t, "", 0, "");
	ids_are(o.t, "", all, "");
	ids_are(o.t, "<a>ab", all, "4 6");
	ids_are(o.t, "<a>ab", 0, "2 0 3 6"); /* control tokens only when asked for */
	ids_are(o.t, "<a><b>", all, "5");    /* the longest */
	ids_are(o.t, "<a><b", all, "4 2 1"); /* the longest that is whole */
	ids_are(o.t, "[xx][x]", 0, "9 8");   /* user-defined tokens always */
	ids_are(o.t, "a[x]b[x", all, "0 8 1 10 11");
	ids_are(o.t, "a[x]b", 0, "0 8 1");        /* and nothing is merged over them */
	ids_are(o.t, "ab", BT_TOKENIZE_BOS, "6"); /* the file does not want BOS */
	assert_true(bt_tokenizer_is_end(o.t, LA));
	assert_true(bt_tokenizer_is_end(o.t, 14)); /* <|im_end|>, although it is called an ordinary token */
	assert_int_equal(bt_tokenizer_type(o.t, 14), BT_TOKEN_CONTROL);
	assert_false(bt_tokenizer_is_end(o.t, 15)); /* </s> as ordinary text */
	assert_int_equal(bt_tokenizer_type(o.t, 15), BT_TOKEN_NORMAL);
	assert_false(bt_tokenizer_is_end(o.t, S));
	assert_false(bt_tokenizer_is_end(o.t, -1));
	assert_false(bt_tokenizer_is_end(o.t, 1000));
	assert_int_equal(bt_tokenizer_find(o.t, "<a><b>", 6), LALB);
	assert_int_equal(bt_tokenizer_find(o.t, "zz", 2), -1);
	assert_int_equal(bt_tokenizer_find(o.t, "", 0), -1);
	assert_int_equal(bt_tokenizer_text(o.t, AB).len, 2);
	close_all(&o);

	s.add_bos = s.add_eos = 1;
	open_spec(&o, &s);
	ids_are(o.t, "ab", BT_TOKENIZE_BOS, "7 6 4");
	ids_are(o.t, "", BT_TOKENIZE_BOS, "7 4");
	ids_are(o.t, "ab", 0, "6");
	close_all(&o);

	/* Phi-3 drops blanks behind its control tokens, except behind <s>. */
	s.name = "Phi-3 mini";
	open_spec(&o, &s);
	ids_are(o.t, "<a> \n a<s>a[x] a", all, "4 0 7 0 8 0");
	close_all(&o);
}

static void pieces(void **state)
{
	(void)state;
	static const char *const tokens[] = {"\xC4\xA0"
	                                     "a",
	                                     "<c>",
	                                     "[u]",
	                                     "<0x0A>",
	                                     "\xE2\x96\x81w",
	                                     "\xE4\xBD\xA0",
	                                     "u",
	                                     "<0xZZ>",
	                                     NULL};
	static const int types[] = {1, 3, 4, 6, 1, 1, 5, 6};
	static const char *const none[] = {NULL};
	static const char *const bpe[] = {" a", "", "[u]", "\n", "\xE2\x96\x81w", "\xE4\xBD\xA0", "", "<0xZZ>"};
	struct spec s = blank;
	s.tokens = tokens, s.types = types, s.merges = none;
	struct bt_buf out;
	bt_buf_init(&out, BT_MEM_TEXT, 1000);
	for (int spm = 0; spm < 2; spm++) {
		struct opened o;
		s.model = spm ? "llama" : "gpt2";
		open_spec(&o, &s);
		for (int id = -1; id < 9; id++) {
			bt_buf_clear(&out);
			bt_token_piece(o.t, id, false, &out);
			const char *want = id < 0 || id > 7 ? ""
			                   : spm && id == 0 ? "\xC4\xA0"
			                                      "a"
			                   : spm && id == 4 ? " w"
			                                    : bpe[id];
			assert_string_equal(bt_buf_str(&out), want);
		}
		bt_buf_clear(&out);
		bt_token_piece(o.t, 1, true, &out);
		assert_string_equal(bt_buf_str(&out), "<c>");
		close_all(&o);
	}
	bt_buf_free(&out);
}

static void sentencepiece(void **state)
{
	(void)state;
	static const char *const tokens[] = {"<unk>",
	                                     "<s>",
	                                     "</s>",
	                                     "\xE2\x96\x81",
	                                     "a",
	                                     "b",
	                                     "ab",
	                                     "\xE2\x96\x81"
	                                     "a",
	                                     "\xE2\x96\x81"
	                                     "ab",
	                                     "<0xC3>",
	                                     "<0xA9>",
	                                     "ba",
	                                     NULL};
	static const int types[] = {2, 3, 3, 1, 1, 1, 1, 1, 1, 6, 6, 1};
	static const float scores[] = {0, 0, 0, -9, -8, -8, -3, -2, -5, 0, 0, -1};
	struct spec s = blank;
	s.model = "llama", s.tokens = tokens, s.types = types, s.scores = scores;
	struct opened o;
	open_spec(&o, &s);
	assert_int_equal(bt_tokenizer_bos(o.t), 1); /* SentencePiece's defaults */
	assert_int_equal(bt_tokenizer_eos(o.t), 2);
	assert_true(bt_tokenizer_adds_space(o.t));
	ids_are(o.t, "ab", 0, "8"); /* blank-a (-2) goes before ab (-3), then blank-ab */
	ids_are(o.t, "ab", BT_TOKENIZE_BOS, "1 8");
	ids_are(o.t, "aba", 0, "7 11"); /* ba (-1) first */
	ids_are(o.t, "a a", 0, "7 7");
	ids_are(o.t, "\xC3\xA9", 0, "3 9 10"); /* in bytes */
	ids_are(o.t, "z", 0, "3 0");           /* neither: unknown */
	ids_are(o.t, "", BT_TOKENIZE_BOS, "1");
	ids_are(o.t, "<s>a", BT_TOKENIZE_SPECIAL, "1 7");
	close_all(&o);
	s.space_prefix = 0;
	open_spec(&o, &s);
	ids_are(o.t, "ab", 0, "6");
	ids_are(o.t, "a a", 0, "4 7");
	close_all(&o);
}

/* The tokenizer of the llama test model: 509 ordinary tokens, llama-bpe. */
static void open_fixture(struct opened *o)
{
	*o = (struct opened){0};
	char path[512];
	data_path(path, sizeof path, "models/llama-plain.Q8_0.gguf");
	if (bt_gguf_open(path, &(struct bt_gguf_params){.no_data = true}, &o->g, &o->err)) fail_msg("%s", o->err.text);
	if (bt_tokenizer_open(o->g, &o->t, &o->err)) fail_msg("%s", o->err.text);
}

static uint32_t seed = 3;

static uint32_t next(uint32_t below)
{
	seed = seed * 1664525 + 1013904223;
	return (uint32_t)((uint64_t)seed * below >> 32);
}

/* Rank of the merge of two tokens by looking through the list, or the number of merges. */
static uint64_t naive_rank(const struct bt_tokenizer *t, const struct bt_gguf_kv *merges, int32_t left, int32_t right)
{
	char text[128];
	struct bt_str l = bt_tokenizer_text(t, left), r = bt_tokenizer_text(t, right);
	int n = snprintf(text, sizeof text, "%.*s %.*s", (int)l.len, l.data, (int)r.len, r.data);
	for (uint64_t i = 0; i < merges->count; i++)
		if (merges->strings[i].len == (size_t)n && !memcmp(merges->strings[i].data, text, (size_t)n)) return i;
	return merges->count;
}

/* BPE as the paper has it: scan for the best pair, join it, begin again. */
static size_t naive(const struct bt_tokenizer *t, const struct bt_gguf_kv *merges, int32_t *ids, size_t n)
{
	for (;;) {
		uint64_t best = merges->count;
		size_t at = 0;
		for (size_t i = 0; i + 1 < n; i++) {
			uint64_t rank = naive_rank(t, merges, ids[i], ids[i + 1]);
			if (rank < best) {
				best = rank;
				at = i;
			}
		}
		if (best == merges->count) return n;
		char text[128];
		struct bt_str l = bt_tokenizer_text(t, ids[at]), r = bt_tokenizer_text(t, ids[at + 1]);
		int len = snprintf(text, sizeof text, "%.*s%.*s", (int)l.len, l.data, (int)r.len, r.data);
		ids[at] = bt_tokenizer_find(t, text, (size_t)len);
		memmove(ids + at + 1, ids + at + 2, (n - at - 2) * sizeof *ids);
		n--;
	}
}

static void merging(void **state)
{
	(void)state;
	struct opened o;
	open_fixture(&o);
	const struct bt_gguf_kv *merges = bt_gguf_find(o.g, "tokenizer.ggml.merges");
	assert_non_null(merges);
	size_t joined = 0;
	for (unsigned round = 0; round < 400; round++) {
		/* Letters only: one piece for the pre-tokenizer, in the letters that occur most. */
		char text[64];
		int32_t want[64];
		size_t n = 1 + next(sizeof text);
		for (size_t i = 0; i < n; i++) {
			text[i] = "etaoinshrdlu"[next(12)];
			want[i] = bt_tokenizer_find(o.t, &text[i], 1);
		}
		size_t n_want = naive(o.t, merges, want, n);
		struct bt_tokens tokens = {0};
		assert_int_equal(bt_tokenize(o.t, text, n, 0, &tokens, NULL), BATON_OK);
		/* A text that is itself a token is taken whole by this pre-tokenizer, which merging also finds. */
		assert_int_equal(tokens.n, n_want);
		assert_memory_equal(tokens.ids, want, n_want * sizeof *want);
		joined += n - n_want;
		bt_tokens_free(&tokens);
	}
	assert_true(joined > 2000);
	close_all(&o);
}

/* Any text that is UTF-8 comes back whole from its tokens. */
static void round_trip(void **state)
{
	(void)state;
	struct opened o;
	open_fixture(&o);
	struct bt_buf back;
	bt_buf_init(&back, BT_MEM_TEXT, 1 << 20);
	struct bt_tokens tokens = {0};
	for (unsigned round = 0; round < 2000; round++) {
		struct bt_buf text;
		bt_buf_init(&text, BT_MEM_TEXT, 4096);
		for (uint32_t n = next(60); n; n--) {
			uint32_t kind = next(4), cp = kind == 0   ? next(0x110000)
			                              : kind == 1 ? next(0x3000)
			                                          : next(0x80);
			bt_buf_add_codepoint(&text, cp);
		}
		tokens.n = 0;
		assert_int_equal(bt_tokenize(o.t, bt_buf_str(&text), text.len, next(4), &tokens, NULL), BATON_OK);
		bt_buf_clear(&back);
		for (size_t i = 0; i < tokens.n; i++) bt_token_piece(o.t, tokens.ids[i], true, &back);
		assert_int_equal(back.len, text.len);
		assert_memory_equal(bt_buf_str(&back), bt_buf_str(&text), text.len);
		bt_buf_free(&text);
	}
	bt_tokens_free(&tokens);
	bt_buf_free(&back);
	close_all(&o);
}

static void limits(void **state)
{
	(void)state;
	struct opened o;
	open_fixture(&o);
	struct bt_tokens tokens = {0};
	struct baton_error err = {0};
	assert_int_equal(bt_tokenize(o.t, "abc", 3, 0, &tokens, &err), BATON_OK);
	size_t n = tokens.n;
	assert_int_equal(bt_tokenize(o.t, "abc", BT_LIMIT_TEXT + 1, 0, &tokens, &err), BATON_ERR_LIMIT);
	assert_int_equal(tokens.n, n); /* as it was */
	bt_tokens_free(&tokens);
	close_all(&o);
}

/* Open, tokenize and read back with every allocation failing in turn: no crash, no leak, a status each time. */
static void failed_allocations(void **state)
{
	(void)state;
	static const char text[] = "Hello <|im_end|> w\xC3\xB6rld 123 \xFF\xED\xA0\x80 etaoinetaoinetaoinetaoinetaoin";
	struct opened o;
	open_fixture(&o);
	bt_tokenizer_close(&o.t);
	size_t blocks = live_blocks(), failures = 0, harmless = 0, n_tokens = 0;
	struct bt_mem_stats stats;
	for (size_t k = 1;; k++) {
		bt_mem_fail_at(k);
		struct bt_tokenizer *t = NULL;
		struct bt_tokens tokens = {0};
		struct baton_error err = {0};
		enum baton_status status = bt_tokenizer_open(o.g, &t, &err);
		assert_int_equal(!status, t != NULL);
		if (!status) status = bt_tokenize(t, text, sizeof text - 1, BT_TOKENIZE_SPECIAL, &tokens, &err);
		if (status) assert_int_equal(tokens.n, 0);
		bt_mem_get_stats(&stats);
		bt_mem_fail_at(0);
		bool whole = !status && stats.allocs < k; /* nothing failed */
		if (!status && n_tokens) assert_int_equal(tokens.n, n_tokens);
		if (!status) n_tokens = tokens.n;
		bt_tokens_free(&tokens);
		bt_tokenizer_close(&t);
		assert_int_equal(live_blocks(), blocks);
		if (whole) break;
		if (!status) { /* machine code for an expression could not be made: it is interpreted */
			harmless++;
			continue;
		}
		assert_int_equal(status, BATON_ERR_NOMEM);
		assert_true(err.text[0]);
		failures++;
	}
	assert_true(failures > 15);
	assert_true(harmless < failures);
	close_all(&o);
}

static void *tokenize_often(void *arg)
{
	const struct bt_tokenizer *t = arg;
	static const char text[] = "The same text, at the same time: d\xC3\xA9j\xC3\xA0 vu <|im_start|>\n\n";
	struct bt_tokens first = {0}, again = {0};
	bool same = !bt_tokenize(t, text, sizeof text - 1, BT_TOKENIZE_SPECIAL, &first, NULL);
	for (unsigned i = 0; same && i < 300; i++) {
		again.n = 0;
		same = !bt_tokenize(t, text, sizeof text - 1, BT_TOKENIZE_SPECIAL, &again, NULL) &&
		       again.n == first.n && !memcmp(again.ids, first.ids, first.n * sizeof *first.ids);
	}
	bt_tokens_free(&first);
	bt_tokens_free(&again);
	return same ? arg : NULL;
}

static void threads(void **state)
{
	(void)state;
	struct opened o;
	open_fixture(&o);
	pthread_t thread[4];
	for (size_t i = 0; i < 4; i++) assert_int_equal(pthread_create(&thread[i], NULL, tokenize_often, o.t), 0);
	for (size_t i = 0; i < 4; i++) {
		void *result;
		pthread_join(thread[i], &result);
		assert_non_null(result);
	}
	close_all(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_vocabularies),
		cmocka_unit_test(colliding_tokens),
		cmocka_unit_test(malformed_files),
		cmocka_unit_test(special_tokens),
		cmocka_unit_test(pieces),
		cmocka_unit_test(sentencepiece),
		cmocka_unit_test(merging),
		cmocka_unit_test(round_trip),
		cmocka_unit_test(failed_allocations),
		cmocka_unit_test(limits),
		cmocka_unit_test(threads),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
