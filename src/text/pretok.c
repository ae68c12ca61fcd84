#include "text/pretok.h"

#include "base/buf.h"
#include "base/limits.h"
#include "text/utf8.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <string.h>
#include <utf8proc.h>

struct bt_pretok {
	const struct bt_pretok_row *row;
	pcre2_general_context *memory;
	unsigned n_steps;
	struct {
		pcre2_code *code; /* NULL for a step by hand */
		bool machine_code;
	} step[BT_PRETOK_STEPS];
};

/* Limits of one match in the interpreter, which is used where no machine code can be made. Sound text needs a few steps
 * a character and next to no memory. */
#define MATCH_STEPS  50000000u
#define MATCH_MEMORY (64u << 10) /* KiB */

static void *pcre_alloc(size_t size, void *user)
{
	(void)user;
	return bt_mem_alloc(BT_MEM_TEXT, size);
}

static void pcre_free(void *p, void *user)
{
	(void)user;
	bt_mem_free(p);
}

/* Is name one of the blank-separated words of names? */
static bool among(const char *names, struct bt_str name)
{
	for (const char *p = names; *p;) {
		size_t n = strcspn(p, " ");
		if (n == name.len && !memcmp(p, name.data, n)) return true;
		p += n;
		p += strspn(p, " ");
	}
	return false;
}

const struct bt_pretok_row *bt_pretok_find(struct bt_str name)
{
	if (!name.len) name = (struct bt_str){"default", 7};
	for (const struct bt_pretok_row *r = bt_pretok_table; r->names; r++)
		if (among(r->names, name)) return r;
	return NULL;
}

/* \s and \S of the expressions are Unicode's White_Space; PCRE2's \s also has U+180E, so the class is spelled out. */
static void spell_spaces(const char *regex, struct bt_buf *out)
{
	static const char set[] = "\\t-\\r\\x{85}\\p{Z}";
	bool in_class = false;
	for (const char *p = regex; *p; p++) {
		if (*p == '\\' && (p[1] == 's' || p[1] == 'S')) {
			if (in_class) bt_buf_adds(out, set);
			else bt_buf_addf(out, "[%s%s]", p[1] == 'S' ? "^" : "", set);
			p++;
		} else if (*p == '\\' && p[1]) {
			bt_buf_add(out, p++, 2);
		} else {
			if (*p == '[') in_class = true;
			if (*p == ']') in_class = false;
			bt_buf_addc(out, *p);
		}
	}
}

static enum baton_status compile(struct bt_pretok *p, unsigned i, struct baton_error *err)
{
	struct bt_buf text;
	bt_buf_init(&text, BT_MEM_TEXT, BT_LIMIT_TOKEN_BYTES);
	spell_spaces(p->row->step[i].regex, &text);
	enum baton_status status = bt_buf_check(&text, err, "a pre-tokenizer's expression");
	pcre2_compile_context *ctx = NULL;
	if (!status && !(ctx = pcre2_compile_context_create(p->memory)))
		status = bt_fail_nomem(err, 0, "an expression");
	if (status) goto done;
	int code;
	PCRE2_SIZE at;
	p->step[i].code = pcre2_compile((PCRE2_SPTR)text.data, text.len,
	                                PCRE2_UTF | PCRE2_UCP | PCRE2_DOLLAR_ENDONLY | PCRE2_NO_AUTO_CAPTURE, &code,
	                                &at, ctx);
	if (!p->step[i].code) {
		char words[128];
		pcre2_get_error_message(code, (PCRE2_UCHAR *)words, sizeof words);
		status = code == PCRE2_ERROR_HEAP_FAILED
		                 ? bt_fail_nomem(err, text.len, "an expression")
		                 : bt_fail(err, BATON_ERR_UNSUPPORTED,
		                           "pre-tokenizer '%.20s', step %u: PCRE2 says: %s (at %zu)", p->row->names, i,
		                           words, (size_t)at);
		goto done;
	}
	/* Refused where the system forbids executable memory: the interpreter then does it. */
	p->step[i].machine_code = !pcre2_jit_compile(p->step[i].code, PCRE2_JIT_COMPLETE);
done:
	pcre2_compile_context_free(ctx);
	bt_buf_free(&text);
	return status;
}

