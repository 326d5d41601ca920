/* Whether the descriptors that a process may have open are enough for the connections
 * that the settings allow. When they are not, connections_max is never reached: those
 * who come when none is left are turned away, instead of waiting.
 *
 * The supervisor asks at its start, a host at a reload. Any thread. */
#ifndef PROCESS_CAPACITY_H
#define PROCESS_CAPACITY_H

#include "process/settings.h"

/* Raises the soft limit of open files to the hard one. */
void capacity_raise(void);

/* Says in the log when they do not fit. */
void capacity_check(const struct settings *s);

#endif
