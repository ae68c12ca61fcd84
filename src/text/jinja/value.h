/* value.h: the values that a template computes with, as Python's data model has them.
 *
 * A value is 16 bytes and passed by value. Strings, lists, tuples, dicts and numbers never change once they are built
 * (the sandbox refuses every method that changes its object), so they are shared freely; only namespaces, cyclers,
 * joiners, loops and iterators have state. Everything a rendering makes lives in its arena and is freed with it;
 * constants of the source live in the template's arena and are read by all threads.
 *
 * Source of the behaviour: the Python language reference (data model, expressions) and the documentation of jinja2 3.1
 * (template designer, sandbox), checked against the program case by case.
 */
#ifndef BT_TEXT_JINJA_VALUE_H
#define BT_TEXT_JINJA_VALUE_H

#include "base/mem.h"

enum bt_jj_type {
	BT_JJ_FAIL,    /* no value: an error stands in the renderer */
	BT_JJ_MISSING, /* no value: a name without one, an argument that was not given */
	BT_JJ_UNDEFINED,
	BT_JJ_NONE,
	BT_JJ_BOOL,
	BT_JJ_INT,
	BT_JJ_BIG, /* an int that needs more than 64 bits */
	BT_JJ_FLOAT,
	BT_JJ_STR,
	BT_JJ_LIST,
	BT_JJ_TUPLE,
	BT_JJ_DICT,
	BT_JJ_VIEW, /* of dict.keys(), values(), items() */
	BT_JJ_RANGE,
	BT_JJ_SLICE, /* only inside an index of several parts: x[1:2, 3] */
	BT_JJ_ITER,  /* a generator */
	BT_JJ_NAMESPACE,
	BT_JJ_FUNC,   /* a built-in function */
	BT_JJ_METHOD, /* a built-in method and its object */
	BT_JJ_MACRO,
	BT_JJ_LOOP, /* the variable `loop` */
	BT_JJ_CYCLER,
	BT_JJ_JOINER,
	BT_JJ_SELF,  /* the variable `self` */
	BT_JJ_BLOCK, /* self.name */
	BT_JJ_TYPES
};

/* Text: UTF-8, where lone surrogates (from escapes in literals) stand as three bytes. Not NUL-terminated. */
struct bt_jj_str {
	const char *s;
	size_t len; /* bytes */
	size_t n;   /* code points; equal to len only for ASCII */
};

struct bt_jj_val {
	uint8_t type; /* enum bt_jj_type */
	bool markup;  /* STR: marked as safe HTML (|safe, |escape); joins escape what is put beside it */
	union {
		bool b;
		int64_t i;
		double f;
		const struct bt_jj_str *s;
		const struct bt_jj_big *big;
		const struct bt_jj_list *list; /* LIST and TUPLE */
		const struct bt_jj_dict *dict;
		const struct bt_jj_view *view;
		const struct bt_jj_range *range;
		const struct bt_jj_slice *slice;
		const struct bt_jj_undef *undef; /* NULL: nothing is known about it */
		struct bt_jj_iter *iter;
		struct bt_jj_ns *ns;
		const struct bt_jj_func *func;
		const struct bt_jj_method *method;
		const struct bt_jj_macro *macro;
		struct bt_jj_loop *loop;
		struct bt_jj_cycler *cycler;
		struct bt_jj_joiner *joiner;
		const struct bt_jj_node *block;
		const void *p;
	};
};

struct bt_jj_list {
	struct bt_jj_val *v; /* [n] */
	size_t n, cap;
	bool group; /* a pair of |groupby: its parts are also called grouper and list */
};

/* Keeps the order of insertion. Keys are equal as Python has it: 1, 1.0 and true are one key. */
struct bt_jj_entry {
	struct bt_jj_val key, val;
	uint64_t hash;
};
struct bt_jj_dict {
	struct bt_jj_entry *e; /* [n] */
	size_t n, cap;
	uint32_t *index; /* [n_index]: entry + 1, 0 free; NULL while the dict is small */
	size_t n_index;  /* a power of two */
};

enum bt_jj_view_kind { BT_JJ_KEYS, BT_JJ_VALUES, BT_JJ_ITEMS };
struct bt_jj_view {
	const struct bt_jj_dict *dict;
	enum bt_jj_view_kind kind;
};

