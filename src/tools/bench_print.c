/* bench_print.c: results as csv, json, jsonl, md and sql, with the names and the order of llama-bench's fields.
 *
 * Source: llama-bench of llama.cpp (tools/llama-bench, README and the fields that it prints), as of the schema with
 * use_mmap and use_direct_io. Scripts that read one read the other.
 */
#include "tools/bench.h"

#include "build_id.h"
#include "engine/devices.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum kind { TEXT, CHARS, INT, BOOL, U64, REAL };

/* Columns of md that are shown only where the grid needs them. */
enum column {
	NEVER,
	COL_NGL,
	COL_NCMOE,
	COL_THREADS,
	COL_BATCH,
	COL_UBATCH,
	COL_TYPE_K,
	COL_TYPE_V,
	COL_FA,
	COL_DEV,
	COL_OT,
	COL_MMAP,
};

struct field {
	const char *name;
	enum kind kind;
	size_t offset;      /* in struct bt_bench_result */
	enum column column; /* md */
	const char *label;
	int width; /* negative: left-aligned */
};

#define AT(f) offsetof(struct bt_bench_result, f)

static const struct field fields[] = {
	{"build_commit", TEXT, AT(build_commit), NEVER, NULL, 0},
	{"build_number", INT, AT(build_number), NEVER, NULL, 0},
	{"cpu_info", TEXT, AT(cpu_info), NEVER, NULL, 0},
	{"gpu_info", TEXT, AT(gpu_info), NEVER, NULL, 0},
	{"backends", TEXT, AT(backends), NEVER, NULL, 0},
	{"model_filename", TEXT, AT(model_filename), NEVER, NULL, 0},
	{"model_type", TEXT, AT(model_type), NEVER, NULL, 0},
	{"model_size", U64, AT(model_size), NEVER, NULL, 0},
	{"model_n_params", U64, AT(model_n_params), NEVER, NULL, 0},
	{"n_batch", INT, AT(test.n_batch), COL_BATCH, "n_batch", 7},
	{"n_ubatch", INT, AT(test.n_ubatch), COL_UBATCH, "n_ubatch", 8},
	{"n_threads", INT, AT(test.n_threads), COL_THREADS, "threads", 7},
	{"cpu_mask", TEXT, AT(cpu_mask), NEVER, NULL, 0},
	{"cpu_strict", BOOL, AT(cpu_strict), NEVER, NULL, 0},
	{"poll", INT, AT(poll), NEVER, NULL, 0},
	{"type_k", TEXT, AT(test.type_k), COL_TYPE_K, "type_k", 6},
	{"type_v", TEXT, AT(test.type_v), COL_TYPE_V, "type_v", 6},
	{"n_gpu_layers", INT, AT(test.n_gpu_layers), COL_NGL, "ngl", 3},
	{"n_cpu_moe", INT, AT(test.n_cpu_moe), COL_NCMOE, "n_cpu_moe", 10},
	{"split_mode", TEXT, AT(split_mode), NEVER, NULL, 0},
	{"main_gpu", INT, AT(main_gpu), NEVER, NULL, 0},
	{"no_kv_offload", BOOL, AT(no_kv_offload), NEVER, NULL, 0},
	{"flash_attn", INT, AT(test.flash_attn), COL_FA, "fa", 3},
	{"devices", TEXT, AT(test.device), COL_DEV, "dev", -12},
	{"tensor_split", TEXT, AT(tensor_split), NEVER, NULL, 0},
	{"tensor_buft_overrides", TEXT, AT(test.override_tensor), COL_OT, "ot", -10},
	{"use_mmap", BOOL, AT(test.use_mmap), COL_MMAP, "mmap", 4},
	{"use_direct_io", BOOL, AT(use_direct_io), NEVER, NULL, 0},
	{"embeddings", BOOL, AT(embeddings), NEVER, NULL, 0},
	{"no_op_offload", INT, AT(no_op_offload), NEVER, NULL, 0},
	{"no_host", BOOL, AT(no_host), NEVER, NULL, 0},
	{"n_prompt", INT, AT(test.n_prompt), NEVER, NULL, 0},
	{"n_gen", INT, AT(test.n_gen), NEVER, NULL, 0},
	{"n_depth", INT, AT(test.n_depth), NEVER, NULL, 0},
	{"test_time", CHARS, AT(test_time), NEVER, NULL, 0},
	{"avg_ns", U64, AT(avg_ns), NEVER, NULL, 0},
	{"stddev_ns", U64, AT(stddev_ns), NEVER, NULL, 0},
	{"avg_ts", REAL, AT(avg_ts), NEVER, NULL, 0},
	{"stddev_ts", REAL, AT(stddev_ts), NEVER, NULL, 0},
};

