/* text.h: work on strings that methods and filters share. */
#ifndef BT_TEXT_JINJA_TEXT_H
#define BT_TEXT_JINJA_TEXT_H

#include "text/jinja/interp.h"
#include "text/jinja/unicode.h"

enum bt_jj_sides { BT_JJ_LEFT = 1, BT_JJ_RIGHT = 2, BT_JJ_BOTH = 3 };
/* Without the characters of chars (NULL: white space) at its ends. */
struct bt_jj_val bt_jj_strip(struct bt_jj *r, const struct bt_jj_str *s, const struct bt_jj_str *chars,
                             enum bt_jj_sides sides);
enum bt_jj_recase {
	BT_JJ_TO_LOWER,
	BT_JJ_TO_UPPER,
	BT_JJ_TO_TITLE,
	BT_JJ_TO_CAPITAL,
	BT_JJ_TO_SWAPPED,
	BT_JJ_TO_FOLDED
};
struct bt_jj_val bt_jj_recase(struct bt_jj *r, const struct bt_jj_str *s, enum bt_jj_recase to);
/* At most count replacements; negative: all. */
struct bt_jj_val bt_jj_replace(struct bt_jj *r, const struct bt_jj_str *s, const struct bt_jj_str *old,
                               const struct bt_jj_str *new, int64_t count);
/* s.splitlines(keepends): a list. */
struct bt_jj_list *bt_jj_splitlines(struct bt_jj *r, const struct bt_jj_str *s, bool keep);
/* s in a field of width characters; align '<', '>', '^' (Python's str.center). */
struct bt_jj_val bt_jj_justify(struct bt_jj *r, const struct bt_jj_str *s, int64_t width, uint32_t fill, char align);
/* sep.join(items); strict: items must be str, else str() of each. */
struct bt_jj_val bt_jj_join(struct bt_jj *r, struct bt_jj_val sep, struct bt_jj_val items, bool strict);
bool bt_jj_is_lower_text(const struct bt_jj_str *s);
bool bt_jj_is_upper_text(const struct bt_jj_str *s);

#endif
