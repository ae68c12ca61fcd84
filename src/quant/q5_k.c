#include "quant/types.h"

const struct bt_type bt_type_q5_k = {
	.id = BT_TYPE_Q5_K,
	.name = "Q5_K",
	.block = 256,
	.bytes = 176,
};
