/* show_text.c: `baton show` for people. */
#include "tools/show.h"
#include "tools/ui.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#define SHORT 64 /* columns of a shortened value */

/* The character at s, or -1 with *len = 1 for a byte that is none; also -1 for what would steer a terminal. */
static utf8proc_int32_t printable(struct bt_str s, size_t *len)
{
	utf8proc_int32_t cp;
	utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)s.data, (utf8proc_ssize_t)s.len, &cp);
	*len = n > 0 ? (size_t)n : 1;
	if (n <= 0) return -1;
	switch (utf8proc_category(cp)) {
	case UTF8PROC_CATEGORY_CC:
	case UTF8PROC_CATEGORY_CF:
	case UTF8PROC_CATEGORY_CN:
	case UTF8PROC_CATEGORY_CO:
	case UTF8PROC_CATEGORY_CS:
	case UTF8PROC_CATEGORY_ZL:
	case UTF8PROC_CATEGORY_ZP: return -1;
	default: return cp;
	}
}

/* A string with what would not print as \n, \t, \xNN; at most `columns` of them, and "..." when that cuts it. Returns the
 * columns that were used. */
static size_t put_str(struct bt_str s, size_t columns, FILE *out)
{
	size_t used = 0, len;
	for (size_t i = 0; i < s.len; i += len) {
		char text[32];
		utf8proc_int32_t cp = printable((struct bt_str){s.data + i, s.len - i}, &len);
		size_t width = 1;
		if (cp >= 0) {
			memcpy(text, s.data + i, len);
			text[len] = 0;
			width = utf8proc_charwidth(cp) > 0 ? (size_t)utf8proc_charwidth(cp) : 0;
		} else {
			text[0] = 0;
			for (size_t k = 0; k < len; k++) {
				unsigned char c = (unsigned char)s.data[i + k];
				const char *esc = c == '\n' ? "\\n" : c == '\t' ? "\\t" : c == '\r' ? "\\r" : NULL;
				size_t at = strlen(text);
				if (esc) snprintf(text + at, sizeof text - at, "%s", esc);
				else snprintf(text + at, sizeof text - at, "\\x%02x", c);
			}
			width = strlen(text);
		}
		if (used + width > columns) {
			fputs("...", out);
			return used + 3;
		}
		fputs(text, out);
		used += width;
	}
	return used;
}

/* The shortest form that reads back as the same float. */
static size_t put_f32(float f, FILE *out)
{
	char text[32];
	for (int digits = 6; digits <= 9; digits++) {
		snprintf(text, sizeof text, "%.*g", digits, (double)f);
		if (strtof(text, NULL) == f) break;
	}
	return (size_t)fprintf(out, "%s", text);
}

/* Element i; strings of arrays in quotes. */
static size_t put_element(const struct bt_gguf_kv *kv, uint64_t i, size_t columns, FILE *out)
{
	enum bt_gguf_type type = kv->type == BT_GGUF_ARRAY ? kv->elem_type : kv->type;
	switch (type) {
	case BT_GGUF_STRING:
		if (kv->type == BT_GGUF_STRING) return put_str(bt_gguf_str_at(kv, i), columns, out);
		fputc('"', out);
		columns = put_str(bt_gguf_str_at(kv, i), columns, out);
		fputc('"', out);
		return columns + 2;
	case BT_GGUF_BOOL: return (size_t)fprintf(out, "%s", bt_gguf_int_at(kv, i) ? "true" : "false");
	case BT_GGUF_F32: return put_f32((float)bt_gguf_float_at(kv, i), out);
	case BT_GGUF_F64: return (size_t)fprintf(out, "%.17g", bt_gguf_float_at(kv, i));
	case BT_GGUF_U64: return (size_t)fprintf(out, "%" PRIu64, bt_gguf_u64_at(kv, i));
	default: return (size_t)fprintf(out, "%" PRId64, bt_gguf_int_at(kv, i));
	}
}

