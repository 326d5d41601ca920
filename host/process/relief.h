/* When a worker's state that has no room left is replaced: at once, but if the new one
 * is soon full, too, or cannot be made, only after a pause, which doubles each time.
 * Meanwhile the old one goes on answering.
 *
 * Part of a worker; all zero is one that was never replaced. Times are monotonic ns.
 * The host's main thread. */
#ifndef PROCESS_RELIEF_H
#define PROCESS_RELIEF_H

#include <stdbool.h>
#include <stdint.h>

struct relief {
    bool wanted;
    int64_t after; /* not before that */
    int64_t pause;
};

/* Whether the replacement begins now: then the next one has to wait. */
bool relief_begins(struct relief *r, int64_t now);

#endif
