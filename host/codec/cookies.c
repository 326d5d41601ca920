#include "codec/cookies.h"

static bool is_space(char c) {
    return c == ' ' || c == '\t';
}

static struct span trimmed(const char *at, const char *end) {
    while (at < end && is_space(*at)) at++;
    while (at < end && is_space(end[-1])) end--;
    return span_of(at, (size_t)(end - at));
}

static bool is_name(struct span s) {
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.at[i] <= ' ' || s.at[i] == 0x7f) return false;
    return s.len > 0;
}

bool cookies_next(struct span *rest, struct span *name, struct span *value) {
    while (rest->len) {
        const char *at = rest->at, *end = at + rest->len;
        const char *semicolon = memchr(at, ';', rest->len);
        const char *stop = semicolon ? semicolon : end;
        *rest =
            semicolon ? span_of(stop + 1, (size_t)(end - stop - 1)) : span_of(end, 0);
        const char *equals = stop > at ? memchr(at, '=', (size_t)(stop - at)) : NULL;
        if (!equals) continue;
        *name = trimmed(at, equals);
        if (!is_name(*name)) continue;
        *value = trimmed(equals + 1, stop);
        if (value->len > 1 && value->at[0] == '"' && value->at[value->len - 1] == '"')
            *value = span_of(value->at + 1, value->len - 2);
        return true;
    }
    return false;
}
