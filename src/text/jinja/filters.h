/* filters.h: the built-in filters by file; their table is in filters.c. */
#ifndef BT_TEXT_JINJA_FILTERS_H
#define BT_TEXT_JINJA_FILTERS_H

#include "text/jinja/text.h"

/* filters_seq.c: sequences */
struct bt_jj_val bt_jj_filter_batch(struct bt_jj *r, struct bt_jj_call *c);
struct bt_jj_val bt_jj_filter_slice(struct bt_jj *r, struct bt_jj_call *c);
struct bt_jj_val bt_jj_filter_first(struct bt_jj *r, struct bt_jj_call *c);
struct bt_jj_val bt_jj_filter_last(struct bt_jj *r, struct bt_jj_call *c);
struct bt_jj_val bt_jj_filter_random(struct bt_jj *r, struct bt_jj_call *c);
struct bt_jj_val bt_jj_filter_length(struct bt_jj *r, struct bt_jj_call *c);
struct bt_jj_val bt_jj_filter_list(struct bt_jj *r, struct bt_jj_call *c);
struct bt_jj_val bt_jj_filter_items(struct bt_jj *r, struct bt_jj_call *c);
struct bt_jj_val bt_jj_filter_reverse(struct bt_jj *r, struct bt_jj_call *c);

/* filters_key.c: sequences by an attribute of their elements */
struct bt_jj_val bt_jj_filter_map(struct bt_jj *r, struct bt_jj_call *c);
struct bt_jj_val bt_jj_filter_select(struct bt_jj *r, struct bt_jj_call *c);
struct bt_jj_val bt_jj_filter_reject(struct bt_jj *r, struct bt_jj_call *c);
struct bt_jj_val bt_jj_filter_selectattr(struct bt_jj *r, struct bt_jj_call *c);
struct bt_jj_val bt_jj_filter_rejectattr(struct bt_jj *r, struct bt_jj_call *c);
struct bt_jj_val bt_jj_filter_join(struct bt_jj *r, struct bt_jj_call *c);
struct bt_jj_val bt_jj_filter_sort(struct bt_jj *r, struct bt_jj_call *c);
struct bt_jj_val bt_jj_filter_dictsort(struct bt_jj *r, struct bt_jj_call *c);
struct bt_jj_val bt_jj_filter_groupby(struct bt_jj *r, struct bt_jj_call *c);
struct bt_jj_val bt_jj_filter_unique(struct bt_jj *r, struct bt_jj_call *c);
struct bt_jj_val bt_jj_filter_sum(struct bt_jj *r, struct bt_jj_call *c);
struct bt_jj_val bt_jj_filter_min(struct bt_jj *r, struct bt_jj_call *c);
struct bt_jj_val bt_jj_filter_max(struct bt_jj *r, struct bt_jj_call *c);

/* filters_text.c: text */
struct bt_jj_val bt_jj_filter_indent(struct bt_jj *r, struct bt_jj_call *c);
struct bt_jj_val bt_jj_filter_replace(struct bt_jj *r, struct bt_jj_call *c);
struct bt_jj_val bt_jj_filter_title(struct bt_jj *r, struct bt_jj_call *c);
struct bt_jj_val bt_jj_filter_trim(struct bt_jj *r, struct bt_jj_call *c);
struct bt_jj_val bt_jj_filter_truncate(struct bt_jj *r, struct bt_jj_call *c);
struct bt_jj_val bt_jj_filter_urlencode(struct bt_jj *r, struct bt_jj_call *c);
struct bt_jj_val bt_jj_filter_wordcount(struct bt_jj *r, struct bt_jj_call *c);
struct bt_jj_val bt_jj_filter_wordwrap(struct bt_jj *r, struct bt_jj_call *c);
struct bt_jj_val bt_jj_filter_format(struct bt_jj *r, struct bt_jj_call *c);
struct bt_jj_val bt_jj_filter_filesizeformat(struct bt_jj *r, struct bt_jj_call *c);

/* filters_html.c: HTML */
struct bt_jj_val bt_jj_filter_striptags(struct bt_jj *r, struct bt_jj_call *c);
struct bt_jj_val bt_jj_filter_xmlattr(struct bt_jj *r, struct bt_jj_call *c);

/* pprint.c */
struct bt_jj_val bt_jj_filter_pprint(struct bt_jj *r, struct bt_jj_call *c);

#endif
