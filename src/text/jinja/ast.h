/* ast.h: the syntax tree of a template. Immutable once bt_jinja_open has returned. */
#ifndef BT_TEXT_JINJA_AST_H
#define BT_TEXT_JINJA_AST_H

#include "base/status.h"
#include "text/jinja/value.h"

/* Where a variable lives: in the frame `hops` functions outward, at `slot`. */
struct bt_jj_ref {
	uint32_t hops, slot;
};

/* How a variable of a scope gets its first value when the scope is entered. */
enum bt_jj_load {
	BT_JJ_LOAD_PARAM,   /* someone else sets it: a loop, a call */
	BT_JJ_LOAD_RESOLVE, /* from the caller's variables and the built-in ones */
	BT_JJ_LOAD_ALIAS,   /* a copy of the outer variable of that name */
	BT_JJ_LOAD_NOTHING, /* nothing: it is assigned before it is read, or undefined */
};
struct bt_jj_binding {
	const struct bt_jj_str *name;
	uint32_t slot;
	enum bt_jj_load load;
	struct bt_jj_ref outer; /* of ALIAS */
	bool stored;            /* assigned in this scope */
	bool known;             /* while the tree is bound: a branch that is being looked at may not know it yet */
};
struct bt_jj_scope {
	struct bt_jj_scope *parent;
	struct bt_jj_code *code;
	struct bt_jj_binding *v; /* [n] */
	size_t n, cap;
	uint32_t *index; /* hash of v while the tree is bound */
	size_t n_index;
};
/* A function of the template: its variables live in one frame. */
struct bt_jj_code {
	struct bt_jj_code *up;
	uint32_t depth, n_slots;
};

enum bt_jj_kind {
	/* Expressions */
	BT_JJ_N_CONST,   /* value */
	BT_JJ_N_NAME,    /* value: the name; ref */
	BT_JJ_N_LIST,    /* a: items */
	BT_JJ_N_TUPLE,   /* a: items */
	BT_JJ_N_DICT,    /* a: PAIRs */
	BT_JJ_N_PAIR,    /* a: key, b: value */
	BT_JJ_N_COND,    /* a if b else c (c may be NULL) */
	BT_JJ_N_OR,      /* a or b */
	BT_JJ_N_AND,     /* a and b */
	BT_JJ_N_NOT,     /* not a */
	BT_JJ_N_NEG,     /* -a */
	BT_JJ_N_POS,     /* +a */
	BT_JJ_N_BINARY,  /* a op b: enum bt_jj_op */
	BT_JJ_N_CONCAT,  /* a: the parts of x ~ y ~ z */
	BT_JJ_N_COMPARE, /* a, then b: OPERANDs */
	BT_JJ_N_OPERAND, /* op: enum bt_jj_cmp, or IN, NOT_IN; a */
	BT_JJ_N_GETATTR, /* a.value */
	BT_JJ_N_GETITEM, /* a[b]; b may be a SLICE */
	BT_JJ_N_SLICE,   /* a:b:c, each may be NULL */
	BT_JJ_N_CALL,    /* a(b: ARGs) */
	BT_JJ_N_ARG,     /* op: enum bt_jj_arg_kind; value: name of NAMED; a */
	BT_JJ_N_FILTER,  /* a|value(b: ARGs); a NULL: what a block has captured; func, NULL for an unknown one */
	BT_JJ_N_TEST,    /* a is value(b: ARGs); func */
	BT_JJ_N_NSREF,   /* value.name as the target of an assignment: a: the NAME, value: the attribute */
	/* Statements */
	BT_JJ_N_OUTPUT, /* a: expressions that are printed */
	BT_JJ_N_TEXT,   /* value: printed as it is */
	BT_JJ_N_IF,     /* a: test, body, b: further IFs (elif), c: else */
	BT_JJ_N_FOR,    /* a: target, b: iterable, c: PAIR of a copy of the target and the test, or NULL, body, d: else;
	                       recursive, extended; scope of the body, scope2 of d, scope3 of c; ref: `loop` */
	BT_JJ_N_SET,    /* a: target, b: value */
	BT_JJ_N_SET_BLOCK,    /* a: target, b: FILTERs around the text or NULL, body; scope */
	BT_JJ_N_WITH,         /* a: targets, b: values, body; scope */
	BT_JJ_N_MACRO,        /* value: name; ref; params; body */
	BT_JJ_N_CALL_BLOCK,   /* a: the CALL; params; body */
	BT_JJ_N_GENERATION,   /* params (none); body */
	BT_JJ_N_FILTER_BLOCK, /* b: FILTERs, body; scope */
	BT_JJ_N_AUTOESCAPE,   /* a: on or off, body; scope */
	BT_JJ_N_BLOCK, /* value: name; body; scope; code; scoped: scope2 is the one around it; extended: uses `self` */
	BT_JJ_N_BREAK,
	BT_JJ_N_CONTINUE,
	BT_JJ_N_LOADER, /* include, import, from, extends: a: expression; needs a loader, which there is not */
	BT_JJ_KINDS
};
enum { BT_JJ_OPERAND_IN = 6, BT_JJ_OPERAND_NOT_IN = 7 }; /* after enum bt_jj_cmp */
enum bt_jj_arg_kind { BT_JJ_ARG_POS, BT_JJ_ARG_NAMED, BT_JJ_ARG_LIST, BT_JJ_ARG_DICT };

/* What a macro or a call block takes. */
struct bt_jj_params {
	struct bt_jj_node *names; /* NAMEs; a: the default or NULL */
	size_t n;
	struct bt_jj_ref caller, kwargs, varargs; /* slots of the special names where the body uses them */
	bool takes_caller, takes_kwargs, takes_varargs;
	bool explicit_caller; /* `caller` is among the names */
	struct bt_jj_code *code;
	struct bt_jj_scope *scope;
};

struct bt_jj_node {
	uint8_t kind;                               /* enum bt_jj_kind */
	uint8_t op;                                 /* NAME: 1 when it is assigned here */
	bool recursive, extended, scoped, toplevel; /* toplevel: assigned names are exported */
	uint16_t height;                            /* of the tree below */
	int line;
	struct bt_jj_node *next; /* in a list */
	struct bt_jj_node *a, *b, *c, *d, *body;
	struct bt_jj_val value;
	struct bt_jj_ref ref;
	const struct bt_jj_func *func;
	struct bt_jj_params *params;
	struct bt_jj_scope *scope, *scope2, *scope3;
	struct bt_jj_code *code; /* of a recursive FOR, a BLOCK */
};

struct bt_jinja {
	struct bt_arena arena;
	struct bt_jj_node *root;    /* a BLOCK: the template as a whole */
	struct bt_jj_node **blocks; /* [n_blocks], in order of the source */
	size_t n_blocks;
};

/* bind.c: find out where every name lives, check filters and tests, number the slots. */
enum baton_status bt_jj_bind(struct bt_jinja *j, struct baton_error *err);

#endif
