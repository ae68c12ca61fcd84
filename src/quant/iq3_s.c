#include "quant/types.h"

const struct bt_type bt_type_iq3_s = {
	.id = BT_TYPE_IQ3_S,
	.name = "IQ3_S",
	.block = 256,
	.bytes = 110,
};
