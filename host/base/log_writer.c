#include "base/log_writer.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/list.h"
#include "base/spsc.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    QUEUE_SIZE = 65536,
    NAP_MS = 5,      /* between two rounds while lines keep coming */
    BLOCKED_MS = 20, /* how late a line is that comes while its reader is slow */
};
#define REPORT_EVERY CLOCK_SECOND

/* Events and access lines are two lanes, so that the stuck reader of one does not hold
 * up the other. A lane is awake when nobody needs to wake the writer for it. */
enum { EVENTS, ACCESS, LANES };
enum { AWAKE, NAPPING, ASLEEP };

struct lane {
    const char *name, *unit;
    struct log_sink *sink;
    _Alignas(64) atomic_int state;
    bool busy, blocked;
    int told;              /* the sink's failure that was told */
    uint64_t told_dropped; /* how many drops were told */
    uint64_t told_lost;    /* and how many of the lines that could not be written */
    int64_t told_at;
};

struct log_writer {
    struct lane lanes[LANES];
    struct log_style style;
    pthread_t thread;
    int wake; /* an eventfd */
    atomic_bool stop, reopen;
    int64_t stop_by; /* written before stop */
    uint64_t given_up;

    pthread_mutex_t queue_lock; /* makes one producer of many */
    struct spsc queue;
    _Atomic uint64_t dropped[LANES]; /* of ACCESS: what closed feeds dropped */
    _Atomic uint64_t lost[LANES];

    pthread_mutex_t feeds_lock; /* the list, stopped, and freeing feeds */
    struct link feeds;
    bool stopped;
};

struct log_feed {
    struct link link;
    struct log_writer *writer;
    atomic_bool closed;
    _Atomic uint64_t dropped;
    struct spsc queue;
};

/* --- waking --- */

static void signal_writer(struct log_writer *w) {
    uint64_t one = 1;
    while (write(w->wake, &one, sizeof one) < 0 && errno == EINTR) {
    }
}

/* Called behind every put: a nap ends early only when the queue could fill up. */
static inline void wake(struct log_writer *w, int lane, struct spsc *q) {
    atomic_int *state = &w->lanes[lane].state;
    int now = atomic_load(state);
    if (now == AWAKE) return;
    if (now == NAPPING && spsc_used(q) < q->capacity / 2) return;
    if (atomic_exchange(state, AWAKE) != AWAKE) signal_writer(w);
}

/* --- producers --- */

bool log_writer_put(struct log_writer *w, struct span lines) {
    CHECK(lines.len && lines.at[lines.len - 1] == '\n');
    pthread_mutex_lock(&w->queue_lock);
    bool done = spsc_put(&w->queue, lines);
    pthread_mutex_unlock(&w->queue_lock);
    if (!done) atomic_fetch_add(&w->dropped[EVENTS], 1);
    wake(w, EVENTS, &w->queue);
    return done;
}

bool log_feed_put(struct log_feed *f, struct span line) {
    CHECK(line.len && line.at[line.len - 1] == '\n');
    bool done = spsc_put(&f->queue, line);
    if (!done) atomic_fetch_add_explicit(&f->dropped, 1, memory_order_relaxed);
    wake(f->writer, ACCESS, &f->queue);
    return done;
}

struct log_feed *log_feed_open(struct log_writer *w, size_t size) {
    if (log_sink_off(w->lanes[ACCESS].sink)) return NULL;
    struct log_feed *f = aligned_alloc(64, (sizeof *f + 63) & ~(size_t)63);
    if (!f) return NULL;
    if (spsc_init(&f->queue, size) < 0) {
        free(f);
        return NULL;
    }
    f->writer = w;
    atomic_init(&f->closed, false);
    atomic_init(&f->dropped, 0);
    pthread_mutex_lock(&w->feeds_lock);
    list_init(&f->link);
    list_append(&w->feeds, &f->link);
    pthread_mutex_unlock(&w->feeds_lock);
    return f;
}

static void free_feed(struct log_feed *f) {
    atomic_fetch_add(&f->writer->dropped[ACCESS], atomic_load(&f->dropped));
    list_unlink(&f->link);
    spsc_done(&f->queue);
    free(f);
}

static void free_writer(struct log_writer *w) {
    fd_close(&w->wake);
    spsc_done(&w->queue);
    pthread_mutex_destroy(&w->queue_lock);
    pthread_mutex_destroy(&w->feeds_lock);
    free(w);
}

