#include "text/bpe.h"

#include "base/limits.h"
#include "text/utf8.h"

#include <string.h>

/* As in vocab.c. */
#define PROBES_PER_MERGE 64u

static uint32_t slot_of(const struct bt_bpe *b, int32_t left, int32_t right)
{
	uint64_t h = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9E3779B97F4A7C15u;
	return (uint32_t)(h >> 32 ^ h >> 11) & b->mask;
}

/* A merge on its way into the table. Merges are taken in batches and each step is done for the whole batch, so that
 * waiting for memory overlaps: reading a vocabulary of 150,000 tokens takes half the time. */
struct pending {
	struct bt_str left, right;
	struct bt_vocab_key left_key, right_key;
	uint32_t rank;
	struct bt_bpe_pair pair; /* joined -1: not to be kept */
};
#define BATCH 32

/* Cut a merge at its blank. The left half may itself begin with a blank. */
static bool parse(const struct bt_vocab *v, struct bt_str merge, uint32_t rank, struct pending *p)
{
	const char *blank = merge.len > 2 ? memchr(merge.data + 1, ' ', merge.len - 1) : NULL;
	if (!blank || merge.len - 1 > v->longest) return false;
	p->left = (struct bt_str){merge.data, (size_t)(blank - merge.data)};
	p->right = (struct bt_str){blank + 1, merge.len - 1 - p->left.len};
	if (!p->right.len) return false;
	p->rank = rank;
	p->left_key = bt_vocab_key(p->left.data, p->left.len);
	p->right_key = bt_vocab_key(p->right.data, p->right.len);
	bt_vocab_prefetch(v, p->left_key);
	bt_vocab_prefetch(v, p->right_key);
	return true;
}

/* The token that both halves make. Most vocabularies list tokens in the order of the merges that make them: so the one
 * behind the last is tried first. scratch holds v->longest bytes. */
static int32_t find_joined(const struct bt_vocab *v, const struct pending *p, int32_t last, char *scratch)
{
	size_t n = p->left.len, len = n + p->right.len;
	uint32_t guess = (uint32_t)(last + 1);
	if (guess < v->n && v->text[guess].len == len && !memcmp(v->text[guess].data, p->left.data, n) &&
	    !memcmp(v->text[guess].data + n, p->right.data, p->right.len))
		return (int32_t)guess;
	memcpy(scratch, p->left.data, n);
	memcpy(scratch + n, p->right.data, p->right.len);
	return bt_vocab_find(v, scratch, len);
}

static void resolve(const struct bt_bpe *b, struct pending *p, int32_t *last, char *scratch)
{
	const struct bt_vocab *v = b->vocab;
	int32_t joined = find_joined(v, p, *last, scratch);
	int32_t left = bt_vocab_find_key(v, p->left_key, p->left.data, p->left.len);
	int32_t right = bt_vocab_find_key(v, p->right_key, p->right.data, p->right.len);
	*last = joined;
	p->pair = (struct bt_bpe_pair){left, right, left < 0 || right < 0 ? -1 : joined, p->rank};
	if (p->pair.joined >= 0) __builtin_prefetch(&b->pair[slot_of(b, left, right)], 1);
}

/* false when there were more steps over occupied slots than *budget. */
static bool insert(struct bt_bpe *b, const struct bt_bpe_pair *pair, uint64_t *budget)
{
	uint32_t i = slot_of(b, pair->left, pair->right);
	for (; b->pair[i].left >= 0; i = (i + 1) & b->mask) {
		if (b->pair[i].left == pair->left && b->pair[i].right == pair->right)
			return true; /* the first counts */
		if (!(*budget)--) return false;
	}
	b->pair[i] = *pair;
	return true;
}

static enum baton_status add_merges(struct bt_bpe *b, const struct bt_gguf_kv *kv, char *scratch,
                                    struct baton_error *err)
{
	uint64_t budget = kv->count * PROBES_PER_MERGE;
	struct pending batch[BATCH];
	int32_t last = -1;
	for (uint64_t rank = 0; rank < kv->count;) {
		unsigned n = 0;
		for (; n < BATCH && rank < kv->count; rank++)
			n += parse(b->vocab, kv->strings[rank], (uint32_t)rank, &batch[n]);
		for (unsigned i = 0; i < n; i++) resolve(b, &batch[i], &last, scratch);
		for (unsigned i = 0; i < n; i++)
			if (batch[i].pair.joined >= 0 && !insert(b, &batch[i].pair, &budget))
				return bt_fail(err, BATON_ERR_LIMIT,
				               "tokenizer.ggml.merges: too many merges collide in the table");
	}
	return BATON_OK;
}

