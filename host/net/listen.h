/* A loop's clone of a listening socket: tells when connections wait, accepts them one
 * at a time, and backs off when descriptors have run out, so that the loop does not
 * spin over what it cannot take; it goes on as soon as a stream of the loop is closed.
 * One descriptor is kept in reserve for telling a client so: one in a back-off, and
 * while nobody could be accepted meanwhile, twice as many in each as in the one before.
 *
 * Whoever listens decides how many to take; after a pause or a back-off `acceptable` is
 * called again as long as something waits. The loop's thread. */
#ifndef NET_LISTEN_H
#define NET_LISTEN_H

#include "net/loop.h"

#include <sys/socket.h>

/* Trouble is told when it begins, and when it is over; the same not twice in ten
 * seconds: who fills it to the brim again and again is not to fill the log. */
struct trouble {
    bool told;
    int64_t tell_after; /* ns */
};

/* It is there, or is over; whether that is to be told. */
bool trouble_begins(struct trouble *t, int64_t now);
bool trouble_ends(struct trouble *t);

struct acceptor {
    ev_io io;
    struct loop *loop;
    void (*acceptable)(struct acceptor *l);
    void *user;
    struct timer backoff;
    struct hungry hungry;
    struct deferred exclusive;
    bool want_exclusive, paused;
    bool proxy; /* the user's: who connects is a proxy */
    unsigned tries;
    struct trouble trouble;
    int spare;
    unsigned away;        /* to be told next time */
    int64_t away_after;   /* which is not before, ns */
    struct span farewell; /* sent to those who are turned away; static storage */
};

/* Clones fd (close-on-exec). 0 or a negative errno. */
int acceptor_init(struct acceptor *l, struct loop *loop, int fd,
                  void (*acceptable)(struct acceptor *l), void *user);
void acceptor_done(struct acceptor *l);

/* Connections inherit it (TCP_USER_TIMEOUT): one that is sent to, and whose kernel
 * neither acknowledges nor makes room for so long, is over. ns; 0: as the system has
 * it. */
void acceptor_patience(struct acceptor *l, int64_t ns);

/* Starts watching; exclusive: woken alone among the loops that watch clones of one
 * socket, as far as the kernel lets it. */
void acceptor_start(struct acceptor *l, bool exclusive);

/* Takes one connection: a non-blocking, close-on-exec descriptor, with the peer's
 * address in *peer; -EAGAIN when none waits; another negative errno when it failed.
 * -EMFILE and its like have started a back-off of 0.1 s. */
int acceptor_accept(struct acceptor *l, struct sockaddr_storage *peer);

/* Stops and resumes watching, keeping the socket open. */
void acceptor_pause(struct acceptor *l, int64_t ns);

/* Ends a pause in the next turn. */
void acceptor_resume(struct acceptor *l);

#endif
