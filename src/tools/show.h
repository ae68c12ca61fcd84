/* show.h: what the files of `baton show` share. */
#ifndef BT_TOOLS_SHOW_H
#define BT_TOOLS_SHOW_H

#include "baton.h"
#include "gguf/gguf.h"
#include "text/tokenizer.h"
#include "tools/options.h"

#include <jansson.h>

struct bt_show_type {
	uint64_t tensors, values, bytes;
};

/* The file and what was added up over it. */
struct bt_show {
	const struct bt_gguf *g;
	struct bt_tokenizer *tokenizer;     /* NULL: there is none, or it can't be used */
	struct baton_error tokenizer_error; /* why; status BATON_OK when there is none */
	bool full;                          /* don't shorten */
	bool tensors;                       /* list them */
	bool place;                         /* show the placement */
	struct bt_show_type types[BT_TYPE_COUNT], all;
	/* What running it takes, when memory_error.status is BATON_OK. */
	struct baton_session_info session;
	const char *type_k, *type_v; /* of the KV cache */
	struct baton_error memory_error;
	/* Behind session, which points into them. */
	struct baton_model *model;
	struct baton_session *opened;
};

/* Bits that a weight takes on average. */
double bt_show_bits(const struct bt_show_type *t);
/* "string", "u32", "string[49152]" into buf; returns buf. */
const char *bt_show_type_name(const struct bt_gguf_kv *kv, char *buf, size_t size);
/* "576 x 49152" into buf; returns buf. */
const char *bt_show_shape(const struct bt_tensor *t, char *buf, size_t size);
/* NULL when the key is absent or no string. */
struct bt_str bt_show_str(const struct bt_gguf *g, const char *key);
/* A key of the model's family: "ARCHITECTURE.suffix". NULL when absent. */
const struct bt_gguf_kv *bt_show_family_kv(const struct bt_gguf *g, const char *suffix);

/* The whole of it as one JSON object on out; false when memory or out fails. */
bool bt_show_json(const struct bt_show *s, FILE *out);
/* The same for people. */
void bt_show_text(const struct bt_show *s, FILE *out);
/* Devices, layers and crossings of an opened session (--place), for people and as an object (NULL without memory). */
void bt_show_place_text(const struct baton_session *s, FILE *out);
json_t *bt_show_place_json(const struct baton_session *s);
/* One value in full: strings as they are, arrays one element a line. */
void bt_show_value(const struct bt_gguf_kv *kv, FILE *out);

#endif
