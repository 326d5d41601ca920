#include "codec/sha1.h"

#include <stdint.h>

enum { BLOCK = 64, ROUNDS = 80 };

static uint32_t rotate(uint32_t x, unsigned n) {
    return x << n | x >> (32 - n);
}

static uint32_t load(const unsigned char *at) {
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void store(unsigned char *to, uint32_t x) {
    for (unsigned i = 0; i < 4; i++) to[i] = (unsigned char)(x >> (24 - 8 * i));
}

static uint32_t mix(unsigned t, uint32_t b, uint32_t c, uint32_t d) {
    if (t < 20) return ((b & c) | (~b & d)) + 0x5a827999;
    if (t < 40) return (b ^ c ^ d) + 0x6ed9eba1;
    if (t < 60) return ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc;
    return (b ^ c ^ d) + 0xca62c1d6;
}

static void add_block(uint32_t h[5], const unsigned char *at) {
    uint32_t w[ROUNDS], v[5];
    for (unsigned t = 0; t < 16; t++) w[t] = load(at + 4 * t);
    for (unsigned t = 16; t < ROUNDS; t++)
        w[t] = rotate(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
    memcpy(v, h, sizeof v);
    for (unsigned t = 0; t < ROUNDS; t++) {
        uint32_t sum = rotate(v[0], 5) + mix(t, v[1], v[2], v[3]) + v[4] + w[t];
        v[4] = v[3];
        v[3] = v[2];
        v[2] = rotate(v[1], 30);
        v[1] = v[0];
        v[0] = sum;
    }
    for (unsigned i = 0; i < 5; i++) h[i] += v[i];
}

void sha1_of(struct span bytes, unsigned char out[SHA1_LEN]) {
    uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    const unsigned char *at = (const unsigned char *)bytes.at;
    unsigned char end[2 * BLOCK] = {0};
    size_t left = bytes.len;
    for (; left >= BLOCK; left -= BLOCK, at += BLOCK) add_block(h, at);
    if (left) memcpy(end, at, left);
    end[left] = 0x80;
    size_t padded = left < BLOCK - 8 ? BLOCK : 2 * BLOCK;
    uint64_t bits = (uint64_t)bytes.len * 8;
    store(end + padded - 8, (uint32_t)(bits >> 32));
    store(end + padded - 4, (uint32_t)bits);
    for (size_t i = 0; i < padded; i += BLOCK) add_block(h, end + i);
    for (unsigned i = 0; i < 5; i++) store(out + 4 * i, h[i]);
}
