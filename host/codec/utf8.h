/* Well-formed UTF-8 as RFC 3629 4 has it: no overlong form, no surrogate, nothing above
 * U+10FFFF. The bytes below 0x80 are left to the caller, who knows a faster way past
 * them.
 *
 * A text that comes in pieces is checked as it comes: a struct utf8_check, all zero at
 * the text's beginning, is fed them and says no at the first byte that cannot be right.
 *
 * Header only; any thread. */
#ifndef CODEC_UTF8_H
#define CODEC_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* How long the sequence at `at` is, whose first byte is 0x80 or above: 2 to 4, or 0
 * when it is malformed or goes beyond end. */
static inline size_t utf8_sequence(const char *at, const char *end) {
    const unsigned char *s = (const unsigned char *)at;
    size_t left = (size_t)(end - at);
    if (left < 2) return 0;
    unsigned char first = s[0], least = 0x80, most = 0xbf;
    if (first < 0xe0)
        return first >= 0xc2 && (s[1] & 0xc0) == 0x80 ? 2
                                                      : 0; /* 0x80..0xbf fails too */
    if (first == 0xe0) least = 0xa0;
    if (first == 0xed) most = 0x9f;
    if (first == 0xf0) least = 0x90;
    if (first == 0xf4) most = 0x8f;
    if (left < 3 || s[1] < least || s[1] > most || (s[2] & 0xc0) != 0x80) return 0;
    if (first < 0xf0) return 3;
    return left >= 4 && first <= 0xf4 && (s[3] & 0xc0) == 0x80 ? 4 : 0;
}

/* Writes a code point, 1 to 4 bytes, and returns the end. */
static inline char *utf8_put(char *to, unsigned code) {
    if (code < 0x80) {
        *to++ = (char)code;
    } else if (code < 0x800) {
        *to++ = (char)(0xc0 | code >> 6);
        *to++ = (char)(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
        *to++ = (char)(0xe0 | code >> 12);
        *to++ = (char)(0x80 | (code >> 6 & 0x3f));
        *to++ = (char)(0x80 | (code & 0x3f));
    } else {
        *to++ = (char)(0xf0 | code >> 18);
        *to++ = (char)(0x80 | (code >> 12 & 0x3f));
        *to++ = (char)(0x80 | (code >> 6 & 0x3f));
        *to++ = (char)(0x80 | (code & 0x3f));
    }
    return to;
}

struct utf8_check {
    uint8_t left;        /* bytes that the sequence still needs; 0 between two */
    uint8_t least, most; /* what the next one may be */
};

static inline bool utf8_first(struct utf8_check *c, unsigned char byte) {
    if (byte < 0xc2 || byte > 0xf4) return false;
    c->left = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
    c->least = byte == 0xe0 ? 0xa0 : byte == 0xf0 ? 0x90 : 0x80;
    c->most = byte == 0xed ? 0x9f : byte == 0xf4 ? 0x8f : 0xbf;
    return true;
}

/* Whether the text can be right so far. */
static inline bool utf8_feed(struct utf8_check *c, const char *at, size_t n) {
    const char *end = at + n;
    while (at < end) {
        unsigned char byte = (unsigned char)*at;
        uint64_t eight;
        if (c->left) {
            if (byte < c->least || byte > c->most) return false;
            c->least = 0x80;
            c->most = 0xbf;
            c->left--;
        } else if (end - at >= 8 &&
                   (memcpy(&eight, at, 8), (eight & 0x8080808080808080u) == 0)) {
            at += 8;
            continue;
        } else if (byte >= 0x80 && !utf8_first(c, byte)) {
            return false;
        }
        at++;
    }
    return true;
}

#endif
