/* members.h: attributes and methods of built-in types, one sorted table per type. */
#ifndef BT_TEXT_JINJA_MEMBERS_H
#define BT_TEXT_JINJA_MEMBERS_H

#include "text/jinja/value.h"

enum bt_jj_member_kind {
	BT_JJ_METHOD_ROW,
	BT_JJ_PROPERTY, /* func is called at once */
	BT_JJ_UNSAFE,   /* changes its object: the sandbox refuses it */
};
struct bt_jj_member {
	struct bt_jj_func func;
	enum bt_jj_member_kind kind;
};
struct bt_jj_members {
	const struct bt_jj_member *v; /* [n], sorted by name */
	size_t n;
};

extern const struct bt_jj_members bt_jj_str_members, bt_jj_markup_members, bt_jj_list_members, bt_jj_tuple_members,
	bt_jj_dict_members, bt_jj_int_members, bt_jj_float_members, bt_jj_range_members, bt_jj_view_members,
	bt_jj_cycler_members, bt_jj_joiner_members;

/* The row of name, or NULL. */
const struct bt_jj_member *bt_jj_member(const struct bt_jj_members *m, const struct bt_jj_str *name);

/* dict.fromkeys */
extern const struct bt_jj_func bt_jj_dict_fromkeys;

#endif
