/* tool.h: the subcommands of `baton`. One file per subcommand, one row in the table of main.c. */
#ifndef BT_TOOLS_TOOL_H
#define BT_TOOLS_TOOL_H

#include "baton.h"

struct bt_tool {
	const char *name;    /* "run" */
	const char *args;    /* "MODEL [PROMPT]" */
	const char *summary; /* one line for `baton --help` */
	/* Exit status: 0 success, 1 the work failed, 2 bad usage, 130 interrupted. */
	int (*main)(const struct bt_tool *tool, int argc, char **argv);
};

extern const struct bt_tool bt_tool_table[]; /* ends with name NULL */

#endif
