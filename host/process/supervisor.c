#include "process/supervisor.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "process/appdir.h"
#include "process/host.h"
#include "process/pid_file.h"
#include "process/settings_apps.h"
#include "process/sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

static const int64_t DELAY_MIN = CLOCK_SECOND / 10, DELAY_MAX = 5 * CLOCK_SECOND,
                     HEALTHY = 10 * CLOCK_SECOND, GRACE = 5 * CLOCK_SECOND;

static const int handled[] = {SIGHUP,  SIGUSR1, SIGUSR2, SIGTTIN, SIGTTOU,
                              SIGTERM, SIGQUIT, SIGINT,  SIGCHLD};
/* Passed on to a host that is ready, and kept for one that is not yet. */
static const int forwarded[] = {SIGHUP, SIGUSR1, SIGTTIN, SIGTTOU};
enum {
    HANDLED = sizeof handled / sizeof *handled,
    FORWARDED = sizeof forwarded / sizeof *forwarded
};

struct supervisor {
    struct heritage heritage;
    struct identity who;
    struct pid_file pid_file;
    char *appdir;       /* the heritage's, owned */
    int signals;        /* signalfd */
    int pipe;           /* from the host; -1 when it has closed it, or there is none */
    pid_t host;         /* 0 when there is none */
    bool ready;         /* the host is */
    bool was_ready;     /* some host has been */
    bool waiting[NSIG]; /* to be forwarded to the host when it is ready */
    int64_t ready_at;   /* when the host became ready */
    int64_t fork_at;    /* when to fork the next one; 0 when not */
    int64_t delay;      /* before the next fork; 0 for at once */
    int stopping;       /* the signal that began the end; 0 */
    int64_t kill_at;    /* when patience with a stopping host ends */
    bool at_once;       /* a second INT came */
    bool over;
    int code; /* the program's exit code, once over */
};

static void finish(struct supervisor *s, int code) {
    s->over = true;
    s->code = code;
}

/* ---- the ready line ---- */

static void announce(const struct supervisor *s, unsigned isolates) {
    const struct listeners *all = &s->heritage.listeners;
    char *line = NULL, url[ADDR_TEXT];
    size_t size;
    FILE *out = open_memstream(&line, &size);
    if (!out) return;
    const struct settings *set = s->heritage.settings;
    fputs("atoll: serving ", out);
    if (!set->app_count) fputs(s->heritage.app, out);
    for (size_t i = 0; i < set->app_count; i++) {
        const char *before = i == 0 ? "" : i + 1 < set->app_count ? ", " : " and ";
        fprintf(out, "%s%s at %s", before, set->apps[i].given, set->apps[i].name);
    }
    fputs(" on ", out);
    for (size_t i = 0; i < all->count; i++) {
        const char *before = i == 0 ? "" : i + 1 < all->count ? ", " : " and ";
        fprintf(out, "%s%s", before, addr_url(&all->at[i].addr, "http", url));
    }
    fprintf(out, " (%u isolate%s, pid %ld)\n", isolates, isolates == 1 ? "" : "s",
            (long)getpid());
    if (fclose(out) == 0) fd_write_all(STDERR_FILENO, line, size);
    free(line);
}

/* ---- settings ---- */

/* Takes what the file says now, unless it is wrong. The host says so on a reload. */
static void refresh(struct supervisor *s, bool log) {
    struct problem p;
    struct settings *fresh = settings_load(s->heritage.source, &p);
    if (fresh && settings_keep(fresh, s->heritage.settings, NULL) == 0) {
        settings_free(s->heritage.settings);
        s->heritage.settings = fresh;
        log_set_level((enum log_level)fresh->log_level);
        return;
    }
    if (!fresh && log) log_error("%s; the last good settings stay", p.text);
    settings_free(fresh);
}

/* The app may be a symlink that has been switched. A directory that is gone is the
 * host's to complain about. */
