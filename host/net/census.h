/* How many connections each client's address has, so that one client cannot have all:
 * IPv4 addresses count one by one, IPv6 ones by their /64, which is what one customer
 * is given. Those of unix sockets are not counted.
 *
 * Who is let in gets a guest, which its stream keeps until it is closed, wherever it
 * goes meanwhile. The addresses are hashed under a secret key. Any thread. */
#ifndef NET_CENSUS_H
#define NET_CENSUS_H

#include <stdbool.h>
#include <sys/socket.h>

struct census;
struct guest;

/* NULL without memory. */
struct census *census_new(void);

/* No guest is left. */
void census_free(struct census *c);

/* False when the address has `most` connections already. Else *out is the guest; NULL
 * when it is not counted, for want of memory or of an address. */
bool census_enter(struct census *c, const struct sockaddr_storage *peer, unsigned most,
                  struct guest **out);

/* One connection less; NULL is none. */
void guest_leave(struct guest *g);

#endif
