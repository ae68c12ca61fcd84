/* bf16.c: bfloat16, the upper half of binary32. */
#include "quant/types.h"

struct value {
	uint16_t h;
} BT_BLOCK;
_Static_assert(sizeof(struct value) == 2, "layout of BF16");

static void unpack(const void *src, float *dst, size_t n)
{
	const struct value *v = src;
	for (size_t i = 0; i < n; i++) dst[i] = bt_bf16_to_f32(v[i].h);
}

static void pack(const float *src, void *dst, size_t n, const float *importance)
{
	struct value *v = dst;
	(void)importance;
	for (size_t i = 0; i < n; i++) v[i].h = bt_f32_to_bf16(src[i]);
}

const struct bt_type bt_type_bf16 = {
	.id = BT_TYPE_BF16,
	.name = "BF16",
	.block = 1,
	.bytes = 2,
	.unpack = unpack,
	.pack = pack,
};
