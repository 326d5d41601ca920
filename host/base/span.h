/* A span is a borrowed run of bytes: a pointer and a length, never owned, never
 * terminated. Whoever hands one out says how long it stays valid.
 *
 * Spans are passed by value. They are the only way that parsed text travels
 * between the layers; a copy is made where the text has to outlive its buffer.
 * Any thread. */
#ifndef BASE_SPAN_H
#define BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct span {
    const char *at;
    size_t len;
};

#define SPAN(literal) ((struct span){(literal), sizeof(literal) - 1})

static inline struct span span_of(const char *at, size_t len) {
    return (struct span){at, len};
}

static inline struct span span_str(const char *text) {
    return (struct span){text, strlen(text)};
}

static inline bool span_eq(struct span a, struct span b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

static inline char ascii_lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* Equal but for the case of ASCII letters, as field names are (RFC 9110 5.1). */
static inline bool span_case_eq(struct span a, struct span b) {
    if (a.len != b.len) return false;
    for (size_t i = 0; i < a.len; i++)
        if (ascii_lower(a.at[i]) != ascii_lower(b.at[i])) return false;
    return true;
}

#endif
