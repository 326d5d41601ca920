#include "process/hosts.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "process/announce.h"
#include "process/appdir.h"
#include "process/hatch.h"
#include "process/jobs.h"
#include "process/settings_apps.h"
#include "process/sockets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const int64_t DELAY_MIN = CLOCK_SECOND / 10, DELAY_MAX = 5 * CLOCK_SECOND,
                     HEALTHY = 10 * CLOCK_SECOND, GRACE = 5 * CLOCK_SECOND;

/* Passed on to a host that is ready, and kept for one that is not yet. */
static const int forwarded[] = {SIGHUP, SIGUSR1, SIGTTIN, SIGTTOU};
enum {
    FORWARDED = sizeof forwarded / sizeof *forwarded,
    SIGNS = 4, /* of a host that turns, in the time in which one of ours is due */
    REPORT_MAX = 8192,
};

static void finish(struct hosts *h, int code) {
    h->over = true;
    h->code = code;
}

static struct estate estate_of(struct hosts *h) {
    return (struct estate){&h->heritage, &h->pid_file, &h->children};
}

static unsigned count_role(struct hosts *h, enum process_role role, bool ready) {
    unsigned n = 0;
    for (EACH_PROCESS(c, &h->children)) n += c->role == role && c->ready == ready;
    return n;
}

/* ---- what is told ---- */

static void tell(struct hosts *h, const char *lines, const char *doing) {
    announce_status(&h->notify, muster_of(&h->children), lines, doing);
}

static void reload_over(struct hosts *h, bool ok) {
    if (!h->reloading) return;
    if (!ok) h->reload_failed = true;
    for (EACH_PROCESS(c, &h->children))
        if (c->reloading) return;
    h->reloading = false;
    if (!h->stopping)
        tell(h, "READY=1\n",
             h->reload_failed ? "The last reload failed, see the log; " : "");
}

/* The watchdog hears of us as long as our hosts do not stand still. One that is being
 * started again is in our care. */
static void give_sign(struct hosts *h) {
    int64_t now = clock_ns(), period = h->notify.watchdog / 2;
    pid_t still = 0;
    h->sign_at = now + period;
    for (EACH_PROCESS(c, &h->children))
        if (c->role == PROCESS_SERVES && c->ready && c->turned_at < now - period &&
            !h->stopping)
            still = c->pid;
    if (!still)
        notify_send(&h->notify, NOTIFY_ALIVE);
    else if (!h->mute)
        log_error("host %ld stands still: systemd's watchdog is not told otherwise",
                  (long)still);
    h->mute = still != 0;
}

/* ---- settings ---- */

void hosts_refresh(struct hosts *h, bool log) {
    struct problem p;
    struct settings *fresh = settings_load(h->heritage.source, &p);
    if (fresh && settings_keep(fresh, h->heritage.settings, NULL) == 0) {
        settings_free(h->heritage.settings);
        h->heritage.settings = fresh;
        log_set_level((enum log_level)fresh->log_level);
        return;
    }
    if (!fresh && log) log_error("%s; the last good settings stay", p.text);
    settings_free(fresh);
}

int hosts_resolve(struct hosts *h, struct problem *p) {
    if (h->heritage.settings->app_count)
        return settings_apps_check(h->heritage.settings, p);
    char *dir = appdir_resolve(h->heritage.app_path, p);
    if (!dir) return -1;
    free(h->appdir);
    h->heritage.appdir = h->appdir = dir;
    return 0;
}

/* ---- a host's life ---- */

/* What is left of a host that is to finish by itself. */
static void dismiss(struct hosts *h, struct process *c) {
    const struct settings *set = h->heritage.settings;
    c->kill_at = clock_ns() + GRACE +
                 (int64_t)((set->drain_delay + set->drain_timeout) * CLOCK_SECOND);
    kill(c->pid, SIGTERM);
}

static void come_again(struct process *c) {
    c->fork_at = clock_ns() + c->delay;
    c->delay = c->delay == 0              ? DELAY_MIN
               : c->delay * 2 < DELAY_MAX ? c->delay * 2
                                          : DELAY_MAX;
}

/* Before the first hosts are ready a failure is final: the others end, too. */
static void give_up(struct hosts *h, int code) {
    h->code = code;
    h->stopping = true;
    for (EACH_PROCESS(c, &h->children)) {
        if (c->pid)
            dismiss(h, c);
        else
            process_free(c);
    }
    if (list_empty(&h->children)) finish(h, code);
}

