/* type.c: looking up the table of weight types. */
#include "quant/type.h"
#include "quant/types.h"

#include <strings.h>

#define ROW(NAME, symbol) [BT_TYPE_##NAME] = &bt_type_##symbol,
static const struct bt_type *const table[BT_TYPE_COUNT] = {BT_TYPES(ROW)};

#define FIRST_NAME(NAME, symbol) #NAME
#define REST_NAME(NAME, symbol)  ", " #NAME
static const char list[] = BT_TYPES_FIRST(FIRST_NAME) BT_TYPES_REST(REST_NAME);

const struct bt_type *bt_type_get(uint32_t id)
{
	return id < BT_TYPE_COUNT ? table[id] : NULL;
}

const struct bt_type *bt_type_by_name(const char *name)
{
	for (uint32_t id = 0; id < BT_TYPE_COUNT; id++)
		if (table[id] && !strcasecmp(table[id]->name, name)) return table[id];
	return NULL;
}

const char *bt_type_list(void)
{
	return list;
}
