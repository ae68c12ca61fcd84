#include "quant/types.h"

const struct bt_type bt_type_q2_k = {
	.id = BT_TYPE_Q2_K,
	.name = "Q2_K",
	.block = 256,
	.bytes = 84,
};
