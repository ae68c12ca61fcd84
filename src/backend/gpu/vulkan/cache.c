/* cache.c: compiled kernels kept on disk from run to run: <cache_dir>/vulkan-DEVICE-KEY.bin.
 *
 * The key is a hash of all that makes other machine code: the driver, its version, the kernels themselves. The driver's data
 * stand behind a head with their length and sum; drivers have crashed over damaged data, so they see none. Whatever is wrong
 * with the file or the folder only costs the time to compile again.
 */
#include "backend/gpu/vulkan/vk.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST ((uint64_t)1 << 30) /* bytes of a file that is read */

struct head {
	char magic[8];
	uint64_t key, size, sum; /* of what; bytes behind the head; their hash */
	uint8_t device[VK_UUID_SIZE];
};
static const char magic[8] = {'b', 'a', 't', 'o', 'n', 'v', 'k', '1'};

/* Eight bytes at a time: multiply and fold. Finds damage; keeps no secret. */
static uint64_t hash(uint64_t h, const void *data, size_t n)
{
	const unsigned char *p = data;
	for (size_t i = 0; i < n; i += 8) {
		uint64_t w = 0;
		memcpy(&w, p + i, n - i < 8 ? n - i : 8);
		h = (h ^ w) * UINT64_C(0x9e3779b97f4a7c15);
		h ^= h >> 29;
	}
	return (h ^ n) * UINT64_C(0x9e3779b97f4a7c15);
}

static uint64_t hash_kernels(uint64_t h)
{
	for (uint32_t k = 0; k < BT_GPU_KERNELS; k++)
		for (uint32_t f = 0; f < BT_VK_FLAVOURS; f++)
			h = hash(h, bt_vk_spirv + bt_vk_spirv_place[k][f].offset, bt_vk_spirv_place[k][f].size);
	return h;
}

static uint64_t key_of(const struct bt_vk_card *c)
{
	uint64_t h = hash(1, c->driver_uuid, sizeof c->driver_uuid);
	h = hash(h, c->props.pipelineCacheUUID, sizeof c->props.pipelineCacheUUID);
	h = hash(h, &c->props.driverVersion, sizeof c->props.driverVersion);
	h = hash(h, &c->props.vendorID, sizeof c->props.vendorID);
	h = hash(h, &c->props.deviceID, sizeof c->props.deviceID);
	bool flags[] = {c->fast, c->full_subgroups};
	return hash_kernels(hash(h, flags, sizeof flags));
}

/* The driver's own head (VkPipelineCacheHeaderVersionOne) is this device's. */
static bool is_ours(const struct bt_vk_card *c, const unsigned char *data, size_t size)
{
	VkPipelineCacheHeaderVersionOne own;
	if (size < sizeof own) return false;
	memcpy(&own, data, sizeof own);
	return own.headerVersion == VK_PIPELINE_CACHE_HEADER_VERSION_ONE && own.vendorID == c->props.vendorID &&
	       own.deviceID == c->props.deviceID &&
	       !memcmp(own.pipelineCacheUUID, c->props.pipelineCacheUUID, VK_UUID_SIZE);
}

static bool read_all(int fd, void *data, size_t n)
{
	for (size_t at = 0; at < n;) {
		ssize_t got = read(fd, (char *)data + at, n - at);
		if (got <= 0) return false;
		at += (size_t)got;
	}
	return true;
}

static bool write_all(int fd, const void *data, size_t n)
{
	for (size_t at = 0; at < n;) {
		ssize_t put = write(fd, (const char *)data + at, n - at);
		if (put <= 0) return false;
		at += (size_t)put;
	}
	return true;
}