void log_feed_close(struct log_feed *f) {
    struct log_writer *w = f->writer;
    pthread_mutex_lock(&w->feeds_lock);
    bool stopped = w->stopped, last = false;
    if (stopped) {
        free_feed(f);
        last = list_empty(&w->feeds);
    } else {
        atomic_store(&f->closed, true);
        signal_writer(w); /* which frees it under the lock */
    }
    pthread_mutex_unlock(&w->feeds_lock);
    if (last) free_writer(w);
}

void log_writer_reopen(struct log_writer *w) {
    atomic_store(&w->reopen, true);
    signal_writer(w);
}

static uint64_t dropped(struct log_writer *w, int lane) {
    pthread_mutex_lock(&w->feeds_lock); /* a feed's count moves when it is freed */
    uint64_t sum = atomic_load(&w->dropped[lane]);
    for (struct link *l = w->feeds.next; lane == ACCESS && l != &w->feeds; l = l->next)
        sum += atomic_load(&LIST_OF(l, struct log_feed, link)->dropped);
    pthread_mutex_unlock(&w->feeds_lock);
    return sum;
}

struct log_counts log_writer_counts(struct log_writer *w) {
    return (struct log_counts){.events_dropped = dropped(w, EVENTS),
                               .lines_dropped = dropped(w, ACCESS),
                               .events_lost = atomic_load(&w->lost[EVENTS]),
                               .lines_lost = atomic_load(&w->lost[ACCESS])};
}

/* --- the thread --- */

/* The writer's own events go past the queue; without room they are left out. */
__attribute__((format(printf, 3, 4))) static void
tell(struct log_writer *w, enum log_level level, const char *format, ...) {
    char text[512], line[LOG_LINE_MAX];
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (n < 0) return;
    struct log_event event = {
        .level = level, .wall_ns = clock_wall_ns(), .text = span_str(text)};
    log_sink_add(w->lanes[EVENTS].sink,
                 span_of(line, log_line(line, w->style, &event)));
    w->lanes[EVENTS].busy = true;
}

/* Moves whole lines; false when the sink had no room for all. */
static bool move(struct spsc *q, struct lane *lane) {
    size_t used = spsc_used(q), room;
    if (used == 0) return true;
    char *out = log_sink_reserve(lane->sink, &room);
    size_t n = used < room ? used : room;
    spsc_copy(q, out, n);
    while (n > 0 && out[n - 1] != '\n') n--;
    log_sink_commit(lane->sink, n);
    spsc_drop(q, n);
    lane->busy = true;
    return n == used;
}

static bool move_feeds(struct log_writer *w, struct lane *lane) {
    bool all = true;
    pthread_mutex_lock(&w->feeds_lock);
    for (struct link *l = w->feeds.next, *next; l != &w->feeds && all; l = next) {
        struct log_feed *f = LIST_OF(l, struct log_feed, link);
        next = l->next;
        bool closed = atomic_load(&f->closed); /* before the look at what it holds */
        all = move(&f->queue, lane);
        if (closed && spsc_used(&f->queue) == 0) free_feed(f);
    }
    if (!all) { /* begin with another one next time */
        struct link *first = w->feeds.next;
        list_unlink(first);
        list_append(&w->feeds, first);
    }
    pthread_mutex_unlock(&w->feeds_lock);
    return all;
}

/* Writes what has come, in batches of what the sink has room for. */
static void serve(struct log_writer *w, int which) {
    struct lane *lane = &w->lanes[which];
    for (bool all = false; !all;) {
        all = which == EVENTS ? move(&w->queue, lane) : move_feeds(w, lane);
        lane->blocked = log_sink_flush(lane->sink) == IO_AGAIN;
        if (lane->blocked) break;
    }
    if (which == EVENTS || lane->sink != w->lanes[EVENTS].sink)
        atomic_store(&w->lost[which], lane->sink->lost);
}

static void report_failure(struct log_writer *w, struct lane *lane) {
    struct log_sink *sink = lane->sink;
    if (sink->error && lane->told == 0) {
        lane->told = sink->error;
        if (sink != w->lanes[EVENTS].sink)
            tell(w, LEVEL_ERROR, "%s: cannot write to %s: %s", lane->name, sink->name,
                 err_text(-sink->error));
    } else if (lane->told && !sink->error) {
        tell(w, LEVEL_WARN, "%s: writing to %s works again, %llu %s lost: %s",
             lane->name, sink->name, (unsigned long long)(sink->lost - lane->told_lost),
             lane->unit, err_text(-lane->told));
        lane->told = 0;
        lane->told_lost = sink->lost;
    }
}

