/* jsonl.h: JSON lines in, JSON lines out, for the commands that scripts drive (`eval`, `tokenize`, `template`).
 *
 * One object a line. A line that is no JSON object is answered with {"error": "..."} and the next line is read; a blank
 * line is passed over. Every answer is one line and is flushed, so that the other end of a pipe can wait for it.
 * Strings may hold U+0000. Numbers are written with nine digits, enough to give a float back exactly.
 */
#ifndef BT_TOOLS_JSONL_H
#define BT_TOOLS_JSONL_H

#include "base/status.h"

#include <jansson.h>
#include <stdio.h>

struct bt_jsonl {
	FILE *in, *out;
	char *line;
	size_t cap;
	uint64_t n_line; /* of the last line read, from 1 */
	bool failed;     /* writing an answer failed: the reader is gone or the disk is full */
};

/* Neither stream is closed by bt_jsonl_free. */
void bt_jsonl_init(struct bt_jsonl *j, FILE *in, FILE *out);
void bt_jsonl_free(struct bt_jsonl *j);

/* The next object, owned by the caller (json_decref). NULL at the end of the input, after a failed write, or when the
 * input cannot be read (ferror(in) tells). Lines above BT_LIMIT_LINE bytes are skipped with an error answer. */
json_t *bt_jsonl_read(struct bt_jsonl *j);

/* Write an answer; takes over the reference. NULL (out of memory while the answer was built) becomes an error answer. */
void bt_jsonl_reply(struct bt_jsonl *j, json_t *answer);
/* Write {"error": the sentence}. */
void bt_jsonl_error(struct bt_jsonl *j, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Typed members of a request. When the key is absent *out keeps its value; false means that an error answer was
 * written: the member has the wrong type or is out of range, and the line is done with. */
bool bt_jsonl_get_bool(struct bt_jsonl *j, const json_t *obj, const char *key, bool *out);
bool bt_jsonl_get_int(struct bt_jsonl *j, const json_t *obj, const char *key, json_int_t min, json_int_t max,
                      json_int_t *out);
/* *data points into obj and is NULL when the key is absent; *len may count U+0000. */
bool bt_jsonl_get_string(struct bt_jsonl *j, const json_t *obj, const char *key, const char **data, size_t *len);
/* *ids is malloc'd (free()), NULL when the key is absent; every id lies in 0 .. n_vocab - 1. */
bool bt_jsonl_get_ids(struct bt_jsonl *j, const json_t *obj, const char *key, uint32_t n_vocab, int32_t **ids,
                      size_t *n);

#endif
