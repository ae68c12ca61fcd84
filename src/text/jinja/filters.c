/* filters.c: the table of filters, and those that work on one value of any kind. */
#include "text/jinja/filters.h"
#include "text/jinja/big.h"

#include <math.h>

static struct bt_jj_val recase(struct bt_jj *r, struct bt_jj_call *c, enum bt_jj_recase to)
{
	struct bt_jj_val s = bt_jj_to_str(r, c->self);
	if (bt_jj_is_fail(s)) return s;
	struct bt_jj_val v = bt_jj_recase(r, s.s, to);
	return s.markup ? bt_jj_mark(v) : v;
}

static struct bt_jj_val filter_lower(struct bt_jj *r, struct bt_jj_call *c)
{
	return recase(r, c, BT_JJ_TO_LOWER);
}

static struct bt_jj_val filter_upper(struct bt_jj *r, struct bt_jj_call *c)
{
	return recase(r, c, BT_JJ_TO_UPPER);
}

static struct bt_jj_val filter_capitalize(struct bt_jj *r, struct bt_jj_call *c)
{
	return recase(r, c, BT_JJ_TO_CAPITAL);
}

static struct bt_jj_val filter_center(struct bt_jj *r, struct bt_jj_call *c)
{
	int64_t width;
	struct bt_jj_val s = bt_jj_to_str(r, c->self);
	if (bt_jj_is_fail(s) || !bt_jj_arg_index(r, c->arg[0], 80, &width)) return bt_jj_failed();
	struct bt_jj_val v = bt_jj_justify(r, s.s, width, ' ', '^');
	return s.markup ? bt_jj_mark(v) : v;
}

static struct bt_jj_val filter_string(struct bt_jj *r, struct bt_jj_call *c)
{
	return bt_jj_to_str(r, c->self);
}

static struct bt_jj_val filter_safe(struct bt_jj *r, struct bt_jj_call *c)
{
	return bt_jj_mark(bt_jj_to_str(r, c->self));
}

static struct bt_jj_val filter_escape(struct bt_jj *r, struct bt_jj_call *c)
{
	return bt_jj_escape(r, c->self);
}

static struct bt_jj_val filter_forceescape(struct bt_jj *r, struct bt_jj_call *c)
{
	struct bt_jj_val s = bt_jj_to_str(r, c->self);
	s.markup = false;
	return bt_jj_is_fail(s) ? s : bt_jj_escape(r, s);
}

static struct bt_jj_val filter_default(struct bt_jj *r, struct bt_jj_call *c)
{
	if (c->self.type != BT_JJ_UNDEFINED && !(bt_jj_arg_bool(c->arg[1], false) && !bt_jj_truth(c->self)))
		return c->self;
	return bt_jj_given(c->arg[0]) ? c->arg[0] : bt_jj_text_ref(r, "", 0);
}

static struct bt_jj_val filter_abs(struct bt_jj *r, struct bt_jj_call *c)
{
	struct bt_jj_val v = c->self;
	if (v.type == BT_JJ_UNDEFINED) return bt_jj_fail_undefined(r, v);
	if (!bt_jj_is_number(v))
		return bt_jj_fail(r, "TypeError", "bad operand type for abs(): '%s'", bt_jj_type_name(v));
	if (v.type == BT_JJ_FLOAT) return bt_jj_float(fabs(v.f));
	return bt_jj_num_cmp(r, v, bt_jj_int(0)) < 0 ? bt_jj_num_neg(r, v) : bt_jj_positive(r, v);
}

static struct bt_jj_val filter_attr(struct bt_jj *r, struct bt_jj_call *c)
{
	struct bt_jj_val name = bt_jj_to_str(r, c->arg[0]);
	if (bt_jj_is_fail(name)) return name;
	struct bt_jj_val v = bt_jj_attribute(r, c->self, name.s);
	return v.type == BT_JJ_MISSING ? bt_jj_undefined_of(r, c->self, name) : v;
}

static struct bt_jj_val filter_float(struct bt_jj *r, struct bt_jj_call *c)
{
	struct bt_jj_val v = c->self, dflt = bt_jj_given(c->arg[0]) ? c->arg[0] : bt_jj_float(0);
	double d;
	if (v.type == BT_JJ_UNDEFINED) return bt_jj_fail_undefined(r, v);
	if (bt_jj_is_number(v)) return bt_jj_to_double(r, v, &d) ? bt_jj_float(d) : bt_jj_failed();
	if (v.type != BT_JJ_STR) return dflt;
	v = bt_jj_parse_float(r, v.s);
	return v.type == BT_JJ_MISSING ? dflt : v;
}

