#include "text/vocab.h"

#include "base/limits.h"

#include <string.h>

/* Steps over occupied slots that all insertions together may take. Sound vocabularies need about one for every two
 * tokens; a file made to collide would need a number that grows with the square. */
#define PROBES_PER_TOKEN 64u

static uint64_t load(const char *s, size_t n)
{
	uint64_t x = 0;
	memcpy(&x, s, n); /* n is a constant wherever this is inlined */
	return x;
}

/* The first eight bytes as a little-endian number. Overlapping loads of a fixed size are quicker than a copy. */
static uint64_t head_of(const char *s, size_t n)
{
	if (n >= 8) return load(s, 8);
	if (n >= 4) return load(s, 4) | load(s + n - 4, 4) << 8 * (n - 4);
	if (!n) return 0;
	return load(s, 1) | load(s + n / 2, 1) << 8 * (n / 2) | load(s + n - 1, 1) << 8 * (n - 1);
}

struct bt_vocab_key bt_vocab_key(const char *text, size_t len)
{
	const uint64_t k = 0x9E3779B97F4A7C15u;
	uint64_t head = head_of(text, len), h = (head ^ len * k) * k;
	if (len > 8) {
		for (size_t i = 8; i + 8 < len; i += 8) h = (h ^ h >> 29 ^ load(text + i, 8)) * k;
		h = (h ^ h >> 29 ^ load(text + len - 8, 8)) * k;
	}
	h ^= h >> 29;
	return (struct bt_vocab_key){head, (uint32_t)(h * k >> 40) << 8 | (uint32_t)(len < 255 ? len : 255)};
}

/* Is the token in the slot the text of this key? */
static bool same(const struct bt_vocab *v, const struct bt_vocab_slot *slot, struct bt_vocab_key key, const char *text,
                 size_t len)
{
	if (slot->tag != key.tag || slot->head != key.head) return false;
	struct bt_str s = v->text[slot->id];
	return len <= 8 || (s.len == len && !memcmp(s.data, text, len));
}

int32_t bt_vocab_find_key(const struct bt_vocab *v, struct bt_vocab_key key, const char *text, size_t len)
{
	for (uint32_t i = key.tag >> 8 & v->mask;; i = (i + 1) & v->mask) {
		const struct bt_vocab_slot *s = &v->slot[i];
		if (s->id < 0) return -1;
		if (same(v, s, key, text, len)) return s->id;
	}
}

int32_t bt_vocab_find(const struct bt_vocab *v, const char *text, size_t len)
{
	if (!len || len > v->longest) return -1;
	return bt_vocab_find_key(v, bt_vocab_key(text, len), text, len);
}

static enum baton_status build_table(struct bt_vocab *v, struct baton_error *err)
{
	uint32_t size = 16;
	while (size < v->n + v->n / 2) size *= 2;
	v->slot = bt_mem_alloc(BT_MEM_TEXT, size * sizeof *v->slot);
	if (!v->slot) return bt_fail_nomem(err, size * sizeof *v->slot, "the vocabulary");
	memset(v->slot, 0xFF, size * sizeof *v->slot);
	v->mask = size - 1;
	uint64_t probes = 0, most = (uint64_t)v->n * PROBES_PER_TOKEN;
	char shown[64];
	for (uint32_t id = 0; id < v->n; id++) {
		struct bt_str t = v->text[id];
		if (!t.len) continue; /* a hole: no text becomes this token */
		struct bt_vocab_key key = bt_vocab_key(t.data, t.len);
		uint32_t i = key.tag >> 8 & v->mask;
		for (; v->slot[i].id >= 0; i = (i + 1) & v->mask) {
			if (same(v, &v->slot[i], key, t.data, t.len))
				return bt_fail(err, BATON_ERR_FORMAT,
				               "tokenizer.ggml.tokens: tokens %d and %u are the same ('%s')",
				               v->slot[i].id, id, bt_str_show(t, shown, sizeof shown));
			if (++probes > most)
				return bt_fail(err, BATON_ERR_LIMIT,
				               "tokenizer.ggml.tokens: too many tokens collide in the table");
		}
		v->slot[i] = (struct bt_vocab_slot){key.head, key.tag, (int32_t)id};
	}
	return BATON_OK;
}

static enum baton_status read_types(struct bt_vocab *v, const struct bt_gguf *g, struct baton_error *err)
{
	static const char key[] = "tokenizer.ggml.token_type";
	const struct bt_gguf_kv *kv = bt_gguf_find(g, key);
	memset(v->type, BT_TOKEN_NORMAL, v->n);
	if (!kv) return BATON_OK;
	if (kv->type != BT_GGUF_ARRAY || (kv->elem_type != BT_GGUF_I32 && kv->elem_type != BT_GGUF_U32))
		return bt_fail(err, BATON_ERR_FORMAT, "%s is not a list of 32-bit integers", key);
	if (kv->count < v->n)
		return bt_fail(err, BATON_ERR_FORMAT, "%s has %llu entries for %u tokens", key,
		               (unsigned long long)kv->count, v->n);
	for (uint32_t i = 0; i < v->n; i++) {
		int64_t type = bt_gguf_int_at(kv, i);
		if (type < 0 || type > BT_TOKEN_BYTE)
			return bt_fail(err, BATON_ERR_FORMAT, "%s: token %u has type %lld; known are 1 to 6", key, i,
			               (long long)type);
		if (type) v->type[i] = (uint8_t)type; /* 0 is "undefined" */
	}
	return BATON_OK;
}

enum baton_status bt_vocab_open(struct bt_vocab *v, const struct bt_gguf *g, struct baton_error *err)
{
	*v = (struct bt_vocab){.bos = -1, .eos = -1, .unk = -1};
	static const char key[] = "tokenizer.ggml.tokens";
	const struct bt_gguf_kv *kv = bt_gguf_find(g, key);
	if (!kv) return bt_fail(err, BATON_ERR_FORMAT, "%s is missing", key);
	if (kv->type != BT_GGUF_ARRAY || kv->elem_type != BT_GGUF_STRING)
		return bt_fail(err, BATON_ERR_FORMAT, "%s is not a list of strings", key);
	if (!kv->count || kv->count > BT_LIMIT_VOCAB)
		return bt_fail(err, BATON_ERR_FORMAT, "%s has %llu tokens; 1 to %u are possible", key,
		               (unsigned long long)kv->count, BT_LIMIT_VOCAB);
	v->text = kv->strings;
	v->n = (uint32_t)kv->count;
	for (uint32_t i = 0; i < v->n; i++) {
		size_t len = v->text[i].len;
		if (len > BT_LIMIT_TOKEN_BYTES)
			return bt_fail(err, BATON_ERR_LIMIT, "%s: token %u is %zu bytes long; the limit is %u", key, i,
			               len, BT_LIMIT_TOKEN_BYTES);
		if (len > v->longest) v->longest = (uint32_t)len;
	}
	v->type = bt_mem_alloc(BT_MEM_TEXT, v->n);
	v->flags = bt_mem_zalloc(BT_MEM_TEXT, v->n);
	if (!v->type || !v->flags) return bt_fail_nomem(err, v->n, "the vocabulary");
	enum baton_status status = read_types(v, g, err);
	return status ? status : build_table(v, err);
}

void bt_vocab_free(struct bt_vocab *v)
{
	bt_mem_free(v->type);
	bt_mem_free(v->flags);
	bt_mem_free(v->slot);
	bt_mem_free(v->special);
	*v = (struct bt_vocab){0};
}
