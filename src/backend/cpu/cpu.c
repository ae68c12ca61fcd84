/* The CPU as a device: its row in the device table, its memory. */
#include "backend/cpu/exec.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

extern const struct bt_backend bt_backend_cpu;

/* The processor counts twice, so that every machine can split a model: results must not depend on it. */
static uint32_t cpu_count(void)
{
	return 2;
}

/* The processor's name as the system tells it. */
static void processor_name(char *out, size_t size)
{
	snprintf(out, size, "CPU");
	FILE *f = fopen("/proc/cpuinfo", "r");
	if (!f) return;
	char line[256];
	while (fgets(line, sizeof line, f)) {
		char *colon = strchr(line, ':');
		if (strncmp(line, "model name", 10) || !colon) continue;
		line[strcspn(line, "\n")] = 0;
		snprintf(out, size, "%s", colon + 2);
		break;
	}
	fclose(f);
}

static enum baton_status cpu_describe(uint32_t index, struct bt_device_info *out, struct baton_error *err)
{
	if (index >= cpu_count()) return bt_fail(err, BATON_ERR_ARG, "CPU: no device %u", index);
	char name[100];
	processor_name(name, sizeof name);
	*out = (struct bt_device_info){.hidden = index > 0};
	snprintf(out->name, sizeof out->name, index ? "CPU%u" : "CPU", index);
	snprintf(out->description, sizeof out->description, "%s (%s)", name, bt_cpu_level_name(bt_cpu_level_native()));
	long page = sysconf(_SC_PAGESIZE), pages = sysconf(_SC_PHYS_PAGES), avail = sysconf(_SC_AVPHYS_PAGES);
	if (page > 0 && pages > 0) out->memory_total = (uint64_t)page * (uint64_t)pages;
	if (page > 0 && avail > 0) out->memory_free = (uint64_t)page * (uint64_t)avail;
	return BATON_OK;
}

static void cpu_close(struct bt_device *device)
{
	struct bt_cpu_device *dev = (struct bt_cpu_device *)device;
	if (!dev) return;
	bt_pool_close(&dev->pool);
	bt_mem_free(dev);
}

static enum baton_status cpu_open(uint32_t index, const struct bt_device_params *params, struct bt_device **out,
                                  struct baton_error *err)
{
	*out = NULL;
	if (index >= cpu_count()) return bt_fail(err, BATON_ERR_ARG, "CPU: no device %u", index);
	enum bt_cpu_level level = bt_cpu_level_native();
	if (params->cpu_level) {
		enum bt_cpu_level wanted;
		if (!bt_cpu_level_by_name(params->cpu_level, &wanted))
			return bt_fail(err, BATON_ERR_ARG, "unknown CPU level '%s'; this machine has up to %s",
			               params->cpu_level, bt_cpu_level_name(level));
		if (wanted > level)
			return bt_fail(err, BATON_ERR_UNSUPPORTED,
			               "this machine has no CPU level %s; the highest is %s", params->cpu_level,
			               bt_cpu_level_name(level));
		level = wanted;
	}
	struct bt_cpu_device *dev = bt_mem_zalloc(BT_MEM_HOST, sizeof *dev);
	if (!dev) return bt_fail_nomem(err, sizeof *dev, "a device");
	dev->base.backend = &bt_backend_cpu;
	dev->level = level;
	enum baton_status status = bt_pool_open(params->n_threads, &dev->pool, err);
	if (!status && params->by_turns) bt_pool_wait_longer(dev->pool);
	if (status) cpu_close(&dev->base);
	else *out = &dev->base;
	return status;
}

static enum baton_status cpu_alloc(struct bt_device *dev, enum bt_mem_cat cat, size_t size, struct bt_dev_mem *out,
                                   struct baton_error *err)
{
	(void)dev;
	*out = (struct bt_dev_mem){.host = bt_mem_pages(cat, size), .size = size, .cat = cat};
	if (out->host) return BATON_OK;
	*out = (struct bt_dev_mem){0};
	return bt_fail_nomem(err, size, bt_mem_cat_name(cat));
}

static void cpu_free(struct bt_device *dev, struct bt_dev_mem *mem)
{
	(void)dev;
	bt_mem_free_pages(mem->cat, mem->host, mem->size);
	*mem = (struct bt_dev_mem){0};
}

static enum baton_status cpu_upload(struct bt_device *dev, struct bt_dev_mem *dst, size_t offset, const void *src,
                                    size_t n, struct baton_error *err)
{
	(void)dev, (void)err;
	memcpy((char *)dst->host + offset, src, n);
	return BATON_OK;
}

static enum baton_status cpu_download(struct bt_device *dev, void *dst, const struct bt_dev_mem *src, size_t offset,
                                      size_t n, struct baton_error *err)
{
	(void)dev, (void)err;
	memcpy(dst, (const char *)src->host + offset, n);
	return BATON_OK;
}

static enum baton_status cpu_copy(struct bt_device *dev, struct bt_dev_mem *dst, size_t dst_offset,
                                  const struct bt_dev_mem *src, size_t src_offset, size_t n, struct baton_error *err)
{
	(void)dev, (void)err;
	memmove((char *)dst->host + dst_offset, (const char *)src->host + src_offset, n);
	return BATON_OK;
}

const struct bt_backend bt_backend_cpu = {
	.name = "CPU",
	.host = true,
	.count = cpu_count,
	.describe = cpu_describe,
	.open = cpu_open,
	.close = cpu_close,
	.alloc = cpu_alloc,
	.free = cpu_free,
	.upload = cpu_upload,
	.download = cpu_download,
	.copy = cpu_copy,
	.compile = bt_cpu_compile,
	.run = bt_cpu_run,
	.release = bt_cpu_release,
	.window = bt_cpu_window,
	.scratch = bt_cpu_scratch,
};
