/* show_json.c: `baton show --json`: one object; docs/json.md says what is in it. */
#include "tools/show.h"

#include "base/buf.h"

#include <jansson.h>
#include <math.h>
#include <string.h>
#include <utf8proc.h>

#define SHORT_ARRAY 8 /* elements of an array without --full */

/* JSON strings are Unicode: bytes that are no UTF-8 become U+FFFD. */
static json_t *string(struct bt_str s)
{
	json_t *j = json_stringn(s.data ? s.data : "", s.len);
	if (j) return j;
	struct bt_buf b;
	bt_buf_init(&b, BT_MEM_HOST, SIZE_MAX / 4);
	for (size_t i = 0; i < s.len;) {
		utf8proc_int32_t cp;
		utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)s.data + i,
		                                      (utf8proc_ssize_t)(s.len - i), &cp);
		bt_buf_add_codepoint(&b, n > 0 ? (uint32_t)cp : 0xFFFD);
		i += n > 0 ? (size_t)n : 1;
	}
	j = b.status ? NULL : json_stringn(bt_buf_str(&b), b.len);
	bt_buf_free(&b);
	return j;
}

/* JSON has no NaN and no infinity, and jansson's numbers end at 2^63 - 1: they become strings. */
static json_t *number(const struct bt_gguf_kv *kv, enum bt_gguf_type type, uint64_t i)
{
	char text[40];
	if (type == BT_GGUF_F32 || type == BT_GGUF_F64) {
		double d = bt_gguf_float_at(kv, i);
		if (isfinite(d)) return json_real(d);
		return json_string(isnan(d) ? "nan" : d > 0 ? "inf" : "-inf");
	}
	if (type == BT_GGUF_U64 && bt_gguf_u64_at(kv, i) > INT64_MAX) {
		snprintf(text, sizeof text, "%llu", (unsigned long long)bt_gguf_u64_at(kv, i));
		return json_string(text);
	}
	return json_integer(bt_gguf_int_at(kv, i));
}

static json_t *element(const struct bt_gguf_kv *kv, uint64_t i)
{
	enum bt_gguf_type type = kv->type == BT_GGUF_ARRAY ? kv->elem_type : kv->type;
	if (type == BT_GGUF_STRING) return string(bt_gguf_str_at(kv, i));
	if (type == BT_GGUF_BOOL) return json_boolean(bt_gguf_int_at(kv, i) != 0);
	return number(kv, type, i);
}

static json_t *value(const struct bt_show *s, const struct bt_gguf_kv *kv)
{
	if (kv->type != BT_GGUF_ARRAY) return element(kv, 0);
	json_t *a = json_array();
	uint64_t n = s->full || kv->count < SHORT_ARRAY ? kv->count : SHORT_ARRAY;
	for (uint64_t i = 0; a && i < n; i++)
		if (json_array_append_new(a, element(kv, i))) {
			json_decref(a);
			return NULL;
		}
	return a;
}

/* A list of pairs rather than an object: keys need not be UTF-8, and the file's order is kept. */
static json_t *metadata(const struct bt_show *s)
{
	json_t *a = json_array();
	bool ok = a != NULL;
	for (size_t i = 0; ok && i < bt_gguf_n_kv(s->g); i++) {
		const struct bt_gguf_kv *kv = bt_gguf_kv_at(s->g, i);
		json_t *o = json_pack("{s:o, s:s, s:o}", "key", string(kv->key), "type", bt_gguf_type_name(kv->type),
		                      "value", value(s, kv));
		if (o && kv->type == BT_GGUF_ARRAY)
			ok = !json_object_set_new(o, "elements", json_string(bt_gguf_type_name(kv->elem_type))) &&
			     !json_object_set_new(o, "count", json_integer((json_int_t)kv->count));
		ok = !json_array_append_new(a, o) && ok;
	}
	if (ok) return a;
	json_decref(a);
	return NULL;
}

static json_t *sums(const char *name, const struct bt_show_type *t)
{
	return json_pack("{s:s, s:I, s:I, s:I, s:f}", "type", name, "tensors", (json_int_t)t->tensors, "parameters",
	                 (json_int_t)t->values, "bytes", (json_int_t)t->bytes, "bits_per_weight", bt_show_bits(t));
}

