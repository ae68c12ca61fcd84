/* Pre-tokenizers: every row compiles, cuts what its expression says, covers any text, and stands long runs of anything. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "text/pretok.h"
#include "text/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct bt_str str(const char *s)
{
	return (struct bt_str){s, strlen(s)};
}

static struct bt_pretok *open_row(const struct bt_pretok_row *row)
{
	struct bt_pretok *p;
	struct baton_error err = {0};
	if (bt_pretok_open(row, &p, &err)) fail_msg("%s", err.text);
	return p;
}

static void names(void **state)
{
	(void)state;
	assert_string_equal(bt_pretok_find(str("llama3"))->names, bt_pretok_find(str("llama-bpe"))->names);
	assert_ptr_equal(bt_pretok_find(str("")), bt_pretok_find(str("default")));
	assert_ptr_equal(bt_pretok_find(str("deepseek-r1-qwen")), bt_pretok_find(str("qwen2")));
	assert_null(bt_pretok_find(str("qwen")));
	assert_null(bt_pretok_find(str("qwen2 ")));
	assert_null(bt_pretok_find(str("nonesuch")));
	/* No name stands in two rows. */
	for (const struct bt_pretok_row *r = bt_pretok_table; r->names; r++) {
		char copy[512], *save = NULL;
		assert_true(strlen(r->names) < sizeof copy);
		strcpy(copy, r->names);
		for (char *n = strtok_r(copy, " ", &save); n; n = strtok_r(NULL, " ", &save))
			assert_ptr_equal(bt_pretok_find(str(n)), r);
	}
}

/* want: the pieces, each followed by '|'. */
static void cuts(const char *name, const char *text, const char *want)
{
	struct bt_pretok *p = open_row(bt_pretok_find(str(name)));
	struct bt_pretok_work w = {0};
	assert_int_equal(bt_pretok_split(p, &w, text, strlen(text), NULL), BATON_OK);
	char got[512];
	size_t n = 0, from = 0;
	for (size_t i = 0; i < w.pieces.n; i++) {
		n += (size_t)snprintf(got + n, sizeof got - n, "%.*s|", (int)(w.pieces.end[i] - from), text + from);
		from = w.pieces.end[i];
	}
	if (strcmp(got, want)) fail_msg("%s: \"%s\" gives \"%s\", not \"%s\"", name, text, got, want);
	bt_pretok_work_free(&w);
	bt_pretok_close(&p);
}

/* Worked out by hand from the published expressions. */
static void pieces(void **state)
{
	(void)state;
	cuts("gpt-2", "it's  12 o'CLOCK!\n\n x", "it|'s| | 12| o|'|CLOCK|!|\n\n| x|");
	cuts("qwen2", "I'LL 123!?\n\n x\xC2\xA0y", "I|'LL| |1|2|3|!?\n\n| x|\xC2\xA0y|");
	cuts("llama-bpe", "x 12345\n \n  y", "x| |123|45|\n \n| | y|");
	cuts("qwen35",
	     "a\xCC\x81"
	     "b \xCC\x81",
	     "a\xCC\x81"
	     "b| \xCC\x81|"); /* marks belong to words */
	cuts("qwen2",
	     "a\xCC\x81"
	     "b",
	     "a|\xCC\x81"
	     "b|");
	cuts("smollm", "a12 3", "a|1|2| |3|");
	cuts("default", "a=12345 b", "a|=|123|45| b|");
	cuts("falcon", "`x` 1234", "`|x|`| |123|4|");
	cuts("tekken", "HelloWorld ABCdef's 12/\n", "Hello|World| ABCdef|'s| |1|2|/\n|");
	cuts("gpt-4o", "HelloWORLD's 1234 don't", "Hello|WORLD's| |123|4| don't|");
	cuts("tiny_aya", "12345 1234567x 12", "12|345| |123|456|7|x| |12|");
	cuts("deepseek-llm",
	     "Hi \xD0\xB9\n\xE4\xBD\xA0\xE5\xA5\xBD"
	     "12  ",
	     "Hi| \xD0\xB9|\n|\xE4\xBD\xA0\xE5\xA5\xBD|12|  |");
	cuts("deepseek-coder", "ab 12!!\n", "ab| |1|2|!!|\n|");
	cuts("deepseek-v3", "x 1234 \xE4\xBD\xA0\xE3\x81\x82z _ab", "x| |123|4| |\xE4\xBD\xA0\xE3\x81\x82|z| _|ab|");
	cuts("deepseek-v3", "z_ab", "z|_ab|");
	cuts("bailingmoe", "a's \n\nb", "a|'s| \n\n|b|");
	cuts("seed-coder", "x!\ny", "x|!|\n|y|");
	cuts("ufakzeka", "it's", "it|'s|");
	cuts("laguna", "a\n\n'SB", "a|\n\n|'S|B|");
	cuts("minicpm5", "v1234", "v|123|4|");
	cuts("exaone-moe", "a bc  d!\n\n", "a bc| | d|!\n|\n|");
	cuts("chameleon", "ab    c12\tIMGIMGABZ", "ab|    |c|1|2|\t|IMGIMGABZ|");
	cuts("bloom", "one two,three", "one| two|,|three|");
	cuts("viking", "ab12 c", "ab|1|2| c|");
	cuts("superbpe", "pay 1234567 now", "pay |1|234|567| now|");
	cuts("youtu",
	     "\xEA\xB0\x80x\xEF\xBC\x8C"
	     "AbC",
	     "\xEA\xB0\x80|x|\xEF\xBC\x8C|Ab|C|");
	/* U+180E is no White_Space, though PCRE2's \s has it. */
	cuts("gpt-2", "a \xE1\xA0\x8E", "a| \xE1\xA0\x8E|");
	cuts("gpt-2", "a\xC2\x85\xE3\x80\x80", "a|\xC2\x85\xE3\x80\x80|");
}

