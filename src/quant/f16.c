/* f16.c: IEEE binary16. */
#include "quant/types.h"

struct value {
	uint16_t h;
} BT_BLOCK;
_Static_assert(sizeof(struct value) == 2, "layout of F16");

static void unpack(const void *src, float *dst, size_t n)
{
	const struct value *v = src;
	for (size_t i = 0; i < n; i++) dst[i] = bt_f16_to_f32(v[i].h);
}

static void pack(const float *src, void *dst, size_t n, const float *importance)
{
	struct value *v = dst;
	(void)importance;
	for (size_t i = 0; i < n; i++) v[i].h = bt_f32_to_f16(src[i]);
}

const struct bt_type bt_type_f16 = {
	.id = BT_TYPE_F16,
	.name = "F16",
	.block = 1,
	.bytes = 2,
	.unpack = unpack,
	.pack = pack,
};
