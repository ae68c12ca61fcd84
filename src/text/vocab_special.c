/* vocab_special.c: the tokens that mean something: begin and end, and those to be found in texts. */
#include "text/vocab.h"

#include "base/limits.h"

#include <stdlib.h>
#include <string.h>

/* Tokens that end an answer, by their spelling; files often name only one of several. Source of the list: llama.cpp's
 * src/llama-vocab.cpp (special_eog_ids). `sure`: nothing else is ever spelled like this, so that a file which calls it an
 * ordinary token is wrong about its type. The others, `</s>` for one, occur as ordinary text in some vocabularies
 * (Qwen's) and count only when the file calls them special. */
static const struct {
	const char *text;
	bool sure;
} ends[] = {
	{"<|im_end|>", true},
	{"<|endoftext|>", true},
	{"<|end_of_text|>", true},
	{"<|eot_id|>", true},
	{"<|eom_id|>", true},
	{"<|end|>", true},
	{"<|return|>", true},
	{"<|call|>", true},
	{"<|calls|>", true},
	{"<|flush|>", true},
	{"<end_of_turn>", true},
	{"<end_of_utterance>", true},
	{"<｜end▁of▁sentence｜>", true},
	{"</s>", false},
	{"<eos>", false},
	{"<EOT>", false},
	{"_<EOT>", false},
	{"[EOT]", false},
	{"[EOS]", false},
	{"[e~[", false},
	/* Code models write the next file of a repository when they are done with this one. */
	{"<|fim_pad|>", false},
	{"<fim-pad>", false},
	{"<fim_pad>", false},
	{"<PAD>", false},
	{"[PAD]", false},
	{"<|fim_repo|>", false},
	{"<|repo_name|>", false},
	{"<fim-repo>", false},
	{"<REPO>", false},
	{"<reponame>", false},
	{"<|file_sep|>", false},
};

static bool is_special(uint8_t type)
{
	return type == BT_TOKEN_CONTROL || type == BT_TOKEN_UNKNOWN || type == BT_TOKEN_USER;
}

/* An id, or -1 when the key is absent or holds the 0xFFFFFFFF by which converters say "none". */
static enum baton_status get_id(const struct bt_vocab *v, const struct bt_gguf *g, const char *key, int32_t dflt,
                                int32_t *out, struct baton_error *err)
{
	uint32_t id;
	bool found;
	*out = -1;
	enum baton_status status = bt_gguf_get_u32(g, key, UINT32_MAX, &id, &found, err);
	if (status) return status;
	if (!found && dflt >= 0 && (uint32_t)dflt < v->n) id = (uint32_t)dflt;
	if (id == UINT32_MAX) return BATON_OK;
	if (id >= v->n) return bt_fail(err, BATON_ERR_FORMAT, "%s is %u, but there are only %u tokens", key, id, v->n);
	*out = (int32_t)id;
	return BATON_OK;
}

static int32_t find(const struct bt_vocab *v, const char *text)
{
	return bt_vocab_find(v, text, strlen(text));
}

static bool ends_answer(const struct bt_vocab *v, const char *text)
{
	int32_t id = find(v, text);
	return id >= 0 && v->flags[id] & BT_VOCAB_END;
}

static enum baton_status find_ends(struct bt_vocab *v, const struct bt_gguf *g, struct baton_error *err)
{
	static const char *const keys[] = {"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id",
	                                   "tokenizer.ggml.fim_pad_token_id", "tokenizer.ggml.fim_rep_token_id",
	                                   "tokenizer.ggml.fim_sep_token_id"};
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
		int32_t id;
		enum baton_status status = get_id(v, g, keys[i], -1, &id, err);
		if (status) return status;
		if (id >= 0) v->flags[id] |= BT_VOCAB_END;
	}
	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
		int32_t id = find(v, ends[i].text);
		if (id < 0 || (!ends[i].sure && !is_special(v->type[id]))) continue;
		v->flags[id] |= BT_VOCAB_END;
		if (!is_special(v->type[id])) v->type[id] = BT_TOKEN_CONTROL;
	}
	/* Where <|return|> and <|call|> end a turn (gpt-oss; Solar Open says <|calls|> and <|flush|>), <|end|> ends only one of
	 * the answer's parts. */
	bool call = ends_answer(v, "<|call|>") || ends_answer(v, "<|calls|>");
	if (call && (ends_answer(v, "<|return|>") || ends_answer(v, "<|flush|>")) && ends_answer(v, "<|end|>"))
		v->flags[find(v, "<|end|>")] &= (uint8_t)~BT_VOCAB_END;
	if (v->eos >= 0) v->flags[v->eos] |= BT_VOCAB_END;
	return BATON_OK;
}

/* Phi-3's tokenizer.json marks its special tokens "rstrip", a few excepted; GGUF has no field for that, so the model's
 * name has to tell (llama.cpp's src/llama-vocab.cpp does the same). */
