/* Names to addresses by c-ares: hosts file, search domains, both families, and the
 * system's servers, without ever blocking the loop. One resolver per loop, made when it
 * is first asked, with a small cache of what it has been told. Literal addresses and
 * `localhost` answer at once.
 *
 * A query belongs to its caller and calls back once, from the loop and never from
 * inside resolve_start, unless it was cancelled. The loop's thread; resolve_now any. */
#ifndef NET_RESOLVE_H
#define NET_RESOLVE_H

#include "net/addr.h"
#include "net/loop.h"

enum { RESOLVE_MAX = 16 };

struct resolver;

struct resolve_query {
    struct link link; /* of the lookup that it waits for, or of those that are done */
    struct resolver *resolver;
    uint16_t port; /* for the addresses, in host order */
    unsigned count;
    struct addr list[RESOLVE_MAX]; /* in the order to try them */
    char why[ADDR_WHY];            /* a sentence, when it failed */
    /* err is 0 with count addresses, at least 1; or negative: ERR_NOT_FOUND no such
       name, -ETIMEDOUT no server has answered, -ENOMEM. */
    void (*done)(struct resolve_query *q, int err);
};

/* NULL without memory. Freed after its last query has ended or was cancelled. */
struct resolver *resolver_new(struct loop *l);
void resolver_free(struct resolver *r);

/* family AF_UNSPEC, AF_INET or AF_INET6; name without brackets, a scope allowed
 * ("fe80::1%eth0"). done and the caller's own fields are set before. 0, or a negative
 * errno: then done is not called. */
int resolve_start(struct resolver *r, struct resolve_query *q, const char *name,
                  int family, uint16_t port);
void resolve_cancel(struct resolve_query *q);

/* The same with getaddrinfo(3), waiting. */
int resolve_now(struct resolve_query *q, const char *name, int family, uint16_t port);

#endif