static int resolve(struct supervisor *s, struct problem *p) {
    if (s->heritage.settings->app_count)
        return settings_apps_check(s->heritage.settings, p);
    char *dir = appdir_resolve(s->heritage.app_path, p);
    if (!dir) return -1;
    free(s->appdir);
    s->heritage.appdir = s->appdir = dir;
    return 0;
}

/* ---- the child ---- */

static void default_signals(void) {
    struct sigaction action = {.sa_handler = SIG_DFL};
    for (int signal = 1; signal < NSIG; signal++)
        if (signal != SIGKILL && signal != SIGSTOP) sigaction(signal, &action, NULL);
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGQUIT, &action, NULL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

__attribute__((noreturn)) static void child(struct supervisor *s, int pipe) {
    struct problem p;
    /* 1. What is the supervisor's alone: its lock, its signals, its end of the pipe. */
    pid_file_forget(&s->pid_file);
    fd_close(&s->signals);
    fd_close(&s->pipe);
    s->heritage.supervisor_pipe = pipe;
    /* 2. Privileges, before anything of the app is looked at. */
    if (privileges_drop(&s->who, &p) < 0) {
        log_error("%s", p.text);
        _exit(p.code);
    }
    /* 3. A supervisor that is killed takes us along. After 2, which undoes it; and it
     *    may have been killed already, so look. */
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != s->heritage.supervisor) _exit(EX_OSERR);
    /* 4. Signals last: from here on one of them may end us. */
    default_signals();
    exit(host_main(&s->heritage));
}

/* ---- the host's life ---- */

static void come_again(struct supervisor *s) {
    s->fork_at = clock_ns() + s->delay;
    s->delay = s->delay == 0              ? DELAY_MIN
               : s->delay * 2 < DELAY_MAX ? s->delay * 2
                                          : DELAY_MAX;
}

static void fork_host(struct supervisor *s) {
    struct problem p;
    int ends[2] = {-1, -1}, err;
    s->fork_at = 0;
    if (s->was_ready) {
        refresh(s, true);
        if (resolve(s, &p) < 0) log_error("%s", p.text);
        s->heritage.restarts++;
    }
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) goto fail;
    fflush(NULL); /* nothing is to be printed twice */
    pid_t pid = fork();
    if (pid < 0) goto fail;
    if (pid == 0) {
        fd_close(&ends[0]);
        child(s, ends[1]);
    }
    fd_close(&ends[1]);
    s->host = pid;
    s->pipe = ends[0];
    s->ready = false;
    return;
fail:
    err = errno;
    fd_close(&ends[0]);
    fd_close(&ends[1]);
    log_error("cannot fork the host: %s", err_text(-err));
    if (s->was_ready)
        come_again(s);
    else
        finish(s, EX_OSERR);
}

static void host_ready(struct supervisor *s, unsigned isolates) {
    if (s->ready) return;
    s->ready = true;
    s->ready_at = clock_ns();
    if (s->was_ready)
        log_info("host restarted, pid %ld, %u isolates", (long)s->host, isolates);
    else if (!s->stopping)
        announce(s, isolates);
    s->was_ready = true;
    for (int i = 0; i < FORWARDED; i++) {
        if (!s->waiting[forwarded[i]]) continue;
        s->waiting[forwarded[i]] = false;
        kill(s->host, forwarded[i]);
    }
}

static void read_pipe(struct supervisor *s) {
    struct notice m;
    while (s->pipe >= 0) {
        ssize_t n = read(s->pipe, &m, sizeof m);
        if (n == (ssize_t)sizeof m) {
            if (m.kind == MESSAGE_READY) host_ready(s, m.number);
        } else if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        } else {
            fd_close(&s->pipe);
        }
    }
}

static char *how_died(int status, char *out, size_t size) {
    if (WIFSIGNALED(status)) {
        const char *name = sigabbrev_np(WTERMSIG(status));
        snprintf(out, size, "was killed by SIG%s%s", name ? name : "?",
                 WCOREDUMP(status) ? ", leaving a core" : "");
    } else {
        snprintf(out, size, "exited with %d", WEXITSTATUS(status));
    }
    return out;
}

