/* tools.c: the table of commands, one row each, in the order in which people meet them. */
#include "tools/tool.h"

#include <stddef.h>
#include <string.h>

const struct bt_tool bt_tool_table[] = {
	{.name = NULL},
};

const struct bt_tool *bt_tool_find(const char *name)
{
	for (const struct bt_tool *t = bt_tool_table; t->name; t++)
		if (!strcmp(t->name, name)) return t;
	return NULL;
}
