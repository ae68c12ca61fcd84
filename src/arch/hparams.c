/* The metadata keys that all families share. */
#include "arch/build.h"
#include "base/limits.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* "<architecture>.<key>" */
static const char *full_key(const struct bt_arch_build *b, const char *key, char *out, size_t size)
{
	snprintf(out, size, "%s.%s", b->family->name, key);
	return out;
}

static void fail_missing(struct bt_arch_build *b, const char *key)
{
	b->status = bt_fail(b->err, BATON_ERR_FORMAT, "the key %s is missing", key);
}

uint32_t bt_key_u32(struct bt_arch_build *b, const char *key, bool required, uint32_t dflt, uint32_t lo, uint32_t hi)
{
	char name[128];
	uint32_t x = dflt;
	bool found;
	if (b->status) return dflt;
	b->status = bt_gguf_get_u32(b->g, full_key(b, key, name, sizeof name), dflt, &x, &found, b->err);
	if (b->status) return dflt;
	if (!found && required) fail_missing(b, name);
	else if (found && (x < lo || x > hi))
		b->status = bt_fail(b->err, BATON_ERR_FORMAT, "the key %s is %u; it must be from %u to %u", name, x, lo,
		                    hi);
	return b->status ? dflt : x;
}

float bt_key_f32(struct bt_arch_build *b, const char *key, bool required, float dflt)
{
	char name[128];
	float x = dflt;
	bool found;
	if (b->status) return dflt;
	b->status = bt_gguf_get_f32(b->g, full_key(b, key, name, sizeof name), dflt, &x, &found, b->err);
	if (b->status) return dflt;
	if (!found && required) fail_missing(b, name);
	else if (!isfinite(x)) b->status = bt_fail(b->err, BATON_ERR_FORMAT, "the key %s is not a finite number", name);
	return b->status ? dflt : x;
}

bool bt_key_bool(struct bt_arch_build *b, const char *key, bool dflt)
{
	char name[128];
	bool x = dflt;
	if (!b->status) b->status = bt_gguf_get_bool(b->g, full_key(b, key, name, sizeof name), dflt, &x, NULL, b->err);
	return b->status ? dflt : x;
}

uint32_t *bt_key_per_layer(struct bt_arch_build *b, const char *key, bool required, uint32_t dflt, uint32_t lo,
                           uint32_t hi)
{
	char name[128];
	bool found;
	if (b->status) return NULL;
	uint32_t n = b->hp.n_layer, *a = bt_arena_zalloc(&b->plan->arena, n * sizeof *a);
	if (!a) {
		b->status = bt_fail_nomem(b->err, n * sizeof *a, key);
		return NULL;
	}
	b->status = bt_gguf_get_u32_per_layer(b->g, full_key(b, key, name, sizeof name), dflt, a, n, &found, b->err);
	if (!b->status && !found && required) fail_missing(b, name);
	for (uint32_t i = 0; i < n && !b->status; i++)
		if (found && (a[i] < lo || a[i] > hi))
			b->status = bt_fail(b->err, BATON_ERR_FORMAT,
			                    "the key %s is %u for block %u; it must be from %u to %u", name, a[i], i,
			                    lo, hi);
	return b->status ? NULL : a;
}

static void read_rope(struct bt_arch_build *b)
{
	struct bt_hparams *hp = &b->hp;
	hp->rope.base = bt_key_f32(b, "rope.freq_base", false, 10000.0f);
	hp->rope.n_rot = bt_key_u32(b, "rope.dimension_count", false, hp->d_k, 0, BT_LIMIT_WIDTH);
	hp->rope.factor = bt_key_f32(b, "rope.scaling.factor", false, 1.0f);
	hp->rope.attn_factor = bt_key_f32(b, "rope.scaling.attn_factor", false, 1.0f);
	hp->rope.beta_fast = bt_key_f32(b, "rope.scaling.yarn_beta_fast", false, 32.0f);
	hp->rope.beta_slow = bt_key_f32(b, "rope.scaling.yarn_beta_slow", false, 1.0f);
	hp->rope.n_ctx_orig = bt_key_u32(b, "rope.scaling.original_context_length", false, hp->n_ctx_train, 1,
	                                 BT_LIMIT_CONTEXT);
	if (b->status) return;
	if (hp->rope.n_rot > hp->d_k || hp->rope.n_rot % 2) {
		b->status = bt_fail(b->err, BATON_ERR_FORMAT,
		                    "the key %s.rope.dimension_count is %u; heads have %u values", b->family->name,
		                    hp->rope.n_rot, hp->d_k);
		return;
	}
	if (!(hp->rope.base > 0) || !(hp->rope.factor > 0)) {
		b->status = bt_fail(b->err, BATON_ERR_FORMAT,
		                    "the keys %s.rope.freq_base and .rope.scaling.factor must be positive",
		                    b->family->name);
		return;
	}
	char name[128];
	struct bt_str type;
	b->status = bt_gguf_get_str(b->g, full_key(b, "rope.scaling.type", name, sizeof name), &type, NULL, b->err);
	if (b->status) return;
	if (!type.data || (type.len == 4 && !memcmp(type.data, "none", 4))) hp->rope.scaling = BT_ROPE_PLAIN;
	else if (type.len == 6 && !memcmp(type.data, "linear", 6)) hp->rope.scaling = BT_ROPE_LINEAR;
	else if (type.len == 4 && !memcmp(type.data, "yarn", 4)) hp->rope.scaling = BT_ROPE_YARN;
	else
		b->status = bt_fail(b->err, BATON_ERR_UNSUPPORTED,
		                    "rope scaling '%.*s' is not supported; linear and yarn are",
		                    type.len < 32 ? (int)type.len : 32, type.data);
	/* Old files have a factor alone: linear scaling. */
	if (!type.data && hp->rope.factor != 1.0f) hp->rope.scaling = BT_ROPE_LINEAR;
}

