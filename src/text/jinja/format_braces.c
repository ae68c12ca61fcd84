/* format_braces.c: text.format(values). Names and indices in a field go through the sandbox, like anything else. */
#include "text/jinja/format_spec.h"
#include "text/jinja/unicode.h"

struct braces {
	struct bt_jj *r;
	const struct bt_jj_args *args;
	size_t next;            /* of "{}" */
	bool automatic, manual; /* numbered by itself, or by hand */
	bool markup;
};

static bool fail(struct braces *p, const char *kind, const char *text)
{
	bt_jj_fail(p->r, kind, "%s", text);
	return false;
}

/* The decimal number that all of s is; SIZE_MAX: it is none. */
static size_t whole_number(const char *s, size_t len)
{
	size_t n = 0;
	for (size_t i = 0; i < len; i++) {
		if (s[i] < '0' || s[i] > '9' || n > 1000000000) return SIZE_MAX;
		n = n * 10 + (size_t)(s[i] - '0');
	}
	return len ? n : SIZE_MAX;
}

static struct bt_jj_val numbered(struct braces *p, size_t i)
{
	if (p->automatic && p->manual)
		return bt_jj_fail(p->r, "ValueError",
		                  "cannot switch from manual field specification to automatic field numbering");
	if (i < p->args->n_pos) return p->args->v[i].val;
	return bt_jj_fail(p->r, "IndexError", "tuple index out of range");
}

/* The value that "name", "0" or "" means. */
static struct bt_jj_val first_part(struct braces *p, const char *s, size_t len)
{
	size_t n = whole_number(s, len);
	if (!len) {
		p->automatic = true;
		return numbered(p, p->next++);
	}
	if (n != SIZE_MAX) {
		p->manual = true;
		return numbered(p, n);
	}
	for (size_t k = p->args->n_pos; k < p->args->n; k++) {
		const struct bt_jj_str *name = p->args->v[k].name.s;
		if (name->len == len && !memcmp(name->s, s, len)) return p->args->v[k].val;
	}
	return bt_jj_fail(p->r, "KeyError", "'%.*s'", len < 100 ? (int)len : 100, s);
}

/* ".name" or "[key]" at s[*i] of v. */
static struct bt_jj_val further_part(struct braces *p, struct bt_jj_val v, const char *s, size_t len, size_t *i)
{
	bool index = s[*i] == '[';
	size_t from = ++*i;
	while (*i < len && (index ? s[*i] != ']' : s[*i] != '.' && s[*i] != '[')) ++*i;
	if (*i == from) return bt_jj_fail(p->r, "ValueError", "Empty attribute in format string");
	struct bt_jj_val name = bt_jj_text_ref(p->r, s + from, *i - from);
	if (bt_jj_is_fail(name)) return name;
	if (!index) return bt_jj_getattr(p->r, v, name.s);
	if (*i >= len) return bt_jj_fail(p->r, "ValueError", "Missing ']' in format string");
	size_t n = whole_number(s + from, *i - from);
	if (++*i < len && s[*i] != '.' && s[*i] != '[')
		return bt_jj_fail(p->r, "ValueError", "Only '.' or '[' may follow ']' in format field specifier");
	return bt_jj_getitem(p->r, v, n == SIZE_MAX ? name : bt_jj_int((int64_t)n));
}

static struct bt_jj_val field_value(struct braces *p, const char *s, size_t len)
{
	size_t i = 0;
	while (i < len && s[i] != '.' && s[i] != '[') i++;
	struct bt_jj_val v = first_part(p, s, i);
	while (!bt_jj_is_fail(v) && i < len) v = further_part(p, v, s, len, &i);
	return v;
}

