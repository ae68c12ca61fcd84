/* quantize.c: `baton quantize IN OUT TYPE [THREADS]`: a model with its weights in other types. */
#include "base/limits.h"
#include "base/pool.h"
#include "gguf/write.h"
#include "quant/mix.h"
#include "tools/options.h"
#include "tools/ui.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
	PIECE = 8192,             /* values converted at a time by one thread: a multiple of every type's block */
	PIECES = 256,             /* of them in one batch, between two looks at Ctrl-C */
	QUANTIZATION_VERSION = 2, /* ggml's GGML_QNT_VERSION: the block layouts that every row of the table has */
};

/* What becomes of one tensor. */
struct conversion {
	const struct bt_tensor *tensor;
	const struct bt_type *to, *wanted; /* wanted differs where the row's length forbids it */
	char name[BT_LIMIT_GGUF_NAME + 1];
	int layer;
	size_t index; /* in the file */
};

struct job {
	const struct bt_opts *opts;
	struct bt_gguf *in;
	struct bt_gguf_writer *out;
	struct bt_pool *pool;
	struct bt_mix_state mix;
	struct conversion *conv; /* [n], in the file's order */
	size_t n;
	float *scratch;       /* [threads][2][PIECE] */
	uint8_t *packed;      /* [PIECES][bytes of PIECE values in the widest type] */
	uint64_t done, total; /* bytes of input */
	struct bt_ui_progress progress;
};

/* One tensor's batch, as the threads see it. */
struct batch {
	const struct conversion *c;
	const struct job *job;
	uint64_t first, n_values; /* of the tensor: first value of the batch, values in all */
	atomic_bool not_finite;
};

static uint64_t n_values(const struct bt_tensor *t)
{
	return t->dim[0] * t->n_rows;
}

static bool all_finite(const float *x, size_t n)
{
	float sum = 0; /* of zeros, or NaN where a value is infinite or NaN */
	for (size_t i = 0; i < n; i++) sum += x[i] * 0.0f;
	return sum == 0;
}

/* Pieces begin..end of a batch. Rows need no attention: blocks never straddle two of them, in either type. */
static void convert_pieces(void *arg, size_t begin, size_t end, unsigned thread)
{
	struct batch *b = arg;
	const struct bt_type *from = b->c->tensor->type, *to = b->c->to;
	float *x = b->job->scratch + (size_t)thread * 2 * PIECE, *check = x + PIECE;
	for (size_t i = begin; i < end; i++) {
		uint64_t at = b->first + i * PIECE;
		size_t n = b->n_values - at < PIECE ? (size_t)(b->n_values - at) : PIECE;
		uint8_t *packed = b->job->packed + i * bt_type_row_bytes(to, PIECE);
		from->unpack((const uint8_t *)b->c->tensor->data + bt_type_row_bytes(from, at), x, n);
		to->pack(x, packed, n, NULL);
		to->unpack(packed, check, n); /* a scale may be too large for the type's 16 bits */
		if (!all_finite(x, n) || !all_finite(check, n)) atomic_store(&b->not_finite, true);
	}
}

static enum baton_status cancelled(struct baton_error *err)
{
	return bt_fail(err, BATON_ERR_CANCELLED, "interrupted");
}

static enum baton_status convert(struct job *j, const struct conversion *c, struct baton_error *err)
{
	struct batch b = {.c = c, .job = j, .n_values = n_values(c->tensor)};
	uint64_t before = j->done;
	for (; b.first < b.n_values; b.first += (uint64_t)PIECES * PIECE) {
		uint64_t left = b.n_values - b.first;
		uint64_t n = left < (uint64_t)PIECES * PIECE ? left : (uint64_t)PIECES * PIECE;
		bt_pool_run(j->pool, convert_pieces, &b, (size_t)((n + PIECE - 1) / PIECE), 1);
		if (bt_ui_interrupted()) return cancelled(err);
		if (atomic_load(&b.not_finite))
			return bt_fail(err, BATON_ERR_FORMAT,
			               "%s: tensor %s holds values that are infinite, not a number or too large for %s",
			               bt_gguf_path(j->in), c->name, c->to->name);
		enum baton_status st = bt_gguf_writer_data(j->out, j->packed, bt_type_row_bytes(c->to, n), err);
		if (st) return st;
		j->done = before + bt_type_row_bytes(c->tensor->type, b.first + n);
		bt_ui_progress_update(&j->progress, j->done, j->total);
	}
	return BATON_OK;
}

