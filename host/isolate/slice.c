#include "isolate/slice.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How long nothing has run; how often is looked while something does, which is once in
 * a slice until somebody has overrun, and then four times; and the least and the most
 * between two signals to one that cannot be suspended, whose system calls they
 * interrupt. */
#define NAP_AFTER (50 * CLOCK_MS)
#define ALERT (1 * CLOCK_SECOND) /* for so long somebody has overrun */
#define PERIOD_MIN CLOCK_MS
#define PERIOD_MAX (10 * CLOCK_MS)
#define AGAIN_MIN (10 * CLOCK_MS)
#define AGAIN_MAX (100 * CLOCK_MS)
#define GRACE (20 * CLOCK_MS) /* to wait, for one that was killed */

struct slice_watch {
    struct slice_watch *next;
    struct isolate *isolate;
    pthread_t thread;
    unsigned seen; /* of its switches */
    int64_t since; /* when seen was first seen */
    int64_t again; /* when it is signalled next, and by how much later then */
    int64_t pause;
    int64_t lag, lag_before, lag_since; /* of this window of time, and of the last */
};

/* On the isolate's thread. */

/* Raises at whatever runs next, so that no pcall holds it up. */
static void end(lua_State *L, lua_Debug *ar) {
    (void)ar;
    sched_push_cancelled(L);
    preempt_unmask(L);
    luaD_throw(L, LUA_ERRRUN);
}

static void signalled(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    if (info->si_code != SI_QUEUE || info->si_pid != getpid()) return;
    int saved = errno;
    struct isolate *i = info->si_value.sival_ptr;
    if (!i) generation_interrupt();
    if (!i) return;
    struct sched *s = &i->sched;
    lua_State *L = s->running;
    if (atomic_load_explicit(&i->killed, memory_order_relaxed)) {
        s->end = end;
        if (L) preempt_unmask(L);
        if (L) lua_sethook(L, end, LUA_MASKCOUNT, 1);
    } else {
        preempt_arm(s);
    }
    errno = saved;
}

/* The watchdog's thread. */

#define LAG_WINDOW (10 * CLOCK_SECOND)

static void look_at_lag(struct slice_watch *w, int64_t now) {
    int64_t since =
        atomic_load_explicit(&w->isolate->loop.awake_since, memory_order_relaxed);
    if (now - w->lag_since > LAG_WINDOW) {
        w->lag_before = now - w->lag_since > 2 * LAG_WINDOW ? 0 : w->lag;
        w->lag = 0;
        w->lag_since = now;
    }
    if (since && now - since > w->lag) w->lag = now - since;
}

static void tell_stuck(struct slice_watch *w, int64_t now) {
    struct preempt_stuck *stuck = &w->isolate->sched.stuck;
    int64_t since = atomic_load_explicit(&stuck->since, memory_order_acquire);
    if (!since) return;
    if (since == w->since)
        log_warn("%s has been inside a C function for %lld ms, and nobody else has his "
                 "turn: %s",
                 w->isolate->name, (long long)((now - since) / CLOCK_MS), stuck->place);
    atomic_store_explicit(&stuck->since, 0, memory_order_release);
}

/* Whether the isolate is in a fiber or has been since the last sample. */
static bool sample(struct slices *s, struct slice_watch *w, int64_t now) {
    struct sched *sched = &w->isolate->sched;
    unsigned switches = atomic_load_explicit(&sched->switches, memory_order_relaxed);
    bool killed = atomic_load_explicit(&w->isolate->killed, memory_order_relaxed);
    look_at_lag(w, now);
    int64_t limit = killed ? GRACE : s->slice ? s->slice : s->warn;
    if (!limit) return false;
    if (switches != w->seen) {
        w->seen = switches;
        w->since = now;
        w->again = 0;
        w->pause = AGAIN_MIN;
        return true;
    }
    if (switches % 2 == 0) return false;
    if (now - w->since < limit || now < w->again) return true;
    tell_stuck(w, now);
    w->again = now + w->pause;
    if (w->pause < AGAIN_MAX) w->pause *= 2;
    s->alert = now + ALERT;
    atomic_store_explicit(&sched->slice_since, w->since, memory_order_relaxed);
    pthread_sigqueue(w->thread, SLICE_SIGNAL, (union sigval){.sival_ptr = w->isolate});
    return true;
}

static void wait_until(struct slices *s, int64_t at) {
    struct timespec t = {.tv_sec = at / CLOCK_SECOND, .tv_nsec = at % CLOCK_SECOND};
    pthread_cond_timedwait(&s->wake, &s->lock, &t);
}

