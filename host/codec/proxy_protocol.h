/* The header of the PROXY protocol (haproxy's proxy-protocol.txt), versions 1 and 2: in
 * front of all else on a connection a proxy says for whom it has opened it. Nothing is
 * guessed: bytes that are no such header, to the letter, are refused as soon as they
 * cannot become one any more.
 *
 * Read from whatever has come so far, again from its first byte when more has, until it
 * is whole; what the spans point to is in those bytes. A header is at most
 * PROXY_HEADER_MAX bytes. Any thread. */
#ifndef CODEC_PROXY_PROTOCOL_H
#define CODEC_PROXY_PROTOCOL_H

#include "base/span.h"

#include <stdint.h>

/* Version 2 allows 64 KiB, for what nobody sends: a certificate's names are the most.
 */
enum { PROXY_V1_MAX = 107, PROXY_HEADER_MAX = 4096 };

enum proxy_family {
    PROXY_NOBODY, /* the connection is the proxy's own, or it does not know whose */
    PROXY_IPV4,   /* the first four bytes of an address */
    PROXY_IPV6,
    PROXY_UNIX,
};

struct proxy_header {
    unsigned version; /* 1 or 2 */
    bool local;       /* said to be the proxy's own, such as a health check */
    enum proxy_family family;
    unsigned char source[16], target[16];
    uint16_t source_port, target_port;
    struct span source_path, target_path; /* of unix sockets */

    /* What version 2 may tell besides; empty when it does not. */
    struct span alpn, authority, unique_id;
    bool secure; /* the client came over TLS */
    struct span tls_version;
    struct span tls_name; /* of the client's certificate (CN), if it was verified */
};

enum proxy_result { PROXY_MORE, PROXY_DONE, PROXY_BAD };

/* PROXY_DONE with *used, the bytes of the header, and *h; PROXY_MORE: as yet it is the
 * beginning of one; PROXY_BAD with a sentence in *why (static). */
enum proxy_result proxy_read(const char *at, size_t n, struct proxy_header *h,
                             size_t *used, const char **why);

#endif
