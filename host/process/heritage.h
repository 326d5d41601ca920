/* All that crosses from the supervisor to the host: by fork, or by exec (bequest.h)
 * when a running host is to be replaced by another program. What is not in here the
 * host does not get; of descriptors, only these and the log's are open in host_main.
 *
 * The supervisor fills it in before the first fork and changes it only between forks;
 * the child owns its copy. The other way goes one pipe with messages. The thread that
 * runs the process, of either side. */
#ifndef PROCESS_HERITAGE_H
#define PROCESS_HERITAGE_H

#include "net/bind.h"
#include "process/settings.h"

#include <signal.h>
#include <stdint.h>
#include <sys/types.h>

struct listener {
    struct addr addr;      /* with the real port */
    char text[ADDR_TEXT];  /* of addr; names the listener in the log */
    int *fds;              /* listening, non-blocking, close-on-exec */
    size_t count;          /* of fds: 1, or with reuseport one for each isolate */
    struct bind_file file; /* of a unix socket */
    bool proxy;            /* for proxies, which begin with a PROXY header */
};

struct listeners {
    struct listener *at;
    size_t count;
};

struct heritage {
    struct settings *settings;            /* in force when the host starts */
    const struct settings_source *source; /* to load them again */
    const char *app;                      /* as the user gave it, for messages; this
                                             and what follows NULL with several apps */
    const char *app_path; /* absolute, symlinks as they are: appdir_resolve it anew
                             for each reload, so that a switched symlink counts */
    const char *appdir;   /* app_path resolved before this fork */
    struct listeners listeners;
    int supervisor_pipe; /* write end; heritage_say */
    int report;          /* where a crash is described; -1 for nowhere */
    pid_t supervisor;    /* whose process id users know */
    unsigned restarts;   /* 0 for the first host */
    int more; /* isolates than the settings say, by TTIN and TTOU; of one app */
    int64_t heartbeat; /* ns; how often to say that all isolates turn; 0 for never */
};

/* TTIN and TTOU on their way to a host: unlike those they are queued, so that several
 * count as several. */
#define HERITAGE_MORE (SIGRTMIN + 1)
#define HERITAGE_LESS (SIGRTMIN + 2)

enum message_kind {
    MESSAGE_READY = 1, /* all isolates accept; number: how many isolates */
    MESSAGE_RELOADED,  /* no reload is under way any more; number: 0 when the last one
                          failed */
    MESSAGE_TURNED,    /* all isolates have turned since this was last said */
};

struct notice {
    uint32_t kind, number;
};

/* The host tells its supervisor; 0 or a negative errno. Never waits. */
int heritage_say(const struct heritage *h, enum message_kind kind, unsigned number);

#endif
