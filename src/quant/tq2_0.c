#include "quant/types.h"

const struct bt_type bt_type_tq2_0 = {
	.id = BT_TYPE_TQ2_0,
	.name = "TQ2_0",
	.block = 256,
	.bytes = 66,
};
