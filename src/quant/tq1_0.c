#include "quant/types.h"

const struct bt_type bt_type_tq1_0 = {
	.id = BT_TYPE_TQ1_0,
	.name = "TQ1_0",
	.block = 256,
	.bytes = 54,
};
