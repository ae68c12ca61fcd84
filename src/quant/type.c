/* type.c: looking up the table of weight types, and the one way from the integer form to floats. */
#include "quant/type.h"
#include "quant/types.h"

#include <strings.h>

#define ROW(NAME, symbol) [BT_TYPE_##NAME] = &bt_type_##symbol,
static const struct bt_type *const table[BT_TYPE_COUNT] = {BT_TYPES(ROW)};

#define FIRST_NAME(NAME, symbol) #NAME
#define REST_NAME(NAME, symbol)  ", " #NAME
static const char list[] = BT_TYPES_FIRST(FIRST_NAME) BT_TYPES_REST(REST_NAME);

const struct bt_type *bt_type_get(uint32_t id)
{
	return id < BT_TYPE_COUNT ? table[id] : NULL;
}

const struct bt_type *bt_type_by_name(const char *name)
{
	for (uint32_t id = 0; id < BT_TYPE_COUNT; id++)
		if (table[id] && !strcasecmp(table[id]->name, name)) return table[id];
	return NULL;
}

const char *bt_type_list(void)
{
	return list;
}

void bt_unpack_from_i8(const struct bt_type *t, const void *src, float *dst, size_t n)
{
	enum { CHUNK = 256 }; /* a multiple of every type's block */
	const uint8_t *p = src;
	int8_t q[CHUNK];
	float scale[CHUNK / 16], min[CHUNK / 16];
	for (size_t done = 0; done < n; done += CHUNK) {
		size_t len = n - done < CHUNK ? n - done : CHUNK;
		t->unpack_i8(p, q, scale, t->has_min ? min : NULL, len);
		p += bt_type_row_bytes(t, len);
		for (size_t g = 0; g < len / t->group; g++) {
			const int8_t *gq = q + g * t->group;
			if (t->has_min)
				for (size_t i = 0; i < t->group; i++) *dst++ = scale[g] * (float)gq[i] + min[g];
			else
				for (size_t i = 0; i < t->group; i++) *dst++ = scale[g] * (float)gq[i];
		}
	}
}
