/* f32.c: IEEE binary32, as it is. */
#include "quant/types.h"

#include <string.h>

static void unpack(const void *src, float *dst, size_t n)
{
	memcpy(dst, src, n * sizeof *dst);
}

static void pack(const float *src, void *dst, size_t n, const float *importance)
{
	(void)importance;
	memcpy(dst, src, n * sizeof *src);
}

const struct bt_type bt_type_f32 = {
	.id = BT_TYPE_F32,
	.name = "F32",
	.block = 1,
	.bytes = 4,
	.unpack = unpack,
	.pack = pack,
};
