#include "process/host.h"

#include "base/crash.h"
#include "base/fd.h"
#include "base/log.h"
#include "process/appdir.h"
#include "process/capacity.h"
#include "process/jobs.h"
#include "process/scene.h"
#include "process/sockets.h"
#include "process/ushers.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <unistd.h>

/* HOPELESS: after what was left has been cut. */
static const int64_t SECOND = 1000000000, HOPELESS = 6000000000;

/* An app and its isolates. */
struct served {
    struct host *host;
    struct jobs jobs;
    size_t index; /* in the settings; 0 for the only one */
    bool committed, empty, reloading;
};

struct host {
    struct heritage *heritage;
    struct loop loop;
    struct served *apps;
    size_t count;
    bool shared; /* the listeners, by several apps, so that ushers accept */
    struct ushers ushers;
    struct census *census; /* of clients; NULL without memory, and then without limit */
    struct timer delay, deadline, heartbeat;
    ev_io signals;
    int descriptors; /* before anything was opened */
    int code;
    bool ready, stopping, draining, overdue;
    bool reload_failed;
    bool closed; /* no usher is there, or none any more */
    struct worker_left left;
};

static unsigned isolate_count(const struct host *h) {
    unsigned n = 0;
    for (size_t i = 0; i < h->count; i++) n += h->apps[i].jobs.count;
    return n;
}

/* ---- the end ---- */

static void drain_apps(struct host *h) {
    h->closed = true;
    for (size_t i = 0; i < h->count; i++) {
        if (h->overdue)
            jobs_cut(&h->apps[i].jobs);
        else
            jobs_drain(&h->apps[i].jobs);
    }
}

static void cut(struct host *h) {
    h->overdue = true;
    if (h->shared && !h->closed)
        ushers_cut(&h->ushers);
    else
        drain_apps(h);
}

/* A supervisor would have killed it by now, but there may be none any more. */
static void hopeless(struct timer *t) {
    const struct host *h = LIST_OF(t, struct host, deadline);
    log_error("an isolate does not end: the host exits without it");
    log_stop(SECOND);
    _exit(h->code ? h->code : EX_SOFTWARE);
}

static void overdue(struct timer *t) {
    struct host *h = LIST_OF(t, struct host, deadline);
    timer_init(t, hopeless);
    if (timer_set(&h->loop, t, clock_ns() + HOPELESS) != 0) hopeless(t);
    cut(h);
}

static void ushers_over(void *user) {
    struct host *h = user;
    if (!h->closed) drain_apps(h);
}

static void drain_ushers(struct host *h) {
    for (size_t i = 0; i < h->count; i++) jobs_part(&h->apps[i].jobs);
    ushers_drain(&h->ushers);
}

static void drain(struct timer *t) {
    struct host *h = LIST_OF(t, struct host, delay);
    double seconds = h->heritage->settings->drain_timeout;
    h->draining = true;
    /* The workers' clones are the last ones: they accept what is queued and close. */
    sockets_close(&h->heritage->listeners);
    if (timer_set(&h->loop, &h->deadline,
                  clock_ns() + (int64_t)(seconds * (double)SECOND)) != 0)
        cut(h);
    else if (h->shared)
        drain_ushers(h);
    else
        drain_apps(h);
}

static void stop(struct host *h) {
    if (h->stopping) return;
    h->stopping = true;
    double delay = h->heritage->settings->drain_delay;
    if (delay > 0) log_info("stopping in %.3g s", delay);
    if (timer_set(&h->loop, &h->delay,
                  clock_ns() + (int64_t)(delay * (double)SECOND)) != 0)
        drain(&h->delay);
}

/* The first start has failed: nobody has been served. */
static void give_up(struct host *h, int code) {
    if (h->code == 0) h->code = code;
    h->stopping = h->draining = true;
    cut(h);
    timer_clear(&h->loop, &h->deadline);
    timer_init(&h->deadline, hopeless);
    if (timer_set(&h->loop, &h->deadline, clock_ns() + HOPELESS) != 0)
        hopeless(&h->deadline);
}

/* ---- what the jobs and ushers tell ---- */

