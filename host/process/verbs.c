#include "process/verbs.h"

#include "base/check.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "http/router.h"
#include "process/jobs.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <unistd.h>

/* ---- check and routes: an app in a throw-away state ---- */

static struct generation *load_app(const struct settings *s, const char *appdir) {
    struct buf problem;
    buf_init(&problem);
    struct blueprint *b = blueprint_new((struct settings *)(uintptr_t)s, false, appdir);
    struct generation *g = blueprint_build(b, 1, &problem);
    blueprint_release(b);
    if (!g)
        fprintf(stderr, "atoll: %.*s\n", (int)buf_len(&problem), buf_data(&problem));
    buf_reset(&problem);
    return g;
}

int verb_check(const struct settings *s, const char *appdir) {
    settings_print(s, stdout);
    struct generation *g = load_app(s, appdir);
    if (!g) return EX_CONFIG;
    struct app *app = g->app;
    printf("%s: %u routes, no problem found\n", appdir, router_count(app->router));
    generation_free(g);
    return 0;
}

int verb_routes(const struct settings *s, const char *appdir) {
    struct generation *g = load_app(s, appdir);
    if (!g) return EX_CONFIG;
    struct app *app = g->app;
    size_t widest = 0, longest = 0;
    for (uint32_t i = 0; i < router_count(app->router); i++) {
        struct route_entry e = router_entry(app->router, i);
        if (e.method.len > longest) longest = e.method.len;
        if (e.pattern.len > widest) widest = e.pattern.len;
    }
    for (uint32_t i = 0; i < router_count(app->router); i++) {
        struct route_entry e = router_entry(app->router, i);
        printf("%-*.*s  %-*.*s  %s\n", (int)longest, (int)e.method.len, e.method.at,
               (int)widest, (int)e.pattern.len, e.pattern.at, app->sources[e.handler]);
    }
    generation_free(g);
    return 0;
}

/* ---- run and test: a script as the first isolate ---- */

struct runner {
    struct loop loop;
    struct jobs jobs;
    ev_io signals;
    int code;
    bool over;
};

static void finish(struct runner *r, int code) {
    if (r->over) return;
    r->over = true;
    r->code = code;
    jobs_cut(&r->jobs);
}

static void committed(struct jobs *j) {
    (void)j;
}

static void failed(struct jobs *j, int code) {
    finish(j->user, code);
}

static void emptied(struct jobs *j) {
    struct runner *r = j->user;
    if (r->over) loop_stop(&r->loop);
}

static void exited(struct jobs *j, int code) {
    finish(j->user, code);
}

static const struct jobs_user user = {committed, failed, emptied, NULL, exited};

static void signalled(struct ev_loop *ev, ev_io *io, int events) {
    (void)ev;
    (void)events;
    struct runner *r = io->data;
    struct signalfd_siginfo info;
    while (read(io->fd, &info, sizeof info) == sizeof info) {
        /* A script that never waits hears of nothing. */
        if (r->over) _exit(128 + (int)info.ssi_signo);
        finish(r, 128 + (int)info.ssi_signo);
    }
}

static int watch_signals(struct runner *r) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGQUIT);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (fd < 0) return -errno;
    ev_io_init(&r->signals, signalled, fd, EV_READ);
    r->signals.data = r;
    ev_io_start(r->loop.ev, &r->signals);
    return 0;
}

static int run(const struct settings *s, const char *script, const char *module,
               int argc, char **argv) {
    struct runner *r = calloc(1, sizeof *r);
    CHECK(r);
    struct listeners none = {0};
    struct worker_left left = {0};
    signal(SIGPIPE, SIG_IGN);
    int err = log_start();
    if (err == 0) err = loop_init(&r->loop);
    if (err == 0) err = watch_signals(r);
    if (err == 0) err = jobs_init(&r->jobs, &r->loop, s, &none, &user, r);
    if (err) {
        log_error("cannot start: %s", err_text(err));
        return EX_OSERR;
    }
    struct blueprint *b = blueprint_new((struct settings *)(uintptr_t)s, false, NULL);
    b->options.script = script;
    b->options.module = module;
    b->options.argc = argc;
    b->options.argv = argv;
    jobs_first(&r->jobs, b, 1);
    loop_run(&r->loop);
    jobs_done(&r->jobs, &left);
    ev_io_stop(r->loop.ev, &r->signals);
    fd_close(&r->signals.fd);
    loop_done(&r->loop);
    log_stop(1000000000);
    int code = r->code;
    free(r);
    return code;
}

int verb_run(const struct settings *s, const char *script, int argc, char **argv) {
    if (access(script, R_OK) != 0) {
        fprintf(stderr, "atoll: %s: %s\n", script, err_text(-errno));
        return errno == EACCES ? EX_NOPERM : EX_NOINPUT;
    }
    return run(s, script, NULL, argc, argv);
}

int verb_test(const struct settings *s, int argc, char **argv) {
    return run(s, NULL, "atoll.busted", argc, argv);
}
