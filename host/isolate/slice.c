#include "isolate/slice.h"

#include "base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NAP_AFTER = 4 }; /* samples in which nothing has run */

#define PERIOD_MIN (10 * CLOCK_MS)
#define GRACE (20 * CLOCK_MS) /* to wait, for one that was killed, if none is set */

struct slice_watch {
    struct slice_watch *next;
    struct isolate *isolate;
    pthread_t thread;
    unsigned seen; /* of its switches */
    int64_t since; /* when seen was first seen */
    bool reported;
};

/* On the isolate's thread: the hook and its handler. */

static int64_t elapsed_ms(struct sched *s) {
    int64_t since = atomic_load_explicit(&s->slice_since, memory_order_relaxed);
    return (clock_ns() - since) / CLOCK_MS;
}

static void disarm(struct sched *s) {
    lua_State *L = s->armed;
    s->armed = NULL;
    lua_sethook(L, NULL, 0, 0);
}

static void hook(lua_State *L, lua_Debug *ar) {
    struct sched *s = sched_of(L);
    if (s->armed != L) { /* inherited by a coroutine made meanwhile */
        lua_sethook(L, NULL, 0, 0);
        return;
    }
    disarm(s);
    if (!lua_getinfo(L, "Sln", ar)) return;
    long long ms = elapsed_ms(s);
    if (ar->name)
        log_warn("a handler has run for %lld ms without waiting: %s:%d (in %s '%s')",
                 ms, ar->short_src, ar->currentline,
                 *ar->namewhat ? ar->namewhat : "function", ar->name);
    else
        log_warn("a handler has run for %lld ms without waiting: %s:%d "
                 "(in function <%s:%d>)",
                 ms, ar->short_src, ar->currentline, ar->short_src, ar->linedefined);
}

/* Raises at whatever runs next, so that no pcall holds it up. */
static void end(lua_State *L, lua_Debug *ar) {
    (void)ar;
    sched_push_cancelled(L);
    lua_error(L);
}

static void signalled(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    if (info->si_code != SI_QUEUE || info->si_pid != getpid()) return;
    int saved = errno;
    struct isolate *i = info->si_value.sival_ptr;
    struct sched *s = &i->sched;
    lua_State *L = s->running;
    if (atomic_load_explicit(&i->killed, memory_order_relaxed)) {
        s->end = end;
        if (L) lua_sethook(L, end, LUA_MASKCOUNT, 1);
    } else if (L && !s->armed &&
               !lua_gethook(L)) { /* a debugger's hook is left alone */
        s->armed = L;
        lua_sethook(L, hook, LUA_MASKCOUNT, 1);
    }
    errno = saved;
}

void slice_move(struct sched *s, lua_State *L) {
    disarm(s);
    if (L && !lua_gethook(L)) {
        s->armed = L;
        lua_sethook(L, hook, LUA_MASKCOUNT, 1);
        return;
    }
    log_warn("a handler has run for %lld ms without waiting, inside a C function",
             (long long)elapsed_ms(s));
}

/* The watchdog's thread. */

/* Whether the isolate is in a fiber or has been since the last sample. */
static bool sample(struct slices *s, struct slice_watch *w, int64_t now) {
    struct sched *sched = &w->isolate->sched;
    unsigned switches = atomic_load_explicit(&sched->switches, memory_order_relaxed);
    bool killed = atomic_load_explicit(&w->isolate->killed, memory_order_relaxed);
    if (!s->warn && !killed) return false;
    if (switches != w->seen) {
        w->seen = switches;
        w->since = now;
        w->reported = false;
        return true;
    }
    if (switches % 2 == 0) return false;
    if (now - w->since < (s->warn ? s->warn : GRACE)) return true;
    if (killed || !w->reported) {
        w->reported = true;
        atomic_store_explicit(&sched->slice_since, w->since, memory_order_relaxed);
        pthread_sigqueue(w->thread, SLICE_SIGNAL,
                         (union sigval){.sival_ptr = w->isolate});
    }
    return true;
}

static void wait_until(struct slices *s, int64_t at) {
    struct timespec t = {.tv_sec = at / CLOCK_SECOND, .tv_nsec = at % CLOCK_SECOND};
    pthread_cond_timedwait(&s->wake, &s->lock, &t);
}

static void *watch(void *data) {
    struct slices *s = data;
    int quiet = 0;
    pthread_setname_np(pthread_self(), "watchdog");
    pthread_mutex_lock(&s->lock);
    while (!s->stopping) {
        int64_t now = clock_ns();
        bool busy = false;
        for (struct slice_watch *w = s->watches; w; w = w->next)
            busy |= sample(s, w, now);
        quiet = busy ? 0 : quiet + 1;
        if (quiet < NAP_AFTER) {
            int64_t at = now + s->period;
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

struct slices *slices_start(int64_t warn, int *err) {
    struct slices *s = calloc(1, sizeof *s);
    if (!s) {
        *err = -ENOMEM;
        return NULL;
    }
    s->warn = warn;
    s->period = warn / 4 < PERIOD_MIN ? PERIOD_MIN : warn / 4;
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
    if (s->warn) i->sched.watchdog = s;
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
