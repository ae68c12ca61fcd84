#include "quant/types.h"

const struct bt_type bt_type_iq1_s = {
	.id = BT_TYPE_IQ1_S,
	.name = "IQ1_S",
	.block = 256,
	.bytes = 50,
};
