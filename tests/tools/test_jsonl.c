/* JSON lines: what is answered to good lines, bad lines and wrong members, and that reading goes on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tools/jsonl.h"

#include <stdlib.h>
#include <string.h>

struct fixture {
	struct bt_jsonl j;
	char *out;
	size_t out_len;
};

static void open_text(struct fixture *f, const char *text, size_t len)
{
	FILE *in = fmemopen((void *)text, len, "r"), *out = open_memstream(&f->out, &f->out_len);
	assert_non_null(in);
	assert_non_null(out);
	fflush(out); /* sets f->out */
	bt_jsonl_init(&f->j, in, out);
}

static void close_text(struct fixture *f)
{
	fclose(f->j.in);
	fclose(f->j.out);
	free(f->out);
	bt_jsonl_free(&f->j);
}

static void bad_lines(void **state)
{
	(void)state;
	static const char text[] =
		"{\"a\":1}\n\n  "
		"\r\n[1]\n{\"a\":\n7\n{\"b\":\"x\\u0000y\"}\n\"\xff\"\n{\"c\":1,\"c\":2}\n{\"last\":true}";
	struct fixture f;
	open_text(&f, text, sizeof text - 1);
	json_t *v = bt_jsonl_read(&f.j);
	assert_int_equal(json_integer_value(json_object_get(v, "a")), 1);
	json_decref(v);
	assert_int_equal(f.out_len, 0);
	v = bt_jsonl_read(&f.j);
	const char *s;
	size_t n;
	assert_true(bt_jsonl_get_string(&f.j, v, "b", &s, &n));
	assert_int_equal(n, 3);
	assert_memory_equal(s, "x\0y", 3);
	json_decref(v);
	v = bt_jsonl_read(&f.j);
	assert_true(json_is_true(json_object_get(v, "last")));
	json_decref(v);
	assert_null(bt_jsonl_read(&f.j));
	unsigned errors = 0, lines = 0;
	for (const char *p = f.out; *p; p++) lines += *p == '\n';
	for (const char *p = f.out; (p = strstr(p, "{\"error\":\"line ")); p++) errors++;
	assert_int_equal(errors, 5); /* [1], {"a":, 7, the bad UTF-8, the duplicate key */
	assert_int_equal(lines, errors);
	assert_non_null(strstr(f.out, "line 4 is not a JSON object"));
	close_text(&f);
}

static void members(void **state)
{
	(void)state;
	static const char text[] = "{\"yes\":true,\"n\":5,\"ids\":[0,9],\"bad\":[0,10],\"s\":\"t\"}\n";
	struct fixture f;
	open_text(&f, text, sizeof text - 1);
	json_t *v = bt_jsonl_read(&f.j);
	bool b = false;
	json_int_t i = -1;
	int32_t *ids;
	size_t n;
	const char *s;
	assert_true(bt_jsonl_get_bool(&f.j, v, "yes", &b) && b);
	assert_true(bt_jsonl_get_bool(&f.j, v, "absent", &b) && b);
	assert_true(bt_jsonl_get_int(&f.j, v, "n", 0, 5, &i) && i == 5);
	assert_true(bt_jsonl_get_ids(&f.j, v, "ids", 10, &ids, &n) && n == 2 && ids[0] == 0 && ids[1] == 9);
	free(ids);
	assert_true(bt_jsonl_get_ids(&f.j, v, "absent", 10, &ids, &n) && !ids && !n);
	assert_int_equal(f.out_len, 0);
	assert_false(bt_jsonl_get_bool(&f.j, v, "n", &b));
	assert_false(bt_jsonl_get_int(&f.j, v, "n", 0, 4, &i));
	assert_false(bt_jsonl_get_int(&f.j, v, "s", 0, 4, &i));
	assert_false(bt_jsonl_get_string(&f.j, v, "n", &s, &n));
	assert_false(bt_jsonl_get_ids(&f.j, v, "bad", 10, &ids, &n));
	assert_false(bt_jsonl_get_ids(&f.j, v, "n", 10, &ids, &n));
	unsigned errors = 0;
	for (const char *p = f.out; (p = strstr(p, "{\"error\":")); p++) errors++;
	assert_int_equal(errors, 6);
	json_decref(v);
	close_text(&f);
}

static void answers(void **state)
{
	(void)state;
	struct fixture f;
	open_text(&f, "\n", 1);
	bt_jsonl_reply(&f.j, json_pack("{s:s#,s:f}", "t", "a\0\xc3\xa9", 4, "x", 0.1));
	assert_string_equal(f.out, "{\"t\":\"a\\u0000\\u00E9\",\"x\":0.1}\n");
	bt_jsonl_reply(&f.j, NULL);
	assert_non_null(strstr(f.out, "{\"error\":\"out of memory\"}\n"));
	bt_jsonl_error(&f.j, "bad byte \xff here");
	assert_non_null(strstr(f.out, "{\"error\":\"bad byte ? here\"}\n"));
	assert_false(f.j.failed);
	close_text(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(bad_lines), cmocka_unit_test(members),
	                                   cmocka_unit_test(answers)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
