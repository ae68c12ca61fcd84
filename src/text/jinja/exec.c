/* exec.c: statements. */
#include "text/jinja/exec.h"

typedef enum bt_jj_flow (*exec_fn)(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *n);

struct bt_jj_val *bt_jj_slot(struct bt_jj_frame *f, struct bt_jj_ref ref)
{
	while (ref.hops--) f = f->up;
	return &f->slot[ref.slot];
}

struct bt_jj_frame *bt_jj_frame_new(struct bt_jj *r, const struct bt_jj_code *code, struct bt_jj_frame *up)
{
	struct bt_jj_frame *f = bt_jj_alloc(r, sizeof *f);
	if (!f || !(f->slot = bt_jj_alloc_array(r, code->n_slots + 1, sizeof *f->slot))) return NULL;
	f->up = up;
	for (uint32_t i = 0; i < code->n_slots; i++) f->slot[i] = bt_jj_missing();
	return bt_jj_charge(r, code->n_slots / 8) ? f : NULL;
}

/* A variable that the template does not assign: exported by its top level, given by the caller, or built in. */
static struct bt_jj_val resolve(struct bt_jj *r, const struct bt_jj_str *name)
{
	struct bt_jj_val v = bt_jj_missing(), key = bt_jj_of_str(name);
	if (r->exported) v = bt_jj_dict_get(r, r->exported, key);
	if (v.type == BT_JJ_MISSING) v = bt_jj_dict_get(r, r->globals, key);
	if (v.type != BT_JJ_MISSING) return v;
	const struct bt_jj_func *func = bt_jj_global(name->s, name->len);
	return func ? (struct bt_jj_val){.type = BT_JJ_FUNC, .func = func} : v;
}

void bt_jj_scope_enter(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_scope *s)
{
	if (!bt_jj_charge(r, s->n)) return; /* whatever comes next sees it */
	for (size_t i = 0; i < s->n; i++) {
		const struct bt_jj_binding *b = &s->v[i];
		if (b->load == BT_JJ_LOAD_RESOLVE) f->slot[b->slot] = resolve(r, b->name);
		else if (b->load == BT_JJ_LOAD_ALIAS) f->slot[b->slot] = *bt_jj_slot(f, b->outer);
		else if (b->load == BT_JJ_LOAD_NOTHING) f->slot[b->slot] = bt_jj_missing();
	}
}

void bt_jj_scope_leave(struct bt_jj_frame *f, const struct bt_jj_scope *s)
{
	for (size_t i = 0; i < s->n; i++) f->slot[s->v[i].slot] = bt_jj_missing();
}

bool bt_jj_print(struct bt_jj *r, const char *s, size_t len)
{
	if (r->err.status || !bt_jj_charge_bytes(r, len)) return false;
	bt_buf_add(r->out, s, len);
	if (!r->out->status) return true;
	if (r->out->status == BATON_ERR_LIMIT)
		bt_jj_fail_limit(r, "the template prints more than %zu bytes", r->out->limit);
	else bt_fail_nomem(&r->err, len, "the output of a template");
	return false;
}

struct bt_jj_val bt_jj_take_output(struct bt_jj *r, size_t start)
{
	if (r->err.status) return bt_jj_failed();
	struct bt_jj_val v = bt_jj_text(r, bt_buf_str(r->out) + start, r->out->len - start);
	r->out->len = start;
	if (r->out->data) r->out->data[start] = 0;
	if (r->autoescape) v = bt_jj_mark(v);
	return v;
}

bool bt_jj_enter_call(struct bt_jj *r)
{
	if (r->calls < BT_LIMIT_TEMPLATE_DEPTH) {
		r->calls++;
		return true;
	}
	bt_jj_fail_limit(r, "macros or loops call each other more than %d levels deep", BT_LIMIT_TEMPLATE_DEPTH);
	return false;
}

void bt_jj_leave_call(struct bt_jj *r)
{
	r->calls--;
}

static bool print_value(struct bt_jj *r, struct bt_jj_val v)
{
	if (r->autoescape) v = bt_jj_escape(r, v);
	if (v.type == BT_JJ_UNDEFINED) return true;
	v = bt_jj_to_str(r, v);
	return !bt_jj_is_fail(v) && bt_jj_print(r, v.s->s, v.s->len);
}

static enum bt_jj_flow flow(bool ok)
{
	return ok ? BT_JJ_NEXT : BT_JJ_ABORT;
}

static enum bt_jj_flow exec_text(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *n)
{
	(void)f;
	return flow(bt_jj_print(r, n->value.s->s, n->value.s->len));
}

static enum bt_jj_flow exec_output(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *n)
{
	for (const struct bt_jj_node *e = n->a; e; e = e->next) {
		struct bt_jj_val v = bt_jj_eval(r, f, e);
		if (bt_jj_is_fail(v) || !print_value(r, v)) return BT_JJ_ABORT;
	}
	return BT_JJ_NEXT;
}

