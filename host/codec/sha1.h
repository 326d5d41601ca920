/* SHA-1 (FIPS 180-4 6.1) for what a protocol demands it for, such as a WebSocket's
 * handshake, so that a server of these need not load OpenSSL. Nothing to sign or to
 * hide anything with: for that there is net/digest.
 *
 * Pure. Any thread. */
#ifndef CODEC_SHA1_H
#define CODEC_SHA1_H

#include "base/span.h"

enum { SHA1_LEN = 20 };

void sha1_of(struct span bytes, unsigned char out[SHA1_LEN]);

#endif
