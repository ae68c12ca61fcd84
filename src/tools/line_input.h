/* line_input.h: lines from a person, edited and remembered (libedit), or from a pipe. */
#ifndef BT_TOOLS_LINE_INPUT_H
#define BT_TOOLS_LINE_INPUT_H

#include "base/buf.h"

#include <stdbool.h>

struct bt_line_input;

/* prompt is shown in front of each line where standard input is a terminal; history: a file that keeps earlier lines
 * (its folder is made; what can't be read or written is passed over), or NULL. */
enum baton_status bt_line_open(const char *prompt, const char *history, struct bt_line_input **out,
                               struct baton_error *err);
void bt_line_close(struct bt_line_input **l);

enum bt_line_result { BT_LINE_OK, BT_LINE_END, BT_LINE_INTERRUPTED };

/* The next line without its line break. A line that ends with a backslash goes on in the next one. */
enum bt_line_result bt_line_read(struct bt_line_input *l, struct bt_buf *line);
bool bt_line_is_terminal(const struct bt_line_input *l);

/* $XDG_STATE_HOME/baton/NAME, or below ~/.local/state (XDG base directory specification); false when there is neither. */
bool bt_line_history_path(const char *name, char *path, size_t size);

#endif
