/* bench_grid.c: from comma lists and ranges to single tests, and the statistics of one. */
#include "tools/bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* A list option as an axis of the grid. */
struct axis {
	enum bt_opt_id id;
	void (*set)(struct bt_bench_case *c, const struct bt_opts *o, enum bt_opt_id id, size_t i);
};

#define SET_INT(name, field)                                                                            \
	static void name(struct bt_bench_case *c, const struct bt_opts *o, enum bt_opt_id id, size_t i) \
	{                                                                                               \
		c->field = (int)bt_opt_int_at(o, id, i);                                                \
	}
#define SET_TEXT(name, field)                                                                           \
	static void name(struct bt_bench_case *c, const struct bt_opts *o, enum bt_opt_id id, size_t i) \
	{                                                                                               \
		c->field = bt_opt_str_at(o, id, i);                                                     \
	}
SET_INT(set_ngl, n_gpu_layers)
SET_INT(set_ncmoe, n_cpu_moe)
SET_INT(set_mmap, use_mmap)
SET_INT(set_batch, n_batch)
SET_INT(set_ubatch, n_ubatch)
SET_INT(set_threads, n_threads)
SET_INT(set_depth, n_depth)
SET_TEXT(set_device, device)
SET_TEXT(set_ot, override_tensor)
SET_TEXT(set_type_k, type_k)
SET_TEXT(set_type_v, type_v)

static void set_model(struct bt_bench_case *c, const struct bt_opts *o, enum bt_opt_id id, size_t i)
{
	(void)id;
	c->model = o->args[i];
}

static void set_fa(struct bt_bench_case *c, const struct bt_opts *o, enum bt_opt_id id, size_t i)
{
	const char *s = bt_opt_str_at(o, id, i);
	c->flash_attn = !strcmp(s, "1") || !strcasecmp(s, "on") ? 1 : !strcasecmp(s, "auto") ? -1 : 0;
}

/* Slowest first. */
static const struct axis axes[] = {
	{BT_OPT_BENCH_MODEL, set_model},   {BT_OPT_BENCH_NGL, set_ngl},       {BT_OPT_BENCH_NCMOE, set_ncmoe},
	{BT_OPT_BENCH_DEVICE, set_device}, {BT_OPT_BENCH_OT, set_ot},         {BT_OPT_BENCH_MMAP, set_mmap},
	{BT_OPT_BENCH_BATCH, set_batch},   {BT_OPT_BENCH_UBATCH, set_ubatch}, {BT_OPT_BENCH_CTK, set_type_k},
	{BT_OPT_BENCH_CTV, set_type_v},    {BT_OPT_BENCH_FA, set_fa},         {BT_OPT_BENCH_THREADS, set_threads},
	{BT_OPT_N_DEPTH, set_depth},
};

enum { N_AXES = sizeof axes / sizeof *axes };

static size_t axis_length(const struct bt_opts *o, size_t axis)
{
	return axis == 0 ? (size_t)o->n_args : bt_opt_count(o, axes[axis].id);
}

/* "512,128" into two lengths. */
static bool parse_pair(const char *s, int *prompt, int *gen)
{
	char *end;
	long a = strtol(s, &end, 10), b;
	if (end == s || *end != ',') return false;
	s = end + 1;
	b = strtol(s, &end, 10);
	if (end == s || *end || a < 0 || b < 0 || a > INT32_MAX || b > INT32_MAX) return false;
	*prompt = (int)a;
	*gen = (int)b;
	return true;
}

