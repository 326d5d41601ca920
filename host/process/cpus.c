#include "process/cpus.h"

#include <limits.h>
#include <math.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The first line of a small file, or NULL. */
static char *first_line(const char *path, char *out, int size) {
    FILE *f = fopen(path, "re");
    if (!f) return NULL;
    char *line = fgets(out, size, f);
    fclose(f);
    return line;
}

static double share(double quota, double period) {
    return quota > 0 && period > 0 ? quota / period : INFINITY;
}

static double quota_v2(const char *dir) {
    char path[PATH_MAX + 32], line[64];
    double quota, period;
    snprintf(path, sizeof path, "%s/cpu.max", dir);
    if (!first_line(path, line, sizeof line)) return INFINITY;
    if (sscanf(line, "%lf %lf", &quota, &period) != 2) return INFINITY; /* "max" */
    return share(quota, period);
}

static double quota_v1(const char *dir) {
    char path[PATH_MAX + 32], quota[64], period[64];
    snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", dir);
    if (!first_line(path, quota, sizeof quota)) return INFINITY;
    snprintf(path, sizeof path, "%s/cpu.cfs_period_us", dir);
    if (!first_line(path, period, sizeof period)) return INFINITY;
    return share(strtod(quota, NULL), strtod(period, NULL));
}

/* The tightest of the group and all above it. In a container the group's path may be
 * the outer one and lead nowhere; the walk then still ends at the mount's own root. */
static double tightest(const char *mount, const char *group,
                       double quota(const char *dir)) {
    char dir[PATH_MAX];
    int n = snprintf(dir, sizeof dir, "%s%s", mount, group);
    if (n < 0 || (size_t)n >= sizeof dir) return quota(mount);
    double least = INFINITY;
    for (size_t floor = strlen(mount);;) {
        double here = quota(dir);
        if (here < least) least = here;
        char *slash = strrchr(dir + floor, '/');
        if (!slash) return least;
        *slash = 0;
    }
}

static bool lists_cpu(const char *controllers) {
    char copy[256];
    snprintf(copy, sizeof copy, "%s", controllers);
    char *rest = copy;
    for (char *name; (name = strsep(&rest, ","));)
        if (strcmp(name, "cpu") == 0) return true;
    return false;
}

unsigned cpus_of_quota(const char *groups, const char *root) {
    FILE *f = fopen(groups, "re");
    if (!f) return 0;
    double least = INFINITY;
    char line[PATH_MAX + 256], mount[PATH_MAX];
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        /* "0::/path" (version 2) or "4:cpu,cpuacct:/path" */
        char *controllers = strchr(line, ':');
        char *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group) continue;
        controllers++;
        *group++ = 0;
        double here = INFINITY;
        if (*controllers == 0) {
            here = tightest(root, group, quota_v2);
        } else if (lists_cpu(controllers)) {
            snprintf(mount, sizeof mount, "%.2000s/%.256s", root, controllers);
            here = tightest(mount, group, quota_v1);
            snprintf(mount, sizeof mount, "%.2000s/cpu", root);
            here = fmin(here, tightest(mount, group, quota_v1));
        }
        least = fmin(least, here);
    }
    fclose(f);
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
