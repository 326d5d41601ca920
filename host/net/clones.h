/* The listening sockets of a process's programs, by address: whoever listens where
 * somebody else of the process does already gets a clone of that one's socket, so that
 * the same program may run in several isolates, and the new code of an app beside the
 * old one.
 *
 * A holder has each socket only once: if it listens twice at one address the second
 * time fails, as ever, or with port 0 makes another socket, which others may find in
 * the same order. Any thread. */
#ifndef NET_CLONES_H
#define NET_CLONES_H

#include "base/list.h"
#include "net/addr.h"

#include <pthread.h>

struct clones {
    pthread_mutex_t lock;
    struct link sockets;
};

void clones_init(struct clones *c);
void clones_done(struct clones *c); /* all are closed */

struct clone_options {
    bool reuseport; /* a socket of its own */
    bool nodelay;   /* for its connections */
    int backlog;
};

struct clone;

/* c may be NULL: then nobody else will find it. 0 or a negative errno. */
int clone_listen(struct clones *c, const struct addr *a, const struct clone_options *o,
                 const void *holder, struct clone **out);

/* One more of the same socket, whoever holds it already. 0 or a negative errno. */
int clone_again(struct clone *c, const void *holder, struct clone **out);

/* It has gone to another holder. */
void clone_give(struct clone *c, const void *holder);

/* Non-blocking, close-on-exec; the clone's. */
int clone_fd(const struct clone *c);

/* With the real port. */
const struct addr *clone_addr(const struct clone *c);

/* Closes it; with the last of its socket the file of a unix address goes. */
void clone_close(struct clone *c);

#endif
