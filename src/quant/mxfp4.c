#include "quant/types.h"

const struct bt_type bt_type_mxfp4 = {
	.id = BT_TYPE_MXFP4,
	.name = "MXFP4",
	.block = 32,
	.bytes = 17,
};