static json_t *types(const struct bt_show *s)
{
	json_t *a = json_array();
	for (uint32_t i = 0; a && i < BT_TYPE_COUNT; i++)
		if (s->types[i].tensors && json_array_append_new(a, sums(bt_type_get(i)->name, &s->types[i]))) {
			json_decref(a);
			return NULL;
		}
	return a;
}

static json_t *tensors(const struct bt_show *s)
{
	json_t *a = json_array();
	bool ok = a != NULL;
	for (size_t i = 0; ok && i < bt_gguf_n_tensors(s->g); i++) {
		const struct bt_tensor *t = bt_gguf_tensor_at(s->g, i);
		json_t *shape = json_array();
		for (uint32_t k = 0; shape && k < t->n_dims; k++)
			json_array_append_new(shape, json_integer((json_int_t)t->dim[k]));
		json_t *o = json_pack("{s:o, s:s, s:o, s:I, s:I, s:I}", "name", string(t->name), "type", t->type->name,
		                      "shape", shape, "bytes", (json_int_t)t->size, "offset", (json_int_t)t->offset,
		                      "part", (json_int_t)t->file + 1);
		ok = !json_array_append_new(a, o);
	}
	if (ok) return a;
	json_decref(a);
	return NULL;
}

static json_t *sentence(const struct baton_error *err)
{
	return err->status ? string((struct bt_str){err->text, strlen(err->text)}) : json_null();
}

static json_t *tokenizer(const struct bt_show *s)
{
	const struct bt_gguf *g = s->g;
	const struct bt_gguf_kv *tokens = bt_gguf_find(g, "tokenizer.ggml.tokens");
	struct bt_str model = bt_show_str(g, "tokenizer.ggml.model"), pre = bt_show_str(g, "tokenizer.ggml.pre");
	return json_pack("{s:o, s:o, s:I, s:b, s:b, s:o}", "model", string(model), "pre", string(pre), "tokens",
	                 (json_int_t)(tokens ? tokens->count : 0), "chat_template",
	                 bt_show_str(g, "tokenizer.chat_template").data != NULL, "usable", s->tokenizer != NULL,
	                 "error", sentence(&s->tokenizer_error));
}

static json_t *memory(const struct bt_show *s)
{
	const struct baton_session_info *m = &s->session;
	if (s->memory_error.status) return json_pack("{s:o}", "error", sentence(&s->memory_error));
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:s, s:s, s:n}", "context", (json_int_t)m->n_ctx,
	                 "ubatch", (json_int_t)m->n_ubatch, "weights", (json_int_t)s->all.bytes, "kv_cache",
	                 (json_int_t)m->kv_bytes, "state", (json_int_t)m->state_bytes, "scratch",
	                 (json_int_t)m->scratch_bytes, "type_k", s->type_k, "type_v", s->type_v, "device", m->device,
	                 "error");
}

bool bt_show_json(const struct bt_show *s, FILE *out)
{
	const struct bt_gguf *g = s->g;
	struct bt_str path = {bt_gguf_path(g), strlen(bt_gguf_path(g))};
	json_t *o = json_pack("{s:o, s:i, s:i, s:I, s:o, s:o, s:I, s:I, s:f, s:o, s:o, s:o, s:o}", "path", string(path),
	                      "version", (int)bt_gguf_version(g), "parts", (int)bt_gguf_n_files(g), "file_bytes",
	                      (json_int_t)bt_gguf_file_bytes(g), "architecture",
	                      string(bt_show_str(g, "general.architecture")), "name",
	                      string(bt_show_str(g, "general.name")), "parameters", (json_int_t)s->all.values,
	                      "weight_bytes", (json_int_t)s->all.bytes, "bits_per_weight", bt_show_bits(&s->all),
	                      "types", types(s), "tokenizer", tokenizer(s), "memory", memory(s), "metadata",
	                      metadata(s));
	bool ok = o != NULL;
	if (ok && s->place) ok = !json_object_set_new(o, "placement", bt_show_place_json(s->opened));
	if (ok && s->tensors) ok = !json_object_set_new(o, "tensors", tensors(s));
	if (ok) ok = !json_dumpf(o, out, JSON_INDENT(1) | JSON_ENSURE_ASCII) && fputc('\n', out) != EOF;
	json_decref(o);
	return ok;
}
