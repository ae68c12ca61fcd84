/* pipelines.c: what a Vulkan driver makes of the kernels: registers, spills, shared memory, occupancy and assembly of
 * every pipeline, as one line of JSON each (VK_KHR_pipeline_executable_properties).
 *
 *   gpu_pipelines [PART OF A NAME]
 *
 * Nothing runs and no memory is taken, so Mesa's null devices do: RADV_FORCE_FAMILY=vega20 gives the compiler for an
 * MI50 without the card. bench/isa starts this program and reads its output. Exit status 77: there is no such device.
 */
#include "backend/gpu/vulkan/vk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FUNCTIONS(X)                            \
	X(vkDestroyDevice)                      \
	X(vkCreateShaderModule)                 \
	X(vkDestroyShaderModule)                \
	X(vkCreatePipelineLayout)               \
	X(vkDestroyPipelineLayout)              \
	X(vkCreateComputePipelines)             \
	X(vkDestroyPipeline)                    \
	X(vkGetPipelineExecutableStatisticsKHR) \
	X(vkGetPipelineExecutableInternalRepresentationsKHR)

struct compiler {
	const struct bt_vk_library *lib;
	struct bt_vk_card card;
	VkDevice device;
	VkPipelineLayout layout;
	FUNCTIONS(BT_VK_DECLARE)
};

static void print_string(const char *s)
{
	putchar('"');
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;
		if (c == '"' || c == '\\') printf("\\%c", c);
		else if (c < 32 || c > 126) printf("\\u%04x", c);
		else putchar(c);
	}
	putchar('"');
}

static void print_statistics(const struct compiler *c, const VkPipelineExecutableInfoKHR *which)
{
	VkPipelineExecutableStatisticKHR stat[64];
	uint32_t n = 64;
	for (uint32_t i = 0; i < n; i++)
		stat[i] = (VkPipelineExecutableStatisticKHR){
			.sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_STATISTIC_KHR};
	if (c->vkGetPipelineExecutableStatisticsKHR(c->device, which, &n, stat) < 0) n = 0;
	for (uint32_t i = 0; i < n; i++) {
		if (i) printf(", ");
		print_string(stat[i].name);
		switch (stat[i].format) {
		case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_FLOAT64_KHR: printf(": %g", stat[i].value.f64); break;
		case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_BOOL32_KHR:
			printf(": %s", stat[i].value.b32 ? "true" : "false");
			break;
		default: printf(": %lld", (long long)stat[i].value.i64); break;
		}
	}
}

/* The last form of the kernel that the driver shows is its assembly. */
static void print_assembly(const struct compiler *c, const VkPipelineExecutableInfoKHR *which)
{
	VkPipelineExecutableInternalRepresentationKHR form[16];
	uint32_t n = 16, last;
	for (uint32_t i = 0; i < n; i++)
		form[i] = (VkPipelineExecutableInternalRepresentationKHR){
			.sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INTERNAL_REPRESENTATION_KHR};
	if (c->vkGetPipelineExecutableInternalRepresentationsKHR(c->device, which, &n, form) < 0 || !n) return;
	last = n - 1;
	for (uint32_t i = 0; i < n; i++) {
		form[i].pData = calloc(1, form[i].dataSize + 1);
		if (!form[i].pData) form[i].dataSize = 0;
	}
	if (!c->vkGetPipelineExecutableInternalRepresentationsKHR(c->device, which, &n, form) && form[last].pData) {
		printf(", \"assembly\": ");
		print_string(form[last].pData);
	}
	for (uint32_t i = 0; i <= last; i++) free(form[i].pData);
}

static bool print_kernel(const struct compiler *c, uint32_t k)
{
	const struct bt_gpu_kernel_info *info = &bt_gpu_kernel_table[k];
	struct bt_vk_spirv_place at = bt_vk_code(&c->card, k);
	VkShaderModuleCreateInfo code = {.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
	                                 .codeSize = at.size,
	                                 .pCode = (const uint32_t *)(const void *)(bt_vk_spirv + at.offset)};
	VkShaderModule module;
	VkPipeline pipeline = VK_NULL_HANDLE;
	if (c->vkCreateShaderModule(c->device, &code, NULL, &module)) return false;
	bool full = c->card.full_subgroups && info->threads % c->card.subgroup_max == 0;
	VkComputePipelineCreateInfo create = {
		.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
		.flags = VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR |
	                 VK_PIPELINE_CREATE_CAPTURE_INTERNAL_REPRESENTATIONS_BIT_KHR,
		.stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
	                  .flags = full ? VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT : 0,
	                  .stage = VK_SHADER_STAGE_COMPUTE_BIT,
	                  .module = module,
	                  .pName = "main"},
		.layout = c->layout,
	};
	VkResult r = c->vkCreateComputePipelines(c->device, VK_NULL_HANDLE, 1, &create, NULL, &pipeline);
	c->vkDestroyShaderModule(c->device, module, NULL);
	if (r) return false;
	VkPipelineExecutableInfoKHR which = {.sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INFO_KHR,
	                                     .pipeline = pipeline};
	printf("{\"name\": \"%s\", \"threads\": %u, \"statistics\": {", info->name, info->threads);
	print_statistics(c, &which);
	printf("}");
	print_assembly(c, &which);
	printf("}\n");
	c->vkDestroyPipeline(c->device, pipeline, NULL);
	return true;
}

