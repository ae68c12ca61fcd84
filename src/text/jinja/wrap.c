/* wrap.c: a text is cut into chunks (words, parts of hyphenated words, white space), and chunks are put on lines while
 * they fit. The rules for chunks are those of Python's textwrap.TextWrapper (documentation of break_on_hyphens). */
#include "text/jinja/wrap.h"
#include "text/jinja/unicode.h"

/* The line as characters: places are counted in them. */
struct line {
	const uint32_t *c; /* [n] */
	size_t n;
	bool hyphens;
};

static bool is_white(uint32_t c)
{
	return c == '\t' || c == '\n' || c == 11 || c == 12 || c == '\r' || c == ' ';
}

static bool is_word(uint32_t c)
{
	return c == '_' || bt_jj_is_alnum(c);
}

static bool is_letter(uint32_t c)
{
	return is_word(c) && !bt_jj_is_decimal(c) && !bt_jj_is_digit(c);
}

static bool is_punct(uint32_t c)
{
	return is_word(c) || (c < 0x80 && c && strchr("!\"'&.,?", (int)c));
}

/* Two or more hyphens at i with a word behind them: an em-dash. Its end, or i. */
static size_t dash_end(const struct line *l, size_t i)
{
	size_t j = i;
	while (j < l->n && l->c[j] == '-') j++;
	return j >= i + 2 && j < l->n && is_word(l->c[j]) ? j : i;
}

/* May a word be cut behind the hyphen at i? Two letters before it (or letter-hyphen-letter), and two behind it. */
static bool hyphen_cut(const struct line *l, size_t from, size_t i)
{
	if (i <= from || i < 2 || !is_letter(l->c[i - 1])) return false;
	bool two = is_letter(l->c[i - 2]), apart = i >= 3 && l->c[i - 2] == '-' && is_letter(l->c[i - 3]);
	if (!two && !apart) return false;
	size_t j = i + 1;
	if (j >= l->n || !is_letter(l->c[j])) return false;
	j++;
	if (j < l->n && l->c[j] == '-') j++;
	return j < l->n && is_letter(l->c[j]);
}

/* The end of the chunk that begins at i. */
static size_t chunk_end(const struct line *l, size_t i)
{
	size_t j = i;
	if (is_white(l->c[i])) {
		while (j < l->n && is_white(l->c[j])) j++;
		return j;
	}
	if (!l->hyphens) {
		while (j < l->n && !is_white(l->c[j])) j++;
		return j;
	}
	if (i && is_punct(l->c[i - 1]) && dash_end(l, i) > i) return dash_end(l, i);
	for (j = i + 1; j <= l->n; j++) {
		if (j < l->n && l->c[j] == '-' && hyphen_cut(l, i, j)) return j + 1;
		if (j == l->n || is_white(l->c[j])) return j;
		if (is_punct(l->c[j - 1]) && dash_end(l, j) > j) return j;
	}
	return l->n;
}

static void put(struct bt_jj_sb *b, const struct line *l, size_t from, size_t to)
{
	for (; from < to && !b->failed; from++) bt_jj_sb_cp(b, l->c[from]);
}

/* Where to cut a chunk [from, to) of which `room` characters fit: behind its last hyphen, if that leaves more than
 * hyphens before it. */
static size_t cut_long(const struct line *l, size_t from, size_t to, size_t room)
{
	size_t cut = from + room;
	if (!l->hyphens || to - from <= room) return cut < to ? cut : to;
	for (size_t h = cut; h-- > from;) {
		if (l->c[h] != '-') continue;
		for (size_t k = from; k < h; k++)
			if (l->c[k] != '-') return h + 1;
		break;
	}
	return cut;
}

/* Where the chunks end; [*n] of them. NULL: failed. */
static uint32_t *cut_chunks(struct bt_jj *r, const struct line *l, size_t *n)
{
	uint32_t *end = bt_jj_alloc_array(r, l->n + 1, sizeof *end);
	*n = 0;
	for (size_t i = 0; end && i < l->n; i = end[(*n)++]) {
		size_t to = chunk_end(l, i);
		if (!bt_jj_charge(r, 1 + (to - i) / 4)) return NULL;
		end[*n] = (uint32_t)to;
	}
	return end;
}

static bool fill_lines(struct bt_jj_sb *b, const struct line *l, const struct bt_jj_wrap *how)
{
	size_t n, k = 0, i = 0, lines = 0; /* the next chunk, and where what is left of it begins */
	const uint32_t *ends = cut_chunks(b->r, l, &n);
	while (ends && k < n && !b->failed) {
		if (lines && is_white(l->c[i])) { /* white space begins only the first line */
			i = ends[k++];
			if (k == n) break;
		}
		size_t from = i, last = i; /* of the line; of its last chunk */
		while (k < n && ends[k] - from <= how->width) {
			last = i;
			i = ends[k++];
		}
		if (k < n && ends[k] - i > how->width && how->break_long) {
			last = i;
			i = cut_long(l, i, ends[k], how->width - (i - from));
		} else if (i == from && k < n) {
			i = ends[k++];
		}
		size_t end = i > last && is_white(l->c[last]) ? last : i; /* and ends none */
		if (!bt_jj_charge(b->r, 1 + (i - from) / 4)) return false;
		if (end == from) continue;
		if (lines++) bt_jj_sb_str(b, how->glue);
		put(b, l, from, end);
	}
	return ends && !b->failed;
}

bool bt_jj_wrap_line(struct bt_jj_sb *b, const struct bt_jj_str *s, const struct bt_jj_wrap *how)
{
	uint32_t *c = bt_jj_alloc_array(b->r, s->len + 1, sizeof *c);
	struct line l = {.c = c, .hyphens = how->break_hyphens};
	if (!c || !bt_jj_charge(b->r, s->len / 4)) return false;
	for (size_t i = 0; i < s->len;) i += bt_jj_utf8_get(s->s + i, s->len - i, &c[l.n++]);
	return fill_lines(b, &l, how);
}
