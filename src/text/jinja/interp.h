/* interp.h: the state of one rendering, and what the parts of the interpreter share.
 *
 * Errors: a function that fails records the first error with bt_jj_fail and returns FAIL, false or NULL; callers pass
 * that on at once. Limits (base/limits.h): every evaluated node, every element and every few bytes of text that
 * are looked at or copied count as a step; bt_jj_enter guards every recursion.
 */
#ifndef BT_TEXT_JINJA_INTERP_H
#define BT_TEXT_JINJA_INTERP_H

#include "base/buf.h"
#include "base/limits.h"
#include "text/jinja.h"
#include "text/jinja/value.h"

#include <string.h>

struct bt_jj_node;

/* The variables of one running function (the template, a macro, a block, a recursive loop). */
struct bt_jj_frame {
	struct bt_jj_frame *up; /* of the function around this one */
	struct bt_jj_val *slot;
};

struct bt_jj {
	struct bt_arena arena;
	struct baton_error err; /* the first failure; status BATON_OK while there is none */
	const struct bt_jinja *tpl;
	struct bt_buf *out;          /* the output, and on its end what is being captured */
	const struct tm *now;        /* never NULL */
	struct bt_jj_dict *globals;  /* the caller's variables */
	struct bt_jj_dict *exported; /* names assigned at the top level of the template so far */
	uint64_t steps, max_steps;
	unsigned depth; /* nested calls of the interpreter's own functions */
	unsigned calls; /* nested calls of macros, blocks and recursive loops */
	int line;
	bool autoescape; /* inside {% autoescape true %} */
	uint64_t random; /* state of |random */
};

