/* The two pools of a host, as its settings want them: one for files and one for
 * atoll.blocking.
 *
 * Made before the first isolate; ended when there is none any more. The host's main
 * thread. */
#ifndef PROCESS_POOLS_H
#define PROCESS_POOLS_H

#include "net/pool.h"
#include "process/settings.h"

struct pools {
    struct pool *files, *blocking;
};

/* 0 or a negative errno. */
int pools_init(struct pools *p, const struct settings *s);

/* Waits some seconds for what was cancelled and still runs; what does not end then is
 * left behind, and logged; how many. */
unsigned pools_done(struct pools *p);

#endif
