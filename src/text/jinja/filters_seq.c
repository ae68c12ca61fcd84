#include "text/jinja/exec.h"
#include "text/jinja/filters.h"

static bool is_given(struct bt_jj_val fill)
{
	return fill.type != BT_JJ_MISSING && fill.type != BT_JJ_NONE;
}

struct batches {
	struct bt_jj_val size; /* anything: only a length that equals it ends a batch */
	struct bt_jj_val fill;
	struct bt_jj_val held; /* the first of the next batch; MISSING: none yet */
};

static bool fill_up(struct bt_jj *r, struct bt_jj_list *l, const struct batches *c)
{
	int64_t size;
	if (!is_given(c->fill)) return true;
	struct bt_jj_val less = bt_jj_compare(r, BT_JJ_LT, bt_jj_int((int64_t)l->n), c->size);
	if (bt_jj_is_fail(less) || !less.b) return !bt_jj_is_fail(less);
	if (!bt_jj_is_int(c->size)) {
		bt_jj_fail(r, "TypeError", "can't multiply sequence by non-int of type '%s'", bt_jj_type_name(c->size));
		return false;
	}
	bt_jj_arg_index(r, c->size, 0, &size);
	while ((int64_t)l->n < size)
		if (!bt_jj_charge(r, 1) || !bt_jj_list_add(r, l, c->fill)) return false;
	return true;
}

static enum bt_jj_step next_batch(struct bt_jj *r, struct bt_jj_iter *it, struct bt_jj_val *out)
{
	struct batches *c = it->ctx;
	struct bt_jj_list *l = bt_jj_list_new(r, 0);
	struct bt_jj_val v;
	enum bt_jj_step step;
	if (!l || (bt_jj_given(c->held) && !bt_jj_list_add(r, l, c->held))) return BT_JJ_BROKEN;
	c->held = bt_jj_missing();
	*out = bt_jj_of_list(l);
	while ((step = bt_jj_iter_next(r, it->from, &v)) == BT_JJ_ITEM) {
		if (bt_jj_equal(r, bt_jj_int((int64_t)l->n), c->size)) {
			c->held = v;
			return BT_JJ_ITEM;
		}
		if (r->err.status || !bt_jj_list_add(r, l, v)) return BT_JJ_BROKEN;
	}
	if (step == BT_JJ_BROKEN || !l->n) return step;
	return fill_up(r, l, c) ? BT_JJ_ITEM : BT_JJ_BROKEN;
}

struct bt_jj_val bt_jj_filter_batch(struct bt_jj *r, struct bt_jj_call *c)
{
	struct batches *b = bt_jj_alloc(r, sizeof *b);
	if (!b) return bt_jj_failed();
	*b = (struct batches){.size = c->arg[0], .fill = c->arg[1], .held = bt_jj_missing()};
	return bt_jj_generator(r, c->self, next_batch, b);
}

struct slices {
	int64_t n;
	struct bt_jj_val fill;
	const struct bt_jj_list *all;
	int64_t next, offset;
};

static enum bt_jj_step next_slice(struct bt_jj *r, struct bt_jj_iter *it, struct bt_jj_val *out)
{
	struct slices *c = it->ctx;
	if (!c->all && !(c->all = bt_jj_to_list(r, it->src))) return BT_JJ_BROKEN;
	if (c->n == 0) {
		bt_jj_fail(r, "ZeroDivisionError", "integer division or modulo by zero");
		return BT_JJ_BROKEN;
	}
	if (c->next >= c->n) return BT_JJ_STOP;
	int64_t len = (int64_t)c->all->n, per = len / c->n, extra = len % c->n, start = c->offset + c->next * per;
	if (c->next < extra) c->offset++;
	int64_t end = c->offset + (c->next + 1) * per;
	struct bt_jj_list *l = bt_jj_list_new(r, (size_t)(end - start) + 1);
	for (int64_t i = start; l && i < end; i++) bt_jj_list_add(r, l, c->all->v[i]);
	if (!l || !bt_jj_charge(r, l->n / 4)) return BT_JJ_BROKEN;
	if (is_given(c->fill) && c->next >= extra && !bt_jj_list_add(r, l, c->fill)) return BT_JJ_BROKEN;
	c->next++;
	*out = bt_jj_of_list(l);
	return BT_JJ_ITEM;
}

