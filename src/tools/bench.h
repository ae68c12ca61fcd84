/* bench.h: the parts of `baton bench`: the grid of tests, their results, and printing them as llama-bench does. */
#ifndef BT_TOOLS_BENCH_H
#define BT_TOOLS_BENCH_H

#include "base/status.h"
#include "tools/options.h"

/* One test: a cell of the grid. Texts are owned by the options. */
struct bt_bench_case {
	const char *model; /* as given: a path or a name */
	int n_prompt, n_gen, n_depth;
	int n_batch, n_ubatch, n_threads;
	const char *type_k, *type_v;
	int n_gpu_layers, n_cpu_moe;
	const char *device;
	const char *override_tensor; /* rules separated by ;, or "none" */
	int flash_attn;              /* 1 on, 0 off, -1 auto */
	bool use_mmap;
};

/* The cases of the command line, in llama-bench's order: the model varies slowest, then placement, loading, batches,
 * cache types, threads and depth; for each, the prompt tests, the generation tests, the pairs. *cases is allocated
 * (bt_mem_free). BATON_ERR_ARG for a bad -pg. */
enum baton_status bt_bench_grid(const struct bt_opts *o, struct bt_bench_case **cases, size_t *n,
                                struct baton_error *err);
/* Whether the session and the model of one case serve the other too. */
bool bt_bench_same_model(const struct bt_bench_case *a, const struct bt_bench_case *b);

/* A case with what was measured: every field that any format prints, under llama-bench's names. */
struct bt_bench_result {
	struct bt_bench_case test;
	const char *build_commit;
	int build_number;
	const char *cpu_info, *gpu_info, *backends;
	const char *model_filename;
	const char *model_type; /* "llama 135M Q4_1" */
	uint64_t model_size, model_n_params;
	/* Settings of llama-bench that baton does not have, with the values that come nearest. */
	const char *cpu_mask, *split_mode, *tensor_split;
	bool cpu_strict, no_kv_offload, use_direct_io, embeddings, no_host;
	int poll, main_gpu, no_op_offload;
	char test_time[32]; /* RFC 3339, UTC */
	uint64_t avg_ns, stddev_ns;
	double avg_ts, stddev_ts;   /* tokens a second */
	const uint64_t *samples_ns; /* [n_samples] */
	size_t n_samples;
};

/* Fill the constant fields and the clock. */
void bt_bench_result_init(struct bt_bench_result *r, const struct bt_bench_case *test);
/* Fill averages and standard deviations (of the sample: n - 1) from samples_ns. */
void bt_bench_statistics(struct bt_bench_result *r);
/* Tokens a second of one repetition. */
double bt_bench_speed(const struct bt_bench_result *r, size_t sample);

/* A printer of results onto a stream. */
struct bt_bench_printer {
	const struct bt_bench_format *format;
	FILE *out;
	size_t n_printed;
	unsigned columns; /* md: mask of the optional columns that this grid needs */
};

/* name: csv, json, jsonl, md, sql, or none (printing does nothing). cases decide the columns of md. */
void bt_bench_print_begin(struct bt_bench_printer *p, const char *name, FILE *out, const struct bt_bench_case *cases,
                          size_t n);
void bt_bench_print(struct bt_bench_printer *p, const struct bt_bench_result *r);
void bt_bench_print_end(struct bt_bench_printer *p);

#endif
