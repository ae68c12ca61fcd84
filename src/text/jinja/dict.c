/* dict.c: insertion-ordered dicts with Python's equality of keys. */
#include "text/jinja/big.h"
#include "text/jinja/interp.h"

#define SMALL 8 /* up to this many entries are searched in a row */

static uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0x9E3779B97F4A7C15u;
	return h ^ h >> 29;
}

static uint64_t hash_bytes(const char *s, size_t len)
{
	uint64_t h = 0xCBF29CE484222325u ^ len;
	for (; len >= 8; s += 8, len -= 8) {
		uint64_t w;
		memcpy(&w, s, 8);
		h = mix(h, w);
	}
	uint64_t w = 0;
	if (len) memcpy(&w, s, len);
	return mix(h, w);
}

static uint64_t hash_double(double f)
{
	if (f >= -0x1p63 && f < 0x1p63 && f == (double)(int64_t)f) return mix(1, (uint64_t)(int64_t)f);
	uint64_t bits;
	memcpy(&bits, &f, sizeof bits);
	return mix(2, bits);
}

bool bt_jj_hash(struct bt_jj *r, struct bt_jj_val v, uint64_t *out)
{
	switch (v.type) {
	case BT_JJ_NONE: *out = 0x5A5A; return true;
	case BT_JJ_UNDEFINED: *out = 0xA5A5; return true;
	case BT_JJ_BOOL:
	case BT_JJ_INT: *out = mix(1, (uint64_t)bt_jj_small(v)); return true;
	case BT_JJ_FLOAT: *out = hash_double(v.f); return true;
	case BT_JJ_BIG: *out = hash_double(bt_jj_big_double(v.big)); return true;
	case BT_JJ_STR: *out = hash_bytes(v.s->s, v.s->len); return bt_jj_charge_bytes(r, v.s->len);
	case BT_JJ_TUPLE: {
		uint64_t h = v.list->n, e = 0;
		if (!bt_jj_enter(r)) return false;
		bool ok = bt_jj_charge(r, v.list->n);
		for (size_t i = 0; ok && i < v.list->n; i++) {
			ok = bt_jj_hash(r, v.list->v[i], &e);
			h = mix(h, e);
		}
		bt_jj_leave(r);
		*out = h;
		return ok;
	}
	case BT_JJ_LIST:
	case BT_JJ_DICT:
	case BT_JJ_SLICE:
	case BT_JJ_VIEW:
		if (v.type == BT_JJ_VIEW && v.view->kind == BT_JJ_VALUES) break;
		bt_jj_fail(r, "TypeError", "unhashable type: '%s'", bt_jj_type_name(v));
		return false;
	case BT_JJ_RANGE: *out = mix(3, v.range->n); return true;
	case BT_JJ_METHOD: *out = mix(4, (uint64_t)(uintptr_t)v.method->func); return true;
	default: break;
	}
	*out = mix(5, (uint64_t)(uintptr_t)v.p);
	return true;
}

struct bt_jj_dict *bt_jj_dict_new(struct bt_jj *r, size_t cap)
{
	struct bt_jj_dict *d = bt_jj_alloc(r, sizeof *d);
	if (!d) return NULL;
	*d = (struct bt_jj_dict){.cap = cap};
	if (cap && !(d->e = bt_jj_alloc_array(r, cap, sizeof *d->e))) return NULL;
	return d;
}

/* The entry of key, d->n when there is none, SIZE_MAX on failure. */
static size_t find(struct bt_jj *r, const struct bt_jj_dict *d, struct bt_jj_val key, uint64_t h)
{
	if (!d->index) {
		for (size_t i = 0; i < d->n; i++) {
			if (d->e[i].hash == h && (bt_jj_same(d->e[i].key, key) || bt_jj_equal(r, d->e[i].key, key)))
				return i;
			if (r->err.status) return SIZE_MAX;
		}
		return d->n;
	}
	for (size_t at = h & (d->n_index - 1);; at = (at + 1) & (d->n_index - 1)) {
		uint32_t slot = d->index[at];
		if (!slot) return d->n;
		if (!bt_jj_charge(r, 1)) return SIZE_MAX;
		const struct bt_jj_entry *e = &d->e[slot - 1];
		if (e->hash == h && (bt_jj_same(e->key, key) || bt_jj_equal(r, e->key, key))) return slot - 1;
		if (r->err.status) return SIZE_MAX;
	}
}

