/* Tests of src/base: statuses, the allocator and its failure injection, arenas, buffers, half floats. */
#include "base/buf.h"
#include "base/half.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

static void statuses_carry_their_sentence(void **state)
{
	(void)state;
	struct baton_error err;
	assert_int_equal(bt_fail(&err, BATON_ERR_IO, "%s: gone", "x.gguf"), BATON_ERR_IO);
	assert_string_equal(err.text, "x.gguf: gone");
	assert_int_equal(bt_fail_prefix(&err, "loading"), BATON_ERR_IO);
	assert_string_equal(err.text, "loading: x.gguf: gone");
	assert_int_equal(bt_fail(NULL, BATON_ERR_ARG, "nobody listens"), BATON_ERR_ARG);
	for (int i = 0; i <= BATON_ERR_TEMPLATE; i++) assert_string_not_equal(baton_status_text(i), "unknown status");
	assert_string_equal(baton_status_text(999), "unknown status");
}

static void memory_is_counted_and_can_fail(void **state)
{
	(void)state;
	struct bt_mem_stats before, s;
	bt_mem_get_stats(&before);
	char *p = bt_mem_alloc(BT_MEM_KV, 1000);
	assert_non_null(p);
	assert_int_equal((uintptr_t)p % BT_MEM_ALIGN, 0);
	bt_mem_get_stats(&s);
	assert_int_equal(s.current[BT_MEM_KV], before.current[BT_MEM_KV] + 1000);
	memset(p, 7, 1000);
	p = bt_mem_realloc(BT_MEM_KV, p, 3000);
	assert_int_equal(p[999], 7);
	bt_mem_free(p);
	bt_mem_get_stats(&s);
	assert_int_equal(s.current[BT_MEM_KV], before.current[BT_MEM_KV]);
	assert_int_equal(s.blocks, before.blocks);
	assert_null(bt_mem_array(BT_MEM_HOST, SIZE_MAX / 2, 3));
	bt_mem_fail_at(2);
	void *a = bt_mem_alloc(BT_MEM_HOST, 1), *b = bt_mem_alloc(BT_MEM_HOST, 1), *c = bt_mem_alloc(BT_MEM_HOST, 1);
	bt_mem_fail_at(0);
	assert_non_null(a);
	assert_null(b);
	assert_non_null(c);
	bt_mem_free(a);
	bt_mem_free(c);
}

static void arenas_free_everything_and_keep_their_limit(void **state)
{
	(void)state;
	struct bt_mem_stats before, s;
	bt_mem_get_stats(&before);
	struct bt_arena a;
	bt_arena_init(&a, BT_MEM_TEXT, 1 << 20);
	for (int i = 0; i < 100; i++) {
		char *p = bt_arena_alloc(&a, 1000 + (size_t)i);
		assert_non_null(p);
		memset(p, i, 1000);
	}
	assert_non_null(bt_arena_alloc(&a, 300000));
	assert_string_equal(bt_arena_strndup(&a, "abcdef", 3), "abc");
	assert_null(bt_arena_alloc(&a, 1 << 20));
	assert_null(bt_arena_alloc(&a, SIZE_MAX));
	bt_arena_free(&a);
	bt_mem_get_stats(&s);
	assert_int_equal(s.blocks, before.blocks);
}

static void buffers_stop_at_their_ceiling(void **state)
{
	(void)state;
	struct bt_buf b;
	bt_buf_init(&b, BT_MEM_TEXT, 10);
	assert_string_equal(bt_buf_str(&b), "");
	bt_buf_adds(&b, "hello");
	bt_buf_addf(&b, "%d", 42);
	assert_string_equal(bt_buf_str(&b), "hello42");
	bt_buf_adds(&b, "too much");
	bt_buf_adds(&b, "x");
	assert_int_equal(b.status, BATON_ERR_LIMIT);
	assert_string_equal(bt_buf_str(&b), "hello42");
	bt_buf_clear(&b);
	bt_buf_add_codepoint(&b, 0x20AC);
	bt_buf_add_codepoint(&b, 0x1F600);
	bt_buf_add_codepoint(&b, 0xD800);
	assert_string_equal(bt_buf_str(&b), "\xE2\x82\xAC\xF0\x9F\x98\x80\xEF\xBF\xBD");
	bt_buf_free(&b);
}

static void half_floats_round_trip(void **state)
{
	(void)state;
	for (uint32_t h = 0; h < 65536; h++) {
		float f = bt_f16_to_f32((uint16_t)h);
		if (!isnan(f)) assert_int_equal(bt_f32_to_f16(f), h);
		else assert_true(isnan(bt_f16_to_f32(bt_f32_to_f16(f))));
		float g = bt_bf16_to_f32((uint16_t)h);
		if (!isnan(g)) assert_int_equal(bt_f32_to_bf16(g), h);
	}
	assert_int_equal(bt_f32_to_f16(65519.0f), 0x7BFF); /* the last that rounds down to the largest half */
	assert_int_equal(bt_f32_to_f16(65520.0f), 0x7C00);
	assert_int_equal(bt_f32_to_f16(0x1p-25f), 0); /* a tie: to even */
	assert_int_equal(bt_f32_to_f16(0x1.8p-25f), 1);
	assert_int_equal(bt_f32_to_f16(1.0f + 0x1p-11f), 0x3C00);
	assert_int_equal(bt_f32_to_f16(1.0f + 0x1.8p-10f), 0x3C02);
	assert_int_equal(bt_f32_to_bf16(1.0f + 0x1p-8f), 0x3F80);
	assert_int_equal(bt_f32_to_bf16(1.0f + 0x1.8p-7f), 0x3F82);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(statuses_carry_their_sentence),
		cmocka_unit_test(memory_is_counted_and_can_fail),
		cmocka_unit_test(arenas_free_everything_and_keep_their_limit),
		cmocka_unit_test(buffers_stop_at_their_ceiling),
		cmocka_unit_test(half_floats_round_trip),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
