/* vulkan.c: Vulkan as a driver, and its row in the device table. */
#include "backend/gpu/vulkan/vk.h"
#include "backend/gpu/device.h"

#include <stdio.h>
#include <string.h>

extern const struct bt_backend bt_backend_vulkan;

static const char *result_text(VkResult r)
{
	switch (r) {
	case VK_ERROR_OUT_OF_HOST_MEMORY: return "out of host memory";
	case VK_ERROR_OUT_OF_DEVICE_MEMORY: return "out of device memory";
	case VK_ERROR_DEVICE_LOST: return "the device is lost (its driver has reset it)";
	case VK_ERROR_INITIALIZATION_FAILED: return "the driver could not start";
	case VK_ERROR_FEATURE_NOT_PRESENT: return "a feature is missing";
	case VK_ERROR_EXTENSION_NOT_PRESENT: return "an extension is missing";
	case VK_TIMEOUT: return "no answer in time: it hangs, or the step is long (--gpu-timeout, a smaller -ub)";
	default: return "the driver failed";
	}
}

enum baton_status bt_vk_fail(struct bt_vk *vk, VkResult r, const char *what, struct baton_error *err)
{
	bool memory = r == VK_ERROR_OUT_OF_HOST_MEMORY || r == VK_ERROR_OUT_OF_DEVICE_MEMORY;
	if (r == VK_ERROR_DEVICE_LOST || r == VK_TIMEOUT) vk->lost = true;
	return bt_fail(err, memory ? BATON_ERR_NOMEM : BATON_ERR_DEVICE, "%s: %s: %s (VkResult %d)",
	               vk->card.props.deviceName, what, result_text(r), (int)r);
}

enum baton_status bt_vk_alive(const struct bt_vk *vk, struct baton_error *err)
{
	if (!vk->lost) return BATON_OK;
	return bt_fail(err, BATON_ERR_DEVICE, "%s: the device was lost; open it again", vk->card.props.deviceName);
}

static void vk_close(struct bt_gpu *gpu)
{
	struct bt_vk *vk = (struct bt_vk *)gpu;
	if (!vk) return;
	if (vk->device && vk->vkDestroyDevice && bt_vk_idle(vk)) {
		if (vk->cache) bt_vk_keep(gpu);
		for (uint32_t k = 0; k < BT_GPU_KERNELS; k++)
			if (vk->pipeline[k]) vk->vkDestroyPipeline(vk->device, vk->pipeline[k], NULL);
		if (vk->cache) vk->vkDestroyPipelineCache(vk->device, vk->cache, NULL);
		if (vk->layout) vk->vkDestroyPipelineLayout(vk->device, vk->layout, NULL);
		if (vk->semaphore) vk->vkDestroySemaphore(vk->device, vk->semaphore, NULL);
		vk->vkDestroyDevice(vk->device, NULL);
	}
	bt_mem_free(vk);
}

