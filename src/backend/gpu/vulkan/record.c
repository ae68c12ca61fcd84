/* record.c: lists of commands as command buffers, and running them. */
#include "backend/gpu/vulkan/vk.h"

#include <string.h>
#include <time.h>

/* A step's end is looked for this long before the thread sleeps: waking took 70 us of a token (docs/performance.md). */
#define AWAKE_NS    INT64_C(5000000)
#define PATIENCE_NS UINT64_C(3000000000) /* for a lost device, before its memory is given up */

struct bt_gpu_recording {
	VkCommandPool pool;
	VkCommandBuffer buffer;
};

void bt_vk_discard(struct bt_gpu *gpu, struct bt_gpu_recording *rec)
{
	struct bt_vk *vk = (struct bt_vk *)gpu;
	if (!rec) return;
	if (bt_vk_idle(vk)) vk->vkDestroyCommandPool(vk->device, rec->pool, NULL); /* frees the buffer */
	bt_mem_free(rec);
}

static enum baton_status begin(struct bt_vk *vk, struct bt_gpu_recording **out, struct baton_error *err)
{
	*out = NULL;
	enum baton_status status = bt_vk_alive(vk, err);
	if (status) return status;
	struct bt_gpu_recording *rec = bt_mem_zalloc(BT_MEM_HOST, sizeof *rec);
	if (!rec) return bt_fail_nomem(err, sizeof *rec, "a recording");
	VkCommandPoolCreateInfo pool = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
	                                .queueFamilyIndex = vk->card.queue_family};
	VkResult r = vk->vkCreateCommandPool(vk->device, &pool, NULL, &rec->pool);
	VkCommandBufferAllocateInfo buffer = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
	                                      .commandPool = rec->pool,
	                                      .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
	                                      .commandBufferCount = 1};
	if (!r) r = vk->vkAllocateCommandBuffers(vk->device, &buffer, &rec->buffer);
	VkCommandBufferBeginInfo start = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
	if (!r) r = vk->vkBeginCommandBuffer(rec->buffer, &start);
	if (r) {
		bt_vk_discard(&vk->base, rec);
		return bt_vk_fail(vk, r, "a command buffer", err);
	}
	*out = rec;
	return BATON_OK;
}

#define WORK (VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT)
#define READ (VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_TRANSFER_READ_BIT)
#define MADE (VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT)

static void barrier(struct bt_vk *vk, VkCommandBuffer b, VkPipelineStageFlags to, VkAccessFlags access)
{
	VkMemoryBarrier all = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
	                       .srcAccessMask = MADE,
	                       .dstAccessMask = access};
	vk->vkCmdPipelineBarrier(b, WORK, to, 0, 1, &all, 0, NULL, 0, NULL);
}

static enum baton_status end(struct bt_vk *vk, struct bt_gpu_recording **out, struct baton_error *err)
{
	barrier(vk, (*out)->buffer, VK_PIPELINE_STAGE_HOST_BIT, VK_ACCESS_HOST_READ_BIT);
	VkResult r = vk->vkEndCommandBuffer((*out)->buffer);
	if (!r) return BATON_OK;
	bt_vk_discard(&vk->base, *out);
	*out = NULL;
	return bt_vk_fail(vk, r, "a command buffer", err);
}

enum baton_status bt_vk_record_zero(struct bt_vk *vk, VkBuffer buffer, struct bt_gpu_recording **out,
                                    struct baton_error *err)
{
	enum baton_status status = begin(vk, out, err);
	if (status || !*out) return status;
	vk->vkCmdFillBuffer((*out)->buffer, buffer, 0, VK_WHOLE_SIZE, 0);
	return end(vk, out, err);
}