static enum baton_status copy(struct job *j, const struct conversion *c, struct baton_error *err)
{
	const uint8_t *data = c->tensor->data;
	for (uint64_t at = 0; at < c->tensor->size;) {
		uint64_t left = c->tensor->size - at, n = left < (8u << 20) ? left : 8u << 20;
		enum baton_status st = bt_gguf_writer_data(j->out, data + at, n, err);
		if (st) return st;
		if (bt_ui_interrupted()) return cancelled(err);
		at += n;
		j->done += n;
		bt_ui_progress_update(&j->progress, j->done, j->total);
	}
	return BATON_OK;
}

static uint64_t new_size(const struct conversion *c)
{
	return bt_type_row_bytes(c->to, n_values(c->tensor));
}

static void print_tensor(struct job *j, size_t i)
{
	const struct conversion *c = &j->conv[i];
	const struct bt_tensor *t = c->tensor;
	bt_ui_progress_end(&j->progress);
	printf("[%4zu/%4zu] %-36s - [%5llu, %5llu, %5llu, %5llu], type = %6s, ", i + 1, j->n, c->name,
	       (unsigned long long)t->dim[0], (unsigned long long)t->dim[1], (unsigned long long)t->dim[2],
	       (unsigned long long)t->dim[3], t->type->name);
	if (c->to == t->type) printf("size = %8.3f MiB", (double)t->size / 1048576);
	else
		printf("converting to %s .. size = %8.2f MiB -> %8.2f MiB", c->to->name, (double)t->size / 1048576,
		       (double)new_size(c) / 1048576);
	if (c->wanted != c->to) printf(" (rows of %llu don't fit %s)", (unsigned long long)t->dim[0], c->wanted->name);
	putchar('\n');
	fflush(stdout);
}

static void print_total(const struct job *j)
{
	uint64_t before = 0, after = 0, values = 0;
	for (size_t i = 0; i < j->n; i++) {
		before += j->conv[i].tensor->size;
		after += new_size(&j->conv[i]);
		values += n_values(j->conv[i].tensor);
	}
	double v = values ? (double)values : 1;
	printf("model size  = %8.2f MiB (%.2f BPW)\n", (double)before / 1048576, (double)before * 8 / v);
	printf("quant size  = %8.2f MiB (%.2f BPW)\n", (double)after / 1048576, (double)after * 8 / v);
}

/* A number of the model's, {arch}.KEY; of an array with one per layer the first. */
static enum baton_status model_number(const struct bt_gguf *g, struct bt_str arch, const char *key, uint32_t dflt,
                                      uint32_t *out, struct baton_error *err)
{
	char full[320];
	snprintf(full, sizeof full, "%.*s.%s", arch.len < 200 ? (int)arch.len : 200, arch.data ? arch.data : "", key);
	return bt_gguf_get_u32_per_layer(g, full, dflt, out, 1, NULL, err);
}

static enum baton_status describe_model(struct job *j, struct baton_error *err)
{
	struct bt_mix_model *m = &j->mix.model;
	struct bt_str arch;
	uint32_t heads = 0, kv_heads = 0;
	enum baton_status st = bt_gguf_get_str(j->in, "general.architecture", &arch, NULL, err);
	if (!st) st = model_number(j->in, arch, "block_count", 0, &m->n_layer, err);
	if (!st) st = model_number(j->in, arch, "expert_count", 0, &m->n_expert, err);
	if (!st) st = model_number(j->in, arch, "attention.head_count", 0, &heads, err);
	if (!st) st = model_number(j->in, arch, "attention.head_count_kv", heads, &kv_heads, err);
	if (st) return bt_fail_prefix(err, bt_gguf_path(j->in));
	m->n_gqa = kv_heads ? heads / kv_heads : 0;
	m->llama_70b = bt_str_eq(arch, "llama") && m->n_layer == 80 && heads != kv_heads;
	return BATON_OK;
}

