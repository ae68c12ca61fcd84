/* pprint.c: |pprint, Python's pprint.pformat: what does not fit into 80 columns is broken, one element a line; the keys
 * of dicts are sorted. */
#include "text/jinja/filters.h"
#include "text/jinja/sort.h"

#define WIDTH 80

static void pretty(struct bt_jj_sb *b, struct bt_jj_val v, size_t indent, size_t allowance);

/* A dict with sorted keys; keys without an order stay as they are. */
static struct bt_jj_val sorted(struct bt_jj *r, struct bt_jj_val v)
{
	if (v.type != BT_JJ_DICT && v.type != BT_JJ_LIST && v.type != BT_JJ_TUPLE) return v;
	if (!bt_jj_enter(r)) return bt_jj_failed();
	struct bt_jj_val out = bt_jj_failed();
	if (v.type == BT_JJ_DICT) {
		const struct bt_jj_list *keys = bt_jj_sorted_keys(r, v.dict);
		if (!keys && !bt_jj_forgive(r)) goto done;
		struct bt_jj_dict *d = bt_jj_dict_new(r, v.dict->n);
		for (size_t i = 0; d && i < v.dict->n; i++) {
			struct bt_jj_val key = keys ? keys->v[i] : v.dict->e[i].key;
			struct bt_jj_val val = bt_jj_dict_get(r, v.dict, key);
			if (!bt_jj_dict_set(r, d, key, sorted(r, val))) goto done;
		}
		if (d) out = bt_jj_of_dict(d);
	} else {
		struct bt_jj_list *l = bt_jj_list_new(r, v.list->n);
		for (size_t i = 0; l && i < v.list->n; i++)
			if (!bt_jj_list_add(r, l, sorted(r, v.list->v[i]))) goto done;
		if (l) out = v.type == BT_JJ_LIST ? bt_jj_of_list(l) : bt_jj_of_tuple(l);
	}
done:
	bt_jj_leave(r);
	return out;
}

static void new_line(struct bt_jj_sb *b, size_t indent)
{
	bt_jj_sb_adds(b, ",\n");
	bt_jj_sb_fill(b, ' ', indent);
}

static void pretty_dict(struct bt_jj_sb *b, const struct bt_jj_dict *d, size_t indent, size_t allowance)
{
	bt_jj_sb_addc(b, '{');
	for (size_t i = 0; i < d->n && !b->failed; i++) {
		if (i) new_line(b, indent + 1);
		struct bt_jj_val key = bt_jj_repr(b->r, d->e[i].key);
		if (bt_jj_is_fail(key)) {
			b->failed = true;
			return;
		}
		bt_jj_sb_str(b, key.s);
		bt_jj_sb_adds(b, ": ");
		pretty(b, d->e[i].val, indent + 1 + key.s->n + 2, i + 1 == d->n ? allowance + 1 : 1);
	}
	bt_jj_sb_addc(b, '}');
}

static void pretty_list(struct bt_jj_sb *b, struct bt_jj_val v, size_t indent, size_t allowance)
{
	bool tuple = v.type == BT_JJ_TUPLE;
	const char *close = !tuple ? "]" : v.list->n == 1 ? ",)" : ")";
	bt_jj_sb_addc(b, tuple ? '(' : '[');
	for (size_t i = 0; i < v.list->n && !b->failed; i++) {
		if (i) new_line(b, indent + 1);
		pretty(b, v.list->v[i], indent + 1, i + 1 == v.list->n ? allowance + strlen(close) : 1);
	}
	bt_jj_sb_adds(b, close);
}

static void pretty(struct bt_jj_sb *b, struct bt_jj_val v, size_t indent, size_t allowance)
{
	struct bt_jj_val text = b->failed ? bt_jj_failed() : bt_jj_repr(b->r, v);
	if (bt_jj_is_fail(text) || !bt_jj_enter(b->r)) {
		b->failed = true;
		return;
	}
	bool fits = text.s->n + indent + allowance <= WIDTH;
	if (!fits && v.type == BT_JJ_DICT && v.dict->n) pretty_dict(b, v.dict, indent, allowance);
	else if (!fits && (v.type == BT_JJ_LIST || v.type == BT_JJ_TUPLE) && v.list->n)
		pretty_list(b, v, indent, allowance);
	else bt_jj_sb_str(b, text.s);
	bt_jj_leave(b->r);
}

struct bt_jj_val bt_jj_filter_pprint(struct bt_jj *r, struct bt_jj_call *c)
{
	struct bt_jj_val v = sorted(r, c->self);
	struct bt_jj_sb b = bt_jj_sb(r);
	if (bt_jj_is_fail(v)) return v;
	pretty(&b, v, 0, 0);
	return bt_jj_sb_done(&b);
}
