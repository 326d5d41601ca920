/* A channel of c-ares on a loop: which servers to ask, what to do when they are silent,
 * and the sockets and the timer that this takes. c-ares reads /etc/resolv.conf once,
 * when the channel is made, so a channel ages when that file changes; it cannot take
 * back one question, so whoever asked gets an answer, at the latest from dns_free.
 *
 * resolve.h makes one when a name must really be asked for, and a new one when that is
 * aged. The loop's thread. */
#ifndef NET_DNS_H
#define NET_DNS_H

#include "net/addr.h"
#include "net/loop.h"

#include <ares.h>

enum { DNS_SERVERS = 8 };

/* Zeroes mean what the system says. */
struct dns_options {
    unsigned count;
    struct addr servers[DNS_SERVERS]; /* in place of /etc/resolv.conf's */
    int64_t patience; /* ns until a silent server is asked again, twice, and twice as
                         long each time */
};

struct dns;

/* NULL with *err. */
struct dns *dns_new(struct loop *l, const struct dns_options *o, int *err);

/* Whoever has asked and waits is answered with ARES_EDESTRUCTION. */
void dns_free(struct dns *d);

/* Freed at the end of a turn, once all that was asked has been answered. */
void dns_leave(struct dns *d);

/* Whether /etc/resolv.conf has changed since; false when it was not asked for. */
bool dns_is_aged(const struct dns *d);

/* answered is called once, perhaps before this returns, with a list that it frees with
 * ares_freeaddrinfo (NULL for an error); it must call dns_answered, and no other
 * function of this room. */
void dns_ask(struct dns *d, const char *name, int family,
             ares_addrinfo_callback answered, void *data);
void dns_answered(struct dns *d);

#endif