static struct bt_jj_val filter_int(struct bt_jj *r, struct bt_jj_call *c)
{
	struct bt_jj_val v = c->self, dflt = bt_jj_given(c->arg[0]) ? c->arg[0] : bt_jj_int(0);
	int64_t base = 1; /* one that no text has */
	if (v.type == BT_JJ_UNDEFINED) return bt_jj_fail_undefined(r, v);
	if (v.type == BT_JJ_FLOAT) return isnan(v.f) ? dflt : bt_jj_int_of_float(r, v.f);
	if (bt_jj_is_int(v)) return bt_jj_positive(r, v);
	if (v.type != BT_JJ_STR) return dflt;
	if (!bt_jj_given(c->arg[1]) || bt_jj_is_int(c->arg[1])) bt_jj_arg_index(r, c->arg[1], 10, &base);
	struct bt_jj_val i = bt_jj_parse_int(r, v.s, base >= 0 && base <= 36 ? (int)base : 1);
	if (i.type != BT_JJ_MISSING) return i;
	i = bt_jj_parse_float(r, v.s);
	return i.type == BT_JJ_FLOAT && isfinite(i.f) ? bt_jj_int_of_float(r, i.f) : dflt;
}

/* round(v, None): an int. */
static struct bt_jj_val to_int(struct bt_jj *r, struct bt_jj_val v)
{
	return v.type == BT_JJ_FLOAT ? bt_jj_int_of_float(r, rint(v.f)) : bt_jj_positive(r, v);
}

static struct bt_jj_val filter_round(struct bt_jj *r, struct bt_jj_call *c)
{
	struct bt_jj_val v = c->self, method = c->arg[1];
	int64_t digits;
	bool ceiling = bt_jj_str_is(method, "ceil"), down = bt_jj_str_is(method, "floor");
	if (bt_jj_given(method) && !ceiling && !down && !bt_jj_str_is(method, "common"))
		return bt_jj_fail(r, "FilterArgumentError", "method must be common, ceil or floor");
	if (v.type == BT_JJ_UNDEFINED) return bt_jj_fail_undefined(r, v);
	if (!bt_jj_is_number(v))
		return bt_jj_fail(r, "TypeError", "type %s doesn't define __round__ method", bt_jj_type_name(v));
	if (c->arg[0].type == BT_JJ_NONE && !ceiling && !down) return to_int(r, v);
	if (!bt_jj_arg_index(r, c->arg[0], 0, &digits)) return bt_jj_failed();
	if (!ceiling && !down) return bt_jj_round(r, v, digits);
	struct bt_jj_val scale = bt_jj_arith(r, BT_JJ_POW, bt_jj_int(10), bt_jj_int(digits));
	struct bt_jj_val scaled = bt_jj_is_fail(scale) ? scale : bt_jj_arith(r, BT_JJ_MUL, v, scale);
	double d;
	if (bt_jj_is_fail(scaled)) return scaled;
	if (scaled.type == BT_JJ_FLOAT) scaled = bt_jj_int_of_float(r, ceiling ? ceil(scaled.f) : floor(scaled.f));
	if (bt_jj_is_fail(scaled)) return scaled;
	scaled = bt_jj_arith(r, BT_JJ_DIV, scaled, scale);
	return !bt_jj_is_fail(scaled) && bt_jj_to_double(r, scaled, &d) ? bt_jj_float(d) : bt_jj_failed();
}

static struct bt_jj_val separator(struct bt_jj *r, struct bt_jj_val v, const char *dflt)
{
	if (v.type == BT_JJ_MISSING) return bt_jj_text_ref(r, dflt, strlen(dflt));
	if (v.type == BT_JJ_STR) return v;
	return bt_jj_fail(r, "TypeError", "a separator must be str, not %s", bt_jj_type_name(v));
}

