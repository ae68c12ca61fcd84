/* undefined.c: the value of what is not there. It prints as nothing; any other use of it is an error that says what was
 * missing. */
#include "text/jinja/interp.h"

#include <stdarg.h>
#include <stdio.h>

static struct bt_jj_val make(struct bt_jj *r, struct bt_jj_undef u)
{
	struct bt_jj_undef *p = bt_jj_alloc(r, sizeof *p);
	if (!p) return bt_jj_failed();
	*p = u;
	return (struct bt_jj_val){.type = BT_JJ_UNDEFINED, .undef = p};
}

struct bt_jj_val bt_jj_undefined_name(struct bt_jj *r, const struct bt_jj_str *name)
{
	return make(r, (struct bt_jj_undef){.obj = bt_jj_missing(), .name = bt_jj_of_str(name)});
}

struct bt_jj_val bt_jj_undefined_of(struct bt_jj *r, struct bt_jj_val obj, struct bt_jj_val name)
{
	return make(r, (struct bt_jj_undef){.obj = obj, .name = name});
}

struct bt_jj_val bt_jj_undefined_unsafe(struct bt_jj *r, struct bt_jj_val obj, const struct bt_jj_str *name)
{
	return make(r, (struct bt_jj_undef){.obj = obj, .name = bt_jj_of_str(name), .security = true});
}

struct bt_jj_val bt_jj_undefined_hint(struct bt_jj *r, const char *fmt, ...)
{
	char buf[400];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(buf, sizeof buf, fmt, ap);
	va_end(ap);
	struct bt_jj_val hint = bt_jj_text(r, buf, strlen(buf));
	if (bt_jj_is_fail(hint)) return hint;
	return make(r, (struct bt_jj_undef){.hint = hint.s, .obj = bt_jj_missing(), .name = bt_jj_missing()});
}

/* At most this much of a name goes into a message. */
#define NAME_MAX_SHOWN 200

static int shown(const struct bt_jj_str *s)
{
	return (int)(s->len < NAME_MAX_SHOWN ? s->len : NAME_MAX_SHOWN);
}

/* Python names the module of what is not built in. */
static const char *module_of(struct bt_jj_val v)
{
	switch (v.type) {
	case BT_JJ_MACRO:
	case BT_JJ_LOOP: return "jinja2.runtime.";
	case BT_JJ_CYCLER:
	case BT_JJ_JOINER: return "jinja2.utils.";
	case BT_JJ_STR: return v.markup ? "markupsafe." : "";
	default: return "";
	}
}

struct bt_jj_val bt_jj_fail_undefined(struct bt_jj *r, struct bt_jj_val v)
{
	const struct bt_jj_undef *u = v.undef;
	if (u->hint) return bt_jj_fail(r, "UndefinedError", "%.*s", shown(u->hint), u->hint->s);
	struct bt_jj_val name = bt_jj_repr(r, u->name);
	if (bt_jj_is_fail(name)) return name;
	int len = shown(name.s);
	const char *s = name.s->s, *type = bt_jj_type_name(u->obj), *tail = " object";
	if (u->security)
		return bt_jj_fail(r, "SecurityError", "access to attribute %.*s of '%s' object is unsafe.", len, s,
		                  type);
	if (u->obj.type == BT_JJ_MISSING) return bt_jj_fail(r, "UndefinedError", "%.*s is undefined", len, s);
	if (u->obj.type == BT_JJ_NONE) type = "None", tail = "";
	const char *module = module_of(u->obj);
	if (u->name.type == BT_JJ_STR)
		return bt_jj_fail(r, "UndefinedError", "'%s%s%s' has no attribute %.*s", module, type, tail, len, s);
	return bt_jj_fail(r, "UndefinedError", "%s%s%s has no element %.*s", module, type, tail, len, s);
}
