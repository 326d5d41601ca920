/* The line on stderr that says, once, that it serves; and what systemd shows as the
 * service's state. The supervisor's thread. */
#ifndef PROCESS_ANNOUNCE_H
#define PROCESS_ANNOUNCE_H

#include "process/heritage.h"
#include "process/notify.h"
#include "process/processes.h"

/* How many there are. */
struct muster {
    unsigned hosts, isolates; /* that serve */
};

struct muster muster_of(const struct link *children);

/* "atoll: serving apps/hello on http://127.0.0.1:8080 (2 isolates, pid 4242)" */
void announce(const struct heritage *h, struct muster m);

/* Further lines before the status, such as "READY=1\n", and what it begins with. */
void announce_status(const struct notify *n, struct muster m, const char *lines,
                     const char *doing);

#endif
