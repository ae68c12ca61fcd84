/* Tests of src/tools/options.c: parsing against the table, for commands made up here. */
#include "tools/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <string.h>

static const struct bt_tool run = {
	.id = BT_TOOL_RUN, .name = "run", .args = "MODEL [PROMPT]", .min_args = 1, .max_args = 2};
static const struct bt_tool bench = {
	.id = BT_TOOL_BENCH, .name = "bench", .args = "MODEL...", .min_args = 1, .max_args = -1};

/* Parse a line split at blanks. */
static enum baton_status parse(struct bt_opts *o, const struct bt_tool *tool, const char *line, struct baton_error *err)
{
	static char copy[512]; /* values point into it */
	static char name[] = "tool", *argv[64];
	int argc = 0;
	argv[argc++] = name;
	strcpy(copy, line);
	for (char *s = strtok(copy, " "); s; s = strtok(NULL, " ")) argv[argc++] = s;
	return bt_opts_parse(o, tool, argc, argv, err);
}

static void accepts(struct bt_opts *o, const struct bt_tool *tool, const char *line)
{
	struct baton_error err = {0};
	if (parse(o, tool, line, &err)) fail_msg("'%s': %s", line, err.text);
}

static void rejects(const struct bt_tool *tool, const char *line, const char *text)
{
	struct bt_opts o;
	struct baton_error err = {0};
	assert_int_equal(parse(&o, tool, line, &err), BATON_ERR_ARG);
	if (!strstr(err.text, text)) fail_msg("'%s': got '%s', not '%s'", line, err.text, text);
	bt_opts_free(&o);
}

static void every_default_parses(void **state)
{
	(void)state;
	for (int id = 0; id < BT_TOOL_IDS; id++) {
		struct bt_tool t = {.id = id, .name = "x", .args = "", .max_args = -1};
		struct bt_opts o;
		accepts(&o, &t, "");
		bt_opts_free(&o);
	}
}

static void values_replace_their_defaults(void **state)
{
	(void)state;
	struct bt_opts o;
	accepts(&o, &run, "model -n 7 --temp=0.5 -ub 64 --no-mmap --top_k 3 prompt");
	assert_int_equal(o.n_args, 2);
	assert_string_equal(o.args[0], "model");
	assert_string_equal(o.args[1], "prompt");
	assert_int_equal(bt_opt_int(&o, BT_OPT_N_PREDICT), 7);
	assert_true(bt_opt_float(&o, BT_OPT_TEMP) == 0.5);
	assert_int_equal(bt_opt_int(&o, BT_OPT_UBATCH), 64);
	assert_int_equal(bt_opt_int(&o, BT_OPT_TOP_K), 3);
	assert_false(bt_opt_flag(&o, BT_OPT_MMAP));
	assert_true(bt_opt_given(&o, BT_OPT_UBATCH));
	assert_false(bt_opt_given(&o, BT_OPT_BATCH));
	assert_int_equal(bt_opt_int(&o, BT_OPT_BATCH), 2048);
	assert_true(bt_opt_float(&o, BT_OPT_TOP_P) == 0.95);
	assert_string_equal(bt_opt_str(&o, BT_OPT_CACHE_TYPE_K), "f16");
	assert_null(bt_opt_str(&o, BT_OPT_SYSTEM));
	assert_false(bt_opt_flag(&o, BT_OPT_RAW));
	bt_opts_free(&o);

	accepts(&o, &run, "-m model --seed 5 -s 6 -n -1 -- -prompt");
	assert_string_equal(o.args[0], "model");
	assert_string_equal(o.args[1], "-prompt");
	assert_int_equal(bt_opt_int(&o, BT_OPT_SEED), 6);
	assert_int_equal(bt_opt_int(&o, BT_OPT_N_PREDICT), -1);
	bt_opts_free(&o);

	accepts(&o, &run, "--help --nonsense");
	assert_true(bt_opt_flag(&o, BT_OPT_HELP));
	bt_opts_free(&o);
}

