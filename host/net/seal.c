#include "net/seal.h"

#include "base/err.h"
#include "net/digest.h"
#include "net/openssl.h"

#include <limits.h>
#include <sys/random.h>

enum { VERSION = 1, RANDOM = 16, TAG = 16, KEY = 32 };

int seal_random(unsigned char *out, size_t n) {
    while (n > 0) {
        ssize_t got = getrandom(out, n < 256 ? n : 256, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return -errno;
        out += got;
        n -= (size_t)got;
    }
    return 0;
}

bool seal_equal(struct span a, struct span b) {
    volatile unsigned char differs = a.len != b.len;
    for (size_t i = 0; i < a.len && i < b.len; i++)
        differs |= (unsigned char)(a.at[i] ^ b.at[i]);
    return !differs;
}

/* RFC 5869, without a salt, for one block: the random bytes are in the info. */
static bool derive(struct span secret, const unsigned char random[RANDOM],
                   unsigned char key[DIGEST_MAX]) {
    static const char info[] = "atoll seal 1", zeros[KEY];
    unsigned char extracted[DIGEST_MAX], input[sizeof info + RANDOM];
    memcpy(input, info, sizeof info - 1);
    memcpy(input + sizeof info - 1, random, RANDOM);
    input[sizeof input - 1] = 1;
    struct span text = span_of((const char *)input, sizeof input);
    bool good =
        digest_hmac(DIGEST_SHA256, span_of(zeros, KEY), secret, extracted) == KEY &&
        digest_hmac(DIGEST_SHA256, span_of((const char *)extracted, KEY), text, key) ==
            KEY;
    openssl.OPENSSL_cleanse(extracted, sizeof extracted);
    return good;
}

/* Each key is used once. */
static const unsigned char nonce[12];

static const unsigned char *bytes_of(struct span s) {
    return (const unsigned char *)s.at;
}

int seal(struct span secret, struct span context, struct span bytes,
         unsigned char *out) {
    unsigned char key[DIGEST_MAX];
    int n, rest, err = seal_random(out + 1, RANDOM);
    unsigned char *to = out + 1 + RANDOM;
    if (err) return err;
    if (bytes.len > INT_MAX || context.len > INT_MAX) return ERR_TOO_LARGE;
    if (openssl_load() || !derive(secret, out + 1, key)) return -EOPNOTSUPP;
    out[0] = VERSION;
    EVP_CIPHER_CTX *c = openssl.EVP_CIPHER_CTX_new();
    bool good =
        c &&
        openssl.EVP_EncryptInit_ex(c, openssl.EVP_aes_256_gcm(), NULL, key, nonce) ==
            1 &&
        openssl.EVP_EncryptUpdate(c, NULL, &n, out, 1) == 1 &&
        openssl.EVP_EncryptUpdate(c, NULL, &n, bytes_of(context), (int)context.len) ==
            1 &&
        openssl.EVP_EncryptUpdate(c, to, &n, bytes_of(bytes), (int)bytes.len) == 1 &&
        openssl.EVP_EncryptFinal_ex(c, to + n, &rest) == 1 &&
        openssl.EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, TAG, to + bytes.len) == 1;
    openssl.EVP_CIPHER_CTX_free(c);
    openssl.OPENSSL_cleanse(key, sizeof key);
    return good ? 0 : -EOPNOTSUPP;
}

int seal_open(struct span secret, struct span context, struct span sealed,
              unsigned char *out) {
    unsigned char key[DIGEST_MAX];
    int n, rest;
    if (sealed.len < SEAL_OVERHEAD || sealed.at[0] != VERSION) return ERR_SYNTAX;
    if (sealed.len > INT_MAX || context.len > INT_MAX) return ERR_SYNTAX;
    const unsigned char *in = bytes_of(sealed);
    if (openssl_load() || !derive(secret, in + 1, key)) return -EOPNOTSUPP;
    int length = (int)(sealed.len - SEAL_OVERHEAD);
    unsigned char tag[TAG];
    memcpy(tag, in + sealed.len - TAG, TAG);
    EVP_CIPHER_CTX *c = openssl.EVP_CIPHER_CTX_new();
    bool made = c && openssl.EVP_DecryptInit_ex(c, openssl.EVP_aes_256_gcm(), NULL, key,
                                                nonce) == 1;
    bool good = made && openssl.EVP_DecryptUpdate(c, NULL, &n, in, 1) == 1 &&
                openssl.EVP_DecryptUpdate(c, NULL, &n, bytes_of(context),
                                          (int)context.len) == 1 &&
                openssl.EVP_DecryptUpdate(c, out, &n, in + 1 + RANDOM, length) == 1 &&
                openssl.EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, TAG, tag) == 1 &&
                openssl.EVP_DecryptFinal_ex(c, out + n, &rest) == 1;
    openssl.EVP_CIPHER_CTX_free(c);
    openssl.OPENSSL_cleanse(key, sizeof key);
    return good ? 0 : made ? ERR_SYNTAX : -EOPNOTSUPP;
}