static bool put_text(struct braces *p, struct bt_jj_sb *b, struct bt_jj_val v, struct bt_jj_spec *f)
{
	if (f->type && f->type != 's') {
		bt_jj_fail(p->r, "ValueError", "Unknown format code '%c' for object of type 'str'", f->type);
		return false;
	}
	if (f->sign)
		return fail(p, "ValueError",
		            f->sign == ' ' ? "Space not allowed in string format specifier"
		                           : "Sign not allowed in string format specifier");
	if (f->no_neg_zero)
		return fail(p, "ValueError", "Negative zero coercion (z) not allowed in string format specifier");
	if (f->alt) return fail(p, "ValueError", "Alternate form (#) not allowed in string format specifier");
	if (f->align == '=') return fail(p, "ValueError", "'=' alignment not allowed in string format specifier");
	if (f->group)
		return fail(p, "ValueError",
		            f->group == ',' ? "Cannot specify ',' with 's'." : "Cannot specify '_' with 's'.");
	if (f->align == '0') f->align = '<';
	if (p->markup) v = bt_jj_escape(p->r, v);
	if (!bt_jj_is_fail(v)) bt_jj_format_text(b, v.s, f);
	return !b->failed;
}

static bool put_number(struct braces *p, struct bt_jj_sb *b, struct bt_jj_val v, struct bt_jj_spec *f)
{
	double d;
	if (v.type == BT_JJ_FLOAT || (f->type && strchr("eEfFgG%", f->type))) {
		if (bt_jj_to_double(p->r, v, &d)) bt_jj_format_float(b, d, f);
	} else if (f->prec >= 0) {
		return fail(p, "ValueError", "Precision not allowed in integer format specifier");
	} else if (f->no_neg_zero) {
		return fail(
			p, "ValueError",
			"Negative zero coercion (z) not allowed in format specifier with integer presentation type");
	} else if (f->type == 'c') {
		v = bt_jj_char_of(p->r, v);
		if (!f->align) f->align = '>';
		if (!bt_jj_is_fail(v)) bt_jj_format_text(b, v.s, f);
	} else {
		bt_jj_format_int(b, v, f);
	}
	return !p->r->err.status && !b->failed;
}

static bool put(struct braces *p, struct bt_jj_sb *b, struct bt_jj_val v, const struct bt_jj_str *spec)
{
	struct bt_jj_spec f;
	if (!spec->len) {
		if (p->markup) v = bt_jj_escape(p->r, v);
		if (bt_jj_is_fail(v)) return false;
		bt_jj_sb_val(b, v);
		return !b->failed;
	}
	if (!bt_jj_is_number(v) && v.type != BT_JJ_STR) {
		bt_jj_fail(p->r, "TypeError", "unsupported format string passed to %s.__format__", bt_jj_type_name(v));
		return false;
	}
	if (!bt_jj_spec_parse(p->r, spec->s, spec->len, bt_jj_type_name(v), &f)) return false;
	return (v.type == BT_JJ_STR ? put_text : put_number)(p, b, v, &f);
}

static bool replace_fields(struct braces *p, struct bt_jj_sb *b, const char *s, size_t len, int depth);

/* A field without its braces: name, "!conversion", ":spec". */
struct field {
	const char *name, *spec;
	size_t name_len, spec_len;
	const char *conversion; /* one character; NULL: none */
	size_t conversion_len;
};

/* The name at s[i]; a key in brackets may hold anything, braces included. Behind the character that ends it, which is
 * stored; 0 there: the text ends first. */
static size_t parse_name(const char *s, size_t i, size_t len, char *end)
{
	for (*end = 0; i < len; i++) {
		if (s[i] == '[') {
			const char *close = memchr(s + i, ']', len - i);
			if (!close) return len;
			i = (size_t)(close - s);
		} else if (s[i] == '{' || s[i] == '}' || s[i] == ':' || s[i] == '!') {
			*end = s[i];
			return i + 1;
		}
	}
	return len;
}

/* "!conversion" whose character is at s[*i]; *i moves behind it and behind the '}' or ':' that follows, which is
 * stored. */
