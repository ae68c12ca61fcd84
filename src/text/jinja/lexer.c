#include "text/jinja/lexer.h"
#include "base/limits.h"
#include "text/jinja/unicode.h"

#include <stdio.h>
#include <string.h>

enum baton_status bt_jj_syntax(struct baton_error *err, int line, const char *fmt, ...)
{
	char text[400];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	return bt_fail(err, BATON_ERR_TEMPLATE, "%s (TemplateSyntaxError, template line %d)", text, line);
}

enum baton_status bt_jj_assertion(struct baton_error *err, int line, const char *fmt, ...)
{
	char text[400];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	return bt_fail(err, BATON_ERR_TEMPLATE, "%s (TemplateAssertionError, template line %d)", text, line);
}

static enum baton_status no_memory(struct bt_jj_lexer *x)
{
	return bt_fail(x->err, BATON_ERR_NOMEM, "no memory for a template of %zu bytes", x->len);
}

enum baton_status bt_jj_lexer_init(struct bt_jj_lexer *x, struct bt_arena *a, const char *source, size_t len,
                                   struct baton_error *err)
{
	*x = (struct bt_jj_lexer){.line = 1, .line_starting = true, .arena = a, .err = err};
	if (len > BT_LIMIT_TEMPLATE_SOURCE)
		return bt_fail(err, BATON_ERR_LIMIT, "the template has %zu bytes, the limit is %zu", len,
		               BT_LIMIT_TEMPLATE_SOURCE);
	size_t bad = bt_jj_utf8_check(source, len);
	if (bad < len) return bt_fail(err, BATON_ERR_TEMPLATE, "the template is not UTF-8 at byte %zu", bad);
	char *s = bt_arena_alloc(a, len + 1);
	x->len = len;
	if (!s) return no_memory(x);
	size_t n = 0;
	for (size_t i = 0; i < len; i++) {
		if (source[i] != '\r') s[n++] = source[i];
		else if (i + 1 >= len || source[i + 1] != '\n') s[n++] = '\n';
	}
	if (n && s[n - 1] == '\n') n--;
	s[n] = 0;
	x->s = s;
	x->len = n;
	return BATON_OK;
}

const char *bt_jj_tok_name(enum bt_jj_tok type)
{
	static const char *const name[BT_JJ_TOKENS] = {
		"end of template",
		"template data / text",
		"begin of print statement",
		"end of print statement",
		"begin of statement block",
		"end of statement block",
		"name",
		"string",
		"integer",
		"float",
		"+",
		"-",
		"*",
		"/",
		"//",
		"%",
		"**",
		"~",
		"[",
		"]",
		"(",
		")",
		"{",
		"}",
		"==",
		"!=",
		">",
		">=",
		"<",
		"<=",
		"=",
		".",
		":",
		"|",
		",",
		";",
	};
	return type < BT_JJ_TOKENS ? name[type] : "?";
}

/* The byte after the white space at `at`. */
static size_t skip_space(const struct bt_jj_lexer *x, size_t at)
{
	while (at < x->len) {
		uint32_t cp;
		size_t n = bt_jj_utf8_get(x->s + at, x->len - at, &cp);
		if (!bt_jj_is_space(cp)) break;
		at += n;
	}
	return at;
}

/* The end of s[from, to) without white space at the end. */
static size_t strip_end(const struct bt_jj_lexer *x, size_t from, size_t to)
{
	while (to > from) {
		size_t at = bt_jj_utf8_back(x->s, to);
		uint32_t cp;
		bt_jj_utf8_get(x->s + at, to - at, &cp);
		if (!bt_jj_is_space(cp)) break;
		to = at;
	}
	return to;
}

static void advance(struct bt_jj_lexer *x, size_t to)
{
	for (size_t i = x->at; i < to; i++) x->line += x->s[i] == '\n';
	if (to > x->at) x->line_starting = x->s[to - 1] == '\n';
	x->at = to;
}

static bool looking_at(const struct bt_jj_lexer *x, size_t at, const char *s)
{
	size_t n = strlen(s);
	return n <= x->len - at && !memcmp(x->s + at, s, n);
}

/* Is there, at a "{%", the tag {% word %} with any white space control? *end: behind it; trim: whether its end takes a
 * newline with it. */
