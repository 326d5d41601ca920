#include "process/worker.h"

#include "api/hook_lua.h"
#include "api/script_lua.h"
#include "api/vigil_lua.h"
#include "base/check.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>

static const int64_t MS = 1000000;

enum {
    SETTLE_MS = 5,        /* between two looks whether a stopping worker is done */
    IDLE_GRACE_MS = 500,  /* a kept-alive client may be about to send */
    LEAVE_GRACE_MS = 100, /* a connection may be on its way from another isolate */
    DRAIN_GRACE_MS = 20,  /* the same, when all are told to stop */
};

static void deliver(struct post *p) {
    struct report *from = (struct report *)(void *)p, r = *from;
    if (from == &r.worker->reports[r.event])
        atomic_store(&r.worker->reporting[r.event], false);
    else
        free(from);
    r.worker->place->reported(&r); /* may free the worker */
    buf_reset(&r.text);
}

static void report(struct worker *w, enum event event, int err, struct span text) {
    struct workplace *place = w->place;
    struct report *r = malloc(sizeof *r);
    if (!r) {
        CHECK(!atomic_exchange(&w->reporting[event], true));
        r = &w->reports[event];
    }
    *r = (struct report){.post.run = deliver, .worker = w, .event = event, .err = err};
    if (buf_append(&r->text, text.at, text.len) != 0) buf_reset(&r->text);
    loop_post(place->main, &r->post);
}

/* ---- offers ---- */

static void started(struct generation *g, int err, struct span text, void *data) {
    struct worker *w = data;
    (void)g;
    report(w, EVENT_OFFERED, err, text);
}

static void start(struct worker *w) {
    isolate_adopt(&w->isolate, w->offered);
    w->isolate.held = w->offered->number ==
                      atomic_load_explicit(w->isolate.serving, memory_order_acquire);
    hook_run(w->offered, HOOK_START, buf_span(&w->state), started, w);
    buf_reset(&w->state);
}

static void handed_over(struct generation *g, int err, struct span text, void *data) {
    struct worker *w = data;
    (void)g;
    buf_reset(&w->state);
    if (err == 0) err = buf_append(&w->state, text.at, text.len);
    if (err == 0) {
        start(w);
        return;
    }
    generation_free(w->offered);
    w->offered = NULL;
    report(w, EVENT_OFFERED, err, text);
}

static void script_ended(struct generation *g, int err, struct span text, void *data) {
    const struct app *app = g->app;
    bool cancelled = err == ERR_CANCELLED;
    if (err && !cancelled) log_lines(LEVEL_ERROR, SPAN(""), text);
    report(data, EVENT_OVER, cancelled ? err : err ? 1 : app->code, SPAN(""));
}

/* A script is told by its errors: nobody can begin it again in the middle. */
static void out_of_memory(struct generation *g) {
    struct worker *w = g->isolate->user;
    char text[64], used[16], limit[16];
    if (!w->serves || g != w->isolate.current) return;
    budget_size(generation_bytes(g), used);
    budget_size(g->budget.limit, limit);
    int n = snprintf(text, sizeof text, "%s%s%s stay in use", used,
                     g->budget.limit ? " of " : "", g->budget.limit ? limit : "");
    report(w, EVENT_MEMORY, 0, span_of(text, (size_t)n));
}

static void exited(struct generation *g, int code) {
    report(g->isolate->user, EVENT_EXIT, code, SPAN(""));
}

void worker_options(struct app_options *o) {
    o->out_of_memory = out_of_memory;
    o->exit = exited;
}

/* Event streams have no end of their own: those of code that goes, or all. */
static void end_streams(struct worker *w, bool all) {
    struct isolate *i = &w->isolate;
    for (struct link *l = i->generations.next; l != &i->generations; l = l->next) {
        struct generation *g = LIST_OF(l, struct generation, member);
        if (all || g->state == GEN_DRAINING) vigil_end_streams(g, all);
    }
}

static void commit(struct worker *w, struct blueprint *b) {
    w->isolate.held = false;
    /* A request may have switched already. */
    if (w->isolate.next) isolate_switch(&w->isolate);
    w->offered = NULL;
    end_streams(w, false);
    if (b) front_limit(&w->front, &b->limits);
    if (w->new) {
        w->new = false;
        if (w->serves)
            front_start(&w->front);
        else
            hook_run(w->isolate.current, HOOK_SCRIPT, SPAN(""), script_ended, w);
    }
    report(w, EVENT_COMMITTED, 0, SPAN(""));
}

static void reject(struct worker *w) {
    if (w->isolate.next) isolate_reject(&w->isolate, w->isolate.next);
    w->offered = NULL;
}

/* ---- the end ---- */

static unsigned requests_left(struct worker *w) {
    unsigned n = 0;
    for (struct link *l = w->isolate.generations.next; l != &w->isolate.generations;
         l = l->next)
        n += LIST_OF(l, struct generation, member)->request_count;
    return n;
}

