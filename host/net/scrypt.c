#include "net/scrypt.h"

#include "net/openssl.h"

#include <errno.h>

bool scrypt_possible(const struct scrypt_cost *cost) {
    if (cost->log_n < 1 || cost->log_n > 27 || cost->r < 1 || cost->p < 1) return false;
    if (cost->r > 1024 || cost->p > SCRYPT_ROUNDS_MAX) return false;
    if (cost->log_n >= 16 * cost->r) return false; /* RFC 7914 6 */
    return ((uint64_t)cost->r << cost->log_n) * 128 <= SCRYPT_MEMORY_MAX;
}

int scrypt(struct span password, struct span salt, const struct scrypt_cost *cost,
           unsigned char *key, size_t size) {
    if (openssl_load()) return -EOPNOTSUPP;
    /* Besides its blocks it has p * r * 128 bytes, and some. */
    uint64_t most = SCRYPT_MEMORY_MAX + (uint64_t)cost->r * (cost->p + 2) * 128 + 4096;
    const unsigned char *salt_at = (const unsigned char *)salt.at;
    int done = openssl.EVP_PBE_scrypt(password.at, password.len, salt_at, salt.len,
                                      (uint64_t)1 << cost->log_n, cost->r, cost->p,
                                      most, key, size);
    openssl.ERR_clear_error();
    return done == 1 ? 0 : -ENOMEM;
}