static bool word_tag(const struct bt_jj_lexer *x, size_t at, const char *word, bool trim, size_t *end)
{
	size_t i = at + 2;
	if (i < x->len && (x->s[i] == '-' || x->s[i] == '+')) i++;
	i = skip_space(x, i);
	if (!looking_at(x, i, word)) return false;
	i = skip_space(x, i + strlen(word));
	if (looking_at(x, i, "-%}")) {
		*end = skip_space(x, i + 3);
		return true;
	}
	if (trim && looking_at(x, i, "+%}")) {
		*end = i + 3;
		return true;
	}
	if (!looking_at(x, i, "%}")) return false;
	*end = i + 2;
	if (trim && *end < x->len && x->s[*end] == '\n') ++*end;
	return true;
}

/* The text before a tag that begins at `tag`, after the tag's sign and lstrip_blocks. */
static struct bt_jj_token text_before(struct bt_jj_lexer *x, size_t tag, bool is_var)
{
	struct bt_jj_token t = {.type = BT_JJ_T_DATA, .line = x->line, .s = x->s + x->at, .len = tag - x->at};
	char sign = tag + 2 < x->len ? x->s[tag + 2] : 0;
	if (sign == '-') {
		t.len = strip_end(x, x->at, tag) - x->at;
	} else if (sign != '+' && !is_var) {
		size_t line = tag;
		while (line > x->at && x->s[line - 1] != '\n') line--;
		/* A tag that only white space precedes on its line takes that away. */
		if ((line > x->at || x->line_starting) && strip_end(x, line, tag) == line) t.len = line - x->at;
	}
	return t;
}

/* Where the next {{, {% or {# is; len when there is none. */
static size_t find_tag(const struct bt_jj_lexer *x)
{
	for (size_t i = x->at; i + 1 < x->len; i++) {
		const char *p = memchr(x->s + i, '{', x->len - 1 - i);
		if (!p) break;
		i = (size_t)(p - x->s);
		if (p[1] == '{' || p[1] == '%' || p[1] == '#') return i;
	}
	return x->len;
}

/* Behind the comment that begins at `at`; 0: it does not end. */
static size_t comment_end(const struct bt_jj_lexer *x, size_t at)
{
	const char *p = memmem(x->s + at, x->len - at, "#}", 2);
	if (!p) return 0;
	size_t end = (size_t)(p - x->s) + 2, first = at;
	if (end - 3 >= first && x->s[end - 3] == '-') return skip_space(x, end);
	if (end - 3 >= first && x->s[end - 3] == '+') return end;
	return end < x->len && x->s[end] == '\n' ? end + 1 : end;
}

/* Text up to the next tag, and what kind of tag that is. *have: out is a token. */
static enum baton_status lex_text(struct bt_jj_lexer *x, struct bt_jj_token *out, bool *have)
{
	size_t tag = find_tag(x), end;
	if (tag == x->len) {
		*out = (struct bt_jj_token){.type = BT_JJ_T_DATA,
		                            .line = x->line,
		                            .s = x->s + x->at,
		                            .len = x->len - x->at};
		advance(x, x->len);
		*have = out->len > 0;
		return BATON_OK;
	}
	char kind = x->s[tag + 1];
	*out = text_before(x, tag, kind == '{');
	*have = out->len > 0;
	if (kind == '%' && word_tag(x, tag, "raw", false, &end)) {
		advance(x, end);
		x->state = BT_JJ_IN_RAW;
		return BATON_OK;
	}
	size_t begin = tag + 2;
	if (begin < x->len && (x->s[begin] == '-' || x->s[begin] == '+')) begin++;
	if (kind == '#') {
		end = begin < x->len ? comment_end(x, begin) : begin;
		if (!end) return bt_jj_syntax(x->err, x->line, "Missing end of comment tag");
		advance(x, end);
		return BATON_OK;
	}
	advance(x, begin);
	x->queued = (struct bt_jj_token){.type = kind == '{' ? BT_JJ_T_VAR_BEGIN : BT_JJ_T_BLOCK_BEGIN,
	                                 .line = x->line,
	                                 .s = x->s + tag,
	                                 .len = 2};
	x->has_queued = true;
	x->state = kind == '{' ? BT_JJ_IN_VAR : BT_JJ_IN_BLOCK;
	return BATON_OK;
}

static enum baton_status lex_raw(struct bt_jj_lexer *x, struct bt_jj_token *out, bool *have)
{
	for (size_t i = x->at; i + 1 < x->len; i++) {
		const char *p = memmem(x->s + i, x->len - i, "{%", 2);
		size_t end;
		if (!p) break;
		i = (size_t)(p - x->s);
		if (!word_tag(x, i, "endraw", true, &end)) continue;
		*out = text_before(x, i, false);
		*have = out->len > 0;
		advance(x, end);
		x->state = BT_JJ_IN_TEXT;
		return BATON_OK;
	}
	return bt_jj_syntax(x->err, x->line, "Missing end of raw directive");
}

