/* The watchdog: sees from outside that an isolate has run one fiber for longer than a
 * slice. Nothing is measured while nobody overruns: the scheduler only counts switches,
 * the watchdog's thread samples the counts, and an isolate found in the same fiber for
 * a slice is sent a signal whose handler arms a count hook on the running coroutine
 * (lua_sethook is safe in a handler); what that does is in preempt.h. While no isolate
 * runs anything the watchdog sleeps, too.
 *
 * An isolate that was killed, and does not wait, is sent the signal as well: then an
 * error is raised at each of its instructions until it has ended.
 *
 * One watchdog thread per host; isolates are watched from their start to their end. The
 * signal is SIGURG, which is ignored by default and does no harm when it strays. */
#ifndef ISOLATE_SLICE_H
#define ISOLATE_SLICE_H

#include "isolate/isolate.h"

#include <signal.h>

#ifdef __SANITIZE_THREAD__
enum { SLICE_SIGNAL = SIGTRAP }; /* see POOL_SIGNAL in net/pool.h */
#else
enum { SLICE_SIGNAL = SIGURG };
#endif

enum { SLICE_PLACES = 64, SLICE_PLACE = 96 };

/* Where fibers have run for too long. */
struct slice_place {
    char text[SLICE_PLACE]; /* "app.lua:7" */
    uint64_t count;
    int64_t longest; /* ns */
};

struct slices {
    atomic_bool napping;
    int64_t slice, warn;  /* ns */
    int64_t period, calm; /* between two looks, and while nobody overruns */
    int64_t alert;        /* until when somebody may: the watchdog's thread */
    pthread_t thread;
    pthread_mutex_t lock; /* of all below; held while an isolate is signalled */
    pthread_cond_t wake;
    bool stopping;
    struct slice_watch *watches;
    struct slice_place places[SLICE_PLACES]; /* those with a count, in no order */
};

/* Starts the watchdog: a fiber is suspended after slice ns and logged once it has run
 * for warn ns without a wait; with 0 none is. NULL without memory or thread, with *err
 * set. */
struct slices *slices_start(int64_t slice, int64_t warn, int *err);

/* No isolate is watched any more. */
void slices_stop(struct slices *s);

/* On the isolate's thread. */
int slices_watch(struct slices *s, struct isolate *i);
void slices_unwatch(struct slices *s, struct isolate *i);

/* A fiber has run for `ran` ns without a wait, and is at the place. It is counted when
 * it is first seen; when the table is full, what was counted least makes room. Any
 * thread. */
void slices_note(struct slices *s, const char *place, int64_t ran, bool first);

/* Copies the table; how many there are. Any thread. */
int slices_places(struct slices *s, struct slice_place out[SLICE_PLACES]);

/* For how long, at most, events have waited for the isolate in the last ten seconds or
 * so, ns; as exact as the watchdog looks. Any thread. */
int64_t slices_lag(struct slices *s, const struct isolate *i);

/* Used by sched: a fiber is about to run. */
void slices_rouse_now(struct slices *s);

static inline void slices_rouse(struct slices *s) {
    if (__builtin_expect(atomic_load_explicit(&s->napping, memory_order_relaxed), 0))
        slices_rouse_now(s);
}

#endif