enum baton_status bt_vk_record(struct bt_gpu *gpu, const struct bt_gpu_cmd *cmd, uint32_t n,
                               struct bt_gpu_recording **out, struct baton_error *err)
{
	struct bt_vk *vk = (struct bt_vk *)gpu;
	enum baton_status status = begin(vk, out, err);
	if (status || !*out) return status;
	VkCommandBuffer b = (*out)->buffer;
	VkPipeline bound = VK_NULL_HANDLE;
	for (uint32_t i = 0; i < n; i++) {
		/* The first waits for whatever was submitted before. */
		if (cmd[i].barrier || !i) barrier(vk, b, WORK, READ | MADE);
		if (cmd[i].kernel == BT_GPU_COPY) {
			struct bt_gpu_copy c;
			memcpy(&c, cmd[i].params, sizeof c);
			VkBufferCopy region = {c.src_offset, c.dst_offset, c.size};
			vk->vkCmdCopyBuffer(b, bt_vk_buffer(c.src), bt_vk_buffer(c.dst), 1, &region);
			continue;
		}
		VkPipeline p = vk->pipeline[cmd[i].kernel];
		if (p != bound) vk->vkCmdBindPipeline(b, VK_PIPELINE_BIND_POINT_COMPUTE, bound = p);
		vk->vkCmdPushConstants(b, vk->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0,
		                       bt_gpu_kernel_table[cmd[i].kernel].params, cmd[i].params);
		vk->vkCmdDispatch(b, cmd[i].grid[0], cmd[i].grid[1], cmd[i].grid[2]);
	}
	return end(vk, out, err);
}

enum baton_status bt_vk_start(struct bt_gpu *gpu, struct bt_gpu_recording *const *rec, uint32_t n,
                              struct baton_error *err)
{
	struct bt_vk *vk = (struct bt_vk *)gpu;
	VkSubmitInfo info[BT_GPU_TOGETHER];
	VkTimelineSemaphoreSubmitInfo count[BT_GPU_TOGETHER];
	uint64_t number[BT_GPU_TOGETHER];
	enum baton_status status = bt_vk_alive(vk, err);
	if (status) return status;
	for (uint32_t i = 0; i < n; i++) {
		number[i] = gpu->started + 1 + i;
		count[i] = (VkTimelineSemaphoreSubmitInfo){.sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO,
		                                           .signalSemaphoreValueCount = 1,
		                                           .pSignalSemaphoreValues = &number[i]};
		info[i] = (VkSubmitInfo){.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
		                         .pNext = &count[i],
		                         .commandBufferCount = 1,
		                         .pCommandBuffers = &rec[i]->buffer,
		                         .signalSemaphoreCount = 1,
		                         .pSignalSemaphores = &vk->semaphore};
	}
	VkResult r = vk->vkQueueSubmit(vk->queue, n, info, VK_NULL_HANDLE);
	if (r) return bt_vk_fail(vk, r, "submitting work", err);
	gpu->started += n;
	vk->waited = false;
	return BATON_OK;
}

static int64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* Is that recording over soon? A processor that plays a GPU needs the time itself. */
static bool over_soon(struct bt_vk *vk, uint64_t number)
{
	uint64_t over = 0;
	for (int64_t end = now_ns() + AWAKE_NS; !vk->card.software && now_ns() < end;) {
		if (vk->vkGetSemaphoreCounterValue(vk->device, vk->semaphore, &over)) return false;
		if (over >= number) return true;
	}
	return false;
}

/* Wait for the recording of that number: the driver's answer. */
static VkResult wait_for(struct bt_vk *vk, uint64_t number, uint64_t timeout_ns)
{
	VkSemaphoreWaitInfo info = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO,
	                            .semaphoreCount = 1,
	                            .pSemaphores = &vk->semaphore,
	                            .pValues = &number};
	VkResult r = timeout_ns > AWAKE_NS && over_soon(vk, number)
	                     ? VK_SUCCESS
	                     : vk->vkWaitSemaphores(vk->device, &info, timeout_ns);
	if (!r) vk->over = number;
	return r;
}

bool bt_vk_idle(struct bt_vk *vk)
{
	if (!vk->lost) bt_vk_wait(&vk->base, vk->base.started, NULL);
	if (vk->over >= vk->base.started) return true;
	/* VK_ERROR_DEVICE_LOST is an answer, too: its driver has stopped it. */
	VkResult r = wait_for(vk, vk->base.started, vk->waited ? 0 : PATIENCE_NS);
	vk->waited = true;
	if (r != VK_TIMEOUT) vk->over = vk->base.started;
	return r != VK_TIMEOUT;
}

enum baton_status bt_vk_wait(struct bt_gpu *gpu, uint64_t number, struct baton_error *err)
{
	struct bt_vk *vk = (struct bt_vk *)gpu;
	enum baton_status status = bt_vk_alive(vk, err);
	if (status || vk->over >= number) return status;
	VkResult r = wait_for(vk, number, vk->timeout_ns);
	if (!r) return BATON_OK;
	vk->lost = true;
	return bt_vk_fail(vk, r, "waiting for the device", err);
}
