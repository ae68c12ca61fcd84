#include "tools/options.h"

#include "base/status.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_VALUES 65536 /* values of one list option: a range must not fill the memory */

const struct bt_option bt_option_table[BT_OPT_IDS] = {
#define OPT(id, ...) [BT_OPT_##id] = {__VA_ARGS__},
#include "tools/options.inc"
#undef OPT
};

static bool has_value(enum bt_opt_type type)
{
	return type != BT_OPT_FLAG;
}

static bool is_list(enum bt_opt_type type)
{
	return type == BT_OPT_STRINGS || type == BT_OPT_INTS || type == BT_OPT_CHOICES || type == BT_OPT_LIST;
}

/* The next of "a, b, c" at *at into name; false at the end. */
static bool next_name(const char **at, char *name, size_t size)
{
	const char *s = *at;
	while (*s == ',' || *s == ' ') s++;
	size_t len = strcspn(s, ",");
	if (len == 0 || len >= size) return false;
	memcpy(name, s, len);
	name[len] = 0;
	*at = s + len;
	return true;
}

/* Whether choices "a|b|c" hold the len bytes at s. */
static bool in_choices(const char *choices, const char *s, size_t len)
{
	for (const char *c = choices; *c;) {
		size_t n = strcspn(c, "|");
		if (n == len && !strncasecmp(c, s, n)) return true;
		c += n + (c[n] == '|');
	}
	return false;
}

void bt_opt_expects(const struct bt_option *opt, char *text, size_t size)
{
	size_t n;
	switch (opt->type) {
	case BT_OPT_FLAG: snprintf(text, size, "no value"); break;
	case BT_OPT_BOOL: snprintf(text, size, "0 or 1"); break;
	case BT_OPT_INT: snprintf(text, size, "a number from %.0f to %.0f", opt->min, opt->max); break;
	case BT_OPT_FLOAT: snprintf(text, size, "a number from %g to %g", opt->min, opt->max); break;
	case BT_OPT_INTS:
		snprintf(text, size, "numbers from %.0f to %.0f such as 1,2,4 or 1-8 or 1-8*2", opt->min, opt->max);
		break;
	case BT_OPT_CHOICE:
	case BT_OPT_CHOICES:
		n = (size_t)snprintf(text, size, opt->type == BT_OPT_CHOICE ? "one of " : "some of ");
		for (const char *c = opt->choices; *c && n + 1 < size; c++)
			n += (size_t)snprintf(text + n, size - n, "%s%c", *c == '|' ? "," : "", *c == '|' ? ' ' : *c);
		break;
	default: snprintf(text, size, "a text"); break;
	}
}

static enum baton_status bad_value(const struct bt_option *opt, const char *name, const char *value,
                                   struct baton_error *err)
{
	char expects[160];
	bt_opt_expects(opt, expects, sizeof expects);
	return bt_fail(err, BATON_ERR_ARG, "%s expects %s, got '%.80s'", name, expects, value);
}

static enum baton_status add_value(struct bt_opt_values *vals, const char *text, double num, struct baton_error *err)
{
	if (vals->n == vals->cap) {
		size_t cap = vals->cap ? vals->cap * 2 : 1;
		struct bt_opt_value *v = bt_mem_realloc(BT_MEM_HOST, vals->v, cap * sizeof *v);
		if (!v) return bt_fail_nomem(err, cap * sizeof *v, "options");
		vals->v = v;
		vals->cap = cap;
	}
	vals->v[vals->n++] = (struct bt_opt_value){text, num};
	return BATON_OK;
}

/* A whole number at the start of s; *end behind it. */
static bool whole(const char *s, const char **end, double *num)
{
	char *e;
	errno = 0;
	long long v = strtoll(s, &e, 10);
	if (e == s || errno || *s == ' ' || *s == '\t') return false;
	*num = (double)v;
	*end = e;
	return true;
}

/* One element of a list of numbers: "5", "1-8", "1-8+2", "1-8*2" up to a comma or the end. */
static enum baton_status add_range(struct bt_opt_values *vals, const struct bt_option *opt, const char *name,
                                   const char *value, const char **at, struct baton_error *err)
{
	const char *s = *at;
	double first, last, step = 1;
	char op = '+';
	if (!whole(s, &s, &first)) return bad_value(opt, name, value, err);
	last = first;
	if (*s == '-') {
		if (!whole(s + 1, &s, &last) || last < first) return bad_value(opt, name, value, err);
		if (*s == '+' || *s == '*') {
			op = *s;
			if (!whole(s + 1, &s, &step) || step < 1 || (op == '*' && (step < 2 || first < 1)))
				return bad_value(opt, name, value, err);
		}
	}
	if ((*s && *s != ',') || first < opt->min || last > opt->max) return bad_value(opt, name, value, err);
	for (double v = first; v <= last; v = op == '+' ? v + step : v * step) {
		if (vals->n >= MAX_VALUES)
			return bt_fail(err, BATON_ERR_ARG, "%s: '%.80s' are more than %d values", name, value,
			               MAX_VALUES);
		enum baton_status st = add_value(vals, NULL, v, err);
		if (st) return st;
	}
	*at = s;
	return BATON_OK;
}