enum baton_status bt_pretok_open(const struct bt_pretok_row *row, struct bt_pretok **out, struct baton_error *err)
{
	*out = NULL;
	struct bt_pretok *p = bt_mem_zalloc(BT_MEM_TEXT, sizeof *p);
	if (!p) return bt_fail_nomem(err, sizeof *p, "a pre-tokenizer");
	p->row = row;
	enum baton_status status = BATON_OK;
	p->memory = pcre2_general_context_create(pcre_alloc, pcre_free, NULL);
	if (!p->memory) status = bt_fail_nomem(err, 0, "a pre-tokenizer");
	for (unsigned i = 0; !status && i < BT_PRETOK_STEPS && (row->step[i].regex || row->step[i].hand); i++) {
		if (row->step[i].regex) status = compile(p, i, err);
		p->n_steps = i + 1;
	}
	if (status) bt_pretok_close(&p);
	else *out = p;
	return status;
}

void bt_pretok_close(struct bt_pretok **pp)
{
	struct bt_pretok *p = *pp;
	if (!p) return;
	for (unsigned i = 0; i < BT_PRETOK_STEPS; i++) pcre2_code_free(p->step[i].code);
	pcre2_general_context_free(p->memory);
	bt_mem_free(p);
	*pp = NULL;
}

bool bt_pieces_add(struct bt_pieces *p, size_t end)
{
	if (p->n == p->cap) {
		size_t cap = p->cap ? 2 * p->cap : 256;
		uint32_t *grown = bt_mem_realloc(BT_MEM_TEXT, p->end, cap * sizeof *grown);
		if (!grown) return false;
		p->end = grown;
		p->cap = cap;
	}
	p->end[p->n++] = (uint32_t)end;
	return true;
}

void bt_pretok_work_free(struct bt_pretok_work *w)
{
	pcre2_match_data_free(w->match);
	pcre2_match_context_free(w->context);
	bt_mem_free(w->pieces.end);
	bt_mem_free(w->other.end);
	*w = (struct bt_pretok_work){0};
}

static bool prepare(const struct bt_pretok *p, struct bt_pretok_work *w)
{
	if (!w->match) w->match = pcre2_match_data_create(1, p->memory);
	if (!w->context) {
		w->context = pcre2_match_context_create(p->memory);
		if (w->context) {
			pcre2_set_match_limit(w->context, MATCH_STEPS);
			pcre2_set_heap_limit(w->context, MATCH_MEMORY);
		}
	}
	return w->match && w->context;
}

/* Next non-empty match in text[0 .. len) from `from` on: above 0, PCRE2_ERROR_NOMATCH or another error. */
static int next_match(const struct bt_pretok *p, unsigned step, struct bt_pretok_work *w, const char *text, size_t len,
                      size_t from)
{
	const pcre2_code *code = p->step[step].code;
	PCRE2_SPTR s = (PCRE2_SPTR)text;
	if (p->step[step].machine_code) {
		int rc = pcre2_jit_match(code, s, len, from, PCRE2_NOTEMPTY, w->match, w->context);
		if (rc != PCRE2_ERROR_JIT_STACKLIMIT) return rc;
	}
	return pcre2_match(code, s, len, from, PCRE2_NOTEMPTY | PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, w->match,
	                   w->context);
}

static enum baton_status no_memory(struct baton_error *err)
{
	return bt_fail_nomem(err, 0, "the pieces of a text");
}

/* Cut text[from .. to) by one expression into w->other. */
static enum baton_status cut(const struct bt_pretok *p, unsigned step, struct bt_pretok_work *w, const char *text,
                             size_t from, size_t to, struct baton_error *err)
{
	const char *s = text + from;
	size_t len = to - from, pos = 0;
	const PCRE2_SIZE *span = pcre2_get_ovector_pointer(w->match);
	while (pos < len) {
		int rc = next_match(p, step, w, s, len, pos);
		if (rc == PCRE2_ERROR_NOMATCH) break;
		if (rc == PCRE2_ERROR_NOMEMORY) return no_memory(err);
		if (rc < 0)
			return bt_fail(err, BATON_ERR_LIMIT,
			               "tokenizing stopped at byte %zu of a text: pre-tokenizer '%.20s' exceeds its "
			               "limit of steps "
			               "or memory there (PCRE2 error %d)",
			               from + pos, p->row->names, rc);
		if (span[0] > pos && !bt_pieces_add(&w->other, from + span[0])) return no_memory(err);
		if (!bt_pieces_add(&w->other, from + span[1])) return no_memory(err);
		pos = span[1];
	}
	if (pos < len && !bt_pieces_add(&w->other, to)) return no_memory(err);
	return BATON_OK;
}