/* Failures are told when they begin and when they end, drops once a second. Returns
 * whether there is something left to tell later. */
static bool report(struct log_writer *w, int which, bool now) {
    struct lane *lane = &w->lanes[which];
    if (which == EVENTS || lane->sink != w->lanes[EVENTS].sink) report_failure(w, lane);
    uint64_t count = dropped(w, which) - lane->told_dropped;
    if (count == 0) return false;
    int64_t time = clock_ns();
    bool deaf = w->lanes[EVENTS].blocked || w->lanes[EVENTS].sink->error;
    if (!now && (deaf || time - lane->told_at < REPORT_EVERY)) return true;
    tell(w, LEVEL_WARN, "%s: %llu %s dropped", lane->name, (unsigned long long)count,
         lane->unit);
    lane->told_dropped += count;
    lane->told_at = time;
    return false;
}

static void reopen(struct log_writer *w) {
    for (int i = 0; i < LANES; i++) {
        struct log_sink *sink = w->lanes[i].sink;
        if (i == ACCESS && sink == w->lanes[EVENTS].sink) break;
        int err = log_sink_reopen(sink);
        if (err)
            tell(w, LEVEL_ERROR, "%s: cannot reopen %s, keeping the old file: %s",
                 w->lanes[i].name, sink->name, err_text(err));
    }
}

/* Whether something came that the state would not have woken the writer for. */
static bool missed(struct log_writer *w, int which, int state) {
    size_t enough = state == ASLEEP ? 1 : 0, most = 0;
    if (which == EVENTS)
        return spsc_used(&w->queue) >= (enough ? enough : w->queue.capacity / 2);
    bool found = false;
    pthread_mutex_lock(&w->feeds_lock);
    for (struct link *l = w->feeds.next; l != &w->feeds && !found; l = l->next) {
        struct spsc *q = &LIST_OF(l, struct log_feed, link)->queue;
        most = spsc_used(q);
        found = most >= (enough ? enough : q->capacity / 2);
    }
    pthread_mutex_unlock(&w->feeds_lock);
    return found;
}

/* Waits for the next thing to do; at most for the given time (-1: for ever). */
static void rest(struct log_writer *w, int timeout) {
    struct pollfd ready[1 + LANES] = {{.fd = w->wake, .events = POLLIN}};
    bool late = false;
    for (int i = 0; i < LANES; i++) {
        struct lane *lane = &w->lanes[i];
        int state = lane->blocked ? AWAKE : lane->busy ? NAPPING : ASLEEP;
        int most = lane->blocked ? BLOCKED_MS : lane->busy ? NAP_MS : -1;
        if (most >= 0 && (timeout < 0 || most < timeout)) timeout = most;
        ready[1 + i].fd = lane->blocked ? lane->sink->fd : -1;
        ready[1 + i].events = POLLOUT;
        atomic_store(&lane->state, state);
        if (state != AWAKE && missed(w, i, state)) late = true;
    }
    poll(ready, 1 + LANES, late ? 0 : timeout);
    for (int i = 0; i < LANES; i++) atomic_store(&w->lanes[i].state, AWAKE);
    uint64_t count;
    if (ready[0].revents && read(w->wake, &count, sizeof count) < 0) CHECK(errno);
}

static size_t left(struct log_writer *w) {
    size_t bytes = spsc_used(&w->queue);
    pthread_mutex_lock(&w->feeds_lock);
    for (struct link *l = w->feeds.next; l != &w->feeds; l = l->next)
        bytes += spsc_used(&LIST_OF(l, struct log_feed, link)->queue);
    pthread_mutex_unlock(&w->feeds_lock);
    for (int i = 0; i < LANES; i++)
        bytes += w->lanes[i].sink->end - w->lanes[i].sink->start;
    return bytes;
}