static void stop_done(struct generation *g, int err, struct span text, void *data) {
    struct worker *w = data;
    (void)g;
    if (err && err != ERR_CANCELLED) log_lines(LEVEL_ERROR, SPAN(""), text);
    loop_stop(&w->isolate.loop);
}

static void cut(struct worker *w) {
    unsigned load = atomic_load_explicit(&w->front.load, memory_order_relaxed);
    if (load || requests_left(w))
        log_warn("%u connections and %u requests were left when drain_timeout was over",
                 load, requests_left(w));
    w->stopped = true;
    loop_stop(&w->isolate.loop);
}

/* The loop goes on until what the script has written is sent. */
static void pay_debts(struct worker *w) {
    struct loop *l = &w->isolate.loop;
    if (list_empty(&l->debts) || timer_set(l, &w->settle, l->now + SETTLE_MS * MS) != 0)
        loop_stop(l);
}

/* Closing the state closes all that is the script's. */
static void end_script(struct worker *w) {
    struct generation *g = w->isolate.current;
    w->isolate.current = NULL;
    w->stopped = true;
    if (g) generation_free(g);
    pay_debts(w);
}

static void settle(struct timer *t) {
    struct worker *w = LIST_OF(t, struct worker, settle);
    if (!w->serves) {
        pay_debts(w);
        return;
    }
    unsigned load = atomic_load_explicit(&w->front.load, memory_order_relaxed);
    if (load == 0 && requests_left(w) == 0 && list_empty(&w->isolate.loop.debts)) {
        if (w->leaving_looks > 0)
            w->leaving_looks--;
        else if (!w->stopped) {
            w->stopped = true;
            if (w->isolate.current)
                hook_run(w->isolate.current, HOOK_STOP, SPAN(""), stop_done, w);
            else
                loop_stop(&w->isolate.loop);
            if (!w->leave_by) return;
        }
    }
    if (w->leave_by && w->isolate.loop.now >= w->leave_by)
        cut(w);
    else if (timer_set(&w->isolate.loop, t, w->isolate.loop.now + SETTLE_MS * MS) != 0)
        loop_stop(&w->isolate.loop);
}

/* What lasts until somebody ends it would keep the connections that are lent to us. */
static void part(struct worker *w) {
    if (w->stopping) return;
    w->isolate.leaving = true;
    front_end_sockets(&w->front);
    end_streams(w, true);
}

static void finish(struct worker *w, bool leave) {
    if (w->stopping) return;
    w->stopping = w->isolate.leaving = true;
    w->leaving_looks = (leave ? LEAVE_GRACE_MS : DRAIN_GRACE_MS) / SETTLE_MS;
    if (leave) {
        struct generation *g = w->isolate.current;
        if (g) w->leave_by = w->isolate.loop.now + g->plan->drain_timeout;
        front_leave(&w->front);
    } else {
        front_drain(&w->front, IDLE_GRACE_MS * MS);
    }
    end_streams(w, true);
    settle(&w->settle);
}

static void done_with(struct ask *a) {
    if (a == &a->worker->asks[a->step])
        atomic_store(&a->worker->asking[a->step], false);
    else
        free(a);
}

static void run_ask(struct post *p) {
    struct ask *a = (struct ask *)(void *)p;
    struct worker *w = a->worker;
    if (a->step == STEP_QUIET) {
        report(a->about, EVENT_QUIET, 0, SPAN(""));
        done_with(a);
        return;
    }
    if (w->ended) { /* on the main thread, which takes the inbox apart */
        if (a->generation) generation_free(a->generation);
        if (a->blueprint) blueprint_release(a->blueprint);
        done_with(a);
        return;
    }
    switch (a->step) {
    case STEP_OFFER:
        if (atomic_exchange(&w->offer, OFFER_TAKEN) == OFFER_WITHDRAWN) {
            generation_free(a->generation);
            report(w, EVENT_OFFERED, ERR_CANCELLED, SPAN(""));
            break;
        }
        w->offered = a->generation;
        if (a->hand_over && w->isolate.current)
            hook_run(w->isolate.current, HOOK_RELOAD, SPAN(""), handed_over, w);
        else
            start(w);
        break;
    case STEP_COMMIT: commit(w, a->blueprint); break;
    case STEP_REJECT: reject(w); break;
    case STEP_GIVE_UP:
        /* Ends the hooks that wait; those of the current generation as well: it is one
           of them that the new one is waiting for. */
        if (w->offered && w->offered->isolate)
            generation_kill(w->offered);
        else if (w->offered)
            hooks_kill(w->isolate.current);
        break;
    case STEP_PART: part(w); break;
    case STEP_DRAIN: finish(w, false); break;
    case STEP_LEAVE: finish(w, true); break;
    case STEP_CUT:
        if (w->serves)
            cut(w);
        else
            end_script(w);
        break;
    case STEP_CANCEL:
        if (w->isolate.current) hooks_cancel(w->isolate.current);
        break;
    case STEP_SIGNAL:
        if (w->isolate.current) script_tell(w->isolate.current, a->number);
        break;
    case STEP_TURN:
        atomic_fetch_add_explicit(&w->turns, 1, memory_order_relaxed);
        break;
    case STEP_QUIET:
    case STEP_COUNT: break;
    }
    if (a->blueprint) blueprint_release(a->blueprint);
    done_with(a);
}

