#include "quant/types.h"

const struct bt_type bt_type_iq2_s = {
	.id = BT_TYPE_IQ2_S,
	.name = "IQ2_S",
	.block = 256,
	.bytes = 82,
};
