#include "process/ram.h"

#include "process/cgroup.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Version 1 writes a number near 2^63 where there is no limit. */
static const double MOST = 1e18;

static double limit_in(const char *dir, const char *file) {
    char path[PATH_MAX + 32], line[64], *end;
    snprintf(path, sizeof path, "%s/%s", dir, file);
    if (!cgroup_line(path, line, sizeof line)) return INFINITY;
    double n = strtod(line, &end);
    return end == line || n <= 0 ? INFINITY : n; /* "max" */
}

static double limit_v2(const char *dir) {
    return limit_in(dir, "memory.max");
}

static double limit_v1(const char *dir) {
    return limit_in(dir, "memory.limit_in_bytes");
}

uint64_t ram_of_groups(const char *groups, const char *root) {
    double least = cgroup_least(groups, root, "memory", limit_v2, limit_v1);
    return least < MOST ? (uint64_t)least : 0;
}

uint64_t ram_allowed(void) {
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    uint64_t machine = pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : 0;
    uint64_t groups = ram_of_groups("/proc/self/cgroup", "/sys/fs/cgroup");
    return groups && (!machine || groups < machine) ? groups : machine;
}
