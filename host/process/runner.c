#include "process/runner.h"

#include "api/script_lua.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "process/jobs.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

/* How long what is cut has to end. */
#define GRACE CLOCK_SECOND

struct runner {
    struct loop loop;
    struct jobs jobs;
    struct script_signals signals;
    ev_io heard;
    struct timer patience; /* until a script is cut after a signal, then the process */
    double allowed;        /* seconds for the former */
    unsigned running;      /* scripts that have not ended */
    int code;              /* of the process */
    int signal;            /* that came and nobody listened for, or 0 */
    bool started, over, cancelled, ended;
};

/* ---- the end ---- */

static void finish(struct runner *r, int code) {
    if (r->over) return;
    r->over = true;
    r->code = code;
    jobs_cut(&r->jobs);
}

static void end_worker(struct worker *w) {
    worker_ask(w, STEP_CUT, NULL, NULL, false);
}

static void committed(struct jobs *j) {
    struct runner *r = j->user;
    r->started = true;
    for (unsigned i = 0; i < j->count && !r->over; i++)
        if (j->workers[i]->over) end_worker(j->workers[i]);
    if (r->signal) jobs_cancel(j);
}

static void failed(struct jobs *j, int code) {
    finish(j->user, code);
}

static void emptied(struct jobs *j) {
    struct runner *r = j->user;
    if (r->over) loop_stop(&r->loop);
}

static void exited(struct jobs *j, int code) {
    struct runner *r = j->user;
    if (!r->over) r->cancelled = false; /* it has found an end of its own */
    finish(r, code);
}

static void over(struct jobs *j, struct worker *w, int code) {
    struct runner *r = j->user;
    if (r->over) return;
    if (code == ERR_CANCELLED) {
        r->cancelled = true;
        code = r->signal ? 0 : 1;
    } else if (code != 0) {
        r->cancelled = false;
    }
    w->over = true;
    if (code != 0 || --r->running == 0)
        finish(r, code);
    else if (r->started)
        end_worker(w); /* and with it its tasks */
}

static const struct jobs_user user = {.committed = committed,
                                      .failed = failed,
                                      .emptied = emptied,
                                      .exited = exited,
                                      .over = over};

/* ---- signals ---- */

/* Where the handler writes what has come; a process has only one. */
static int wire = -1;

static void hear(int number) {
    int saved = errno;
    unsigned char byte = (unsigned char)number;
    ssize_t n;
    do n = write(wire, &byte, 1);
    while (n < 0 && errno == EINTR);
    (void)n; /* so many are waiting that one more tells nothing */
    errno = saved;
}

static void hear_nothing(int number) {
    (void)number;
}

static int handle(int number, void (*handler)(int)) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    return sigaction(number, &action, NULL) < 0 ? -errno : 0;
}

static void listen_to(int number) {
    handle(number, hear);
}

/* As if it had never been handled. */
_Noreturn static void die(int number) {
    sigset_t set;
    signal(number, SIG_DFL);
    sigemptyset(&set);
    sigaddset(&set, number);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    raise(number);
    _exit(128 + number);
}

/* A script that computes hears of no signal, but can be cut; one call into C cannot. */
static void overdue(struct timer *t) {
    struct runner *r = LIST_OF(t, struct runner, patience);
    if (r->ended) die(r->signal);
    r->ended = true;
    if (!r->over) {
        log_warn("the script had not ended when drain_timeout was over");
        r->cancelled = true;
        finish(r, 0);
    }
    if (timer_set(&r->loop, t, r->loop.now + GRACE) < 0) die(r->signal);
}

static void signalled(struct runner *r, int number) {
    if (!r->over && atomic_load(&r->signals.wanted[number])) {
        jobs_signal(&r->jobs, number);
        return;
    }
    if (number == SIGCONT || number == SIGWINCH) return;
    /* A script that never waits hears of nothing. */
    if (r->over || r->signal) die(number);
    r->signal = number;
    if (r->started) jobs_cancel(&r->jobs);
    timer_set(&r->loop, &r->patience,
              r->loop.now + (int64_t)(r->allowed * CLOCK_SECOND));
}

static void heard(struct ev_loop *ev, ev_io *io, int events) {
    unsigned char byte;
    if (events & EV_ERROR) loop_watch_again(ev, io);
    while (read(io->fd, &byte, 1) == 1) signalled(io->data, byte);
}

/* What the program was started to ignore it ignores until somebody listens. SIGPIPE is
 * not ignored: that would be inherited by the programs that a script starts. */
static int watch_signals(struct runner *r) {
    int fds[2];
    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0) return -errno;
    wire = fds[1];
    r->signals.listen = listen_to;
    ev_io_init(&r->heard, heard, fds[0], EV_READ);
    r->heard.data = r;
    ev_io_start(r->loop.ev, &r->heard);
    for (const struct script_signal *s = script_signals; s->name; s++) {
        struct sigaction before;
        if (sigaction(s->number, NULL, &before) < 0) return -errno;
        int err = before.sa_handler == SIG_IGN ? 0 : handle(s->number, hear);
        if (err) return err;
    }
    return handle(SIGPIPE, hear_nothing);
}

static void forget_signals(struct runner *r) {
    for (const struct script_signal *s = script_signals; s->name; s++) {
        struct sigaction now;
        if (sigaction(s->number, NULL, &now) == 0 && now.sa_handler == hear)
            signal(s->number, SIG_DFL);
    }
    ev_io_stop(r->loop.ev, &r->heard);
    fd_close(&r->heard.fd);
    fd_close(&wire);
}

/* ---- the program ---- */

int runner_run(const struct settings *s, const struct script *script) {
    struct runner *r = calloc(1, sizeof *r);
    if (!r) {
        log_error("cannot start: %s", err_text(-ENOMEM));
        return EX_OSERR;
    }
    struct worker_left left = {0};
    int err = log_start();
    if (err == 0) err = loop_init(&r->loop);
    bool loops = err == 0;
    timer_init(&r->patience, overdue);
    r->allowed = s->drain_timeout;
    if (err == 0) err = watch_signals(r);
    struct blueprint *b = blueprint_new((struct settings *)(uintptr_t)s, false, NULL);
    if (err == 0 && !b) err = -ENOMEM;
    if (err == 0) err = jobs_init(&r->jobs, &r->loop, s, NULL, &user, r);
    if (err) {
        if (b) blueprint_release(b);
        log_error("cannot start: %s", err_text(err));
        if (loops) loop_done(&r->loop);
        log_stop(CLOCK_SECOND);
        free(r);
        return EX_OSERR;
    }
    b->options.script = script->file;
    b->options.module = script->module;
    b->options.argc = script->argc;
    b->options.argv = script->argv;
    b->options.signals = &r->signals;
    jobs_first(&r->jobs, b, script->isolates);
    r->running = r->jobs.count;
    loop_run(&r->loop);
    timer_clear(&r->loop, &r->patience);
    jobs_done(&r->jobs, &left);
    forget_signals(r);
    loop_done(&r->loop);
    log_stop(CLOCK_SECOND);
    int code = r->code, number = r->cancelled ? r->signal : 0;
    free(r);
    if (!number) return code;
    fflush(stdout);
    die(number);
}
