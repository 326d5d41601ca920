/* Deadlines of one loop, in a heap behind one timerfd: libev's own timers are late by a
 * millisecond (epoll's whole milliseconds, and 0.1 % slack of long waits), a timerfd by
 * some 80 microseconds.
 *
 * A timer lives in its owner; timer_set moves it, timer_clear may be called on one that
 * is not set. Fired timers are cleared before their call. The loop's thread only. */
#ifndef NET_TIMER_H
#define NET_TIMER_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

struct loop;
struct timer;

typedef void (*timer_fn)(struct timer *self);

struct timer {
    int64_t at;    /* monotonic ns */
    uint32_t slot; /* 1-based place in the heap; 0 when not set */
    timer_fn run;
};

struct timers {
    struct timer **heap;
    uint32_t count, capacity;
    int fd;
    int64_t armed; /* what the timerfd is set to; 0 when disarmed */
    ev_io io;
};

int timers_init(struct timers *ts);
void timers_done(struct timers *ts);
void timers_start(struct timers *ts, struct loop *l);

static inline void timer_init(struct timer *t, timer_fn run) {
    *t = (struct timer){.run = run};
}

static inline bool timer_is_set(const struct timer *t) {
    return t->slot != 0;
}

/* Fires at the monotonic time `at` (ns), or as soon as the loop turns when that is
 * past. 0, or ERR_MEMORY with the timer not set. */
int timer_set(struct loop *l, struct timer *t, int64_t at);
void timer_clear(struct loop *l, struct timer *t);

/* Used by the loop: whether something is long due at l->now that was not at l->asked;
 * runs what is due; sets the timerfd to the next deadline.
 */
bool timers_are_late(const struct loop *l);
void timers_run(struct loop *l);
void timers_arm(struct loop *l);

#endif