static void post(struct ask ask) {
    struct worker *w = ask.worker;
    struct ask *a = malloc(sizeof *a);
    if (!a) {
        CHECK(!atomic_exchange(&w->asking[ask.step], true));
        a = &w->asks[ask.step];
    }
    *a = ask;
    a->post.run = run_ask;
    loop_post(&w->isolate.loop, &a->post);
}

void worker_ask(struct worker *w, enum step step, struct generation *g,
                struct blueprint *b, bool hand_over) {
    if (b) atomic_fetch_add(&b->references, 1);
    if (step == STEP_OFFER) atomic_store(&w->offer, OFFER_SENT);
    post((struct ask){.worker = w,
                      .step = step,
                      .generation = g,
                      .blueprint = b,
                      .hand_over = hand_over});
}

bool worker_is_away(const struct worker *w) {
    return atomic_load(&w->offer) != OFFER_TAKEN;
}

bool worker_withdraw(struct worker *w) {
    int sent = OFFER_SENT;
    return atomic_compare_exchange_strong(&w->offer, &sent, OFFER_WITHDRAWN);
}

void worker_ask_signal(struct worker *w, int number) {
    post((struct ask){.worker = w, .step = STEP_SIGNAL, .number = number});
}

bool worker_turned(struct worker *w) {
    if (atomic_load_explicit(&w->turns, memory_order_relaxed) != w->turns_asked)
        return false;
    w->turns_asked++;
    worker_ask(w, STEP_TURN, NULL, NULL, false);
    return true;
}

void worker_ask_quiet(struct worker *w, struct worker *about) {
    post((struct ask){.worker = w, .step = STEP_QUIET, .about = about});
}

/* ---- birth and death ---- */

static void begin(struct isolate *i) {
    struct worker *w = i->user;
    struct workplace *place = w->place;
    if (place->name) {
        snprintf(w->log_name, sizeof w->log_name, "%.60s %s", place->name, i->name);
        log_set_thread_name(w->log_name);
    }
    access_init(&w->access, place->format, (unsigned)i->index);
    w->front.access = &w->access;
    if (place->slices && slices_watch(place->slices, i) != 0)
        log_warn("the watchdog cannot watch this isolate: not enough memory");
}

static void end(struct isolate *i) {
    struct worker *w = i->user;
    struct workplace *place = w->place;
    if (place->slices) slices_unwatch(place->slices, i);
    timer_clear(&i->loop, &w->settle);
    front_cut(&w->front);
    w->ended = true;
    report(w, EVENT_ENDED, 0, SPAN(""));
}

struct worker *worker_new(struct workplace *place, int index,
                          const struct front_door *doors, unsigned count,
                          const struct blueprint *b, bool serves, int *err) {
    struct worker *w = calloc(1, sizeof *w);
    *err = -ENOMEM;
    if (!w) return NULL;
    w->place = place;
    w->serves = serves;
    w->new = true;
    timer_init(&w->settle, settle);
    list_init(&w->member);
    if ((*err = isolate_init(&w->isolate, index, &place->serving)) != 0) {
        free(w);
        return NULL;
    }
    w->isolate.user = w;
    w->isolate.signals = !serves; /* the programs that a script starts hear of them */
    w->isolate.files = place->pools.files;
    w->isolate.blocking = place->pools.blocking;
    w->isolate.begin = begin;
    w->isolate.end = end;
    if (place->app)
        snprintf(w->isolate.name, sizeof w->isolate.name, "usher %d", index);
    *err = front_init(&w->front, &w->isolate.loop, &place->crew, &b->limits,
                      place->app ? place->app : &app_http,
                      place->app ? place->app_data : &w->isolate);
    if (*err == 0) *err = front_listen(&w->front, doors, count);
    if (*err == 0) return w;
    front_cut(&w->front);
    front_done(&w->front);
    isolate_done(&w->isolate);
    free(w);
    return NULL;
}

int worker_start(struct worker *w) {
    return isolate_start(&w->isolate);
}

void worker_join(struct worker *w) {
    isolate_join(&w->isolate);
    loop_flush(&w->isolate.loop);
    front_cut(&w->front); /* what was handed over too late */
}

void worker_free(struct worker *w, struct worker_left *left) {
    left->requests += w->front.requests;
    left->connections += atomic_load(&w->front.load);
    left->fibers += (unsigned)(w->isolate.sched.started - w->isolate.sched.ended);
    for (struct link *l = w->isolate.generations.next; l != &w->isolate.generations;
         l = l->next)
        left->generations++;
    left->connections += w->front.exchanges;
    access_done(&w->access);
    isolate_done(&w->isolate);
    front_done(&w->front);
    buf_reset(&w->state);
    free(w);
}