static enum bt_jj_flow exec_if(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *n)
{
	const struct bt_jj_node *branch = n, *elif = n->b;
	for (; branch; branch = elif, elif = elif ? elif->next : NULL) {
		struct bt_jj_val test = bt_jj_eval(r, f, branch->a);
		if (bt_jj_is_fail(test)) return BT_JJ_ABORT;
		if (bt_jj_truth(test)) return bt_jj_exec(r, f, branch->body);
	}
	return bt_jj_exec(r, f, n->c);
}

/* Names assigned at the top level can be seen by blocks. */
static bool export(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *target)
{
	if (!r->exported) return true;
	if (target->kind == BT_JJ_N_NAME)
		return bt_jj_dict_set(r, r->exported, target->value, *bt_jj_slot(f, target->ref));
	for (const struct bt_jj_node *i = target->kind == BT_JJ_N_TUPLE ? target->a : NULL; i; i = i->next)
		if (!export(r, f, i)) return false;
	return true;
}

/* Assigning to an attribute is checked before the value is computed. */
static bool check_namespaces(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *target)
{
	if (target->kind == BT_JJ_N_NSREF && bt_jj_slot(f, target->a->ref)->type != BT_JJ_NAMESPACE) {
		bt_jj_fail(r, "TemplateRuntimeError", "cannot assign attribute on non-namespace object");
		return false;
	}
	for (const struct bt_jj_node *i = target->kind == BT_JJ_N_TUPLE ? target->a : NULL; i; i = i->next)
		if (!check_namespaces(r, f, i)) return false;
	return true;
}

static enum bt_jj_flow exec_set(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *n)
{
	if (!check_namespaces(r, f, n->a) || !bt_jj_assign(r, f, n->a, bt_jj_eval(r, f, n->b))) return BT_JJ_ABORT;
	return flow(!n->toplevel || export(r, f, n->a));
}

/* Run the body of n in its scope and take what it prints. */
static enum bt_jj_flow captured(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *n,
                                struct bt_jj_val *text)
{
	size_t start = r->out->len;
	bt_jj_scope_enter(r, f, n->scope);
	enum bt_jj_flow fl = bt_jj_exec(r, f, n->body);
	*text = bt_jj_take_output(r, start);
	return bt_jj_is_fail(*text) ? BT_JJ_ABORT : fl;
}

static enum bt_jj_flow exec_set_block(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *n)
{
	struct bt_jj_val text;
	enum bt_jj_flow fl = captured(r, f, n, &text);
	if (fl != BT_JJ_NEXT) return fl;
	if (n->b) {
		text = bt_jj_eval_filters(r, f, n->b, text);
		if (r->autoescape) text = bt_jj_mark(text);
	}
	if (!check_namespaces(r, f, n->a) || !bt_jj_assign(r, f, n->a, text)) return BT_JJ_ABORT;
	bt_jj_scope_leave(f, n->scope);
	return flow(!n->toplevel || export(r, f, n->a));
}

static enum bt_jj_flow exec_filter_block(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *n)
{
	struct bt_jj_val text;
	enum bt_jj_flow fl = captured(r, f, n, &text);
	if (fl != BT_JJ_NEXT) return fl;
	text = bt_jj_eval_filters(r, f, n->b, text);
	bt_jj_scope_leave(f, n->scope);
	if (!bt_jj_is_fail(text) && text.type != BT_JJ_STR)
		bt_jj_fail(r, "TypeError", "sequence item 0: expected str instance, %s found", bt_jj_type_name(text));
	return flow(!bt_jj_is_fail(text) && print_value(r, text));
}

static enum bt_jj_flow exec_with(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *n)
{
	bt_jj_scope_enter(r, f, n->scope);
	for (const struct bt_jj_node *t = n->a, *v = n->b; t && v; t = t->next, v = v->next)
		if (!bt_jj_assign(r, f, t, bt_jj_eval(r, f, v))) return BT_JJ_ABORT;
	enum bt_jj_flow fl = bt_jj_exec(r, f, n->body);
	bt_jj_scope_leave(f, n->scope);
	return fl;
}

static enum bt_jj_flow exec_autoescape(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *n)
{
	bool before = r->autoescape;
	bt_jj_scope_enter(r, f, n->scope);
	struct bt_jj_val on = bt_jj_eval(r, f, n->a);
	if (bt_jj_is_fail(on)) return BT_JJ_ABORT;
	r->autoescape = bt_jj_truth(on);
	enum bt_jj_flow fl = bt_jj_exec(r, f, n->body);
	r->autoescape = before;
	bt_jj_scope_leave(f, n->scope);
	return fl;
}

static enum bt_jj_flow exec_macro(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *n)
{
	struct bt_jj_val m = bt_jj_macro_new(r, n, f);
	if (bt_jj_is_fail(m)) return BT_JJ_ABORT;
	*bt_jj_slot(f, n->ref) = m;
	return flow(!n->toplevel || !r->exported || bt_jj_dict_set(r, r->exported, n->value, m));
}

