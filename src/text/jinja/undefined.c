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

struct bt_jj_val bt_jj_fail_undefined(struct bt_jj *r, struct bt_jj_val v)
{
	const struct bt_jj_undef *u = v.undef;
	if (u->hint) return bt_jj_fail(r, "UndefinedError", "%.*s", shown(u->hint), u->hint->s);
	if (u->security)
		return bt_jj_fail(r, "SecurityError", "access to attribute '%.*s' of '%s' object is unsafe.",
		                  shown(u->name.s), u->name.s->s, bt_jj_type_name(u->obj));
	if (u->obj.type == BT_JJ_MISSING)
		return bt_jj_fail(r, "UndefinedError", "'%.*s' is undefined", shown(u->name.s), u->name.s->s);
	const char *type = bt_jj_type_name(u->obj), *tail = " object";
	if (u->obj.type == BT_JJ_NONE) type = "None", tail = "";
	if (u->name.type == BT_JJ_STR)
		return bt_jj_fail(r, "UndefinedError", "'%s%s' has no attribute '%.*s'", type, tail, shown(u->name.s),
		                  u->name.s->s);
	struct bt_jj_val key = bt_jj_repr(r, u->name);
	if (bt_jj_is_fail(key)) return key;
	return bt_jj_fail(r, "UndefinedError", "%s%s has no element %.*s", type, tail, shown(key.s), key.s->s);
}
