/* walk.c: the kernel walk's program.
 *
 *   walk [--level NAME]...   every slot of every level (or of the levels named) against plain C
 *   walk --planted           tables with one wrong slot each: every one must be caught
 *   walk --bench [FILTER [K TOKENS]]
 *                            time the calls instead, at the levels named or the highest: all, or of one type or "ops",
 *                            "recurrent" or "attention", or one shape of one type
 */
#include "planted.h"
#include "walk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void walk_begin(struct walk *w, enum bt_cpu_level level)
{
	*w = (struct walk){.rng = 42};
	bt_cpu_kernels_init(&w->ref, BT_CPU_C, WALK_K_MAX, WALK_D_MAX);
	bt_cpu_kernels_init(&w->k, level, WALK_K_MAX, WALK_D_MAX);
	w->oracle = level == BT_CPU_C;
	w->scratch = walk_alloc(w->k.scratch);
	w->ref_scratch = walk_alloc(w->ref.scratch);
}

static void walk_end(struct walk *w)
{
	walk_free(w, w->scratch);
	walk_free(w, w->ref_scratch);
}

static void walk_table(struct walk *w)
{
	walk_quantize(w);
	walk_ops(w);
	walk_attention(w);
	walk_recurrent(w);
	for (uint32_t id = 0; id < BT_TYPE_COUNT; id++) {
		const struct bt_type *t = bt_type_get(id);
		if (!t) continue;
		if (!w->k.matmul[id]) walk_fail(w, "no matmul for %s", t->name);
		else walk_matmul(w, t, false);
		walk_matmul(w, t, true);
	}
}

static int walk_levels(const bool *asked)
{
	enum bt_cpu_level native = bt_cpu_level_native();
	unsigned failures = 0, skipped = 0, missing = 0;
	for (int l = 0; l < BT_CPU_LEVELS; l++) {
		const char *name = bt_cpu_level_name((enum bt_cpu_level)l);
		if (!asked[l]) continue;
		if (l > (int)native) {
			printf("%-12s skipped: this machine lacks it\n", name);
			skipped++;
			missing += !bt_cpu_level_supported((enum bt_cpu_level)l);
			continue;
		}
		struct walk w;
		walk_begin(&w, (enum bt_cpu_level)l);
		if ((int)w.k.level != l) {
			printf("%-12s skipped: the table came up as %s\n", name, bt_cpu_level_name(w.k.level));
			skipped++;
		} else {
			walk_table(&w);
		}
		walk_end(&w);
		printf("%-12s %u cases, %u of them also against double precision, %u failures\n", name, w.cases,
		       w.oracle_cases, w.failures);
		failures += w.failures;
	}
	if (skipped > missing) printf("%u levels skipped, only %u are missing here\n", skipped, missing);
	return failures || skipped > missing;
}

static int walk_planted(void)
{
	unsigned caught = 0, planted = 0;
	for (unsigned i = 0; i < planted_count(); i++) {
		struct walk w;
		walk_begin(&w, BT_CPU_C);
		w.oracle = false;
		w.quiet = true;
		const char *name = planted_table(i, &w.ref, &w.k);
		if (name) {
			planted++;
			if (i == 0) walk_quantize(&w);
			else if (i == 9) walk_attention(&w);
			else if (i > 1 && i < 9) walk_ops(&w);
			else if (i >= PLANTED_RECURRENT && i < PLANTED_RECURRENT + 3) walk_recurrent(&w);
			else if (i == PLANTED_RECURRENT + 3) walk_ops(&w);
			else walk_matmul(&w, bt_type_get(i < PLANTED_TYPES ? BT_TYPE_Q4_0 : i - PLANTED_TYPES), i == 1);
			caught += w.failures > 0;
			if (!w.failures) printf("a wrong %s was not caught\n", name);
		}
		walk_end(&w);
	}
	printf("%u of %u planted errors caught\n", caught, planted);
	return !planted || caught != planted;
}

static int bench_levels(const bool *asked, const char *filter, size_t k_shape, size_t rows)
{
	for (int l = 0; l < BT_CPU_LEVELS; l++) {
		struct bt_cpu_kernels k;
		bt_cpu_kernels_init(&k, (enum bt_cpu_level)l, k_shape > WALK_K_MAX ? k_shape : WALK_K_MAX, WALK_D_MAX);
		if (asked[l] && (int)k.level == l) walk_bench(&k, filter, k_shape, rows);
	}
	return 0;
}

int main(int argc, char **argv)
{
	bool asked[BT_CPU_LEVELS] = {false}, any = false, bench = false;
	const char *filter = NULL;
	size_t shape[2] = {0, 1};
	int n_shape = 0;
	for (int i = 1; i < argc; i++) {
		enum bt_cpu_level l;
		if (!strcmp(argv[i], "--planted")) return walk_planted();
		if (!strcmp(argv[i], "--bench")) {
			bench = true;
		} else if (!strcmp(argv[i], "--level") && i + 1 < argc && bt_cpu_level_by_name(argv[i + 1], &l)) {
			asked[l] = any = true;
			i++;
		} else if (bench && argv[i][0] != '-' && !filter) {
			filter = argv[i];
		} else if (bench && filter && n_shape < 2 && bt_type_by_name(filter) && atoi(argv[i]) > 0) {
			shape[n_shape++] = (size_t)atoi(argv[i]);
		} else {
			fprintf(stderr,
			        "usage: walk [--level c|avx2|avx512|avx512vnni]... | --planted | --bench [FILTER]\n");
			return 2;
		}
	}
	if (bench) {
		if (!any) asked[bt_cpu_level_native()] = true;
		return bench_levels(asked, filter, shape[0], shape[1]);
	}
	for (int l = 0; l < BT_CPU_LEVELS && !any; l++) asked[l] = true;
	return walk_levels(asked);
}