static VkResult create_device(struct bt_vk *vk)
{
	const struct bt_vk_card *c = &vk->card;
	float priority = 1;
	const char *extension[3];
	uint32_t n = 0;
	if (c->dot_extension && c->fast) extension[n++] = VK_KHR_SHADER_INTEGER_DOT_PRODUCT_EXTENSION_NAME;
	if (c->control_extension && c->full_subgroups) extension[n++] = VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME;
	if (c->matrix) extension[n++] = BT_VK_MATRIX_EXTENSION;
	VkDeviceQueueCreateInfo queue = {.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
	                                 .queueFamilyIndex = c->queue_family,
	                                 .queueCount = 1,
	                                 .pQueuePriorities = &priority};
	struct bt_vk_matrix_features matrix = {.sType = BT_VK_MATRIX_FEATURES, .cooperativeMatrix = VK_TRUE};
	VkPhysicalDeviceShaderIntegerDotProductFeatures dot = {
		.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES,
		.pNext = c->matrix ? &matrix : NULL,
		.shaderIntegerDotProduct = VK_TRUE};
	VkPhysicalDeviceSubgroupSizeControlFeatures size = {
		.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES,
		.pNext = c->fast ? &dot : NULL,
		.subgroupSizeControl = VK_TRUE,
		.computeFullSubgroups = VK_TRUE};
	VkPhysicalDeviceVulkan12Features f12 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
	                                        .pNext = c->full_subgroups ? (void *)&size : size.pNext,
	                                        .bufferDeviceAddress = VK_TRUE,
	                                        .scalarBlockLayout = VK_TRUE,
	                                        .timelineSemaphore = VK_TRUE, /* every 1.2 has it */
	                                        .shaderFloat16 = c->matrix || c->packed,
	                                        .vulkanMemoryModel = c->matrix};
	VkPhysicalDeviceFeatures2 f = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
	                               .pNext = &f12,
	                               .features = {.shaderInt64 = VK_TRUE}};
	VkDeviceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
	                           .pNext = &f,
	                           .queueCreateInfoCount = 1,
	                           .pQueueCreateInfos = &queue,
	                           .enabledExtensionCount = n,
	                           .ppEnabledExtensionNames = extension};
	return vk->lib->vkCreateDevice(c->physical, &info, NULL, &vk->device);
}

static enum baton_status open_device(struct bt_vk *vk, const char *cache_dir, struct baton_error *err)
{
	VkResult r = create_device(vk);
	if (r) {
		vk->device = VK_NULL_HANDLE;
		return bt_vk_fail(vk, r, "opening the device", err);
	}
	bool found = true;
#define GET(name) \
	if (found) found = (vk->name = (PFN_##name)vk->lib->vkGetDeviceProcAddr(vk->device, #name)) != NULL;
	BT_VK_DEVICE_FUNCTIONS(GET)
#undef GET
	if (!found) return bt_fail(err, BATON_ERR_DEVICE, "%s: the driver lacks a function", vk->card.props.deviceName);
	vk->vkGetDeviceQueue(vk->device, vk->card.queue_family, 0, &vk->queue);
	VkPhysicalDeviceMemoryProperties2 memory = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2};
	vk->lib->vkGetPhysicalDeviceMemoryProperties2(vk->card.physical, &memory);
	vk->memory = memory.memoryProperties;
	VkPushConstantRange push = {VK_SHADER_STAGE_COMPUTE_BIT, 0, BT_GPU_MAX_PARAMS};
	VkPipelineLayoutCreateInfo layout = {.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
	                                     .pushConstantRangeCount = 1,
	                                     .pPushConstantRanges = &push};
	r = vk->vkCreatePipelineLayout(vk->device, &layout, NULL, &vk->layout);
	VkSemaphoreTypeCreateInfo counts = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO,
	                                    .semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE};
	VkSemaphoreCreateInfo semaphore = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO, .pNext = &counts};
	if (!r) r = vk->vkCreateSemaphore(vk->device, &semaphore, NULL, &vk->semaphore);
	if (!r) r = bt_vk_cache_open(vk, cache_dir);
	return r ? bt_vk_fail(vk, r, "opening the device", err) : BATON_OK;
}