static bool parse_conversion(struct braces *p, struct field *f, const char *s, size_t *i, size_t len, char *end)
{
	if (*i >= len) return fail(p, "ValueError", "end of string while looking for conversion specifier");
	f->conversion = s + *i;
	do ++*i;
	while (*i < len && (s[*i] & 0xC0) == 0x80);
	f->conversion_len = (size_t)(s + *i - f->conversion);
	*end = ':';
	if (*i >= len) return true;
	*end = s[(*i)++];
	return *end == ':' || *end == '}' || fail(p, "ValueError", "expected ':' after conversion specifier");
}

/* The field whose '{' stands before s[*i]; *i moves behind its '}'. */
static bool parse_field(struct braces *p, struct field *f, const char *s, size_t *i, size_t len)
{
	char c;
	size_t from = *i;
	*i = parse_name(s, from, len, &c);
	*f = (struct field){.name = s + from, .name_len = *i - from - 1, .spec = ""};
	if (c == '{') return fail(p, "ValueError", "unexpected '{' in field name");
	if (!c) return fail(p, "ValueError", "expected '}' before end of string");
	if (c == '!' && !parse_conversion(p, f, s, i, len, &c)) return false;
	if (c == '}') return true;
	f->spec = s + *i;
	for (int open = 1; *i < len;) {
		c = s[(*i)++];
		open += c == '{' ? 1 : c == '}' ? -1 : 0;
		if (open) continue;
		f->spec_len = (size_t)(s + *i - f->spec) - 1;
		return true;
	}
	return fail(p, "ValueError", "unmatched '{' in format spec");
}

static struct bt_jj_val converted(struct braces *p, const struct field *f, struct bt_jj_val v)
{
	char c = f->conversion_len == 1 ? *f->conversion : 0;
	if (bt_jj_is_fail(v) || !f->conversion) return v;
	if (c == 's') return bt_jj_to_str(p->r, v);
	if (c == 'r') return bt_jj_repr(p->r, v);
	if (c == 'a') return bt_jj_ascii(p->r, v);
	return bt_jj_fail(p->r, "ValueError", "Unknown conversion specifier %.*s", (int)f->conversion_len,
	                  f->conversion);
}

static bool put_field(struct braces *p, struct bt_jj_sb *b, const struct field *f, int depth)
{
	struct bt_jj_val v = converted(p, f, field_value(p, f->name, f->name_len));
	struct bt_jj_sb spec = bt_jj_sb(p->r);
	if (bt_jj_is_fail(v) || !replace_fields(p, &spec, f->spec, f->spec_len, depth + 1)) return false;
	struct bt_jj_val text = bt_jj_sb_done(&spec);
	return !bt_jj_is_fail(text) && put(p, b, v, text.s);
}

static bool replace_fields(struct braces *p, struct bt_jj_sb *b, const char *s, size_t len, int depth)
{
	if (depth > 3) return fail(p, "ValueError", "Max string recursion exceeded");
	for (size_t i = 0; i < len && !b->failed;) {
		size_t from = i;
		while (i < len && s[i] != '{' && s[i] != '}') i++;
		bt_jj_sb_add(b, s + from, i - from);
		if (i >= len) break;
		if (i + 1 < len && s[i + 1] == s[i]) {
			bt_jj_sb_addc(b, s[i]);
			i += 2;
			continue;
		}
		if (s[i] == '}') return fail(p, "ValueError", "Single '}' encountered in format string");
		if (++i >= len) return fail(p, "ValueError", "Single '{' encountered in format string");
		struct field f;
		if (!bt_jj_charge(p->r, 1) || !parse_field(p, &f, s, &i, len) || !put_field(p, b, &f, depth))
			return false;
	}
	return !b->failed;
}

struct bt_jj_val bt_jj_format_braces(struct bt_jj *r, struct bt_jj_val fmt, const struct bt_jj_args *args)
{
	struct braces p = {.r = r, .args = args, .markup = fmt.markup};
	struct bt_jj_sb b = bt_jj_sb(r);
	if (!replace_fields(&p, &b, fmt.s->s, fmt.s->len, 1)) return bt_jj_failed();
	struct bt_jj_val v = bt_jj_sb_done(&b);
	return fmt.markup ? bt_jj_mark(v) : v;
}
