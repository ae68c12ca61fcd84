/* globals.c: the functions that every template can call. */
#include "text/jinja/text.h"

static struct bt_jj_val global_range(struct bt_jj *r, struct bt_jj_call *c)
{
	int64_t v[3] = {0, 0, 1};
	for (int i = 0; i < 3; i++) {
		struct bt_jj_val a = c->arg[i];
		if (a.type == BT_JJ_MISSING) continue;
		if (a.type == BT_JJ_NONE || a.type == BT_JJ_BIG)
			return bt_jj_fail(r, "TypeError", "'%s' object cannot be interpreted as a range bound",
			                  bt_jj_type_name(a));
		if (!bt_jj_arg_index(r, a, 0, &v[i])) return bt_jj_failed();
	}
	if (c->arg[1].type == BT_JJ_MISSING) {
		v[1] = v[0];
		v[0] = 0;
	}
	if (!v[2]) return bt_jj_fail(r, "ValueError", "range() arg 3 must not be zero");
	__int128 span = (__int128)v[1] - v[0], n = v[2] > 0 ? (span + v[2] - 1) / v[2] : (span + v[2] + 1) / v[2];
	if ((span > 0) != (v[2] > 0)) n = 0;
	if (n > BT_LIMIT_TEMPLATE_RANGE)
		return bt_jj_fail(r, "OverflowError",
		                  "Range too big. The sandbox blocks ranges larger than MAX_RANGE (%d).",
		                  BT_LIMIT_TEMPLATE_RANGE);
	struct bt_jj_range *g = bt_jj_alloc(r, sizeof *g);
	if (!g) return bt_jj_failed();
	*g = (struct bt_jj_range){.start = v[0], .stop = v[1], .step = v[2], .n = (size_t)n};
	return (struct bt_jj_val){.type = BT_JJ_RANGE, .range = g};
}

/* Fill d with a dict or pairs, then with named arguments. */
static bool fill(struct bt_jj *r, struct bt_jj_dict *d, const struct bt_jj_args *args)
{
	if (args->n_pos > 1) {
		bt_jj_fail(r, "TypeError", "dict expected at most 1 argument, got %zu", args->n_pos);
		return false;
	}
	if (args->n_pos == 1 && args->v[0].val.type == BT_JJ_DICT) {
		if (!bt_jj_dict_merge(r, d, args->v[0].val.dict)) return false;
	} else if (args->n_pos == 1) {
		struct bt_jj_iter it;
		struct bt_jj_val v;
		enum bt_jj_step step;
		if (!bt_jj_iter_open(r, args->v[0].val, &it)) return false;
		for (size_t i = 0; (step = bt_jj_iter_next(r, &it, &v)) == BT_JJ_ITEM; i++) {
			if (!bt_jj_iterable(v)) {
				bt_jj_fail(r, "TypeError",
				           "cannot convert dictionary update sequence element #%zu to a sequence", i);
				return false;
			}
			const struct bt_jj_list *l = bt_jj_to_list(r, v);
			if (!l) return false;
			if (l->n != 2) {
				bt_jj_fail(r, "ValueError",
				           "dictionary update sequence element #%zu has length %zu; 2 is required", i,
				           l->n);
				return false;
			}
			if (!bt_jj_dict_set(r, d, l->v[0], l->v[1])) return false;
		}
		if (step == BT_JJ_BROKEN) return false;
	}
	for (size_t i = args->n_pos; i < args->n; i++)
		if (!bt_jj_dict_set(r, d, args->v[i].name, args->v[i].val)) return false;
	return true;
}

static struct bt_jj_val global_dict(struct bt_jj *r, struct bt_jj_call *c)
{
	struct bt_jj_dict *d = bt_jj_dict_new(r, 0);
	return d && fill(r, d, &c->rest) ? bt_jj_of_dict(d) : bt_jj_failed();
}

