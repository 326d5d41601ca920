/* Another program file in place of the one that runs. The file is started first as a
 * host beside the running ones, on the same sockets (upgrade_try); only when it serves
 * does the supervisor execute the file itself (upgrade_exec), so that it keeps its
 * process id, its children, its pid file, and its place in systemd's eyes. Before that
 * moment whatever goes wrong costs a child that nobody needed.
 *
 * The path is that of the start, links not followed, so a link may be switched as well
 * as a file be replaced. The supervisor's thread. */
#ifndef PROCESS_UPGRADE_H
#define PROCESS_UPGRADE_H

#include "process/bequest.h"
#include "process/problem.h"

struct upgrade {
    char *program; /* absolute */
    char **argv;   /* of the start; borrowed */
};

/* 0, or -1 with the problem. */
int upgrade_init(struct upgrade *u, char **argv, struct problem *p);
void upgrade_done(struct upgrade *u);

/* Starts the file as a host: c's pid, pipe and report. 0 or a negative errno. */
int upgrade_try(const struct upgrade *u, const struct estate *e, struct process *c);

/* Does not return, but with a negative errno and everything as it was. */
int upgrade_exec(const struct upgrade *u, const struct estate *e);

#endif
