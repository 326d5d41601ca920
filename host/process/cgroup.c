#include "process/cgroup.h"

#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

char *cgroup_line(const char *path, char *out, int size) {
    FILE *f = fopen(path, "re");
    if (!f) return NULL;
    char *line = fgets(out, size, f);
    fclose(f);
    return line;
}

/* The tightest of the group and all above it. In a container the group's path may be
 * the outer one and lead nowhere; the walk then still ends at the mount's own root. */
static double tightest(const char *mount, const char *group,
                       double limit(const char *dir)) {
    char dir[PATH_MAX];
    int n = snprintf(dir, sizeof dir, "%s%s", mount, group);
    if (n < 0 || (size_t)n >= sizeof dir) return limit(mount);
    double least = INFINITY;
    for (size_t floor = strlen(mount);;) {
        double here = limit(dir);
        if (here < least) least = here;
        char *slash = strrchr(dir + floor, '/');
        if (!slash) return least;
        *slash = 0;
    }
}

static bool lists(const char *controllers, const char *wanted) {
    char copy[256];
    snprintf(copy, sizeof copy, "%s", controllers);
    char *rest = copy;
    for (char *name; (name = strsep(&rest, ","));)
        if (strcmp(name, wanted) == 0) return true;
    return false;
}

double cgroup_least(const char *groups, const char *root, const char *controller,
                    double v2(const char *dir), double v1(const char *dir)) {
    double least = INFINITY;
    FILE *f = fopen(groups, "re");
    if (!f) return least;
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
            here = tightest(root, group, v2);
        } else if (lists(controllers, controller)) {
            snprintf(mount, sizeof mount, "%.2000s/%.256s", root, controllers);
            here = tightest(mount, group, v1);
            snprintf(mount, sizeof mount, "%.2000s/%.256s", root, controller);
            here = fmin(here, tightest(mount, group, v1));
        }
        least = fmin(least, here);
    }
    fclose(f);
    return least;
}
