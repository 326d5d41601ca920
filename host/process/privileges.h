/* Becoming somebody else. Names are looked up before anything is bound, so that a wrong
 * one is told at once; the host's child then gives root up for good, and checks that it
 * did.
 *
 * Files that the host has to open again later (logs) and the sockets in the file system
 * are made over to it while the supervisor, which stays root, still can. The thread
 * that runs the process. */
#ifndef PROCESS_PRIVILEGES_H
#define PROCESS_PRIVILEGES_H

#include "process/settings.h"

#include <stdbool.h>
#include <sys/types.h>

struct identity {
    bool changes; /* false: stay who we are */
    uid_t uid;
    gid_t gid;
    char user[257]; /* for the other groups; "" when only the group changes */
};

/* What user and group ask for. EX_CONFIG for unknown names, EX_NOPERM when not root. */
int privileges_find(const struct settings *s, struct identity *who, struct problem *p);

/* Creates the log file unless it is there, owned by who. "stderr", "stdout" and "off"
 * are no files. 0 or a negative errno. */
int privileges_own_log(const char *path, const struct identity *who);

/* For good. 0, or -1 with the problem (EX_NOPERM); the process must then end. */
int privileges_drop(const struct identity *who, struct problem *p);

#endif
