/* text_input.h: texts from the command line, a file or standard input. */
#ifndef BT_TOOLS_TEXT_INPUT_H
#define BT_TOOLS_TEXT_INPUT_H

#include "base/buf.h"
#include "base/limits.h"

/* Append the whole of a file ("-": standard input) to b, whose limit is BT_LIMIT_TEXT. */
enum baton_status bt_text_read(const char *path, struct bt_buf *b, struct baton_error *err);

#endif