static void fork_host(struct hosts *h, struct process *c) {
    struct problem p;
    int writing = -1;
    c->fork_at = 0;
    if (h->was_ready) {
        hosts_refresh(h, true);
        /* A directory that is gone is the host's to complain about. */
        if (hosts_resolve(h, &p) < 0) log_error("%s", p.text);
        h->heritage.restarts++;
    }
    bool lost = !h->heritage.appdir && !h->heritage.settings->app_count;
    int err = lost ? -ENOENT : process_connect(c, &writing);
    fflush(NULL); /* nothing is to be printed twice */
    pid_t pid = err ? -1 : fork();
    if (pid < 0 && !err) err = -errno;
    if (pid == 0) {
        h->heritage.report = fd_dup(c->report);
        h->heritage.supervisor_pipe = writing;
        /* What is the supervisor's alone. */
        pid_file_forget(&h->pid_file);
        fd_close(&h->signals);
        processes_forget(&h->children);
        hatch(&h->heritage, &h->who);
    }
    fd_close(&writing);
    if (!err) {
        c->pid = pid;
        return;
    }
    process_over(c);
    log_error("cannot fork a host: %s", err_text(err));
    if (h->was_ready)
        come_again(c);
    else
        give_up(h, EX_OSERR);
}

static void upgrade_if_ready(struct hosts *h);

static void host_ready(struct hosts *h, struct process *c, unsigned isolates) {
    if (c->ready) return;
    c->ready = true;
    c->isolates = isolates;
    c->ready_at = c->turned_at = clock_ns();
    for (int i = 0; i < FORWARDED; i++) process_signal_waiting(c, forwarded[i]);
    if (h->stopping) return;
    if (c->role == PROCESS_TRIED) {
        upgrade_if_ready(h);
    } else if (h->was_ready) {
        log_info("host restarted, pid %ld, %u isolates", (long)c->pid, isolates);
        tell(h, "", "");
    } else if (count_role(h, PROCESS_SERVES, false) == 0) {
        h->was_ready = true;
        announce(&h->heritage, muster_of(&h->children));
        tell(h, "READY=1\n", "");
        if (h->upgrade_waits) hosts_upgrade(h);
    }
}

void hosts_read(struct hosts *h, struct process *c) {
    struct notice m;
    while (process_read(c, &m)) {
        switch (m.kind) {
        case MESSAGE_READY: host_ready(h, c, m.number); break;
        case MESSAGE_RELOADED:
            c->reloading = false;
            reload_over(h, m.number != 0);
            break;
        case MESSAGE_TURNED: c->turned_at = clock_ns(); break;
        }
    }
}

/* ---- another program ---- */

static void upgrade_failed(struct hosts *h, const char *why) {
    h->upgrade_before = 0;
    log_lines(LEVEL_ERROR, SPAN(""), span_str(why));
    for (EACH_PROCESS(c, &h->children)) {
        if (c->role != PROCESS_TRIED) continue;
        c->role = PROCESS_LEAVES;
        if (c->ready) /* it has clients */
            dismiss(h, c);
        else
            kill(c->pid, SIGKILL);
    }
    tell(h, "", "The last upgrade failed, see the log; ");
}

static void cannot_upgrade(struct hosts *h, int err) {
    char why[400];
    snprintf(why, sizeof why, "upgrade failed, what runs goes on: %.200s: %s",
             h->upgrade.program, err_text(err));
    upgrade_failed(h, why);
}

void hosts_upgrade(struct hosts *h) {
    const struct settings *set = h->heritage.settings;
    struct estate e = estate_of(h);
    h->upgrade_waits = !h->was_ready;
    if (h->upgrade_waits || h->stopping) return;
    if (h->upgrade_before) {
        log_warn("SIGUSR2: an upgrade is under way already");
        return;
    }
    h->upgrade_before =
        clock_ns() + (int64_t)(set->upgrade_timeout * (double)CLOCK_SECOND);
    log_info("SIGUSR2: trying %s", h->upgrade.program);
    tell(h, "", "Upgrading; ");
    for (unsigned i = 0; i < set->processes; i++) {
        struct process *c = process_new(&h->children, PROCESS_TRIED);
        int err = c ? upgrade_try(&h->upgrade, &e, c) : -ENOMEM;
        if (!err) continue;
        if (c) process_free(c);
        cannot_upgrade(h, err);
        return;
    }
}