enum baton_status bt_bpe_open(struct bt_bpe *b, const struct bt_vocab *v, const struct bt_gguf *g, bool whole,
                              struct baton_error *err)
{
	*b = (struct bt_bpe){.vocab = v, .whole = whole};
	static const char key[] = "tokenizer.ggml.merges";
	const struct bt_gguf_kv *kv = bt_gguf_find(g, key);
	if (!kv) return bt_fail(err, BATON_ERR_FORMAT, "%s is missing", key);
	if (kv->type != BT_GGUF_ARRAY || kv->elem_type != BT_GGUF_STRING)
		return bt_fail(err, BATON_ERR_FORMAT, "%s is not a list of strings", key);
	if (kv->count > BT_LIMIT_MERGES)
		return bt_fail(err, BATON_ERR_LIMIT, "%s has %llu entries; the limit is %u", key,
		               (unsigned long long)kv->count, BT_LIMIT_MERGES);
	uint32_t size = 16;
	while (size < kv->count + kv->count / 2) size *= 2;
	b->pair = bt_mem_alloc(BT_MEM_TEXT, size * sizeof *b->pair);
	char *scratch = bt_mem_alloc(BT_MEM_TEXT, v->longest);
	enum baton_status status = BATON_OK;
	if (!b->pair || !scratch) {
		status = bt_fail_nomem(err, size * sizeof *b->pair, "the merges of the tokenizer");
		goto done;
	}
	memset(b->pair, 0xFF, size * sizeof *b->pair);
	b->mask = size - 1;
	for (unsigned i = 0; i < 256; i++) {
		char letter[4];
		unsigned n = bt_utf8_encode(bt_byte_letter((unsigned char)i), letter);
		b->byte[i] = bt_vocab_find(v, letter, n);
	}
	status = add_merges(b, kv, scratch, err);
done:
	bt_mem_free(scratch);
	return status;
}

void bt_bpe_free(struct bt_bpe *b)
{
	bt_mem_free(b->pair);
	*b = (struct bt_bpe){0};
}

static int32_t join(const void *user, const struct bt_symbol *left, const struct bt_symbol *right, uint32_t *key)
{
	const struct bt_bpe *b = user;
	if (left->id < 0 || right->id < 0) return -1;
	for (uint32_t i = slot_of(b, left->id, right->id);; i = (i + 1) & b->mask) {
		const struct bt_bpe_pair *p = &b->pair[i];
		if (p->left < 0) return -1;
		if (p->left != left->id || p->right != right->id) continue;
		*key = p->rank;
		return p->joined;
	}
}

/* The token that the whole piece is, -1 when it is none. */
static int32_t whole(const struct bt_bpe *b, const char *piece, size_t len)
{
	char letters[512];
	if (len > b->vocab->longest || len > sizeof letters / 2) return -1;
	size_t n = 0;
	for (size_t i = 0; i < len; i++) n += bt_utf8_encode(bt_byte_letter((unsigned char)piece[i]), letters + n);
	return bt_vocab_find(b->vocab, letters, n);
}

enum baton_status bt_bpe_encode(const struct bt_bpe *b, struct bt_merge *work, const char *piece, size_t len,
                                struct bt_tokens *out, struct baton_error *err)
{
	int32_t id = b->whole ? whole(b, piece, len) : -1;
	if (id >= 0) return bt_tokens_add(out, id) ? BATON_OK : bt_fail_nomem(err, len, "the tokens of a text");
	work->n = 0;
	for (size_t i = 0; i < len; i++)
		if (!bt_merge_add(work, (uint32_t)i, 1, b->byte[(unsigned char)piece[i]])) goto no_memory;
	if (!bt_merge_run(work, join, b)) goto no_memory;
	for (uint32_t i = 0; i != BT_MERGE_NONE; i = work->symbol[i].next) {
		id = work->symbol[i].id;
		if (id >= 0 && !bt_tokens_add(out, id)) goto no_memory;
	}
	return BATON_OK;
no_memory:
	return bt_fail_nomem(err, len * sizeof *work->symbol, "the tokens of a text");
}
