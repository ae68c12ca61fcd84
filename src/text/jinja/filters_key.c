/* filters_key.c: filters that look at an attribute of each element, or apply another filter or a test to it. */
#include "text/jinja/filters.h"
#include "text/jinja/sort.h"

/* "a.b.0": the way from an element to the value that counts. */
struct getter {
	struct bt_jj_val *part; /* [n] */
	size_t n;
	bool fold;             /* texts count in lower case */
	struct bt_jj_val dflt; /* for what is undefined; MISSING: none */
};

static bool is_digits(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (s[i] < '0' || s[i] > '9') return false;
	return len > 0 && len < 18;
}

static bool add_part(struct bt_jj *r, struct getter *g, const char *s, size_t len)
{
	int64_t n = 0;
	bool number = is_digits(s, len);
	for (size_t i = 0; number && i < len; i++) n = n * 10 + s[i] - '0';
	g->part[g->n] = number ? bt_jj_int(n) : bt_jj_text_ref(r, s, len);
	return !bt_jj_is_fail(g->part[g->n++]);
}

static bool getter(struct bt_jj *r, struct getter *g, struct bt_jj_val attribute, bool fold, struct bt_jj_val dflt)
{
	*g = (struct getter){.fold = fold, .dflt = dflt.type == BT_JJ_NONE ? bt_jj_missing() : dflt};
	if (attribute.type == BT_JJ_MISSING || attribute.type == BT_JJ_NONE) return true;
	if (attribute.type != BT_JJ_STR) {
		g->part = bt_jj_alloc_array(r, 1, sizeof *g->part);
		if (g->part) g->part[g->n++] = attribute;
		return g->part;
	}
	const char *s = attribute.s->s, *end = s + attribute.s->len;
	size_t parts = 1;
	for (const char *p = s; p < end; p++) parts += *p == '.';
	g->part = bt_jj_alloc_array(r, parts, sizeof *g->part);
	if (!g->part) return false;
	for (;;) {
		const char *dot = memchr(s, '.', (size_t)(end - s));
		if (!add_part(r, g, s, (size_t)((dot ? dot : end) - s))) return false;
		if (!dot) return true;
		s = dot + 1;
	}
}

static struct bt_jj_val get(struct bt_jj *r, const struct getter *g, struct bt_jj_val v)
{
	for (size_t i = 0; i < g->n && !bt_jj_is_fail(v); i++) {
		if (!bt_jj_charge(r, 1)) return bt_jj_failed();
		v = bt_jj_getitem(r, v, g->part[i]);
		if (v.type == BT_JJ_UNDEFINED && bt_jj_given(g->dflt)) v = g->dflt;
	}
	return g->fold && v.type == BT_JJ_STR ? bt_jj_recase(r, v.s, BT_JJ_TO_LOWER) : v;
}

/* Parameters of |map, |select and the like; they are looked at when the first element is asked for. */
struct each {
	struct bt_jj_args args;
	const struct bt_jj_func *func; /* NULL: the attribute itself, or its truth */
	struct getter get;
	bool ready, by_attribute, reject;
};

/* A copy that outlives the call. */
static bool keep_args(struct bt_jj *r, struct bt_jj_args *out, const struct bt_jj_args *in)
{
	struct bt_jj_arg *v = bt_jj_alloc_array(r, in->n + 1, sizeof *v);
	if (!v) return false;
	if (in->n) memcpy(v, in->v, in->n * sizeof *v);
	*out = (struct bt_jj_args){.v = v, .n_pos = in->n_pos, .n = in->n};
	return true;
}

static struct bt_jj_args skip(struct bt_jj_args a, size_t n)
{
	return (struct bt_jj_args){.v = a.v + n, .n_pos = a.n_pos - n, .n = a.n - n};
}

static struct bt_jj_val new_each(struct bt_jj *r, struct bt_jj_call *c, struct each how,
                                 enum bt_jj_step (*next)(struct bt_jj *, struct bt_jj_iter *, struct bt_jj_val *))
{
	struct each *e = bt_jj_alloc(r, sizeof *e);
	if (!e) return bt_jj_failed();
	*e = how;
	if (!keep_args(r, &e->args, &c->rest)) return bt_jj_failed();
	struct bt_jj_iter *it = bt_jj_alloc(r, sizeof *it);
	if (!it) return bt_jj_failed();
	*it = (struct bt_jj_iter){.next = next, .src = c->self, .what = "generator", .ctx = e};
	return (struct bt_jj_val){.type = BT_JJ_ITER, .iter = it};
}