/* Append the tests of one point of the axes; cases NULL only counts. */
static size_t add_tests(const struct bt_opts *o, const struct bt_bench_case *at, struct bt_bench_case *cases)
{
	size_t n = 0, i;
	struct bt_bench_case c = *at;
	for (i = 0; i < bt_opt_count(o, BT_OPT_N_PROMPT); i++) {
		c.n_prompt = (int)bt_opt_int_at(o, BT_OPT_N_PROMPT, i);
		if (c.n_prompt && cases) cases[n] = c;
		n += c.n_prompt > 0;
	}
	c.n_prompt = 0;
	for (i = 0; i < bt_opt_count(o, BT_OPT_N_GEN); i++) {
		c.n_gen = (int)bt_opt_int_at(o, BT_OPT_N_GEN, i);
		if (c.n_gen && cases) cases[n] = c;
		n += c.n_gen > 0;
	}
	for (i = 0; i < bt_opt_count(o, BT_OPT_PG); i++) {
		parse_pair(bt_opt_str_at(o, BT_OPT_PG, i), &c.n_prompt, &c.n_gen);
		if (c.n_prompt + c.n_gen && cases) cases[n] = c;
		n += c.n_prompt + c.n_gen > 0;
	}
	return n;
}

enum baton_status bt_bench_grid(const struct bt_opts *o, struct bt_bench_case **cases, size_t *n,
                                struct baton_error *err)
{
	struct bt_bench_case c = {0};
	size_t at[N_AXES] = {0}, points = 1, each;
	*cases = NULL;
	*n = 0;
	for (size_t i = 0; i < bt_opt_count(o, BT_OPT_PG); i++)
		if (!parse_pair(bt_opt_str_at(o, BT_OPT_PG, i), &c.n_prompt, &c.n_gen))
			return bt_fail(err, BATON_ERR_ARG, "-pg expects two numbers such as 512,128, got '%.80s'",
			               bt_opt_str_at(o, BT_OPT_PG, i));
	memset(&c, 0, sizeof c);
	each = add_tests(o, &c, NULL);
	for (size_t a = 0; a < N_AXES; a++)
		if (!bt_mul_size(points, axis_length(o, a), &points) || points > 1u << 20)
			return bt_fail(err, BATON_ERR_ARG, "the lists make more than a million tests");
	if (!points || !each) return bt_fail(err, BATON_ERR_ARG, "nothing to measure: all of -p, -n and -pg are 0");
	*cases = bt_mem_array(BT_MEM_HOST, points * each, sizeof **cases);
	if (!*cases) return bt_fail_nomem(err, points * each * sizeof **cases, "the list of tests");
	for (size_t point = 0; point < points; point++) {
		for (size_t a = 0; a < N_AXES; a++) axes[a].set(&c, o, axes[a].id, at[a]);
		*n += add_tests(o, &c, *cases + *n);
		for (size_t a = N_AXES; a-- > 0;) { /* the last axis turns fastest */
			if (++at[a] < axis_length(o, a)) break;
			at[a] = 0;
		}
	}
	return BATON_OK;
}

bool bt_bench_same_model(const struct bt_bench_case *a, const struct bt_bench_case *b)
{
	return !strcmp(a->model, b->model) && a->n_gpu_layers == b->n_gpu_layers && a->n_cpu_moe == b->n_cpu_moe &&
	       !strcmp(a->device, b->device) && !strcmp(a->override_tensor, b->override_tensor) &&
	       a->use_mmap == b->use_mmap;
}

double bt_bench_speed(const struct bt_bench_result *r, size_t sample)
{
	double ns = (double)r->samples_ns[sample];
	return ns > 0 ? 1e9 * (double)(r->test.n_prompt + r->test.n_gen) / ns : 0;
}

/* Mean and standard deviation of n values of one of two kinds. */
static void spread(const struct bt_bench_result *r, bool speed, double *mean, double *deviation)
{
	size_t n = r->n_samples;
	*mean = *deviation = 0;
	for (size_t i = 0; i < n; i++) *mean += (speed ? bt_bench_speed(r, i) : (double)r->samples_ns[i]) / (double)n;
	if (n < 2) return;
	for (size_t i = 0; i < n; i++) {
		double d = (speed ? bt_bench_speed(r, i) : (double)r->samples_ns[i]) - *mean;
		*deviation += d * d;
	}
	*deviation = sqrt(*deviation / (double)(n - 1));
}

void bt_bench_statistics(struct bt_bench_result *r)
{
	double mean, deviation;
	spread(r, false, &mean, &deviation);
	r->avg_ns = (uint64_t)mean;
	r->stddev_ns = (uint64_t)deviation;
	spread(r, true, &r->avg_ts, &r->stddev_ts);
}
