#include "process/jobs.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "isolate/commons.h"
#include "process/job.h"

#include <stdlib.h>
#include <sysexits.h>

/* Last go the isolates that the program has spawned. */
static void empty_when_done(struct jobs *j) {
    if (list_empty(&j->alive) && !j->loading && nursery_close(&j->place.nursery))
        j->callbacks->emptied(j);
}

static void nursery_emptied(struct nursery *n) {
    empty_when_done(n->user);
}

void jobs_loaded(struct jobs *j) {
    empty_when_done(j);
}

void jobs_remove_worker(struct jobs *j, const struct worker *w) {
    for (unsigned i = 0; i < j->count; i++) {
        if (j->workers[i] != w) continue;
        j->workers[i] = j->workers[--j->count];
        break;
    }
}

/* ---- what comes next ---- */

static struct worker *make_worker(struct jobs *j, struct blueprint *b) {
    struct front_door doors[64];
    int err;
    unsigned n = 0;
    unsigned place = (unsigned)j->index++;
    for (size_t i = 0; j->listeners && i < j->listeners->count && n < 64; i++) {
        const struct listener *l = &j->listeners->at[i];
        doors[n++] = (struct front_door){l->fds[place % l->count], l->proxy};
    }
    struct worker *w =
        worker_new(&j->place, j->index, doors, n, b, j->listeners != NULL, &err);
    if (w && (err = worker_start(w)) == 0) {
        list_append(&j->alive, &w->member);
        return w;
    }
    log_error("cannot start an isolate: %s", err_text(err));
    if (w) {
        worker_join(w);
        worker_free(w, &j->left_so_far);
    }
    return NULL;
}

static bool add_target(struct jobs *j, struct blueprint *b) {
    struct worker *w = j->count < WORKERS_MAX ? make_worker(j, b) : NULL;
    if (!w) return false;
    j->targets[j->target_count++] = w;
    j->workers[j->count++] = w;
    return true;
}

void jobs_first(struct jobs *j, struct blueprint *b, unsigned count) {
    j->target_count = 0;
    for (unsigned i = 0; i < count; i++) add_target(j, b);
    if (j->target_count == 0) {
        blueprint_release(b);
        j->callbacks->failed(j, EX_OSERR);
        return;
    }
    job_begin(j, JOB_FIRST, b);
}

static bool begin_reload(struct jobs *j) {
    struct blueprint *b = j->callbacks->fresh(j);
    if (!b) return false;
    j->target_count = 0;
    for (unsigned i = 0; i < j->count; i++)
        if (!j->workers[i]->late) j->targets[j->target_count++] = j->workers[i];
    if (!j->target_count) {
        log_error(NAMED "reload failed, the running code goes on: no isolate has ended "
                        "its turn yet",
                  NAME(j));
        blueprint_release(b);
        return false;
    }
    for (unsigned i = 0; i < j->count; i++)
        if (j->workers[i]->late)
            log_warn(NAMED "reload begins without %s, which has not ended its turn yet",
                     NAME(j), j->workers[i]->isolate.name);
    job_begin(j, JOB_RELOAD, b);
    return true;
}

static bool begin_same(struct jobs *j, enum job_kind kind, struct worker *w) {
    j->target_count = 0;
    if (w)
        j->targets[j->target_count++] = w;
    else if (!add_target(j, j->blueprint))
        return false;
    atomic_fetch_add(&j->blueprint->references, 1);
    job_begin(j, kind, j->blueprint);
    return true;
}

static void remove_one(struct jobs *j) {
    if (j->count <= 1) {
        log_warn("the last isolate stays");
        return;
    }
    if (!j->place.crew.exclusive) {
        /* Nobody else accepts from its socket: clients queued there would hang. */
        log_warn("with reuseport no isolate can be taken away");
        return;
    }
    struct worker *w = j->workers[--j->count];
    w->leaving = true;
    worker_ask(w, STEP_LEAVE, NULL, NULL, false);
    log_info("%u isolates", j->count);
}

