/* The process that serves: its isolates, signals, reloads and its end.
 *
 * The supervisor forks and calls host_main in the child, which exits with what it
 * returns. At that point there is one thread; the log is open but not started (it has
 * no writer thread); privileges are dropped; no signal is blocked; all have their
 * default action, but PIPE, INT and QUIT are ignored. The supervisor sends TERM for
 * "finish and stop" (whatever it got itself, so that a terminal's INT, which reaches
 * both, counts once), also when the supervisor itself has died; and HUP, USR1, TTIN and
 * TTOU, but not before MESSAGE_READY: those that came earlier follow it. */
#ifndef PROCESS_HOST_H
#define PROCESS_HOST_H

#include "process/heritage.h"

/* Serves until it is told to stop; returns the exit code: 0 after TERM, EX_CONFIG for
 * an app that does not load (logged already), EX_SOFTWARE for what should not be. */
int host_main(struct heritage *h);

#endif
