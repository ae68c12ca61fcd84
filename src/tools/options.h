/* options.h: the one table of options (options.inc), and parsing, help, manual pages and a JSON dump made from it. */
#ifndef BT_TOOLS_OPTIONS_H
#define BT_TOOLS_OPTIONS_H

#include "base/mem.h"
#include "tools/tool.h"

#include <stdio.h>

enum bt_opt_type {
	BT_OPT_FLAG,    /* no value */
	BT_OPT_BOOL,    /* 0 or 1 (also off/on, false/true); a name "--no-..." takes no value and means 0 */
	BT_OPT_INT,     /* a whole number within [min, max] */
	BT_OPT_FLOAT,   /* a finite number within [min, max] */
	BT_OPT_STRING,  /* any text */
	BT_OPT_CHOICE,  /* one of `choices` */
	BT_OPT_STRINGS, /* any text, may be given several times */
	BT_OPT_JOINED,  /* comma list of texts, taken as one text; may be given several times */
	BT_OPT_INTS,    /* comma list of numbers and ranges first-last, first-last+step, first-last*mult; repeatable */
	BT_OPT_CHOICES, /* comma list of `choices`; repeatable */
	BT_OPT_LIST,    /* comma list of texts; repeatable */
};

/* The headings of a tool's help. */
enum bt_opt_group {
	BT_OPTS_INPUT,
	BT_OPTS_TEST,
	BT_OPTS_ENGINE,
	BT_OPTS_SAMPLING,
	BT_OPTS_CHAT,
	BT_OPTS_OUTPUT,
	BT_OPTS_DOWNLOAD,
	BT_OPTS_GENERAL,
	BT_OPT_GROUPS
};

struct bt_option {
	const char *names;   /* "-n, --predict, --n-predict": what people type most first, as llama.cpp spells them */
	const char *metavar; /* "N"; NULL for flags */
	enum bt_opt_type type;
	enum bt_opt_group group;
	unsigned tools;      /* mask of 1u << enum bt_tool_id */
	const char *def;     /* parsed like a value from the command line; NULL: not set */
	double min, max;     /* numbers */
	const char *choices; /* "f16|f32|q8_0" */
	const char *help;    /* one or two sentences without a final full stop */
};

enum bt_opt_id {
#define OPT(id, ...) BT_OPT_##id,
#include "tools/options.inc"
#undef OPT
	BT_OPT_IDS
};

extern const struct bt_option bt_option_table[BT_OPT_IDS];

/* One parsed value: the text as given, and its number where the type has one. */
struct bt_opt_value {
	const char *text;
	double num;
};

/* The parsed command line of one tool. Texts point into argv, into the table, or into blocks it owns. */
struct bt_opts {
	const struct bt_tool *tool;
	struct bt_opt_values {
		struct bt_opt_value *v;
		size_t n, cap;
		bool given; /* on the command line, not by default */
	} opt[BT_OPT_IDS];
	const char **args; /* positional arguments; models given with -m stand first */
	int n_args;
	char cache_dir[1024];  /* for compiled kernels, "": nowhere */
	struct bt_arena arena; /* split copies of comma lists, and args */
};

/* Parse argv[1..argc-1] for the tool. On BATON_ERR_ARG err holds one line without "baton TOOL: " in front. "--help" and
 * "--list-devices" set their option and stop parsing with success. Always pair with bt_opts_free, also after errors. */
enum baton_status bt_opts_parse(struct bt_opts *o, const struct bt_tool *tool, int argc, char **argv,
                                struct baton_error *err);
void bt_opts_free(struct bt_opts *o);

/* Reading values. Single-valued options give the last value; an option without default that was not given reads as 0,
 * 0.0, NULL, false. */
bool bt_opt_given(const struct bt_opts *o, enum bt_opt_id id);
bool bt_opt_flag(const struct bt_opts *o, enum bt_opt_id id); /* flags and bools */
int64_t bt_opt_int(const struct bt_opts *o, enum bt_opt_id id);
double bt_opt_float(const struct bt_opts *o, enum bt_opt_id id);
const char *bt_opt_str(const struct bt_opts *o, enum bt_opt_id id); /* strings and choices */
/* Lists and repeatable options. */
size_t bt_opt_count(const struct bt_opts *o, enum bt_opt_id id);
int64_t bt_opt_int_at(const struct bt_opts *o, enum bt_opt_id id, size_t i);
const char *bt_opt_str_at(const struct bt_opts *o, enum bt_opt_id id, size_t i);

/* "baton run: <text>; see `baton run --help`" on stderr; returns BT_EXIT_USAGE. For checks that the table cannot make. */
int bt_opts_usage(const struct bt_opts *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The help of one tool, wrapped to the terminal's width. */
void bt_opts_help(const struct bt_tool *tool, FILE *out);
/* `baton --help`. */
void bt_tools_help(FILE *out);
/* baton-TOOL(1), or baton(1) for NULL, in the man macros. */
void bt_opts_man(const struct bt_tool *tool, FILE *out);
/* Every tool and its options as one JSON object, for tests and completion scripts. 0, or -1 when memory or out fails. */
int bt_opts_dump(FILE *out);

const char *bt_opt_group_name(enum bt_opt_group group);
/* "N, a number from 1 to 8", "TYPE, one of f16, q8_0": what a value of this option looks like, for messages. */
void bt_opt_expects(const struct bt_option *opt, char *text, size_t size);

#endif
