#include "process/ushers.h"

#include "base/log.h"

#include <stdlib.h>

enum { LISTENERS_MAX = 64 };

static void reported(struct report *r) {
    struct ushers *u = r->worker->place->host;
    switch (r->event) {
    case EVENT_COMMITTED:
        if (u->ready < u->count && ++u->ready == u->count) u->serve(u->user);
        break;
    case EVENT_ENDED:
        worker_join(r->worker);
        if (++u->ended == u->count) u->over(u->user);
        break;
    default: break;
    }
}

int ushers_init(struct ushers *u, struct loop *main, const struct settings *s,
                void (*serve)(void *user), void (*over)(void *user), void *user) {
    *u = (struct ushers){.serve = serve, .over = over, .user = user};
    u->map.places = calloc(s->app_count, sizeof *u->map.places);
    u->map.apps = calloc(s->app_count, sizeof *u->map.apps);
    u->place.main = main;
    u->place.host = u;
    u->place.reported = reported;
    u->place.format = s->log_format == LOG_JSON ? ACCESS_JSON : ACCESS_COMBINED;
    u->place.crew.exclusive = !s->reuseport;
    u->place.app = &usher_http;
    u->place.app_data = &u->map;
    return u->map.places && u->map.apps ? 0 : -ENOMEM;
}

void ushers_app(struct ushers *u, const struct settings_app *app, struct crew *crew) {
    unsigned i = u->map.count++;
    u->map.places[i] = (struct vhost){span_str(app->host), span_str(app->path)};
    u->map.apps[i].crew = crew;
    u->map.apps[i].name = app->name;
}

static struct worker *make(struct ushers *u, const struct listeners *listeners,
                           unsigned place, int *err) {
    struct front_door doors[LISTENERS_MAX];
    unsigned n = 0;
    for (size_t i = 0; i < listeners->count && n < LISTENERS_MAX; i++) {
        const struct listener *l = &listeners->at[i];
        doors[n++] = (struct front_door){l->fds[place % l->count], l->proxy};
    }
    struct worker *w =
        worker_new(&u->place, (int)place + 1, doors, n, u->blueprint, true, err);
    if (w && (*err = worker_start(w)) == 0) return w;
    log_error("cannot start an usher: %s", err_text(*err));
    if (w) {
        struct worker_left left = {0};
        worker_join(w);
        worker_free(w, &left);
    }
    return NULL;
}

int ushers_start(struct ushers *u, const struct listeners *listeners,
                 struct blueprint *b, unsigned count) {
    int err = 0;
    u->blueprint = b;
    u->workers = calloc(count, sizeof(struct worker *));
    if (!u->workers) {
        log_error("cannot start the ushers: %s", err_text(-ENOMEM));
        return -ENOMEM;
    }
    for (unsigned i = 0; i < count; i++) {
        struct worker *w = make(u, listeners, i, &err);
        if (w) u->workers[u->count++] = w;
    }
    for (unsigned i = 0; i < u->count; i++)
        worker_ask(u->workers[i], STEP_COMMIT, NULL, b, false);
    return u->count ? 0 : err;
}

void ushers_limit(struct ushers *u, struct blueprint *b) {
    for (unsigned i = 0; i < u->count && !u->draining; i++)
        worker_ask(u->workers[i], STEP_COMMIT, NULL, b, false);
    if (u->blueprint) blueprint_release(u->blueprint);
    u->blueprint = b;
}

bool ushers_turned(struct ushers *u) {
    bool all = true;
    for (unsigned i = 0; i < u->count; i++) all &= worker_turned(u->workers[i]);
    return all;
}

static void ask_all(struct ushers *u, enum step step) {
    u->draining = true;
    for (unsigned i = 0; i < u->count; i++)
        worker_ask(u->workers[i], step, NULL, NULL, false);
    if (u->ended == u->count) u->over(u->user);
}

void ushers_drain(struct ushers *u) {
    ask_all(u, STEP_DRAIN);
}

void ushers_cut(struct ushers *u) {
    ask_all(u, STEP_CUT);
}

void ushers_done(struct ushers *u, struct worker_left *left) {
    loop_flush(u->place.main);
    for (unsigned i = 0; i < u->count; i++) worker_free(u->workers[i], left);
    free(u->workers);
    if (u->blueprint) blueprint_release(u->blueprint);
    free(u->map.places);
    free(u->map.apps);
}
