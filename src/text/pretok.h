/* pretok.h: pre-tokenizers, which cut a text into the pieces that byte-level BPE then works on one by one.
 *
 * A pre-tokenizer is a row of pretok_rows.c: the names under which files know it (`tokenizer.ggml.pre`) and one or more
 * steps. Each step is a regular expression as the model's publisher wrote it; what it matches and what lies between two
 * matches become pieces of their own, and the next step is applied to each piece as if it stood alone.
 */
#ifndef BT_TEXT_PRETOK_H
#define BT_TEXT_PRETOK_H

#include "base/status.h"
#include "gguf/gguf.h"

#define BT_PRETOK_STEPS 6

enum {
	BT_PRETOK_WHOLE = 1, /* a piece that is itself a token is taken whole, without merging (`ignore_merges`) */
	BT_PRETOK_BOS = 2,   /* wants BOS where the file does not say (`tokenizer.ggml.add_bos_token`) */
};

/* Ends of pieces, ascending; the last is the length of the text. */
struct bt_pieces {
	uint32_t *end;
	size_t n, cap;
};
/* false when there is no memory. */
bool bt_pieces_add(struct bt_pieces *p, size_t end);

/* A step by hand, for expressions that cost quadratic time on long input: append the ends of the pieces of
 * text[from .. to), the last being `to`. text is well-formed UTF-8. false when there is no memory. */
typedef bool (*bt_pretok_hand)(const char *text, size_t from, size_t to, struct bt_pieces *out);

struct bt_pretok_step {
	const char *regex; /* PCRE2 syntax, Unicode; NULL when by hand */
	bt_pretok_hand hand;
};

struct bt_pretok_row {
	const char *names; /* separated by blanks; the first is the usual one */
	unsigned flags;
	struct bt_pretok_step step[BT_PRETOK_STEPS]; /* ends with neither */
};

extern const struct bt_pretok_row bt_pretok_table[]; /* ends with names NULL */

/* The row that has this name, NULL when there is none. No name at all means "default". */
const struct bt_pretok_row *bt_pretok_find(struct bt_str name);

/* A row ready to work: immutable, may be shared by threads. Expressions are compiled to machine code where the machine
 * allows it. */
struct bt_pretok;
enum baton_status bt_pretok_open(const struct bt_pretok_row *row, struct bt_pretok **out, struct baton_error *err);
void bt_pretok_close(struct bt_pretok **p);

/* Memory that one caller uses again and again; zero it first. */
struct bt_pretok_work {
	struct bt_pieces pieces; /* the result of the last split */
	struct bt_pieces other;
	void *match; /* of PCRE2 */
	void *context;
};
void bt_pretok_work_free(struct bt_pretok_work *w);

/* Cut text (well-formed UTF-8, 1 to BT_LIMIT_TEXT bytes) into w->pieces. BATON_ERR_LIMIT when an expression needs more
 * steps than a sound text could make it need. */
enum baton_status bt_pretok_split(const struct bt_pretok *p, struct bt_pretok_work *w, const char *text, size_t len,
                                  struct baton_error *err);

/* Steps by hand. A run of decimal digits is cut into groups of three counted from its right end:
 * _thousands: as (?=(\d{3})+(?!\d)) cuts;
 * _thousands_word: as \d{1,3}(?=(?:\d{3})*\b) matches, that is only where the run ends at the end of a word. */
bool bt_pretok_thousands(const char *text, size_t from, size_t to, struct bt_pieces *out);
bool bt_pretok_thousands_word(const char *text, size_t from, size_t to, struct bt_pieces *out);

#endif
