/* Builds the generations of a job on a thread of its own, so that no isolate's loop
 * stops; and ends an app that does not end to load, after load_timeout.
 *
 * What was built, or why not, stands in the job when its `loaded` is posted. The host's
 * main thread. */
#ifndef PROCESS_LOADER_H
#define PROCESS_LOADER_H

#include "process/jobs.h"

/* Without a thread it is done at once. */
void loader_start(struct jobs *j);

/* When it is done. */
void loader_join(struct jobs *j);

#endif
