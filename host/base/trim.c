#include "base/trim.h"

#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

enum { STACK = 256 * 1024 };

/* The heap is the process's. */
static struct {
    atomic_bool wanted, running;
    atomic_uint count;
} the;

static void *work(void *nothing) {
    (void)nothing;
    pthread_setname_np(pthread_self(), "trim");
    for (;;) {
        struct timespec second = {.tv_sec = 1};
        while (atomic_exchange(&the.wanted, false)) {
            malloc_trim(0);
            atomic_fetch_add(&the.count, 1);
            nanosleep(&second, NULL);
        }
        atomic_store(&the.running, false);
        /* Who has wanted it since has seen a running one. */
        if (!atomic_load(&the.wanted) || atomic_exchange(&the.running, true))
            return NULL;
    }
}

static bool start(void) {
    pthread_t thread;
    pthread_attr_t attributes;
    sigset_t all, before;
    if (pthread_attr_init(&attributes) != 0) return false;
    sigfillset(&all);
    pthread_attr_setstacksize(&attributes, STACK);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int err = pthread_create(&thread, &attributes, work, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return err == 0;
}

void trim_soon(void) {
    atomic_store(&the.wanted, true);
    if (!atomic_exchange(&the.running, true) && !start())
        atomic_store(&the.running, false);
}

unsigned trim_count(void) {
    return atomic_load(&the.count);
}
