/* sort.h: stable sorting by Python's order. */
#ifndef BT_TEXT_JINJA_SORT_H
#define BT_TEXT_JINJA_SORT_H

#include "text/jinja/value.h"

/* Sort items by keys (both [n]), stably, as sorted(key=..., reverse=...) does. false: two keys have no order. */
bool bt_jj_sort(struct bt_jj *r, struct bt_jj_val *items, struct bt_jj_val *keys, size_t n, bool reverse);
/* The keys of d in order; NULL on failure. */
const struct bt_jj_list *bt_jj_sorted_keys(struct bt_jj *r, const struct bt_jj_dict *d);

#endif