static void covered(const struct bt_pretok *p, struct bt_pretok_work *w, const char *text, size_t len)
{
	struct baton_error err = {0};
	if (bt_pretok_split(p, w, text, len, &err)) fail_msg("%s", err.text);
	size_t from = 0;
	for (size_t i = 0; i < w->pieces.n; i++) {
		assert_true(w->pieces.end[i] > from);
		from = w->pieces.end[i];
		assert_true(from == len || ((unsigned char)text[from] & 0xC0) != 0x80); /* at a character's begin */
	}
	assert_int_equal(from, len);
}

static void random_text(void **state)
{
	(void)state;
	uint32_t seed = 7;
	for (const struct bt_pretok_row *r = bt_pretok_table; r->names; r++) {
		struct bt_pretok *p = open_row(r);
		struct bt_pretok_work w = {0};
		for (unsigned i = 0; i < 300; i++) {
			char text[256];
			size_t len = 0;
			while (len < sizeof text - 4) {
				static const uint32_t from[] = {0,      0x20,   0x30,    0x41,  0x300,
				                                0x4E00, 0x2000, 0x1F600, 0x660, 0xAC00};
				seed = seed * 1664525 + 1013904223;
				uint32_t cp = from[(seed >> 8) % 10] + (seed >> 16) % 40;
				len += bt_utf8_encode(cp, text + len);
				if (seed >> 24 == 0) break;
			}
			covered(p, &w, text, len);
		}
		bt_pretok_work_free(&w);
		bt_pretok_close(&p);
	}
}

/* Much of one thing, and of one thing with another at its end. Finishing at all is the test: an expression that
 * took quadratic time would take many minutes. */
static void long_text(void **state)
{
	(void)state;
	static const char *const units[] = {" ",
	                                    "a",
	                                    "A",
	                                    "7",
	                                    "\n",
	                                    "!",
	                                    "'",
	                                    "\xCC\x81",
	                                    "a ",
	                                    "\t",
	                                    "aA",
	                                    "\xE4\xBD\xA0",
	                                    "\xF0\x9F\x98\x80",
	                                    " \n",
	                                    "\r\n",
	                                    "a\xCC\x81"};
	const size_t size = 1 << 18;
	char *text = malloc(size + 2);
	assert_non_null(text);
	for (const struct bt_pretok_row *r = bt_pretok_table; r->names; r++) {
		struct bt_pretok *p = open_row(r);
		struct bt_pretok_work w = {0};
		for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
			size_t n = strlen(units[u]), len = 0;
			for (; len + n <= size; len += n) memcpy(text + len, units[u], n);
			covered(p, &w, text, len);
			text[len++] = 'z';
			covered(p, &w, text, len);
		}
		bt_pretok_work_free(&w);
		bt_pretok_close(&p);
	}
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(names), cmocka_unit_test(pieces),
	                                   cmocka_unit_test(random_text), cmocka_unit_test(long_text)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
