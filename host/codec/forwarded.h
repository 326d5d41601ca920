/* What proxies write into a request about whom they have it from: Forwarded (RFC 7239),
 * and the lists of X-Forwarded-For and its kin. Each proxy adds its word at the end, so
 * lists are read from there, and what a stranger wrote in front, be it malformed,
 * changes nothing in how the rest is understood.
 *
 * Whom to believe is for others to say (http/client.h). Any thread. */
#ifndef CODEC_FORWARDED_H
#define CODEC_FORWARDED_H

#include "base/span.h"

#include <stdint.h>

/* Takes the last element that is not empty off a list separated by commas, which may
 * stand in quoted texts. False when there is none, or what is there cannot be told
 * apart; then the list is empty. */
bool forwarded_last(struct span *list, struct span *element);

/* An element of Forwarded, without the quotes around the values; empty where a
 * parameter is missing. False when it is malformed, or says something twice. */
struct forwarded_pairs {
    struct span client, scheme, host; /* for=, proto=, host= */
};
bool forwarded_pairs(struct span element, struct forwarded_pairs *out);

/* "192.0.2.1", "192.0.2.1:80", "2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:80". An
 * IPv4 address within IPv6 is one of IPv4. False for what is no address: "unknown", a
 * name that hides it, or nonsense. */
struct forwarded_node {
    bool v6;
    unsigned char address[16]; /* of IPv4 the first four */
    uint16_t port;             /* 0: not told */
};
bool forwarded_node(struct span text, struct forwarded_node *out);

/* "https", or wss as some say: *secure. False for what is neither http nor https. */
bool forwarded_scheme(struct span text, bool *secure);

#endif