static void upgrade_if_ready(struct hosts *h) {
    if (!h->upgrade_before || count_role(h, PROCESS_TRIED, false)) return;
    struct estate e = estate_of(h);
    cannot_upgrade(h, upgrade_exec(&h->upgrade, &e));
}

/* ---- a host's death ---- */

static void tried_ended(struct hosts *h, const char *how, const char *report) {
    char why[REPORT_MAX + 200];
    if (!h->upgrade_before) return;
    snprintf(why, sizeof why, "upgrade failed, what runs goes on: the new host %s%s%s",
             how, *report ? "\n" : "", report);
    upgrade_failed(h, why);
}

static int code_of(const struct process *c, int status) {
    if (WIFEXITED(status)) return WEXITSTATUS(status);
    /* Our own signal, before there was anything to finish. */
    return WTERMSIG(status) == SIGTERM && !c->ready ? 0 : EX_SOFTWARE;
}

static void ended_while_stopping(struct hosts *h, struct process *c, int status,
                                 const char *how, const char *report) {
    char text[REPORT_MAX + 200];
    int code = code_of(c, status);
    if (WIFSIGNALED(status) && code && !h->at_once) {
        snprintf(text, sizeof text, "host %ld %s%s%s", (long)c->pid, how,
                 *report ? "\n" : "", report);
        log_lines(LEVEL_ERROR, SPAN(""), span_str(text));
    }
    if (code && !h->code) h->code = code;
    process_free(c);
    if (list_empty(&h->children)) finish(h, h->code);
}

static void ended_at_first(struct hosts *h, struct process *c, int status,
                           const char *how, const char *report) {
    /* With an exit code of its own it has said why. */
    int code = WIFEXITED(status) && WEXITSTATUS(status) ? WEXITSTATUS(status) : 0;
    if (!code)
        log_error("host %s before it was ready%s%s", how, *report ? ": " : "", report);
    process_free(c);
    give_up(h, code ? code : EX_SOFTWARE);
}

static void restart(struct hosts *h, struct process *c, pid_t pid, bool was_ready,
                    const char *how, const char *report) {
    char when[24] = "now", count[32] = "", text[REPORT_MAX + 200];
    if (was_ready && clock_ns() - c->ready_at >= HEALTHY) c->delay = 0;
    if (c->delay)
        snprintf(when, sizeof when, "in %.1f s", (double)c->delay / CLOCK_SECOND);
    if (h->heritage.restarts)
        snprintf(count, sizeof count, " (restart %u)", h->heritage.restarts + 1);
    snprintf(text, sizeof text, "host %ld %s; restarting %s%s%s%s", (long)pid, how,
             when, count, *report ? "\n" : "", report);
    log_lines(LEVEL_ERROR, SPAN(""), span_str(text));
    come_again(c);
}

static void host_ended(struct hosts *h, struct process *c, int status) {
    char how[64], report[REPORT_MAX];
    pid_t pid = c->pid;
    hosts_read(h, c); /* what it said last */
    process_death(status, how, sizeof how);
    process_report(c, report, sizeof report);
    bool was_ready = c->ready;
    if (h->stopping) {
        ended_while_stopping(h, c, status, how, report);
    } else if (c->role == PROCESS_TRIED) {
        process_free(c);
        tried_ended(h, how, report);
    } else if (c->role == PROCESS_LEAVES) {
        if (was_ready && status)
            log_error("host %ld, which was replaced, %s", (long)pid, how);
        process_free(c);
    } else if (!h->was_ready) {
        ended_at_first(h, c, status, how, report);
    } else {
        process_over(c);
        restart(h, c, pid, was_ready, how, report);
        reload_over(h, false);
    }
}

/* All children: as process 1 of a container we inherit others' orphans. */
void hosts_reap(struct hosts *h) {
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        for (EACH_PROCESS(c, &h->children))
            if (c->pid == pid) {
                host_ended(h, c, status);
                break;
            }
}

/* ---- what the supervisor asks for ---- */

static struct process *add_host(struct hosts *h) {
    struct process *c = process_new(&h->children, PROCESS_SERVES);
    if (c) return c;
    log_error("cannot fork a host: %s", err_text(-ENOMEM));
    give_up(h, EX_OSERR);
    return NULL;
}

