/* cores.c: how many cores this process may use: affinity mask, hyper-threads, cgroup CPU quotas.
 *
 * Sources: sched_getaffinity(2); Linux Documentation/admin-guide/cputopology.rst (thread_siblings_list),
 * cgroup-v2.rst (cpu.max) and scheduler/sched-bwc.rst (cpu.cfs_quota_us, cgroup v1).
 */
#include "base/limits.h"
#include "base/pool.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* First line of a file; false when it can't be read. */
static bool read_line(const char *path, char *buf, int size)
{
	FILE *f = fopen(path, "r");
	if (!f) return false;
	bool ok = fgets(buf, size, f) != NULL;
	fclose(f);
	return ok;
}

/* CPUs of the mask, each set of hyper-threads counted once. */
static unsigned cores_in_mask(void)
{
	cpu_set_t mask;
	if (sched_getaffinity(0, sizeof mask, &mask)) return 1;
	unsigned n = 0;
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &mask)) continue;
		char path[96], line[256];
		snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
		bool first = true; /* of its core's threads within the mask */
		if (read_line(path, line, sizeof line)) {
			/* "0,64" or "0-1": count this CPU unless a lower sibling of the mask stands before it */
			for (char *s = line; first && *s >= '0' && *s <= '9';) {
				long a = strtol(s, &s, 10), b = *s == '-' ? strtol(s + 1, &s, 10) : a;
				for (; a <= b && a < cpu; a++)
					if (a < CPU_SETSIZE && CPU_ISSET(a, &mask)) first = false;
				if (*s == ',') s++;
			}
		}
		n += first;
	}
	return n ? n : 1;
}

/* quota / period rounded up to whole CPUs; no limit: UINT32_MAX. */
static unsigned as_cpus(long long quota, long long period)
{
	if (quota <= 0 || period <= 0) return UINT32_MAX;
	long long n = (quota + period - 1) / period;
	return n < BT_LIMIT_THREADS ? (unsigned)n : BT_LIMIT_THREADS;
}

/* The smallest quota of this process's cgroup and those above it. Inside a container the paths of /proc/self/cgroup may
 * not exist below /sys/fs/cgroup; then its root is the container's own group. */
static unsigned cgroup_cpus(void)
{
	char line[4096], path[4200], buf[64];
	unsigned least = UINT32_MAX;
	FILE *f = fopen("/proc/self/cgroup", "r");
	if (!f) return least;
	while (fgets(line, sizeof line, f)) {
		line[strcspn(line, "\n")] = 0;
		char *name = strchr(line, ':'), *dir = name ? strchr(name + 1, ':') : NULL;
		if (!dir) continue;
		*dir++ = 0;
		bool v2 = !name[1];
		if (!v2 && !strstr(name, "cpu")) continue;
		const char *base = v2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/cpu";
		for (;;) {
			long long quota = 0, period = 0;
			snprintf(path, sizeof path, "%s%s/%s", base, dir, v2 ? "cpu.max" : "cpu.cfs_quota_us");
			if (read_line(path, buf, sizeof buf)) {
				if (v2) sscanf(buf, "%lld %lld", &quota, &period); /* "max 100000" reads as no quota */
				else quota = atoll(buf);
			}
			snprintf(path, sizeof path, "%s%s/cpu.cfs_period_us", base, dir);
			if (!v2 && quota > 0 && read_line(path, buf, sizeof buf)) period = atoll(buf);
			unsigned n = as_cpus(quota, period);
			if (n < least) least = n;
			char *slash = strrchr(dir, '/');
			if (!slash) break;
			*slash = 0;
		}
	}
	fclose(f);
	return least;
}

unsigned bt_pool_default_threads(void)
{
	unsigned cores = cores_in_mask(), quota = cgroup_cpus();
	if (quota < cores) cores = quota;
	return cores < BT_LIMIT_THREADS ? cores : BT_LIMIT_THREADS;
}
