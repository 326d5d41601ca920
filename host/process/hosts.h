/* The hosts of a supervisor from the first fork to the last death: one or several that
 * serve side by side are started, started again when they die, asked to reload,
 * replaced by those of another program file, and stopped.
 *
 * Every decision about them is here; what comes from outside, signals, pipes and time,
 * the supervisor brings. The supervisor's thread. */
#ifndef PROCESS_HOSTS_H
#define PROCESS_HOSTS_H

#include "process/notify.h"
#include "process/pid_file.h"
#include "process/privileges.h"
#include "process/processes.h"
#include "process/upgrade.h"

struct hosts {
    struct heritage heritage;
    struct identity who;
    struct notify notify;
    struct upgrade upgrade;
    struct pid_file pid_file;
    int signals;            /* the supervisor's; -1 */
    char *appdir;           /* the heritage's, owned */
    struct link children;   /* struct process */
    bool was_ready;         /* all have been, once */
    bool reloading;         /* systemd waits for the end of a reload */
    bool reload_failed;     /* in one of the hosts */
    bool upgrade_waits;     /* until the first are ready */
    int64_t upgrade_before; /* when patience with what is tried ends; 0: with nothing */
    int64_t sign_at;        /* when to give systemd's watchdog a sign of life; or 0 */
    bool mute;              /* it got none the last time */
    bool stopping, at_once;
    bool over; /* none is left, and none is to come */
    int code;  /* the program's exit code, then */
};

/* Takes what the file says now, unless it is wrong, which is logged if asked. */
void hosts_refresh(struct hosts *h, bool log);

/* The app's directory, which may be a link that has been switched, or the apps'. */
int hosts_resolve(struct hosts *h, struct problem *p);

/* Forks the first. */
void hosts_start(struct hosts *h);

/* Goes on with those of the program that was before this one in this process. */
void hosts_resume(struct hosts *h, struct bequest *b);

/* What the child has said; what has ended; what it is time for. */
void hosts_read(struct hosts *h, struct process *c);
void hosts_reap(struct hosts *h);
void hosts_timers(struct hosts *h);

/* When hosts_timers is to be called; 0 for never. */
int64_t hosts_next(const struct hosts *h);

/* HUP, USR1, TTIN and TTOU for all of them. */
void hosts_signal(struct hosts *h, int signal);

void hosts_upgrade(struct hosts *h);

void hosts_stop(struct hosts *h);
void hosts_kill(struct hosts *h);

#endif
