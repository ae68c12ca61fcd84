/* utf8.h: UTF-8, strict and forgiving, and the alphabet in which byte-level BPE vocabularies spell bytes. */
#ifndef BT_TEXT_UTF8_H
#define BT_TEXT_UTF8_H

#include "base/mem.h"
#include "base/status.h"

/* Length of the sequence that a lead byte announces, 1 to 4; 1 for bytes that cannot lead. No check of what follows:
 * SentencePiece cuts text by it. */
static inline unsigned bt_utf8_announced(unsigned char lead)
{
	return lead < 0xC0 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

/* What n (1 to 4) bytes are by table 3-7 of the Unicode standard. */
enum bt_utf8_class {
	BT_UTF8_BAD,     /* no well-formed character begins with them */
	BT_UTF8_PARTIAL, /* the beginning of a character */
	BT_UTF8_WHOLE,   /* exactly one character */
};
enum bt_utf8_class bt_utf8_classify(const unsigned char *s, unsigned n);

/* Bytes at the start of s that are whole, well-formed characters. */
size_t bt_utf8_valid_prefix(const char *s, size_t len);

/* Decode one character at s, len > 0 bytes long; *n is its length. What is not UTF-8 gives U+FFFD and *n = 1. */
uint32_t bt_utf8_decode(const char *s, size_t len, unsigned *n);

/* Writes 1 to 4 bytes. cp is at most U+10FFFF; surrogates are written like any other 3-byte character. */
unsigned bt_utf8_encode(uint32_t cp, char out[4]);

/* A copy of text in which every character can be stepped over by its lead byte, as llama.cpp's tokenizer sees text that
 * is not UTF-8 (facts: unicode_cpt_from_utf8 in its src/unicode.cpp): a sequence with the right lead and continuation
 * bits is taken for its value, overlong or not, surrogate or not; any other byte becomes U+FFFD. (Where the value
 * exceeds U+10FFFF llama.cpp gives up; here it becomes U+FFFD.)
 * *stand_in is the same with every surrogate replaced by a private-use character of equal length, for libraries that
 * take well-formed text only; it is the same pointer when there is none. Free both (once if equal) with bt_mem_free. */
enum baton_status bt_utf8_repair(const char *text, size_t len, char **repaired, char **stand_in, size_t *out_len,
                                 struct baton_error *err);

/* The alphabet of byte-level BPE (GPT-2's bytes_to_unicode): printable Latin-1 bytes stand for themselves, the other 68
 * for U+0100 to U+0143 in order. */
uint32_t bt_byte_letter(unsigned char byte);
/* The byte a letter of the alphabet stands for, -1 for any other character. */
int bt_letter_byte(uint32_t cp);

#endif
