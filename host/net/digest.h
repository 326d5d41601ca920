/* Digests of bytes, and HMAC with them (RFC 2104), by OpenSSL.
 *
 * Not for passwords. Any thread. */
#ifndef NET_DIGEST_H
#define NET_DIGEST_H

#include "base/span.h"

enum digest { DIGEST_MD5, DIGEST_SHA1, DIGEST_SHA256, DIGEST_SHA512 };

enum { DIGEST_MAX = 64 };

/* The bytes that were written to out; 0 when OpenSSL refuses that digest here. */
size_t digest_of(enum digest d, struct span bytes, unsigned char out[DIGEST_MAX]);
size_t digest_hmac(enum digest d, struct span key, struct span bytes,
                   unsigned char out[DIGEST_MAX]);

#endif
