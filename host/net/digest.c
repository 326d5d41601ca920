#include "net/digest.h"

#include <limits.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

static const EVP_MD *method(enum digest d) {
    switch (d) {
    case DIGEST_MD5: return EVP_md5();
    case DIGEST_SHA1: return EVP_sha1();
    case DIGEST_SHA256: return EVP_sha256();
    case DIGEST_SHA512: return EVP_sha512();
    }
    return NULL;
}

size_t digest_of(enum digest d, struct span bytes, unsigned char out[DIGEST_MAX]) {
    unsigned n = 0;
    return EVP_Digest(bytes.at, bytes.len, out, &n, method(d), NULL) ? n : 0;
}

size_t digest_hmac(enum digest d, struct span key, struct span bytes,
                   unsigned char out[DIGEST_MAX]) {
    unsigned n = 0;
    const unsigned char *at = (const unsigned char *)bytes.at;
    if (key.len > INT_MAX) return 0;
    return HMAC(method(d), key.at, (int)key.len, at, bytes.len, out, &n) ? n : 0;
}
