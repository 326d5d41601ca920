#include "isolate/isolate.h"

#include "base/check.h"
#include "base/crash.h"
#include "base/log.h"
#include "base/trim.h"
#include "isolate/slice.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>

enum { MAGIC = 0x69736f6c, TRIM_FROM = 8 << 20 };

int isolate_init(struct isolate *i, int index, const atomic_ullong *serving) {
    *i = (struct isolate){.magic = MAGIC, .index = index, .serving = serving};
    snprintf(i->name, sizeof i->name, "isolate %d", index);
    list_init(&i->generations);
    int err = loop_init(&i->loop);
    if (err) return err;
    sched_init(&i->sched, &i->loop);
    return 0;
}

static void *run(void *data) {
    struct isolate *i = data;
    pthread_setname_np(pthread_self(), i->name);
    log_set_thread_name(i->name);
    crash_begin(i);
    if (i->begin) i->begin(i);
    loop_run(&i->loop);
    struct link *first;
    for (struct link *l = i->generations.next; l != &i->generations; l = l->next) {
        struct generation *g = LIST_OF(l, struct generation, member);
        g->state = GEN_CLOSING;
        generation_kill(g);
    }
    if (i->end) i->end(i);
    while ((first = list_first(&i->generations))) {
        struct generation *g = LIST_OF(first, struct generation, member);
        timer_clear(&i->loop, &g->drain);
        generation_free(g);
    }
    i->current = i->next = NULL;
    crash_end();
    return NULL;
}

int isolate_start(struct isolate *i) {
    MAGIC_CHECK(i, MAGIC);
    pthread_attr_t attributes;
    sigset_t block, before;
    int err = pthread_attr_init(&attributes);
    if (err) return -err;
    pthread_attr_setstacksize(&attributes, ISOLATE_STACK);
    sigfillset(&block);
    const int through[] = {SLICE_SIGNAL, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    for (size_t k = 0; k < sizeof through / sizeof *through; k++)
        sigdelset(&block, through[k]);
    if (i->signals) sigemptyset(&block);
    pthread_sigmask(i->signals ? SIG_BLOCK : SIG_SETMASK, &block, &before);
    err = pthread_create(&i->thread, &attributes, run, i);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    i->started = err == 0;
    return -err;
}

void isolate_join(struct isolate *i) {
    MAGIC_CHECK(i, MAGIC);
    if (i->started) pthread_join(i->thread, NULL);
    i->started = false;
}

void isolate_done(struct isolate *i) {
    MAGIC_CHECK(i, MAGIC);
    CHECK(!i->started && list_empty(&i->generations));
    sched_done(&i->sched);
    if (i->resolver) resolver_free(i->resolver);
    loop_done(&i->loop);
    i->magic = 0;
}

/* The end of a generation, at the end of a turn. */

static void bury(struct grave *grave) {
    struct generation *g = LIST_OF(grave, struct generation, grave);
    double seconds = (double)(clock_ns() - g->retired) / 1e9;
    unsigned long long number = g->number;
    size_t bytes = generation_bytes(g);
    generation_free(g);
    if (bytes >= TRIM_FROM) trim_soon(); /* or the allocator keeps most of it */
    log_info("generation %llu closed after %.1f s, %zu KiB freed", number, seconds,
             bytes / 1024);
}

static void retire(struct generation *g) {
    struct loop *l = &g->isolate->loop;
    g->state = GEN_CLOSING;
    timer_clear(l, &g->drain);
    g->grave.done = bury;
    loop_bury(l, &g->grave);
}

static bool is_done(const struct generation *g) {
    return g->fiber_count == g->host_count && list_empty(&g->holds);
}

void isolate_drained(struct generation *g) {
    if (g->state == GEN_DRAINING && is_done(g)) retire(g);
}

static void drain_over(struct timer *t) {
    struct generation *g = LIST_OF(t, struct generation, drain);
    unsigned long long number = g->number;
    unsigned count = g->fiber_count;
    retire(g);
    generation_kill(g);
    log_warn("generation %llu had %u fibers left after %.0f s; they were ended", number,
             count, (double)g->plan->drain_timeout / 1e9);
}

void isolate_adopt(struct isolate *i, struct generation *g) {
    MAGIC_CHECK(i, MAGIC);
    CHECK(!i->next && !g->isolate);
    g->isolate = i;
    timer_init(&g->drain, drain_over);
    list_append(&i->generations, &g->member);
    i->next = g;
}

void isolate_switch(struct isolate *i) {
    struct generation *old = i->current;
    if (!i->next) return; /* it is leaving, and was offered none */
    i->current = i->next;
    i->next = NULL;
    i->current->state = GEN_SERVING;
    if (i->resolver) resolver_set(i->resolver, &i->current->plan->names);
    if (!old) return;
    old->state = GEN_DRAINING;
    old->retired = clock_ns();
    if (old->replaced) old->replaced(old);
    if (is_done(old))
        retire(old);
    else if (timer_set(&i->loop, &old->drain, old->retired + old->plan->drain_timeout))
        log_warn("generation %llu may drain without a limit: not enough memory",
                 (unsigned long long)old->number);
}

void isolate_follow(struct isolate *i) {
    uint64_t serving = atomic_load_explicit(i->serving, memory_order_acquire);
    if (i->next && !i->held && i->next->number == serving) isolate_switch(i);
}

struct resolver *isolate_resolver(struct isolate *i) {
    MAGIC_CHECK(i, MAGIC);
    const struct generation *g = i->current ? i->current : i->next;
    if (!i->resolver) i->resolver = resolver_new(&i->loop, g ? &g->plan->names : NULL);
    return i->resolver;
}

void isolate_reject(struct isolate *i, struct generation *g) {
    CHECK(g == i->next);
    i->next = NULL;
    g->retired = clock_ns();
    retire(g);
}
