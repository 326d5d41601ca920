#include "process/job.h"

#include "base/clock.h"
#include "base/log.h"
#include "process/loader.h"

#include <sysexits.h>

/* Whoever has not come to an offer by then is inside a call into C. */
static const int64_t PATIENCE = 3 * (int64_t)CLOCK_SECOND, STEP = CLOCK_SECOND / 2;

static const char *job_name(enum job_kind kind) {
    switch (kind) {
    case JOB_RELOAD: return "reload";
    case JOB_ADD: return "one isolate more";
    case JOB_REPLACE: return "a new generation after memory ran out";
    case JOB_FOLLOW: return "reload of an isolate that was left out";
    default: return "start";
    }
}

static double ms_since(int64_t from) {
    return (double)(clock_ns() - from) / 1e6;
}

/* ---- 1. build ---- */

void job_begin(struct jobs *j, enum job_kind kind, struct blueprint *b) {
    bool fresh = kind == JOB_FIRST || kind == JOB_RELOAD;
    j->kind = kind;
    j->next = b;
    if (fresh) { /* into one that serves already its generations may look */
        worker_options(&b->options);
        b->options.clones = &j->place.clones;
        b->options.once = &j->place.once;
        b->options.nursery = &j->place.nursery;
        b->plan.commons = j->commons;
    }
    j->broken = false;
    j->began = clock_ns();
    buf_reset(&j->problem);
    /* A reload that failed has used its number up: what joins those that serve has
       theirs. */
    j->number = fresh ? ++j->last
                      : atomic_load_explicit(&j->place.serving, memory_order_relaxed);
    loader_start(j);
}

/* ---- 4. the end of a job ---- */

/* The next job is not to count on them. */
static void forget_new_workers(struct jobs *j) {
    if (j->kind != JOB_FIRST && j->kind != JOB_ADD) return;
    for (unsigned i = 0; i < j->target_count; i++) {
        jobs_remove_worker(j, j->targets[i]);
        worker_ask(j->targets[i], STEP_CUT, NULL, NULL, false);
    }
}

static void fail(struct jobs *j) {
    enum job_kind kind = j->kind;
    struct span why = buf_span(&j->problem);
    struct buf text;
    buf_init(&text);
    if (kind == JOB_FIRST || kind == JOB_ADD)
        buf_printf(&text, NAMED "%s failed: ", NAME(j), job_name(kind));
    else
        buf_printf(&text,
                   NAMED "%s failed after %.0f ms, the running code goes on: ", NAME(j),
                   job_name(kind), ms_since(j->began));
    if (buf_append(&text, why.at, why.len) == 0)
        log_lines(LEVEL_ERROR, SPAN(""), buf_span(&text));
    buf_reset(&text);
    buf_reset(&j->problem);
    forget_new_workers(j);
    blueprint_release(j->next);
    j->next = NULL;
    j->kind = JOB_NONE;
    if (kind == JOB_RELOAD) j->callbacks->reloaded(j, false);
    if (kind == JOB_FIRST)
        j->callbacks->failed(j, EX_CONFIG);
    else
        jobs_next(j);
}

static void succeed(struct jobs *j) {
    enum job_kind kind = j->kind;
    double ms = ms_since(j->began);
    /* Those that this one was made without have the code of before. */
    for (unsigned i = 0; i < j->count; i++)
        j->workers[i]->behind = j->workers[i]->number != j->number;
    for (unsigned i = 0; i < j->target_count; i++)
        if (!j->targets[i]->behind) j->targets[i]->relief.wanted = false;
    if (kind == JOB_FIRST || kind == JOB_RELOAD) {
        if (j->blueprint) blueprint_release(j->blueprint);
        j->blueprint = j->next;
    } else {
        blueprint_release(j->next);
    }
    j->next = NULL;
    j->kind = JOB_NONE;
    if (kind == JOB_RELOAD)
        log_info(NAMED "reload: generation %llu serves after %.1f ms", NAME(j),
                 (unsigned long long)j->number, ms);
    else if (kind == JOB_ADD)
        log_info("%u isolates after %.1f ms", j->count, ms);
    else if (kind == JOB_REPLACE)
        log_info(NAMED "a new state of generation %llu serves after %.1f ms", NAME(j),
                 (unsigned long long)j->number, ms);
    else if (kind == JOB_FOLLOW)
        log_info(NAMED "%s follows: generation %llu serves after %.1f ms", NAME(j),
                 j->targets[0]->isolate.name, (unsigned long long)j->number, ms);
    if (kind == JOB_RELOAD) j->callbacks->reloaded(j, true);
    j->callbacks->committed(j);
    jobs_next(j);
}

