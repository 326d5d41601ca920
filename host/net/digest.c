#include "net/digest.h"

#include "net/openssl.h"

#include <limits.h>

static const EVP_MD *method(enum digest d) {
    switch (d) {
    case DIGEST_MD5: return openssl.EVP_md5();
    case DIGEST_SHA1: return openssl.EVP_sha1();
    case DIGEST_SHA256: return openssl.EVP_sha256();
    case DIGEST_SHA512: return openssl.EVP_sha512();
    }
    return NULL;
}

size_t digest_of(enum digest d, struct span bytes, unsigned char out[DIGEST_MAX]) {
    unsigned n = 0;
    if (openssl_load()) return 0;
    return openssl.EVP_Digest(bytes.at, bytes.len, out, &n, method(d), NULL) ? n : 0;
}

size_t digest_hmac(enum digest d, struct span key, struct span bytes,
                   unsigned char out[DIGEST_MAX]) {
    unsigned n = 0;
    const unsigned char *at = (const unsigned char *)bytes.at;
    if (key.len > INT_MAX || openssl_load()) return 0;
    return openssl.HMAC(method(d), key.at, (int)key.len, at, bytes.len, out, &n) ? n
                                                                                 : 0;
}
