/* help.c: `--help`, manual pages and the JSON dump, all written from the tables of tools and options. */
#include "tools/options.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

const char *bt_opt_group_name(enum bt_opt_group group)
{
	static const char *const names[BT_OPT_GROUPS] = {
		[BT_OPTS_INPUT] = "Input",        [BT_OPTS_TEST] = "Measurement",  [BT_OPTS_ENGINE] = "Engine",
		[BT_OPTS_SAMPLING] = "Sampling",  [BT_OPTS_CHAT] = "Conversation", [BT_OPTS_OUTPUT] = "Output",
		[BT_OPTS_DOWNLOAD] = "Downloads", [BT_OPTS_GENERAL] = "General",
	};
	return (unsigned)group < BT_OPT_GROUPS ? names[group] : "";
}

static int terminal_width(FILE *out)
{
	struct winsize ws;
	if (!isatty(fileno(out)) || ioctl(fileno(out), TIOCGWINSZ, &ws) || ws.ws_col < 60) return 100;
	return ws.ws_col < 120 ? ws.ws_col : 120;
}

/* Write text in lines of width columns; the first starts at column col, the others are indented by indent. */
static void wrap(FILE *out, const char *text, int col, int indent, int width)
{
	while (*text) {
		if (*text == '\n') { /* a paragraph */
			fprintf(out, "\n%*s", indent, "");
			col = indent;
			text++;
			continue;
		}
		int len = (int)strcspn(text, " \n");
		if (col > indent && col + 1 + len > width) {
			fprintf(out, "\n%*s", indent, "");
			col = indent;
		} else if (col > indent) {
			fputc(' ', out);
			col++;
		}
		fwrite(text, 1, (size_t)len, out);
		col += len;
		text += len;
		while (*text == ' ') text++;
	}
	fputc('\n', out);
}

/* "text (default: x; one of a, b)" */
static void option_text(const struct bt_option *opt, char *text, size_t size)
{
	int n = snprintf(text, size, "%s", opt->help);
	const char *open = " (";
	if (opt->choices) {
		n += snprintf(text + n, size - (size_t)n, " (");
		for (const char *c = opt->choices; *c && n + 3 < (int)size; c++)
			n += snprintf(text + n, size - (size_t)n, *c == '|' ? ",%c" : "%c", *c == '|' ? ' ' : *c);
		open = "; ";
	}
	if (opt->def) n += snprintf(text + n, size - (size_t)n, "%sdefault: %s", open, opt->def);
	if (opt->choices || opt->def) snprintf(text + n, size - (size_t)n, ")");
}

static bool belongs(const struct bt_option *opt, const struct bt_tool *tool, int group)
{
	return opt->tools & 1u << tool->id && (int)opt->group == group;
}

static void help_options(const struct bt_tool *tool, FILE *out, int width)
{
	char text[512];
	const int column = 32;
	for (int g = 0; g < BT_OPT_GROUPS; g++) {
		bool any = false;
		for (int id = 0; id < BT_OPT_IDS; id++) {
			const struct bt_option *opt = &bt_option_table[id];
			if (!belongs(opt, tool, g)) continue;
			if (!any) fprintf(out, "\n%s:\n", bt_opt_group_name((enum bt_opt_group)g));
			any = true;
			int col = fprintf(out, "  %s%s%s", opt->names, opt->metavar ? " " : "",
			                  opt->metavar ? opt->metavar : "");
			if (col > column - 2) {
				fputc('\n', out);
				col = 0;
			}
			fprintf(out, "%*s", column - col, "");
			option_text(opt, text, sizeof text);
			wrap(out, text, column, column, width);
		}
	}
}

void bt_opts_help(const struct bt_tool *tool, FILE *out)
{
	int width = terminal_width(out);
	fprintf(out, "usage: baton %s [options] %s\n\n", tool->name, tool->args);
	wrap(out, tool->about, 0, 0, width);
	help_options(tool, out, width);
	if (!tool->examples) return;
	fprintf(out, "\nExamples:\n");
	for (const char *s = tool->examples; *s; s += *s == '\n') {
		int len = (int)strcspn(s, "\n");
		fprintf(out, "  %.*s\n", len, s);
		s += len;
	}
}

