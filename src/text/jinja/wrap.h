/* wrap.h: filling lines, as Python's textwrap does. */
#ifndef BT_TEXT_JINJA_WRAP_H
#define BT_TEXT_JINJA_WRAP_H

#include "text/jinja/interp.h"

struct bt_jj_wrap {
	size_t width; /* characters, > 0 */
	const struct bt_jj_str *glue;
	bool break_long, break_hyphens;
};
/* One line of text, broken into lines with glue between. false: failed. */
bool bt_jj_wrap_line(struct bt_jj_sb *b, const struct bt_jj_str *s, const struct bt_jj_wrap *how);

#endif