static struct bt_jj_val filter_tojson(struct bt_jj *r, struct bt_jj_call *c)
{
	struct bt_jj_json_style st = {.ascii = bt_jj_arg_bool(c->arg[0], false),
	                              .sort_keys = bt_jj_arg_bool(c->arg[3], false)};
	struct bt_jj_val indent = c->arg[1], seps = c->arg[2], item = bt_jj_missing(), key = bt_jj_missing();
	if (c->self.type == BT_JJ_STR) return bt_jj_json_dump(r, c->self, &st); /* whatever the style */
	if (indent.type == BT_JJ_STR) {
		st.pretty = true;
		st.indent = indent;
	} else if (indent.type != BT_JJ_MISSING && indent.type != BT_JJ_NONE) {
		int64_t n;
		if (!bt_jj_arg_index(r, indent, 0, &n)) return bt_jj_failed();
		struct bt_jj_sb b = bt_jj_sb(r);
		if (n > 0) bt_jj_sb_fill(&b, ' ', (size_t)n);
		st.pretty = true;
		st.indent = bt_jj_sb_done(&b);
	}
	if (seps.type != BT_JJ_MISSING && seps.type != BT_JJ_NONE) {
		const struct bt_jj_list *l = bt_jj_to_list(r, seps);
		if (!l) return bt_jj_failed();
		if (l->n != 2)
			return bt_jj_fail(r, "ValueError",
			                  l->n > 2 ? "too many values to unpack (expected 2)"
			                           : "not enough values to unpack (expected 2, got %zu)",
			                  l->n);
		item = l->v[0];
		key = l->v[1];
	}
	st.item_sep = separator(r, item, st.pretty ? "," : ", ");
	st.key_sep = separator(r, key, ": ");
	return r->err.status ? bt_jj_failed() : bt_jj_json_dump(r, c->self, &st);
}

static struct bt_jj_val filter_urlize(struct bt_jj *r, struct bt_jj_call *c)
{
	(void)c;
	return bt_jj_fail(r, "TypeError", "the filter urlize is not supported here");
}

static const struct bt_jj_func filters[] = {
	{"abs", "", filter_abs},
	{"attr", "name", filter_attr},
	{"batch", "linecount,fill_with=", bt_jj_filter_batch},
	{"capitalize", "", filter_capitalize},
	{"center", "width=", filter_center},
	{"count", "", bt_jj_filter_length},
	{"d", "default_value=,boolean=", filter_default},
	{"default", "default_value=,boolean=", filter_default},
	{"dictsort", "case_sensitive=,by=,reverse=", bt_jj_filter_dictsort},
	{"e", "", filter_escape},
	{"escape", "", filter_escape},
	{"filesizeformat", "binary=", bt_jj_filter_filesizeformat},
	{"first", "", bt_jj_filter_first},
	{"float", "default=", filter_float},
	{"forceescape", "", filter_forceescape},
	{"format", "*,**", bt_jj_filter_format},
	{"groupby", "attribute,default=,case_sensitive=", bt_jj_filter_groupby},
	{"indent", "width=,first=,blank=", bt_jj_filter_indent},
	{"int", "default=,base=", filter_int},
	{"items", "", bt_jj_filter_items},
	{"join", "d=,attribute=", bt_jj_filter_join},
	{"last", "", bt_jj_filter_last},
	{"length", "", bt_jj_filter_length},
	{"list", "", bt_jj_filter_list},
	{"lower", "", filter_lower},
	{"map", "*,**", bt_jj_filter_map},
	{"max", "case_sensitive=,attribute=", bt_jj_filter_max},
	{"min", "case_sensitive=,attribute=", bt_jj_filter_min},
	{"pprint", "", bt_jj_filter_pprint},
	{"random", "", bt_jj_filter_random},
	{"reject", "*,**", bt_jj_filter_reject},
	{"rejectattr", "*,**", bt_jj_filter_rejectattr},
	{"replace", "old,new,count=", bt_jj_filter_replace},
	{"reverse", "", bt_jj_filter_reverse},
	{"round", "precision=,method=", filter_round},
	{"safe", "", filter_safe},
	{"select", "*,**", bt_jj_filter_select},
	{"selectattr", "*,**", bt_jj_filter_selectattr},
	{"slice", "slices,fill_with=", bt_jj_filter_slice},
	{"sort", "reverse=,case_sensitive=,attribute=", bt_jj_filter_sort},
	{"string", "", filter_string},
	{"striptags", "", bt_jj_filter_striptags},
	{"sum", "attribute=,start=", bt_jj_filter_sum},
	{"title", "", bt_jj_filter_title},
	{"tojson", "ensure_ascii=,indent=,separators=,sort_keys=", filter_tojson},
	{"trim", "chars=", bt_jj_filter_trim},
	{"truncate", "length=,killwords=,end=,leeway=", bt_jj_filter_truncate},
	{"unique", "case_sensitive=,attribute=", bt_jj_filter_unique},
	{"upper", "", filter_upper},
	{"urlencode", "", bt_jj_filter_urlencode},
	{"urlize", "*,**", filter_urlize},
	{"wordcount", "", bt_jj_filter_wordcount},
	{"wordwrap", "width=,break_long_words=,wrapstring=,break_on_hyphens=", bt_jj_filter_wordwrap},
	{"xmlattr", "autospace=", bt_jj_filter_xmlattr},
	{NULL, NULL, NULL},
};

const struct bt_jj_func *bt_jj_filter(const char *name, size_t len)
{
	return bt_jj_func_named(filters, name, len);
}