static void watch(struct hosts *h) {
    h->heritage.heartbeat = h->notify.watchdog / (2 * SIGNS);
    if (h->notify.watchdog) h->sign_at = clock_ns() + h->notify.watchdog / 2;
}

void hosts_start(struct hosts *h) {
    watch(h);
    for (unsigned i = 0; i < h->heritage.settings->processes && !h->stopping; i++) {
        struct process *c = add_host(h);
        if (c) fork_host(h, c);
    }
}

void hosts_resume(struct hosts *h, struct bequest *b) {
    list_splice(&h->children, &b->children);
    watch(h);
    h->was_ready = true;
    h->heritage.restarts = b->restarts;
    h->heritage.more = b->more;
    for (EACH_PROCESS(c, &h->children)) {
        if (c->role == PROCESS_SERVES) {
            c->role = PROCESS_LEAVES;
            dismiss(h, c);
        } else if (c->role == PROCESS_TRIED) {
            c->role = PROCESS_SERVES;
        }
    }
    log_info("upgraded from atoll %s to %s", b->version, ATOLL_VERSION);
    tell(h, "READY=1\n", "");
    hosts_reap(h);
}

/* What a host that is started later is to know; a running one hears of it by itself,
 * and decides in the same way. */
static void resize(struct hosts *h, bool more) {
    const struct settings *s = h->heritage.settings;
    int64_t isolates = (int64_t)s->isolates + h->heritage.more;
    if (s->app_count) return;
    if (more && isolates < WORKERS_MAX) h->heritage.more++;
    if (!more && isolates > 1 && !s->reuseport) h->heritage.more--;
}

void hosts_signal(struct hosts *h, int signal) {
    if (signal == SIGTTIN || signal == SIGTTOU) resize(h, signal == SIGTTIN);
    if (signal == SIGHUP && !h->stopping) {
        hosts_refresh(h, false);
        h->reloading = true;
        h->reload_failed = false;
        notify_reloading(&h->notify);
    }
    for (EACH_PROCESS(c, &h->children)) {
        if (c->role == PROCESS_LEAVES && signal != SIGUSR1) continue;
        if (c->pid) {
            process_signal(c, signal);
            if (signal == SIGHUP) c->reloading = h->reloading && c->ready;
        } else if (c->fork_at && signal == SIGHUP) {
            c->fork_at = clock_ns(); /* what was broken may be mended */
        }
    }
    if (signal == SIGHUP) reload_over(h, true);
}

void hosts_stop(struct hosts *h) {
    h->stopping = true;
    h->upgrade_before = 0;
    notify_send(&h->notify, "STOPPING=1\nSTATUS=Stopping");
    for (EACH_PROCESS(c, &h->children)) {
        if (!c->pid)
            process_free(c);
        else if (c->role != PROCESS_LEAVES)
            dismiss(h, c);
    }
    if (list_empty(&h->children)) finish(h, 0);
}

void hosts_kill(struct hosts *h) {
    h->at_once = true;
    for (EACH_PROCESS(c, &h->children))
        if (c->pid) kill(c->pid, SIGKILL);
}

/* ---- time ---- */

static void too_late(struct hosts *h) {
    char why[160];
    snprintf(why, sizeof why,
             "upgrade failed, what runs goes on: the new host did not serve within "
             "%.10g s",
             h->heritage.settings->upgrade_timeout);
    upgrade_failed(h, why);
}

void hosts_timers(struct hosts *h) {
    int64_t now = clock_ns();
    if (h->upgrade_before && now >= h->upgrade_before) too_late(h);
    if (h->sign_at && now >= h->sign_at) give_sign(h);
    for (EACH_PROCESS(c, &h->children)) {
        if (c->kill_at && now >= c->kill_at) {
            log_error("host %ld did not stop in time; killing it", (long)c->pid);
            c->kill_at = 0;
            kill(c->pid, SIGKILL);
        }
        if (c->fork_at && now >= c->fork_at) fork_host(h, c);
    }
}

static void sooner(int64_t *next, int64_t at) {
    if (at && (!*next || at < *next)) *next = at;
}

int64_t hosts_next(const struct hosts *h) {
    int64_t next = h->sign_at;
    sooner(&next, h->upgrade_before);
    for (EACH_PROCESS(c, &h->children)) {
        sooner(&next, c->kill_at);
        sooner(&next, c->fork_at);
    }
    return next;
}
