#include "process/supervisor.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "process/activation.h"
#include "process/capacity.h"
#include "process/hatch.h"
#include "process/hosts.h"
#include "process/sockets.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

static const int handled[] = {SIGHUP,  SIGUSR1, SIGUSR2, SIGTTIN, SIGTTOU,
                              SIGTERM, SIGQUIT, SIGINT,  SIGCHLD};
enum {
    HANDLED = sizeof handled / sizeof *handled,
    TRIES = 50,
    POLLED = 512, /* pipes of children at most that are looked at in one turn */
};

struct supervisor {
    struct hosts hosts;
    int signals;  /* signalfd */
    int stopping; /* the signal that began the end; 0 */
};

/* ---- signals ---- */

static void stop(struct supervisor *s, int signal) {
    s->stopping = signal;
    log_info("SIG%s: stopping", sigabbrev_np(signal));
    /* The hosts have clones and close them when it is time to; ours would keep the
     * kernel queueing connections that nobody takes. */
    sockets_close(&s->hosts.heritage.listeners);
    hosts_stop(&s->hosts);
}

static void reopen_logs(struct supervisor *s) {
    const struct settings *set = s->hosts.heritage.settings;
    /* Ours first: a host without privileges could not create them. */
    privileges_own_log(set->log, &s->hosts.who);
    privileges_own_log(set->access_log, &s->hosts.who);
    log_reopen();
}

static void handle(struct supervisor *s, int signal) {
    switch (signal) {
    case SIGCHLD: break;
    case SIGUSR1: reopen_logs(s); /* fall through */
    case SIGHUP:
    case SIGTTIN:
    case SIGTTOU: hosts_signal(&s->hosts, signal); break;
    case SIGUSR2: hosts_upgrade(&s->hosts); break;
    case SIGINT:
    case SIGTERM:
    case SIGQUIT:
        /* INT while stopping, or after it a TERM from somebody who has waited enough.
         */
        if (!s->stopping)
            stop(s, signal);
        else if (signal == SIGINT || s->stopping == SIGINT)
            hosts_kill(&s->hosts);
        break;
    }
}

static void read_signals(struct supervisor *s) {
    struct signalfd_siginfo info;
    while (!s->hosts.over &&
           read(s->signals, &info, sizeof info) == (ssize_t)sizeof info)
        handle(s, (int)info.ssi_signo);
}

/* Blocked from here on: none is lost, whatever we are in the middle of. */
static int take_signals(struct supervisor *s) {
    sigset_t set;
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigemptyset(&set);
    for (int i = 0; i < HANDLED; i++) {
        sigaddset(&set, handled[i]);
        sigaction(handled[i], &action, NULL); /* nohup's SIG_IGN would swallow it */
    }
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);
    fd_close(&s->signals);
    if (sigprocmask(SIG_SETMASK, &set, NULL) < 0) return -errno;
    s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return s->signals < 0 ? -errno : 0;
}

/* ---- the whole ---- */

static void turn(struct supervisor *s) {
    struct hosts *h = &s->hosts;
    struct pollfd fds[1 + POLLED] = {{.fd = s->signals, .events = POLLIN}};
    nfds_t n = 1;
    for (EACH_PROCESS(c, &h->children))
        if (n <= POLLED) fds[n++] = (struct pollfd){.fd = c->pipe, .events = POLLIN};
    int64_t next = hosts_next(h), left = next ? next - clock_ns() : 0;
    if (left < 0) left = 0;
    struct timespec wait = {.tv_sec = left / CLOCK_SECOND,
                            .tv_nsec = left % CLOCK_SECOND};
    if (ppoll(fds, n, next ? &wait : NULL, NULL) < 0 && errno != EINTR) {
        /* The kernel has no memory just now: all of them are looked at, a bit later. */
        nanosleep(&(struct timespec){.tv_nsec = CLOCK_SECOND / 20}, NULL);
        fds[0].revents = POLLIN;
    }
    for (EACH_PROCESS(c, &h->children)) hosts_read(h, c);
    if (fds[0].revents) read_signals(s);
    if (!h->over) hosts_reap(h);
    if (!h->over) hosts_timers(h);
}

/* Of those that were passed; for the others it is checked with the settings. */
static int check_listeners(const struct heritage *h, struct problem *p) {
    for (size_t i = 0; i < h->listeners.count; i++)
        if (h->listeners.at[i].proxy && !h->settings->trusted_proxies.count)
            return problem_set(
                p, EX_CONFIG,
                "LISTEN_FDS: a socket named proxy needs trusted_proxies, "
                "from where the proxies connect");
    return 0;
}

