#include "quant/types.h"

const struct bt_type bt_type_iq2_xxs = {
	.id = BT_TYPE_IQ2_XXS,
	.name = "IQ2_XXS",
	.block = 256,
	.bytes = 66,
};
