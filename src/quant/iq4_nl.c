#include "quant/types.h"

const struct bt_type bt_type_iq4_nl = {
	.id = BT_TYPE_IQ4_NL,
	.name = "IQ4_NL",
	.block = 32,
	.bytes = 18,
};
