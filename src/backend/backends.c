#include "backend/backend.h"

extern const struct bt_backend bt_backend_cpu, bt_backend_null, bt_backend_vulkan;

/* In order of preference. */
const struct bt_backend *const bt_backend_table[] = {
	&bt_backend_cpu,
#ifdef BT_HAVE_VULKAN
	&bt_backend_vulkan,
#endif
	&bt_backend_null,
	NULL,
};