/* In the order in which a user would want to hear of mistakes. */
static int prepare(struct hosts *h, const struct supervised *what, struct problem *p) {
    const struct settings *set = h->heritage.settings;
    if (hosts_resolve(h, p) < 0 || privileges_find(set, &h->who, p) < 0) return -1;
    if (check_listeners(&h->heritage, p) < 0) return -1;
    if (upgrade_init(&h->upgrade, what->argv, p) < 0) return -1;
    if (pid_file_open(&h->pid_file, set->pid_file, p) < 0) return -1;
    if (h->heritage.listeners.count == 0 &&
        sockets_open(&h->heritage.listeners, set, &h->who, p) < 0)
        return -1;
    return hatch_log(set, &h->who, p);
}

/* The hosts serve already, so nothing of this may be the end. */
static int take_over(struct hosts *h, const struct supervised *what,
                     struct problem *p) {
    const struct settings *set = h->heritage.settings;
    if (what->bequest->listeners.count)
        h->heritage.listeners = what->bequest->listeners;
    what->bequest->listeners = (struct listeners){0};
    if (hatch_log(set, &h->who, p) < 0) log_error("%s", p->text);
    if (hosts_resolve(h, p) < 0) log_error("%s", p->text);
    if (privileges_find(set, &h->who, p) < 0) return -1;
    if (upgrade_init(&h->upgrade, what->argv, p) < 0) return -1;
    return pid_file_adopt(&h->pid_file, set->pid_file, what->bequest->pid_file, p);
}

/* So that a shell sees what ended us. As process 1 the signal would do nothing. */
static void die_by(int signal) {
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigset_t set;
    sigaction(signal, &action, NULL);
    sigemptyset(&set);
    sigaddset(&set, signal);
    raise(signal);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    _exit(128 + signal);
}

static int begin(struct supervisor *s, const struct supervised *what,
                 struct problem *p) {
    struct hosts *h = &s->hosts;
    /* First, while the numbers of what is passed cannot have been used for others. */
    if (!what->bequest && activation_take(&h->heritage.listeners, p) < 0) return -1;
    int err = take_signals(s);
    if (err) return problem_errno(p, EX_OSERR, err, "cannot take signals");
    h->signals = s->signals;
    capacity_raise();
    notify_init(&h->notify);
    if (!what->bequest) {
        if (prepare(h, what, p) < 0) return -1;
        capacity_check(what->settings);
        hosts_start(h);
    } else {
        if (take_over(h, what, p) < 0) return -1;
        capacity_check(what->settings);
        hosts_resume(h, what->bequest);
    }
    return 0;
}

/* Who has taken over waits for memory and descriptors: its hosts serve. */
static int begin_patiently(struct supervisor *s, const struct supervised *what,
                           struct problem *p) {
    const struct timespec pause = {.tv_nsec = CLOCK_SECOND / 10};
    for (int tries = 0; begin(s, what, p) < 0; tries++) {
        if (!what->bequest || p->code != EX_OSERR || tries == TRIES) return -1;
        if (!tries) log_error("%s; the supervisor tries again", p->text);
        nanosleep(&pause, NULL);
    }
    return 0;
}

int supervise(const struct supervised *what) {
    struct problem p;
    struct supervisor s = {.hosts = {.heritage = {.settings = what->settings,
                                                  .source = what->source,
                                                  .app = what->app,
                                                  .app_path = what->app_path,
                                                  .supervisor_pipe = -1,
                                                  .report = -1,
                                                  .supervisor = getpid()},
                                     .pid_file = {.fd = -1},
                                     .signals = -1},
                           .signals = -1};
    struct hosts *h = &s.hosts;
    list_init(&h->children);
    if (begin_patiently(&s, what, &p) < 0) {
        h->over = true;
        h->code = problem_print(&p);
    }
    while (!h->over) turn(&s);
    sockets_remove(&h->heritage.listeners);
    pid_file_close(&h->pid_file);
    log_close();
    for (EACH_PROCESS(c, &h->children)) process_free(c);
    fd_close(&s.signals);
    upgrade_done(&h->upgrade);
    free(h->appdir);
    settings_free(h->heritage.settings);
    if (h->at_once) die_by(SIGINT);
    return h->code;
}