/* On one line; shortened unless full. */
static void put_value(const struct bt_gguf_kv *kv, bool full, FILE *out)
{
	size_t columns = full ? SIZE_MAX / 2 : SHORT, used = 0;
	for (uint64_t i = 0; i < kv->count; i++) {
		if (i) used += (size_t)fprintf(out, ", ");
		if (i && columns < used + 8) {
			fputs("...", out);
			return;
		}
		used += put_element(kv, i, columns > used ? columns - used : 0, out);
	}
	if (kv->type == BT_GGUF_STRING && !full && used > columns)
		fprintf(out, " (%zu bytes)", bt_gguf_str_at(kv, 0).len);
}

void bt_show_value(const struct bt_gguf_kv *kv, FILE *out)
{
	for (uint64_t i = 0; i < kv->count; i++) {
		struct bt_str s = bt_gguf_str_at(kv, i);
		bool ended = false;
		if (s.data) {
			fwrite(s.data, 1, s.len, out);
			ended = kv->type == BT_GGUF_STRING && s.len && s.data[s.len - 1] == '\n';
		} else {
			put_element(kv, i, SIZE_MAX / 2, out);
		}
		if (!ended) fputc('\n', out);
	}
}

/* "134.5 M" */
static const char *count_text(uint64_t n, char *buf, size_t size)
{
	static const char unit[] = {' ', 'K', 'M', 'G', 'T'};
	double v = (double)n;
	int u = 0;
	for (; v >= 999.5 && u < 4; u++) v /= 1000;
	if (u)
		snprintf(buf, size,
		         v < 9.995   ? "%.2f %c"
		         : v < 99.95 ? "%.1f %c"
		                     : "%.0f %c",
		         v, u == 3 ? 'B' : unit[u]);
	else snprintf(buf, size, "%" PRIu64, n);
	return buf;
}

static void heading(const char *text, FILE *out)
{
	fprintf(out, "\n%s\n", text);
}

static void line_str(const char *label, struct bt_str s, FILE *out)
{
	if (!s.data) return;
	fprintf(out, "  %-16s", label);
	put_str(s, SHORT, out);
	fputc('\n', out);
}

static void line_kv(const char *label, const struct bt_gguf_kv *kv, FILE *out)
{
	if (!kv) return;
	fprintf(out, "  %-16s", label);
	put_value(kv, false, out);
	fputc('\n', out);
}

static void line_problem(const char *label, const struct baton_error *err, FILE *out)
{
	fprintf(out, "  %-16s", label);
	put_str((struct bt_str){err->text, strlen(err->text)}, SIZE_MAX / 2, out);
	fputc('\n', out);
}

static void put_model(const struct bt_show *s, FILE *out)
{
	/* Keys that every family has, under the names of the specification. */
	static const struct {
		const char *label, *suffix;
	} keys[] = {
		{"context", "context_length"},     {"layers", "block_count"},
		{"width", "embedding_length"},     {"feed-forward", "feed_forward_length"},
		{"heads", "attention.head_count"}, {"KV heads", "attention.head_count_kv"},
		{"experts", "expert_count"},       {"experts used", "expert_used_count"},
	};
	const struct bt_gguf *g = s->g;
	char bytes[32], count[32];
	heading("Model", out);
	line_str("architecture", bt_show_str(g, "general.architecture"), out);
	line_str("name", bt_show_str(g, "general.name"), out);
	line_str("license", bt_show_str(g, "general.license"), out);
	fprintf(out, "  %-16s%s (%" PRIu64 ")\n", "parameters", count_text(s->all.values, count, sizeof count),
	        s->all.values);
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
		line_kv(keys[i].label, bt_show_family_kv(g, keys[i].suffix), out);
	const struct bt_gguf_kv *draft = bt_show_family_kv(g, "nextn_predict_layers");
	if (draft && bt_gguf_int_at(draft, 0) > 0)
		fprintf(out, "  %-16s%" PRId64 " of the layers, for multi-token prediction: left out\n", "draft layers",
		        bt_gguf_int_at(draft, 0));
	fprintf(out, "  %-16s%s, GGUF version %" PRIu32, "file",
	        bt_ui_bytes(bytes, sizeof bytes, bt_gguf_file_bytes(g)), bt_gguf_version(g));
	if (bt_gguf_n_files(g) > 1) fprintf(out, ", in %" PRIu32 " parts", bt_gguf_n_files(g));
	fprintf(out, ", %.2f bits per weight\n", bt_show_bits(&s->all));
}