struct bt_jj_range {
	int64_t start, stop, step;
	size_t n;
};

struct bt_jj_slice {
	struct bt_jj_val start, stop, step;
};

/* What an undefined value says when it is used. */
struct bt_jj_undef {
	const struct bt_jj_str *hint; /* the sentence, or NULL: made from obj and name */
	struct bt_jj_val obj;         /* MISSING: `name` is a variable */
	struct bt_jj_val name;
	bool security; /* using it is a SecurityError */
};

struct bt_jj_ns {
	struct bt_jj_dict attrs;
};

struct bt_jj_cycler {
	const struct bt_jj_list *items;
	size_t pos;
};

struct bt_jj_joiner {
	struct bt_jj_val sep;
	bool used;
};

/* One row of a table of built-in functions, filters, tests or methods.
 *
 * params names the parameters in order, separated by commas; "name=" may be left out; a final "*" takes any number of
 * further values, "**" any names. */
struct bt_jj_call;
struct bt_jj;
typedef struct bt_jj_val (*bt_jj_native)(struct bt_jj *r, struct bt_jj_call *c);
struct bt_jj_func {
	const char *name;
	const char *params;
	bt_jj_native fn;
};

struct bt_jj_method {
	struct bt_jj_val self;
	const struct bt_jj_func *func;
};

/* A positional or named argument: name is MISSING or STR. */
struct bt_jj_arg {
	struct bt_jj_val name, val;
};

/* Arguments as they were written; positional ones come first. */
struct bt_jj_args {
	const struct bt_jj_arg *v;
	size_t n_pos, n; /* positional; all */
};

#define BT_JJ_MAX_PARAMS 8
/* What a built-in gets: self (the filtered or tested value, the object of a method; NONE for functions), one value per
 * parameter (MISSING where it was not given), and what "*" and "**" took. */
struct bt_jj_call {
	const struct bt_jj_func *func;
	struct bt_jj_val self;
	struct bt_jj_val arg[BT_JJ_MAX_PARAMS];
	struct bt_jj_args rest;
};

static inline struct bt_jj_val bt_jj_none(void)
{
	return (struct bt_jj_val){.type = BT_JJ_NONE};
}
static inline struct bt_jj_val bt_jj_missing(void)
{
	return (struct bt_jj_val){.type = BT_JJ_MISSING};
}
static inline struct bt_jj_val bt_jj_failed(void)
{
	return (struct bt_jj_val){.type = BT_JJ_FAIL};
}
static inline struct bt_jj_val bt_jj_bool(bool b)
{
	return (struct bt_jj_val){.type = BT_JJ_BOOL, .b = b};
}
static inline struct bt_jj_val bt_jj_int(int64_t i)
{
	return (struct bt_jj_val){.type = BT_JJ_INT, .i = i};
}
static inline struct bt_jj_val bt_jj_float(double f)
{
	return (struct bt_jj_val){.type = BT_JJ_FLOAT, .f = f};
}
static inline struct bt_jj_val bt_jj_of_str(const struct bt_jj_str *s)
{
	return (struct bt_jj_val){.type = BT_JJ_STR, .s = s};
}
static inline struct bt_jj_val bt_jj_of_list(const struct bt_jj_list *l)
{
	return (struct bt_jj_val){.type = BT_JJ_LIST, .list = l};
}
static inline struct bt_jj_val bt_jj_of_tuple(const struct bt_jj_list *l)
{
	return (struct bt_jj_val){.type = BT_JJ_TUPLE, .list = l};
}
static inline struct bt_jj_val bt_jj_of_dict(const struct bt_jj_dict *d)
{
	return (struct bt_jj_val){.type = BT_JJ_DICT, .dict = d};
}
static inline bool bt_jj_is_fail(struct bt_jj_val v)
{
	return v.type == BT_JJ_FAIL;
}
static inline bool bt_jj_given(struct bt_jj_val v)
{
	return v.type != BT_JJ_MISSING;
}
/* int, and bool as a kind of it */
static inline bool bt_jj_is_int(struct bt_jj_val v)
{
	return v.type >= BT_JJ_BOOL && v.type <= BT_JJ_BIG;
}
static inline bool bt_jj_is_number(struct bt_jj_val v)
{
	return v.type >= BT_JJ_BOOL && v.type <= BT_JJ_FLOAT;
}
static inline bool bt_jj_is_str(struct bt_jj_val v)
{
	return v.type == BT_JJ_STR;
}
/* The value of a BOOL or INT. */
static inline int64_t bt_jj_small(struct bt_jj_val v)
{
	return v.type == BT_JJ_BOOL ? v.b : v.i;
}
bool bt_jj_str_is(struct bt_jj_val v, const char *s); /* a str equal to s */

