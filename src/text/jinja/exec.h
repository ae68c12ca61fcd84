/* exec.h: running the syntax tree. */
#ifndef BT_TEXT_JINJA_EXEC_H
#define BT_TEXT_JINJA_EXEC_H

#include "text/jinja/ast.h"
#include "text/jinja/interp.h"

enum bt_jj_flow { BT_JJ_NEXT, BT_JJ_BREAK, BT_JJ_CONTINUE, BT_JJ_ABORT };

/* A macro, or the body of a call block, with the variables around it. */
struct bt_jj_macro {
	const struct bt_jj_node *node; /* MACRO, CALL_BLOCK or GENERATION */
	struct bt_jj_frame *frame;     /* where it was defined */
	bool autoescape;
};

/* The variable `loop`, and the state of the loop itself. */
struct bt_jj_loop {
	const struct bt_jj_node *node;
	struct bt_jj_frame *frame; /* around the loop */
	struct bt_jj_iter it;
	struct bt_jj_val src;   /* what is walked; a test makes its length unknown */
	int64_t index0, length; /* length -1: not known yet */
	unsigned depth0;
	bool filtered, has_after;
	struct bt_jj_val current, before, after; /* after: read ahead; MISSING: there is none */
	const struct bt_jj_list *rest;           /* all that is left, once the length was asked for */
	struct bt_jj_val changed;                /* the last arguments of loop.changed(), MISSING */
};

/* eval.c */
struct bt_jj_val bt_jj_eval(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *n);
bool bt_jj_assign(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *target, struct bt_jj_val v);
/* The chain of filters n applied to text. */
struct bt_jj_val bt_jj_eval_filters(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *n,
                                    struct bt_jj_val text);
/* A call with one more argument, caller=. */
struct bt_jj_val bt_jj_eval_call(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *n,
                                 struct bt_jj_val caller);

/* exec.c */
enum bt_jj_flow bt_jj_exec(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *list);
void bt_jj_scope_enter(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_scope *s);
void bt_jj_scope_leave(struct bt_jj_frame *f, const struct bt_jj_scope *s);
struct bt_jj_frame *bt_jj_frame_new(struct bt_jj *r, const struct bt_jj_code *code, struct bt_jj_frame *up);
struct bt_jj_val *bt_jj_slot(struct bt_jj_frame *f, struct bt_jj_ref ref);
/* Everything printed since the output was `start` bytes long, taken out of it. */
struct bt_jj_val bt_jj_take_output(struct bt_jj *r, size_t start);
/* Print; false: the output is full. */
bool bt_jj_print(struct bt_jj *r, const char *s, size_t len);
/* Run a block, or the whole template, with variables of its own. */
bool bt_jj_run_block(struct bt_jj *r, const struct bt_jj_node *block);
/* One level more of macros, blocks and recursive loops; false: too many. */
bool bt_jj_enter_call(struct bt_jj *r);
void bt_jj_leave_call(struct bt_jj *r);

/* loop.c */
enum bt_jj_flow bt_jj_run_for(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *n);
struct bt_jj_val bt_jj_call_loop(struct bt_jj *r, struct bt_jj_loop *l, const struct bt_jj_args *args);
struct bt_jj_val bt_jj_loop_attr(struct bt_jj *r, struct bt_jj_loop *l, const struct bt_jj_str *name); /* or MISSING */
struct bt_jj_val bt_jj_loop_text(struct bt_jj *r, struct bt_jj_loop *l);

/* macro.c */
struct bt_jj_val bt_jj_macro_new(struct bt_jj *r, const struct bt_jj_node *n, struct bt_jj_frame *f);
/* What it prints. */
struct bt_jj_val bt_jj_call_macro(struct bt_jj *r, const struct bt_jj_macro *m, const struct bt_jj_args *args);
struct bt_jj_val bt_jj_macro_text(struct bt_jj *r, const struct bt_jj_macro *m);
struct bt_jj_val bt_jj_macro_attr(struct bt_jj *r, const struct bt_jj_macro *m, const struct bt_jj_str *name);

#endif
