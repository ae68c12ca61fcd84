/* library.c: opening libvulkan, and what the machine's devices can do. */
#include "backend/gpu/vulkan/vk.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define FLOOR VK_API_VERSION_1_2

static struct bt_vk_library library;
static pthread_mutex_t library_lock = PTHREAD_MUTEX_INITIALIZER; /* of `library` while it is opened */

/* After a failure: what there is of it. */
static void close_library(void)
{
	if (library.instance && library.vkDestroyInstance) library.vkDestroyInstance(library.instance, NULL);
	if (library.handle) dlclose(library.handle);
	library = (struct bt_vk_library){0};
}

static enum baton_status open_library(struct baton_error *err)
{
	struct bt_vk_library *lib = &library;
	lib->handle = dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
	if (!lib->handle)
		return bt_fail(err, BATON_ERR_DEVICE,
		               "Vulkan: libvulkan.so.1 is not installed (Debian: libvulkan1 and "
		               "mesa-vulkan-drivers or the card's driver)");
	void *get = dlsym(lib->handle, "vkGetInstanceProcAddr");
	memcpy(&lib->vkGetInstanceProcAddr, &get, sizeof get);
	bool found = get != NULL;
#define GET(name) \
	if (found) found = (lib->name = (PFN_##name)lib->vkGetInstanceProcAddr(lib->instance, #name)) != NULL;
	BT_VK_GLOBAL_FUNCTIONS(GET)
	uint32_t version = 0;
	if (found) lib->vkEnumerateInstanceVersion(&version);
	VkApplicationInfo app = {.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
	                         .pApplicationName = "baton",
	                         .apiVersion = version >= VK_API_VERSION_1_3 ? VK_API_VERSION_1_3 : FLOOR};
	VkInstanceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO, .pApplicationInfo = &app};
	if (found && version >= FLOOR) found = !lib->vkCreateInstance(&info, NULL, &lib->instance);
	else found = false;
	BT_VK_INSTANCE_FUNCTIONS(GET)
#undef GET
	if (found) return BATON_OK;
	return bt_fail(err, BATON_ERR_DEVICE,
	               "Vulkan: there is no driver for Vulkan 1.2 (Debian: mesa-vulkan-drivers)");
}

enum baton_status bt_vk_library_open(const struct bt_vk_library **lib, struct baton_error *err)
{
	enum baton_status status = BATON_OK;
	pthread_mutex_lock(&library_lock);
	if (!library.instance) status = open_library(err);
	if (status) close_library();
	pthread_mutex_unlock(&library_lock);
	*lib = &library;
	return status;
}

/* Is the extension among those of the device? */
bool bt_vk_has_extension(const struct bt_vk_library *lib, VkPhysicalDevice device, const char *name)
{
	uint32_t n = 0;
	bool found = false;
	if (lib->vkEnumerateDeviceExtensionProperties(device, NULL, &n, NULL)) return false;
	VkExtensionProperties *e = bt_mem_array(BT_MEM_HOST, n + 1, sizeof *e);
	if (e && lib->vkEnumerateDeviceExtensionProperties(device, NULL, &n, e) >= 0)
		for (uint32_t i = 0; i < n && !found; i++) found = !strcmp(e[i].extensionName, name);
	bt_mem_free(e);
	return found;
}

static bool find_queue(const struct bt_vk_library *lib, struct bt_vk_card *c)
{
	VkQueueFamilyProperties family[32];
	uint32_t n = 32;
	lib->vkGetPhysicalDeviceQueueFamilyProperties(c->physical, &n, family);
	for (uint32_t i = 0; i < n; i++) {
		if (!(family[i].queueFlags & VK_QUEUE_COMPUTE_BIT)) continue;
		c->queue_family = i;
		return true;
	}
	return false;
}

static void read_memory(const struct bt_vk_library *lib, struct bt_vk_card *c)
{
	bool budget = bt_vk_has_extension(lib, c->physical, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
	VkPhysicalDeviceMemoryBudgetPropertiesEXT b = {
		.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT};
	VkPhysicalDeviceMemoryProperties2 m = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2,
	                                       .pNext = budget ? &b : NULL};
	lib->vkGetPhysicalDeviceMemoryProperties2(c->physical, &m);
	for (uint32_t i = 0; i < m.memoryProperties.memoryHeapCount; i++) {
		const VkMemoryHeap *heap = &m.memoryProperties.memoryHeaps[i];
		if (!(heap->flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) || heap->size <= c->memory_total) continue;
		c->memory_total = c->memory_free = heap->size;
		if (budget) c->memory_free = b.heapBudget[i] > b.heapUsage[i] ? b.heapBudget[i] - b.heapUsage[i] : 0;
	}
}

/* What is asked of a device: properties and features, chained where the device knows them. */
struct answers {
	VkPhysicalDeviceMaintenance4Properties m4;
	VkPhysicalDeviceSubgroupSizeControlProperties size;
	VkPhysicalDeviceVulkan12Properties v12;
	VkPhysicalDeviceVulkan11Properties v11;
	VkPhysicalDeviceProperties2 p;
	struct bt_vk_matrix_features fc;
	VkPhysicalDeviceShaderIntegerDotProductFeatures fd;
	VkPhysicalDeviceSubgroupSizeControlFeatures fs;
	VkPhysicalDeviceVulkan12Features f12;
	VkPhysicalDeviceFeatures2 f;
};

static void ask(const struct bt_vk_library *lib, const struct bt_vk_card *c, bool core13, struct answers *a)
{
	bool matrix = bt_vk_has_extension(lib, c->physical, BT_VK_MATRIX_EXTENSION);
	bool control = core13 || c->control_extension, dot = core13 || c->dot_extension;
	a->p.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2;
	a->m4.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_4_PROPERTIES;
	a->size.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_PROPERTIES;
	a->v12.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_PROPERTIES;
	a->v11.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES;
	a->fc.sType = BT_VK_MATRIX_FEATURES;
	a->fd.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES;
	a->fs.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES;
	a->f12.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES;
	a->f.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
	a->p.pNext = &a->v11;
	a->v11.pNext = &a->v12;
	a->size.pNext = core13 ? &a->m4 : NULL;
	a->v12.pNext = control ? (void *)&a->size : a->size.pNext;
	a->fd.pNext = matrix ? &a->fc : NULL;
	a->fs.pNext = dot ? (void *)&a->fd : a->fd.pNext;
	a->f12.pNext = control ? (void *)&a->fs : a->fs.pNext;
	a->f.pNext = &a->f12;
	lib->vkGetPhysicalDeviceProperties2(c->physical, &a->p);
	lib->vkGetPhysicalDeviceFeatures2(c->physical, &a->f);
	if (control) return;
	a->size.minSubgroupSize = a->size.maxSubgroupSize = a->v11.subgroupSize;
}

static bool can_exchange(const struct answers *a)
{
	return a->size.minSubgroupSize >= 8 && (a->v11.subgroupSupportedStages & VK_SHADER_STAGE_COMPUTE_BIT) &&
	       (a->v11.subgroupSupportedOperations & VK_SUBGROUP_FEATURE_SHUFFLE_BIT);
}

/* Are there subgroups of 32 threads, always or on demand? */
static bool has_32(const struct answers *a)
{
	if (a->size.minSubgroupSize > 32 || a->size.maxSubgroupSize < 32) return false;
	return a->size.minSubgroupSize == a->size.maxSubgroupSize ||
	       (a->fs.subgroupSizeControl && (a->size.requiredSubgroupSizeStages & VK_SHADER_STAGE_COMPUTE_BIT));
}

/* 16 x 16 halves by 16 x 16, and floats added? */
static bool is_wanted(const struct bt_vk_matrix_shape *s)
{
	bool size = s->m == 16 && s->n == 16 && s->k == 16 && s->scope == BT_VK_SCOPE_SUBGROUP;
	return size && s->a == BT_VK_COMPONENT_F16 && s->b == BT_VK_COMPONENT_F16 && s->c == BT_VK_COMPONENT_F32 &&
	       s->result == BT_VK_COMPONENT_F32;
}

/* Has it matrix cores that multiply so for 32 threads? */
static bool can_multiply(const struct bt_vk_library *lib, VkPhysicalDevice physical, const struct answers *a)
{
	enum { MOST = 64 };
	struct bt_vk_matrix_shape have[MOST];
	uint32_t n = MOST;
	bool found = false;
	VkResult(VKAPI_PTR * get)(VkPhysicalDevice, uint32_t *, struct bt_vk_matrix_shape *);
	PFN_vkVoidFunction function = lib->vkGetInstanceProcAddr(lib->instance,
	                                                         "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR");
	memcpy(&get, &function, sizeof get);
	if (!get || !has_32(a) || !a->fc.cooperativeMatrix || !a->f12.vulkanMemoryModel || !a->f12.shaderFloat16)
		return false;
	for (uint32_t i = 0; i < MOST; i++) have[i] = (struct bt_vk_matrix_shape){.sType = BT_VK_MATRIX_SHAPE};
	if (get(physical, &n, have) < 0) return false;
	for (uint32_t i = 0; i < n; i++) found |= is_wanted(&have[i]);
	return found;
}

/* Does the device meet the floor, and what has it beyond it? */
static bool read_card(const struct bt_vk_library *lib, VkPhysicalDevice physical, struct bt_vk_card *c)
{
	*c = (struct bt_vk_card){.physical = physical};
	VkPhysicalDeviceProperties2 first = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2};
	lib->vkGetPhysicalDeviceProperties2(physical, &first);
	if (first.properties.apiVersion < FLOOR) return false;
	bool core13 = first.properties.apiVersion >= VK_API_VERSION_1_3;
	c->control_extension = !core13 &&
	                       bt_vk_has_extension(lib, physical, VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME);
	c->dot_extension = !core13 &&
	                   bt_vk_has_extension(lib, physical, VK_KHR_SHADER_INTEGER_DOT_PRODUCT_EXTENSION_NAME);
	struct answers a = {0};
	ask(lib, c, core13, &a);
	if (!a.f12.bufferDeviceAddress || !a.f12.scalarBlockLayout || !a.f.features.shaderInt64 || !find_queue(lib, c))
		return false;
	c->props = a.p.properties;
	if (c->props.limits.maxComputeWorkGroupInvocations < BT_GPU_THREADS) return false;
	c->subgroup_max = a.size.maxSubgroupSize;
	c->subgroup_varies = a.size.minSubgroupSize != a.size.maxSubgroupSize;
	c->full_subgroups = a.fs.computeFullSubgroups && a.fs.subgroupSizeControl;
	c->fast = a.fd.shaderIntegerDotProduct && can_exchange(&a);
	c->shared = c->props.limits.maxComputeSharedMemorySize;
	c->matrix = c->fast && c->shared >= BT_VK_MATRIX_SHARED && can_multiply(lib, physical, &a);
	c->packed = c->fast && a.f12.shaderFloat16;
	c->zeros = c->packed && a.v12.shaderDenormFlushToZeroFloat16 && a.v12.shaderDenormPreserveFloat32 &&
	           a.v12.denormBehaviorIndependence != VK_SHADER_FLOAT_CONTROLS_INDEPENDENCE_NONE;
	c->max_alloc = a.v11.maxMemoryAllocationSize;
	if (core13 && a.m4.maxBufferSize < c->max_alloc) c->max_alloc = a.m4.maxBufferSize;
	c->software = c->props.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU;
	static const uint8_t rank[] = {3, 1, 0, 2, 4}; /* by VkPhysicalDeviceType */
	c->rank = (unsigned)c->props.deviceType < sizeof rank ? rank[c->props.deviceType] : 3;
	snprintf(c->driver, sizeof c->driver, "%.120s %.120s", a.v12.driverName, a.v12.driverInfo);
	memcpy(c->device_uuid, a.v11.deviceUUID, sizeof c->device_uuid);
	memcpy(c->driver_uuid, a.v11.driverUUID, sizeof c->driver_uuid);
	read_memory(lib, c);
	return true;
}

uint32_t bt_vk_cards(const struct bt_vk_library *lib, struct bt_vk_card card[BT_VK_MAX_CARDS])
{
	VkPhysicalDevice physical[BT_VK_MAX_CARDS];
	uint32_t n = BT_VK_MAX_CARDS, found = 0;
	if (lib->vkEnumeratePhysicalDevices(lib->instance, &n, physical) < 0) return 0;
	for (uint32_t i = 0; i < n; i++) {
		struct bt_vk_card c;
		if (!read_card(lib, physical[i], &c)) continue;
		uint32_t at = found++;
		for (; at && card[at - 1].rank > c.rank; at--) card[at] = card[at - 1];
		card[at] = c;
	}
	return found;
}
