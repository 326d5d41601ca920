#include "codec/authority.h"

#include <arpa/inet.h>
#include <stdint.h>

enum { NAME = 1, HEX = 2 };

/* NAME is unreserved / sub-delims; "%" stands apart. */
static const uint8_t classes[256] = {
    ['!'] = NAME,
    ['$'] = NAME,
    ['&'] = NAME,
    ['\''] = NAME,
    ['('] = NAME,
    [')'] = NAME,
    ['*'] = NAME,
    ['+'] = NAME,
    [','] = NAME,
    ['-'] = NAME,
    ['.'] = NAME,
    [';'] = NAME,
    ['='] = NAME,
    ['_'] = NAME,
    ['~'] = NAME,
    ['0' ... '9'] = NAME | HEX,
    ['A' ... 'F'] = NAME | HEX,
    ['G' ... 'Z'] = NAME,
    ['a' ... 'f'] = NAME | HEX,
    ['g' ... 'z'] = NAME,
};

static bool is(char c, int class) {
    return classes[(unsigned char)c] & class;
}

bool authority_ip(struct span text, int family, unsigned char *to) {
    char copy[INET6_ADDRSTRLEN];
    if (text.len >= sizeof copy || memchr(text.at, 0, text.len)) return false;
    memcpy(copy, text.at, text.len);
    copy[text.len] = 0;
    return inet_pton(family, copy, to) == 1;
}

/* "[" IPv6address "]" or "[v" 1*HEXDIG "." 1*( NAME / ":" ) "]", without brackets. */
__attribute__((noinline)) static bool ip_literal(struct span s) {
    unsigned char address[16];
    if (s.len > 0 && ascii_lower(s.at[0]) == 'v') {
        size_t i = 1;
        while (i < s.len && is(s.at[i], HEX)) i++;
        if (i == 1 || i + 1 >= s.len || s.at[i++] != '.') return false;
        while (i < s.len && (is(s.at[i], NAME) || s.at[i] == ':')) i++;
        return i == s.len;
    }
    return authority_ip(s, AF_INET6, address);
}

static bool port_valid(struct span s) {
    const char *at = s.at, *end = s.at + s.len;
    for (; at < end; at++)
        if ((unsigned char)*at - (unsigned)'0' > 9) return false;
    if (s.len < 5) return true;
    for (at = s.at; end - at > 5; at++)
        if (*at != '0') return false;
    return memcmp(at, "65535", 5) <= 0;
}

bool authority_parse(struct span s, struct span *host, struct span *port) {
    const char *at = s.at, *end = s.at + s.len;
    if (s.len > 0 && *at == '[') {
        const char *bracket = memchr(at, ']', s.len);
        if (!bracket) return false;
        if (!ip_literal(span_of(at + 1, (size_t)(bracket - at) - 1))) return false;
        at = bracket + 1;
    } else {
        for (;;) {
            while (at < end && is(*at, NAME)) at++;
            if (at == end || *at != '%') break;
            if (end - at < 3 || !is(at[1], HEX) || !is(at[2], HEX)) return false;
            at += 3;
        }
        if (at == s.at) return false;
    }
    *host = span_of(s.at, (size_t)(at - s.at));
    if (at < end && *at++ != ':') return false;
    *port = span_of(at, (size_t)(end - at));
    return port_valid(*port);
}