static void lists_take_commas_ranges_and_repeats(void **state)
{
	(void)state;
	struct bt_opts o;
	accepts(&o, &bench, "m1 -p 1,4-6,8-64*2 -p 10-20+5 -ctk f16,q8_0 -m m2,m3 -pg 5,6 -pg 7,8");
	const int want[] = {1, 4, 5, 6, 8, 16, 32, 64, 10, 15, 20};
	assert_int_equal(bt_opt_count(&o, BT_OPT_N_PROMPT), sizeof want / sizeof *want);
	for (size_t i = 0; i < sizeof want / sizeof *want; i++)
		assert_int_equal(bt_opt_int_at(&o, BT_OPT_N_PROMPT, i), want[i]);
	assert_int_equal(bt_opt_count(&o, BT_OPT_N_GEN), 1);
	assert_int_equal(bt_opt_int_at(&o, BT_OPT_N_GEN, 0), 128);
	assert_int_equal(bt_opt_count(&o, BT_OPT_BENCH_CTK), 2);
	assert_string_equal(bt_opt_str_at(&o, BT_OPT_BENCH_CTK, 1), "q8_0");
	assert_int_equal(bt_opt_count(&o, BT_OPT_PG), 2);
	assert_string_equal(bt_opt_str_at(&o, BT_OPT_PG, 1), "7,8");
	assert_int_equal(o.n_args, 3);
	assert_string_equal(o.args[0], "m2");
	assert_string_equal(o.args[1], "m3");
	assert_string_equal(o.args[2], "m1");
	bt_opts_free(&o);
}

static void mistakes_get_one_clear_line(void **state)
{
	(void)state;
	rejects(&run, "m -n x", "-n expects a number from -1 to 2147483647, got 'x'");
	rejects(&run, "m -n 5x", "got '5x'");
	rejects(&run, "m -n", "-n expects a number");
	rejects(&run, "m -n 99999999999999999999", "-n expects a number");
	rejects(&run, "m --temp nan", "--temp expects a number from 0 to 1000, got 'nan'");
	rejects(&run, "m --temp -1", "got '-1'");
	rejects(&run, "m -ctk q9", "-ctk expects one of f16, q8_0, f32, got 'q9'");
	rejects(&run, "m --mmap maybe", "--mmap expects 0 or 1");
	rejects(&run, "m --raw=1", "--raw takes no value");
	rejects(&run, "m --no-mmap=1", "--no-mmap takes no value");
	rejects(&run, "m --temprature 1", "unknown option --temprature, did you mean --temperature?");
	rejects(&run, "m --repeat-pen 1", "did you mean --repeat-penalty?");
	rejects(&run, "m -zz", "unknown option -zz");
	rejects(&run, "m --n-depth 5", "unknown option --n-depth"); /* another command's */
	rejects(&run, "", "arguments missing: baton run MODEL [PROMPT]");
	rejects(&run, "a b c", "unexpected argument 'c'");
	rejects(&run, "-m a -m b", "-m was given 2 times");
	rejects(&bench, "m -p 5-1", "-p expects numbers");
	rejects(&bench, "m -p 1,,2", "-p expects numbers");
	rejects(&bench, "m -p 0-8*2", "-p expects numbers");
	rejects(&bench, "m -p 1-8*1", "-p expects numbers");
	rejects(&bench, "m -p 1-8+0", "-p expects numbers");
	rejects(&bench, "m -p 1-2147483647", "more than 65536 values");
	rejects(&bench, "m -ctk f16,", "-ctk expects some of f16, q8_0");
}

static void parsing_survives_failed_allocations(void **state)
{
	(void)state;
	struct bt_mem_stats before, after;
	bt_mem_get_stats(&before);
	size_t k = 1;
	for (bool done = false; !done; k++) {
		struct bt_opts o;
		struct baton_error err = {0};
		bt_mem_fail_at(k);
		enum baton_status st = parse(&o, &bench, "m1 -p 1-9 -ctk f16,q8_0 -m m2", &err);
		bt_mem_fail_at(0);
		done = st == BATON_OK;
		if (!done) assert_int_equal(st, BATON_ERR_NOMEM);
		bt_opts_free(&o);
	}
	assert_true(k > 10);
	bt_mem_get_stats(&after);
	assert_int_equal(after.blocks, before.blocks);
}

static void joined_texts_add_up(void **state)
{
	(void)state;
	struct bt_opts o;
	accepts(&o, &run, "model -ot a=CPU,b=CPU --override-tensor c=CPU -ot d=CPU");
	assert_string_equal(bt_opt_str(&o, BT_OPT_OVERRIDE_TENSOR), "a=CPU,b=CPU,c=CPU,d=CPU");
	bt_opts_free(&o);
	accepts(&o, &run, "model");
	assert_null(bt_opt_str(&o, BT_OPT_OVERRIDE_TENSOR));
	bt_opts_free(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_default_parses),
		cmocka_unit_test(values_replace_their_defaults),
		cmocka_unit_test(lists_take_commas_ranges_and_repeats),
		cmocka_unit_test(mistakes_get_one_clear_line),
		cmocka_unit_test(parsing_survives_failed_allocations),
		cmocka_unit_test(joined_texts_add_up),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
