#include "process/capacity.h"

#include "base/log.h"

#include <sys/resource.h>

/* Besides connections a process has about so many open, and each of its isolates: the
 * loop, the listeners, what wakes it, what a handler opens. */
enum { OWN = 64, ISOLATES = 16 };

void capacity_raise(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= limit.rlim_max)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

void capacity_check(const struct settings *s) {
    struct rlimit limit;
    if (!s->connections_max || getrlimit(RLIMIT_NOFILE, &limit) < 0) return;
    unsigned long long own =
        OWN + (unsigned long long)s->isolates * (ISOLATES + s->open_files);
    unsigned long long wanted = s->connections_max + own;
    if (limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= wanted) return;
    log_warn("connections_max is %llu, which takes %llu open files, and this process "
             "may have %llu: when they are used up clients are turned away; raise the "
             "limit (LimitNOFILE=, ulimit -Hn) or lower connections_max",
             (unsigned long long)s->connections_max, wanted,
             (unsigned long long)limit.rlim_cur);
}
