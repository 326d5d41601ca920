/* The process that users know: it binds, forks the host that serves, passes signals on,
 * and forks another host when one dies, the sockets staying open in between so that
 * clients wait. It has one thread, runs no code of the app, and outlives every mistake
 * that a host can make.
 *
 * supervise returns when all is over. Before the first host is ready any failure is
 * final; afterwards none is: only a signal ends it. The thread that runs the
 * process. */
#ifndef PROCESS_SUPERVISOR_H
#define PROCESS_SUPERVISOR_H

#include "process/settings.h"

struct supervised {
    struct settings *settings; /* owned from now on */
    const struct settings_source *source;
    const char *app;      /* as given */
    const char *app_path; /* absolute; NULL when the settings have the apps */
};

/* The exit code of the program: 0 after a stop in which the host finished, else what
 * hindered it. A second INT ends the process by that signal. */
int supervise(const struct supervised *what);

#endif