enum { N_FIELDS = sizeof fields / sizeof *fields };

/* The field's value as text: numbers and texts as they are, bools as 0 and 1. */
static const char *value(const struct bt_bench_result *r, const struct field *f, char *buf, size_t size)
{
	const char *at = (const char *)r + f->offset;
	switch (f->kind) {
	case TEXT: return *(const char *const *)(const void *)at;
	case CHARS: return at;
	case INT: snprintf(buf, size, "%d", *(const int *)(const void *)at); break;
	case BOOL: snprintf(buf, size, "%d", *(const bool *)(const void *)at); break;
	case U64: snprintf(buf, size, "%llu", *(const unsigned long long *)(const void *)at); break;
	case REAL: snprintf(buf, size, "%f", *(const double *)(const void *)at); break;
	}
	return buf;
}

static bool is_text(const struct field *f)
{
	return f->kind == TEXT || f->kind == CHARS;
}

/* Text between quotes, with those inside doubled: csv and sql. */
static void quoted(FILE *out, const char *s, char quote)
{
	fputc(quote, out);
	for (; *s; s++) {
		if (*s == quote) fputc(quote, out);
		fputc(*s, out);
	}
	fputc(quote, out);
}

static void json_text(FILE *out, const char *s)
{
	fputc('"', out);
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;
		if (c == '"' || c == '\\') fprintf(out, "\\%c", c);
		else if (c < 32) fprintf(out, "\\u%04x", c);
		else fputc(c, out);
	}
	fputc('"', out);
}

static void json_fields(FILE *out, const struct bt_bench_result *r, const char *indent, const char *separator)
{
	char buf[64];
	for (int i = 0; i < N_FIELDS; i++) {
		const struct field *f = &fields[i];
		const char *v = value(r, f, buf, sizeof buf);
		fprintf(out, "%s\"%s\": ", indent, f->name);
		if (is_text(f)) json_text(out, v);
		else fputs(f->kind == BOOL ? (*v == '0' ? "false" : "true") : v, out);
		fprintf(out, ",%s", separator);
	}
	fprintf(out, "%s\"samples_ns\": [", indent);
	for (size_t i = 0; i < r->n_samples; i++)
		fprintf(out, "%s%llu", i ? ", " : " ", (unsigned long long)r->samples_ns[i]);
	fprintf(out, " ],%s%s\"samples_ts\": [", separator, indent);
	for (size_t i = 0; i < r->n_samples; i++) fprintf(out, "%s%g", i ? ", " : " ", bt_bench_speed(r, i));
	fprintf(out, " ]%s", *indent ? "\n" : "");
}

static void csv_begin(struct bt_bench_printer *p)
{
	for (int i = 0; i < N_FIELDS; i++) fprintf(p->out, "%s%s", i ? "," : "", fields[i].name);
	fputc('\n', p->out);
}

static void csv_print(struct bt_bench_printer *p, const struct bt_bench_result *r)
{
	char buf[64];
	for (int i = 0; i < N_FIELDS; i++) {
		if (i) fputc(',', p->out);
		quoted(p->out, value(r, &fields[i], buf, sizeof buf), '"');
	}
	fputc('\n', p->out);
}

static void json_begin(struct bt_bench_printer *p)
{
	fputs("[\n", p->out);
}

static void json_print(struct bt_bench_printer *p, const struct bt_bench_result *r)
{
	fputs(p->n_printed ? ",\n  {\n" : "  {\n", p->out);
	json_fields(p->out, r, "    ", "\n");
	fputs("  }", p->out);
}

static void json_end(struct bt_bench_printer *p)
{
	fputs("\n]\n", p->out);
}

static void jsonl_print(struct bt_bench_printer *p, const struct bt_bench_result *r)
{
	fputc('{', p->out);
	json_fields(p->out, r, "", " ");
	fputs("}\n", p->out);
}

static void sql_begin(struct bt_bench_printer *p)
{
	fputs("CREATE TABLE IF NOT EXISTS llama_bench (\n", p->out);
	for (int i = 0; i < N_FIELDS; i++)
		fprintf(p->out, "  %s %s%s\n", fields[i].name,
		        is_text(&fields[i])      ? "TEXT"
		        : fields[i].kind == REAL ? "REAL"
		                                 : "INTEGER",
		        i + 1 < N_FIELDS ? "," : "");
	fputs(");\n\n", p->out);
}

