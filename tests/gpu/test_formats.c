/* What weights take on a device (src/backend/gpu/formats.c), beside what they take in a file. */
#include "backend/gpu/formats.h"
#include "quant/type.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

/* The most that a type may take of its size in a file: whoever has memory for the file should have it for the weights. */
#define USUAL 1.14 /* IQ2_XS */
static const struct {
	enum bt_type_id type;
	double most;
	const char *why;
} exceptions[] = {
	{BT_TYPE_IQ1_S, 1.70, "four values are a byte, where the file has eight of them in 11 bits"},
	{BT_TYPE_IQ1_M, 1.51, "the same"},
	{BT_TYPE_TQ1_0, 1.57, "four values are a byte, where the file has five of them"},
	{BT_TYPE_TQ2_0, 1.29, "a scale for 16 values, where the file has one for 256"},
	{BT_TYPE_IQ2_XXS, 1.28, "10 bits of a number and 8 signs, where the file has 8 and 7"},
	{BT_TYPE_IQ3_XXS, 1.19, "9 bits of a number and 8 signs, where the file has 8 and 7"},
};

static void sizes(void **state)
{
	const uint64_t k = 4096, rows = 4096;
	unsigned wrong = 0, types = 0;
	(void)state;
	for (uint32_t id = 0; id < BT_TYPE_COUNT; id++) {
		const struct bt_type *type = bt_type_get(id);
		uint64_t offset[BT_GPU_PLANES];
		double most = USUAL;
		if (!type) continue;
		types++;
		for (size_t i = 0; i < sizeof exceptions / sizeof *exceptions; i++)
			if (exceptions[i].type == type->id) most = exceptions[i].most;
		double bytes = (double)bt_gpu_plane_offsets(bt_gpu_format_of(type, false), k, rows, offset),
		       file = (double)(bt_type_row_bytes(type, k) * rows);
		printf("%-8s %7.4f bits of a weight on a device, %7.4f in a file: %.3f\n", type->name,
		       bytes * 8 / (double)(k * rows), file * 8 / (double)(k * rows), bytes / file);
		if (bytes / file <= most && (most == USUAL || bytes / file > most - 0.02)) continue;
		printf("  at most %.2f is allowed, and no more than is needed\n", most);
		wrong++;
	}
	assert_true(types > 20);
	assert_int_equal(wrong, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(sizes)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
