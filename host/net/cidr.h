/* Networks as people write them: "10.0.0.0/8", "fd00::/8", a single "192.0.2.7", and
 * "unix:" for whoever comes through a unix socket. A list of them answers whether an
 * address is in one; an IPv4 address is the same within IPv6, as sockets that take both
 * have it.
 *
 * Plain memory, to be copied and kept; at most CIDRS_MAX networks. Any thread. */
#ifndef NET_CIDR_H
#define NET_CIDR_H

#include "net/addr.h"

enum { CIDRS_MAX = 256 };

struct cidr {
    unsigned char address[16]; /* of IPv4 the first four */
    uint8_t bits;
    bool v6;
};

struct cidr_list {
    bool any; /* it is not empty */
    bool local;
    uint16_t count;
    struct cidr at[CIDRS_MAX];
};

/* Adds what text stands for. 0; -EINVAL with a sentence in why that says what to write
 * instead; -ENOSPC when the list is full. */
int cidr_add(struct cidr_list *list, const char *text, char why[ADDR_WHY]);

/* Whether the address, of 4 or 16 bytes as AF_INET and AF_INET6 have it, is in the
 * list; of AF_UNIX nothing is looked at. */
bool cidr_has(const struct cidr_list *list, int family, const void *address);

/* The same of a socket's address. */
bool cidr_has_peer(const struct cidr_list *list, const struct sockaddr_storage *peer);

#endif