struct bt_jj_val bt_jj_filter_slice(struct bt_jj *r, struct bt_jj_call *c)
{
	struct slices *s = bt_jj_alloc(r, sizeof *s);
	if (!s) return bt_jj_failed();
	*s = (struct slices){.fill = c->arg[1]};
	return bt_jj_arg_index(r, c->arg[0], 0, &s->n) ? bt_jj_generator(r, c->self, next_slice, s) : bt_jj_failed();
}

struct bt_jj_val bt_jj_filter_first(struct bt_jj *r, struct bt_jj_call *c)
{
	struct bt_jj_iter it;
	struct bt_jj_val v;
	if (!bt_jj_iter_open(r, c->self, &it)) return bt_jj_failed();
	enum bt_jj_step step = bt_jj_iter_next(r, &it, &v);
	if (step == BT_JJ_ITEM) return v;
	return step == BT_JJ_STOP ? bt_jj_undefined_hint(r, "No first item, sequence was empty.") : bt_jj_failed();
}

/* The elements of what reversed() takes, in order; NULL, without an error, for anything else. */
static const struct bt_jj_list *reversible(struct bt_jj *r, struct bt_jj_val v)
{
	if (v.type == BT_JJ_ITER || !bt_jj_iterable(v)) return NULL;
	return bt_jj_to_list(r, v);
}

struct bt_jj_val bt_jj_filter_last(struct bt_jj *r, struct bt_jj_call *c)
{
	struct bt_jj_val v = c->self;
	size_t n;
	if ((v.type == BT_JJ_LIST || v.type == BT_JJ_TUPLE || v.type == BT_JJ_STR || v.type == BT_JJ_RANGE) &&
	    bt_jj_len(v, &n) && n)
		return bt_jj_at(r, v, n - 1);
	const struct bt_jj_list *l = reversible(r, v);
	if (!l) return bt_jj_fail(r, "TypeError", "'%s' object is not reversible", bt_jj_type_name(v));
	return l->n ? l->v[l->n - 1] : bt_jj_undefined_hint(r, "No last item, sequence was empty.");
}

struct bt_jj_val bt_jj_filter_random(struct bt_jj *r, struct bt_jj_call *c)
{
	size_t n;
	if (c->self.type == BT_JJ_DICT || c->self.type == BT_JJ_VIEW || !bt_jj_len(c->self, &n))
		return bt_jj_fail(r, "TypeError", "object of type '%s' has no len()", bt_jj_type_name(c->self));
	if (!n) return bt_jj_undefined_hint(r, "No random item, sequence was empty.");
	/* SplitMix64 (Steele, Lea, Flood 2014) */
	uint64_t z = r->random += 0x9E3779B97F4A7C15u;
	z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
	z = (z ^ z >> 27) * 0x94D049BB133111EBu;
	return bt_jj_at(r, c->self, (size_t)((z ^ z >> 31) % n));
}

struct bt_jj_val bt_jj_filter_length(struct bt_jj *r, struct bt_jj_call *c)
{
	size_t n;
	static const struct bt_jj_str length = {.s = "length", .len = 6, .n = 6};
	if (c->self.type == BT_JJ_LOOP) return bt_jj_loop_attr(r, c->self.loop, &length);
	if (bt_jj_len(c->self, &n)) return bt_jj_int((int64_t)n);
	return bt_jj_fail(r, "TypeError", "object of type '%s' has no len()", bt_jj_type_name(c->self));
}