/* A worker whose state is to be replaced, or NULL; the timer waits for the others. */
static struct worker *find_full(struct jobs *j) {
    int64_t now = clock_ns(), soonest = 0;
    for (unsigned i = 0; i < j->count; i++) {
        struct relief *r = &j->workers[i]->relief;
        if (j->workers[i]->late) continue;
        if (relief_begins(r, now)) return j->workers[i];
        if (r->wanted && (!soonest || r->after < soonest)) soonest = r->after;
    }
    if (soonest && timer_set(j->place.main, &j->replace, soonest) != 0)
        log_warn("not enough memory for a timer");
    return NULL;
}

/* One that a reload was made without, and that is back; or NULL. */
static struct worker *find_behind(struct jobs *j) {
    for (unsigned i = 0; i < j->count; i++) {
        struct worker *w = j->workers[i];
        if (!w->behind || w->late) continue;
        w->behind = false; /* if it cannot follow, it is to be told once */
        return w;
    }
    return NULL;
}

static void replace_now(struct timer *t) {
    jobs_next(LIST_OF(t, struct jobs, replace));
}

void jobs_next(struct jobs *j) {
    while (j->kind == JOB_NONE && !j->stopping) {
        if (j->reload_waits) {
            j->reload_waits = false;
            if (begin_reload(j)) return;
            j->callbacks->reloaded(j, false);
        } else if (j->adds_wait) {
            j->adds_wait--;
            if (begin_same(j, JOB_ADD, NULL)) return;
        } else if (j->removes_wait) {
            j->removes_wait--;
            remove_one(j);
        } else {
            struct worker *behind = find_behind(j);
            struct worker *w = behind ? behind : find_full(j);
            if (w) begin_same(j, behind ? JOB_FOLLOW : JOB_REPLACE, w);
            return;
        }
    }
}

void jobs_reload(struct jobs *j) {
    j->reload_waits = true;
    jobs_next(j);
}

void jobs_add(struct jobs *j) {
    j->adds_wait++;
    jobs_next(j);
}

void jobs_remove(struct jobs *j) {
    j->removes_wait++;
    jobs_next(j);
}

/* ---- reports ---- */

static void retire(struct jobs *j, struct worker *w) {
    jobs_remove_worker(j, w);
    list_unlink(&w->member);
    worker_join(w);
    /* Another isolate may be about to hand it a connection: once each of them has come
       to its next turn, none is. */
    for (struct link *l = j->alive.next; l != &j->alive; l = l->next) {
        worker_ask_quiet(LIST_OF(l, struct worker, member), w);
        w->quiet_wanted++;
    }
    if (w->quiet_wanted)
        list_append(&j->retired, &w->member);
    else
        worker_free(w, &j->left_so_far);
    empty_when_done(j);
}

static void quiet(struct jobs *j, struct worker *w) {
    if (--w->quiet_wanted > 0) return;
    list_unlink(&w->member);
    worker_free(w, &j->left_so_far);
}

static void full(struct jobs *j, const struct report *r) {
    struct worker *w = r->worker;
    bool waits = w->relief.after > clock_ns();
    if (w->relief.wanted || w->leaving) return;
    log_error(NAMED "isolate %d: out of memory: %.*s; its state is replaced%s", NAME(j),
              w->isolate.index, (int)buf_len(&r->text), buf_data(&r->text),
              waits ? " soon, for it was only just now" : "");
    w->relief.wanted = true;
    jobs_next(j);
}

static void reported(struct report *r) {
    struct jobs *j = r->worker->place->host;
    if (j->stopping && (r->event == EVENT_OFFERED || r->event == EVENT_COMMITTED))
        return;
    switch (r->event) {
    case EVENT_OFFERED:
    case EVENT_COMMITTED: job_answered(j, r); break;
    case EVENT_MEMORY: full(j, r); break;
    case EVENT_EXIT:
        if (j->callbacks->exited) j->callbacks->exited(j, r->err);
        break;
    case EVENT_OVER:
        if (j->callbacks->over) j->callbacks->over(j, r->worker, r->err);
        break;
    case EVENT_ENDED: retire(j, r->worker); break;
    case EVENT_QUIET: quiet(j, r->worker); break;
    case EVENT_COUNT: break;
    }
}