/* The filter or test that argument i names. */
static bool named(struct bt_jj *r, struct each *e, size_t i, bool test)
{
	struct bt_jj_val name = e->args.v[i].val;
	e->func = name.type != BT_JJ_STR ? NULL
	          : test                 ? bt_jj_test(name.s->s, name.s->len)
	                                 : bt_jj_filter(name.s->s, name.s->len);
	if (e->func) return true;
	struct bt_jj_val text = bt_jj_repr(r, name);
	if (!bt_jj_is_fail(text))
		bt_jj_fail(r, "TemplateRuntimeError", "No %s named %.*s.", test ? "test" : "filter",
		           text.s->len < 100 ? (int)text.s->len : 100, text.s->s);
	return false;
}

static bool prepare_map(struct bt_jj *r, struct each *e)
{
	struct bt_jj_val attribute = bt_jj_missing(), dflt = bt_jj_missing();
	for (size_t i = e->args.n_pos; i < e->args.n && !e->args.n_pos; i++) {
		if (bt_jj_str_is(e->args.v[i].name, "attribute")) attribute = e->args.v[i].val;
		else if (bt_jj_str_is(e->args.v[i].name, "default")) dflt = e->args.v[i].val;
	}
	if (bt_jj_given(attribute)) {
		if (e->args.n > (bt_jj_given(dflt) ? 2u : 1u)) {
			bt_jj_fail(r, "FilterArgumentError", "Unexpected keyword argument");
			return false;
		}
		return getter(r, &e->get, attribute, false, dflt);
	}
	if (!e->args.n_pos) {
		bt_jj_fail(r, "FilterArgumentError", "map requires a filter argument");
		return false;
	}
	if (!named(r, e, 0, false)) return false;
	e->args = skip(e->args, 1);
	return true;
}

static bool prepare_select(struct bt_jj *r, struct each *e)
{
	size_t i = 0;
	if (e->by_attribute) {
		if (!e->args.n_pos) {
			bt_jj_fail(r, "FilterArgumentError", "Missing parameter for attribute name");
			return false;
		}
		if (!getter(r, &e->get, e->args.v[i++].val, false, bt_jj_missing())) return false;
	}
	if (i < e->args.n_pos && !named(r, e, i++, true)) return false;
	e->args = skip(e->args, i);
	return true;
}

/* Called for the first element: nothing is prepared for a sequence that is empty. */
static bool prepare(struct bt_jj *r, struct bt_jj_iter *it, bool (*how)(struct bt_jj *r, struct each *e))
{
	struct each *e = it->ctx;
	if (e->ready) return true;
	if (!(it->from = bt_jj_alloc(r, sizeof *it->from))) return false;
	if (!bt_jj_truth(it->src)) {
		static const struct bt_jj_list empty;
		it->src = bt_jj_of_list(&empty);
	} else if (!how(r, e)) {
		return false;
	}
	e->ready = true;
	return bt_jj_iter_open(r, it->src, it->from);
}

static enum bt_jj_step next_map(struct bt_jj *r, struct bt_jj_iter *it, struct bt_jj_val *out)
{
	struct each *e = it->ctx;
	struct bt_jj_val v;
	if (!prepare(r, it, prepare_map)) return BT_JJ_BROKEN;
	enum bt_jj_step step = bt_jj_iter_next(r, it->from, &v);
	if (step != BT_JJ_ITEM) return step;
	*out = e->func ? bt_jj_call_native(r, e->func, v, &e->args) : get(r, &e->get, v);
	return bt_jj_is_fail(*out) ? BT_JJ_BROKEN : BT_JJ_ITEM;
}

struct bt_jj_val bt_jj_filter_map(struct bt_jj *r, struct bt_jj_call *c)
{
	return new_each(r, c, (struct each){0}, next_map);
}

static enum bt_jj_step next_select(struct bt_jj *r, struct bt_jj_iter *it, struct bt_jj_val *out)
{
	struct each *e = it->ctx;
	enum bt_jj_step step;
	if (!prepare(r, it, prepare_select)) return BT_JJ_BROKEN;
	while ((step = bt_jj_iter_next(r, it->from, out)) == BT_JJ_ITEM) {
		struct bt_jj_val v = get(r, &e->get, *out);
		if (e->func && !bt_jj_is_fail(v)) v = bt_jj_call_native(r, e->func, v, &e->args);
		if (bt_jj_is_fail(v)) return BT_JJ_BROKEN;
		if (bt_jj_truth(v) != e->reject) return BT_JJ_ITEM;
	}
	return step;
}

