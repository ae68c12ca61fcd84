/* Tests of src/quant: every type against ggml's own bytes and values (tests/data/quants), and against hostile bytes. */
#include "base/half.h"
#include "quant/type.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COLS = 512, VALUES = 4 * COLS, RANDOM_BLOCKS = 1024 };

/* The types of the data, with a hash of what ggml's dequantisers (llama-cpp-python 0.3.36's libggml-base) make of
 * RANDOM_BLOCKS blocks of random_bytes: the small rows of the data do not reach every entry of the codebooks. */
struct known {
	enum bt_type_id id;
	uint64_t hash;
};
static const struct known known[] = {
	{BT_TYPE_F16, 0},
	{BT_TYPE_BF16, 0},
	{BT_TYPE_Q4_0, 0x5F32FF07EA194325u},
	{BT_TYPE_Q4_1, 0x81583244128C4B76u},
	{BT_TYPE_Q5_0, 0x511CF567B7F06525u},
	{BT_TYPE_Q5_1, 0x13394E92821C8253u},
	{BT_TYPE_Q8_0, 0xB1B430FE603B7FE5u},
	{BT_TYPE_Q2_K, 0x815F35B1F334E50Bu},
	{BT_TYPE_Q3_K, 0xCC928694B5A4C725u},
	{BT_TYPE_Q4_K, 0xDBD58BDD70FDB7A0u},
	{BT_TYPE_Q5_K, 0x615F44C0B81D7F7Du},
	{BT_TYPE_Q6_K, 0xAC64BC8E808E6329u},
	{BT_TYPE_IQ1_S, 0x0002BE77CC594965u},
	{BT_TYPE_IQ1_M, 0xD2C2016D67B447A5u},
	{BT_TYPE_IQ2_XXS, 0x5BD0C210F192FF71u},
	{BT_TYPE_IQ2_XS, 0xD0A0DAFA1754051Du},
	{BT_TYPE_IQ2_S, 0xC375320B4FC48681u},
	{BT_TYPE_IQ3_XXS, 0x40E8D37157BD5E5Du},
	{BT_TYPE_IQ3_S, 0x6CB5109A3AC369B5u},
	{BT_TYPE_IQ4_NL, 0x7C6C49B0CF146BA5u},
	{BT_TYPE_IQ4_XS, 0x91EE207FFC40F921u},
	{BT_TYPE_TQ1_0, 0x711B12E204D10325u},
	{BT_TYPE_TQ2_0, 0xA9E14E7670434325u},
	{BT_TYPE_MXFP4, 0xE0C86DB5BAEC2325u},
};
enum { N_KNOWN = sizeof known / sizeof *known };

/* A file of tests/data/quants: NAME followed by suffix. Freed by the caller. */
static void *load(const char *name, const char *suffix, size_t *size)
{
	char path[1024];
	const char *data = getenv("BATON_TEST_DATA");
	snprintf(path, sizeof path, "%s/quants/%s%s", data ? data : "tests/data", name, suffix);
	FILE *f = fopen(path, "rb");
	if (!f) fail_msg("%s: cannot open", path);
	*size = 0;
	char *bytes = malloc(1 << 20);
	assert_non_null(bytes);
	*size = fread(bytes, 1, 1 << 20, f);
	fclose(f);
	return bytes;
}

/* n bytes of a fixed xorshift64 sequence, in a block of exactly n bytes so that sanitizers see a step beyond it. */
static uint8_t *random_bytes(size_t n)
{
	uint64_t x = 0x9E3779B97F4A7C15u;
	uint8_t *p = malloc(n);
	assert_non_null(p);
	for (size_t i = 0; i < n; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		p[i] = (uint8_t)(x >> 56);
	}
	return p;
}

static uint64_t hash_floats(const float *f, size_t n)
{
	uint64_t h = 0xCBF29CE484222325u; /* FNV-1a over words; one pattern for all NaN */
	for (size_t i = 0; i < n; i++) h = (h ^ (isnan(f[i]) ? 0x7FC00000 : bt_bits_from_float(f[i]))) * 0x100000001B3u;
	return h;
}

static void table_has_every_type(void **state)
{
	(void)state;
	int rows = 0;
	for (uint32_t id = 0; id < BT_TYPE_COUNT + 10; id++) {
		const struct bt_type *t = bt_type_get(id);
		if (!t) continue;
		rows++;
		assert_int_equal(t->id, id);
		assert_ptr_equal(bt_type_by_name(t->name), t);
		assert_non_null(strstr(bt_type_list(), t->name));
		assert_non_null(t->unpack);
		assert_int_equal(t->group != 0, t->unpack_i8 != NULL);
	}
	assert_int_equal(rows, N_KNOWN + 1); /* and F32 */
	assert_ptr_equal(bt_type_by_name("q4_k"), bt_type_get(BT_TYPE_Q4_K));
	assert_null(bt_type_by_name("Q4_K_M"));
	assert_null(bt_type_get(4)); /* Q4_2, removed from ggml */
	assert_null(bt_type_get(UINT32_MAX));
}

