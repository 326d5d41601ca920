/* scrypt (RFC 7914), which makes a key of a password slowly and with much memory, so
 * that guessing costs others as much. By OpenSSL.
 *
 * It takes a tenth of a second and 32 MB, say: on a thread that may wait. */
#ifndef NET_SCRYPT_H
#define NET_SCRYPT_H

#include "base/span.h"

#include <stdint.h>

struct scrypt_cost {
    uint32_t log_n, r, p; /* 128 * r * 2^log_n bytes; p times */
};

enum { SCRYPT_MEMORY_MAX = 256 * 1024 * 1024, SCRYPT_ROUNDS_MAX = 64 };

/* Whether the cost is one that scrypt has, within these bounds. */
bool scrypt_possible(const struct scrypt_cost *cost);

/* 0; -EOPNOTSUPP when OpenSSL cannot be loaded, -ENOMEM. */
int scrypt(struct span password, struct span salt, const struct scrypt_cost *cost,
           unsigned char *key, size_t size);

#endif
