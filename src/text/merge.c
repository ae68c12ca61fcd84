#include "text/merge.h"

#include <string.h>

bool bt_merge_add(struct bt_merge *m, uint32_t pos, uint32_t len, int32_t id)
{
	if (m->n == m->cap) {
		size_t cap = m->cap ? 2 * m->cap : 64;
		struct bt_symbol *grown = bt_mem_realloc(BT_MEM_TEXT, m->symbol, cap * sizeof *grown);
		if (!grown) return false;
		m->symbol = grown;
		m->cap = cap;
	}
	m->symbol[m->n++] = (struct bt_symbol){.pos = pos, .len = len, .id = id};
	return true;
}

static bool push(struct bt_merge *m, uint64_t entry)
{
	if (m->n_heap == m->cap_heap) {
		size_t cap = m->cap_heap ? 2 * m->cap_heap : 64;
		uint64_t *grown = bt_mem_realloc(BT_MEM_TEXT, m->heap, cap * sizeof *grown);
		if (!grown) return false;
		m->heap = grown;
		m->cap_heap = cap;
	}
	size_t i = m->n_heap++;
	for (; i && m->heap[(i - 1) / 2] > entry; i = (i - 1) / 2) m->heap[i] = m->heap[(i - 1) / 2];
	m->heap[i] = entry;
	return true;
}

static uint64_t pop(struct bt_merge *m)
{
	uint64_t top = m->heap[0], last = m->heap[--m->n_heap];
	size_t i = 0, child;
	while ((child = 2 * i + 1) < m->n_heap) {
		if (child + 1 < m->n_heap && m->heap[child + 1] < m->heap[child]) child++;
		if (m->heap[child] >= last) break;
		m->heap[i] = m->heap[child];
		i = child;
	}
	m->heap[i] = last;
	return top;
}

/* Look again at what symbol i and its right neighbour make. */
static bool consider(struct bt_merge *m, uint32_t i, bt_join_fn join, const void *user)
{
	struct bt_symbol *s = &m->symbol[i];
	s->joined = -1;
	if (s->next == BT_MERGE_NONE) return true;
	s->joined = join(user, s, &m->symbol[s->next], &s->key);
	return s->joined < 0 || push(m, (uint64_t)s->key << 32 | i);
}

bool bt_merge_run(struct bt_merge *m, bt_join_fn join, const void *user)
{
	m->n_heap = 0;
	for (size_t i = 0; i < m->n; i++) {
		m->symbol[i].prev = i ? (uint32_t)i - 1 : BT_MERGE_NONE;
		m->symbol[i].next = i + 1 < m->n ? (uint32_t)i + 1 : BT_MERGE_NONE;
	}
	for (size_t i = 0; i < m->n; i++)
		if (!consider(m, (uint32_t)i, join, user)) return false;
	while (m->n_heap) {
		uint64_t entry = pop(m);
		uint32_t i = (uint32_t)entry;
		struct bt_symbol *left = &m->symbol[i];
		/* Out of date unless the symbol still stands and its pair still has this key: then joining it now is right,
		 * even if the entry was made for an earlier pair of the same key. */
		if (!left->len || left->joined < 0 || left->key != entry >> 32) continue;
		struct bt_symbol *right = &m->symbol[left->next];
		left->len += right->len;
		left->id = left->joined;
		left->next = right->next;
		right->len = 0;
		if (left->next != BT_MERGE_NONE) m->symbol[left->next].prev = i;
		if (!consider(m, i, join, user)) return false;
		if (left->prev != BT_MERGE_NONE && !consider(m, left->prev, join, user)) return false;
	}
	return true;
}

void bt_merge_free(struct bt_merge *m)
{
	bt_mem_free(m->symbol);
	bt_mem_free(m->heap);
	*m = (struct bt_merge){0};
}