static enum baton_status vk_open(uint32_t index, const struct bt_device_params *params, struct bt_gpu **out,
                                 struct baton_error *err)
{
	*out = NULL;
	struct bt_vk *vk = bt_mem_zalloc(BT_MEM_HOST, sizeof *vk);
	if (!vk) return bt_fail_nomem(err, sizeof *vk, "a device");
	vk->base.driver = &bt_vk_driver;
	struct bt_vk_card card[BT_VK_MAX_CARDS];
	enum baton_status status = bt_vk_library_open(&vk->lib, err);
	if (!status && index >= bt_vk_cards(vk->lib, card))
		status = bt_fail(err, BATON_ERR_DEVICE, "Vulkan%u: the device is no longer there", index);
	if (!status) {
		vk->card = card[index];
		if (params->plain_kernels)
			vk->card.fast = vk->card.full_subgroups = vk->card.matrix = vk->card.packed = vk->card.zeros =
				false;
		memcpy(vk->base.caps.max_grid, vk->card.props.limits.maxComputeWorkGroupCount,
		       sizeof vk->base.caps.max_grid);
		vk->base.caps.max_alloc = vk->card.max_alloc;
		vk->base.caps.shared = vk->card.shared;
		vk->base.caps.threads = vk->card.props.limits.maxComputeWorkGroupInvocations;
		vk->base.caps.subgroup = vk->card.subgroup_max;
		vk->base.caps.matrix_cores = vk->card.matrix;
		vk->base.caps.packed_halves = vk->card.packed;
		vk->n_threads = params->n_threads;
		vk->timeout_ns = params->timeout > 0 ? (uint64_t)(params->timeout * 1e9) : UINT64_MAX;
		status = open_device(vk, params->cache_dir, err);
	}
	if (status) vk_close(&vk->base);
	else *out = &vk->base;
	return status;
}

const struct bt_gpu_driver bt_vk_driver = {
	.open = vk_open,
	.close = vk_close,
	.alloc = bt_vk_alloc,
	.free = bt_vk_free,
	.prepare = bt_vk_prepare,
	.keep = bt_vk_keep,
	.record = bt_vk_record,
	.discard = bt_vk_discard,
	.start = bt_vk_start,
	.wait = bt_vk_wait,
};

/* The machine's devices, each time anew: a card may come and go. */
static uint32_t find_cards(struct bt_vk_card card[BT_VK_MAX_CARDS], struct baton_error *err)
{
	const struct bt_vk_library *lib;
	return bt_vk_library_open(&lib, err) ? 0 : bt_vk_cards(lib, card);
}

static uint32_t vk_count(void)
{
	struct bt_vk_card card[BT_VK_MAX_CARDS];
	return find_cards(card, NULL);
}

static enum baton_status vk_describe(uint32_t index, struct bt_device_info *out, struct baton_error *err)
{
	struct bt_vk_card card[BT_VK_MAX_CARDS];
	if (index >= find_cards(card, err)) return bt_fail(err, BATON_ERR_DEVICE, "Vulkan: no device %u", index);
	*out = (struct bt_device_info){.memory_total = card[index].memory_total,
	                               .memory_free = card[index].memory_free,
	                               .max_alloc = card[index].max_alloc,
	                               .hidden = card[index].software,
	                               .software = card[index].software};
	snprintf(out->name, sizeof out->name, "Vulkan%u", index);
	snprintf(out->description, sizeof out->description, "%.80s (%.70s)", card[index].props.deviceName,
	         card[index].driver);
	return BATON_OK;
}

static enum baton_status vk_device_open(uint32_t index, const struct bt_device_params *params, struct bt_device **out,
                                        struct baton_error *err)
{
	return bt_gpu_device_open(&bt_backend_vulkan, &bt_vk_driver, index, params, out, err);
}

const struct bt_backend bt_backend_vulkan = {
	.name = "Vulkan",
	.shared = true,
	.count = vk_count,
	.describe = vk_describe,
	.open = vk_device_open,
	.close = bt_gpu_device_close,
	.alloc = bt_gpu_device_alloc,
	.free = bt_gpu_device_free,
	.upload = bt_gpu_device_upload,
	.download = bt_gpu_device_download,
	.copy = bt_gpu_device_copy,
	.compile = bt_gpu_compile,
	.features = bt_vk_features,
	.supports = bt_gpu_supports,
	.run = bt_gpu_run,
	.start = bt_gpu_start,
	.wait = bt_gpu_wait,
	.window = bt_gpu_window,
	.release = bt_gpu_release,
	.held = bt_gpu_held,
	.weight_bytes = bt_gpu_weight_bytes,
	.scratch = bt_gpu_scratch,
};
