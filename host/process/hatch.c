#include "process/hatch.h"

#include "base/log.h"
#include "process/appdir.h"
#include "process/host.h"
#include "process/notify.h"
#include "process/sandbox.h"
#include "process/settings_apps.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

int hatch_log(const struct settings *set, const struct identity *who,
              struct problem *p) {
    const char *which = set->log;
    int err = privileges_own_log(set->log, who);
    if (!err) {
        which = set->access_log;
        err = privileges_own_log(set->access_log, who);
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

static void ignore(int number) {
    (void)number;
}

/* What is ignored by a function is not ignored in programs that are started. */
static void default_signals(void) {
    struct sigaction action = {.sa_handler = SIG_DFL};
    for (int signal = 1; signal < NSIG; signal++)
        if (signal != SIGKILL && signal != SIGSTOP) sigaction(signal, &action, NULL);
    action.sa_handler = ignore;
    action.sa_flags = SA_RESTART;
    sigaction(SIGPIPE, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGQUIT, &action, NULL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

_Noreturn void hatch(struct heritage *h, const struct identity *who) {
    struct problem p;
    /* 1. Privileges, before anything of the app is looked at. */
    if (privileges_drop(who, &p) < 0 || sandbox_privileges(h->settings, &p) < 0 ||
        sandbox_enter(h, &p) < 0) {
        log_error("%s", p.text);
        _exit(p.code);
    }
    /* 2. What the app starts is not to speak for the service. */
    notify_forget();
    /* 3. A supervisor that is killed takes us along. After 1, which undoes it; and it
     *    may have been killed already, so look. */
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != h->supervisor) _exit(EX_OSERR);
    /* 4. Signals last: from here on one of them may end us. */
    default_signals();
    exit(host_main(h));
}

int hatch_tried(const struct hatchling *what, struct problem *p) {
    const struct bequest *b = what->bequest;
    struct identity who;
    struct heritage h = {.settings = what->settings,
                         .source = what->source,
                         .app = what->app,
                         .app_path = what->app_path,
                         .listeners = b->listeners,
                         .supervisor_pipe = b->pipe,
                         .report = b->report,
                         .supervisor = b->supervisor,
                         .more = b->more,
                         .heartbeat = b->heartbeat};
    if (what->settings->app_count) {
        if (settings_apps_check(what->settings, p) < 0) return -1;
    } else {
        h.appdir = appdir_resolve(what->app_path, p);
        if (!h.appdir) return -1;
    }
    if (privileges_find(what->settings, &who, p) < 0) return -1;
    if (hatch_log(what->settings, &who, p) < 0) return -1;
    hatch(&h, &who);
}
