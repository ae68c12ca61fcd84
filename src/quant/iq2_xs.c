#include "quant/types.h"

const struct bt_type bt_type_iq2_xs = {
	.id = BT_TYPE_IQ2_XS,
	.name = "IQ2_XS",
	.block = 256,
	.bytes = 74,
};