/* ---- 3. commit or give up ---- */

/* In steps: while the whole process stood still nobody had time to answer, and that has
 * used up one of them. */
static void go_on_waiting(struct jobs *j) {
    int64_t step = j->left < STEP ? j->left : STEP;
    j->left -= step;
    if (timer_set(j->place.main, &j->patience, clock_ns() + step) != 0)
        log_warn(NAMED "%s may wait without a limit: not enough memory", NAME(j),
                 job_name(j->kind));
}

static void expect(struct jobs *j, enum stage stage, int64_t until) {
    j->stage = stage;
    j->left = until - clock_ns();
    go_on_waiting(j);
}

static void all_offered(struct jobs *j) {
    timer_clear(j->place.main, &j->patience);
    if (!j->broken) /* The one moment: from here on every request that begins, on
                       whichever isolate, is answered by the new generation. */
        atomic_store_explicit(&j->place.serving, j->number, memory_order_seq_cst);
    for (unsigned i = 0; i < j->target_count; i++) {
        struct worker *w = j->targets[i];
        if (w->out) continue;
        if (j->broken) {
            worker_ask(w, STEP_REJECT, NULL, NULL, false);
            continue;
        }
        w->number = j->number;
        w->awaited = true;
        j->awaited++;
        worker_ask(w, STEP_COMMIT, NULL, j->next, false);
    }
    if (j->broken)
        fail(j);
    else if (j->kind == JOB_FIRST)
        j->stage = STAGE_COMMIT; /* a script begins, with any call that it makes */
    else
        expect(j, STAGE_COMMIT, clock_ns() + PATIENCE);
}

void job_answered(struct jobs *j, struct report *r) {
    struct worker *w = r->worker;
    if (w->late) { /* it is back */
        w->late = false;
        if (r->event == EVENT_OFFERED) worker_ask(w, STEP_REJECT, NULL, NULL, false);
        jobs_next(j);
        return;
    }
    w->awaited = false;
    if (r->err) {
        if (!j->broken) buf_append(&j->problem, buf_data(&r->text), buf_len(&r->text));
        j->broken = true;
    }
    if (--j->awaited > 0) return;
    timer_clear(j->place.main, &j->patience);
    if (r->event == EVENT_OFFERED)
        all_offered(j);
    else
        succeed(j);
}

/* ---- who is late ---- */

/* When it answers after all it is asked anew, if need be. */
static void leave_out(struct jobs *j, struct worker *w) {
    w->awaited = false;
    w->late = w->out = true;
    j->awaited--;
}

static void give_up(struct jobs *j) {
    for (unsigned i = 0; i < j->target_count; i++)
        if (!j->targets[i]->out)
            worker_ask(j->targets[i], STEP_GIVE_UP, NULL, NULL, false);
    expect(j, STAGE_GIVE_UP, clock_ns() + PATIENCE);
}

/* The time for the hooks is over. */
static void too_late(struct jobs *j, bool begun) {
    if (!j->broken)
        buf_printf(&j->problem, "load_timeout: %s for %g s",
                   begun ? "on(\"start\") or on(\"reload\") has not ended"
                         : "no isolate has ended its turn",
                   (double)j->next->plan.load_timeout / 1e9);
    j->broken = true; /* whoever succeeds yet may have lost tasks of its own */
}

