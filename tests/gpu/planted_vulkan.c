/* planted_vulkan.c: two faults in the use of Vulkan, for the test of the test: the validation layer must find each.
 *
 *   gpu_planted_vulkan usage    a copy beyond the end of a buffer
 *   gpu_planted_vulkan order    two copies to one place with no barrier between them (synchronisation validation)
 *   gpu_planted_vulkan none     the same with a barrier
 */
#include "backend/gpu/driver.h"

#include <stdio.h>
#include <string.h>

extern const struct bt_gpu_driver bt_vk_driver;

int main(int argc, char **argv)
{
	struct bt_device_params params = {0};
	struct baton_error err = {0};
	struct bt_gpu *gpu;
	struct bt_gpu_mem a = {0}, b = {0};
	const char *fault = argc == 2 ? argv[1] : "";
	if (strcmp(fault, "usage") && strcmp(fault, "order") && strcmp(fault, "none")) {
		fprintf(stderr, "usage: gpu_planted_vulkan usage | order | none\n");
		return 2;
	}
	if (bt_vk_driver.open(0, &params, &gpu, &err)) {
		fprintf(stderr, "%s\n", err.text);
		return 77;
	}
	enum baton_status status = bt_vk_driver.alloc(gpu, BT_MEM_SCRATCH, BT_GPU_LOCAL, 4096, &a, &err);
	if (!status) status = bt_vk_driver.alloc(gpu, BT_MEM_SCRATCH, BT_GPU_LOCAL, 4096, &b, &err);
	if (!status) {
		uint64_t size = !strcmp(fault, "usage") ? 8192 : 4096;
		struct bt_gpu_cmd cmd[] = {bt_gpu_cmd_copy(&b, 0, &a, 0, size), bt_gpu_cmd_copy(&b, 0, &a, 0, 4096)};
		cmd[1].barrier = strcmp(fault, "order") != 0;
		status = bt_gpu_run_once(gpu, cmd, 2, &err);
	}
	if (status) fprintf(stderr, "%s\n", err.text);
	bt_vk_driver.free(gpu, &a);
	bt_vk_driver.free(gpu, &b);
	bt_vk_driver.close(gpu);
	return status != BATON_OK;
}