struct bt_jj_val bt_jj_filter_select(struct bt_jj *r, struct bt_jj_call *c)
{
	return new_each(r, c, (struct each){0}, next_select);
}

struct bt_jj_val bt_jj_filter_reject(struct bt_jj *r, struct bt_jj_call *c)
{
	return new_each(r, c, (struct each){.reject = true}, next_select);
}

struct bt_jj_val bt_jj_filter_selectattr(struct bt_jj *r, struct bt_jj_call *c)
{
	return new_each(r, c, (struct each){.by_attribute = true}, next_select);
}

struct bt_jj_val bt_jj_filter_rejectattr(struct bt_jj *r, struct bt_jj_call *c)
{
	return new_each(r, c, (struct each){.by_attribute = true, .reject = true}, next_select);
}

/* The value of every element by g, as a list. */
static struct bt_jj_list *all_keys(struct bt_jj *r, const struct bt_jj_list *l, const struct getter *g)
{
	struct bt_jj_list *k = bt_jj_list_new(r, l->n);
	for (size_t i = 0; k && i < l->n; i++)
		if (!bt_jj_list_add(r, k, get(r, g, l->v[i]))) return NULL;
	return k;
}

struct bt_jj_val bt_jj_filter_join(struct bt_jj *r, struct bt_jj_call *c)
{
	struct getter g;
	struct bt_jj_val sep = bt_jj_given(c->arg[0]) ? bt_jj_to_str(r, c->arg[0]) : bt_jj_text_ref(r, "", 0),
			 items = c->self;
	if (bt_jj_is_fail(sep)) return sep;
	if (!r->autoescape) sep.markup = false;
	if (c->arg[1].type != BT_JJ_MISSING && c->arg[1].type != BT_JJ_NONE) {
		const struct bt_jj_list *l = bt_jj_to_list(r, items);
		if (!l || !getter(r, &g, c->arg[1], false, bt_jj_missing())) return bt_jj_failed();
		struct bt_jj_list *k = all_keys(r, l, &g);
		if (!k) return bt_jj_failed();
		items = bt_jj_of_list(k);
	}
	if (r->autoescape && !sep.markup) { /* one marked element marks, and so escapes, the whole */
		const struct bt_jj_list *l = bt_jj_to_list(r, items);
		if (!l) return bt_jj_failed();
		bool any = false;
		for (size_t i = 0; i < l->n; i++) any |= l->v[i].type == BT_JJ_STR && l->v[i].markup;
		items = bt_jj_of_list(l);
		if (any) sep = bt_jj_escape(r, sep);
		if (bt_jj_is_fail(sep)) return sep;
	}
	return bt_jj_join(r, sep, items, false);
}

/* A copy of v's elements, to be changed. */
static struct bt_jj_list *copy_of(struct bt_jj *r, struct bt_jj_val v)
{
	const struct bt_jj_list *l = bt_jj_to_list(r, v);
	struct bt_jj_list *out = l ? bt_jj_list_new(r, l->n) : NULL;
	if (!out) return NULL;
	if (l->n) memcpy(out->v, l->v, l->n * sizeof *l->v);
	out->n = l->n;
	return out;
}

/* What |sort compares: lists with one value per attribute, so that equal values need no order. */
static struct bt_jj_list *sort_keys(struct bt_jj *r, const struct bt_jj_list *l, struct bt_jj_val attribute, bool fold)
{
	struct getter g[8];
	size_t n = 0;
	if (attribute.type == BT_JJ_STR) {
		const char *s = attribute.s->s, *end = s + attribute.s->len;
		for (bool more = true; more; n++) {
			const char *comma = memchr(s, ',', (size_t)(end - s));
			struct bt_jj_val part = bt_jj_text_ref(r, s, (size_t)((comma ? comma : end) - s));
			if (n == sizeof g / sizeof *g) {
				bt_jj_fail_limit(r, "|sort takes at most %zu attributes", n);
				return NULL;
			}
			if (bt_jj_is_fail(part) || !getter(r, &g[n], part, fold, bt_jj_missing())) return NULL;
			more = comma;
			if (comma) s = comma + 1;
		}
	} else if (!getter(r, &g[n++], attribute, fold, bt_jj_missing())) {
		return NULL;
	}
	struct bt_jj_list *keys = bt_jj_list_new(r, l->n);
	for (size_t i = 0; keys && i < l->n; i++) {
		struct bt_jj_list *k = bt_jj_list_new(r, n);
		for (size_t j = 0; k && j < n; j++)
			if (!bt_jj_list_add(r, k, get(r, &g[j], l->v[i]))) return NULL;
		if (!k || !bt_jj_list_add(r, keys, bt_jj_of_list(k))) return NULL;
	}
	return keys;
}