/* The one that it is about is away again: others do not wait for that. */
static void put_off(struct jobs *j) {
    struct worker *w = j->targets[0];
    leave_out(j, w);
    if (j->kind == JOB_FOLLOW) w->behind = true;
    blueprint_release(j->next);
    j->next = NULL;
    j->kind = JOB_NONE;
    jobs_next(j);
}

static void tell_left_out(struct jobs *j, const struct worker *w) {
    log_warn(NAMED "%s goes on without %s, which has not ended its turn for %.1f s; it "
                   "follows when it has",
             NAME(j), job_name(j->kind), w->isolate.name,
             (double)(clock_ns() - j->offered) / 1e9);
}

/* Goes on without those that have not come to it, where others have. */
static void look_for_late(struct jobs *j) {
    bool one = j->kind == JOB_FOLLOW || j->kind == JOB_REPLACE;
    if (one && worker_withdraw(j->targets[0])) {
        put_off(j);
        return;
    }
    int64_t now = clock_ns();
    bool over = now >= j->give_up, begun = false, slow = false;
    for (unsigned i = 0; i < j->target_count; i++) {
        bool away = worker_is_away(j->targets[i]);
        begun |= !away;
        slow |= !away && j->targets[i]->awaited;
    }
    bool goes_on = begun && j->kind == JOB_RELOAD;
    if (!begun && !j->told)
        log_warn(NAMED "%s waits: no isolate has ended its turn for %.1f s", NAME(j),
                 job_name(j->kind), (double)(now - j->offered) / 1e9);
    j->told |= !begun;
    if (over && (slow || !goes_on)) too_late(j, begun);
    for (unsigned i = 0; i < j->target_count && (goes_on || over); i++) {
        struct worker *w = j->targets[i];
        if (!worker_withdraw(w)) continue;
        leave_out(j, w);
        if (!j->broken) tell_left_out(j, w);
    }
    if (j->awaited == 0)
        all_offered(j);
    else if (over)
        give_up(j);
    else
        expect(j, STAGE_OFFER,
               now + PATIENCE < j->give_up ? now + PATIENCE : j->give_up);
}

static void impatient(struct timer *t) {
    struct jobs *j = LIST_OF(t, struct jobs, patience);
    if (j->left > 0) {
        go_on_waiting(j);
        return;
    }
    if (j->stage == STAGE_OFFER) {
        look_for_late(j);
        return;
    }
    for (unsigned i = 0; i < j->target_count; i++) {
        struct worker *w = j->targets[i];
        if (!w->awaited) continue;
        leave_out(j, w);
        log_warn(NAMED "%s does not wait for %s, which does not end its turn", NAME(j),
                 job_name(j->kind), w->isolate.name);
    }
    if (j->stage == STAGE_GIVE_UP)
        all_offered(j);
    else
        succeed(j);
}

/* ---- 2. offer ---- */

static void loaded(struct post *p) {
    struct jobs *j = LIST_OF(p, struct jobs, loaded);
    loader_join(j);
    if (j->stopping) { /* the workers are ending, and with the last one all of this */
        for (unsigned i = 0; i < j->target_count && !j->broken; i++)
            generation_free(j->built[i]);
        jobs_loaded(j);
        return;
    }
    if (j->broken) {
        fail(j);
        return;
    }
    int64_t limit = j->next->plan.load_timeout;
    j->offered = clock_ns();
    j->give_up = j->offered + limit;
    j->told = false;
    j->awaited = j->target_count;
    for (unsigned i = 0; i < j->target_count; i++) {
        j->targets[i]->awaited = true;
        j->targets[i]->out = false;
        worker_ask(j->targets[i], STEP_OFFER, j->built[i], NULL,
                   j->kind == JOB_RELOAD || j->kind == JOB_FOLLOW);
    }
    expect(j, STAGE_OFFER, j->offered + (limit < PATIENCE ? limit : PATIENCE));
}

void job_init(struct jobs *j) {
    j->loaded.run = loaded;
    timer_init(&j->patience, impatient);
}
