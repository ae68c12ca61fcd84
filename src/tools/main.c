#include "tools/tool.h"

#include <stdio.h>
#include <string.h>

const struct bt_tool bt_tool_table[] = {
	{NULL, NULL, NULL, NULL},
};

static int usage(FILE *out)
{
	fprintf(out, "usage: baton COMMAND [options]\n\n");
	for (const struct bt_tool *t = bt_tool_table; t->name; t++) fprintf(out, "  %-12s %s\n", t->name, t->summary);
	return out == stdout ? 0 : 2;
}

int main(int argc, char **argv)
{
	if (argc < 2) return usage(stderr);
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) return usage(stdout);
	if (!strcmp(argv[1], "--version")) return printf("baton %s\n", baton_version()) < 0;
	for (const struct bt_tool *t = bt_tool_table; t->name; t++)
		if (!strcmp(argv[1], t->name)) return t->main(t, argc - 1, argv + 1);
	fprintf(stderr, "baton: unknown command '%s'; `baton --help` lists them\n", argv[1]);
	return 2;
}
