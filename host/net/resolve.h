/* Names to addresses by c-ares: hosts file, search domains, both families, and the
 * system's servers or given ones, without ever blocking the loop. One resolver per
 * loop, with a small cache of what it has been told; whoever asks for a name that is
 * already being asked for waits for the same answer. Literal addresses take no question
 * at all.
 *
 * A query belongs to its caller and calls back once, from the loop and never from
 * inside resolve_start, unless it was cancelled. An answer is kept for as long as its
 * servers say, but from 1 s to 5 min; that there is none for 1 s; that nobody knows not
 * at all. The loop's thread; resolve_now any. */
#ifndef NET_RESOLVE_H
#define NET_RESOLVE_H

#include "net/addr.h"
#include "net/dns.h"
#include "net/loop.h"

enum { RESOLVE_MAX = 16, RESOLVE_CACHED = 256 };

struct resolver;

struct resolve_query {
    struct link link; /* of the name that it waits for, or of those that are done */
    struct resolver *resolver;
    uint16_t port; /* for the addresses, in host order */
    int err;
    unsigned count;
    struct addr list[RESOLVE_MAX]; /* in the order to try them (RFC 6724) */
    const char *why;               /* when it failed a sentence; static storage */
    /* err is 0 with count addresses, at least 1; or negative: ERR_NOT_FOUND no such
       name, or it has no such address; -ETIMEDOUT no server has answered; ERR_NAMES the
       servers answer, but not this; -ENOMEM. */
    void (*done)(struct resolve_query *q, int err);
};

/* o may be NULL. NULL without memory. */
struct resolver *resolver_new(struct loop *l, const struct dns_options *o);

/* Queries under way never call back; cancelling them later does no harm. Not from
 * inside a query's done. */
void resolver_free(struct resolver *r);

/* Other servers, where they are others, for what is asked from now on. */
void resolver_set(struct resolver *r, const struct dns_options *o);

/* Answers, if that takes no question: an address, a name that nobody can have, or (r
 * may be NULL) one in the cache. Then q's err, count, list and why are set; q's done is
 * not called. family is AF_UNSPEC, AF_INET or AF_INET6; name without brackets, a scope
 * allowed ("fe80::1%eth0"). */
bool resolve_at_once(struct resolver *r, struct resolve_query *q, const char *name,
                     int family, uint16_t port);

/* Asks. done and the caller's own fields are set before. 0, or a negative errno: then
 * done is not called. */
int resolve_start(struct resolver *r, struct resolve_query *q, const char *name,
                  int family, uint16_t port);

/* At any time, also when it is done; done is not called after this. */
void resolve_cancel(struct resolve_query *q);

/* The same where there is no loop, waiting until the monotonic time deadline (ns; 0 for
 * none): returns q's err. q's done is not called. */
int resolve_now(const struct dns_options *o, struct resolve_query *q, const char *name,
                int family, uint16_t port, int64_t deadline);

#endif