static int by_layer(const void *a, const void *b)
{
	const struct conversion *x = a, *y = b;
	return x->layer != y->layer ? (x->layer > y->layer) - (x->layer < y->layer) : strcmp(x->name, y->name);
}

static int by_index(const void *a, const void *b)
{
	const struct conversion *x = a, *y = b;
	return (x->index > y->index) - (x->index < y->index);
}

/* Fill in conv. The rules go by layers, the file keeps its order. */
static enum baton_status plan(struct job *j, struct baton_error *err)
{
	j->n = bt_gguf_n_tensors(j->in);
	j->conv = bt_mem_array(BT_MEM_HOST, j->n, sizeof *j->conv);
	if (!j->conv) return bt_fail_nomem(err, j->n * sizeof *j->conv, "the list of tensors");
	for (size_t i = 0; i < j->n; i++) {
		struct conversion *c = &j->conv[i];
		c->tensor = bt_gguf_tensor_at(j->in, i);
		snprintf(c->name, sizeof c->name, "%.*s", (int)c->tensor->name.len, c->tensor->name.data);
		c->layer = bt_mix_layer(c->name);
		c->index = i;
		bt_mix_show(&j->mix, c->name);
		j->total += c->tensor->size;
	}
	qsort(j->conv, j->n, sizeof *j->conv, by_layer);
	for (size_t i = 0; i < j->n; i++) {
		struct conversion *c = &j->conv[i];
		c->to = bt_mix_type(&j->mix, c->name, c->tensor->dim, c->tensor->type, &c->wanted);
	}
	qsort(j->conv, j->n, sizeof *j->conv, by_index);
	return BATON_OK;
}

static enum baton_status check_requantizing(const struct job *j, struct baton_error *err)
{
	for (size_t i = 0; i < j->n; i++) {
		const struct conversion *c = &j->conv[i];
		if (c->to == c->tensor->type || !c->tensor->type->group) continue;
		return bt_fail(
			err, BATON_ERR_ARG,
			"%s: tensor %s is %s already, and quantising it again to %s costs accuracy: start from an F32, "
			"F16 or BF16 file, or give --allow-requantize",
			bt_gguf_path(j->in), c->name, c->tensor->type->name, c->to->name);
	}
	return BATON_OK;
}

static enum baton_status alloc_scratch(struct job *j, struct baton_error *err)
{
	size_t threads = bt_pool_threads(j->pool), widest = 0;
	for (size_t i = 0; i < j->n; i++) {
		size_t bytes = bt_type_row_bytes(j->conv[i].to, PIECE);
		if (bytes > widest) widest = bytes;
	}
	j->scratch = bt_mem_array(BT_MEM_SCRATCH, threads * 2 * PIECE, sizeof *j->scratch);
	j->packed = bt_mem_array(BT_MEM_SCRATCH, PIECES, widest);
	if (!j->scratch || !j->packed) return bt_fail_nomem(err, PIECES * widest, "converted weights");
	return BATON_OK;
}

static enum baton_status write_file(struct job *j, const char *path, unsigned n_threads, struct baton_error *err)
{
	enum baton_status st = bt_pool_open(n_threads, &j->pool, err);
	if (!st) st = alloc_scratch(j, err);
	if (!st) st = bt_gguf_writer_new(&j->out, err);
	if (st) return st;
	bt_gguf_writer_copy_kv(j->out, j->in);
	if (!j->mix.params.mix->copy) {
		bt_gguf_writer_set_u32(j->out, "general.quantization_version", QUANTIZATION_VERSION);
		bt_gguf_writer_set_u32(j->out, "general.file_type", j->mix.params.mix->file_type);
	}
	for (size_t i = 0; i < j->n; i++) {
		const struct bt_tensor *t = j->conv[i].tensor;
		bt_gguf_writer_add_tensor(j->out, t->name, j->conv[i].to, t->n_dims, t->dim);
	}
	st = bt_gguf_writer_begin(j->out, path, err);
	bt_ui_progress_begin(&j->progress, "quantising", 0, j->total);
	for (size_t i = 0; i < j->n && !st; i++) {
		const struct conversion *c = &j->conv[i];
		st = c->to == c->tensor->type ? copy(j, c, err) : convert(j, c, err);
		if (!st) print_tensor(j, i);
	}
	bt_ui_progress_end(&j->progress);
	return st ? st : bt_gguf_writer_finish(j->out, err);
}

