/* main.c: `baton COMMAND ...`: finds the command, parses its options, runs it. */
#include "base/status.h"
#include "tools/open.h"
#include "tools/options.h"

#include <string.h>

static int unknown_command(const char *name)
{
	fprintf(stderr, "baton: unknown command '%.60s'; `baton --help` lists them\n", name);
	return BT_EXIT_USAGE;
}

/* `--help`, `help COMMAND`, `--version`, and the outputs that the build and the tests read. */
static int about(int argc, char **argv)
{
	const struct bt_tool *tool = argc > 2 ? bt_tool_find(argv[2]) : NULL;
	if (argc > 2 && !tool) return unknown_command(argv[2]);
	if (!strcmp(argv[1], "--version")) printf("baton %s\n", baton_version());
	else if (!strcmp(argv[1], "--man")) bt_opts_man(tool, stdout);
	else if (!strcmp(argv[1], "--dump-options")) bt_opts_dump(stdout);
	else if (tool) bt_opts_help(tool, stdout);
	else bt_tools_help(stdout);
	return BT_EXIT_OK;
}

static bool is_about(const char *arg)
{
	static const char *const names[] = {"--help", "-h", "help", "--version", "--man", "--dump-options"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (!strcmp(arg, names[i])) return true;
	return false;
}

static int run_tool(const struct bt_tool *tool, int argc, char **argv)
{
	struct bt_opts o;
	struct baton_error err;
	int rc = BT_EXIT_OK;
	if (bt_opts_parse(&o, tool, argc, argv, &err)) rc = bt_opts_usage(&o, "%s", err.text);
	else if (bt_opt_flag(&o, BT_OPT_HELP)) bt_opts_help(tool, stdout);
	else if (bt_opt_flag(&o, BT_OPT_LIST_DEVICES)) rc = bt_tool_list_devices(stdout);
	else rc = bt_tool_main(&o);
	bt_opts_free(&o);
	return rc;
}

int main(int argc, char **argv)
{
	int rc;
	if (argc < 2) {
		bt_tools_help(stderr);
		return BT_EXIT_USAGE;
	}
	const struct bt_tool *tool = bt_tool_find(argv[1]);
	if (tool) rc = run_tool(tool, argc - 1, argv + 1);
	else if (is_about(argv[1])) rc = about(argc, argv);
	else return unknown_command(argv[1]);
	/* Output that could not be written (a full disk, a closed pipe) is work that failed. */
	if (fflush(stdout) || ferror(stdout)) {
		if (rc == BT_EXIT_OK) {
			fprintf(stderr, "baton: cannot write the output: %m\n");
			rc = BT_EXIT_FAILED;
		}
	}
	return rc;
}