static void mark_rstrip(struct bt_vocab *v, const struct bt_gguf *g)
{
	const struct bt_gguf_kv *kv = bt_gguf_find(g, "general.name");
	if (!kv || kv->type != BT_GGUF_STRING) return;
	struct bt_str name = bt_gguf_str_at(kv, 0);
	char lower[128];
	size_t n = name.len < sizeof lower ? name.len : sizeof lower - 1;
	for (size_t i = 0; i < n; i++)
		lower[i] = name.data[i] >= 'A' && name.data[i] <= 'Z' ? (char)(name.data[i] + 32) : name.data[i];
	lower[n] = '\0';
	if (!strstr(lower, "phi-3") && !strstr(lower, "phi3")) return;
	for (uint32_t i = 0; i < v->n_special; i++) v->flags[v->special[i]] |= BT_VOCAB_RSTRIP;
	static const char *const not [] = {"<unk>", "<s>", "<|endoftext|>"};
	for (size_t i = 0; i < sizeof not / sizeof *not ; i++)
		if (find(v, not [i]) >= 0) v->flags[find(v, not [i])] &= (uint8_t)~BT_VOCAB_RSTRIP;
}

static int by_text(const void *a, const void *b, void *user)
{
	const struct bt_vocab *v = user;
	struct bt_str x = v->text[*(const int32_t *)a], y = v->text[*(const int32_t *)b];
	int c = memcmp(x.data, y.data, x.len < y.len ? x.len : y.len);
	return c ? c : (x.len > y.len) - (x.len < y.len);
}

static unsigned char byte_at(const struct bt_vocab *v, uint32_t i, size_t depth)
{
	return (unsigned char)v->text[v->special[i]].data[depth];
}

static enum baton_status list_specials(struct bt_vocab *v, struct baton_error *err)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < v->n; i++) n += is_special(v->type[i]) && v->text[i].len;
	v->special = bt_mem_array(BT_MEM_TEXT, n, sizeof *v->special);
	if (!v->special) return bt_fail_nomem(err, n * sizeof *v->special, "the special tokens");
	for (uint32_t i = 0; i < v->n; i++) {
		if (!is_special(v->type[i]) || !v->text[i].len) continue;
		if (v->text[i].len > BT_LIMIT_SPECIAL_TOKEN)
			return bt_fail(err, BATON_ERR_LIMIT, "special token %u is %zu bytes long; the limit is %u", i,
			               v->text[i].len, BT_LIMIT_SPECIAL_TOKEN);
		v->special[v->n_special++] = (int32_t)i;
		v->n_user += v->type[i] == BT_TOKEN_USER;
	}
	qsort_r(v->special, n, sizeof *v->special, by_text, v);
	for (uint32_t i = 0, b = 0; b < 257; b++) {
		while (i < n && byte_at(v, i, 0) < b) i++;
		v->first[b] = i;
	}
	return BATON_OK;
}

enum baton_status bt_vocab_open_specials(struct bt_vocab *v, const struct bt_gguf *g, bool spm, bool add_bos,
                                         struct baton_error *err)
{
	/* SentencePiece's own defaults are 0, 1, 2. */
	enum baton_status status = get_id(v, g, "tokenizer.ggml.bos_token_id", spm ? 1 : -1, &v->bos, err);
	if (!status) status = get_id(v, g, "tokenizer.ggml.eos_token_id", spm ? 2 : -1, &v->eos, err);
	if (!status) status = get_id(v, g, "tokenizer.ggml.unknown_token_id", spm ? 0 : -1, &v->unk, err);
	if (!status) status = bt_gguf_get_bool(g, "tokenizer.ggml.add_bos_token", add_bos, &v->add_bos, NULL, err);
	if (!status) status = bt_gguf_get_bool(g, "tokenizer.ggml.add_eos_token", false, &v->add_eos, NULL, err);
	if (!status) status = find_ends(v, g, err);
	if (!status) status = list_specials(v, err);
	if (status) return status;
	v->add_bos = v->add_bos && v->bos >= 0;
	v->add_eos = v->add_eos && v->eos >= 0;
	mark_rstrip(v, g);
	return BATON_OK;
}

/* First of special[lo .. hi) whose byte at depth is at least b; all of them are longer than depth. */
static uint32_t lower_bound(const struct bt_vocab *v, uint32_t lo, uint32_t hi, size_t depth, unsigned b)
{
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (byte_at(v, mid, depth) < b) lo = mid + 1;
		else hi = mid;
	}
	return lo;
}

int32_t bt_vocab_special_at(const struct bt_vocab *v, const char *text, size_t len, size_t pos, bool all)
{
	unsigned b = (unsigned char)text[pos];
	uint32_t lo = v->first[b], hi = v->first[b + 1];
	int32_t best = -1;
	/* special[lo .. hi) begin with text[pos .. pos + depth). */
	for (size_t depth = 1; lo < hi; depth++) {
		int32_t id = v->special[lo];
		if (v->text[id].len == depth) { /* the shortest stands first */
			if (all || v->type[id] == BT_TOKEN_USER) best = id;
			lo++;
		}
		if (pos + depth >= len) break;
		b = (unsigned char)text[pos + depth];
		lo = lower_bound(v, lo, hi, depth, b);
		hi = lower_bound(v, lo, hi, depth, b + 1);
	}
	return best;
}