/* Whether all its isolates have turned since this was last asked. */
static bool turned(struct served *a) {
    struct link *alive = &a->jobs.alive;
    bool all = true;
    for (struct link *l = alive->next; l != alive; l = l->next)
        all &= worker_turned(LIST_OF(l, struct worker, member));
    return all;
}

/* A loop that stands still is not kept alive by the one that says so. */
static void beat(struct timer *t) {
    struct host *h = LIST_OF(t, struct host, heartbeat);
    if (h->draining) return; /* the supervisor has set a limit */
    bool all = !h->shared || ushers_turned(&h->ushers);
    for (size_t i = 0; i < h->count; i++) all &= turned(&h->apps[i]);
    if (all) heritage_say(h->heritage, MESSAGE_TURNED, 0);
    if (timer_set(&h->loop, t, clock_ns() + h->heritage->heartbeat) != 0)
        log_warn("the watchdog is not served any more: not enough memory");
}

static void serving(void *user) {
    struct host *h = user;
    h->ready = true;
    int err = heritage_say(h->heritage, MESSAGE_READY, isolate_count(h));
    if (err) { /* it would wait for ever */
        log_error("cannot tell the supervisor that the host is ready: %s",
                  err_text(err));
        give_up(h, EX_OSERR);
        return;
    }
    if (h->heritage->heartbeat) beat(&h->heartbeat);
    if (h->heritage->restarts)
        log_info("serving again with %u isolates", isolate_count(h));
}

/* What heads and bodies may be before it is known whose they are. */
static struct blueprint *door(struct settings *s, bool own) {
    struct blueprint *b = blueprint_new(s, own, NULL);
    if (!b) return NULL;
    b->limits.body_max = 0;
    for (size_t i = 0; i < s->app_count; i++)
        if (s->apps[i].settings->body_max > b->limits.body_max)
            b->limits.body_max = s->apps[i].settings->body_max;
    return b;
}

static void committed(struct jobs *j) {
    struct served *a = j->user;
    struct host *h = a->host;
    if (h->ready || a->committed) return;
    a->committed = true;
    for (size_t i = 0; i < h->count; i++)
        if (!h->apps[i].committed) return;
    if (h->stopping && h->shared) return;
    if (!h->shared) {
        serving(h);
        return;
    }
    struct settings *s = h->heritage->settings;
    struct blueprint *b = door(s, false);
    if (!b) log_error("cannot start: %s", err_text(-ENOMEM));
    if (!b || ushers_start(&h->ushers, &h->heritage->listeners, b, s->isolates) != 0)
        give_up(h, EX_OSERR);
}

static void failed(struct jobs *j, int code) {
    struct host *h = ((struct served *)j->user)->host;
    if (!h->ready) give_up(h, code); /* else what served goes on serving */
}

static void emptied(struct jobs *j) {
    struct served *a = j->user;
    struct host *h = a->host;
    a->empty = true;
    for (size_t i = 0; i < h->count; i++)
        if (!h->apps[i].empty) return;
    if (h->draining) loop_stop(&h->loop);
}

static void kept(const struct setting *row) {
    log_warn("%s has changed: it takes effect when atoll is started again", row->name);
}

static struct blueprint *complain(const struct problem *p) {
    log_error("reload failed, the running code goes on: %s", p->text);
    return NULL;
}

static struct blueprint *complain_memory(struct problem *p) {
    problem_set(p, EX_OSERR, "not enough memory");
    return complain(p);
}

static void reloads_over(struct host *h) {
    for (size_t i = 0; i < h->count; i++)
        if (h->apps[i].reloading) return;
    heritage_say(h->heritage, MESSAGE_RELOADED, !h->reload_failed);
    h->reload_failed = false;
}

static void reloaded(struct jobs *j, bool ok) {
    struct served *a = j->user;
    a->reloading = j->reload_waits;
    if (!ok) a->host->reload_failed = true;
    reloads_over(a->host);
}

/* Once for all apps: what is wrong with the settings is told once. */
static void reload(struct host *h) {
    struct problem p = {0};
    struct settings *s = h->shared ? settings_load(h->heritage->source, &p) : NULL;
    if (h->shared && !s) {
        complain(&p);
        h->reload_failed = true;
        reloads_over(h);
        return;
    }
    if (h->shared && settings_keep(s, h->heritage->settings, kept) == 0) {
        log_set_level((enum log_level)s->log_level);
        capacity_check(s);
        struct blueprint *b = door(s, true);
        if (b)
            ushers_limit(&h->ushers, b);
        else
            log_warn("the limits of before the reload stay: not enough memory");
    } else {
        settings_free(s);
    }
    for (size_t i = 0; i < h->count; i++) h->apps[i].reloading = true;
    for (size_t i = 0; i < h->count; i++) jobs_reload(&h->apps[i].jobs);
}

