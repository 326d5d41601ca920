/* The verbs that need no supervisor: each does its work in this process and returns the
 * exit code.
 *
 * main has parsed the command line and loaded the settings; appdir is resolved and is
 * an app directory. The log goes to stderr. The thread that runs the process. */
#ifndef PROCESS_VERBS_H
#define PROCESS_VERBS_H

#include "process/settings.h"

/* app: of several, else NULL; settings are its own then. */
int verb_check(const struct settings *settings, const struct settings_app *app,
               const char *appdir);

int verb_routes(const struct settings *settings, const struct settings_app *app,
                const char *appdir);

/* argv holds what stands behind the script, and ends in NULL. */
int verb_run(const struct settings *settings, const char *script, int argc,
             char **argv);

/* argv: busted's arguments, ending in NULL. */
int verb_test(const struct settings *settings, int argc, char **argv);

#endif