struct bt_jj_val bt_jj_filter_sort(struct bt_jj *r, struct bt_jj_call *c)
{
	bool reverse;
	struct bt_jj_list *l = copy_of(r, c->self);
	if (!l || !bt_jj_arg_flag(r, c->arg[0], &reverse)) return bt_jj_failed();
	struct bt_jj_list *keys = sort_keys(r, l, c->arg[2], !bt_jj_arg_bool(c->arg[1], false));
	if (!keys || !bt_jj_sort(r, l->v, keys->v, l->n, reverse)) return bt_jj_failed();
	return bt_jj_of_list(l);
}

struct bt_jj_val bt_jj_filter_dictsort(struct bt_jj *r, struct bt_jj_call *c)
{
	struct bt_jj_val by = c->arg[1];
	bool value = bt_jj_str_is(by, "value");
	if (bt_jj_given(by) && !value && !bt_jj_str_is(by, "key"))
		return bt_jj_fail(r, "FilterArgumentError", "You can only sort by either \"key\" or \"value\"");
	if (c->self.type == BT_JJ_UNDEFINED) return bt_jj_fail_undefined(r, c->self);
	if (c->self.type != BT_JJ_DICT)
		return bt_jj_fail(r, "AttributeError", "'%s' object has no attribute 'items'",
		                  bt_jj_type_name(c->self));
	struct getter g;
	bool reverse;
	const struct bt_jj_dict *d = c->self.dict;
	struct bt_jj_list *l = bt_jj_list_new(r, d->n), *keys = bt_jj_list_new(r, d->n);
	if (!l || !keys || !getter(r, &g, bt_jj_none(), !bt_jj_arg_bool(c->arg[0], false), bt_jj_none()))
		return bt_jj_failed();
	for (size_t i = 0; i < d->n; i++) {
		if (!bt_jj_list_add(r, l, bt_jj_pair(r, d->e[i].key, d->e[i].val))) return bt_jj_failed();
		if (!bt_jj_list_add(r, keys, get(r, &g, value ? d->e[i].val : d->e[i].key))) return bt_jj_failed();
	}
	if (!bt_jj_arg_flag(r, c->arg[2], &reverse) || !bt_jj_sort(r, l->v, keys->v, l->n, reverse))
		return bt_jj_failed();
	return bt_jj_of_list(l);
}

static bool add_group(struct bt_jj *r, struct bt_jj_list *out, struct bt_jj_val key, struct bt_jj_list *items)
{
	struct bt_jj_list *pair = bt_jj_list_new(r, 2);
	if (!pair || !bt_jj_list_add(r, pair, key) || !bt_jj_list_add(r, pair, bt_jj_of_list(items))) return false;
	pair->group = true;
	return bt_jj_list_add(r, out, bt_jj_of_tuple(pair));
}

struct bt_jj_val bt_jj_filter_groupby(struct bt_jj *r, struct bt_jj_call *c)
{
	struct getter g, shown;
	bool fold = !bt_jj_arg_bool(c->arg[2], false);
	struct bt_jj_list *l = copy_of(r, c->self), *out = bt_jj_list_new(r, 0), *group = NULL;
	if (!l || !out || !getter(r, &g, c->arg[0], fold, c->arg[1]) || !getter(r, &shown, c->arg[0], false, c->arg[1]))
		return bt_jj_failed();
	struct bt_jj_list *keys = all_keys(r, l, &g);
	if (!keys || !bt_jj_sort(r, l->v, keys->v, l->n, false)) return bt_jj_failed();
	for (size_t i = 0; i < l->n; i++) {
		bool same = i && bt_jj_equal(r, keys->v[i - 1], keys->v[i]);
		if (r->err.status) return bt_jj_failed();
		if (!same) {
			/* The key shows as the first element of the group spells it. */
			group = bt_jj_list_new(r, 0);
			if (!group || !add_group(r, out, get(r, &shown, l->v[i]), group)) return bt_jj_failed();
		}
		if (!bt_jj_list_add(r, group, l->v[i])) return bt_jj_failed();
	}
	return bt_jj_of_list(out);
}