/* Behind the end of the tag at `at`, or 0. */
static size_t tag_end(const struct bt_jj_lexer *x)
{
	bool block = x->state == BT_JJ_IN_BLOCK;
	const char *close = block ? "%}" : "}}";
	size_t at = x->at;
	if (x->s[at] == '-' && looking_at(x, at + 1, close)) return skip_space(x, at + 3);
	if (block && x->s[at] == '+' && looking_at(x, at + 1, close)) return at + 3;
	if (!looking_at(x, at, close)) return 0;
	return block && at + 2 < x->len && x->s[at + 2] == '\n' ? at + 3 : at + 2;
}

static bool is_digit(const struct bt_jj_lexer *x, size_t at, unsigned base)
{
	if (at >= x->len) return false;
	unsigned char c = (unsigned char)x->s[at];
	unsigned d = c >= '0' && c <= '9'                 ? c - '0' + 0u
	             : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10u
	                                                  : 99;
	return d < base;
}

/* Behind the digits with single underscores between them that begin at `at`. */
static size_t digits(const struct bt_jj_lexer *x, size_t at, unsigned base)
{
	while (is_digit(x, at, base) || (at < x->len && x->s[at] == '_' && is_digit(x, at + 1, base))) at++;
	return at;
}

/* Behind the fraction and the exponent of the float whose whole part ends at i; i when it is no float. */
static size_t float_end(const struct bt_jj_lexer *x, size_t i)
{
	size_t end = i;
	if (i < x->len && x->s[i] == '.' && is_digit(x, i + 1, 10)) end = digits(x, i + 1, 10);
	if (end < x->len && (x->s[end] | 32) == 'e') {
		size_t k = end + 1;
		if (k < x->len && (x->s[k] == '+' || x->s[k] == '-')) k++;
		if (is_digit(x, k, 10)) end = digits(x, k, 10);
	}
	return end;
}

/* Behind the integer that begins with the zero at `at`: 0x1F, 0o17, 0b101, or only zeros. */
static size_t zero_end(const struct bt_jj_lexer *x, size_t at)
{
	char c = at + 1 < x->len ? (char)(x->s[at + 1] | 32) : 0;
	unsigned base = c == 'x' ? 16 : c == 'o' ? 8 : c == 'b' ? 2 : 0;
	size_t from = at + 2;
	if (from < x->len && x->s[from] == '_') from++;
	if (base && is_digit(x, from, base)) return digits(x, from, base);
	size_t end = at + 1;
	for (;;) {
		size_t next = end + (end < x->len && x->s[end] == '_');
		if (next >= x->len || x->s[next] != '0') return end;
		end = next + 1;
	}
}

static enum bt_jj_tok lex_number(const struct bt_jj_lexer *x, size_t *end)
{
	size_t at = x->at, whole = digits(x, at, 10);
	bool after_dot = at && x->s[at - 1] == '.'; /* x.0.1 is no float */
	*end = after_dot ? whole : float_end(x, whole);
	if (*end > whole) return BT_JJ_T_FLOAT;
	*end = x->s[at] == '0' ? zero_end(x, at) : whole;
	return BT_JJ_T_INTEGER;
}

/* Behind the closing quote, or 0. */
static size_t string_end(const struct bt_jj_lexer *x)
{
	char quote = x->s[x->at];
	for (size_t i = x->at + 1; i < x->len; i++) {
		if (x->s[i] == '\\') i++;
		else if (x->s[i] == quote) return i + 1;
	}
	return 0;
}

