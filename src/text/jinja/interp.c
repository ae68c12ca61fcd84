/* interp.c: errors, limits, memory and text building of one rendering. */
#include "text/jinja/interp.h"
#include "text/jinja/unicode.h"

#include <stdarg.h>
#include <stdio.h>

/* Cut a sentence that is too long for struct baton_error between two characters. */
static void cut(char *s)
{
	size_t bad = bt_jj_utf8_check(s, strlen(s));
	if (s[bad] && strlen(s) - bad < 4) s[bad] = 0;
}

struct bt_jj_val bt_jj_fail(struct bt_jj *r, const char *kind, const char *fmt, ...)
{
	if (r->err.status) return bt_jj_failed();
	char text[sizeof r->err.text];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text - 64, fmt, ap);
	va_end(ap);
	cut(text);
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < ' ') *p = ' '; /* one line, whatever the template's words are */
	bt_fail(&r->err, BATON_ERR_TEMPLATE, "%s (%s, template line %d)", text, kind, r->line);
	return bt_jj_failed();
}

struct bt_jj_val bt_jj_fail_exact(struct bt_jj *r, const char *s, size_t len)
{
	if (r->err.status) return bt_jj_failed();
	size_t cap = sizeof r->err.text - 1;
	if (len > cap) len = cap;
	r->err.status = BATON_ERR_TEMPLATE;
	memcpy(r->err.text, s, len);
	r->err.text[len] = 0;
	cut(r->err.text);
	return bt_jj_failed();
}

struct bt_jj_val bt_jj_fail_limit(struct bt_jj *r, const char *fmt, ...)
{
	if (r->err.status) return bt_jj_failed();
	char text[sizeof r->err.text];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text - 64, fmt, ap);
	va_end(ap);
	bt_fail(&r->err, BATON_ERR_LIMIT, "%s (template line %d)", text, r->line);
	return bt_jj_failed();
}

void *bt_jj_alloc(struct bt_jj *r, size_t size)
{
	if (r->err.status) return NULL;
	void *p = bt_arena_alloc(&r->arena, size);
	if (p) return p;
	if (size > r->arena.limit || r->arena.used > r->arena.limit - size - 16)
		bt_jj_fail_limit(r, "the template needs more than its %zu MiB of memory", r->arena.limit >> 20);
	else bt_fail_nomem(&r->err, size, "rendering a template");
	return NULL;
}

void *bt_jj_alloc_array(struct bt_jj *r, size_t n, size_t size)
{
	size_t total;
	if (!bt_mul_size(n, size, &total)) total = SIZE_MAX;
	return bt_jj_alloc(r, total);
}

bool bt_jj_charge(struct bt_jj *r, size_t steps)
{
	r->steps += steps;
	if (r->steps <= r->max_steps) return !r->err.status;
	bt_jj_fail_limit(r, "the template runs for more than %llu steps", (unsigned long long)r->max_steps);
	return false;
}

bool bt_jj_enter(struct bt_jj *r)
{
	if (r->depth < BT_LIMIT_TEMPLATE_STACK) {
		r->depth++;
		return true;
	}
	bt_jj_fail_limit(r, "the template or a value in it is nested too deeply");
	return false;
}

static bool sb_room(struct bt_jj_sb *b, size_t len)
{
	if (b->failed) return false;
	if (len <= b->cap - b->len) return true;
	size_t need, cap = b->cap ? b->cap : 64;
	char *p = NULL;
	if (bt_add_size(b->len, len, &need)) {
		while (cap < need && cap < SIZE_MAX / 2) cap *= 2;
		p = bt_jj_charge_bytes(b->r, cap) ? bt_jj_alloc(b->r, cap) : NULL;
	} else {
		bt_jj_fail_limit(b->r, "a text is too long");
	}
	if (!p) {
		b->failed = true;
		return false;
	}
	if (b->len) memcpy(p, b->p, b->len);
	b->p = p;
	b->cap = cap;
	return true;
}

void bt_jj_sb_add(struct bt_jj_sb *b, const char *s, size_t len)
{
	if (!len || !sb_room(b, len)) return;
	memcpy(b->p + b->len, s, len);
	b->len += len;
}

void bt_jj_sb_adds(struct bt_jj_sb *b, const char *s)
{
	bt_jj_sb_add(b, s, strlen(s));
}

void bt_jj_sb_addc(struct bt_jj_sb *b, char c)
{
	bt_jj_sb_add(b, &c, 1);
}

void bt_jj_sb_cp(struct bt_jj_sb *b, uint32_t cp)
{
	char s[4];
	bt_jj_sb_add(b, s, bt_jj_utf8_put(cp, s));
}

void bt_jj_sb_str(struct bt_jj_sb *b, const struct bt_jj_str *s)
{
	bt_jj_sb_add(b, s->s, s->len);
}

void bt_jj_sb_fill(struct bt_jj_sb *b, uint32_t cp, size_t n)
{
	char s[4];
	size_t len = bt_jj_utf8_put(cp, s), total;
	if (!bt_mul_size(len, n, &total)) total = SIZE_MAX;
	if (!n || !sb_room(b, total)) return;
	if (len == 1) memset(b->p + b->len, s[0], n);
	else
		for (size_t i = 0; i < n; i++) memcpy(b->p + b->len + i * len, s, len);
	b->len += total;
}

struct bt_jj_val bt_jj_sb_done(struct bt_jj_sb *b)
{
	return b->failed || b->r->err.status ? bt_jj_failed() : bt_jj_text_ref(b->r, b->len ? b->p : "", b->len);
}

bool bt_jj_forgive(struct bt_jj *r)
{
	if (r->err.status == BATON_ERR_TEMPLATE) r->err.status = BATON_OK;
	return !r->err.status;
}
