/* The process that users know: it binds, forks the hosts that serve, passes signals on,
 * and forks another host when one dies, the sockets staying open in between so that
 * clients wait. It has one thread, runs no code of the app, and outlives every mistake
 * that a host can make. At USR2 it becomes another program (upgrade.h).
 *
 * supervise returns when all is over. Before the first hosts are ready any failure is
 * final; afterwards none is: only a signal ends it. The thread that runs the
 * process. */
#ifndef PROCESS_SUPERVISOR_H
#define PROCESS_SUPERVISOR_H

#include "process/bequest.h"
#include "process/settings.h"

struct supervised {
    struct settings *settings; /* owned from now on */
    const struct settings_source *source;
    const char *app;         /* as given */
    const char *app_path;    /* absolute; NULL when the settings have the apps */
    char **argv;             /* of the program */
    struct bequest *bequest; /* role SUPERVISOR: go on with what is in it */
};

/* The exit code of the program: 0 after a stop in which all hosts finished, else what
 * hindered them. A second INT ends the process by that signal. */
int supervise(const struct supervised *what);

#endif
