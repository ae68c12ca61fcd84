/* spirv.h: the kernels as SPIR-V, embedded by the build (kernels/build.py). */
#ifndef BT_BACKEND_GPU_VULKAN_SPIRV_H
#define BT_BACKEND_GPU_VULKAN_SPIRV_H

#include "backend/gpu/driver.h"

/* Flavours of a kernel: for any device; for those that exchange values between lanes and have the packed dot product; for those
 * of them that can be told to take halves below 2^-14 for zeros, and to keep small floats. The last is there for few kernels, which
 * are as right in the second. */
enum { BT_VK_PLAIN, BT_VK_FAST, BT_VK_ZEROS, BT_VK_FLAVOURS };
struct bt_vk_spirv_place {
	uint32_t offset, size; /* bytes of bt_vk_spirv; 0: not in this flavour */
};
extern const unsigned char bt_vk_spirv[];
extern const struct bt_vk_spirv_place bt_vk_spirv_place[BT_GPU_KERNELS][BT_VK_FLAVOURS];
extern const bool bt_vk_spirv_matrix[BT_GPU_KERNELS]; /* for matrix cores: written for subgroups of 32 */

#endif