/* ---- the end ---- */

static void ask_all(struct jobs *j, enum step step) {
    for (struct link *l = j->alive.next; l != &j->alive; l = l->next)
        worker_ask(LIST_OF(l, struct worker, member), step, NULL, NULL, false);
}

void jobs_cancel(struct jobs *j) {
    ask_all(j, STEP_CANCEL);
}

void jobs_signal(struct jobs *j, int number) {
    for (struct link *l = j->alive.next; l != &j->alive; l = l->next)
        worker_ask_signal(LIST_OF(l, struct worker, member), number);
}

static void stop(struct jobs *j) {
    j->stopping = true;
    timer_clear(j->place.main, &j->patience); /* the targets may be gone by then */
    timer_clear(j->place.main, &j->replace);
}

void jobs_part(struct jobs *j) {
    stop(j);
    ask_all(j, STEP_PART);
}

void jobs_drain(struct jobs *j) {
    stop(j);
    ask_all(j, STEP_DRAIN);
    empty_when_done(j);
}

void jobs_cut(struct jobs *j) {
    stop(j);
    ask_all(j, STEP_CUT);
    empty_when_done(j);
}

int jobs_init(struct jobs *j, struct loop *main, const struct settings *s,
              const struct listeners *listeners, const struct jobs_user *callbacks,
              void *user) {
    *j = (struct jobs){.listeners = listeners, .callbacks = callbacks, .user = user};
    j->place.main = main;
    j->place.host = j;
    j->place.reported = reported;
    j->place.format = s->log_format == LOG_JSON ? ACCESS_JSON : ACCESS_COMBINED;
    j->place.crew.exclusive = !s->reuseport;
    job_init(j);
    clones_init(&j->place.clones);
    once_init(&j->place.once);
    nursery_init(&j->place.nursery, main, nursery_emptied, j);
    list_init(&j->alive);
    list_init(&j->retired);
    timer_init(&j->replace, replace_now);
    int err = pools_init(&j->place.pools, s);
    if (err) return err;
    j->place.nursery.files = j->place.pools.files;
    j->place.nursery.blocking = j->place.pools.blocking;
    j->commons = commons_new(s->shared_memory);
    if (!j->commons) err = ERR_MEMORY;
    if (err == 0) {
        /* A script may compute for as long as it likes. */
        double warn = listeners ? s->slice_warn : 0;
        j->place.slices =
            slices_start((int64_t)(s->slice * 1e9), (int64_t)(warn * 1e9), &err);
        j->place.nursery.slices = j->place.slices;
    }
    if (err) {
        commons_free(j->commons);
        pools_done(&j->place.pools);
    }
    return err;
}

void jobs_done(struct jobs *j, struct worker_left *left) {
    struct link *first;
    loop_flush(j->place.main); /* reports about workers that are freed next */
    while ((first = list_first(&j->retired))) {
        struct worker *w = LIST_OF(first, struct worker, member);
        list_unlink(first);
        worker_free(w, &j->left_so_far);
    }
    if (j->place.slices) slices_stop(j->place.slices);
    clones_done(&j->place.clones);
    once_done(&j->place.once);
    nursery_done(&j->place.nursery);
    if (j->next) blueprint_release(j->next);
    if (j->blueprint) blueprint_release(j->blueprint);
    /* Which the blueprints know. What is left behind may yet use them. */
    if (pools_done(&j->place.pools) == 0) commons_free(j->commons);
    buf_reset(&j->problem);
    left->requests += j->left_so_far.requests;
    left->connections += j->left_so_far.connections;
    left->fibers += j->left_so_far.fibers;
    left->generations += j->left_so_far.generations;
}