/* The failure `kind: sentence`; kind is Python's name of the exception. Returns FAIL. */
struct bt_jj_val bt_jj_fail(struct bt_jj *r, const char *kind, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The same with the sentence alone, given as it must appear (raise_exception). */
struct bt_jj_val bt_jj_fail_exact(struct bt_jj *r, const char *s, size_t len);
struct bt_jj_val bt_jj_fail_limit(struct bt_jj *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Memory of the rendering; NULL is recorded. */
void *bt_jj_alloc(struct bt_jj *r, size_t size);
void *bt_jj_alloc_array(struct bt_jj *r, size_t n, size_t size);

/* Count work; false when the limit is reached. */
bool bt_jj_charge(struct bt_jj *r, size_t steps);
static inline bool bt_jj_charge_bytes(struct bt_jj *r, size_t bytes)
{
	return bt_jj_charge(r, bytes / 32);
}
/* Around every function that may call itself; no leave after a false enter. */
bool bt_jj_enter(struct bt_jj *r);
static inline void bt_jj_leave(struct bt_jj *r)
{
	r->depth--;
}

/* Text while it is built, in the arena. Errors stick and surface in bt_jj_sb_done. */
struct bt_jj_sb {
	struct bt_jj *r;
	char *p;
	size_t len, cap;
	bool failed;
};
static inline struct bt_jj_sb bt_jj_sb(struct bt_jj *r)
{
	return (struct bt_jj_sb){.r = r};
}
void bt_jj_sb_add(struct bt_jj_sb *b, const char *s, size_t len);
void bt_jj_sb_adds(struct bt_jj_sb *b, const char *s);
void bt_jj_sb_addc(struct bt_jj_sb *b, char c);
void bt_jj_sb_cp(struct bt_jj_sb *b, uint32_t cp);
void bt_jj_sb_str(struct bt_jj_sb *b, const struct bt_jj_str *s);
void bt_jj_sb_fill(struct bt_jj_sb *b, uint32_t cp, size_t n);
void bt_jj_sb_val(struct bt_jj_sb *b, struct bt_jj_val v); /* str(v) */
struct bt_jj_val bt_jj_sb_done(struct bt_jj_sb *b);

/* repr.c: str(v), repr(v) and ascii(v) as STR (a markup flag survives str()). */
struct bt_jj_val bt_jj_to_str(struct bt_jj *r, struct bt_jj_val v);
struct bt_jj_val bt_jj_repr(struct bt_jj *r, struct bt_jj_val v);
struct bt_jj_val bt_jj_ascii(struct bt_jj *r, struct bt_jj_val v);
void bt_jj_sb_repr(struct bt_jj_sb *b, struct bt_jj_val v);

/* undefined.c: making undefined values, and the error of using one. */
struct bt_jj_val bt_jj_undefined_name(struct bt_jj *r, const struct bt_jj_str *name);
struct bt_jj_val bt_jj_undefined_of(struct bt_jj *r, struct bt_jj_val obj, struct bt_jj_val name);
struct bt_jj_val bt_jj_undefined_unsafe(struct bt_jj *r, struct bt_jj_val obj, const struct bt_jj_str *name);
struct bt_jj_val bt_jj_undefined_hint(struct bt_jj *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
struct bt_jj_val bt_jj_fail_undefined(struct bt_jj *r, struct bt_jj_val undef);

/* iter.c */
enum bt_jj_step { BT_JJ_STOP, BT_JJ_ITEM, BT_JJ_BROKEN };
struct bt_jj_iter {
	enum bt_jj_step (*next)(struct bt_jj *r, struct bt_jj_iter *it, struct bt_jj_val *out);
	struct bt_jj_val src;    /* what is walked */
	size_t i;                /* position: elements, or bytes of a str */
	const char *what;        /* "generator", "list_reverseiterator" */
	struct bt_jj_iter *from; /* of generators: where elements come from */
	void *ctx;               /* their parameters */
};
/* Walk v from its beginning (an ITER: from where it is). false, recorded: not iterable. */
bool bt_jj_iter_open(struct bt_jj *r, struct bt_jj_val v, struct bt_jj_iter *it);
/* One element, one step of work. */
enum bt_jj_step bt_jj_iter_next(struct bt_jj *r, struct bt_jj_iter *it, struct bt_jj_val *out);
bool bt_jj_iterable(struct bt_jj_val v);
/* list(v), NULL when that failed. A LIST or TUPLE is not copied. */
const struct bt_jj_list *bt_jj_to_list(struct bt_jj *r, struct bt_jj_val v);
/* A generator over src with parameters ctx. */
struct bt_jj_val bt_jj_generator(struct bt_jj *r, struct bt_jj_val src,
                                 enum bt_jj_step (*next)(struct bt_jj *, struct bt_jj_iter *, struct bt_jj_val *),
                                 void *ctx);

/* ops.c */
enum bt_jj_op { BT_JJ_ADD, BT_JJ_SUB, BT_JJ_MUL, BT_JJ_DIV, BT_JJ_FLOORDIV, BT_JJ_MOD, BT_JJ_POW };
struct bt_jj_val bt_jj_binary(struct bt_jj *r, enum bt_jj_op op, struct bt_jj_val a, struct bt_jj_val b);
struct bt_jj_val bt_jj_negate(struct bt_jj *r, struct bt_jj_val v);
struct bt_jj_val bt_jj_positive(struct bt_jj *r, struct bt_jj_val v);
/* number.c: the arithmetic of two numbers */
struct bt_jj_val bt_jj_arith(struct bt_jj *r, enum bt_jj_op op, struct bt_jj_val a, struct bt_jj_val b);
struct bt_jj_val bt_jj_num_neg(struct bt_jj *r, struct bt_jj_val v);
/* -1, 0, 1; 2 when one is not a number (NaN) */
int bt_jj_num_cmp(struct bt_jj *r, struct bt_jj_val a, struct bt_jj_val b);
bool bt_jj_to_double(struct bt_jj *r, struct bt_jj_val v, double *out); /* of a number; an int may be too large */
/* "3", "-12", a BIG's digits */
struct bt_jj_val bt_jj_int_text(struct bt_jj *r, struct bt_jj_val v, unsigned base);
/* int(f); FAIL for infinity and NaN */
struct bt_jj_val bt_jj_int_of_float(struct bt_jj *r, double f);
/* int(s, base) and float(s) of a text; MISSING when it is none. */
struct bt_jj_val bt_jj_parse_int(struct bt_jj *r, const struct bt_jj_str *s, int base);
struct bt_jj_val bt_jj_parse_float(struct bt_jj *r, const struct bt_jj_str *s);
struct bt_jj_val bt_jj_round(struct bt_jj *r, struct bt_jj_val v, int64_t digits);

/* access.c: attributes and elements, through the sandbox */
struct bt_jj_val bt_jj_getattr(struct bt_jj *r, struct bt_jj_val obj, const struct bt_jj_str *name);
struct bt_jj_val bt_jj_getitem(struct bt_jj *r, struct bt_jj_val obj, struct bt_jj_val key);
/* obj[start:stop:step], which jinja2 leaves to Python, errors included */
struct bt_jj_val bt_jj_slice(struct bt_jj *r, struct bt_jj_val obj, const struct bt_jj_slice *s);
/* The attribute alone, no element: MISSING when there is none. */
struct bt_jj_val bt_jj_attribute(struct bt_jj *r, struct bt_jj_val obj, const struct bt_jj_str *name);

/* Forget a failure of the template (not one of a limit or of memory), as Python's `except` does; false: it stays. */
bool bt_jj_forgive(struct bt_jj *r);

/* call.c */
struct bt_jj_val bt_jj_call(struct bt_jj *r, struct bt_jj_val callee, const struct bt_jj_args *args);
/* Bind args to the parameters of a built-in and run it. */
struct bt_jj_val bt_jj_call_native(struct bt_jj *r, const struct bt_jj_func *func, struct bt_jj_val self,
                                   const struct bt_jj_args *args);
bool bt_jj_callable(struct bt_jj_val v);
struct bt_jj_val bt_jj_method_of(struct bt_jj *r, struct bt_jj_val self, const struct bt_jj_func *func);
bool bt_jj_namespace_set(struct bt_jj *r, struct bt_jj_ns *ns, struct bt_jj_val name, struct bt_jj_val v);

/* Tables: rows end with name NULL. NULL when there is none of that name. */
const struct bt_jj_func *bt_jj_func_named(const struct bt_jj_func *table, const char *name, size_t len);
const struct bt_jj_func *bt_jj_filter(const char *name, size_t len);
const struct bt_jj_func *bt_jj_test(const char *name, size_t len);
const struct bt_jj_func *bt_jj_global(const char *name, size_t len);

/* Parameters of built-ins: fetch with a default; FAIL is recorded when the type is wrong. */
bool bt_jj_arg_index(struct bt_jj *r, struct bt_jj_val v, int64_t dflt, int64_t *out); /* an int; MISSING: dflt */
bool bt_jj_arg_index_or_none(struct bt_jj *r, struct bt_jj_val v, int64_t dflt, int64_t *out); /* NONE: dflt */
bool bt_jj_arg_bool(struct bt_jj_val v, bool dflt);                                            /* any value's truth */
/* What Python takes as a C int, without asking for its truth: sorted(reverse=). */
bool bt_jj_arg_flag(struct bt_jj *r, struct bt_jj_val v, bool *out);

/* format_percent.c: fmt % args; format_braces.c: fmt.format(args) */
struct bt_jj_val bt_jj_format_percent(struct bt_jj *r, struct bt_jj_val fmt, struct bt_jj_val args);
struct bt_jj_val bt_jj_format_braces(struct bt_jj *r, struct bt_jj_val fmt, const struct bt_jj_args *args);

/* json.c */
struct bt_jj_json_style {
	bool ascii, sort_keys;
	bool pretty;             /* newlines and indent */
	struct bt_jj_val indent; /* STR of one level */
	struct bt_jj_val item_sep, key_sep;
};
struct bt_jj_val bt_jj_json_dump(struct bt_jj *r, struct bt_jj_val v, const struct bt_jj_json_style *style);
struct bt_jj_val bt_jj_from_json(struct bt_jj *r, const json_t *j);

/* markup.c */
struct bt_jj_val bt_jj_escape(struct bt_jj *r, struct bt_jj_val v); /* HTML-escaped unless it is markup: markup */
struct bt_jj_val bt_jj_mark(struct bt_jj_val v);                    /* the same str, marked as markup */

/* time.c */
struct bt_jj_val bt_jj_strftime(struct bt_jj *r, const struct bt_jj_str *fmt);

#endif
