/* show.c: `baton show`: what is in a model file. */
#include "tools/show.h"

#include "tools/open.h"

#include <inttypes.h>
#include <string.h>

double bt_show_bits(const struct bt_show_type *t)
{
	return t->values ? (double)t->bytes * 8 / (double)t->values : 0;
}

const char *bt_show_type_name(const struct bt_gguf_kv *kv, char *buf, size_t size)
{
	if (kv->type == BT_GGUF_ARRAY)
		snprintf(buf, size, "%s[%" PRIu64 "]", bt_gguf_type_name(kv->elem_type), kv->count);
	else snprintf(buf, size, "%s", bt_gguf_type_name(kv->type));
	return buf;
}

const char *bt_show_shape(const struct bt_tensor *t, char *buf, size_t size)
{
	int n = snprintf(buf, size, "%" PRIu64, t->dim[0]);
	for (uint32_t i = 1; i < t->n_dims && n > 0 && (size_t)n < size; i++)
		n += snprintf(buf + n, size - (size_t)n, " x %" PRIu64, t->dim[i]);
	return buf;
}

struct bt_str bt_show_str(const struct bt_gguf *g, const char *key)
{
	struct bt_str s = {NULL, 0};
	bt_gguf_get_str(g, key, &s, NULL, NULL);
	return s;
}

const struct bt_gguf_kv *bt_show_family_kv(const struct bt_gguf *g, const char *suffix)
{
	char key[192];
	struct bt_str family = bt_show_str(g, "general.architecture");
	int n = snprintf(key, sizeof key, "%.*s.%s", (int)(family.len < 100 ? family.len : 100),
	                 family.data ? family.data : "", suffix);
	return n < (int)sizeof key ? bt_gguf_find(g, key) : NULL;
}

static void add_up(struct bt_show *s)
{
	for (size_t i = 0; i < bt_gguf_n_tensors(s->g); i++) {
		const struct bt_tensor *t = bt_gguf_tensor_at(s->g, i);
		struct bt_show_type *sums[2] = {&s->types[t->type->id], &s->all};
		for (int k = 0; k < 2; k++) {
			sums[k]->tensors++;
			sums[k]->values += t->dim[0] * t->n_rows;
			sums[k]->bytes += t->size;
		}
	}
}

/* Open the model as `baton run` would and ask: the KV cache and the scratch memory are reserved, but not touched. */
static enum baton_status measure(struct bt_show *s, const struct bt_opts *o, struct baton_error *err)
{
	struct baton_session_params params = baton_session_params_default();
	params.n_ctx = (uint32_t)bt_opt_int(o, BT_OPT_CTX_SIZE);
	params.n_ubatch = (uint32_t)bt_opt_int(o, BT_OPT_UBATCH);
	params.n_checkpoints = (uint32_t)bt_opt_int(o, BT_OPT_CHECKPOINTS);
	params.type_k = s->type_k = bt_opt_str(o, BT_OPT_CACHE_TYPE_K);
	params.type_v = s->type_v = bt_opt_str(o, BT_OPT_CACHE_TYPE_V);
	params.measure = true;
	bt_tool_placement(o, &params);
	enum baton_status status = baton_model_open(bt_gguf_path(s->g), NULL, &s->model, err);
	if (!status) status = baton_session_open(s->model, &params, &s->opened, err);
	if (!status) baton_session_get_info(s->opened, &s->session);
	return status;
}

static int show(const struct bt_opts *o, const struct bt_gguf *g)
{
	struct bt_show s = {
		.g = g,
		.full = bt_opt_flag(o, BT_OPT_SHOW_FULL),
		.tensors = bt_opt_flag(o, BT_OPT_SHOW_TENSORS),
		.place = bt_opt_flag(o, BT_OPT_SHOW_PLACE),
	};
	const char *key = bt_opt_str(o, BT_OPT_SHOW_KEY);
	bool ok = true;
	int rc = BT_EXIT_OK;
	if (key) {
		const struct bt_gguf_kv *kv = bt_gguf_find(g, key);
		if (!kv) {
			bt_ui_error("%s: has no key '%s'", bt_gguf_path(g), key);
			return BT_EXIT_FAILED;
		}
		bt_show_value(kv, stdout);
	} else {
		add_up(&s);
		s.tokenizer_error.status = bt_tokenizer_open(g, &s.tokenizer, &s.tokenizer_error);
		s.memory_error.status = measure(&s, o, &s.memory_error);
		if (s.place && s.memory_error.status) rc = bt_ui_fail(&s.memory_error);
		else if (bt_opt_flag(o, BT_OPT_JSON)) ok = bt_show_json(&s, stdout);
		else bt_show_text(&s, stdout);
	}
	baton_session_close(&s.opened);
	baton_model_close(&s.model);
	bt_tokenizer_close(&s.tokenizer);
	if (!ok || fflush(stdout) || ferror(stdout)) {
		bt_ui_error("cannot write the output");
		return BT_EXIT_FAILED;
	}
	return rc;
}

int bt_show_main(const struct bt_opts *o)
{
	struct baton_error err;
	struct bt_gguf *g = NULL;
	char *path = NULL;
	struct bt_gguf_params params = {.no_data = true};
	enum baton_status status = bt_tool_model_path(o, o->args[0], &path, &err);
	if (!status) status = bt_gguf_open(path, &params, &g, &err);
	int rc = status ? bt_ui_fail(&err) : show(o, g);
	bt_gguf_close(&g);
	bt_mem_free(path);
	return rc;
}
