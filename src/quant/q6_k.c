#include "quant/types.h"

const struct bt_type bt_type_q6_k = {
	.id = BT_TYPE_Q6_K,
	.name = "Q6_K",
	.block = 256,
	.bytes = 210,
};
