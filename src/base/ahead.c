#include "base/ahead.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

/* Linux reads no more for one call than the device's readahead setting, 128 KiB unless somebody has changed it. */
#define PIECE ((size_t)128 << 10)

/* Blocks that were read for this process, and pages that it had to wait for (which count where a file system does not
 * count blocks). */
static uint64_t reads_so_far(void)
{
	struct rusage u;
	if (getrusage(RUSAGE_SELF, &u)) return 0;
	return (uint64_t)u.ru_inblock + (uint64_t)u.ru_majflt;
}

void bt_ahead_step(struct bt_ahead *a)
{
	uint64_t reads = reads_so_far();
	a->cold = !a->began || reads != a->reads;
	a->began = true;
	a->reads = reads;
}

void bt_ahead_ask(const void *p, size_t n)
{
	long page = sysconf(_SC_PAGESIZE);
	if (page <= 0 || !n) return;
	uintptr_t at = (uintptr_t)p & ~((uintptr_t)page - 1), end = (uintptr_t)p + n;
	for (; at < end; at += PIECE)
		madvise((void *)at, end - at < PIECE ? end - at : PIECE, MADV_WILLNEED); /* NOLINT: an address */
}
