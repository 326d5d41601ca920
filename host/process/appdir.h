/* An app directory: one that has app.lua, routes/ or public/.
 *
 * Users' paths are made absolute at the start, so that nothing depends on the working
 * directory later, and are resolved anew for each host and each reload, so that a
 * symlink `current -> releases/42` may be switched. Any thread. */
#ifndef PROCESS_APPDIR_H
#define PROCESS_APPDIR_H

#include "process/problem.h"

/* path behind the working directory, unless it is absolute; allocated, or NULL with the
 * problem. */
char *path_absolute(const char *path, struct problem *p);

/* The real path of an app directory, allocated; or NULL with the problem: EX_NOINPUT
 * when it is none, EX_NOPERM when it may not be looked at. */
char *appdir_resolve(const char *path, struct problem *p);

#endif
