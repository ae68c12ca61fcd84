/* pipeline.c: kernels made into pipelines, when a plan first asks for them. */
#include "backend/gpu/vulkan/vk.h"

static enum baton_status make(struct bt_vk *vk, uint32_t k, struct baton_error *err)
{
	struct bt_vk_spirv_place at = bt_vk_spirv_place[k][vk->card.fast ? BT_VK_FAST : BT_VK_PLAIN];
	VkShaderModuleCreateInfo code = {.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
	                                 .codeSize = at.size,
	                                 .pCode = (const uint32_t *)(const void *)(bt_vk_spirv + at.offset)};
	VkShaderModule module;
	VkResult r = vk->vkCreateShaderModule(vk->device, &code, NULL, &module);
	if (r) return bt_vk_fail(vk, r, bt_gpu_kernel_table[k].name, err);
	/* Teams are eight neighbours of a subgroup, so subgroups must be filled in order. */
	bool full = vk->card.full_subgroups && bt_gpu_kernel_table[k].threads % vk->card.subgroup_max == 0;
	VkComputePipelineCreateInfo info = {
		.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
		.stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
	                  .flags = full ? VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT : 0,
	                  .stage = VK_SHADER_STAGE_COMPUTE_BIT,
	                  .module = module,
	                  .pName = "main"},
		.layout = vk->layout,
	};
	r = vk->vkCreateComputePipelines(vk->device, vk->cache, 1, &info, NULL, &vk->pipeline[k]);
	vk->vkDestroyShaderModule(vk->device, module, NULL);
	return r ? bt_vk_fail(vk, r, bt_gpu_kernel_table[k].name, err) : BATON_OK;
}

enum baton_status bt_vk_prepare(struct bt_gpu *gpu, const bool *wanted, struct baton_error *err)
{
	struct bt_vk *vk = (struct bt_vk *)gpu;
	enum baton_status status = bt_vk_alive(vk, err);
	for (uint32_t k = 0; k < BT_GPU_KERNELS && !status; k++)
		if (wanted[k] && !vk->pipeline[k]) status = make(vk, k, err);
	return status;
}