static void unpacks_bit_for_bit(void **state)
{
	(void)state;
	for (size_t k = 0; k < N_KNOWN; k++) {
		const struct bt_type *t = bt_type_get(known[k].id);
		size_t size, want_size;
		uint8_t *data = load(t->name, ".bin", &size);
		float *want = load(t->name, ".f32.bin", &want_size), got[VALUES];
		assert_int_equal(size, bt_type_row_bytes(t, VALUES));
		assert_int_equal(want_size, sizeof got);
		t->unpack(data, got, VALUES);
		if (memcmp(got, want, sizeof got)) fail_msg("%s: other values than ggml's", t->name);
		free(data);
		free(want);
		if (!known[k].hash) continue;

		size_t n = (size_t)RANDOM_BLOCKS * t->block;
		data = random_bytes(bt_type_row_bytes(t, n));
		float *values = malloc(n * sizeof *values);
		assert_non_null(values);
		t->unpack(data, values, n);
		if (hash_floats(values, n) != known[k].hash) fail_msg("%s: other values on random bytes", t->name);
		free(data);
		free(values);
	}
}

/* q, scale and min of n values multiply out to unpack's, q keeps to its range, and the group's fields to the header. */
static void check_integer_form(const struct bt_type *t, const void *data, size_t n, int *lowest, int *highest)
{
	float *values = malloc(n * sizeof *values), *scale = malloc(n / t->group * sizeof *scale);
	float *min = t->has_min ? malloc(n / t->group * sizeof *min) : NULL;
	int8_t *q = malloc(n);
	assert_true(values && scale && q);
	t->unpack(data, values, n);
	t->unpack_i8(data, q, scale, min, n);
	for (size_t i = 0; i < n; i++) {
		float s = scale[i / t->group], m = min ? min[i / t->group] : 0, got = s * (float)q[i] + m;
		if (q[i] < *lowest) *lowest = q[i];
		if (q[i] > *highest) *highest = q[i];
		if (!isfinite(s) || !isfinite(m) || !isfinite(values[i])) continue;
		if (fabsf(got - values[i]) > 1.2e-7f * (fabsf(s * (float)q[i]) + fabsf(m)))
			fail_msg("%s: value %zu is %g, its integer form %g", t->name, i, (double)values[i],
			         (double)got);
	}
	free(values);
	free(scale);
	free(min);
	free(q);
}

static void integer_form_agrees(void **state)
{
	(void)state;
	for (size_t k = 0; k < N_KNOWN; k++) {
		const struct bt_type *t = bt_type_get(known[k].id);
		if (!t->unpack_i8) continue;
		int lowest = 127, highest = -128;
		size_t size;
		uint8_t *data = load(t->name, ".bin", &size);
		assert_true(t->group == 16 || t->group == 32);
		assert_int_equal(t->block % t->group, 0);
		check_integer_form(t, data, VALUES, &lowest, &highest);
		free(data);
		size_t n = (size_t)RANDOM_BLOCKS * t->block;
		data = random_bytes(bt_type_row_bytes(t, n));
		check_integer_form(t, data, n, &lowest, &highest);
		free(data);
		memset(data = malloc(bt_type_row_bytes(t, t->block)), 0xFF, bt_type_row_bytes(t, t->block));
		check_integer_form(t, data, t->block, &lowest, &highest);
		free(data);
		/* exactly the header's range: kernels rely on it, and a wider one would cost them a shortcut */
		if (lowest != t->q_min || highest != t->q_max)
			fail_msg("%s: q runs from %d to %d, not %d to %d", t->name, lowest, highest, t->q_min,
			         t->q_max);
	}
}

/* Types whose quantiser gives ggml's bytes; the others that have one may only be at least as close. */
static bool packs_the_same_bytes(enum bt_type_id id)
{
	static const enum bt_type_id same[] = {BT_TYPE_F16,  BT_TYPE_BF16, BT_TYPE_Q4_0,  BT_TYPE_Q4_1, BT_TYPE_Q5_0,
	                                       BT_TYPE_Q5_1, BT_TYPE_Q8_0, BT_TYPE_TQ1_0, BT_TYPE_TQ2_0};
	for (size_t i = 0; i < sizeof same / sizeof *same; i++)
		if (same[i] == id) return true;
	return false;
}

