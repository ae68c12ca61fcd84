/* memory.c: device memory: a buffer of its own for every block, reached by its address. */
#include "backend/gpu/vulkan/vk.h"

#include <string.h>

struct block {
	VkBuffer buffer;
	VkDeviceMemory memory;
};

VkBuffer bt_vk_buffer(const struct bt_gpu_mem *mem)
{
	return ((const struct block *)mem->handle)->buffer;
}

void bt_vk_free(struct bt_gpu *gpu, struct bt_gpu_mem *mem)
{
	struct bt_vk *vk = (struct bt_vk *)gpu;
	struct block *b = mem->handle;
	if (b && bt_vk_idle(vk)) {
		vk->vkDestroyBuffer(vk->device, b->buffer, NULL);
		vk->vkFreeMemory(vk->device, b->memory, NULL); /* unmaps it */
	}
	bt_mem_free(b);
	*mem = (struct bt_gpu_mem){0};
}

/* Kinds of memory for each place, in order of preference. */
#define VISIBLE (VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT)
#define LOCAL   VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT
#define CACHED  VK_MEMORY_PROPERTY_HOST_CACHED_BIT
static const VkMemoryPropertyFlags wishes[][3] = {
	[BT_GPU_LOCAL] = {LOCAL, 0, 0},
	[BT_GPU_WRITE] = {VISIBLE | LOCAL, VISIBLE, VISIBLE},
	[BT_GPU_READ] = {VISIBLE | CACHED, VISIBLE, VISIBLE},
};

/* Uploads pass through memory of the host: what the CPU sees of the card's own may be a small window. */
static VkMemoryPropertyFlags wish(enum bt_mem_cat cat, enum bt_gpu_place place, int i)
{
	return cat == BT_MEM_STAGING && place == BT_GPU_WRITE ? (VkMemoryPropertyFlags)VISIBLE : wishes[place][i];
}

static enum baton_status back(struct bt_vk *vk, enum bt_mem_cat cat, enum bt_gpu_place place, struct block *b,
                              struct baton_error *err)
{
	VkMemoryRequirements need;
	vk->vkGetBufferMemoryRequirements(vk->device, b->buffer, &need);
	VkResult r = VK_ERROR_OUT_OF_DEVICE_MEMORY;
	for (int i = 0; i < 3 && r; i++) {
		for (uint32_t t = 0; t < vk->memory.memoryTypeCount && r; t++) {
			VkMemoryPropertyFlags flags = vk->memory.memoryTypes[t].propertyFlags,
					      want = wish(cat, place, i);
			if (!(need.memoryTypeBits & 1u << t) || (flags & want) != want) continue;
			if (place == BT_GPU_LOCAL && i && (flags & LOCAL)) continue; /* tried already */
			VkMemoryAllocateFlagsInfo address = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO,
			                                     .flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT};
			VkMemoryAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
			                             .pNext = &address,
			                             .allocationSize = need.size,
			                             .memoryTypeIndex = t};
			r = vk->vkAllocateMemory(vk->device, &info, NULL, &b->memory);
			/* Memory of the host instead of the card's own would be a surprise of a factor of 50. */
			if (place == BT_GPU_LOCAL && r &&
			    vk->card.props.deviceType == VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU)
				return bt_vk_fail(vk, r, "memory of the card", err);
		}
	}
	if (!r) r = vk->vkBindBufferMemory(vk->device, b->buffer, b->memory, 0);
	return r ? bt_vk_fail(vk, r, bt_mem_cat_name(cat), err) : BATON_OK;
}

/* Fill with zeros, on the card. */
static enum baton_status zero(struct bt_vk *vk, VkBuffer buffer, struct baton_error *err)
{
	struct bt_gpu_recording *rec = NULL;
	enum baton_status status = bt_vk_record_zero(vk, buffer, &rec, err);
	if (!status) status = bt_vk_start(&vk->base, &rec, 1, err);
	if (!status) status = bt_vk_wait(&vk->base, vk->base.started, err);
	bt_vk_discard(&vk->base, rec);
	return status;
}

enum baton_status bt_vk_alloc(struct bt_gpu *gpu, enum bt_mem_cat cat, enum bt_gpu_place place, size_t size,
                              struct bt_gpu_mem *out, struct baton_error *err)
{
	struct bt_vk *vk = (struct bt_vk *)gpu;
	*out = (struct bt_gpu_mem){0};
	enum baton_status status = bt_vk_alive(vk, err);
	if (status) return status;
	if (size > gpu->caps.max_alloc)
		return bt_fail(err, BATON_ERR_NOMEM, "%s: %.2f GB of %s; the device gives %.2f GB at once",
		               vk->card.props.deviceName, (double)size * 1e-9, bt_mem_cat_name(cat),
		               (double)gpu->caps.max_alloc * 1e-9);
	struct block *b = bt_mem_zalloc(BT_MEM_HOST, sizeof *b);
	if (!b) return bt_fail_nomem(err, sizeof *b, "device memory");
	*out = (struct bt_gpu_mem){.size = size, .handle = b, .cat = cat};
	VkBufferCreateInfo info = {.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
	                           .size = size ? (size + 3) & ~(size_t)3 : 4,
	                           .usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT |
	                                    VK_BUFFER_USAGE_TRANSFER_DST_BIT |
	                                    VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT};
	VkResult r = vk->vkCreateBuffer(vk->device, &info, NULL, &b->buffer);
	if (r) status = bt_vk_fail(vk, r, "a buffer", err);
	if (!status) status = back(vk, cat, place, b, err);
	if (!status && place != BT_GPU_LOCAL) {
		r = vk->vkMapMemory(vk->device, b->memory, 0, VK_WHOLE_SIZE, 0, &out->host);
		if (r) status = bt_vk_fail(vk, r, "mapped memory", err);
		else memset(out->host, 0, size);
	}
	if (!status) {
		VkBufferDeviceAddressInfo at = {.sType = VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO,
		                                .buffer = b->buffer};
		out->address = vk->vkGetBufferDeviceAddress(vk->device, &at);
		if (place == BT_GPU_LOCAL) status = zero(vk, b->buffer, err);
	}
	if (status) bt_vk_free(gpu, out);
	return status;
}
