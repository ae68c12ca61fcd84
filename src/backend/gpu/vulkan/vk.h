/* vk.h: what the files of the Vulkan driver share: the loader's functions, the opened device. */
#ifndef BT_BACKEND_GPU_VULKAN_VK_H
#define BT_BACKEND_GPU_VULKAN_VK_H

#include "backend/gpu/vulkan/spirv.h"

#define VK_NO_PROTOTYPES
#include <vulkan/vulkan.h>

/* VK_KHR_cooperative_matrix is younger than Debian 12's headers: its numbers and structs, from the Vulkan registry. */
#define BT_VK_MATRIX_EXTENSION "VK_KHR_cooperative_matrix"
#define BT_VK_MATRIX_FEATURES  ((VkStructureType)1000506000)
#define BT_VK_MATRIX_SHAPE     ((VkStructureType)1000506001)
enum { BT_VK_COMPONENT_F16 = 0, BT_VK_COMPONENT_F32 = 1, BT_VK_SCOPE_SUBGROUP = 3 };
struct bt_vk_matrix_features {
	VkStructureType sType;
	void *pNext;
	VkBool32 cooperativeMatrix, cooperativeMatrixRobustBufferAccess;
};
/* One of the products that a device's matrix cores know: M x K by K x N, of values of type A and B, with C added. */
struct bt_vk_matrix_shape {
	VkStructureType sType;
	void *pNext;
	uint32_t m, n, k;
	int32_t a, b, c, result;
	VkBool32 saturating;
	int32_t scope;
};

/* libvulkan is opened at run time: every function by name. */
#define BT_VK_GLOBAL_FUNCTIONS(X) \
	X(vkCreateInstance)       \
	X(vkEnumerateInstanceVersion)
#define BT_VK_INSTANCE_FUNCTIONS(X)                 \
	X(vkDestroyInstance)                        \
	X(vkEnumeratePhysicalDevices)               \
	X(vkEnumerateDeviceExtensionProperties)     \
	X(vkGetPhysicalDeviceProperties2)           \
	X(vkGetPhysicalDeviceFeatures2)             \
	X(vkGetPhysicalDeviceMemoryProperties2)     \
	X(vkGetPhysicalDeviceQueueFamilyProperties) \
	X(vkCreateDevice)                           \
	X(vkGetDeviceProcAddr)
#define BT_VK_DEVICE_FUNCTIONS(X)        \
	X(vkDestroyDevice)               \
	X(vkGetDeviceQueue)              \
	X(vkCreateBuffer)                \
	X(vkDestroyBuffer)               \
	X(vkGetBufferMemoryRequirements) \
	X(vkGetBufferDeviceAddress)      \
	X(vkAllocateMemory)              \
	X(vkFreeMemory)                  \
	X(vkBindBufferMemory)            \
	X(vkMapMemory)                   \
	X(vkCreateShaderModule)          \
	X(vkDestroyShaderModule)         \
	X(vkCreatePipelineLayout)        \
	X(vkDestroyPipelineLayout)       \
	X(vkCreatePipelineCache)         \
	X(vkDestroyPipelineCache)        \
	X(vkGetPipelineCacheData)        \
	X(vkCreateComputePipelines)      \
	X(vkDestroyPipeline)             \
	X(vkCreateCommandPool)           \
	X(vkDestroyCommandPool)          \
	X(vkAllocateCommandBuffers)      \
	X(vkBeginCommandBuffer)          \
	X(vkEndCommandBuffer)            \
	X(vkCmdBindPipeline)             \
	X(vkCmdPushConstants)            \
	X(vkCmdDispatch)                 \
	X(vkCmdCopyBuffer)               \
	X(vkCmdFillBuffer)               \
	X(vkCmdPipelineBarrier)          \
	X(vkCreateSemaphore)             \
	X(vkDestroySemaphore)            \
	X(vkWaitSemaphores)              \
	X(vkGetSemaphoreCounterValue)    \
	X(vkQueueSubmit)

#define BT_VK_DECLARE(name) PFN_##name name;
struct bt_vk_library {
	void *handle;
	PFN_vkGetInstanceProcAddr vkGetInstanceProcAddr;
	VkInstance instance;
	BT_VK_GLOBAL_FUNCTIONS(BT_VK_DECLARE)
	BT_VK_INSTANCE_FUNCTIONS(BT_VK_DECLARE)
};

