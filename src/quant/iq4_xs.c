#include "quant/types.h"

const struct bt_type bt_type_iq4_xs = {
	.id = BT_TYPE_IQ4_XS,
	.name = "IQ4_XS",
	.block = 256,
	.bytes = 136,
};
