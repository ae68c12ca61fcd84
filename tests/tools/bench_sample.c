/* Prints made-up results of `baton bench` in the format named by the first argument, and as JSON on stderr; the other
 * arguments are a command line for the grid. test_bench_formats.py reads both. */
#include "tools/bench.h"

#include <string.h>

int main(int argc, char **argv)
{
	static const struct bt_tool bench = {
		.id = BT_TOOL_BENCH, .name = "bench", .args = "MODEL...", .min_args = 1, .max_args = -1};
	const uint64_t samples[] = {2000000000, 1000000000, 4000000000};
	struct bt_opts o;
	struct baton_error err = {0};
	struct bt_bench_case *cases = NULL;
	struct bt_bench_printer out, json;
	size_t n;
	if (argc < 3 || bt_opts_parse(&o, &bench, argc - 1, argv + 1, &err) || bt_bench_grid(&o, &cases, &n, &err)) {
		fprintf(stderr, "%s\n", err.text);
		if (argc >= 3) bt_opts_free(&o);
		return 2;
	}
	bt_bench_print_begin(&out, argv[1], stdout, cases, n);
	bt_bench_print_begin(&json, "json", stderr, cases, n);
	for (size_t i = 0; i < n; i++) {
		struct bt_bench_result r;
		bt_bench_result_init(&r, &cases[i]);
		r.cpu_info = "Some \"CPU\" 3,5 GHz\\x";
		r.model_type = "llama 135M Q4_1, it's \xC3\xA9";
		r.model_size = i % 2 ? 98362432 : 5368709120;
		r.model_n_params = i % 2 ? 134515008 : 7615616512;
		r.samples_ns = samples;
		r.n_samples = i == 1 ? 1 : 3;
		bt_bench_statistics(&r);
		bt_bench_print(&out, &r);
		bt_bench_print(&json, &r);
	}
	bt_bench_print_end(&out);
	bt_bench_print_end(&json);
	bt_mem_free(cases);
	bt_opts_free(&o);
	return 0;
}