/* A physical device that meets the floor: Vulkan 1.2 with buffer device addresses and 64-bit integers. */
struct bt_vk_card {
	VkPhysicalDevice physical;
	VkPhysicalDeviceProperties props;
	char driver[256];
	uint64_t memory_total, memory_free, max_alloc;
	uint32_t queue_family, subgroup_max;
	bool subgroup_varies; /* a pipeline may ask for another width */
	uint32_t shared;
	bool fast;                             /* lane exchange and packed dot product */
	bool full_subgroups;                   /* pipelines may ask for them */
	bool matrix;                           /* matrix cores that multiply as kernels with MATRIX=1 want it */
	bool packed;                           /* 16-bit arithmetic, which kernels with PACKED=1 want */
	bool zeros;                            /* beside it, may be told to take small halves for zeros */
	bool dot_extension, control_extension; /* to be switched on (part of the core from 1.3 on) */
	bool software;
	uint8_t rank; /* discrete cards first */
	uint8_t device_uuid[VK_UUID_SIZE], driver_uuid[VK_UUID_SIZE];
};

#define BT_VK_MAX_CARDS     16u
#define BT_VK_MATRIX_SHARED 49152u /* shared memory that kernels with MATRIX=1 may use */

/* libvulkan with an instance. It is opened once and kept until the program ends: some drivers can't be loaded again and again
 * into one process (each time takes from the memory for thread-local variables), and an instance sees no less of devices that
 * come and go. The one thing in the library that is the process's own. */
enum baton_status bt_vk_library_open(const struct bt_vk_library **lib, struct baton_error *err);
bool bt_vk_has_extension(const struct bt_vk_library *lib, VkPhysicalDevice device, const char *name);
/* The usable devices, best first; returns how many. */
uint32_t bt_vk_cards(const struct bt_vk_library *lib, struct bt_vk_card card[BT_VK_MAX_CARDS]);

struct bt_vk {
	struct bt_gpu base;
	const struct bt_vk_library *lib;
	struct bt_vk_card card;
	VkDevice device;
	VkQueue queue;
	VkPhysicalDeviceMemoryProperties memory;
	VkPipelineLayout layout;
	VkPipelineCache cache;
	VkPipeline pipeline[BT_GPU_KERNELS];
	VkSemaphore semaphore; /* counts the recordings that are over */
	uint64_t over;         /* how many of them are known to be */
	bool lost;
	bool waited;           /* a lost device was given time to finish what it runs */
	uint64_t timeout_ns;   /* a wait that takes longer means that the device hangs */
	unsigned n_threads;    /* that compile */
	bool fresh;            /* something was compiled since bt_vk_keep */
	bool cache_loaded;     /* the file was there and good */
	char cache_path[1024]; /* "": nothing is kept */
	uint64_t cache_key;
	BT_VK_DEVICE_FUNCTIONS(BT_VK_DECLARE)
};

/* The sentence for a failed call; the loss of the device is remembered. */
enum baton_status bt_vk_fail(struct bt_vk *vk, VkResult r, const char *what, struct baton_error *err);
/* Has the device finished what it was given? It is waited for; once lost, with patience once. While it has not, nothing that it
 * may use can be destroyed: what belongs to a device that hangs for good is left to the end of the process. */
bool bt_vk_idle(struct bt_vk *vk);
/* BATON_OK, or the status and sentence of a lost device. */
enum baton_status bt_vk_alive(const struct bt_vk *vk, struct baton_error *err);

/* memory.c */
enum baton_status bt_vk_alloc(struct bt_gpu *gpu, enum bt_mem_cat cat, enum bt_gpu_place place, size_t size,
                              struct bt_gpu_mem *out, struct baton_error *err);
void bt_vk_free(struct bt_gpu *gpu, struct bt_gpu_mem *mem);
VkBuffer bt_vk_buffer(const struct bt_gpu_mem *mem);
/* features.c: for bt_backend.features. */
void bt_vk_features(uint32_t index, char *text, size_t size);
/* cache.c: the pipeline cache, from the file of this device in dir (NULL: from nothing); and back into it. */
VkResult bt_vk_cache_open(struct bt_vk *vk, const char *dir);
void bt_vk_keep(struct bt_gpu *gpu);
/* pipeline.c */
/* The kernel in the flavour that suits the card; size 0: there is none. */
struct bt_vk_spirv_place bt_vk_code(const struct bt_vk_card *card, uint32_t k);
enum baton_status bt_vk_prepare(struct bt_gpu *gpu, const bool *wanted, struct baton_error *err);
/* record.c */
enum baton_status bt_vk_record(struct bt_gpu *gpu, const struct bt_gpu_cmd *cmd, uint32_t n,
                               struct bt_gpu_recording **out, struct baton_error *err);
enum baton_status bt_vk_record_zero(struct bt_vk *vk, VkBuffer buffer, struct bt_gpu_recording **out,
                                    struct baton_error *err);
void bt_vk_discard(struct bt_gpu *gpu, struct bt_gpu_recording *rec);
enum baton_status bt_vk_start(struct bt_gpu *gpu, struct bt_gpu_recording *const *rec, uint32_t n,
                              struct baton_error *err);
enum baton_status bt_vk_wait(struct bt_gpu *gpu, uint64_t number, struct baton_error *err);

extern const struct bt_gpu_driver bt_vk_driver;

#endif
