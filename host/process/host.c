#include "process/host.h"

#include "base/check.h"
#include "base/fd.h"
#include "base/log.h"
#include "process/appdir.h"
#include "process/jobs.h"
#include "process/sockets.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

static const int64_t SECOND = 1000000000;

struct host {
    struct heritage *heritage;
    struct loop loop;
    struct jobs jobs;
    struct timer delay, deadline;
    ev_io signals;
    int descriptors; /* before anything was opened */
    int code;
    bool ready, stopping, draining;
    struct worker_left left;
};

/* ---- the end ---- */

static void drain(struct timer *t) {
    struct host *h = LIST_OF(t, struct host, delay);
    h->draining = true;
    /* The workers' clones are the last ones: they accept what is queued and close. */
    sockets_close(&h->heritage->listeners);
    jobs_drain(&h->jobs);
    double seconds = h->heritage->settings->drain_timeout;
    if (timer_set(&h->loop, &h->deadline,
                  clock_ns() + (int64_t)(seconds * (double)SECOND)) != 0)
        jobs_cut(&h->jobs);
}

static void overdue(struct timer *t) {
    struct host *h = LIST_OF(t, struct host, deadline);
    jobs_cut(&h->jobs);
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

/* ---- what the jobs tell ---- */

static void committed(struct jobs *j) {
    struct host *h = j->user;
    if (h->ready) return;
    h->ready = true;
    if (heritage_say(h->heritage, MESSAGE_READY, j->count) != 0)
        log_warn("the supervisor does not hear that the host is ready");
    if (h->heritage->restarts) log_info("serving again with %u isolates", j->count);
}

static void failed(struct jobs *j, int code) {
    struct host *h = j->user;
    if (h->ready) return; /* what served goes on serving */
    h->code = code;
    h->stopping = h->draining = true;
    jobs_cut(j);
}

static void emptied(struct jobs *j) {
    struct host *h = j->user;
    if (!h->draining) return;
    loop_stop(&h->loop);
}

static void kept(const struct setting *row) {
    log_warn("%s has changed: it takes effect when atoll is started again", row->name);
}

static struct blueprint *fresh(struct jobs *j) {
    struct host *h = j->user;
    struct heritage *from = h->heritage;
    struct problem p = {0};
    char *appdir = appdir_resolve(from->app_path, &p);
    struct settings *settings = appdir ? settings_load(from->source, &p) : NULL;
    if (!settings) {
        log_error("reload failed, the running code goes on: %s", p.text);
        free(appdir);
        return NULL;
    }
    settings_keep(settings, from->settings, kept);
    log_set_level((enum log_level)settings->log_level);
    struct blueprint *b = blueprint_new(settings, true, appdir);
    free(appdir);
    return b;
}

static const struct jobs_user user = {committed, failed, emptied, fresh, NULL, NULL};

/* ---- signals ---- */

static void signalled(struct ev_loop *ev, ev_io *io, int events) {
    (void)ev;
    (void)events;
    struct host *h = io->data;
    struct signalfd_siginfo info;
    while (read(io->fd, &info, sizeof info) == sizeof info) {
        switch (info.ssi_signo) {
        case SIGTERM:
        case SIGQUIT:
        case SIGINT: stop(h); break;
        case SIGHUP:
            if (!h->stopping) jobs_reload(&h->jobs);
            break;
        case SIGUSR1: log_reopen(); break;
        case SIGTTIN:
            if (!h->stopping) jobs_add(&h->jobs);
            break;
        case SIGTTOU:
            if (!h->stopping) jobs_remove(&h->jobs);
            break;
        }
    }
}

/* Blocks the signals for all threads to come and makes them readable. */
static int watch_signals(struct host *h) {
    sigset_t set;
    sigemptyset(&set);
    static const int ours[] = {SIGTERM, SIGHUP, SIGUSR1, SIGTTIN, SIGTTOU};
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
    int left = fd_count() - (h->descriptors - listening);
    log_info(
        "stopped: %llu requests served, %u connections, %u fibers, %u generations, "
        "%d descriptors left",
        (unsigned long long)h->left.requests, h->left.connections, h->left.fibers,
        h->left.generations, left < 0 ? 0 : left);
}

/* Everything has its place in this order:
 *  1. count descriptors, before anything of ours is open
 *  2. the log's writer thread, so that what follows can be told
 *  3. the loop and the signals, blocked before there is a second thread
 *  4. the first job: build, start and commit a generation on each new worker
 *  5. the loop, until the last worker has ended
 *  6. the same backwards */
int host_main(struct heritage *heritage) {
    struct host h = {.heritage = heritage, .code = 0};
    int listening = 0;
    for (size_t i = 0; i < heritage->listeners.count; i++)
        listening += (int)heritage->listeners.at[i].count;
    h.descriptors = fd_count();
    int err = log_start();
    if (err == 0) err = loop_init(&h.loop);
    if (err) {
        log_error("cannot start: %s", err_text(err));
        return EX_OSERR;
    }
    timer_init(&h.delay, drain);
    timer_init(&h.deadline, overdue);
    struct settings *s = heritage->settings;
    struct blueprint *b = blueprint_new(s, false, heritage->appdir);
    err = watch_signals(&h);
    if (err == 0) err = jobs_init(&h.jobs, &h.loop, s, &heritage->listeners, &user, &h);
    if (err) {
        log_error("cannot start: %s", err_text(err));
        h.code = EX_OSERR;
        blueprint_release(b);
    } else {
        jobs_first(&h.jobs, b, s->isolates);
        loop_run(&h.loop);
        jobs_done(&h.jobs, &h.left);
    }
    ev_io_stop(h.loop.ev, &h.signals);
    fd_close(&h.signals.fd);
    sockets_close(&heritage->listeners);
    loop_done(&h.loop);
    log_stop(SECOND); /* what is said now is written at once */
    if (h.ready) say_goodbye(&h, listening);
    return h.code;
}