static void *watch(void *data) {
    struct slices *s = data;
    int64_t quiet = 0;
    pthread_setname_np(pthread_self(), "watchdog");
    pthread_mutex_lock(&s->lock);
    while (!s->stopping) {
        int64_t now = clock_ns();
        bool busy = false;
        for (struct slice_watch *w = s->watches; w; w = w->next)
            busy |= sample(s, w, now);
        int64_t period = now < s->alert ? s->period : s->calm;
        quiet = busy ? 0 : quiet + period;
        if (quiet < NAP_AFTER) {
            int64_t at = now + period;
            while (!s->stopping && clock_ns() < at) wait_until(s, at);
            continue;
        }
        /* A fiber that starts in this very moment may miss the flag: hence a limit. */
        atomic_store_explicit(&s->napping, true, memory_order_seq_cst);
        wait_until(s, now + CLOCK_SECOND);
        atomic_store_explicit(&s->napping, false, memory_order_relaxed);
        quiet = 0;
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

void slices_rouse_now(struct slices *s) {
    /* not under the lock: a wake that is lost costs at most the nap's limit */
    if (atomic_exchange_explicit(&s->napping, false, memory_order_relaxed))
        pthread_cond_signal(&s->wake);
}

static int64_t period_for(int64_t limit, int looks) {
    int64_t period = limit / looks;
    return !limit || period > PERIOD_MAX ? PERIOD_MAX
           : period < PERIOD_MIN         ? PERIOD_MIN
                                         : period;
}

void slices_note(struct slices *s, const char *place, int64_t ran, bool first) {
    struct slice_place *p = s->places, *least = p;
    pthread_mutex_lock(&s->lock);
    for (int i = 0; i < SLICE_PLACES; i++, p++) {
        if (p->count && strcmp(p->text, place) == 0) break;
        if (p->count < least->count) least = p;
    }
    if (p == s->places + SLICE_PLACES) {
        p = least;
        if (!first) goto out;
        *p = (struct slice_place){0};
        snprintf(p->text, sizeof p->text, "%s", place);
    }
    p->count += first;
    if (ran > p->longest) p->longest = ran;
out:
    pthread_mutex_unlock(&s->lock);
}

int slices_places(struct slices *s, struct slice_place out[SLICE_PLACES]) {
    int count = 0;
    pthread_mutex_lock(&s->lock);
    for (int i = 0; i < SLICE_PLACES; i++)
        if (s->places[i].count) out[count++] = s->places[i];
    pthread_mutex_unlock(&s->lock);
    return count;
}

int64_t slices_lag(struct slices *s, const struct isolate *i) {
    int64_t lag = 0;
    pthread_mutex_lock(&s->lock);
    for (struct slice_watch *w = s->watches; w; w = w->next) {
        if (w->isolate != i) continue;
        look_at_lag(w, clock_ns());
        lag = w->lag > w->lag_before ? w->lag : w->lag_before;
    }
    pthread_mutex_unlock(&s->lock);
    return lag;
}

struct slices *slices_start(int64_t slice, int64_t warn, int *err) {
    struct slices *s = calloc(1, sizeof *s);
    if (!s) {
        *err = -ENOMEM;
        return NULL;
    }
    s->slice = slice;
    s->warn = warn;
    s->period = period_for(slice ? slice : warn, 4);
    s->calm = period_for(slice ? slice : warn, 1);
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&s->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    struct sigaction action = {.sa_sigaction = signalled,
                               .sa_flags = SA_SIGINFO | SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SLICE_SIGNAL, &action, NULL);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    *err = -pthread_create(&s->thread, NULL, watch, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (*err == 0) return s;
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->lock);
    free(s);
    return NULL;
}

void slices_stop(struct slices *s) {
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

int slices_watch(struct slices *s, struct isolate *i) {
    struct slice_watch *w = calloc(1, sizeof *w);
    if (!w) return -ENOMEM;
    w->isolate = i;
    w->thread = pthread_self();
    pthread_mutex_lock(&s->lock);
    w->next = s->watches;
    s->watches = w;
    pthread_mutex_unlock(&s->lock);
    if (s->slice || s->warn) i->sched.watchdog = s;
    return 0;
}

void slices_unwatch(struct slices *s, struct isolate *i) {
    struct slice_watch *found = NULL;
    i->sched.watchdog = NULL;
    pthread_mutex_lock(&s->lock);
    for (struct slice_watch **w = &s->watches; *w && !found;) {
        if ((*w)->isolate == i) {
            found = *w;
            *w = found->next;
        } else {
            w = &(*w)->next;
        }
    }
    pthread_mutex_unlock(&s->lock);
    free(found);
}