static enum baton_status add_ints(struct bt_opt_values *vals, const struct bt_option *opt, const char *name,
                                  const char *value, struct baton_error *err)
{
	for (const char *s = value;; s++) {
		enum baton_status st = add_range(vals, opt, name, value, &s, err);
		if (st) return st;
		if (!*s) return BATON_OK;
	}
}

static enum baton_status add_list(struct bt_opts *o, struct bt_opt_values *vals, const struct bt_option *opt,
                                  const char *name, const char *value, struct baton_error *err)
{
	for (const char *s = value;; s++) {
		size_t len = strcspn(s, ",");
		if (!len || (opt->type == BT_OPT_CHOICES && !in_choices(opt->choices, s, len)))
			return bad_value(opt, name, value, err);
		char *copy = bt_arena_strndup(&o->arena, s, len);
		if (!copy) return bt_fail_nomem(err, len, "options");
		enum baton_status st = add_value(vals, copy, 0, err);
		if (st) return st;
		s += len;
		if (!*s) return BATON_OK;
	}
}

/* What was given before, a comma, and this. */
static enum baton_status join_value(struct bt_opts *o, struct bt_opt_values *vals, const char *value,
                                    struct baton_error *err)
{
	if (!vals->n) return add_value(vals, value, 0, err);
	size_t before = strlen(vals->v[0].text), size = before + strlen(value) + 2;
	char *text = bt_arena_alloc(&o->arena, size);
	if (!text) return bt_fail_nomem(err, size, "options");
	snprintf(text, size, "%s,%s", vals->v[0].text, value);
	vals->v[0].text = text;
	return BATON_OK;
}

static enum baton_status set_number(struct bt_opt_values *vals, const struct bt_option *opt, const char *name,
                                    const char *value, struct baton_error *err)
{
	double num = 0;
	if (opt->type == BT_OPT_FLOAT) {
		char *end;
		num = strtod(value, &end);
		if (end == value || *end || !isfinite(num) || *value == ' ') return bad_value(opt, name, value, err);
	} else {
		const char *end;
		if (!whole(value, &end, &num) || *end) return bad_value(opt, name, value, err);
	}
	if (num < opt->min || num > opt->max) return bad_value(opt, name, value, err);
	return add_value(vals, value, num, err);
}

static enum baton_status set_bool(struct bt_opt_values *vals, const struct bt_option *opt, const char *name,
                                  const char *value, struct baton_error *err)
{
	if (in_choices("1|on|true|yes", value, strlen(value))) return add_value(vals, "1", 1, err);
	if (in_choices("0|off|false|no", value, strlen(value))) return add_value(vals, "0", 0, err);
	return bad_value(opt, name, value, err);
}

/* Store one value, or a list of them, from the command line or from the table's default. */
static enum baton_status set_value(struct bt_opts *o, enum bt_opt_id id, const char *name, const char *value,
                                   struct baton_error *err)
{
	const struct bt_option *opt = &bt_option_table[id];
	struct bt_opt_values *vals = &o->opt[id];
	if (!is_list(opt->type) && opt->type != BT_OPT_JOINED) vals->n = 0; /* the last one wins */
	switch (opt->type) {
	case BT_OPT_FLAG: return add_value(vals, "1", 1, err);
	case BT_OPT_BOOL: return set_bool(vals, opt, name, value, err);
	case BT_OPT_INT:
	case BT_OPT_FLOAT: return set_number(vals, opt, name, value, err);
	case BT_OPT_CHOICE:
		if (!in_choices(opt->choices, value, strlen(value))) return bad_value(opt, name, value, err);
		return add_value(vals, value, 0, err);
	case BT_OPT_JOINED: return join_value(o, vals, value, err);
	case BT_OPT_INTS: return add_ints(vals, opt, name, value, err);
	case BT_OPT_CHOICES:
	case BT_OPT_LIST: return add_list(o, vals, opt, name, value, err);
	default: return add_value(vals, value, 0, err);
	}
}

