#include "quant/types.h"

const struct bt_type bt_type_iq1_m = {
	.id = BT_TYPE_IQ1_M,
	.name = "IQ1_M",
	.block = 256,
	.bytes = 56,
};