static void sql_print(struct bt_bench_printer *p, const struct bt_bench_result *r)
{
	char buf[64];
	fputs("INSERT INTO llama_bench (", p->out);
	for (int i = 0; i < N_FIELDS; i++) fprintf(p->out, "%s%s", i ? ", " : "", fields[i].name);
	fputs(") VALUES (", p->out);
	for (int i = 0; i < N_FIELDS; i++) {
		if (i) fputs(", ", p->out);
		quoted(p->out, value(r, &fields[i], buf, sizeof buf), '\'');
	}
	fputs(");\n", p->out);
}

/* Columns that take bytes of UTF-8 for one place on the screen need as much more width. */
static void md_cell(FILE *out, const char *s, int width)
{
	int more = 0;
	for (const char *c = s; *c; c++) more += (*c & 0xC0) == 0x80;
	fprintf(out, " %*s |", width < 0 ? width - more : width + more, s);
}

static bool md_shows(const struct bt_bench_printer *p, const struct field *f)
{
	return f->column != NEVER && p->columns >> f->column & 1;
}

static void md_rule(FILE *out, int width)
{
	fputc(' ', out);
	for (int i = 1; i < abs(width); i++) fputc('-', out);
	fprintf(out, "%c |", width < 0 ? '-' : ':');
}

static void md_begin(struct bt_bench_printer *p)
{
	static const struct {
		const char *label;
		int width;
	} first[] = {{"model", -30}, {"size", 10}, {"params", 10}, {"backend", -10}},
	  last[] = {{"test", 15}, {"t/s", 20}};
	for (int line = 0; line < 2; line++) {
		fputc('|', p->out);
		for (int i = 0; i < 4; i++)
			line ? md_rule(p->out, first[i].width) : md_cell(p->out, first[i].label, first[i].width);
		/* llama-bench shows them in this order, not in that of the fields. */
		for (unsigned c = NEVER + 1; c <= COL_MMAP; c++)
			for (int i = 0; i < N_FIELDS; i++)
				if (fields[i].column == c && md_shows(p, &fields[i]))
					line ? md_rule(p->out, fields[i].width)
					     : md_cell(p->out, fields[i].label, fields[i].width);
		for (int i = 0; i < 2; i++)
			line ? md_rule(p->out, last[i].width) : md_cell(p->out, last[i].label, last[i].width);
		fputc('\n', p->out);
	}
}

static void md_print(struct bt_bench_printer *p, const struct bt_bench_result *r)
{
	char buf[128];
	fputc('|', p->out);
	md_cell(p->out, r->model_type, -30);
	if (r->model_size < 1u << 30) snprintf(buf, sizeof buf, "%.2f MiB", (double)r->model_size / 1048576);
	else snprintf(buf, sizeof buf, "%.2f GiB", (double)r->model_size / 1073741824);
	md_cell(p->out, buf, 10);
	if (r->model_n_params < 1000000000) snprintf(buf, sizeof buf, "%.2f M", (double)r->model_n_params / 1e6);
	else snprintf(buf, sizeof buf, "%.2f B", (double)r->model_n_params / 1e9);
	md_cell(p->out, buf, 10);
	md_cell(p->out, r->backends, -10);
	for (unsigned c = NEVER + 1; c <= COL_MMAP; c++)
		for (int i = 0; i < N_FIELDS; i++)
			if (fields[i].column == c && md_shows(p, &fields[i]))
				md_cell(p->out, value(r, &fields[i], buf, sizeof buf), fields[i].width);
	int n = 0;
	if (r->test.n_prompt) n += snprintf(buf + n, sizeof buf - (size_t)n, "pp%d", r->test.n_prompt);
	if (r->test.n_gen) n += snprintf(buf + n, sizeof buf - (size_t)n, "%stg%d", n ? "+" : "", r->test.n_gen);
	if (r->test.n_depth) snprintf(buf + n, sizeof buf - (size_t)n, " @ d%d", r->test.n_depth);
	md_cell(p->out, buf, 15);
	snprintf(buf, sizeof buf, "%.2f \xC2\xB1 %.2f", r->avg_ts, r->stddev_ts);
	md_cell(p->out, buf, 20);
	fputc('\n', p->out);
}

