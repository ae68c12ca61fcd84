/* tools.c: the table of commands, one row each, in the order in which people meet them. */
#include "tools/tool.h"

#include <stddef.h>
#include <string.h>

const struct bt_tool bt_tool_table[] = {
	{.id = BT_TOOL_TOKENIZE,
         .group = BT_GROUP_SCRIPT,
         .name = "tokenize",
         .args = "MODEL [TEXT]",
         .min_args = 0,
         .max_args = 2,
         .summary = "show a text as the tokens of a model",
         .about =
                 "Prints each token of the text with its id. The text is the second argument, or comes from -f FILE or "
                 "--stdin.\n\n"
                 "With --json reads JSON lines, {\"text\": ..., \"parse_special\": ..., \"add_bos\": ...} or "
                 "{\"ids\": [...]}, and answers each with one line; see docs/json.md.",
         .examples = "baton tokenize smollm2 \"Hello, world\"\n"
                     "    one token a line\n"
                     "baton tokenize smollm2 -f book.txt --ids --show-count\n"
                     "    the ids as a list, and how many there are",
         .main = bt_tokenize_main},
	{.name = NULL},
};

const struct bt_tool *bt_tool_find(const char *name)
{
	for (const struct bt_tool *t = bt_tool_table; t->name; t++)
		if (!strcmp(t->name, name)) return t;
	return NULL;
}
