#include "net/timer.h"

#include "base/check.h"
#include "base/err.h"
#include "net/loop.h"

#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { ARITY = 4 };

static const int64_t LATE = 2 * 1000000; /* ns */

int timers_init(struct timers *ts) {
    *ts = (struct timers){0};
    ts->fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    return ts->fd < 0 ? -errno : 0;
}

void timers_done(struct timers *ts) {
    if (ts->fd >= 0) close(ts->fd);
    free(ts->heap);
    *ts = (struct timers){.fd = -1};
}

static void expired(struct ev_loop *ev, ev_io *io, int events) {
    struct loop *l = io->data;
    if (events & EV_ERROR) loop_watch_again(ev, io);
    uint64_t count;
    /* Reading clears the readiness; the heap says what is due, at the end of the turn.
     */
    if (read(l->timers.fd, &count, sizeof count) > 0) l->timers.armed = 0;
}

void timers_start(struct timers *ts, struct loop *l) {
    ev_io_init(&ts->io, expired, ts->fd, EV_READ);
    ts->io.data = l;
    ev_io_start(l->ev, &ts->io);
}

static void place(struct timers *ts, struct timer *t, uint32_t slot) {
    ts->heap[slot - 1] = t;
    t->slot = slot;
}

static void rise(struct timers *ts, struct timer *t, uint32_t slot) {
    while (slot > 1) {
        uint32_t parent = (slot - 2) / ARITY + 1;
        if (ts->heap[parent - 1]->at <= t->at) break;
        place(ts, ts->heap[parent - 1], slot);
        slot = parent;
    }
    place(ts, t, slot);
}

static void sink(struct timers *ts, struct timer *t, uint32_t slot) {
    for (;;) {
        uint32_t first = (slot - 1) * ARITY + 2, least = 0;
        for (uint32_t i = first; i < first + ARITY && i <= ts->count; i++)
            if (!least || ts->heap[i - 1]->at < ts->heap[least - 1]->at) least = i;
        if (!least || ts->heap[least - 1]->at >= t->at) break;
        place(ts, ts->heap[least - 1], slot);
        slot = least;
    }
    place(ts, t, slot);
}

int timer_set(struct loop *l, struct timer *t, int64_t at) {
    struct timers *ts = &l->timers;
    if (t->slot) {
        int64_t before = t->at;
        t->at = at;
        if (at < before)
            rise(ts, t, t->slot);
        else
            sink(ts, t, t->slot);
        return 0;
    }
    if (ts->count == ts->capacity) {
        uint32_t capacity = ts->capacity ? ts->capacity * 2 : 16;
        struct timer **heap = realloc(ts->heap, capacity * sizeof(struct timer *));
        if (!heap) return ERR_MEMORY;
        ts->heap = heap;
        ts->capacity = capacity;
    }
    t->at = at;
    rise(ts, t, ++ts->count);
    return 0;
}

void timer_clear(struct loop *l, struct timer *t) {
    struct timers *ts = &l->timers;
    uint32_t slot = t->slot;
    if (!slot) return;
    CHECK(slot <= ts->count && ts->heap[slot - 1] == t);
    struct timer *last = ts->heap[--ts->count];
    t->slot = 0;
    if (last == t) return;
    if (slot > 1 && last->at < ts->heap[(slot - 2) / ARITY]->at)
        rise(ts, last, slot);
    else
        sink(ts, last, slot);
}

bool timers_are_late(const struct loop *l) {
    const struct timers *ts = &l->timers;
    return ts->count && l->now - ts->heap[0]->at > LATE && ts->heap[0]->at > l->asked;
}

void timers_run(struct loop *l) {
    struct timers *ts = &l->timers;
    /* Bounded, even if each of them sets itself for now again. */
    for (uint32_t n = ts->count; n && ts->count && ts->heap[0]->at <= l->now; n--) {
        struct timer *t = ts->heap[0];
        timer_clear(l, t);
        t->run(t);
    }
}

void timers_arm(struct loop *l) {
    struct timers *ts = &l->timers;
    int64_t at = ts->count ? ts->heap[0]->at : 0;
    if (at == ts->armed) return;
    /* A later deadline than the armed one costs a turn for nothing at worst; setting it
       at once would cost a system call for each timer that is set and cleared. */
    if (ts->armed && (at == 0 || at > ts->armed)) return;
    struct itimerspec when = {
        .it_value = {.tv_sec = at / 1000000000, .tv_nsec = at % 1000000000}};
    if (at > 0 && when.it_value.tv_sec == 0 && when.it_value.tv_nsec == 0)
        when.it_value.tv_nsec = 1;
    if (timerfd_settime(ts->fd, TFD_TIMER_ABSTIME, &when, NULL) == 0) ts->armed = at;
}
