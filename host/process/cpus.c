#include "process/cpus.h"

#include "process/cgroup.h"

#include <limits.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static double share(double quota, double period) {
    return quota > 0 && period > 0 ? quota / period : INFINITY;
}

static double quota_v2(const char *dir) {
    char path[PATH_MAX + 32], line[64];
    double quota, period;
    snprintf(path, sizeof path, "%s/cpu.max", dir);
    if (!cgroup_line(path, line, sizeof line)) return INFINITY;
    if (sscanf(line, "%lf %lf", &quota, &period) != 2) return INFINITY; /* "max" */
    return share(quota, period);
}

static double quota_v1(const char *dir) {
    char path[PATH_MAX + 32], quota[64], period[64];
    snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", dir);
    if (!cgroup_line(path, quota, sizeof quota)) return INFINITY;
    snprintf(path, sizeof path, "%s/cpu.cfs_period_us", dir);
    if (!cgroup_line(path, period, sizeof period)) return INFINITY;
    return share(strtod(quota, NULL), strtod(period, NULL));
}

unsigned cpus_of_quota(const char *groups, const char *root) {
    double least = cgroup_least(groups, root, "cpu", quota_v2, quota_v1);
    if (least > 65536) return 0;
    return least < 1 ? 1 : (unsigned)ceil(least);
}

static unsigned by_affinity(void) {
    for (int room = 1024; room <= 1 << 20; room *= 4) {
        cpu_set_t *set = CPU_ALLOC((size_t)room);
        size_t size = CPU_ALLOC_SIZE((size_t)room);
        if (!set) break;
        int err = sched_getaffinity(0, size, set);
        int count = err ? 0 : CPU_COUNT_S(size, set);
        CPU_FREE(set);
        if (count > 0) return (unsigned)count;
    }
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (unsigned)online : 1;
}

unsigned cpus_allowed(void) {
    unsigned cpus = by_affinity();
    unsigned quota = cpus_of_quota("/proc/self/cgroup", "/sys/fs/cgroup");
    return quota && quota < cpus ? quota : cpus;
}
