#include "quant/types.h"

const struct bt_type bt_type_iq3_xxs = {
	.id = BT_TYPE_IQ3_XXS,
	.name = "IQ3_XXS",
	.block = 256,
	.bytes = 98,
};
