/* Finding a device by its name. Apart from the table, so that tests can bring a table of their own. */
#include "backend/backend.h"

#include <stdio.h>
#include <string.h>

enum baton_status bt_backend_find(const char *device, const struct bt_backend **out, uint32_t *index,
                                  struct baton_error *err)
{
	char known[256] = "";
	size_t len = 0;
	for (const struct bt_backend *const *b = bt_backend_table; *b; b++) {
		for (uint32_t i = 0; i < (*b)->count(); i++) {
			struct bt_device_info info;
			if ((*b)->describe(i, &info, NULL)) continue;
			if (device ? !strcasecmp(device, info.name) : !info.hidden) {
				*out = *b;
				*index = i;
				return BATON_OK;
			}
			if (!info.hidden && len < sizeof known) {
				int n = snprintf(known + len, sizeof known - len, "%s%s", len ? ", " : "", info.name);
				len += n > 0 ? (size_t)n : 0;
			}
		}
	}
	return bt_fail(err, BATON_ERR_ARG, "no device '%s'; this machine has: %s", device ? device : "", known);
}
