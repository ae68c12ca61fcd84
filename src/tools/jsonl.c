#include "tools/jsonl.h"

#include "base/limits.h"

#include <stdlib.h>
#include <string.h>

void bt_jsonl_init(struct bt_jsonl *j, FILE *in, FILE *out)
{
	*j = (struct bt_jsonl){.in = in, .out = out};
}

void bt_jsonl_free(struct bt_jsonl *j)
{
	free(j->line);
	*j = (struct bt_jsonl){0};
}

void bt_jsonl_reply(struct bt_jsonl *j, json_t *answer)
{
	const size_t flags = JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(9);
	if (!answer) {
		fputs("{\"error\":\"out of memory\"}", j->out);
	} else if (json_dumpf(answer, j->out, flags)) {
		j->failed = true;
	}
	json_decref(answer);
	if (putc('\n', j->out) == EOF || fflush(j->out)) j->failed = true;
}

void bt_jsonl_error(struct bt_jsonl *j, const char *fmt, ...)
{
	char text[640];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	size_t len = n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
	/* The sentence may quote bytes of a file: what is not UTF-8 (or was cut in half) cannot stand in JSON. */
	json_t *s = json_stringn(text, len);
	for (size_t i = 0; !s && i < len; i++)
		if (text[i] & 0x80) text[i] = '?';
	if (!s) s = json_stringn(text, len);
	json_t *answer = json_object();
	if (!s || !answer || json_object_set_new(answer, "error", s)) {
		json_decref(answer);
		answer = NULL;
	}
	bt_jsonl_reply(j, answer);
}

enum line { LINE_OK, LINE_LONG, LINE_NOMEM, LINE_END };

/* One line without its line feed into j->line; a line that is refused is read to its end. */
static enum line next_line(struct bt_jsonl *j, size_t *len)
{
	enum line what = LINE_OK;
	size_t n = 0;
	int c;
	while ((c = getc_unlocked(j->in)) != EOF && c != '\n') {
		if (what != LINE_OK) continue;
		if (n == BT_LIMIT_LINE) {
			what = LINE_LONG;
			continue;
		}
		if (n == j->cap) {
			size_t cap = j->cap ? 2 * j->cap : 4096;
			char *p = realloc(j->line, cap);
			if (!p) {
				what = LINE_NOMEM;
				continue;
			}
			j->line = p;
			j->cap = cap;
		}
		j->line[n++] = (char)c;
	}
	if (c == EOF && !n && what == LINE_OK) return LINE_END;
	*len = n;
	return what;
}

json_t *bt_jsonl_read(struct bt_jsonl *j)
{
	while (!j->failed) {
		size_t len;
		enum line what = next_line(j, &len);
		if (what == LINE_END) return NULL;
		j->n_line++;
		unsigned long long at = j->n_line;
		if (what == LINE_LONG) {
			bt_jsonl_error(j, "line %llu is longer than %zu bytes", at, BT_LIMIT_LINE);
			continue;
		}
		if (what == LINE_NOMEM) {
			bt_jsonl_error(j, "line %llu: out of memory", at);
			continue;
		}
		size_t blank = 0;
		while (blank < len && strchr(" \t\r", j->line[blank])) blank++;
		if (blank == len) continue;
		json_error_t e;
		json_t *v = json_loadb(j->line, len, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
		if (json_is_object(v)) return v;
		if (v) bt_jsonl_error(j, "line %llu is not a JSON object", at);
		else bt_jsonl_error(j, "line %llu is not valid JSON: %s (column %d)", at, e.text, e.column);
		json_decref(v);
	}
	return NULL;
}

bool bt_jsonl_get_bool(struct bt_jsonl *j, const json_t *obj, const char *key, bool *out)
{
	const json_t *v = json_object_get(obj, key);
	if (!v) return true;
	if (!json_is_boolean(v)) return bt_jsonl_error(j, "\"%s\" must be true or false", key), false;
	*out = json_is_true(v);
	return true;
}

bool bt_jsonl_get_int(struct bt_jsonl *j, const json_t *obj, const char *key, json_int_t min, json_int_t max,
                      json_int_t *out)
{
	const json_t *v = json_object_get(obj, key);
	if (!v) return true;
	json_int_t i = json_integer_value(v);
	if (!json_is_integer(v) || i < min || i > max) {
		bt_jsonl_error(j, "\"%s\" must be a whole number from %lld to %lld", key, (long long)min,
		               (long long)max);
		return false;
	}
	*out = i;
	return true;
}

bool bt_jsonl_get_string(struct bt_jsonl *j, const json_t *obj, const char *key, const char **data, size_t *len)
{
	const json_t *v = json_object_get(obj, key);
	*data = NULL;
	*len = 0;
	if (!v) return true;
	if (!json_is_string(v)) return bt_jsonl_error(j, "\"%s\" must be a string", key), false;
	*data = json_string_value(v);
	*len = json_string_length(v);
	return true;
}

bool bt_jsonl_get_ids(struct bt_jsonl *j, const json_t *obj, const char *key, uint32_t n_vocab, int32_t **ids,
                      size_t *n)
{
	const json_t *v = json_object_get(obj, key);
	*ids = NULL;
	*n = 0;
	if (!v) return true;
	if (!json_is_array(v)) return bt_jsonl_error(j, "\"%s\" must be a list of token ids", key), false;
	size_t count = json_array_size(v);
	int32_t *out = calloc(count ? count : 1, sizeof *out);
	if (!out) return bt_jsonl_error(j, "\"%s\": out of memory for %zu ids", key, count), false;
	for (size_t i = 0; i < count; i++) {
		const json_t *e = json_array_get(v, i);
		json_int_t id = json_integer_value(e);
		if (!json_is_integer(e) || id < 0 || id >= n_vocab) {
			bt_jsonl_error(j, "\"%s\": element %zu is not a token id (0 to %u)", key, i, n_vocab - 1);
			free(out);
			return false;
		}
		out[i] = (int32_t)id;
	}
	*ids = out;
	*n = count;
	return true;
}
