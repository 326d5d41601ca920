/* What a host may still do once it has what it needs: with the setting `sandbox` it
 * reads its apps, programs' libraries and the system's configuration, writes temporary
 * files, its logs and what `sandbox_write` names, and no more; it starts no program,
 * signals nobody else, and has none of the system calls that only debuggers,
 * containers and administrators need. The network stays open.
 *
 * Landlock does the first (what the kernel is too old for is said in one line of the
 * log), seccomp the last. For good, for this thread and those it starts: called before
 * the second thread. */
#ifndef PROCESS_SANDBOX_H
#define PROCESS_SANDBOX_H

#include "process/heritage.h"
#include "process/problem.h"

/* No program that is started from here gains privileges by being setuid or having
 * capabilities, unless the settings allow it. 0 or -1 with the problem. */
int sandbox_privileges(const struct settings *s, struct problem *p);

/* 0, also when the settings ask for none; -1 with the problem when a path is missing or
 * the kernel refuses. */
int sandbox_enter(const struct heritage *h, struct problem *p);

#endif