/* type(v).__name__ */
const char *bt_jj_type_name(struct bt_jj_val v);

/* A string object over bytes that outlive it; NULL when the arena is full. */
const struct bt_jj_str *bt_jj_str_ref(struct bt_arena *a, const char *s, size_t len);
/* The same over a copy. */
const struct bt_jj_str *bt_jj_str_copy(struct bt_arena *a, const char *s, size_t len);

/* Everything below needs the renderer: failures are recorded there, work is counted. */

/* Text of a copy of s; of bytes that stay. */
struct bt_jj_val bt_jj_text(struct bt_jj *r, const char *s, size_t len);
struct bt_jj_val bt_jj_text_ref(struct bt_jj *r, const char *s, size_t len);
struct bt_jj_val bt_jj_textf(struct bt_jj *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Code points [from, to) of s; bounds are in range. */
struct bt_jj_val bt_jj_substr(struct bt_jj *r, const struct bt_jj_str *s, size_t from, size_t to);
/* Byte offset of code point i <= s->n. */
size_t bt_jj_str_offset(const struct bt_jj_str *s, size_t i);

/* Lists while they are built. NULL and false: failed. */
struct bt_jj_list *bt_jj_list_new(struct bt_jj *r, size_t cap);
bool bt_jj_list_add(struct bt_jj *r, struct bt_jj_list *l, struct bt_jj_val v);
struct bt_jj_val bt_jj_pair(struct bt_jj *r, struct bt_jj_val a, struct bt_jj_val b); /* a tuple of two */

/* Dicts while they are built. */
struct bt_jj_dict *bt_jj_dict_new(struct bt_jj *r, size_t cap);
bool bt_jj_dict_set(struct bt_jj *r, struct bt_jj_dict *d, struct bt_jj_val key, struct bt_jj_val val);
bool bt_jj_dict_sets(struct bt_jj *r, struct bt_jj_dict *d, const char *key, struct bt_jj_val val);
/* MISSING when absent, FAIL for a key that has no hash. */
struct bt_jj_val bt_jj_dict_get(struct bt_jj *r, const struct bt_jj_dict *d, struct bt_jj_val key);
struct bt_jj_val bt_jj_dict_gets(struct bt_jj *r, const struct bt_jj_dict *d, const char *key);
/* All entries of src into d, in order. */
bool bt_jj_dict_merge(struct bt_jj *r, struct bt_jj_dict *d, const struct bt_jj_dict *src);
/* false (recorded) for a list, a dict and the like. */
bool bt_jj_hash(struct bt_jj *r, struct bt_jj_val v, uint64_t *out);

bool bt_jj_truth(struct bt_jj_val v);
/* len(v), or false when it has none. */
bool bt_jj_len(struct bt_jj_val v, size_t *n);
/* Element i < len of a LIST, TUPLE, STR or RANGE. */
struct bt_jj_val bt_jj_at(struct bt_jj *r, struct bt_jj_val v, size_t i);

/* Same object, as Python's `is` tells it where that can be known. */
bool bt_jj_same(struct bt_jj_val a, struct bt_jj_val b);
enum bt_jj_cmp { BT_JJ_EQ, BT_JJ_NE, BT_JJ_LT, BT_JJ_LE, BT_JJ_GT, BT_JJ_GE };
/* a OP b: a BOOL or FAIL. */
struct bt_jj_val bt_jj_compare(struct bt_jj *r, enum bt_jj_cmp op, struct bt_jj_val a, struct bt_jj_val b);
/* a == b; on failure false, with the error recorded. */
bool bt_jj_equal(struct bt_jj *r, struct bt_jj_val a, struct bt_jj_val b);
/* a in b */
struct bt_jj_val bt_jj_contains(struct bt_jj *r, struct bt_jj_val a, struct bt_jj_val b);

#endif
