#include "process/loader.h"

#include "base/clock.h"
#include "base/log.h"
#include "process/job.h"

#include <signal.h>
#include <stdio.h>

/* How often is looked whether it takes too long. */
static const int64_t LOOK = CLOCK_SECOND / 10;
/* Lua that is ended has ended by then. */
static const int64_t STUCK = 3 * (int64_t)CLOCK_SECOND;

static void *load(void *data) {
    struct jobs *j = data;
    char name[80] = "loader";
    if (j->place.name) snprintf(name, sizeof name, "%.60s loader", j->place.name);
    log_set_thread_name(name);
    for (unsigned i = 0; i < j->target_count; i++) {
        atomic_store(&j->load_began, clock_ns());
        j->built[i] = blueprint_build(j->next, j->number, &j->problem);
        if (j->built[i]) continue;
        while (i > 0) generation_free(j->built[--i]);
        j->broken = true;
        break;
    }
    log_set_thread_name(NULL);
    loop_post(j->place.main, &j->loaded);
    return NULL;
}

/* Again and again: what is ended may catch it. */
static void look(struct timer *t) {
    struct jobs *j = LIST_OF(t, struct jobs, look);
    int64_t now = clock_ns();
    int64_t late = now - atomic_load(&j->load_began) - j->next->plan.load_timeout;
    if (late > STUCK && !j->loading_told) {
        log_warn(NAMED "the app does not end to load: it is inside a call into C",
                 NAME(j));
        j->loading_told = true;
    }
    if (late > 0)
        pthread_sigqueue(j->loader, SLICE_SIGNAL, (union sigval){.sival_ptr = NULL});
    if (timer_set(j->place.main, t, now + LOOK) != 0)
        log_warn("loading may take any time: not enough memory");
}

void loader_start(struct jobs *j) {
    atomic_store(&j->load_began, clock_ns());
    j->loading_told = false;
    if (pthread_create(&j->loader, NULL, load, j) != 0) {
        load(j); /* the isolates go on */
        return;
    }
    j->loading = true;
    timer_init(&j->look, look);
    look(&j->look);
}

void loader_join(struct jobs *j) {
    if (!j->loading) return;
    timer_clear(j->place.main, &j->look);
    pthread_join(j->loader, NULL);
    j->loading = false;
}
