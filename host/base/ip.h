/* IPv4 addresses within IPv6 (RFC 4291 2.5.5.2), as sockets that take both have them:
 * "::ffff:192.0.2.7" is shown, compared and counted as 192.0.2.7.
 *
 * Any thread. */
#ifndef BASE_IP_H
#define BASE_IP_H

#include <string.h>

/* The four bytes of the one that those of an IPv6 address hold, or NULL. */
static inline const unsigned char *ip_v4_within(const void *v6) {
    static const unsigned char prefix[12] = {[10] = 0xff, [11] = 0xff};
    const unsigned char *at = v6;
    return memcmp(at, prefix, sizeof prefix) == 0 ? at + sizeof prefix : NULL;
}

#endif