static const struct {
	char s[3];
	uint8_t type;
} operators[] = {
	{"//", BT_JJ_T_FLOORDIV}, {"**", BT_JJ_T_POW},      {"==", BT_JJ_T_EQ},    {"!=", BT_JJ_T_NE},
	{">=", BT_JJ_T_GE},       {"<=", BT_JJ_T_LE},       {"+", BT_JJ_T_ADD},    {"-", BT_JJ_T_SUB},
	{"*", BT_JJ_T_MUL},       {"/", BT_JJ_T_DIV},       {"%", BT_JJ_T_MOD},    {"~", BT_JJ_T_TILDE},
	{"[", BT_JJ_T_LBRACKET},  {"]", BT_JJ_T_RBRACKET},  {"(", BT_JJ_T_LPAREN}, {")", BT_JJ_T_RPAREN},
	{"{", BT_JJ_T_LBRACE},    {"}", BT_JJ_T_RBRACE},    {">", BT_JJ_T_GT},     {"<", BT_JJ_T_LT},
	{"=", BT_JJ_T_ASSIGN},    {".", BT_JJ_T_DOT},       {":", BT_JJ_T_COLON},  {"|", BT_JJ_T_PIPE},
	{",", BT_JJ_T_COMMA},     {";", BT_JJ_T_SEMICOLON},
};

static enum baton_status bracket(struct bt_jj_lexer *x, char c)
{
	char close = c == '(' ? ')' : c == '[' ? ']' : c == '{' ? '}' : 0;
	if (close) {
		if (x->n_closers == x->cap_closers) {
			size_t cap = x->cap_closers ? x->cap_closers * 2 : 64;
			char *p = bt_arena_alloc(x->arena, cap);
			if (!p) return no_memory(x);
			if (x->n_closers) memcpy(p, x->closers, x->n_closers);
			x->closers = p;
			x->cap_closers = cap;
		}
		x->closers[x->n_closers++] = close;
	} else if (c == ')' || c == ']' || c == '}') {
		if (!x->n_closers) return bt_jj_syntax(x->err, x->line, "unexpected '%c'", c);
		char want = x->closers[--x->n_closers];
		if (want != c) return bt_jj_syntax(x->err, x->line, "unexpected '%c', expected '%c'", c, want);
	}
	return BATON_OK;
}

static enum baton_status unexpected_char(struct bt_jj_lexer *x)
{
	uint32_t cp;
	size_t n = bt_jj_utf8_get(x->s + x->at, x->len - x->at, &cp);
	const char *quote = cp == '\'' ? "\"" : "'";
	return bt_jj_syntax(x->err, x->line, "unexpected char %s%.*s%s at %zu", quote, (int)n, x->s + x->at, quote,
	                    bt_jj_utf8_count(x->s, x->at));
}

static enum baton_status lex_name(struct bt_jj_lexer *x, struct bt_jj_token *out)
{
	size_t i = x->at;
	bool good = true;
	while (i < x->len) {
		uint32_t cp;
		size_t n = bt_jj_utf8_get(x->s + i, x->len - i, &cp);
		if (cp != '_' && !bt_jj_is_alnum(cp)) break;
		good = good && bt_jj_is_ident(cp, i == x->at);
		i += n;
	}
	if (i == x->at) return unexpected_char(x);
	if (!good) return bt_jj_syntax(x->err, x->line, "Invalid character in identifier");
	out->type = BT_JJ_T_NAME;
	out->len = i - x->at;
	advance(x, i);
	return BATON_OK;
}

/* A token inside {{ }} or {% %}. */
static enum baton_status lex_code(struct bt_jj_lexer *x, struct bt_jj_token *out, bool *have)
{
	size_t end = x->n_closers ? 0 : tag_end(x);
	*out = (struct bt_jj_token){.line = x->line, .s = x->s + x->at, .len = 2};
	*have = true;
	if (end) {
		out->type = x->state == BT_JJ_IN_BLOCK ? BT_JJ_T_BLOCK_END : BT_JJ_T_VAR_END;
		x->state = BT_JJ_IN_TEXT;
		advance(x, end);
		return BATON_OK;
	}
	end = skip_space(x, x->at);
	if (end > x->at) {
		advance(x, end);
		*have = false;
		return BATON_OK;
	}
	char c = x->s[x->at];
	if (c >= '0' && c <= '9') {
		out->type = lex_number(x, &end);
		out->len = end - x->at;
		advance(x, end);
		return BATON_OK;
	}
	if (c == '\'' || c == '"') {
		end = string_end(x);
		if (!end) return unexpected_char(x);
		out->type = BT_JJ_T_STRING;
		out->s++;
		out->len = end - x->at - 2;
		advance(x, end);
		return BATON_OK;
	}
	for (size_t i = 0; i < sizeof operators / sizeof *operators; i++) {
		if (!looking_at(x, x->at, operators[i].s)) continue;
		out->type = operators[i].type;
		out->len = strlen(operators[i].s);
		advance(x, x->at + out->len);
		return bracket(x, c);
	}
	return lex_name(x, out);
}

