/* Well-formed UTF-8 as RFC 3629 4 has it: no overlong form, no surrogate, nothing above
 * U+10FFFF. The bytes below 0x80 are left to the caller, who knows a faster way past
 * them.
 *
 * Header only; any thread. */
#ifndef CODEC_UTF8_H
#define CODEC_UTF8_H

#include <stddef.h>

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

#endif
