/* features.c: what a card can do, in words, whether baton uses it or not: for `baton doctor`. */
#include "backend/gpu/vulkan/vk.h"

#include <stdio.h>
#include <string.h>

static void say(char *text, size_t size, const char *what)
{
	size_t len = strlen(text);
	snprintf(text + len, size - len, "%s%s", len ? "; " : "", what);
}

void bt_vk_features(uint32_t index, char *text, size_t size)
{
	const struct bt_vk_library *lib;
	struct bt_vk_card card[BT_VK_MAX_CARDS];
	char part[64];
	text[0] = 0;
	if (bt_vk_library_open(&lib, NULL) || index >= bt_vk_cards(lib, card)) return;
	const struct bt_vk_card *c = &card[index];
	VkPhysicalDeviceVulkan12Features f12 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES};
	VkPhysicalDeviceVulkan11Features f11 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES,
	                                        .pNext = &f12};
	VkPhysicalDeviceFeatures2 f = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, .pNext = &f11};
	lib->vkGetPhysicalDeviceFeatures2(c->physical, &f);
	snprintf(part, sizeof part, "Vulkan %u.%u", VK_API_VERSION_MAJOR(c->props.apiVersion),
	         VK_API_VERSION_MINOR(c->props.apiVersion));
	say(text, size, part);
	snprintf(part, sizeof part, "subgroups of up to %u", c->subgroup_max);
	say(text, size, part);
	say(text, size, c->fast ? "lane exchange and packed dot product" : "no lane exchange or packed dot product");
	if (f12.shaderFloat16) say(text, size, "16-bit arithmetic");
	if (f11.storageBuffer16BitAccess) say(text, size, "16-bit storage");
	if (f12.storageBuffer8BitAccess) say(text, size, "8-bit storage");
	if (bt_vk_has_extension(lib, c->physical, BT_VK_MATRIX_EXTENSION))
		say(text, size, c->matrix ? "matrix cores" : "matrix cores of other shapes than baton's kernels use");
	snprintf(part, sizeof part, "%u KiB shared", c->shared / 1024);
	say(text, size, part);
	snprintf(part, sizeof part, "%.1f GB at once", (double)c->max_alloc * 1e-9);
	say(text, size, part);
}