static void index_add(struct bt_jj_dict *d, size_t i)
{
	size_t at = d->e[i].hash & (d->n_index - 1);
	while (d->index[at]) at = (at + 1) & (d->n_index - 1);
	d->index[at] = (uint32_t)i + 1;
}

static bool grow(struct bt_jj *r, struct bt_jj_dict *d)
{
	size_t cap = d->cap ? d->cap * 2 : 4;
	if (cap > UINT32_MAX / 4) {
		bt_jj_fail_limit(r, "a dict has too many entries");
		return false;
	}
	struct bt_jj_entry *e = bt_jj_alloc_array(r, cap, sizeof *e);
	if (!e) return false;
	if (d->n) memcpy(e, d->e, d->n * sizeof *e);
	d->e = e;
	d->cap = cap;
	return true;
}

static bool reindex(struct bt_jj *r, struct bt_jj_dict *d)
{
	size_t n = 32;
	while (n < d->cap * 2) n *= 2;
	d->index = bt_jj_alloc_array(r, n, sizeof *d->index);
	if (!d->index) return false;
	memset(d->index, 0, n * sizeof *d->index);
	d->n_index = n;
	for (size_t i = 0; i < d->n; i++) index_add(d, i);
	return true;
}

bool bt_jj_dict_set(struct bt_jj *r, struct bt_jj_dict *d, struct bt_jj_val key, struct bt_jj_val val)
{
	uint64_t h;
	if (key.type == BT_JJ_FAIL || val.type == BT_JJ_FAIL || !bt_jj_hash(r, key, &h)) return false;
	size_t i = find(r, d, key, h);
	if (i == SIZE_MAX) return false;
	if (i < d->n) {
		d->e[i].val = val;
		return true;
	}
	bool grown = d->n == d->cap;
	if (grown && !grow(r, d)) return false;
	d->e[d->n++] = (struct bt_jj_entry){.key = key, .val = val, .hash = h};
	if (d->n > SMALL && (grown || !d->index)) return reindex(r, d);
	if (d->index) index_add(d, d->n - 1);
	return true;
}

bool bt_jj_dict_sets(struct bt_jj *r, struct bt_jj_dict *d, const char *key, struct bt_jj_val val)
{
	return bt_jj_dict_set(r, d, bt_jj_text_ref(r, key, strlen(key)), val);
}

struct bt_jj_val bt_jj_dict_get(struct bt_jj *r, const struct bt_jj_dict *d, struct bt_jj_val key)
{
	uint64_t h;
	if (!bt_jj_hash(r, key, &h)) return bt_jj_failed();
	size_t i = find(r, d, key, h);
	return i == SIZE_MAX ? bt_jj_failed() : i < d->n ? d->e[i].val : bt_jj_missing();
}

struct bt_jj_val bt_jj_dict_gets(struct bt_jj *r, const struct bt_jj_dict *d, const char *key)
{
	struct bt_jj_str s = {.s = key, .len = strlen(key), .n = strlen(key)};
	return bt_jj_dict_get(r, d, bt_jj_of_str(&s));
}

bool bt_jj_dict_merge(struct bt_jj *r, struct bt_jj_dict *d, const struct bt_jj_dict *src)
{
	for (size_t i = 0; i < src->n; i++)
		if (!bt_jj_charge(r, 1) || !bt_jj_dict_set(r, d, src->e[i].key, src->e[i].val)) return false;
	return true;
}