/* A type that an option names, into *type; NULL where it isn't given. False: the usage error is printed. */
static bool type_option(const struct bt_opts *o, enum bt_opt_id id, const struct bt_type **type)
{
	const char *name = bt_opt_str(o, id);
	*type = name ? bt_type_by_name(name) : NULL;
	if (!name || (*type && (*type)->pack)) return true;
	bt_opts_usage(o,
	              "'%s' is no type that baton can write; it reads %s and writes all but the IQ1, IQ2 and IQ3 types",
	              name, bt_type_list());
	return false;
}

static int unknown_mix(const struct bt_opts *o, const char *name)
{
	char names[512] = "";
	for (const struct bt_mix *m = bt_mix_table; m->name; m++) {
		size_t len = strlen(names);
		snprintf(names + len, sizeof names - len, "%s%s", len ? ", " : "", m->name);
	}
	return bt_opts_usage(o, "unknown type '%s'; there are %s", name, names);
}

/* The last argument or -t; 0: the default. -1: the usage error is printed. */
static int thread_count(const struct bt_opts *o)
{
	if (o->n_args < 4) return bt_opt_int(o, BT_OPT_THREADS) > 0 ? (int)bt_opt_int(o, BT_OPT_THREADS) : 0;
	char *end;
	long n = strtol(o->args[3], &end, 10);
	if (end != o->args[3] && !*end && n >= 0 && n <= BT_LIMIT_THREADS) return (int)n;
	bt_opts_usage(o, "'%s' is no number of threads from 0 to %d", o->args[3], BT_LIMIT_THREADS);
	return -1;
}

static enum baton_status quantize(struct job *j, const char *in, const char *out, unsigned n_threads,
                                  struct baton_error *err)
{
	bool dry_run = bt_opt_flag(j->opts, BT_OPT_DRY_RUN);
	enum baton_status st = bt_gguf_open(in, &(struct bt_gguf_params){.no_data = dry_run}, &j->in, err);
	if (!st) st = describe_model(j, err);
	if (!st) st = plan(j, err);
	if (!st && !dry_run && !bt_opt_flag(j->opts, BT_OPT_ALLOW_REQUANTIZE)) st = check_requantizing(j, err);
	if (st) return st;
	if (dry_run)
		for (size_t i = 0; i < j->n; i++) print_tensor(j, i);
	else st = write_file(j, out, n_threads, err);
	if (!st) print_total(j);
	return st;
}

int bt_quantize_main(const struct bt_opts *o)
{
	struct baton_error err;
	struct job j = {.opts = o};
	struct bt_mix_params *p = &j.mix.params;
	char *in = NULL;
	p->mix = bt_mix_by_name(o->args[2]);
	if (!p->mix) return unknown_mix(o, o->args[2]);
	p->pure = bt_opt_flag(o, BT_OPT_PURE);
	p->leave_output = bt_opt_flag(o, BT_OPT_LEAVE_OUTPUT);
	if (!type_option(o, BT_OPT_OUTPUT_TYPE, &p->output)) return BT_EXIT_USAGE;
	if (!type_option(o, BT_OPT_EMBEDDING_TYPE, &p->embedding)) return BT_EXIT_USAGE;
	int n_threads = thread_count(o);
	if (n_threads < 0) return BT_EXIT_USAGE;

	bt_ui_catch_interrupt();
	enum baton_status st = bt_tool_model_path(o, o->args[0], &in, &err);
	if (!st) st = quantize(&j, in, o->args[1], (unsigned)n_threads, &err);
	bt_gguf_writer_close(&j.out);
	bt_pool_close(&j.pool);
	bt_gguf_close(&j.in);
	bt_mem_free(j.conv);
	bt_mem_free(j.scratch);
	bt_mem_free(j.packed);
	bt_mem_free(in);
	return st ? bt_ui_fail(&err) : BT_EXIT_OK;
}
