/* value.c: metadata values as C types. */
#include "gguf/internal.h"

#include <math.h>
#include <stdio.h>

static const struct {
	const char *name;
	unsigned char bytes;
	bool is_int, is_float;
} types[] = {
	[BT_GGUF_U8] = {"u8", 1, true, false},          [BT_GGUF_I8] = {"i8", 1, true, false},
	[BT_GGUF_U16] = {"u16", 2, true, false},        [BT_GGUF_I16] = {"i16", 2, true, false},
	[BT_GGUF_U32] = {"u32", 4, true, false},        [BT_GGUF_I32] = {"i32", 4, true, false},
	[BT_GGUF_F32] = {"f32", 4, false, true},        [BT_GGUF_BOOL] = {"bool", 1, false, false},
	[BT_GGUF_STRING] = {"string", 0, false, false}, [BT_GGUF_ARRAY] = {"array", 0, false, false},
	[BT_GGUF_U64] = {"u64", 8, true, false},        [BT_GGUF_I64] = {"i64", 8, true, false},
	[BT_GGUF_F64] = {"f64", 8, false, true},
};
#define N_TYPES (sizeof types / sizeof *types)

const char *bt_gguf_type_name(enum bt_gguf_type type)
{
	return (size_t)type < N_TYPES ? types[type].name : "?";
}

size_t bt_gguf_type_bytes(enum bt_gguf_type type)
{
	return (size_t)type < N_TYPES ? types[type].bytes : 0;
}

bool bt_gguf_is_int(enum bt_gguf_type type)
{
	return (size_t)type < N_TYPES && types[type].is_int;
}

static bool is_float(enum bt_gguf_type type)
{
	return (size_t)type < N_TYPES && types[type].is_float;
}

/* Of a value, or of the elements of an array. */
static enum bt_gguf_type base_type(const struct bt_gguf_kv *kv)
{
	return kv->type == BT_GGUF_ARRAY ? kv->elem_type : kv->type;
}

const char *bt_str_show(struct bt_str s, char *buf, size_t size)
{
	size_t n = s.len < size ? s.len : size - 1;
	for (size_t i = 0; i < n; i++) buf[i] = s.data[i];
	for (size_t i = 0; i < n; i++)
		if (buf[i] < ' ' || buf[i] > '~') buf[i] = '?';
	buf[n] = 0;
	if (n < s.len && n >= 3) memcpy(buf + n - 3, "...", 3);
	return buf;
}

static double float_value(enum bt_gguf_type type, const unsigned char *p)
{
	if (type == BT_GGUF_F32) {
		uint32_t u = bt_le32(p);
		float f;
		memcpy(&f, &u, sizeof f);
		return f;
	}
	uint64_t u = bt_le64(p);
	double d;
	memcpy(&d, &u, sizeof d);
	return d;
}

static int64_t clamped(double d)
{
	if (isnan(d)) return 0;
	if (d >= 0x1p63) return INT64_MAX;
	if (d < -0x1p63) return INT64_MIN;
	return (int64_t)d;
}

int64_t bt_gguf_int_at(const struct bt_gguf_kv *kv, uint64_t i)
{
	if (i >= kv->count) return 0;
	enum bt_gguf_type type = base_type(kv);
	const unsigned char *p = kv->value + i * bt_gguf_type_bytes(type);
	uint64_t u;
	switch (type) {
	case BT_GGUF_U8: return *p;
	case BT_GGUF_I8: return (int8_t)*p;
	case BT_GGUF_U16: return bt_le16(p);
	case BT_GGUF_I16: return (int16_t)bt_le16(p);
	case BT_GGUF_U32: return bt_le32(p);
	case BT_GGUF_I32: return (int32_t)bt_le32(p);
	case BT_GGUF_BOOL: return *p != 0;
	case BT_GGUF_U64: u = bt_le64(p); return u > INT64_MAX ? INT64_MAX : (int64_t)u;
	case BT_GGUF_I64: return (int64_t)bt_le64(p);
	case BT_GGUF_F32:
	case BT_GGUF_F64: return clamped(float_value(type, p));
	default: return 0;
	}
}

uint64_t bt_gguf_u64_at(const struct bt_gguf_kv *kv, uint64_t i)
{
	if (i < kv->count && base_type(kv) == BT_GGUF_U64) return bt_le64(kv->value + 8 * i);
	int64_t v = bt_gguf_int_at(kv, i);
	return v < 0 ? 0 : (uint64_t)v;
}

double bt_gguf_float_at(const struct bt_gguf_kv *kv, uint64_t i)
{
	if (i >= kv->count) return 0;
	enum bt_gguf_type type = base_type(kv);
	const unsigned char *p = kv->value + i * bt_gguf_type_bytes(type);
	if (is_float(type)) return float_value(type, p);
	if (type == BT_GGUF_U64) return (double)bt_le64(p);
	return (double)bt_gguf_int_at(kv, i);
}