/* Width of a head: the key, or embedding / heads; 0 where no block has a head. */
static uint32_t head_size(struct bt_arch_build *b, const char *key)
{
	struct bt_hparams *hp = &b->hp;
	if (b->status) return 1;
	uint32_t heads = 0;
	for (uint32_t i = 0; i < hp->n_layer && !heads; i++) heads = hp->n_head[i];
	uint32_t d = bt_key_u32(b, key, false, 0, 1, BT_LIMIT_WIDTH);
	if (d || b->status || (!heads && b->family->mixed_blocks)) return d;
	if (!heads || hp->n_embd % heads) {
		b->status = bt_fail(b->err, BATON_ERR_FORMAT, "%u heads do not divide the embedding of %u values",
		                    heads, hp->n_embd);
		return 1;
	}
	return hp->n_embd / heads;
}

static void read_vocab_size(struct bt_arch_build *b)
{
	/* The embedding has the last word: the key and the tokenizer may count padding or leave it out. */
	const struct bt_tensor *t = bt_gguf_tensor(b->g, "token_embd.weight");
	if (b->status) return;
	if (!t) {
		b->status = bt_fail(b->err, BATON_ERR_FORMAT, "the tensor token_embd.weight is missing");
		return;
	}
	if (t->dim[1] < 1 || t->dim[1] > BT_LIMIT_VOCAB) {
		b->status = bt_fail(b->err, BATON_ERR_FORMAT,
		                    "the tensor token_embd.weight has %llu rows; 1 to %u are accepted",
		                    (unsigned long long)t->dim[1], BT_LIMIT_VOCAB);
		return;
	}
	b->hp.n_vocab = (uint32_t)t->dim[1];
}

void bt_hparams_read(struct bt_arch_build *b)
{
	struct bt_hparams *hp = &b->hp;
	uint32_t blocks = bt_key_u32(b, "block_count", true, 1, 1, BT_LIMIT_LAYERS);
	hp->n_layer_draft = bt_key_u32(b, "nextn_predict_layers", false, 0, 0, blocks - 1);
	hp->n_layer = blocks - hp->n_layer_draft;
	hp->n_embd = bt_key_u32(b, "embedding_length", true, 1, 1, BT_LIMIT_WIDTH);
	hp->n_ctx_train = bt_key_u32(b, "context_length", false, 4096, 1, BT_LIMIT_CONTEXT);
	hp->n_head = bt_key_per_layer(b, "attention.head_count", true, 0, b->family->mixed_blocks ? 0 : 1, 65536);
	hp->n_ff = bt_key_per_layer(b, "feed_forward_length", !b->family->ffn_key_optional, 0, 0, BT_LIMIT_WIDTH);
	if (b->status) return;
	hp->n_head_kv = bt_key_per_layer(b, "attention.head_count_kv", false, 0, 0, 65536);
	if (b->status) return;
	for (uint32_t i = 0; i < hp->n_layer; i++) {
		if (!hp->n_head_kv[i] && b->family->mixed_blocks) continue;
		if (!hp->n_head_kv[i]) hp->n_head_kv[i] = hp->n_head[i];
		if (!hp->n_head[i] || hp->n_head[i] % hp->n_head_kv[i]) {
			b->status = bt_fail(b->err, BATON_ERR_FORMAT,
			                    "block %u has %u heads, no multiple of its %u key/value heads", i,
			                    hp->n_head[i], hp->n_head_kv[i]);
			return;
		}
	}
	hp->d_k = head_size(b, "attention.key_length");
	hp->d_v = head_size(b, "attention.value_length");
	/* Nemotron's converter may write the norm's epsilon under the name of the other norm. */
	float other = bt_key_f32(b, "attention.layer_norm_epsilon", false, -1);
	hp->eps = bt_key_f32(b, "attention.layer_norm_rms_epsilon", other < 0, other);
	if (!b->status && !(hp->eps >= 0 && hp->eps < 1))
		b->status = bt_fail(b->err, BATON_ERR_FORMAT, "the key %s.attention.layer_norm_rms_epsilon is %g",
		                    b->family->name, (double)hp->eps);
	read_rope(b);
	read_vocab_size(b);
	if (!b->status && b->family->hparams) b->family->hparams(b);
}

void bt_hparams_recurrent_layers(struct bt_arch_build *b)
{
	struct bt_hparams *hp = &b->hp;
	uint32_t every = bt_key_u32(b, "full_attention_interval", false, 4, 1, BT_LIMIT_LAYERS);
	if (b->status) return;
	char name[128];
	full_key(b, "attention.recurrent_layers", name, sizeof name);
	bool listed = bt_gguf_find(b->g, name) != NULL;
	uint32_t *list = listed ? bt_key_per_layer(b, "attention.recurrent_layers", true, 0, 0, 1) : NULL;
	hp->recurrent = bt_arena_zalloc(&b->plan->arena, hp->n_layer);
	if (!b->status && !hp->recurrent) b->status = bt_fail_nomem(b->err, hp->n_layer, "the model's parameters");
	if (b->status) return;
	for (uint32_t i = 0; i < hp->n_layer; i++) hp->recurrent[i] = list ? list[i] != 0 : (i + 1) % every != 0;
}
