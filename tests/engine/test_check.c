/* What the comparison of a device with the host must not overlook. */
#include "engine/check.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { N = 9 };

static const float want[N] = {0, 1, -8, 3, 0.5f, -2, 4, 0, 7};

static void test_largest_difference(void **state)
{
	(void)state;
	float got[N];
	memcpy(got, want, sizeof got);
	assert_true(bt_check_values(want, got, N) == 0);
	got[5] += 1;
	got[7] -= 0.5f;
	assert_true(bt_check_values(want, got, N) == 1.0 / 8);
}

static void test_no_number_is_never_hidden(void **state)
{
	(void)state;
	static const float bad[] = {NAN, INFINITY, -INFINITY};
	for (int b = 0; b < 3; b++)
		for (int i = 0; i < N; i++) {
			float got[N];
			memcpy(got, want, sizeof got);
			got[i] = bad[b];
			assert_true(isinf(bt_check_values(want, got, N)));
			assert_true(isinf(bt_check_values(got, want, N)));
			assert_true(
				isinf(bt_check_values(got, got, N))); /* nor is it right because the host has it too */
		}
}

static void test_nothing_where_something_was_due(void **state)
{
	(void)state;
	static const float zero[N];
	assert_true(bt_check_values(zero, zero, N) == 0);
	assert_true(isinf(bt_check_values(zero, want, N)));
	assert_true(bt_check_values(want, zero, N) == 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_largest_difference),
		cmocka_unit_test(test_no_number_is_never_hidden),
		cmocka_unit_test(test_nothing_where_something_was_due),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
