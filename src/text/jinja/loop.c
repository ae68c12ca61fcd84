/* loop.c: for loops and their variable `loop`. */
#include "text/jinja/exec.h"

/* What a loop's test lets through; the test runs when an element is asked for, not before. */
struct test_ctx {
	const struct bt_jj_node *node;
	struct bt_jj_frame *frame;
};

static enum bt_jj_step next_tested(struct bt_jj *r, struct bt_jj_iter *it, struct bt_jj_val *out)
{
	const struct test_ctx *c = it->ctx;
	const struct bt_jj_node *n = c->node;
	enum bt_jj_step step;
	while ((step = bt_jj_iter_next(r, it->from, out)) == BT_JJ_ITEM) {
		if (!bt_jj_assign(r, c->frame, n->c->a, *out)) return BT_JJ_BROKEN;
		bt_jj_scope_enter(r, c->frame, n->scope3);
		struct bt_jj_val v = bt_jj_eval(r, c->frame, n->c->b);
		if (bt_jj_is_fail(v)) return BT_JJ_BROKEN;
		if (bt_jj_truth(v)) return BT_JJ_ITEM;
	}
	return step;
}

static bool start(struct bt_jj *r, struct bt_jj_loop *l, struct bt_jj_frame *f, const struct bt_jj_node *n,
                  struct bt_jj_val src)
{
	*l = (struct bt_jj_loop){
		.node = n, .frame = f, .src = src, .index0 = -1, .length = -1, .filtered = n->c != NULL};
	l->current = l->before = l->after = l->changed = bt_jj_missing();
	if (!n->c) return bt_jj_iter_open(r, src, &l->it);
	struct test_ctx *c = bt_jj_alloc(r, sizeof *c);
	if (!c) return false;
	*c = (struct test_ctx){.node = n, .frame = f};
	struct bt_jj_val g = bt_jj_generator(r, src, next_tested, c);
	return !bt_jj_is_fail(g) && bt_jj_iter_open(r, g, &l->it);
}

static enum bt_jj_step advance(struct bt_jj *r, struct bt_jj_loop *l)
{
	struct bt_jj_val v = l->after;
	enum bt_jj_step step = BT_JJ_ITEM;
	if (!l->has_after || v.type == BT_JJ_MISSING) step = bt_jj_iter_next(r, &l->it, &v);
	l->has_after = false;
	if (step != BT_JJ_ITEM) return step;
	l->index0++;
	l->before = l->current;
	l->current = v;
	return step;
}

/* The element after this one, read ahead; MISSING at the end. */
static struct bt_jj_val peek(struct bt_jj *r, struct bt_jj_loop *l)
{
	if (l->has_after) return l->after;
	enum bt_jj_step step = bt_jj_iter_next(r, &l->it, &l->after);
	if (step == BT_JJ_BROKEN) return bt_jj_failed();
	if (step == BT_JJ_STOP) l->after = bt_jj_missing();
	l->has_after = true;
	return l->after;
}

/* The number of rounds; of a generator or a loop with a test, by reading all that is left. -1: failed. */
static int64_t length(struct bt_jj *r, struct bt_jj_loop *l)
{
	size_t n;
	if (l->length >= 0) return l->length;
	if (!l->filtered && bt_jj_len(l->src, &n)) return l->length = (int64_t)n;
	struct bt_jj_list *rest = bt_jj_list_new(r, 0);
	struct bt_jj_val v;
	enum bt_jj_step step;
	if (!rest) return -1;
	while ((step = bt_jj_iter_next(r, &l->it, &v)) == BT_JJ_ITEM)
		if (!bt_jj_list_add(r, rest, v)) return -1;
	if (step == BT_JJ_BROKEN || !bt_jj_iter_open(r, bt_jj_of_list(rest), &l->it)) return -1;
	return l->length = (int64_t)rest->n + l->index0 + 1 + (l->has_after && l->after.type != BT_JJ_MISSING);
}

