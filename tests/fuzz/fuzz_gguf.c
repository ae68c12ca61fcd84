/* Fuzz target: the bytes are a GGUF file. Opens it and looks at all that the directory offers. */
#include "gguf/gguf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool what)
{
	if (!what) __builtin_trap();
}

static bool inside(const void *p, uint64_t len, const uint8_t *data, size_t size)
{
	const uint8_t *q = p;
	return q >= data && q <= data + size && len <= (uint64_t)(data + size - q);
}

static void look_at_keys(const struct bt_gguf *g, const uint8_t *data, size_t size)
{
	char key[64];
	uint32_t u[8];
	float f;
	bool b;
	struct bt_str s;
	for (size_t i = 0; i < bt_gguf_n_kv(g); i++) {
		const struct bt_gguf_kv *kv = bt_gguf_kv_at(g, i);
		require(inside(kv->key.data, kv->key.len, data, size));
		for (uint64_t k = 0; k <= kv->count; k++) {
			s = bt_gguf_str_at(kv, k);
			require(!s.data || inside(s.data, s.len, data, size));
			bt_gguf_int_at(kv, k);
			bt_gguf_float_at(kv, k);
		}
		bt_str_show(kv->key, key, sizeof key);
		if (!bt_str_eq(kv->key, key)) continue;
		require(bt_gguf_find(g, key) == kv);
		bt_gguf_get_u32(g, key, 0, u, NULL, NULL);
		bt_gguf_get_u32_per_layer(g, key, 0, u, 8, NULL, NULL);
		bt_gguf_get_f32(g, key, 0, &f, NULL, NULL);
		bt_gguf_get_bool(g, key, false, &b, NULL, NULL);
		bt_gguf_get_str(g, key, &s, NULL, NULL);
	}
}

static void look_at_tensors(const struct bt_gguf *g, const uint8_t *data, size_t size)
{
	char name[64];
	for (size_t i = 0; i < bt_gguf_n_tensors(g); i++) {
		const struct bt_tensor *t = bt_gguf_tensor_at(g, i);
		require(inside(t->data, t->size, data, size) && t->size > 0);
		require(t->size == t->row_bytes * t->n_rows && t->row_bytes == bt_type_row_bytes(t->type, t->dim[0]));
		bt_str_show(t->name, name, sizeof name);
		if (bt_str_eq(t->name, name)) require(bt_gguf_tensor(g, name) == t);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bt_gguf *g;
	struct baton_error err = {0};
	struct bt_mem_stats before, stats;
	bt_mem_get_stats(&before);
	enum baton_status status = bt_gguf_open_memory(data, size, "fuzz", &g, &err);
	/* Tables may be a few times as large as the densest directory, and no more. */
	bt_mem_get_stats(&stats);
	require(stats.current[BT_MEM_HOST] <= 8 * size + 4096);
	if (status) {
		require(!g && err.status == status && status != BATON_ERR_NOMEM && err.text[0]);
		for (const char *p = err.text; *p; p++) require(*p >= ' ' && *p <= '~');
	} else {
		look_at_keys(g, data, size);
		look_at_tensors(g, data, size);
	}
	bt_gguf_close(&g);
	bt_mem_get_stats(&stats);
	require(stats.blocks == before.blocks);
	return 0;
}