struct bt_str bt_gguf_str_at(const struct bt_gguf_kv *kv, uint64_t i)
{
	return kv->strings && i < kv->count ? kv->strings[i] : (struct bt_str){NULL, 0};
}

/* "a string", "an array of u32": for the sentence below. */
static const char *describe(const struct bt_gguf_kv *kv, char *buf, size_t size)
{
	if (kv->type == BT_GGUF_ARRAY) snprintf(buf, size, "array of %s", bt_gguf_type_name(kv->elem_type));
	else snprintf(buf, size, "%s", bt_gguf_type_name(kv->type));
	return buf;
}

static enum baton_status wrong_type(const struct bt_gguf_kv *kv, const char *wanted, struct baton_error *err)
{
	char key[96], type[32];
	return bt_fail(err, BATON_ERR_FORMAT, "key '%s' must be %s, not %s (at byte %llu)",
	               bt_str_show(kv->key, key, sizeof key), wanted, describe(kv, type, sizeof type),
	               (unsigned long long)kv->offset);
}

static const struct bt_gguf_kv *find(const struct bt_gguf *g, const char *key, bool *found)
{
	const struct bt_gguf_kv *kv = bt_gguf_find(g, key);
	if (found) *found = kv != NULL;
	return kv;
}

/* Element i as u32, or a sentence. */
static enum baton_status u32_value(const struct bt_gguf_kv *kv, uint64_t i, uint32_t *out, struct baton_error *err)
{
	int64_t v = bt_gguf_int_at(kv, i);
	if (v < 0 || v > UINT32_MAX) {
		char key[96];
		return bt_fail(err, BATON_ERR_FORMAT, "key '%s' is out of range: %lld (at byte %llu)",
		               bt_str_show(kv->key, key, sizeof key), (long long)v, (unsigned long long)kv->offset);
	}
	*out = (uint32_t)v;
	return BATON_OK;
}

enum baton_status bt_gguf_get_u32(const struct bt_gguf *g, const char *key, uint32_t dflt, uint32_t *out, bool *found,
                                  struct baton_error *err)
{
	const struct bt_gguf_kv *kv = find(g, key, found);
	*out = dflt;
	if (!kv) return BATON_OK;
	if (!bt_gguf_is_int(kv->type)) return wrong_type(kv, "an integer", err);
	return u32_value(kv, 0, out, err);
}

enum baton_status bt_gguf_get_f32(const struct bt_gguf *g, const char *key, float dflt, float *out, bool *found,
                                  struct baton_error *err)
{
	const struct bt_gguf_kv *kv = find(g, key, found);
	*out = dflt;
	if (!kv) return BATON_OK;
	if (!is_float(kv->type)) return wrong_type(kv, "a float", err);
	*out = (float)bt_gguf_float_at(kv, 0);
	return BATON_OK;
}

enum baton_status bt_gguf_get_bool(const struct bt_gguf *g, const char *key, bool dflt, bool *out, bool *found,
                                   struct baton_error *err)
{
	const struct bt_gguf_kv *kv = find(g, key, found);
	*out = dflt;
	if (!kv) return BATON_OK;
	if (kv->type != BT_GGUF_BOOL) return wrong_type(kv, "a bool", err);
	*out = bt_gguf_int_at(kv, 0) != 0;
	return BATON_OK;
}

enum baton_status bt_gguf_get_str(const struct bt_gguf *g, const char *key, struct bt_str *out, bool *found,
                                  struct baton_error *err)
{
	const struct bt_gguf_kv *kv = find(g, key, found);
	*out = (struct bt_str){NULL, 0};
	if (!kv) return BATON_OK;
	if (kv->type != BT_GGUF_STRING) return wrong_type(kv, "a string", err);
	*out = bt_gguf_str_at(kv, 0);
	return BATON_OK;
}

enum baton_status bt_gguf_get_u32_per_layer(const struct bt_gguf *g, const char *key, uint32_t dflt, uint32_t *out,
                                            size_t n, bool *found, struct baton_error *err)
{
	const struct bt_gguf_kv *kv = find(g, key, found);
	for (size_t i = 0; i < n; i++) out[i] = dflt;
	if (!kv) return BATON_OK;
	enum bt_gguf_type type = base_type(kv);
	if (!bt_gguf_is_int(type) && type != BT_GGUF_BOOL)
		return wrong_type(kv, "an integer or an array of integers", err);
	bool array = kv->type == BT_GGUF_ARRAY;
	if (array && kv->count < n) {
		char show[96];
		return bt_fail(err, BATON_ERR_FORMAT, "key '%s' has %llu entries for %zu blocks (at byte %llu)",
		               bt_str_show(kv->key, show, sizeof show), (unsigned long long)kv->count, n,
		               (unsigned long long)kv->offset);
	}
	for (size_t i = 0; i < n; i++) {
		enum baton_status status = u32_value(kv, array ? i : 0, &out[i], err);
		if (status) return status;
	}
	return BATON_OK;
}