static enum bt_jj_flow rounds(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *n, struct bt_jj_loop *l)
{
	enum bt_jj_flow fl = BT_JJ_NEXT;
	enum bt_jj_step step;
	/* jinja2 runs `else` unless some round came to the end of its body: break and continue do not count. */
	bool completed = false;
	while ((step = advance(r, l)) == BT_JJ_ITEM) {
		if (!bt_jj_assign(r, f, n->a, l->current)) return BT_JJ_ABORT;
		if (n->ref.slot != UINT32_MAX)
			*bt_jj_slot(f, n->ref) = (struct bt_jj_val){.type = BT_JJ_LOOP, .loop = l};
		bt_jj_scope_enter(r, f, n->scope);
		fl = bt_jj_exec(r, f, n->body);
		if (fl == BT_JJ_ABORT || fl == BT_JJ_BREAK) break;
		completed |= fl == BT_JJ_NEXT;
	}
	if (step == BT_JJ_BROKEN || fl == BT_JJ_ABORT) return BT_JJ_ABORT;
	bt_jj_scope_leave(f, n->scope);
	if (completed || !n->d) return BT_JJ_NEXT;
	bt_jj_scope_enter(r, f, n->scope2);
	fl = bt_jj_exec(r, f, n->d);
	bt_jj_scope_leave(f, n->scope2);
	return fl;
}

static enum bt_jj_flow run(struct bt_jj *r, struct bt_jj_frame *outer, const struct bt_jj_node *n, struct bt_jj_val src,
                           unsigned depth0)
{
	struct bt_jj_loop local, *l = &local;
	struct bt_jj_frame *f = outer;
	/* A loop variable that the body may keep (in a namespace) outlives the loop. */
	if (n->extended && !(l = bt_jj_alloc(r, sizeof *l))) return BT_JJ_ABORT;
	if (n->recursive && !(f = bt_jj_frame_new(r, n->code, outer))) return BT_JJ_ABORT;
	if (!start(r, l, f, n, src)) return BT_JJ_ABORT;
	l->frame = outer;
	l->depth0 = depth0;
	return rounds(r, f, n, l);
}

enum bt_jj_flow bt_jj_run_for(struct bt_jj *r, struct bt_jj_frame *f, const struct bt_jj_node *n)
{
	struct bt_jj_val src = bt_jj_eval(r, f, n->b);
	return bt_jj_is_fail(src) ? BT_JJ_ABORT : run(r, f, n, src, 0);
}

struct bt_jj_val bt_jj_call_loop(struct bt_jj *r, struct bt_jj_loop *l, const struct bt_jj_args *args)
{
	if (!l->node->recursive)
		return bt_jj_fail(r, "TypeError",
		                  "The loop must have the 'recursive' marker to be called recursively.");
	if (args->n_pos != 1 || args->n != 1)
		return bt_jj_fail(r, "TypeError",
		                  "LoopContext.__call__() takes 2 positional arguments but %zu were given",
		                  args->n + 1);
	if (!bt_jj_enter_call(r)) return bt_jj_failed();
	size_t at = r->out->len;
	enum bt_jj_flow fl = run(r, l->frame, l->node, args->v[0].val, l->depth0 + 1);
	bt_jj_leave_call(r);
	return fl == BT_JJ_ABORT ? bt_jj_failed() : bt_jj_take_output(r, at);
}

struct bt_jj_val bt_jj_loop_text(struct bt_jj *r, struct bt_jj_loop *l)
{
	int64_t n = length(r, l);
	return n < 0 ? bt_jj_failed()
	             : bt_jj_textf(r, "<LoopContext %lld/%lld>", (long long)l->index0 + 1, (long long)n);
}

static struct bt_jj_val attr_index(struct bt_jj *r, struct bt_jj_loop *l)
{
	(void)r;
	return bt_jj_int(l->index0 + 1);
}

static struct bt_jj_val attr_index0(struct bt_jj *r, struct bt_jj_loop *l)
{
	(void)r;
	return bt_jj_int(l->index0);
}

static struct bt_jj_val attr_length(struct bt_jj *r, struct bt_jj_loop *l)
{
	int64_t n = length(r, l);
	return n < 0 ? bt_jj_failed() : bt_jj_int(n);
}

static struct bt_jj_val attr_revindex(struct bt_jj *r, struct bt_jj_loop *l)
{
	int64_t n = length(r, l);
	return n < 0 ? bt_jj_failed() : bt_jj_int(n - l->index0);
}