static void put_type(const char *name, const struct bt_show_type *t, const struct bt_show_type *all, FILE *out)
{
	char bytes[32], count[32];
	fprintf(out, "  %-10s%8" PRIu64 "%12s%12s%8.2f%7.1f %%\n", name, t->tensors,
	        count_text(t->values, count, sizeof count), bt_ui_bytes(bytes, sizeof bytes, t->bytes), bt_show_bits(t),
	        all->bytes ? (double)t->bytes * 100 / (double)all->bytes : 0);
}

static void put_types(const struct bt_show *s, FILE *out)
{
	if (!s->all.tensors) return;
	heading("Weights", out);
	fprintf(out, "  %-10s%8s%12s%12s%8s%9s\n", "type", "tensors", "parameters", "size", "bits", "share");
	/* Largest first. */
	bool done[BT_TYPE_COUNT] = {false};
	for (;;) {
		size_t best = BT_TYPE_COUNT;
		for (size_t i = 0; i < BT_TYPE_COUNT; i++)
			if (!done[i] && s->types[i].tensors &&
			    (best == BT_TYPE_COUNT || s->types[i].bytes > s->types[best].bytes))
				best = i;
		if (best == BT_TYPE_COUNT) break;
		done[best] = true;
		put_type(bt_type_get((uint32_t)best)->name, &s->types[best], &s->all, out);
	}
	put_type("all", &s->all, &s->all, out);
}

static void put_token(const struct bt_gguf *g, const char *label, const char *key, FILE *out)
{
	const struct bt_gguf_kv *id = bt_gguf_find(g, key), *tokens = bt_gguf_find(g, "tokenizer.ggml.tokens");
	if (!id || !bt_gguf_is_int(id->type)) return;
	int64_t i = bt_gguf_int_at(id, 0);
	fprintf(out, "  %-16s%" PRId64, label, i);
	struct bt_str s = tokens && i >= 0 ? bt_gguf_str_at(tokens, (uint64_t)i) : (struct bt_str){NULL, 0};
	if (s.data) {
		fputs("  ", out);
		put_str(s, SHORT, out);
	}
	fputc('\n', out);
}

/* The tokens that end an answer. */
static void put_ends(const struct bt_tokenizer *t, FILE *out)
{
	const char *label = "ends an answer";
	for (uint32_t i = 0; t && i < bt_tokenizer_n_vocab(t); i++) {
		if (!bt_tokenizer_is_end(t, (int32_t)i)) continue;
		fprintf(out, "  %-16s%" PRIu32 "  ", label, i);
		put_str(bt_tokenizer_text(t, (int32_t)i), SHORT, out);
		fputc('\n', out);
		label = "";
	}
}

static void put_tokenizer(const struct bt_show *s, FILE *out)
{
	const struct bt_gguf *g = s->g;
	const struct bt_gguf_kv *tokens = bt_gguf_find(g, "tokenizer.ggml.tokens");
	const struct bt_gguf_kv *merges = bt_gguf_find(g, "tokenizer.ggml.merges");
	struct bt_str model = bt_show_str(g, "tokenizer.ggml.model");
	heading("Tokenizer", out);
	if (!model.data && !tokens) {
		fputs("  none\n", out);
		return;
	}
	line_str("model", model, out);
	line_str("pre-tokenizer", bt_show_str(g, "tokenizer.ggml.pre"), out);
	if (tokens) fprintf(out, "  %-16s%" PRIu64 "\n", "tokens", tokens->count);
	if (merges) fprintf(out, "  %-16s%" PRIu64 "\n", "merges", merges->count);
	put_token(g, "begin", "tokenizer.ggml.bos_token_id", out);
	put_token(g, "end", "tokenizer.ggml.eos_token_id", out);
	put_token(g, "padding", "tokenizer.ggml.padding_token_id", out);
	line_kv("adds begin", bt_gguf_find(g, "tokenizer.ggml.add_bos_token"), out);
	put_ends(s->tokenizer, out);
	if (s->tokenizer_error.status) line_problem("unusable", &s->tokenizer_error, out);
	struct bt_str tmpl = bt_show_str(g, "tokenizer.chat_template");
	fprintf(out, "  %-16s", "chat template");
	if (tmpl.data) fprintf(out, "%zu bytes (--key tokenizer.chat_template prints it)\n", tmpl.len);
	else fputs("none\n", out);
}