struct bt_jj_val bt_jj_filter_list(struct bt_jj *r, struct bt_jj_call *c)
{
	const struct bt_jj_list *l = bt_jj_to_list(r, c->self);
	return l ? bt_jj_of_list(l) : bt_jj_failed();
}

static enum bt_jj_step next_item(struct bt_jj *r, struct bt_jj_iter *it, struct bt_jj_val *out)
{
	const struct bt_jj_dict *d = it->src.dict;
	if (it->src.type == BT_JJ_UNDEFINED) return BT_JJ_STOP;
	if (it->src.type != BT_JJ_DICT) {
		bt_jj_fail(r, "TypeError", "Can only get item pairs from a mapping.");
		return BT_JJ_BROKEN;
	}
	if (it->i >= d->n) return BT_JJ_STOP;
	*out = bt_jj_pair(r, d->e[it->i].key, d->e[it->i].val);
	it->i++;
	return bt_jj_is_fail(*out) ? BT_JJ_BROKEN : BT_JJ_ITEM;
}

struct bt_jj_val bt_jj_filter_items(struct bt_jj *r, struct bt_jj_call *c)
{
	struct bt_jj_iter *it = bt_jj_alloc(r, sizeof *it);
	if (!it) return bt_jj_failed();
	*it = (struct bt_jj_iter){.next = next_item, .src = c->self, .what = "generator"};
	return (struct bt_jj_val){.type = BT_JJ_ITER, .iter = it};
}

static enum bt_jj_step next_reversed(struct bt_jj *r, struct bt_jj_iter *it, struct bt_jj_val *out)
{
	size_t n = 0;
	bt_jj_len(it->src, &n);
	if (it->i >= n) return BT_JJ_STOP;
	*out = bt_jj_at(r, it->src, n - 1 - it->i++);
	return bt_jj_is_fail(*out) ? BT_JJ_BROKEN : BT_JJ_ITEM;
}

static struct bt_jj_val reversed_str(struct bt_jj *r, struct bt_jj_val s)
{
	struct bt_jj_sb b = bt_jj_sb(r);
	for (size_t at = s.s->len; at && !b.failed;) {
		size_t from = bt_jj_utf8_back(s.s->s, at);
		bt_jj_sb_add(&b, s.s->s + from, at - from);
		at = from;
	}
	struct bt_jj_val v = bt_jj_sb_done(&b);
	return s.markup ? bt_jj_mark(v) : v;
}

struct bt_jj_val bt_jj_filter_reverse(struct bt_jj *r, struct bt_jj_call *c)
{
	struct bt_jj_val v = c->self;
	if (v.type == BT_JJ_STR) return bt_jj_charge(r, v.s->len / 16) ? reversed_str(r, v) : bt_jj_failed();
	if (!bt_jj_iterable(v)) return bt_jj_fail(r, "FilterArgumentError", "argument must be iterable");
	bool generator = v.type == BT_JJ_ITER;
	const struct bt_jj_list *l = bt_jj_to_list(r, v);
	if (!l) return bt_jj_failed();
	if (generator) { /* it can't be walked backwards: a list is made of it */
		struct bt_jj_list *out = bt_jj_list_new(r, l->n);
		for (size_t i = l->n; out && i--;) bt_jj_list_add(r, out, l->v[i]);
		return out ? bt_jj_of_list(out) : bt_jj_failed();
	}
	struct bt_jj_iter *it = bt_jj_alloc(r, sizeof *it);
	if (!it) return bt_jj_failed();
	*it = (struct bt_jj_iter){.next = next_reversed, .src = bt_jj_of_list(l)};
	it->what = v.type == BT_JJ_LIST    ? "list_reverseiterator"
	           : v.type == BT_JJ_RANGE ? "range_iterator"
	                                   : "reversed";
	return (struct bt_jj_val){.type = BT_JJ_ITER, .iter = it};
}