static void build_id(const char **commit, int *number)
{
	static const char id[] = BT_BUILD_ID;
	static char name[sizeof id];
	if (sscanf(id, "%s %d", name, number) != 2) *number = 0;
	*commit = name;
}

static void md_end(struct bt_bench_printer *p)
{
	const char *commit;
	int number;
	build_id(&commit, &number);
	fprintf(p->out, "\nbuild: %s (%d)\n", commit, number);
}

struct bt_bench_format {
	const char *name;
	void (*begin)(struct bt_bench_printer *p);
	void (*print)(struct bt_bench_printer *p, const struct bt_bench_result *r);
	void (*end)(struct bt_bench_printer *p);
};

static const struct bt_bench_format formats[] = {
	{"csv", csv_begin, csv_print, NULL}, {"json", json_begin, json_print, json_end},
	{"jsonl", NULL, jsonl_print, NULL},  {"md", md_begin, md_print, md_end},
	{"sql", sql_begin, sql_print, NULL},
};

/* The columns in which some case differs from the table's defaults. */
static unsigned needed_columns(const struct bt_bench_case *cases, size_t n)
{
	unsigned mask = 1u << COL_THREADS; /* as llama-bench does on a CPU */
	for (size_t i = 0; i < n; i++) {
		const struct bt_bench_case *c = &cases[i];
		bool cpu = !bt_devices_accelerated(strcmp(c->device, "auto") ? c->device : NULL);
		mask |= (unsigned)(!cpu || c->n_gpu_layers != atoi(bt_option_table[BT_OPT_BENCH_NGL].def)) << COL_NGL;
		mask |= (unsigned)!!strcmp(c->override_tensor, bt_option_table[BT_OPT_BENCH_OT].def) << COL_OT;
		mask |= (unsigned)(c->n_cpu_moe != atoi(bt_option_table[BT_OPT_BENCH_NCMOE].def)) << COL_NCMOE;
		mask |= (unsigned)(c->n_batch != atoi(bt_option_table[BT_OPT_BENCH_BATCH].def)) << COL_BATCH;
		mask |= (unsigned)(c->n_ubatch != atoi(bt_option_table[BT_OPT_BENCH_UBATCH].def)) << COL_UBATCH;
		mask |= (unsigned)!!strcmp(c->type_k, bt_option_table[BT_OPT_BENCH_CTK].def) << COL_TYPE_K;
		mask |= (unsigned)!!strcmp(c->type_v, bt_option_table[BT_OPT_BENCH_CTV].def) << COL_TYPE_V;
		mask |= (unsigned)!!strcmp(c->device, bt_option_table[BT_OPT_BENCH_DEVICE].def) << COL_DEV;
		mask |= (unsigned)(c->flash_attn != 1) << COL_FA;
		mask |= (unsigned)!c->use_mmap << COL_MMAP;
	}
	return mask;
}

void bt_bench_print_begin(struct bt_bench_printer *p, const char *name, FILE *out, const struct bt_bench_case *cases,
                          size_t n)
{
	*p = (struct bt_bench_printer){.out = out, .columns = needed_columns(cases, n)};
	for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
		if (!strcmp(name, formats[i].name)) p->format = &formats[i];
	if (p->format && p->format->begin) p->format->begin(p);
	fflush(out);
}

void bt_bench_print(struct bt_bench_printer *p, const struct bt_bench_result *r)
{
	if (!p->format) return;
	p->format->print(p, r);
	p->n_printed++;
	fflush(p->out);
}

void bt_bench_print_end(struct bt_bench_printer *p)
{
	if (p->format && p->format->end) p->format->end(p);
	fflush(p->out);
}

void bt_bench_result_init(struct bt_bench_result *r, const struct bt_bench_case *test)
{
	time_t now = time(NULL);
	struct tm tm;
	*r = (struct bt_bench_result){.test = *test,
	                              .cpu_info = "",
	                              .gpu_info = "",
	                              .backends = "CPU",
	                              .model_filename = test->model,
	                              .model_type = "",
	                              .cpu_mask = "0x0",
	                              .split_mode = "layer",
	                              .tensor_split = "0.00",
	                              .poll = 50};
	build_id(&r->build_commit, &r->build_number);
	gmtime_r(&now, &tm);
	strftime(r->test_time, sizeof r->test_time, "%Y-%m-%dT%H:%M:%SZ", &tm);
}
