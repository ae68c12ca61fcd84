#include "text/jinja.h"
#include "text/jinja/exec.h"
#include "text/jinja/parser.h"
#include "text/jinja/unicode.h"

enum baton_status bt_jinja_open(const char *source, size_t len, struct bt_jinja **out, struct baton_error *err)
{
	struct baton_error local;
	*out = NULL;
	if (!err) err = &local;
	struct bt_jinja *j = bt_mem_zalloc(BT_MEM_TEXT, sizeof *j);
	if (!j) return bt_fail_nomem(err, sizeof *j, "a template");
	bt_arena_init(&j->arena, BT_MEM_TEXT, BT_LIMIT_TEMPLATE_MEMORY);
	enum baton_status st = bt_jj_parse(j, source, len, err);
	if (!st) st = bt_jj_bind(j, err);
	if (st) bt_jinja_close(&j);
	*out = j;
	return st;
}

void bt_jinja_close(struct bt_jinja **j)
{
	if (!j || !*j) return;
	bt_arena_free(&(*j)->arena);
	bt_mem_free(*j);
	*j = NULL;
}

/* Lone surrogates, which only escapes in a template can make, are not text: each becomes U+FFFD. */
static void replace_surrogates(struct bt_buf *out, size_t from)
{
	for (size_t i = from; i + 2 < out->len; i++) {
		unsigned char *p = (unsigned char *)out->data + i;
		if (p[0] == 0xED && p[1] >= 0xA0) memcpy(p, "\xEF\xBF\xBD", 3);
	}
}

static bool set_globals(struct bt_jj *r, const struct bt_jinja_params *params)
{
	struct bt_jj_val vars = params->vars ? bt_jj_from_json(r, params->vars) : bt_jj_none();
	if (bt_jj_is_fail(vars)) return false;
	if (vars.type == BT_JJ_DICT) {
		r->globals = (struct bt_jj_dict *)(uintptr_t)vars.dict;
		return true;
	}
	if (params->vars) {
		bt_fail(&r->err, BATON_ERR_ARG, "the variables of a template must be an object");
		return false;
	}
	return (r->globals = bt_jj_dict_new(r, 0));
}

enum baton_status bt_jinja_render(const struct bt_jinja *j, const struct bt_jinja_params *params, struct bt_buf *out,
                                  struct baton_error *err)
{
	struct bt_jj r = {.tpl = j, .out = out, .now = params->now, .line = 1, .random = 1};
	struct tm local;
	size_t start = out->len;
	r.max_steps = params->steps ? params->steps : BT_LIMIT_TEMPLATE_STEPS;
	if (out->status) return bt_buf_check(out, err, "the output of a template");
	bt_arena_init(&r.arena, BT_MEM_TEXT, params->memory ? params->memory : BT_LIMIT_TEMPLATE_MEMORY);
	if (!r.now) {
		time_t t = time(NULL);
		r.now = localtime_r(&t, &local);
		r.random = (uint64_t)t;
	}
	bool ok = r.now && set_globals(&r, params);
	if (ok && j->n_blocks) ok = (r.exported = bt_jj_dict_new(&r, 0));
	if (ok) bt_jj_run_block(&r, j->root);
	bt_arena_free(&r.arena);
	if (!r.err.status) {
		replace_surrogates(out, start);
		return BATON_OK;
	}
	out->len = start;
	if (out->data) out->data[start] = 0;
	out->status = BATON_OK;
	if (err) *err = r.err;
	return r.err.status;
}
