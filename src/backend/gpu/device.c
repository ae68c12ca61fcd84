/* device.c: device memory as the engine sees it, and moving bytes in and out through staging memory. */
#include "backend/gpu/device.h"

#include <string.h>

#define STAGING ((size_t)16 << 20)

enum baton_status bt_gpu_device_open(const struct bt_backend *backend, const struct bt_gpu_driver *driver,
                                     uint32_t index, const struct bt_device_params *params, struct bt_device **out,
                                     struct baton_error *err)
{
	*out = NULL;
	struct bt_gpu_device *dev = bt_mem_zalloc(BT_MEM_HOST, sizeof *dev);
	if (!dev) return bt_fail_nomem(err, sizeof *dev, "a device");
	dev->base.backend = backend;
	pthread_mutex_init(&dev->lock, NULL);
	enum baton_status status = driver->open(index, params, &dev->gpu, err);
	size_t size = !status && dev->gpu->caps.staging ? dev->gpu->caps.staging : STAGING;
	for (int i = 0; i < 2 && !status; i++)
		status = driver->alloc(dev->gpu, BT_MEM_STAGING, BT_GPU_WRITE, size, &dev->staging[i], err);
	if (!status) status = driver->alloc(dev->gpu, BT_MEM_STAGING, BT_GPU_READ, size, &dev->reading, err);
	if (status) bt_gpu_device_close(&dev->base);
	else *out = &dev->base;
	return status;
}

void bt_gpu_device_close(struct bt_device *device)
{
	struct bt_gpu_device *dev = (struct bt_gpu_device *)device;
	if (!dev) return;
	if (dev->gpu) {
		bt_gpu_weights_free(dev);
		for (int i = 0; i < 2; i++) dev->gpu->driver->free(dev->gpu, &dev->staging[i]);
		dev->gpu->driver->free(dev->gpu, &dev->reading);
		dev->gpu->driver->close(dev->gpu);
	}
	pthread_mutex_destroy(&dev->lock);
	bt_mem_free(dev);
}

enum baton_status bt_gpu_take(struct bt_gpu_device *dev, enum bt_mem_cat cat, enum bt_gpu_place place, size_t size,
                              struct bt_gpu_mem *out, struct baton_error *err)
{
	const struct bt_gpu_driver *driver = dev->gpu->driver;
	enum baton_status status = driver->alloc(dev->gpu, cat, place, size, out, err);
	if (status != BATON_ERR_NOMEM || !bt_gpu_weights_trim(dev)) return status;
	return driver->alloc(dev->gpu, cat, place, size, out, err);
}

enum baton_status bt_gpu_device_alloc(struct bt_device *device, enum bt_mem_cat cat, size_t size,
                                      struct bt_dev_mem *out, struct baton_error *err)
{
	struct bt_gpu_device *dev = (struct bt_gpu_device *)device;
	*out = (struct bt_dev_mem){0};
	struct bt_gpu_mem *mem = bt_mem_zalloc(BT_MEM_HOST, sizeof *mem);
	if (!mem) return bt_fail_nomem(err, sizeof *mem, "device memory");
	pthread_mutex_lock(&dev->lock);
	enum baton_status status = bt_gpu_take(dev, cat, BT_GPU_LOCAL, size, mem, err);
	pthread_mutex_unlock(&dev->lock);
	if (status) bt_mem_free(mem);
	else *out = (struct bt_dev_mem){.handle = mem, .size = size, .cat = cat};
	return status;
}

void bt_gpu_device_free(struct bt_device *device, struct bt_dev_mem *mem)
{
	struct bt_gpu_device *dev = (struct bt_gpu_device *)device;
	pthread_mutex_lock(&dev->lock);
	if (mem->handle) dev->gpu->driver->free(dev->gpu, mem->handle);
	pthread_mutex_unlock(&dev->lock);
	bt_mem_free(mem->handle);
	*mem = (struct bt_dev_mem){0};
}

enum baton_status bt_gpu_device_upload(struct bt_device *device, struct bt_dev_mem *dst, size_t offset, const void *src,
                                       size_t n, struct baton_error *err)
{
	struct bt_gpu_device *dev = (struct bt_gpu_device *)device;
	enum baton_status status = BATON_OK;
	pthread_mutex_lock(&dev->lock);
	size_t most = dev->staging[0].size;
	for (size_t done = 0; done < n && !status; done += most) {
		size_t part = n - done < most ? n - done : most;
		memcpy(dev->staging[0].host, (const char *)src + done, part);
		struct bt_gpu_cmd cmd = bt_gpu_cmd_copy(dst->handle, offset + done, &dev->staging[0], 0, part);
		status = bt_gpu_run_once(dev->gpu, &cmd, 1, err);
	}
	pthread_mutex_unlock(&dev->lock);
	return status;
}

enum baton_status bt_gpu_device_download(struct bt_device *device, void *dst, const struct bt_dev_mem *src,
                                         size_t offset, size_t n, struct baton_error *err)
{
	struct bt_gpu_device *dev = (struct bt_gpu_device *)device;
	enum baton_status status = BATON_OK;
	pthread_mutex_lock(&dev->lock);
	size_t most = dev->reading.size;
	for (size_t done = 0; done < n && !status; done += most) {
		size_t part = n - done < most ? n - done : most;
		struct bt_gpu_cmd cmd = bt_gpu_cmd_copy(&dev->reading, 0, src->handle, offset + done, part);
		status = bt_gpu_run_once(dev->gpu, &cmd, 1, err);
		if (!status) memcpy((char *)dst + done, dev->reading.host, part);
	}
	pthread_mutex_unlock(&dev->lock);
	return status;
}

enum baton_status bt_gpu_device_copy(struct bt_device *device, struct bt_dev_mem *dst, size_t dst_offset,
                                     const struct bt_dev_mem *src, size_t src_offset, size_t n, struct baton_error *err)
{
	struct bt_gpu_device *dev = (struct bt_gpu_device *)device;
	struct bt_gpu_cmd cmd = bt_gpu_cmd_copy(dst->handle, dst_offset, src->handle, src_offset, n);
	pthread_mutex_lock(&dev->lock);
	enum baton_status status = bt_gpu_run_once(dev->gpu, &cmd, 1, err);
	pthread_mutex_unlock(&dev->lock);
	return status;
}