static void ended_while_stopping(struct supervisor *s, int status) {
    char how[64];
    if (WIFEXITED(status)) {
        finish(s, WEXITSTATUS(status));
    } else if (WTERMSIG(status) == SIGTERM && !s->ready) {
        finish(s, 0); /* our own signal, before there was anything to finish */
    } else {
        if (!s->at_once) log_error("host %s", how_died(status, how, sizeof how));
        finish(s, EX_SOFTWARE);
    }
}

static void ended_at_first(struct supervisor *s, int status) {
    char how[64];
    /* With an exit code of its own it has said why. */
    if (WIFEXITED(status) && WEXITSTATUS(status)) {
        finish(s, WEXITSTATUS(status));
        return;
    }
    log_error("host %s before it was ready", how_died(status, how, sizeof how));
    finish(s, EX_SOFTWARE);
}

static void host_ended(struct supervisor *s, int status) {
    char how[64];
    read_pipe(s); /* what it said last */
    fd_close(&s->pipe);
    pid_t pid = s->host;
    s->host = 0;
    if (s->stopping) {
        ended_while_stopping(s, status);
    } else if (!s->was_ready) {
        ended_at_first(s, status);
    } else {
        if (s->ready && clock_ns() - s->ready_at >= HEALTHY) s->delay = 0;
        char when[24] = "now";
        if (s->delay)
            snprintf(when, sizeof when, "in %.1f s", (double)s->delay / CLOCK_SECOND);
        log_error("host %ld %s; restarting %s", (long)pid,
                  how_died(status, how, sizeof how), when);
        come_again(s);
    }
    s->ready = false;
}

/* All children: as process 1 of a container we inherit others' orphans. */
static void reap(struct supervisor *s) {
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        if (pid == s->host) host_ended(s, status);
}

/* ---- signals ---- */

static void stop(struct supervisor *s, int signal) {
    const struct settings *set = s->heritage.settings;
    s->stopping = signal;
    log_info("SIG%s: stopping", sigabbrev_np(signal));
    /* The host has clones and closes them when it is time to; ours would keep the
     * kernel queueing connections that nobody takes. */
    sockets_close(&s->heritage.listeners);
    s->fork_at = 0;
    if (!s->host) {
        finish(s, 0);
        return;
    }
    s->kill_at = clock_ns() + GRACE +
                 (int64_t)((set->drain_delay + set->drain_timeout) * CLOCK_SECOND);
    kill(s->host, SIGTERM);
}

/* INT while stopping, or after it a TERM from somebody who has waited enough. */
static void stop_at_once(struct supervisor *s) {
    s->at_once = true;
    if (s->host) kill(s->host, SIGKILL);
}

static void forward(struct supervisor *s, int signal) {
    if (signal == SIGHUP && !s->stopping) refresh(s, false);
    if (signal == SIGUSR1) {
        const struct settings *set = s->heritage.settings;
        /* Ours first: a host without privileges could not create them. */
        privileges_own_log(set->log, &s->who);
        privileges_own_log(set->access_log, &s->who);
        log_reopen();
    }
    if (s->host && s->ready)
        kill(s->host, signal);
    else if (s->host)
        s->waiting[signal] = true;
    else if (s->fork_at && signal == SIGHUP)
        s->fork_at = clock_ns(); /* what was broken may be mended */
}

static void handle(struct supervisor *s, int signal) {
    switch (signal) {
    case SIGCHLD: break;
    case SIGHUP:
    case SIGUSR1:
    case SIGTTIN:
    case SIGTTOU: forward(s, signal); break;
    case SIGUSR2:
        log_warn("SIGUSR2: the program file cannot be upgraded in place yet");
        break;
    case SIGINT:
    case SIGTERM:
    case SIGQUIT:
        if (!s->stopping)
            stop(s, signal);
        else if (signal == SIGINT || s->stopping == SIGINT)
            stop_at_once(s);
        break;
    }
}