/* Counts and throws away what nobody reads, so that it is not written by accident. */
static uint64_t give_up(struct log_writer *w) {
    uint64_t before[LANES], lines = 0;
    for (int i = 0; i < LANES; i++) before[i] = w->lanes[i].sink->lost;
    for (int i = 0; i < LANES; i++) {
        struct lane *lane = &w->lanes[i];
        for (bool all = false; !all;) {
            log_sink_drop(lane->sink);
            all = i == EVENTS ? move(&w->queue, lane) : move_feeds(w, lane);
        }
        log_sink_drop(lane->sink);
        if (i == EVENTS || lane->sink != w->lanes[EVENTS].sink)
            lines += lane->sink->lost - before[i];
    }
    return lines;
}

static void *run(void *argument) {
    struct log_writer *w = argument;
    pthread_setname_np(pthread_self(), "log");
    for (;;) {
        bool stop = atomic_load(&w->stop);
        for (int i = 0; i < LANES; i++) w->lanes[i].busy = false;
        for (int i = 0; i < LANES; i++) serve(w, i);
        if (atomic_exchange(&w->reopen, false)) reopen(w);
        bool more = false;
        for (int i = 0; i < LANES; i++) more |= report(w, i, stop);
        w->lanes[EVENTS].blocked = log_sink_flush(w->lanes[EVENTS].sink) == IO_AGAIN;
        if (stop) {
            int64_t now = clock_ns();
            if (left(w) == 0 || now >= w->stop_by) break;
            rest(w, (int)((w->stop_by - now) / CLOCK_MS) + 1);
        } else {
            rest(w, more ? (int)(REPORT_EVERY / CLOCK_MS) : -1);
        }
    }
    w->given_up = give_up(w);
    return NULL;
}

/* --- life --- */

struct log_writer *log_writer_new(struct log_sink *events, struct log_sink *access,
                                  struct log_style style) {
    struct log_writer *w = aligned_alloc(64, (sizeof *w + 63) & ~(size_t)63);
    if (!w) return NULL;
    memset(w, 0, sizeof *w);
    w->lanes[EVENTS].name = "log";
    w->lanes[EVENTS].unit = "messages";
    w->lanes[EVENTS].sink = events;
    w->lanes[ACCESS].name = "access log";
    w->lanes[ACCESS].unit = "lines";
    w->lanes[ACCESS].sink = access;
    w->style = style;
    list_init(&w->feeds);
    pthread_mutex_init(&w->queue_lock, NULL);
    pthread_mutex_init(&w->feeds_lock, NULL);
    for (int i = 0; i < LANES; i++) w->lanes[i].told_at = clock_ns() - REPORT_EVERY;

    w->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int err = w->wake < 0 ? -errno : spsc_init(&w->queue, QUEUE_SIZE);
    if (err) goto fail;
    size_t room; /* from here on the sinks have their buffers */
    err = -ENOMEM;
    if (!log_sink_reserve(events, &room) || !log_sink_reserve(access, &room)) goto fail;
    /* Signals are for the other threads; a reader that went away is EPIPE here. */
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    err = -pthread_create(&w->thread, NULL, run, w);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (err) goto fail;
    return w;

fail:
    fd_close(&w->wake);
    if (w->queue.memory) spsc_done(&w->queue);
    free(w);
    errno = -err;
    return NULL;
}

/* A thread that has not ended by then, behind its patience, is inside a write. One that
 * only waits for a CPU has the last lines, and soon writes them. Both together are less
 * than the time in which a supervisor's host has to end (hosts.c's GRACE). */
static const int64_t STUCK = 3 * (int64_t)CLOCK_SECOND;

uint64_t log_writer_stop(struct log_writer *w, int64_t patience_ns, bool *stuck) {
    w->stop_by = clock_ns() + patience_ns;
    atomic_store(&w->stop, true);
    signal_writer(w);
    int64_t until = clock_wall_ns() + patience_ns + STUCK;
    struct timespec limit = {until / CLOCK_SECOND, until % CLOCK_SECOND};
    *stuck = pthread_timedjoin_np(w->thread, NULL, &limit) != 0;
    if (*stuck) {
        pthread_detach(w->thread);
        return 0;
    }
    uint64_t lines = w->given_up;
    pthread_mutex_lock(&w->feeds_lock);
    w->stopped = true;
    for (struct link *l = w->feeds.next, *next; l != &w->feeds; l = next) {
        struct log_feed *f = LIST_OF(l, struct log_feed, link);
        next = l->next;
        if (atomic_load(&f->closed)) free_feed(f);
    }
    bool last = list_empty(&w->feeds);
    pthread_mutex_unlock(&w->feeds_lock);
    if (last) free_writer(w);
    return lines;
}
