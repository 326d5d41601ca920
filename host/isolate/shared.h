/* The dictionaries of a process by name; commons has them.
 *
 * A dictionary is made when its name is first opened and stays as long as the process;
 * its limit counts from then on. Any thread; made and freed by the main thread. */
#ifndef ISOLATE_SHARED_H
#define ISOLATE_SHARED_H

#include "isolate/dict.h"

enum { SHARED_MAX = 1000, SHARED_LIMIT_LEAST = 65536 };

struct shared;

/* limit: bytes, of the dictionaries that are opened without one. NULL without memory.
 */
struct shared *shared_new(size_t limit);
void shared_free(struct shared *s); /* NULL is none */

/* limit: 0 for the usual one. *kept is true when there is one with another limit, which
 * it keeps; the first time only that this limit is asked for, so that it can be said
 * once. 0, ERR_MEMORY, or ERR_TOO_LARGE when there are SHARED_MAX already. */
int shared_open(struct shared *s, struct span name, size_t limit, struct dict **out,
                bool *kept);

#endif
