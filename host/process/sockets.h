/* The listening sockets: bound by the supervisor before the host is forked, and kept by
 * it, so that a host that dies leaves clients waiting in the queue of the kernel and
 * not refused.
 *
 * A unix socket's file of somebody who listens no more is replaced; the file is made
 * with mode 0660, owned by the user that the host becomes, and removed by whoever bound
 * it. All or none are open. The thread that runs the process. */
#ifndef PROCESS_SOCKETS_H
#define PROCESS_SOCKETS_H

#include "process/heritage.h"
#include "process/privileges.h"

/* Adds to all, which is empty. EX_NOPERM or EX_UNAVAILABLE with a text that names the
 * address. */
int sockets_open(struct listeners *all, const struct settings *s,
                 const struct identity *who, struct problem *p);

/* Closes the descriptors; the addresses stay known. */
void sockets_close(struct listeners *all);

/* Removes the files of unix sockets that are still ours, closes, frees. */
void sockets_remove(struct listeners *all);

#endif
