/* pipeline.c: kernels made into pipelines, several at a time: drivers take from milliseconds to seconds for each. */
#include "backend/gpu/vulkan/vk.h"

#include "base/pool.h"

struct bt_vk_spirv_place bt_vk_code(const struct bt_vk_card *c, uint32_t k)
{
	const struct bt_vk_spirv_place *at = bt_vk_spirv_place[k];
	if (c->zeros && at[BT_VK_ZEROS].size) return at[BT_VK_ZEROS];
	return at[c->fast ? BT_VK_FAST : BT_VK_PLAIN];
}

static VkResult make(struct bt_vk *vk, uint32_t k)
{
	struct bt_vk_spirv_place at = bt_vk_code(&vk->card, k);
	VkShaderModuleCreateInfo code = {.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
	                                 .codeSize = at.size,
	                                 .pCode = (const uint32_t *)(const void *)(bt_vk_spirv + at.offset)};
	VkShaderModule module;
	VkResult r = vk->vkCreateShaderModule(vk->device, &code, NULL, &module);
	if (r) return r;
	/* Teams are eight neighbours of a subgroup, so subgroups must be filled in order. */
	bool full = vk->card.full_subgroups && bt_gpu_kernel_table[k].threads % vk->card.subgroup_max == 0;
	bool of_32 = bt_vk_spirv_matrix[k] && vk->card.subgroup_varies;
	VkPipelineShaderStageRequiredSubgroupSizeCreateInfo size = {
		.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO,
		.requiredSubgroupSize = 32};
	VkComputePipelineCreateInfo info = {
		.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
		.stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
	                  .pNext = of_32 ? &size : NULL,
	                  .flags = full ? VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT : 0,
	                  .stage = VK_SHADER_STAGE_COMPUTE_BIT,
	                  .module = module,
	                  .pName = "main"},
		.layout = vk->layout,
	};
	r = vk->vkCreateComputePipelines(vk->device, vk->cache, 1, &info, NULL, &vk->pipeline[k]);
	vk->vkDestroyShaderModule(vk->device, module, NULL);
	return r;
}

struct work {
	struct bt_vk *vk;
	uint16_t kernel[BT_GPU_KERNELS];
	VkResult result[BT_GPU_KERNELS];
};

/* bt_task_fn. The pipeline cache takes care of threads itself (Vulkan 1.2, 10.7). */
static void make_some(void *arg, size_t begin, size_t end, unsigned thread)
{
	struct work *w = arg;
	(void)thread;
	for (size_t i = begin; i < end; i++) w->result[i] = make(w->vk, w->kernel[i]);
}

enum baton_status bt_vk_prepare(struct bt_gpu *gpu, const bool *wanted, struct baton_error *err)
{
	struct bt_vk *vk = (struct bt_vk *)gpu;
	struct work w = {.vk = vk};
	struct bt_pool *pool = NULL;
	uint32_t n = 0;
	enum baton_status status = bt_vk_alive(vk, err);
	for (uint32_t k = 0; k < BT_GPU_KERNELS && !status; k++)
		if (wanted[k] && !vk->pipeline[k]) w.kernel[n++] = (uint16_t)k;
	if (status || !n) return status;
	if (n > 1) bt_pool_open(vk->n_threads, &pool, NULL); /* without threads it takes longer */
	bt_pool_run(pool, make_some, &w, n, 1);
	bt_pool_close(&pool);
	vk->fresh = true;
	for (uint32_t i = 0; i < n && !status; i++)
		if (w.result[i]) status = bt_vk_fail(vk, w.result[i], bt_gpu_kernel_table[w.kernel[i]].name, err);
	return status;
}