/* The settings of one of several apps, out of all. */
static struct settings *take(struct settings *all, size_t index) {
    struct settings *own = settings_copy(all->apps[index].settings);
    settings_free(all);
    return own;
}

static struct blueprint *fresh(struct jobs *j) {
    struct served *a = j->user;
    struct host *h = a->host;
    struct heritage *from = h->heritage;
    struct problem p = {0};
    struct settings *s = settings_load(from->source, &p);
    if (!s) return complain(&p);
    if (settings_keep(s, from->settings, h->shared ? NULL : kept) < 0) {
        settings_free(s);
        return complain_memory(&p);
    }
    const struct settings_app *app = h->shared ? &s->apps[a->index] : NULL;
    char *appdir = appdir_resolve(app ? app->dir : from->app_path, &p);
    if (!appdir) {
        if (app) problem_at(&p, app->name);
        settings_free(s);
        return complain(&p);
    }
    if (!app) {
        log_set_level((enum log_level)s->log_level);
        capacity_check(s);
    }
    if (app) s = take(s, a->index);
    struct blueprint *b = s ? blueprint_new(s, true, appdir) : NULL;
    free(appdir);
    if (b && (!app || blueprint_under(b, from->settings->apps[a->index].path)))
        return b;
    if (b) blueprint_release(b);
    return complain_memory(&p);
}

static const struct jobs_user user = {.committed = committed,
                                      .failed = failed,
                                      .emptied = emptied,
                                      .fresh = fresh,
                                      .reloaded = reloaded};

/* ---- signals ---- */

static void resize(struct host *h, bool more) {
    if (h->stopping) return;
    if (h->shared)
        log_warn("with several apps the isolates of each are as many as the config "
                 "says");
    else if (more)
        jobs_add(&h->apps->jobs);
    else
        jobs_remove(&h->apps->jobs);
}

/* Those of the real-time kind have no constant numbers. */
static void handle(struct host *h, int signal) {
    if (signal == SIGTTIN || signal == HERITAGE_MORE) resize(h, true);
    if (signal == SIGTTOU || signal == HERITAGE_LESS) resize(h, false);
    switch (signal) {
    case SIGTERM:
    case SIGQUIT:
    case SIGINT: stop(h); break;
    case SIGHUP:
        if (!h->stopping) reload(h);
        break;
    case SIGUSR1: log_reopen(); break;
    }
}

static void signalled(struct ev_loop *ev, ev_io *io, int events) {
    if (events & EV_ERROR) loop_watch_again(ev, io);
    struct host *h = io->data;
    struct signalfd_siginfo info;
    while (read(io->fd, &info, sizeof info) == sizeof info)
        handle(h, (int)info.ssi_signo);
}

/* Blocks the signals for all threads to come and makes them readable. */
static int watch_signals(struct host *h) {
    sigset_t set;
    sigemptyset(&set);
    const int ours[] = {SIGTERM, SIGHUP,        SIGUSR1,      SIGTTIN,
                        SIGTTOU, HERITAGE_MORE, HERITAGE_LESS};
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) sigaddset(&set, ours[i]);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (fd < 0) return -errno;
    ev_io_init(&h->signals, signalled, fd, EV_READ);
    h->signals.data = h;
    ev_io_start(h->loop.ev, &h->signals);
    return 0;
}

/* ---- the host ---- */

static void say_goodbye(struct host *h, int listening) {
    int now = fd_count(), left = now - (h->descriptors - listening);
    if (now < 0 || h->descriptors < 0) left = 0; /* unknown */
    log_info(
        "stopped: %llu requests served, %u connections, %u fibers, %u generations, "
        "%d descriptors left",
        (unsigned long long)h->left.requests, h->left.connections, h->left.fibers,
        h->left.generations, left < 0 ? 0 : left);
}