/* The device with what the kernels use, and with statistics; NULL, or why not. */
static const char *open_device(struct compiler *c)
{
	struct baton_error err;
	struct bt_vk_card card[BT_VK_MAX_CARDS];
	if (bt_vk_library_open(&c->lib, &err) || !bt_vk_cards(c->lib, card)) return "no Vulkan device";
	c->card = card[0];
	if (c->card.props.apiVersion < VK_API_VERSION_1_3) return "the driver is older than Vulkan 1.3";
	const char *extension[] = {VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME, BT_VK_MATRIX_EXTENSION};
	float priority = 1;
	VkDeviceQueueCreateInfo queue = {.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
	                                 .queueFamilyIndex = c->card.queue_family,
	                                 .queueCount = 1,
	                                 .pQueuePriorities = &priority};
	struct bt_vk_matrix_features matrix = {.sType = BT_VK_MATRIX_FEATURES};
	VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR statistics = {
		.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR,
		.pNext = c->card.matrix ? &matrix : NULL};
	VkPhysicalDeviceVulkan13Features f13 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES,
	                                        .pNext = &statistics};
	VkPhysicalDeviceVulkan12Features f12 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
	                                        .pNext = &f13};
	VkPhysicalDeviceVulkan11Features f11 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES,
	                                        .pNext = &f12};
	VkPhysicalDeviceFeatures2 f = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, .pNext = &f11};
	/* All that the device has: nothing is at stake here. */
	c->lib->vkGetPhysicalDeviceFeatures2(c->card.physical, &f);
	if (!statistics.pipelineExecutableInfo) return "the driver tells nothing of its pipelines";
	VkDeviceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
	                           .pNext = &f,
	                           .queueCreateInfoCount = 1,
	                           .pQueueCreateInfos = &queue,
	                           .enabledExtensionCount = c->card.matrix ? 2 : 1,
	                           .ppEnabledExtensionNames = extension};
	if (c->lib->vkCreateDevice(c->card.physical, &info, NULL, &c->device)) return "the device can't be opened";
#define GET(name) \
	if (!(c->name = (PFN_##name)c->lib->vkGetDeviceProcAddr(c->device, #name))) return "the driver lacks " #name;
	FUNCTIONS(GET)
#undef GET
	VkPushConstantRange push = {VK_SHADER_STAGE_COMPUTE_BIT, 0, BT_GPU_MAX_PARAMS};
	VkPipelineLayoutCreateInfo layout = {.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
	                                     .pushConstantRangeCount = 1,
	                                     .pPushConstantRanges = &push};
	return c->vkCreatePipelineLayout(c->device, &layout, NULL, &c->layout) ? "no pipeline layout" : NULL;
}

int main(int argc, char **argv)
{
	struct compiler c = {0};
	int status = 0;
	const char *why = open_device(&c);
	if (why) {
		fprintf(stderr, "gpu_pipelines: %s\n", why);
		status = 77;
	} else {
		printf("{\"device\": ");
		print_string(c.card.props.deviceName);
		printf(", \"driver\": ");
		print_string(c.card.driver);
		printf(", \"fast\": %s}\n", c.card.fast ? "true" : "false");
		for (uint32_t k = 0; k < BT_GPU_KERNELS; k++) {
			if (bt_vk_spirv_matrix[k] && !c.card.matrix) continue;
			if (argc > 1 && !strstr(bt_gpu_kernel_table[k].name, argv[1])) continue;
			if (print_kernel(&c, k)) continue;
			fprintf(stderr, "gpu_pipelines: the driver can't compile %s\n", bt_gpu_kernel_table[k].name);
			status = 1;
		}
		c.vkDestroyPipelineLayout(c.device, c.layout, NULL);
	}
	if (c.device && c.vkDestroyDevice) c.vkDestroyDevice(c.device, NULL);
	return status;
}