/* The driver's data in the file, *size bytes (bt_mem_free); NULL: there are none that are sound and for this device. */
static unsigned char *load(const struct bt_vk *vk, size_t *size)
{
	struct head h;
	struct stat st;
	unsigned char *data = NULL;
	int fd = open(vk->cache_path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) return NULL;
	bool good = !fstat(fd, &st) && S_ISREG(st.st_mode) && read_all(fd, &h, sizeof h) &&
	            !memcmp(h.magic, magic, sizeof magic) && h.key == vk->cache_key &&
	            !memcmp(h.device, vk->card.device_uuid, sizeof h.device) && h.size <= MOST &&
	            (uint64_t)st.st_size == sizeof h + h.size;
	if (good) data = bt_mem_alloc(BT_MEM_HOST, h.size);
	good = good && data && read_all(fd, data, h.size) && hash(1, data, h.size) == h.sum &&
	       is_ours(&vk->card, data, h.size);
	close(fd);
	if (good) {
		*size = h.size;
		return data;
	}
	bt_mem_free(data);
	return NULL;
}

VkResult bt_vk_cache_open(struct bt_vk *vk, const char *dir)
{
	size_t size = 0;
	unsigned char *data = NULL;
	if (dir && strlen(dir) < sizeof vk->cache_path - 96) {
		const uint8_t *u = vk->card.device_uuid;
		int n = snprintf(vk->cache_path, sizeof vk->cache_path, "%s/vulkan-", dir);
		for (uint32_t i = 0; i < VK_UUID_SIZE; i++)
			n += snprintf(vk->cache_path + n, sizeof vk->cache_path - (size_t)n, "%02x", u[i]);
		vk->cache_key = key_of(&vk->card);
		snprintf(vk->cache_path + n, sizeof vk->cache_path - (size_t)n, "-%016llx.bin",
		         (unsigned long long)vk->cache_key);
		data = load(vk, &size);
	}
	VkPipelineCacheCreateInfo info = {.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO,
	                                  .initialDataSize = size,
	                                  .pInitialData = data};
	VkResult r = vk->vkCreatePipelineCache(vk->device, &info, NULL, &vk->cache);
	if (r && data) { /* it was not to the driver's liking after all */
		info.initialDataSize = 0;
		info.pInitialData = NULL;
		r = vk->vkCreatePipelineCache(vk->device, &info, NULL, &vk->cache);
	}
	vk->cache_loaded = data && !r && info.initialDataSize;
	bt_mem_free(data);
	return r;
}

/* Every folder on the way to the file. */
static void make_folders(char *path)
{
	for (char *c = strchr(path + 1, '/'); c; c = strchr(c + 1, '/')) {
		*c = 0;
		mkdir(path, 0700);
		*c = '/';
	}
}

/* Under another name first: who reads at the same time sees the old file or the new one. */
static void store(struct bt_vk *vk, const struct head *h, const void *data)
{
	char temp[sizeof vk->cache_path + 32];
	snprintf(temp, sizeof temp, "%s.%ld-%p", vk->cache_path, (long)getpid(), (void *)vk);
	make_folders(temp);
	int fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0) return;
	bool good = write_all(fd, h, sizeof *h) && write_all(fd, data, h->size);
	good = !close(fd) && good;
	if (!good || rename(temp, vk->cache_path)) unlink(temp);
}

void bt_vk_keep(struct bt_gpu *gpu)
{
	struct bt_vk *vk = (struct bt_vk *)gpu;
	size_t size = 0;
	if (!vk->cache_path[0] || !vk->fresh || vk->lost) return;
	vk->fresh = false;
	if (vk->vkGetPipelineCacheData(vk->device, vk->cache, &size, NULL) || !size) return;
	void *data = bt_mem_alloc(BT_MEM_HOST, size);
	if (data && !vk->vkGetPipelineCacheData(vk->device, vk->cache, &size, data)) {
		struct head h = {.key = vk->cache_key, .size = size, .sum = hash(1, data, size)};
		memcpy(h.magic, magic, sizeof magic);
		memcpy(h.device, vk->card.device_uuid, sizeof h.device);
		store(vk, &h, data);
	}
	bt_mem_free(data);
}
