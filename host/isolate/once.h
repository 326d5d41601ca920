/* Jobs that one isolate of the host does for all: each time that one is due exactly one
 * of those who ask may do it, and not while it is still being done.
 *
 * A job is known by its name and lives while somebody refers to it, so that it goes
 * over from one generation to the next, and with it when it was last due. Any thread.
 */
#ifndef ISOLATE_ONCE_H
#define ISOLATE_ONCE_H

#include "base/list.h"

#include <pthread.h>
#include <stdint.h>

struct once {
    pthread_mutex_t lock;
    struct link jobs;
};

struct once_job;

void once_init(struct once *o);
void once_done(struct once *o); /* no job may be left */

/* A reference to the job of that name, or NULL without memory. */
struct once_job *once_ref(struct once *o, const char *name);
void once_unref(struct once_job *j);

/* Whether the caller is to do what is due at that monotonic time (ns); then once_over
 * when it is done. */
bool once_claim(struct once_job *j, int64_t due);
void once_over(struct once_job *j);

#endif
