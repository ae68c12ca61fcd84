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

/* Text of a merge without its blank into joined[0 .. v->longest]; false when it is too long to be a token or has no
 * blank. *left is the length of the first half. The first half may itself begin with a blank. */
static bool join_text(const struct bt_vocab *v, struct bt_str merge, char *joined, size_t *left)
{
	const char *blank = merge.len > 1 ? memchr(merge.data + 1, ' ', merge.len - 1) : NULL;
	if (!blank || merge.len - 1 > v->longest) return false;
	*left = (size_t)(blank - merge.data);
	memcpy(joined, merge.data, *left);
	memcpy(joined + *left, blank + 1, merge.len - 1 - *left);
	return true;
}

static enum baton_status add_merges(struct bt_bpe *b, const struct bt_gguf_kv *kv, char *joined,
                                    struct baton_error *err)
{
	const struct bt_vocab *v = b->vocab;
	uint64_t probes = 0, most = kv->count * PROBES_PER_MERGE;
	int32_t guess = -1;
	for (uint64_t rank = 0; rank < kv->count; rank++) {
		struct bt_str merge = kv->strings[rank];
		size_t n_left, len = merge.len - 1;
		if (!join_text(v, merge, joined, &n_left)) continue;
		/* Most vocabularies list tokens in the order of the merges that make them: try the next one first. */
		guess++;
		if ((uint32_t)guess >= v->n || v->text[guess].len != len || memcmp(v->text[guess].data, joined, len))
			guess = bt_vocab_find(v, joined, len);
		int32_t left = bt_vocab_find(v, joined, n_left);
		int32_t right = bt_vocab_find(v, joined + n_left, len - n_left);
		if (guess < 0 || left < 0 || right < 0) continue;
		uint32_t i = slot_of(b, left, right);
		while (b->pair[i].left >= 0 && !(b->pair[i].left == left && b->pair[i].right == right)) {
			i = (i + 1) & b->mask;
			if (++probes > most)
				return bt_fail(err, BATON_ERR_LIMIT,
				               "%s: tokenizer.ggml.merges: too many merges collide in the table",
				               v->path);
		}
		if (b->pair[i].left < 0) /* of a merge given twice the first counts */
			b->pair[i] = (struct bt_bpe_pair){left, right, guess, (uint32_t)rank};
	}
	return BATON_OK;
}

enum baton_status bt_bpe_open(struct bt_bpe *b, const struct bt_vocab *v, const struct bt_gguf *g, bool whole,
                              struct baton_error *err)
{
	*b = (struct bt_bpe){.vocab = v, .whole = whole};
	static const char key[] = "tokenizer.ggml.merges";
	const struct bt_gguf_kv *kv = bt_gguf_find(g, key);
	if (!kv) return bt_fail(err, BATON_ERR_FORMAT, "%s: %s is missing", v->path, key);
	if (kv->type != BT_GGUF_ARRAY || kv->elem_type != BT_GGUF_STRING)
		return bt_fail(err, BATON_ERR_FORMAT, "%s: %s is not a list of strings", v->path, key);
	if (kv->count > BT_LIMIT_MERGES)
		return bt_fail(err, BATON_ERR_LIMIT, "%s: %s has %llu entries; the limit is %u", v->path, key,
		               (unsigned long long)kv->count, BT_LIMIT_MERGES);
	uint32_t size = 16;
	while (size < kv->count + kv->count / 2) size *= 2;
	b->pair = bt_mem_alloc(BT_MEM_TEXT, size * sizeof *b->pair);
	char *joined = bt_mem_alloc(BT_MEM_TEXT, (size_t)v->longest + 1);
	enum baton_status status = BATON_OK;
	if (!b->pair || !joined) {
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
	status = add_merges(b, kv, joined, err);
done:
	bt_mem_free(joined);
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
