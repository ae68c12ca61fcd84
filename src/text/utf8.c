#include "text/utf8.h"

#include "text/tokenizer.h"

#include <string.h>

enum bt_utf8_class bt_utf8_classify(const unsigned char *s, unsigned n)
{
	unsigned char lead = s[0];
	if (lead < 0x80) return n == 1 ? BT_UTF8_WHOLE : BT_UTF8_BAD;
	if (lead < 0xC2 || lead > 0xF4) return BT_UTF8_BAD;
	unsigned want = bt_utf8_announced(lead);
	if (n > want) return BT_UTF8_BAD;
	if (n > 1) { /* the second byte excludes overlong forms, surrogates and what is above U+10FFFF */
		unsigned char lo = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
		unsigned char hi = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
		if (s[1] < lo || s[1] > hi) return BT_UTF8_BAD;
	}
	for (unsigned i = 2; i < n; i++)
		if ((s[i] & 0xC0) != 0x80) return BT_UTF8_BAD;
	return n == want ? BT_UTF8_WHOLE : BT_UTF8_PARTIAL;
}

size_t bt_utf8_valid_prefix(const char *s, size_t len)
{
	size_t i = 0;
	while (i < len) {
		uint64_t block;
		if (len - i >= sizeof block) { /* eight ASCII bytes at a time */
			memcpy(&block, s + i, sizeof block);
			if (!(block & 0x8080808080808080u)) {
				i += sizeof block;
				continue;
			}
		}
		unsigned n = bt_utf8_announced((unsigned char)s[i]);
		if (n > len - i || bt_utf8_classify((const unsigned char *)s + i, n) != BT_UTF8_WHOLE) break;
		i += n;
	}
	return i;
}

/* Value of n bytes whose lead and continuation bits are right; no other check. */
static uint32_t value(const unsigned char *s, unsigned n)
{
	if (n == 1) return s[0];
	uint32_t cp = s[0] & (0x7Fu >> n);
	for (unsigned i = 1; i < n; i++) cp = cp << 6 | (s[i] & 0x3F);
	return cp;
}

uint32_t bt_utf8_decode(const char *s, size_t len, unsigned *n)
{
	const unsigned char *u = (const unsigned char *)s;
	*n = bt_utf8_announced(u[0]);
	if (*n > len || bt_utf8_classify(u, *n) != BT_UTF8_WHOLE) {
		*n = 1;
		return 0xFFFD;
	}
	return value(u, *n);
}

unsigned bt_utf8_encode(uint32_t cp, char out[4])
{
	if (cp < 0x80) {
		out[0] = (char)cp;
		return 1;
	}
	unsigned n = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
	static const unsigned char mark[5] = {0, 0, 0xC0, 0xE0, 0xF0};
	for (unsigned i = n; i-- > 1; cp >>= 6) out[i] = (char)(0x80 | (cp & 0x3F));
	out[0] = (char)(mark[n] | cp);
	return n;
}

/* Length of the sequence at s that has the right lead and continuation bits, 0 when there is none. */
static unsigned shaped(const unsigned char *s, size_t len)
{
	if (s[0] < 0x80) return 1;
	if (s[0] < 0xC0 || s[0] >= 0xF8) return 0;
	unsigned n = bt_utf8_announced(s[0]);
	if (n > len) return 0;
	for (unsigned i = 1; i < n; i++)
		if ((s[i] & 0xC0) != 0x80) return 0;
	return n;
}

enum baton_status bt_utf8_repair(const char *text, size_t len, char **repaired, char **stand_in, size_t *out_len,
                                 struct baton_error *err)
{
	*repaired = *stand_in = NULL;
	size_t size;
	if (!bt_mul_size(len, 3, &size)) return bt_fail_nomem(err, len, "a text");
	char *out = bt_mem_alloc(BT_MEM_TEXT, size); /* one bad byte becomes three */
	if (!out) return bt_fail_nomem(err, size, "a text");
	bool surrogates = false;
	size_t n = 0;
	for (size_t i = 0; i < len;) {
		const unsigned char *s = (const unsigned char *)text + i;
		unsigned step = shaped(s, len - i);
		uint32_t cp = step ? value(s, step) : 0xFFFD;
		if (cp > 0x10FFFF) cp = 0xFFFD;
		surrogates |= (cp & ~0x7FFu) == 0xD800;
		n += bt_utf8_encode(cp, out + n);
		i += step ? step : 1;
	}
	char *copy = out;
	if (surrogates) {
		copy = bt_mem_alloc(BT_MEM_TEXT, n);
		if (!copy) {
			bt_mem_free(out);
			return bt_fail_nomem(err, n, "a text");
		}
		memcpy(copy, out, n);
		for (size_t i = 0; i < n; i += bt_utf8_announced((unsigned char)copy[i])) {
			if ((unsigned char)copy[i] == 0xED && (unsigned char)copy[i + 1] >= 0xA0) {
				memcpy(copy + i, "\xEE\x80\x80", 3); /* U+E000 */
			}
		}
	}
	*repaired = out;
	*stand_in = copy;
	*out_len = n;
	return BATON_OK;
}

/* Bytes 0x21-0x7E, 0xA1-0xAC and 0xAE-0xFF stand for themselves. */
static bool plain(unsigned b)
{
	return (b > 0x20 && b < 0x7F) || (b > 0xA0 && b != 0xAD && b < 0x100);
}

uint32_t bt_byte_letter(unsigned char b)
{
	if (plain(b)) return b;
	/* The others in order: 0x00-0x20, 0x7F-0xA0, 0xAD. */
	return 0x100u + (b <= 0x20 ? b : b <= 0xA0 ? b - 0x7F + 33u : 67u);
}

int bt_letter_byte(uint32_t cp)
{
	if (cp < 0x100) return plain(cp) ? (int)cp : -1;
	if (cp <= 0x120) return (int)(cp - 0x100);
	if (cp <= 0x142) return (int)(cp - 0x121 + 0x7F);
	return cp == 0x143 ? 0xAD : -1;
}

void bt_utf8_stream_feed(struct bt_utf8_stream *s, const char *data, size_t len, struct bt_buf *out)
{
	for (size_t i = 0; i < len;) {
		if (!s->n) {
			size_t whole = bt_utf8_valid_prefix(data + i, len - i);
			bt_buf_add(out, data + i, whole);
			i += whole;
			if (i == len) break;
		}
		s->held[s->n] = (unsigned char)data[i];
		switch (bt_utf8_classify(s->held, s->n + 1)) {
		case BT_UTF8_WHOLE:
			bt_buf_add(out, s->held, s->n + 1);
			s->n = 0;
			i++;
			break;
		case BT_UTF8_PARTIAL:
			s->n++;
			i++;
			break;
		case BT_UTF8_BAD: /* one U+FFFD for what was begun; the byte that broke it is looked at afresh */
			bt_buf_add_codepoint(out, 0xFFFD);
			if (!s->n) i++;
			s->n = 0;
			break;
		}
	}
}

void bt_utf8_stream_end(struct bt_utf8_stream *s, struct bt_buf *out)
{
	if (s->n) bt_buf_add_codepoint(out, 0xFFFD);
	s->n = 0;
}
