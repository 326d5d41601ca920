/* What all isolates of a process have in common, by name: dictionaries, topics, ports.
 * One is made for the whole host (a script, a run of specs) and outlives every
 * Lua state: generation_plan carries it to them, so it is there before a reload and
 * after it, for spawned isolates and for what atoll.blocking runs.
 *
 * Any thread; made and freed by the main thread. */
#ifndef ISOLATE_COMMONS_H
#define ISOLATE_COMMONS_H

#include "isolate/names.h"
#include "isolate/shared.h"
#include "isolate/topic.h"

struct commons {
    struct shared *shared;
    struct topics *topics;
    struct names *names;
};

/* dictionary: bytes, of each that is opened without a limit. NULL without memory. */
struct commons *commons_new(size_t dictionary);
void commons_free(struct commons *c); /* nobody uses it any more; NULL is none */

#endif
