/* UTF-8: classification, repair, the byte alphabet, and the streaming reader under every way of cutting its input. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "text/tokenizer.h"
#include "text/utf8.h"

#include <stdlib.h>
#include <string.h>

static uint32_t seed = 1;

static uint32_t next(uint32_t below)
{
	seed = seed * 1664525 + 1013904223;
	return (uint32_t)((uint64_t)seed * below >> 32);
}

static void alphabet(void **state)
{
	(void)state;
	bool seen[0x144] = {false};
	for (unsigned b = 0; b < 256; b++) {
		uint32_t letter = bt_byte_letter((unsigned char)b);
		assert_true(letter > 0x20 && letter < 0x144 && !seen[letter]);
		seen[letter] = true;
		assert_int_equal(bt_letter_byte(letter), b);
	}
	/* From GPT-2's published vocabulary: a blank is U+0120, a line feed U+010A, 0xAD is U+0143. */
	assert_int_equal(bt_byte_letter(' '), 0x120);
	assert_int_equal(bt_byte_letter('\n'), 0x10A);
	assert_int_equal(bt_byte_letter(0xAD), 0x143);
	assert_int_equal(bt_byte_letter('a'), 'a');
	unsigned letters = 0;
	for (uint32_t cp = 0; cp < 0x110000; cp++) letters += bt_letter_byte(cp) >= 0;
	assert_int_equal(letters, 256);
}

static void every_character(void **state)
{
	(void)state;
	for (uint32_t cp = 0; cp < 0x110000; cp++) {
		char s[4];
		unsigned n = bt_utf8_encode(cp, s), got;
		bool surrogate = cp >= 0xD800 && cp < 0xE000;
		assert_int_equal(bt_utf8_announced((unsigned char)s[0]), n);
		assert_int_equal(bt_utf8_decode(s, n, &got), surrogate ? 0xFFFD : cp);
		assert_int_equal(got, surrogate ? 1 : n);
		assert_int_equal(bt_utf8_valid_prefix(s, n), surrogate ? 0 : n);
		for (unsigned part = 1; part < n && !surrogate; part++) {
			assert_int_equal(bt_utf8_classify((unsigned char *)s, part), BT_UTF8_PARTIAL);
			assert_int_equal(bt_utf8_valid_prefix(s, part), 0);
		}
	}
}

static void repaired(const char *in, size_t len, const char *want, const char *want_stand_in)
{
	char *out, *stand_in;
	size_t n;
	assert_int_equal(bt_utf8_repair(in, len, &out, &stand_in, &n, NULL), BATON_OK);
	assert_int_equal(n, strlen(want));
	assert_memory_equal(out, want, n);
	assert_memory_equal(stand_in, want_stand_in, n);
	assert_int_equal(bt_utf8_valid_prefix(stand_in, n), n);
	assert_int_equal(stand_in == out, !strcmp(want, want_stand_in));
	if (stand_in != out) bt_mem_free(stand_in);
	bt_mem_free(out);
}

#define R "\xEF\xBF\xBD" /* U+FFFD */

static void repair(void **state)
{
	(void)state;
	repaired("ab\xFFz", 4, "ab" R "z", "ab" R "z");
	repaired("\xE2\x82", 2, R R, R R);
	repaired("\xC0\xAF", 2, "/", "/");                           /* overlong: its value */
	repaired("\xED\xA0\x80", 3, "\xED\xA0\x80", "\xEE\x80\x80"); /* a surrogate */
	repaired("\xF4\x90\x80\x80!", 5, R "!", R "!");              /* above U+10FFFF */
	repaired("\xF8\x88\x80\x80\x80", 5, R R R R R, R R R R R);
	for (unsigned i = 0; i < 20000; i++) { /* whatever comes in, well-formed text goes out */
		char in[24], *out, *stand_in;
		size_t len = 1 + next(sizeof in), n;
		for (size_t k = 0; k < len; k++) in[k] = (char)(next(2) ? next(256) : 0xE0 + next(32));
		assert_int_equal(bt_utf8_repair(in, len, &out, &stand_in, &n, NULL), BATON_OK);
		assert_int_equal(bt_utf8_valid_prefix(stand_in, n), n);
		if (stand_in != out) bt_mem_free(stand_in);
		bt_mem_free(out);
	}
}

/* Feed in pieces of at most step bytes (0: random). */
static void stream(struct bt_buf *out, const char *in, size_t len, size_t step)
{
	struct bt_utf8_stream s = {0};
	bt_buf_clear(out);
	for (size_t i = 0; i < len;) {
		size_t n = step ? step : 1 + next(5);
		if (n > len - i) n = len - i;
		bt_utf8_stream_feed(&s, in + i, n, out);
		assert_true(s.n <= 3);
		i += n;
		/* Never half a character. */
		assert_int_equal(bt_utf8_valid_prefix(bt_buf_str(out), out->len), out->len);
	}
	bt_utf8_stream_end(&s, out);
	assert_int_equal(s.n, 0);
}

static void streamed(const char *in, const char *want)
{
	struct bt_buf out;
	bt_buf_init(&out, BT_MEM_TEXT, 1 << 20);
	for (size_t step = 1; step < 6; step++) {
		stream(&out, in, strlen(in), step);
		assert_string_equal(bt_buf_str(&out), want);
	}
	bt_buf_free(&out);
}

static void streaming(void **state)
{
	(void)state;
	streamed("", "");
	streamed("a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80z", "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80z");
	streamed("x\xE2\x82", "x" R);    /* ends early */
	streamed("\xE2\x82y", R "y");    /* broken off */
	streamed("\xF0\x80\x80", R R R); /* no character begins like this (table 3-8 of the standard) */
	streamed("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF"
	         "A",
	         R R R R "A");
	streamed("\xED\xA0\x80", R R R);
	struct bt_buf whole, cut;
	bt_buf_init(&whole, BT_MEM_TEXT, 1 << 20);
	bt_buf_init(&cut, BT_MEM_TEXT, 1 << 20);
	for (unsigned i = 0; i < 20000; i++) {
		char in[40];
		size_t len = next(sizeof in + 1), n = 0;
		while (n < len) {
			uint32_t cp = next(2) ? next(0x110000) : next(0x900);
			char c[4];
			unsigned k = bt_utf8_encode(cp, c);
			if (next(4) == 0) k = 1 + next(k); /* sometimes cut short */
			for (unsigned j = 0; j < k && n < len; j++) in[n++] = c[j];
		}
		stream(&whole, in, len, len ? len : 1);
		stream(&cut, in, len, i & 1);
		assert_int_equal(whole.len, cut.len);
		assert_memory_equal(bt_buf_str(&whole), bt_buf_str(&cut), whole.len);
	}
	bt_buf_free(&whole);
	bt_buf_free(&cut);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(alphabet), cmocka_unit_test(every_character),
	                                   cmocka_unit_test(repair), cmocka_unit_test(streaming)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
