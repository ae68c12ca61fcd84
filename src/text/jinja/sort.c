#include "text/jinja/sort.h"
#include "text/jinja/interp.h"

struct pair {
	struct bt_jj_val item, key;
};

/* Merge a[lo, mid) and a[mid, hi) through tmp. Descending order keeps equal elements in place, like ascending. */
static bool merge(struct bt_jj *r, struct pair *a, struct pair *tmp, size_t lo, size_t mid, size_t hi, bool reverse)
{
	size_t i = lo, j = mid, k = lo;
	while (i < mid && j < hi) {
		/* Take from the right only when it is strictly before the left. */
		struct bt_jj_val less = reverse ? bt_jj_compare(r, BT_JJ_LT, a[i].key, a[j].key)
		                                : bt_jj_compare(r, BT_JJ_LT, a[j].key, a[i].key);
		if (bt_jj_is_fail(less)) return false;
		tmp[k++] = less.b ? a[j++] : a[i++];
	}
	while (i < mid) tmp[k++] = a[i++];
	while (j < hi) tmp[k++] = a[j++];
	return true;
}

bool bt_jj_sort(struct bt_jj *r, struct bt_jj_val *items, struct bt_jj_val *keys, size_t n, bool reverse)
{
	struct pair *a = bt_jj_alloc_array(r, n + 1, sizeof *a), *b = bt_jj_alloc_array(r, n + 1, sizeof *b);
	if (!a || !b) return false;
	for (size_t i = 0; i < n; i++) a[i] = (struct pair){items[i], keys[i]};
	for (size_t width = 1; width < n; width *= 2) {
		for (size_t lo = 0; lo < n; lo += 2 * width) {
			size_t mid = lo + width < n ? lo + width : n, hi = mid + width < n ? mid + width : n;
			if (!merge(r, a, b, lo, mid, hi, reverse)) return false;
		}
		struct pair *t = a;
		a = b;
		b = t;
	}
	for (size_t i = 0; i < n; i++) {
		items[i] = a[i].item;
		keys[i] = a[i].key;
	}
	return true;
}

const struct bt_jj_list *bt_jj_sorted_keys(struct bt_jj *r, const struct bt_jj_dict *d)
{
	struct bt_jj_list *l = bt_jj_list_new(r, d->n), *k = bt_jj_list_new(r, d->n);
	if (!l || !k) return NULL;
	for (size_t i = 0; i < d->n; i++)
		if (!bt_jj_list_add(r, l, d->e[i].key) || !bt_jj_list_add(r, k, d->e[i].key)) return NULL;
	return bt_jj_sort(r, l->v, k->v, l->n, false) ? l : NULL;
}