static void read_signals(struct supervisor *s) {
    struct signalfd_siginfo info;
    while (!s->over && read(s->signals, &info, sizeof info) == (ssize_t)sizeof info)
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
    if (sigprocmask(SIG_SETMASK, &set, NULL) < 0) return -errno;
    s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return s->signals < 0 ? -errno : 0;
}

/* ---- the whole ---- */

static void timers(struct supervisor *s) {
    int64_t now = clock_ns();
    if (s->kill_at && now >= s->kill_at) {
        log_error("host %ld did not stop in time; killing it", (long)s->host);
        s->kill_at = 0;
        kill(s->host, SIGKILL);
    }
    if (s->fork_at && now >= s->fork_at) fork_host(s);
}

static int turn(struct supervisor *s) {
    struct pollfd fds[2] = {{.fd = s->signals, .events = POLLIN},
                            {.fd = s->pipe, .events = POLLIN}};
    int64_t next = s->fork_at ? s->fork_at : s->kill_at, left = 0;
    if (next) left = next - clock_ns();
    if (left < 0) left = 0;
    struct timespec wait = {.tv_sec = left / CLOCK_SECOND,
                            .tv_nsec = left % CLOCK_SECOND};
    if (ppoll(fds, 2, next ? &wait : NULL, NULL) < 0 && errno != EINTR) return -errno;
    if (fds[1].revents) read_pipe(s);
    if (fds[0].revents) read_signals(s);
    if (!s->over) reap(s);
    if (!s->over) timers(s);
    return 0;
}

static void raise_files_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= limit.rlim_max)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static int open_log(struct supervisor *s, struct problem *p) {
    const struct settings *set = s->heritage.settings;
    const char *which = set->log;
    int err = privileges_own_log(set->log, &s->who);
    if (!err) {
        which = set->access_log;
        err = privileges_own_log(set->access_log, &s->who);
    }
    struct log_options options = {.events = set->log,
                                  .access = set->access_log,
                                  .level = (enum log_level)set->log_level,
                                  .format = (enum log_format)set->log_format};
    if (!err) err = log_open(&options, &which);
    if (!err) return 0;
    return problem_errno(p, err == -EACCES ? EX_NOPERM : EX_CONFIG, err, "log '%.400s'",
                         which);
}

/* In the order in which a user would want to hear of mistakes. */
static int prepare(struct supervisor *s, struct problem *p) {
    struct settings *set = s->heritage.settings;
    int err = take_signals(s);
    if (err) return problem_errno(p, EX_OSERR, err, "cannot take signals");
    raise_files_limit();
    if (resolve(s, p) < 0 || privileges_find(set, &s->who, p) < 0) return -1;
    if (pid_file_open(&s->pid_file, set->pid_file, p) < 0) return -1;
    if (sockets_open(&s->heritage.listeners, set, &s->who, p) < 0) return -1;
    return open_log(s, p);
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

int supervise(const struct supervised *what) {
    struct problem p;
    struct supervisor s = {.heritage = {.settings = what->settings,
                                        .source = what->source,
                                        .app = what->app,
                                        .app_path = what->app_path,
                                        .supervisor_pipe = -1,
                                        .supervisor = getpid()},
                           .pid_file = {.fd = -1},
                           .signals = -1,
                           .pipe = -1};
    if (prepare(&s, &p) < 0) {
        finish(&s, problem_print(&p));
    } else {
        fork_host(&s);
        while (!s.over) {
            int err = turn(&s);
            if (!err) continue;
            log_error("cannot wait for signals: %s", err_text(err));
            if (s.host) kill(s.host, SIGTERM);
            finish(&s, EX_OSERR);
        }
    }
    sockets_remove(&s.heritage.listeners);
    pid_file_close(&s.pid_file);
    log_close();
    fd_close(&s.pipe);
    fd_close(&s.signals);
    free(s.appdir);
    settings_free(s.heritage.settings);
    if (s.at_once) die_by(SIGINT);
    return s.code;
}