const char *bt_tool_group_name(enum bt_tool_group group)
{
	static const char *const names[BT_TOOL_GROUPS] = {
		[BT_GROUP_USE] = "Use a model",
		[BT_GROUP_MEASURE] = "Measure",
		[BT_GROUP_FILES] = "Get, inspect and convert models",
		[BT_GROUP_SCRIPT] = "For scripts",
	};
	return (unsigned)group < BT_TOOL_GROUPS ? names[group] : "";
}

static const char overview[] =
	"MODEL is a GGUF file, a built-in name (smollm2), hf:owner/repo[:file or quant] or an https URL. "
	"A name is looked up in the cache; `baton pull` fetches what is not there yet (smollm2 comes by itself).";

void bt_tools_help(FILE *out)
{
	fprintf(out,
	        "baton runs large language models from GGUF files.\n\nusage: baton COMMAND [options] [arguments]\n");
	for (int g = 0; g < BT_TOOL_GROUPS; g++) {
		bool any = false;
		for (const struct bt_tool *t = bt_tool_table; t->name; t++) {
			if ((int)t->group != g) continue;
			if (!any) fprintf(out, "\n%s:\n", bt_tool_group_name(t->group));
			any = true;
			fprintf(out, "  %-12s %s\n", t->name, t->summary);
		}
	}
	fputc('\n', out);
	wrap(out, overview, 0, 0, terminal_width(out));
	fprintf(out, "\n`baton COMMAND --help` explains a command; `baton --version` prints the version.\n"
	             "First steps: baton run smollm2 \"Why is the sky blue?\"\n");
}

/* Text with everything escaped that troff takes for itself. */
static void man_text(FILE *out, const char *s, size_t len)
{
	bool line_start = true;
	for (size_t i = 0; i < len; i++) {
		char c = s[i];
		if (line_start && (c == '.' || c == '\'')) fputs("\\&", out);
		line_start = c == '\n';
		if (c == '\\') fputs("\\e", out);
		else if (c == '-') fputs("\\-", out);
		else fputc(c, out);
	}
}

static void man_paragraphs(FILE *out, const char *s)
{
	for (; *s; s++) {
		size_t len = strcspn(s, "\n");
		if (len) {
			man_text(out, s, len);
			fputc('\n', out);
		} else {
			fputs(".PP\n", out);
		}
		s += len;
		if (!*s) break;
	}
}

static void man_options(const struct bt_tool *tool, FILE *out)
{
	char text[512];
	fputs(".SH OPTIONS\n", out);
	for (int g = 0; g < BT_OPT_GROUPS; g++) {
		bool any = false;
		for (int id = 0; id < BT_OPT_IDS; id++) {
			const struct bt_option *opt = &bt_option_table[id];
			if (!belongs(opt, tool, g)) continue;
			if (!any) fprintf(out, ".SS %s\n", bt_opt_group_name((enum bt_opt_group)g));
			any = true;
			fputs(".TP\n\\fB", out);
			man_text(out, opt->names, strlen(opt->names));
			fputs("\\fR", out);
			if (opt->metavar) {
				fputs(" \\fI", out);
				man_text(out, opt->metavar, strlen(opt->metavar));
				fputs("\\fR", out);
			}
			fputc('\n', out);
			option_text(opt, text, sizeof text);
			man_text(out, text, strlen(text));
			fputs(".\n", out);
		}
	}
}

static void man_examples(const char *s, FILE *out)
{
	fputs(".SH EXAMPLES\n.nf\n", out);
	man_text(out, s, strlen(s));
	fputs("\n.fi\n", out);
}

static void man_tail(FILE *out)
{
	fputs(".SH EXIT STATUS\n0 success, 1 the work failed (one line on standard error says why), 2 bad usage, "
	      "130 interrupted.\n"
	      ".SH ENVIRONMENT\n.TP\n\\fBXDG_CACHE_HOME\\fR\nwhere downloaded models are kept, below "
	      "\\fIbaton/models\\fR, and kernels that GPU drivers have compiled, below \\fIbaton/kernels\\fR (default: "
	      "~/.cache). Both may be deleted at any time.\n"
	      ".TP\n\\fBXDG_STATE_HOME\\fR\nwhere the history of \\fBbaton chat\\fR is kept (default: "
	      "~/.local/state).\n"
	      ".TP\n\\fBHF_TOKEN\\fR\naccess token for gated models on Hugging Face.\n"
	      ".TP\n\\fBHF_ENDPOINT\\fR\nthe hub to download from; \\fB\\-\\-hf\\-endpoint\\fR overrides it.\n",
	      out);
}

