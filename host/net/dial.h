/* Connecting to whichever of several addresses answers first (RFC 8305): the next one
 * is tried when the last has failed, or has not answered for 250 ms; the first success
 * wins and the others are given up.
 *
 * One descriptor comes out, or the error that says most. Giving up is dial_free, at any
 * time; a time limit is its owner's. The loop's thread; dial_now any. */
#ifndef NET_DIAL_H
#define NET_DIAL_H

#include "net/addr.h"
#include "net/loop.h"

struct dial;

enum { DIAL_MAX = 16 };

/* The addresses are borrowed until it is done. */
struct dial_plan {
    const struct addr *list; /* in the order to try them */
    unsigned count;          /* 1 to DIAL_MAX */
    const struct addr *from; /* the local address, or NULL */
    bool nodelay;
};

/* A connected, non-blocking descriptor if there is one at once, or a negative errno;
 * -EINPROGRESS means that *out has begun: done is called once, from the loop, with
 * either, unless it is freed before. */
int dial_start(struct dial **out, struct loop *l, const struct dial_plan *plan,
               void (*done)(struct dial *d, int fd), void *user);
void *dial_user(const struct dial *d);

/* Gives up what is not done; also from inside done. NULL does no harm. */
void dial_free(struct dial *d);

/* The same, waiting with poll(2) until the monotonic time deadline (ns; 0: none). */
int dial_now(const struct dial_plan *plan, int64_t deadline);

#endif
