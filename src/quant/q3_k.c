#include "quant/types.h"

const struct bt_type bt_type_q3_k = {
	.id = BT_TYPE_Q3_K,
	.name = "Q3_K",
	.block = 256,
	.bytes = 110,
};