/* The tool's option called name, or -1. Underscores count as hyphens, as llama.cpp has it. */
static int find_option(const struct bt_tool *tool, const char *name)
{
	char norm[64], one[64];
	size_t len = strlen(name);
	if (len >= sizeof norm) return -1;
	for (size_t i = 0; i <= len; i++) norm[i] = name[i] == '_' ? '-' : name[i];
	for (int id = 0; id < BT_OPT_IDS; id++) {
		if (!(bt_option_table[id].tools & 1u << tool->id)) continue;
		for (const char *at = bt_option_table[id].names; next_name(&at, one, sizeof one);)
			if (!strcmp(one, norm)) return id;
	}
	return -1;
}

/* Edits (insert, delete, replace, swap neighbours) that turn a into b; both shorter than 64. */
static int edits(const char *a, const char *b)
{
	int d[3][64], na = (int)strlen(a), nb = (int)strlen(b);
	for (int j = 0; j <= nb; j++) d[0][j] = j;
	for (int i = 1; i <= na; i++) {
		int *cur = d[i % 3], *prev = d[(i + 2) % 3], *prev2 = d[(i + 1) % 3];
		cur[0] = i;
		for (int j = 1; j <= nb; j++) {
			int best = prev[j - 1] + (a[i - 1] != b[j - 1]);
			if (prev[j] + 1 < best) best = prev[j] + 1;
			if (cur[j - 1] + 1 < best) best = cur[j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && prev2[j - 2] + 1 < best)
				best = prev2[j - 2] + 1;
			cur[j] = best;
		}
	}
	return d[na % 3][nb];
}

static enum baton_status unknown_option(const struct bt_tool *tool, const char *name, struct baton_error *err)
{
	char one[64], best[64] = "";
	size_t len = strlen(name);
	int best_score = len < 64 ? 1 + (int)len / 3 : 0; /* this many edits are no likeness any more */
	if (len <= 2) best_score = 0;
	for (int id = 0; id < BT_OPT_IDS && len < 64; id++) {
		if (!(bt_option_table[id].tools & 1u << tool->id)) continue;
		for (const char *at = bt_option_table[id].names; next_name(&at, one, sizeof one);) {
			int score = len > 3 && !strncmp(one, name, len) ? 0 : edits(name, one);
			if (score < best_score) {
				best_score = score;
				memcpy(best, one, sizeof best);
			}
		}
	}
	if (best[0]) return bt_fail(err, BATON_ERR_ARG, "unknown option %.60s, did you mean %s?", name, best);
	return bt_fail(err, BATON_ERR_ARG, "unknown option %.60s", name);
}

static enum baton_status parse_option(struct bt_opts *o, int argc, char **argv, int *i, struct baton_error *err)
{
	const char *arg = argv[*i], *value = NULL;
	char name[64];
	const char *eq = !strncmp(arg, "--", 2) ? strchr(arg, '=') : NULL;
	size_t len = eq ? (size_t)(eq - arg) : strlen(arg);
	if (len >= sizeof name) return unknown_option(o->tool, arg, err);
	memcpy(name, arg, len);
	name[len] = 0;
	int id = find_option(o->tool, name);
	if (id < 0) return unknown_option(o->tool, name, err);
	const struct bt_option *opt = &bt_option_table[id];
	if (opt->type == BT_OPT_BOOL && !strncmp(name, "--no-", 5)) value = "0";
	if (eq && (value || !has_value(opt->type)))
		return bt_fail(err, BATON_ERR_ARG, "%s takes no value, got '%.80s'", name, eq + 1);
	if (eq) value = eq + 1;
	if (!value && has_value(opt->type)) {
		if (*i + 1 >= argc) {
			char expects[160];
			bt_opt_expects(opt, expects, sizeof expects);
			return bt_fail(err, BATON_ERR_ARG, "%s expects %s", name, expects);
		}
		value = argv[++*i];
	}
	if (!o->opt[id].given) o->opt[id].n = 0; /* the command line replaces the default, and then adds to itself */
	o->opt[id].given = true;
	return set_value(o, (enum bt_opt_id)id, name, value, err);
}

static enum baton_status set_defaults(struct bt_opts *o, struct baton_error *err)
{
	for (int id = 0; id < BT_OPT_IDS; id++) {
		const struct bt_option *opt = &bt_option_table[id];
		if (!opt->def || !(opt->tools & 1u << o->tool->id)) continue;
		enum baton_status st = set_value(o, (enum bt_opt_id)id, opt->names, opt->def, err);
		if (st) return st;
	}
	return BATON_OK;
}

