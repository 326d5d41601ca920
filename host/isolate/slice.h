/* The watchdog: sees from outside that an isolate has run one fiber for longer than a
 * slice, and finds out where. Nothing is measured while nobody overruns: the scheduler
 * only counts switches, the watchdog's thread samples the counts, and an isolate found
 * twice in the same fiber is sent a signal whose handler arms a count hook on the
 * running coroutine (lua_sethook is safe in a handler); the hook names file and line
 * and disarms.
 *
 * One watchdog thread per host; isolates are watched from their start to their end. */
#ifndef ISOLATE_SLICE_H
#define ISOLATE_SLICE_H

#include "isolate/isolate.h"

struct slices;

/* Starts the watchdog; a slice longer than warn ns is logged once. NULL without memory
 * or thread, with *err set. */
struct slices *slices_start(int64_t warn, int *err);
void slices_stop(struct slices *s);

/* On the isolate's thread. */
int slices_watch(struct slices *s, struct isolate *i);
void slices_unwatch(struct slices *s, struct isolate *i);

#endif