struct unique {
	struct getter get;
	struct bt_jj_dict seen;
};

static enum bt_jj_step next_unique(struct bt_jj *r, struct bt_jj_iter *it, struct bt_jj_val *out)
{
	struct unique *u = it->ctx;
	enum bt_jj_step step;
	while ((step = bt_jj_iter_next(r, it->from, out)) == BT_JJ_ITEM) {
		struct bt_jj_val key = get(r, &u->get, *out);
		size_t before = u->seen.n;
		if (bt_jj_is_fail(key) || !bt_jj_dict_set(r, &u->seen, key, bt_jj_none())) return BT_JJ_BROKEN;
		if (u->seen.n > before) return BT_JJ_ITEM;
	}
	return step;
}

struct bt_jj_val bt_jj_filter_unique(struct bt_jj *r, struct bt_jj_call *c)
{
	struct unique *u = bt_jj_alloc(r, sizeof *u);
	if (!u) return bt_jj_failed();
	*u = (struct unique){0};
	if (!getter(r, &u->get, c->arg[1], !bt_jj_arg_bool(c->arg[0], false), bt_jj_none())) return bt_jj_failed();
	return bt_jj_generator(r, c->self, next_unique, u);
}

struct bt_jj_val bt_jj_filter_sum(struct bt_jj *r, struct bt_jj_call *c)
{
	struct getter g;
	struct bt_jj_iter it;
	struct bt_jj_val v, sum = bt_jj_given(c->arg[1]) ? c->arg[1] : bt_jj_int(0);
	enum bt_jj_step step;
	if (sum.type == BT_JJ_STR)
		return bt_jj_fail(r, "TypeError", "sum() can't sum strings [use ''.join(seq) instead]");
	if (!getter(r, &g, c->arg[0], false, bt_jj_none()) || !bt_jj_iter_open(r, c->self, &it)) return bt_jj_failed();
	while ((step = bt_jj_iter_next(r, &it, &v)) == BT_JJ_ITEM) {
		v = get(r, &g, v);
		if (bt_jj_is_fail(v)) return v;
		sum = bt_jj_binary(r, BT_JJ_ADD, sum, v);
		if (bt_jj_is_fail(sum)) return sum;
	}
	return step == BT_JJ_BROKEN ? bt_jj_failed() : sum;
}

static struct bt_jj_val extreme(struct bt_jj *r, struct bt_jj_call *c, enum bt_jj_cmp better)
{
	struct getter g;
	struct bt_jj_iter it;
	struct bt_jj_val v, best = bt_jj_missing(), best_key = bt_jj_missing();
	enum bt_jj_step step;
	if (!getter(r, &g, c->arg[1], !bt_jj_arg_bool(c->arg[0], false), bt_jj_none()) ||
	    !bt_jj_iter_open(r, c->self, &it))
		return bt_jj_failed();
	while ((step = bt_jj_iter_next(r, &it, &v)) == BT_JJ_ITEM) {
		struct bt_jj_val key = get(r, &g, v);
		if (bt_jj_is_fail(key)) return key;
		struct bt_jj_val take = bt_jj_bool(true);
		if (bt_jj_given(best)) take = bt_jj_compare(r, better, key, best_key);
		if (bt_jj_is_fail(take)) return take;
		if (!take.b) continue;
		best = v;
		best_key = key;
	}
	if (step == BT_JJ_BROKEN) return bt_jj_failed();
	return bt_jj_given(best) ? best : bt_jj_undefined_hint(r, "No aggregated item, sequence was empty.");
}

struct bt_jj_val bt_jj_filter_min(struct bt_jj *r, struct bt_jj_call *c)
{
	return extreme(r, c, BT_JJ_LT);
}

struct bt_jj_val bt_jj_filter_max(struct bt_jj *r, struct bt_jj_call *c)
{
	return extreme(r, c, BT_JJ_GT);
}
