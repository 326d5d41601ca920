/* SipHash-2-4 (Aumasson and Bernstein, 2012): a hash of bytes under a secret key, for
 * tables whose keys come from strangers. Who does not know the key cannot find keys
 * that fall into one bucket.
 *
 * Pure. Any thread. */
#ifndef BASE_SIPHASH_H
#define BASE_SIPHASH_H

#include "base/span.h"

#include <stdint.h>

struct siphash_key {
    uint64_t k0, k1;
};

uint64_t siphash(const struct siphash_key *key, struct span bytes);

#endif