static struct bt_jj_val attr_revindex0(struct bt_jj *r, struct bt_jj_loop *l)
{
	int64_t n = length(r, l);
	return n < 0 ? bt_jj_failed() : bt_jj_int(n - l->index0 - 1);
}

static struct bt_jj_val attr_first(struct bt_jj *r, struct bt_jj_loop *l)
{
	(void)r;
	return bt_jj_bool(l->index0 == 0);
}

static struct bt_jj_val attr_last(struct bt_jj *r, struct bt_jj_loop *l)
{
	struct bt_jj_val v = peek(r, l);
	return bt_jj_is_fail(v) ? v : bt_jj_bool(v.type == BT_JJ_MISSING);
}

static struct bt_jj_val attr_previtem(struct bt_jj *r, struct bt_jj_loop *l)
{
	return l->index0 == 0 ? bt_jj_undefined_hint(r, "there is no previous item") : l->before;
}

static struct bt_jj_val attr_nextitem(struct bt_jj *r, struct bt_jj_loop *l)
{
	struct bt_jj_val v = peek(r, l);
	return v.type == BT_JJ_MISSING ? bt_jj_undefined_hint(r, "there is no next item") : v;
}

static struct bt_jj_val attr_depth(struct bt_jj *r, struct bt_jj_loop *l)
{
	(void)r;
	return bt_jj_int(l->depth0 + 1);
}

static struct bt_jj_val attr_depth0(struct bt_jj *r, struct bt_jj_loop *l)
{
	(void)r;
	return bt_jj_int(l->depth0);
}

static struct bt_jj_val call_cycle(struct bt_jj *r, struct bt_jj_call *c)
{
	if (!c->rest.n_pos) return bt_jj_fail(r, "TypeError", "no items for cycling given");
	return c->rest.v[(size_t)c->self.loop->index0 % c->rest.n_pos].val;
}

static struct bt_jj_val call_changed(struct bt_jj *r, struct bt_jj_call *c)
{
	struct bt_jj_list *l = bt_jj_list_new(r, c->rest.n_pos);
	for (size_t i = 0; l && i < c->rest.n_pos; i++) bt_jj_list_add(r, l, c->rest.v[i].val);
	if (!l) return bt_jj_failed();
	struct bt_jj_loop *loop = c->self.loop;
	struct bt_jj_val now = bt_jj_of_tuple(l);
	bool same = loop->changed.type != BT_JJ_MISSING && bt_jj_equal(r, loop->changed, now);
	if (r->err.status) return bt_jj_failed();
	loop->changed = now;
	return bt_jj_bool(!same);
}

static const struct {
	const char *name;
	struct bt_jj_val (*get)(struct bt_jj *r, struct bt_jj_loop *l);
	struct bt_jj_func func; /* of a method */
} attributes[] = {
	{"index", attr_index, {0}},
	{"index0", attr_index0, {0}},
	{"revindex", attr_revindex, {0}},
	{"revindex0", attr_revindex0, {0}},
	{"first", attr_first, {0}},
	{"last", attr_last, {0}},
	{"length", attr_length, {0}},
	{"depth", attr_depth, {0}},
	{"depth0", attr_depth0, {0}},
	{"previtem", attr_previtem, {0}},
	{"nextitem", attr_nextitem, {0}},
	{"cycle", NULL, {"cycle", "*", call_cycle}},
	{"changed", NULL, {"changed", "*", call_changed}},
};

struct bt_jj_val bt_jj_loop_attr(struct bt_jj *r, struct bt_jj_loop *l, const struct bt_jj_str *name)
{
	struct bt_jj_val n = bt_jj_of_str(name);
	for (size_t i = 0; i < sizeof attributes / sizeof *attributes; i++) {
		if (!bt_jj_str_is(n, attributes[i].name)) continue;
		if (attributes[i].get) return attributes[i].get(r, l);
		return bt_jj_method_of(r, (struct bt_jj_val){.type = BT_JJ_LOOP, .loop = l}, &attributes[i].func);
	}
	return bt_jj_missing();
}