enum baton_status bt_jj_lex(struct bt_jj_lexer *x, struct bt_jj_token *out)
{
	if (x->has_queued) {
		*out = x->queued;
		x->has_queued = false;
		return BATON_OK;
	}
	while (x->at < x->len) {
		bool have = false;
		enum baton_status st = x->state == BT_JJ_IN_TEXT  ? lex_text(x, out, &have)
		                       : x->state == BT_JJ_IN_RAW ? lex_raw(x, out, &have)
		                                                  : lex_code(x, out, &have);
		if (st || have) return st;
		if (x->has_queued) return bt_jj_lex(x, out);
	}
	*out = (struct bt_jj_token){.type = BT_JJ_T_EOF, .line = x->line, .s = x->s + x->len};
	return BATON_OK;
}

static int hex_value(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

/* n hexadecimal digits at s + i; -1 when there are fewer. */
static int64_t hex_digits(const char *s, size_t i, size_t len, size_t n)
{
	int64_t v = 0;
	if (i + n > len) return -1;
	for (size_t k = i; k < i + n; k++) {
		int d = hex_value(s[k]);
		if (d < 0) return -1;
		v = v * 16 + d;
	}
	return v;
}

/* One escape behind the backslash at s[i - 1]. Returns the byte after it, 0 for a broken one. */
static size_t escape(const char *s, size_t i, size_t len, char *out, size_t *n)
{
	static const char from[] = "\\'\"abfnrtv", to[] = "\\'\"\a\b\f\n\r\t\v";
	char c = s[i];
	const char *p = c ? strchr(from, c) : NULL;
	if (p) {
		out[(*n)++] = to[p - from];
		return i + 1;
	}
	if (c == '\n') return i + 1;
	if (c >= '0' && c <= '7') {
		uint32_t v = 0;
		size_t k = i;
		for (; k < len && k < i + 3 && s[k] >= '0' && s[k] <= '7'; k++) v = v * 8 + (uint32_t)(s[k] - '0');
		*n += bt_jj_utf8_put(v, out + *n);
		return k;
	}
	size_t width = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
	if (width) {
		int64_t v = hex_digits(s, i + 1, len, width);
		if (v < 0 || v > 0x10FFFF) return 0;
		*n += bt_jj_utf8_put((uint32_t)v, out + *n);
		return i + 1 + width;
	}
	if (c == 'N') return 0; /* named characters: no table of names here */
	out[(*n)++] = '\\';     /* an unknown escape stays */
	return i;
}

const struct bt_jj_str *bt_jj_unescape(struct bt_arena *a, const struct bt_jj_token *t, struct baton_error *err)
{
	/* Python spells characters outside ASCII as escapes before it decodes them, so "\é" is a backslash and "xe9". */
	const struct bt_jj_str *s = NULL;
	size_t n = 0;
	if (!memchr(t->s, '\\', t->len)) {
		s = bt_jj_str_ref(a, t->s, t->len);
		if (!s) bt_fail(err, BATON_ERR_NOMEM, "no memory for a string of a template");
		return s;
	}
	char *out = bt_arena_alloc(a, t->len * 3 + 16);
	if (!out) goto no_mem;
	for (size_t i = 0; i < t->len;) {
		if (t->s[i] != '\\') {
			out[n++] = t->s[i++];
			continue;
		}
		if (++i < t->len && (unsigned char)t->s[i] >= 0x80) {
			uint32_t cp;
			i += bt_jj_utf8_get(t->s + i, t->len - i, &cp);
			n += (size_t)sprintf(out + n, cp > 0xFFFF ? "\\U%08x" : cp > 0xFF ? "\\u%04x" : "\\x%02x", cp);
			continue;
		}
		size_t at = i;
		i = i < t->len ? escape(t->s, i, t->len, out, &n) : 0;
		if (!i) {
			char c = at < t->len ? t->s[at] : 0;
			bt_jj_syntax(err, t->line,
			             c == 'x'   ? "truncated \\xXX escape"
			             : c == 'u' ? "truncated \\uXXXX escape"
			             : c == 'U' ? "truncated \\UXXXXXXXX escape"
			             : c == 'N' ? "\\N{...} escapes are not supported here"
			                        : "\\ at end of string");
			return NULL;
		}
	}
	s = bt_jj_str_ref(a, out, n);
	if (s) return s;
no_mem:
	bt_fail(err, BATON_ERR_NOMEM, "no memory for a string of a template");
	return NULL;
}