/* transformers refuses names that begin with an underscore. */
static bool check_attribute(struct bt_jj *r, struct bt_jj_val name)
{
	if (name.type != BT_JJ_STR || !name.s->len || name.s->s[0] != '_') return true;
	struct bt_jj_val text = bt_jj_repr(r, name);
	if (bt_jj_is_fail(text)) return false;
	bt_jj_fail(r, "SecurityError",
	           "Chat templates cannot store underscore-prefixed attributes on a namespace, but got "
	           "%.*s. Please rename the attribute.",
	           text.s->len < 200 ? (int)text.s->len : 200, text.s->s);
	return false;
}

bool bt_jj_namespace_set(struct bt_jj *r, struct bt_jj_ns *ns, struct bt_jj_val name, struct bt_jj_val v)
{
	return check_attribute(r, name) && bt_jj_dict_set(r, &ns->attrs, name, v);
}

static struct bt_jj_val global_namespace(struct bt_jj *r, struct bt_jj_call *c)
{
	struct bt_jj_ns *ns = bt_jj_alloc(r, sizeof *ns);
	if (!ns) return bt_jj_failed();
	*ns = (struct bt_jj_ns){0};
	if (!fill(r, &ns->attrs, &c->rest)) return bt_jj_failed();
	for (size_t i = 0; i < ns->attrs.n; i++)
		if (!check_attribute(r, ns->attrs.e[i].key)) return bt_jj_failed();
	return (struct bt_jj_val){.type = BT_JJ_NAMESPACE, .ns = ns};
}

static struct bt_jj_val global_cycler(struct bt_jj *r, struct bt_jj_call *c)
{
	if (!c->rest.n_pos) return bt_jj_fail(r, "RuntimeError", "at least one item has to be provided");
	struct bt_jj_cycler *y = bt_jj_alloc(r, sizeof *y);
	struct bt_jj_list *l = bt_jj_list_new(r, c->rest.n_pos);
	if (!y || !l) return bt_jj_failed();
	for (size_t i = 0; i < c->rest.n_pos; i++) bt_jj_list_add(r, l, c->rest.v[i].val);
	*y = (struct bt_jj_cycler){.items = l};
	return (struct bt_jj_val){.type = BT_JJ_CYCLER, .cycler = y};
}

static struct bt_jj_val global_joiner(struct bt_jj *r, struct bt_jj_call *c)
{
	struct bt_jj_joiner *j = bt_jj_alloc(r, sizeof *j);
	if (!j) return bt_jj_failed();
	*j = (struct bt_jj_joiner){.sep = bt_jj_given(c->arg[0]) ? c->arg[0] : bt_jj_text_ref(r, ", ", 2)};
	return (struct bt_jj_val){.type = BT_JJ_JOINER, .joiner = j};
}

static struct bt_jj_val global_raise_exception(struct bt_jj *r, struct bt_jj_call *c)
{
	struct bt_jj_val v = bt_jj_to_str(r, c->arg[0]);
	return bt_jj_is_fail(v) ? v : bt_jj_fail_exact(r, v.s->s, v.s->len);
}

static struct bt_jj_val global_strftime_now(struct bt_jj *r, struct bt_jj_call *c)
{
	if (c->arg[0].type != BT_JJ_STR)
		return bt_jj_fail(r, "TypeError", "strftime() argument 1 must be str, not %s",
		                  bt_jj_type_name(c->arg[0]));
	return bt_jj_strftime(r, c->arg[0].s);
}

/* jinja2's lipsum() makes random Latin; no chat template can mean that. */
static struct bt_jj_val global_lipsum(struct bt_jj *r, struct bt_jj_call *c)
{
	(void)c;
	return bt_jj_fail(r, "TypeError", "lipsum() is not supported here");
}

static const struct bt_jj_func globals[] = {
	{"range", "start,stop=,step=", global_range},
	{"dict", "*,**", global_dict},
	{"namespace", "*,**", global_namespace},
	{"cycler", "*", global_cycler},
	{"joiner", "sep=", global_joiner},
	{"lipsum", "*,**", global_lipsum},
	{"raise_exception", "message", global_raise_exception},
	{"strftime_now", "format", global_strftime_now},
	{NULL, NULL, NULL},
};

const struct bt_jj_func *bt_jj_global(const char *name, size_t len)
{
	return bt_jj_func_named(globals, name, len);
}