/* Models given with -m become the first arguments, so that tools look in one place. */
static enum baton_status place_models(struct bt_opts *o, struct baton_error *err)
{
	static const enum bt_opt_id ids[] = {BT_OPT_MODEL, BT_OPT_BENCH_MODEL};
	for (size_t k = 0; k < sizeof ids / sizeof *ids; k++) {
		size_t n = o->opt[ids[k]].n;
		if (!n) continue;
		if (ids[k] == BT_OPT_MODEL && n > 1) return bt_fail(err, BATON_ERR_ARG, "-m was given %zu times", n);
		const char **args = bt_arena_alloc(&o->arena, (n + (size_t)o->n_args) * sizeof *args);
		if (!args) return bt_fail_nomem(err, n, "options");
		for (size_t i = 0; i < n; i++) args[i] = o->opt[ids[k]].v[i].text;
		if (o->n_args) memcpy(args + n, o->args, (size_t)o->n_args * sizeof *args);
		o->args = args;
		o->n_args += (int)n;
	}
	return BATON_OK;
}

enum baton_status bt_opts_parse(struct bt_opts *o, const struct bt_tool *tool, int argc, char **argv,
                                struct baton_error *err)
{
	memset(o, 0, sizeof *o);
	o->tool = tool;
	bt_arena_init(&o->arena, BT_MEM_HOST, 0);
	enum baton_status st = set_defaults(o, err);
	o->args = bt_arena_alloc(&o->arena, (size_t)(argc > 0 ? argc : 1) * sizeof *o->args);
	if (!st && !o->args) st = bt_fail_nomem(err, (size_t)argc, "options");
	bool only_args = false;
	for (int i = 1; i < argc && !st; i++) {
		if (!only_args && !strcmp(argv[i], "--")) only_args = true;
		else if (!only_args && argv[i][0] == '-' && argv[i][1]) st = parse_option(o, argc, argv, &i, err);
		else o->args[o->n_args++] = argv[i];
		if (o->opt[BT_OPT_HELP].n || o->opt[BT_OPT_LIST_DEVICES].n) return st;
	}
	if (!st) st = place_models(o, err);
	if (!st && o->n_args < tool->min_args)
		st = bt_fail(err, BATON_ERR_ARG, "%s missing: baton %s %s", o->n_args ? "argument" : "arguments",
		             tool->name, tool->args);
	if (!st && tool->max_args >= 0 && o->n_args > tool->max_args)
		st = bt_fail(err, BATON_ERR_ARG, "unexpected argument '%.80s' (a text of several words needs quotes)",
		             o->args[tool->max_args]);
	return st;
}

void bt_opts_free(struct bt_opts *o)
{
	for (int id = 0; id < BT_OPT_IDS; id++) bt_mem_free(o->opt[id].v);
	bt_arena_free(&o->arena);
	memset(o, 0, sizeof *o);
}

static const struct bt_opt_value *last_value(const struct bt_opts *o, enum bt_opt_id id)
{
	static const struct bt_opt_value none = {NULL, 0};
	return o->opt[id].n ? &o->opt[id].v[o->opt[id].n - 1] : &none;
}

bool bt_opt_given(const struct bt_opts *o, enum bt_opt_id id)
{
	return o->opt[id].given;
}

bool bt_opt_flag(const struct bt_opts *o, enum bt_opt_id id)
{
	return last_value(o, id)->num != 0;
}

int64_t bt_opt_int(const struct bt_opts *o, enum bt_opt_id id)
{
	return (int64_t)last_value(o, id)->num;
}

double bt_opt_float(const struct bt_opts *o, enum bt_opt_id id)
{
	return last_value(o, id)->num;
}

const char *bt_opt_str(const struct bt_opts *o, enum bt_opt_id id)
{
	return last_value(o, id)->text;
}

size_t bt_opt_count(const struct bt_opts *o, enum bt_opt_id id)
{
	return o->opt[id].n;
}

int64_t bt_opt_int_at(const struct bt_opts *o, enum bt_opt_id id, size_t i)
{
	return i < o->opt[id].n ? (int64_t)o->opt[id].v[i].num : 0;
}

const char *bt_opt_str_at(const struct bt_opts *o, enum bt_opt_id id, size_t i)
{
	return i < o->opt[id].n ? o->opt[id].v[i].text : NULL;
}

int bt_opts_usage(const struct bt_opts *o, const char *fmt, ...)
{
	char text[512];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	fprintf(stderr, "baton %s: %s; see `baton %s --help`\n", o->tool->name, text, o->tool->name);
	return BT_EXIT_USAGE;
}