static double squared_error(const float *a, const float *b, const float *w, size_t n)
{
	double e = 0;
	for (size_t i = 0; i < n; i++) e += (w ? (double)w[i] : 1.0) * ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
	return e;
}

static void packs_as_well_as_ggml(void **state)
{
	(void)state;
	size_t size;
	float *source = load("source", ".f32.bin", &size), got[VALUES];
	uint8_t packed[VALUES * 2];
	int packers = 0;
	assert_int_equal(size, sizeof got);
	for (size_t k = 0; k < N_KNOWN; k++) {
		const struct bt_type *t = bt_type_get(known[k].id);
		if (!t->pack) continue;
		packers++;
		memset(packed, 0xA5, sizeof packed);
		t->pack(source, packed, VALUES, NULL);
		uint8_t *want = load(t->name, ".bin", &size);
		float *want_values = load(t->name, ".f32.bin", &size);
		if (packs_the_same_bytes(t->id) && memcmp(packed, want, bt_type_row_bytes(t, VALUES)))
			fail_msg("%s: other bytes than ggml's", t->name);
		t->unpack(packed, got, VALUES);
		double ours = squared_error(got, source, NULL, VALUES);
		double theirs = squared_error(want_values, source, NULL, VALUES);
		if (!(ours <= theirs)) fail_msg("%s: squared error %g, ggml's %g", t->name, ours, theirs);
		free(want);
		free(want_values);
	}
	assert_int_equal(packers, 17);
	free(source);
}

/* Weighted by importance, the K types' error under those weights falls. */
static void importance_is_heeded(void **state)
{
	(void)state;
	static const enum bt_type_id ids[] = {BT_TYPE_Q2_K, BT_TYPE_Q3_K,   BT_TYPE_Q4_K,  BT_TYPE_Q5_K,
	                                      BT_TYPE_Q6_K, BT_TYPE_IQ4_NL, BT_TYPE_IQ4_XS};
	size_t size;
	float *source = load("source", ".f32.bin", &size), got[VALUES], weights[VALUES];
	uint8_t packed[VALUES * 2];
	for (size_t i = 0; i < VALUES; i++) weights[i] = i % 5 ? 0.01f : 10.0f;
	for (size_t k = 0; k < sizeof ids / sizeof *ids; k++) {
		const struct bt_type *t = bt_type_get(ids[k]);
		double error[2];
		for (int weighted = 0; weighted < 2; weighted++) {
			t->pack(source, packed, VALUES, weighted ? weights : NULL);
			t->unpack(packed, got, VALUES);
			error[weighted] = squared_error(got, source, weights, VALUES);
		}
		if (!(error[1] < 0.9 * error[0]))
			fail_msg("%s: %g with weights, %g without", t->name, error[1], error[0]);
	}
	free(source);
}

/* No value makes a quantiser misbehave (the sanitizers watch), and zeros stay zeros. */
static void packs_any_value(void **state)
{
	(void)state;
	enum { N = 256 * 8 };
	static const float odd[] = {0,  -0.0f, 1e-45f, 1e-39f, 6e-8f,   -1e-6f,  1,
	                            -1, 65504, -7e4f,  1e30f,  3.4e38f, -3.4e38f};
	float values[N], got[N];
	uint8_t *packed = malloc(N * 4), *random = random_bytes(sizeof values);
	assert_non_null(packed);
	for (uint32_t id = 0; id < BT_TYPE_COUNT; id++) {
		const struct bt_type *t = bt_type_get(id);
		if (!t || !t->pack) continue;
		for (size_t i = 0; i < N; i++) values[i] = odd[random[i] % (sizeof odd / sizeof *odd)];
		t->pack(values, packed, N, NULL);
		for (size_t i = 0; i < N; i++) values[i] = odd[random[i] % 6]; /* nothing but tiny ones */
		t->pack(values, packed, N, NULL);
		for (size_t i = 0; i < 256; i++) values[i] = i % 2 ? NAN : -INFINITY;
		t->pack(values, packed, N, NULL);
		memcpy(values, random, sizeof values);
		t->pack(values, packed, N, values);
		memset(values, 0, sizeof values);
		t->pack(values, packed, N, NULL);
		t->unpack(packed, got, N);
		for (size_t i = 0; i < N; i++)
			if (got[i] != 0) fail_msg("%s: zero became %g", t->name, (double)got[i]);
	}
	free(packed);
	free(random);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table_has_every_type), cmocka_unit_test(unpacks_bit_for_bit),
		cmocka_unit_test(integer_form_agrees),  cmocka_unit_test(packs_as_well_as_ggml),
		cmocka_unit_test(importance_is_heeded), cmocka_unit_test(packs_any_value),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