static enum bt_jj_flow exec_call_block(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *n)
{
	struct bt_jj_val caller = bt_jj_macro_new(r, n, f);
	if (bt_jj_is_fail(caller)) return BT_JJ_ABORT;
	struct bt_jj_val v = bt_jj_eval_call(r, f, n->a, caller);
	v = bt_jj_to_str(r, v);
	return flow(!bt_jj_is_fail(v) && bt_jj_print(r, v.s->s, v.s->len));
}

/* {% generation %} only marks text for training tools; what it holds is a function without arguments. */
static enum bt_jj_flow exec_generation(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *n)
{
	struct bt_jj_args none = {0};
	struct bt_jj_val m = bt_jj_macro_new(r, n, f);
	struct bt_jj_val v = bt_jj_is_fail(m) ? m : bt_jj_call_macro(r, m.macro, &none);
	return flow(!bt_jj_is_fail(v) && bt_jj_print(r, v.s->s, v.s->len));
}

static enum bt_jj_flow exec_break(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *n)
{
	(void)r, (void)f;
	return n->kind == BT_JJ_N_BREAK ? BT_JJ_BREAK : BT_JJ_CONTINUE;
}

static enum bt_jj_flow exec_loader(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *n)
{
	if (!bt_jj_is_fail(bt_jj_eval(r, f, n->a)))
		bt_jj_fail(r, "TypeError",
		           "no loader for this environment specified: a chat template cannot include another file");
	return BT_JJ_ABORT;
}

bool bt_jj_run_block(struct bt_jj *r, const struct bt_jj_node *block)
{
	struct bt_jj_frame *f = bt_jj_enter_call(r) ? bt_jj_frame_new(r, block->code, NULL) : NULL;
	if (!f) return false;
	if (block->extended) *bt_jj_slot(f, block->ref) = (struct bt_jj_val){.type = BT_JJ_SELF};
	bt_jj_scope_enter(r, f, block->scope);
	enum bt_jj_flow fl = bt_jj_exec(r, f, block->body);
	bt_jj_leave_call(r);
	return fl != BT_JJ_ABORT && !r->err.status;
}

/* All that can be seen from scope s, for a scoped block. */
static bool add_locals(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_scope *s, struct bt_jj_dict *d)
{
	uint32_t depth = s->code->depth;
	for (; s; s = s->parent)
		for (size_t i = 0; i < s->n; i++) {
			struct bt_jj_ref ref = {.hops = depth - s->code->depth, .slot = s->v[i].slot};
			struct bt_jj_val v = *bt_jj_slot(f, ref), key = bt_jj_of_str(s->v[i].name);
			if (v.type == BT_JJ_MISSING || bt_jj_dict_get(r, d, key).type != BT_JJ_MISSING) continue;
			if (!bt_jj_dict_set(r, d, key, v)) return false;
		}
	return true;
}

static enum bt_jj_flow exec_block(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *n)
{
	struct bt_jj_dict *before = r->exported;
	if (n->scoped) {
		struct bt_jj_dict *d = bt_jj_dict_new(r, 0);
		if (!d || !add_locals(r, f, n->scope2, d)) return BT_JJ_ABORT;
		for (size_t i = 0; before && i < before->n; i++)
			if (bt_jj_dict_get(r, d, before->e[i].key).type == BT_JJ_MISSING &&
			    !bt_jj_dict_set(r, d, before->e[i].key, before->e[i].val))
				return BT_JJ_ABORT;
		r->exported = d;
	}
	bool ok = bt_jj_run_block(r, n);
	r->exported = before;
	return flow(ok);
}

static const exec_fn exec_of[BT_JJ_KINDS] = {
	[BT_JJ_N_OUTPUT] = exec_output,
	[BT_JJ_N_TEXT] = exec_text,
	[BT_JJ_N_IF] = exec_if,
	[BT_JJ_N_FOR] = bt_jj_run_for,
	[BT_JJ_N_SET] = exec_set,
	[BT_JJ_N_SET_BLOCK] = exec_set_block,
	[BT_JJ_N_WITH] = exec_with,
	[BT_JJ_N_MACRO] = exec_macro,
	[BT_JJ_N_CALL_BLOCK] = exec_call_block,
	[BT_JJ_N_GENERATION] = exec_generation,
	[BT_JJ_N_FILTER_BLOCK] = exec_filter_block,
	[BT_JJ_N_AUTOESCAPE] = exec_autoescape,
	[BT_JJ_N_BLOCK] = exec_block,
	[BT_JJ_N_BREAK] = exec_break,
	[BT_JJ_N_CONTINUE] = exec_break,
	[BT_JJ_N_LOADER] = exec_loader,
};

enum bt_jj_flow bt_jj_exec(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *list)
{
	if (!list) return BT_JJ_NEXT;
	if (!bt_jj_enter(r)) return BT_JJ_ABORT;
	enum bt_jj_flow fl = BT_JJ_NEXT;
	for (; list && fl == BT_JJ_NEXT; list = list->next) {
		r->line = list->line;
		fl = bt_jj_charge(r, 1) ? exec_of[list->kind](r, f, list) : BT_JJ_ABORT;
	}
	bt_jj_leave(r);
	return r->err.status ? BT_JJ_ABORT : fl;
}
