/* Bytes sealed for somebody who must neither read nor change them, such as a browser
 * that keeps a session: AES-256-GCM, each message under a key of its own that HKDF
 * (RFC 5869, SHA-256) makes of the secret and 16 random bytes, so that no nonce is used
 * twice with a key, however many are sealed. By OpenSSL.
 *
 * A sealed message is a version byte, those 16 bytes, as many bytes as were sealed, and
 * 16 that prove them; the context, what it is for, is proved with it. Any thread. */
#ifndef NET_SEAL_H
#define NET_SEAL_H

#include "base/span.h"

enum { SEAL_OVERHEAD = 1 + 16 + 16 };

/* Fills out with bytes that nobody can guess. 0 or a negative errno. */
int seal_random(unsigned char *out, size_t n);

/* Writes bytes.len + SEAL_OVERHEAD to out. 0; a negative errno; -EOPNOTSUPP when
 * OpenSSL cannot be loaded or refuses. */
int seal(struct span secret, struct span context, struct span bytes,
         unsigned char *out);

/* Writes sealed.len - SEAL_OVERHEAD bytes to out; ERR_SYNTAX when it is none of ours,
 * or of another secret or context: then out means nothing. */
int seal_open(struct span secret, struct span context, struct span sealed,
              unsigned char *out);

/* Whether they are the same, in a time that tells only of their lengths. */
bool seal_equal(struct span a, struct span b);

#endif
