#include "quant/types.h"

const struct bt_type bt_type_q4_k = {
	.id = BT_TYPE_Q4_K,
	.name = "Q4_K",
	.block = 256,
	.bytes = 144,
};