/* Takes what it needs of the heritage; 0 or a negative error. */
static int init_apps(struct host *h) {
    static const struct listeners none;
    struct heritage *from = h->heritage;
    struct settings *s = from->settings;
    int err = 0;
    h->shared = s->app_count > 0;
    h->closed = !h->shared;
    h->count = 0;
    size_t count = h->shared ? s->app_count : 1;
    if (h->shared) err = ushers_init(&h->ushers, &h->loop, s, serving, ushers_over, h);
    if (!err && !(h->apps = calloc(count, sizeof *h->apps))) err = -ENOMEM;
    if (err) return err;
    h->census = census_new();
    h->ushers.place.crew.census = h->census;
    for (size_t i = 0; i < count && !err; i++) {
        struct served *a = &h->apps[i];
        a->host = h;
        a->index = i;
        err = jobs_init(&a->jobs, &h->loop, h->shared ? s->apps[i].settings : s,
                        h->shared ? &none : &from->listeners, &user, a);
        if (err) break;
        h->count++;
        a->jobs.place.crew.census = h->census;
        if (!h->shared) continue;
        a->jobs.place.name = s->apps[i].name;
        ushers_app(&h->ushers, &s->apps[i], &a->jobs.place.crew);
    }
    return err;
}

static void start_app(struct host *h, struct served *a) {
    struct settings *s = h->heritage->settings;
    const struct settings_app *app = h->shared ? &s->apps[a->index] : NULL;
    struct problem p = {0};
    char *appdir = app ? appdir_resolve(app->dir, &p) : NULL;
    if (app && !appdir) {
        log_error("%s: %s", app->place, p.text);
        give_up(h, p.code);
        return;
    }
    struct blueprint *b = blueprint_new(app ? app->settings : s, false,
                                        app ? appdir : h->heritage->appdir);
    free(appdir);
    if (!b || (app && !blueprint_under(b, app->path))) {
        if (b) blueprint_release(b);
        log_error("cannot start: %s", err_text(-ENOMEM));
        give_up(h, EX_OSERR);
        return;
    }
    int64_t count = (int64_t)(app ? app->settings : s)->isolates;
    if (!app) count += h->heritage->more;
    jobs_first(&a->jobs, b, count < 1 ? 1 : (unsigned)count);
}

/* Everything has its place in this order:
 *  1. count descriptors, before anything of ours is open
 *  2. the log's writer thread, so that what follows can be told
 *  3. the loop and the signals, blocked before there is a second thread
 *  4. the first job: build, start and commit a generation on each new worker; of
 *     several apps each has one, and when all are done the ushers open
 *  5. the loop, until the last worker has ended
 *  6. the same backwards */
int host_main(struct heritage *heritage) {
    struct host h = {.heritage = heritage, .code = 0};
    int listening = 0;
    for (size_t i = 0; i < heritage->listeners.count; i++)
        listening += (int)heritage->listeners.at[i].count;
    h.descriptors = fd_count();
    crash_install(heritage->report, scene_describe);
    int err = log_start();
    if (err == 0) err = loop_init(&h.loop);
    if (err) {
        log_error("cannot start: %s", err_text(err));
        log_stop(CLOCK_SECOND);
        return EX_OSERR;
    }
    timer_init(&h.delay, drain);
    timer_init(&h.deadline, overdue);
    timer_init(&h.heartbeat, beat);
    err = watch_signals(&h);
    if (err == 0) err = init_apps(&h);
    if (err) {
        log_error("cannot start: %s", err_text(err));
        h.code = EX_OSERR;
    } else {
        for (size_t i = 0; i < h.count && !h.code; i++) start_app(&h, &h.apps[i]);
        loop_run(&h.loop);
    }
    timer_clear(&h.loop, &h.heartbeat);
    if (h.shared) ushers_done(&h.ushers, &h.left);
    for (size_t i = 0; i < h.count; i++) jobs_done(&h.apps[i].jobs, &h.left);
    free(h.apps);
    census_free(h.census);
    ev_io_stop(h.loop.ev, &h.signals);
    fd_close(&h.signals.fd);
    sockets_close(&heritage->listeners);
    loop_done(&h.loop);
    log_stop(SECOND); /* what is said now is written at once */
    crash_end();
    if (h.ready) say_goodbye(&h, listening);
    return h.code;
}
