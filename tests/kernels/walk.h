/* walk.h: the kernel walk: every slot of the kernel table at one level against another table, and plain C against sums in
 * double precision.
 *
 * All levels promise the bits of plain C (src/backend/cpu/kernels.h), so levels are compared bit for bit; only plain C
 * itself needs tolerances, and they come from one table (tolerance.c) by operation and number format.
 */
#ifndef BT_TESTS_KERNELS_WALK_H
#define BT_TESTS_KERNELS_WALK_H

#include "backend/cpu/kernels.h"

enum { WALK_K_MAX = 8960, WALK_D_MAX = 256 };

struct walk {
	struct bt_cpu_kernels ref, k; /* plain C and the table under test */
	bool oracle;                  /* compare ref with double precision as well */
	bool quiet;                   /* failures are expected: don't print them */
	uint64_t rng;
	void *scratch, *ref_scratch; /* k.scratch and ref.scratch bytes, guarded */
	unsigned cases, failures;
	unsigned oracle_cases;
	char what[160]; /* the case at hand, for messages */
};

/* Each walks its slots over sizes, patterns and types. */
void walk_quantize(struct walk *w);
void walk_matmul(struct walk *w, const struct bt_type *type, bool exact);
void walk_ops(struct walk *w);
void walk_attention(struct walk *w);
void walk_recurrent(struct walk *w);

/* Compare n outputs; failures are printed with w->what and counted. Bits: NaN equals NaN. */
void walk_same_bits(struct walk *w, const float *got, const float *want, size_t n);
void walk_same_bytes(struct walk *w, const void *got, const void *want, size_t n);
/* |got - want| <= unit * of[i]; of: the magnitude that rounding errors are proportional to. */
void walk_close(struct walk *w, const float *got, const double *want, const double *of, size_t n, double unit);
void walk_fail(struct walk *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void walk_case(struct walk *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Guarded memory: `size` bytes between guard zones, filled with a pattern. walk_free checks the zones. */
void *walk_alloc(size_t size);
void walk_free(struct walk *w, void *p);

/* Tolerance of plain C against double precision, in units of the case's magnitude. n: terms in a sum. */
enum walk_op {
	WALK_MATMUL,
	WALK_QUANTIZE,
	WALK_NORM,
	WALK_ADD,
	WALK_SILU,
	WALK_RELU2,
	WALK_ROPE,
	WALK_SOFTMAX,
	WALK_SIGMOID,
	WALK_CONV,
	WALK_RECURRENCE,
	WALK_ATTN,
	WALK_OPS
};
double walk_tolerance(enum walk_op op, const struct bt_type *type, size_t n);

/* Random numbers and patterns. */
uint64_t walk_random(struct walk *w);
float walk_normal(struct walk *w); /* about standard normal */
enum walk_pattern { WALK_RANDOM, WALK_EXTREME, WALK_OUTLIERS, WALK_ZERO, WALK_TINY, WALK_ONE_SIGN, WALK_PATTERNS };
const char *walk_pattern_name(enum walk_pattern p);
void walk_fill(struct walk *w, enum walk_pattern p, float *x, size_t n);
/* Weights of any type: WALK_RANDOM packs or draws bytes; WALK_EXTREME: bytes that give q_min or q_max; others: hostile
 * random bytes with finite scales. false where the type can't be made so. */
bool walk_weights(struct walk *w, const struct bt_type *type, enum walk_pattern p, void *dst, size_t n);

/* bench.c: time the calls of table k, single-threaded. filter: NULL or a name; with k_only > 0 one product of rows of
 * k_only values and n tokens. */
void walk_bench(const struct bt_cpu_kernels *k, const char *filter, size_t k_only, size_t n);

#endif
