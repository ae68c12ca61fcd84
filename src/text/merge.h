/* merge.h: the loop that byte-level BPE and SentencePiece share: join the best pair of neighbours until none is left.
 *
 * A heap holds the candidates, a linked list the symbols, so that n symbols take O(n log n) steps whatever the text.
 * Used inside src/text only.
 */
#ifndef BT_TEXT_MERGE_H
#define BT_TEXT_MERGE_H

#include "text/tokenizer.h"

#define BT_MERGE_NONE UINT32_MAX

struct bt_symbol {
	uint32_t pos, len;   /* in the text; len 0: joined to its left neighbour */
	int32_t id;          /* token, -1: none */
	uint32_t prev, next; /* BT_MERGE_NONE at the ends */
	int32_t joined;      /* token that this symbol and the next one make, -1: none */
	uint32_t key;        /* when joined >= 0: the lower, the sooner */
};

/* Memory that one caller uses again and again; zero it first. */
struct bt_merge {
	struct bt_symbol *symbol;
	uint64_t *heap; /* key << 32 | index of the left symbol, smallest first */
	size_t n, cap, n_heap, cap_heap;
};

/* The token that left and right make and its key, -1 when they make none. */
typedef int32_t (*bt_join_fn)(const void *user, const struct bt_symbol *left, const struct bt_symbol *right,
                              uint32_t *key);

/* Add a symbol to m->symbol[0 .. n); set m->n to 0 to begin. false when there is no memory. */
bool bt_merge_add(struct bt_merge *m, uint32_t pos, uint32_t len, int32_t id);
/* Join until no pair is left; of equal keys the leftmost goes first. What remains is the list that begins at symbol 0.
 * false when there is no memory. */
bool bt_merge_run(struct bt_merge *m, bt_join_fn join, const void *user);
void bt_merge_free(struct bt_merge *m);

#endif
