/* Sockets that whoever started the program has opened for it (sd_listen_fds(3)): named
 * by LISTEN_FDS in the environment, meant for the process LISTEN_PID, numbered from 3
 * on. With them nothing is bound.
 *
 * One that is named "proxy" is as if listened on with that word: for proxies alone.
 * Each must be a listening stream socket, or the start fails with a sentence that names
 * it. The variables are removed, so that nobody takes the sockets twice. The
 * supervisor's thread. */
#ifndef PROCESS_ACTIVATION_H
#define PROCESS_ACTIVATION_H

#include "process/heritage.h"
#include "process/problem.h"

/* 0, all being empty when none was passed; or -1 with the problem (EX_CONFIG). */
int activation_take(struct listeners *all, struct problem *p);

#endif