static void line_bytes(const char *label, uint64_t bytes, const char *note, FILE *out)
{
	char text[32];
	fprintf(out, "  %-16s%10s%s%s\n", label, bt_ui_bytes(text, sizeof text, bytes), *note ? "  " : "", note);
}

static void put_memory(const struct bt_show *s, FILE *out)
{
	char note[96];
	const struct baton_session_info *m = &s->session;
	heading("Memory to run it", out);
	if (s->memory_error.status) {
		line_problem("unusable", &s->memory_error, out);
		return;
	}
	line_bytes("weights", s->all.bytes, "", out);
	snprintf(note, sizeof note, "for %" PRIu32 " tokens (-c), %s keys and %s values", m->n_ctx, s->type_k,
	         s->type_v);
	line_bytes("KV cache", m->kv_bytes, note, out);
	if (m->state_bytes) line_bytes("recurrent state", m->state_bytes, "whatever the context is", out);
	snprintf(note, sizeof note, "on %s with -ub %" PRIu32, m->device, m->n_ubatch);
	line_bytes("scratch", m->scratch_bytes, note, out);
	line_bytes("together", s->all.bytes + m->kv_bytes + m->state_bytes + m->scratch_bytes, "", out);
}

static void put_metadata(const struct bt_show *s, FILE *out)
{
	char type[48];
	int name_width = 16, type_width = 4;
	for (size_t i = 0; i < bt_gguf_n_kv(s->g); i++) {
		const struct bt_gguf_kv *kv = bt_gguf_kv_at(s->g, i);
		int t = (int)strlen(bt_show_type_name(kv, type, sizeof type));
		if (kv->key.len <= 48 && (int)kv->key.len > name_width) name_width = (int)kv->key.len;
		if (t > type_width) type_width = t;
	}
	heading("Metadata", out);
	for (size_t i = 0; i < bt_gguf_n_kv(s->g); i++) {
		const struct bt_gguf_kv *kv = bt_gguf_kv_at(s->g, i);
		fputs("  ", out);
		int used = (int)put_str(kv->key, s->full ? SIZE_MAX / 2 : SHORT, out);
		fprintf(out, "%*s  %-*s  ", used < name_width ? name_width - used : 0, "", type_width,
		        bt_show_type_name(kv, type, sizeof type));
		put_value(kv, s->full, out);
		fputc('\n', out);
	}
}

static void put_tensors(const struct bt_show *s, FILE *out)
{
	char shape[96];
	heading("Tensors", out);
	bool split = bt_gguf_n_files(s->g) > 1;
	fprintf(out, "  %-40s%-9s%-24s%14s%15s%s\n", "name", "type", "shape", "bytes", "offset", split ? "  part" : "");
	for (size_t i = 0; i < bt_gguf_n_tensors(s->g); i++) {
		const struct bt_tensor *t = bt_gguf_tensor_at(s->g, i);
		fputs("  ", out);
		int used = (int)put_str(t->name, SIZE_MAX / 2, out);
		fprintf(out, "%*s%-9s%-24s%14" PRIu64 "%15" PRIu64, used < 39 ? 40 - used : 1, "", t->type->name,
		        bt_show_shape(t, shape, sizeof shape), t->size, t->offset);
		if (split) fprintf(out, "%6" PRIu32, t->file + 1);
		fputc('\n', out);
	}
}

void bt_show_text(const struct bt_show *s, FILE *out)
{
	fprintf(out, "%s\n", bt_gguf_path(s->g));
	if (s->place) {
		bt_show_place_text(s->opened, out);
		return;
	}
	put_model(s, out);
	put_types(s, out);
	put_tokenizer(s, out);
	put_memory(s, out);
	put_metadata(s, out);
	if (s->tensors) put_tensors(s, out);
}
