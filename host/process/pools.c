#include "process/pools.h"

#include "api/blocking_state.h"
#include "base/log.h"
#include "isolate/isolate.h"

#define PATIENCE (5 * CLOCK_SECOND)
#define FILES_IDLE (10 * CLOCK_SECOND)
#define BLOCKING_IDLE (60 * CLOCK_SECOND) /* its threads have something to lose */

int pools_init(struct pools *p, const struct settings *s) {
    const struct pool_plan files = {
        .name = "files",
        .threads = s->file_threads,
        .queue = s->blocking_queue,
        .idle = FILES_IDLE,
        .stack = ISOLATE_STACK,
    };
    const struct pool_plan blocking = {
        .name = "blocking",
        .threads = s->blocking_threads,
        .queue = s->blocking_queue,
        .idle = BLOCKING_IDLE,
        .stack = ISOLATE_STACK,
        .begin = blocking_begin,
        .tidy = blocking_tidy,
        .end = blocking_end,
    };
    *p = (struct pools){.files = pool_new(&files), .blocking = pool_new(&blocking)};
    pool_on_interrupt(blocking_interrupted);
    if (p->files && p->blocking) return 0;
    pools_done(p);
    return -ENOMEM;
}

static unsigned end(struct pool *pool, const char *what, int64_t deadline) {
    unsigned left = pool ? pool_free(pool, deadline) : 0;
    if (left) log_warn("%u %s did not end and were left behind", left, what);
    return left;
}

unsigned pools_done(struct pools *p) {
    int64_t deadline = clock_ns() + PATIENCE;
    if (p->blocking) pool_stop(p->blocking);
    unsigned left = end(p->files, "calls of atoll.fs", deadline);
    left += end(p->blocking, "functions of atoll.blocking", deadline);
    *p = (struct pools){0};
    return left;
}