void bt_opts_man(const struct bt_tool *tool, FILE *out)
{
	fputs(".\\\" Generated from baton's table of options.\n", out);
	if (!tool) {
		fprintf(out,
		        ".TH BATON 1 \"\" \"baton %s\" \"baton manual\"\n.SH NAME\nbaton \\- run large language models "
		        "from GGUF files\n.SH SYNOPSIS\n.B baton\n.I COMMAND\n[options] [arguments]\n.SH DESCRIPTION\n",
		        baton_version());
		man_text(out, overview, strlen(overview));
		fputs("\n.SH COMMANDS\n", out);
		for (const struct bt_tool *t = bt_tool_table; t->name; t++) {
			fprintf(out, ".TP\n.BR baton\\-%s (1)\n", t->name);
			man_text(out, t->summary, strlen(t->summary));
			fputc('\n', out);
		}
		man_tail(out);
		return;
	}
	fprintf(out, ".TH BATON\\-%s 1 \"\" \"baton %s\" \"baton manual\"\n.SH NAME\nbaton\\-%s \\- ", tool->name,
	        baton_version(), tool->name);
	man_text(out, tool->summary, strlen(tool->summary));
	fprintf(out, "\n.SH SYNOPSIS\n.B baton %s\n[options] ", tool->name);
	man_text(out, tool->args, strlen(tool->args));
	fputs("\n.SH DESCRIPTION\n", out);
	man_paragraphs(out, tool->about);
	man_options(tool, out);
	if (tool->examples) man_examples(tool->examples, out);
	man_tail(out);
	fputs(".SH SEE ALSO\n.BR baton (1)\n", out);
}

static json_t *option_json(const struct bt_option *opt)
{
	static const char *const types[] = {
		[BT_OPT_FLAG] = "flag",       [BT_OPT_BOOL] = "bool",       [BT_OPT_INT] = "int",
		[BT_OPT_FLOAT] = "float",     [BT_OPT_STRING] = "string",   [BT_OPT_CHOICE] = "choice",
		[BT_OPT_INTS] = "ints",       [BT_OPT_STRINGS] = "strings", [BT_OPT_LIST] = "list",
		[BT_OPT_CHOICES] = "choices", [BT_OPT_JOINED] = "joined",
	};
	json_t *names = json_array();
	for (const char *s = opt->names; *s;) {
		size_t len = strcspn(s, ",");
		json_array_append_new(names, json_stringn(s, len));
		s += len;
		while (*s == ',' || *s == ' ') s++;
	}
	json_t *j = json_pack("{s:o, s:s?, s:s, s:s, s:s?, s:s?, s:s}", "names", names, "metavar", opt->metavar, "type",
	                      types[opt->type], "group", bt_opt_group_name(opt->group), "default", opt->def, "choices",
	                      opt->choices, "help", opt->help);
	if (opt->type == BT_OPT_INT || opt->type == BT_OPT_FLOAT || opt->type == BT_OPT_INTS) {
		json_object_set_new(j, "min", json_real(opt->min));
		json_object_set_new(j, "max", json_real(opt->max));
	}
	return j;
}

int bt_opts_dump(FILE *out)
{
	json_t *tools = json_object();
	for (const struct bt_tool *t = bt_tool_table; t->name; t++) {
		json_t *list = json_array();
		for (int id = 0; id < BT_OPT_IDS; id++)
			if (bt_option_table[id].tools & 1u << t->id)
				json_array_append_new(list, option_json(&bt_option_table[id]));
		json_object_set_new(tools, t->name,
		                    json_pack("{s:s, s:s, s:o}", "args", t->args, "summary", t->summary, "options",
		                              list));
	}
	int rc = tools ? json_dumpf(tools, out, JSON_INDENT(1) | JSON_PRESERVE_ORDER) : -1;
	fputc('\n', out);
	json_decref(tools);
	return rc;
}