enum baton_status bt_pretok_split(const struct bt_pretok *p, struct bt_pretok_work *w, const char *text, size_t len,
                                  struct baton_error *err)
{
	w->pieces.n = 0;
	if (!prepare(p, w) || !bt_pieces_add(&w->pieces, len)) return no_memory(err);
	for (unsigned step = 0; step < p->n_steps; step++) {
		bt_pretok_hand hand = p->row->step[step].hand;
		w->other.n = 0;
		size_t from = 0;
		for (size_t i = 0; i < w->pieces.n; i++) {
			size_t to = w->pieces.end[i];
			enum baton_status status = BATON_OK;
			if (hand) status = hand(text, from, to, &w->other) ? BATON_OK : no_memory(err);
			else status = cut(p, step, w, text, from, to, err);
			if (status) return status;
			from = to;
		}
		struct bt_pieces swap = w->pieces;
		w->pieces = w->other;
		w->other = swap;
	}
	return BATON_OK;
}

static bool is_digit(const char *text, size_t pos, size_t to, unsigned *n)
{
	return utf8proc_category((utf8proc_int32_t)bt_utf8_decode(text + pos, to - pos, n)) == UTF8PROC_CATEGORY_ND;
}

/* \w of the regular expressions of the publishers' library (Oniguruma): letters, letter-like numbers, marks, decimal
 * digits, connectors. */
static bool is_word(const char *text, size_t pos, size_t to)
{
	unsigned n;
	switch (utf8proc_category((utf8proc_int32_t)bt_utf8_decode(text + pos, to - pos, &n))) {
	case UTF8PROC_CATEGORY_LU:
	case UTF8PROC_CATEGORY_LL:
	case UTF8PROC_CATEGORY_LT:
	case UTF8PROC_CATEGORY_LM:
	case UTF8PROC_CATEGORY_LO:
	case UTF8PROC_CATEGORY_MN:
	case UTF8PROC_CATEGORY_MC:
	case UTF8PROC_CATEGORY_ME:
	case UTF8PROC_CATEGORY_ND:
	case UTF8PROC_CATEGORY_NL:
	case UTF8PROC_CATEGORY_PC: return true;
	default: return false;
	}
}

static bool thousands(const char *text, size_t from, size_t to, bool at_word_end, struct bt_pieces *out)
{
	size_t begun = from; /* of the piece that is not ended yet */
	for (size_t pos = from; pos < to;) {
		unsigned n;
		if (!is_digit(text, pos, to, &n)) {
			pos += n;
			continue;
		}
		size_t digits = 0, end = pos;
		while (end < to && is_digit(text, end, to, &n)) {
			end += n;
			digits++;
		}
		if (at_word_end && end < to && is_word(text, end, to)) {
			pos = end;
			continue;
		}
		/* A cut before each group; the first group is a piece of its own only where the expression matches it. */
		if (at_word_end && pos > begun) {
			if (!bt_pieces_add(out, pos)) return false;
			begun = pos;
		}
		for (size_t left = digits; pos < end; left--) {
			if (left % 3 == 0 && pos > begun) {
				if (!bt_pieces_add(out, pos)) return false;
				begun = pos;
			}
			is_digit(text, pos, end, &n);
			pos += n;
		}
		if (at_word_end && pos < to) {
			if (!bt_pieces_add(out, pos)) return false;
			begun = pos;
		}
	}
	return begun == to || bt_pieces_add(out, to);
}

bool bt_pretok_thousands(const char *text, size_t from, size_t to, struct bt_pieces *out)
{
	return thousands(text, from, to, false, out);
}

bool bt_pretok_thousands_word(const char *text, size_t from, size_t to, struct bt_pieces *out)
{
	return thousands(text, from, to, true, out);
}
