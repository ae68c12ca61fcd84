/* iter.c: walking values, and generators. */
#include "text/jinja/interp.h"
#include "text/jinja/unicode.h"

static enum bt_jj_step next_list(struct bt_jj *r, struct bt_jj_iter *it, struct bt_jj_val *out)
{
	(void)r;
	if (it->i >= it->src.list->n) return BT_JJ_STOP;
	*out = it->src.list->v[it->i++];
	return BT_JJ_ITEM;
}

static enum bt_jj_step next_char(struct bt_jj *r, struct bt_jj_iter *it, struct bt_jj_val *out)
{
	const struct bt_jj_str *s = it->src.s;
	uint32_t cp;
	if (it->i >= s->len) return BT_JJ_STOP;
	size_t n = bt_jj_utf8_get(s->s + it->i, s->len - it->i, &cp);
	*out = bt_jj_text_ref(r, s->s + it->i, n);
	it->i += n;
	return bt_jj_is_fail(*out) ? BT_JJ_BROKEN : BT_JJ_ITEM;
}

static enum bt_jj_step next_entry(struct bt_jj *r, struct bt_jj_iter *it, struct bt_jj_val *out)
{
	const struct bt_jj_dict *d = it->src.type == BT_JJ_DICT ? it->src.dict : it->src.view->dict;
	enum bt_jj_view_kind kind = it->src.type == BT_JJ_DICT ? BT_JJ_KEYS : it->src.view->kind;
	if (it->i >= d->n) return BT_JJ_STOP;
	const struct bt_jj_entry *e = &d->e[it->i++];
	*out = kind == BT_JJ_KEYS ? e->key : kind == BT_JJ_VALUES ? e->val : bt_jj_pair(r, e->key, e->val);
	return bt_jj_is_fail(*out) ? BT_JJ_BROKEN : BT_JJ_ITEM;
}

static enum bt_jj_step next_range(struct bt_jj *r, struct bt_jj_iter *it, struct bt_jj_val *out)
{
	if (it->i >= it->src.range->n) return BT_JJ_STOP;
	*out = bt_jj_at(r, it->src, it->i++);
	return BT_JJ_ITEM;
}

static enum bt_jj_step next_none(struct bt_jj *r, struct bt_jj_iter *it, struct bt_jj_val *out)
{
	(void)r, (void)it, (void)out;
	return BT_JJ_STOP;
}

static enum bt_jj_step next_generator(struct bt_jj *r, struct bt_jj_iter *it, struct bt_jj_val *out)
{
	return bt_jj_iter_next(r, it->src.iter, out);
}

typedef enum bt_jj_step (*next_fn)(struct bt_jj *r, struct bt_jj_iter *it, struct bt_jj_val *out);

static const next_fn next_of[BT_JJ_TYPES] = {
	[BT_JJ_UNDEFINED] = next_none, [BT_JJ_STR] = next_char,       [BT_JJ_LIST] = next_list,
	[BT_JJ_TUPLE] = next_list,     [BT_JJ_DICT] = next_entry,     [BT_JJ_VIEW] = next_entry,
	[BT_JJ_RANGE] = next_range,    [BT_JJ_ITER] = next_generator,
};

bool bt_jj_iterable(struct bt_jj_val v)
{
	return v.type < BT_JJ_TYPES && next_of[v.type];
}

bool bt_jj_iter_open(struct bt_jj *r, struct bt_jj_val v, struct bt_jj_iter *it)
{
	if (v.type == BT_JJ_FAIL) return false;
	if (v.type >= BT_JJ_TYPES || !next_of[v.type]) {
		bt_jj_fail(r, "TypeError", "'%s' object is not iterable", bt_jj_type_name(v));
		return false;
	}
	*it = (struct bt_jj_iter){.next = next_of[v.type], .src = v, .what = "iterator"};
	return true;
}

enum bt_jj_step bt_jj_iter_next(struct bt_jj *r, struct bt_jj_iter *it, struct bt_jj_val *out)
{
	if (!bt_jj_charge(r, 1) || !bt_jj_enter(r)) return BT_JJ_BROKEN;
	enum bt_jj_step step = it->next(r, it, out);
	bt_jj_leave(r);
	return r->err.status ? BT_JJ_BROKEN : step;
}

const struct bt_jj_list *bt_jj_to_list(struct bt_jj *r, struct bt_jj_val v)
{
	if (v.type == BT_JJ_LIST || v.type == BT_JJ_TUPLE) return v.list;
	struct bt_jj_iter it;
	struct bt_jj_val e;
	enum bt_jj_step step;
	size_t n = 0;
	if (!bt_jj_iter_open(r, v, &it)) return NULL;
	bt_jj_len(v, &n);
	struct bt_jj_list *l = bt_jj_list_new(r, n);
	if (!l) return NULL;
	while ((step = bt_jj_iter_next(r, &it, &e)) == BT_JJ_ITEM)
		if (!bt_jj_list_add(r, l, e)) return NULL;
	return step == BT_JJ_BROKEN ? NULL : l;
}

struct bt_jj_val bt_jj_generator(struct bt_jj *r, struct bt_jj_val src, next_fn next, void *ctx)
{
	struct bt_jj_iter *it = bt_jj_alloc(r, sizeof *it), *from = bt_jj_alloc(r, sizeof *from);
	if (!it || !from || !bt_jj_iter_open(r, src, from)) return bt_jj_failed();
	*it = (struct bt_jj_iter){.next = next, .src = src, .what = "generator", .from = from, .ctx = ctx};
	return (struct bt_jj_val){.type = BT_JJ_ITER, .iter = it};
}
