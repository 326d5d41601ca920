#include "base/escape.h"

#include <stdint.h>

typedef unsigned char block __attribute__((vector_size(16)));
typedef uint64_t halves __attribute__((vector_size(16)));

/* Not zero where a byte does not mean itself in every mode; clean is printable ASCII
 * but " and \. */
static inline block dirty(block b) {
    return (block)(b - 0x20 >= 0x5f) | (block)(b == '"') | (block)(b == '\\');
}

static inline bool is_clean(block marks) {
    halves h = (halves)marks;
    return (h[0] | h[1]) == 0;
}

/* Shorter than a block: two words that may overlap, tested as one block. */
static inline bool copy_short(char *out, const char *at, size_t n) {
    if (n >= 8) {
        uint64_t first, last;
        memcpy(&first, at, 8);
        memcpy(&last, at + n - 8, 8);
        memcpy(out, &first, 8);
        memcpy(out + n - 8, &last, 8);
        return is_clean(dirty((block)(halves){first, last}));
    }
    if (n >= 4) {
        uint32_t first, last;
        memcpy(&first, at, 4);
        memcpy(&last, at + n - 4, 4);
        memcpy(out, &first, 4);
        memcpy(out + n - 4, &last, 4);
        uint64_t both = first | (uint64_t)last << 32;
        return is_clean(dirty((block)(halves){both, both}));
    }
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)at[i];
        if (c - 0x20u >= 0x5f || c == '"' || c == '\\') return false;
        out[i] = (char)c;
    }
    return true;
}

/* Copies all n bytes and says whether they were clean; if not, out is scratched. */
static inline bool copy_clean(char *out, const char *at, size_t n) {
    if (n < 16) return copy_short(out, at, n);
    block b, marks;
    memcpy(&b, at + n - 16, 16); /* overlaps the last whole one */
    memcpy(out + n - 16, &b, 16);
    marks = dirty(b);
    for (size_t i = 0; i + 16 < n; i += 16) {
        memcpy(&b, at + i, 16);
        memcpy(out + i, &b, 16);
        marks |= dirty(b);
    }
    return is_clean(marks);
}

size_t utf8_length(struct span s) {
    if (s.len == 0) return 0;
    const unsigned char *at = (const unsigned char *)s.at;
    unsigned char lead = at[0], low = 0x80, high = 0xbf;
    if (lead < 0x80) return 1;
    size_t n = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if (lead < 0xc2 || lead > 0xf4 || s.len < n) return 0;
    if (lead == 0xe0) low = 0xa0;  /* over-long */
    if (lead == 0xed) high = 0x9f; /* surrogates */
    if (lead == 0xf0) low = 0x90;  /* over-long */
    if (lead == 0xf4) high = 0x8f; /* beyond U+10FFFF */
    if (at[1] < low || at[1] > high) return 0;
    for (size_t i = 2; i < n; i++)
        if (at[i] < 0x80 || at[i] > 0xbf) return 0;
    return n;
}

enum { UNIT_MAX = 6 };

static size_t put_hex(char *out, const char *prefix, size_t n, unsigned byte) {
    static const char digits[] = "0123456789abcdef";
    memcpy(out, prefix, n);
    out[n] = digits[byte >> 4 & 15];
    out[n + 1] = digits[byte & 15];
    return n + 2;
}

/* The first character of s as it shall be written; *taken is its length in s. */
static size_t put_unit(char out[UNIT_MAX], struct span s, enum escape_mode mode,
                       size_t *taken) {
    unsigned char c = (unsigned char)s.at[0];
    *taken = 1;
    if (c >= 0x20 && c < 0x7f) {
        size_t n = 0;
        if (mode != ESCAPE_PLAIN && (c == '"' || c == '\\')) out[n++] = '\\';
        out[n++] = (char)c;
        return n;
    }
    if (c >= 0x80 && mode != ESCAPE_QUOTED) {
        size_t n = utf8_length(s);
        bool c1 = n == 2 && c == 0xc2 && (unsigned char)s.at[1] < 0xa0;
        if (n && !c1) {
            memcpy(out, s.at, n);
            return *taken = n;
        }
        if (mode == ESCAPE_JSON) {
            if (!c1) return put_hex(out, "\\\\x", 3, c);
            *taken = 2;
            return put_hex(out, "\\u00", 4, (unsigned char)s.at[1]);
        }
    }
    if (mode != ESCAPE_JSON) return put_hex(out, "\\x", 2, c);
    const char *name = c == '\n' ? "\\n" : c == '\r' ? "\\r" : c == '\t' ? "\\t" : NULL;
    if (!name) return put_hex(out, "\\u00", 4, c);
    memcpy(out, name, 2);
    return 2;
}

__attribute__((noinline, cold)) static size_t by_character(char *out, size_t room,
                                                           struct span s,
                                                           enum escape_mode mode,
                                                           size_t *taken) {
    size_t written = 0, at = 0;
    while (at < s.len) {
        char unit[UNIT_MAX];
        size_t used, n = put_unit(unit, span_of(s.at + at, s.len - at), mode, &used);
        if (n > room - written) break;
        memcpy(out + written, unit, n);
        written += n;
        at += used;
    }
    *taken = at;
    return written;
}

size_t escape(char *out, size_t room, struct span s, enum escape_mode mode,
              size_t *taken) {
    if (s.len > room || !copy_clean(out, s.at, s.len))
        return by_character(out, room, s, mode, taken);
    *taken = s.len;
    return s.len;
}
