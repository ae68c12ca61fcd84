/* tool.h: the subcommands of `baton`. One file per subcommand, one row in the table of tools.c.
 *
 * main.c parses the command line against the option table (options.inc) and hands the result over, so a tool starts
 * with checked values. To add a tool: an enum value here, a row in tools.c, its options' bits in options.inc, its name in
 * the list of manual pages in meson.build.
 */
#ifndef BT_TOOLS_TOOL_H
#define BT_TOOLS_TOOL_H

#include "baton.h"

struct bt_opts; /* tools/options.h */

/* Each tool's bit in the masks of the option table. */
enum bt_tool_id {
	BT_TOOL_RUN,
	BT_TOOL_CHAT,
	BT_TOOL_BENCH,
	BT_TOOL_PERPLEXITY,
	BT_TOOL_PULL,
	BT_TOOL_SHOW,
	BT_TOOL_QUANTIZE,
	BT_TOOL_TOKENIZE,
	BT_TOOL_TEMPLATE,
	BT_TOOL_EVAL,
	BT_TOOL_DOCTOR,
	BT_TOOL_IDS
};

/* Exit statuses of every tool. */
enum bt_exit {
	BT_EXIT_OK = 0,
	BT_EXIT_FAILED = 1,        /* the work failed; one line on stderr says why */
	BT_EXIT_USAGE = 2,         /* bad usage */
	BT_EXIT_INTERRUPTED = 130, /* Ctrl-C */
};

/* What people do with a command: the headings of `baton --help`. */
enum bt_tool_group { BT_GROUP_USE, BT_GROUP_MEASURE, BT_GROUP_FILES, BT_GROUP_SCRIPT, BT_TOOL_GROUPS };

struct bt_tool {
	enum bt_tool_id id;
	enum bt_tool_group group;
	const char *name;    /* "run" */
	const char *args;    /* "MODEL [PROMPT]" */
	int min_args;        /* positional arguments; a model given with -m counts as the first */
	int max_args;        /* -1: any number */
	const char *summary; /* one line for `baton --help` */
	const char *about;   /* paragraphs for the tool's own help and manual page, separated by empty lines */
	/* Pairs of lines for help and manual: "command\n    what it does", separated by newlines. */
	const char *examples;
	int (*main)(const struct bt_opts *o); /* returns an enum bt_exit */
};

extern const struct bt_tool bt_tool_table[]; /* ends with name NULL */

/* NULL when there is no such tool. */
const struct bt_tool *bt_tool_find(const char *name);
const char *bt_tool_group_name(enum bt_tool_group group);

int bt_bench_main(const struct bt_opts *o);
int bt_chat_main(const struct bt_opts *o);
int bt_doctor_main(const struct bt_opts *o);
int bt_eval_main(const struct bt_opts *o);
int bt_perplexity_main(const struct bt_opts *o);
int bt_pull_main(const struct bt_opts *o);
int bt_quantize_main(const struct bt_opts *o);
int bt_run_main(const struct bt_opts *o);
int bt_show_main(const struct bt_opts *o);
int bt_template_main(const struct bt_opts *o);
int bt_tokenize_main(const struct bt_opts *o);

#endif
