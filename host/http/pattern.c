#include "http/pattern.h"

static bool name_ok(struct span s) {
    if (s.len == 0 || (s.at[0] >= '0' && s.at[0] <= '9')) return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.at[i], low = ascii_lower(c);
        if (c != '_' && !(low >= 'a' && low <= 'z') && !(c >= '0' && c <= '9'))
            return false;
    }
    return true;
}

static const char *bad_bytes(struct span p) {
    if (p.len == 0 || p.at[0] != '/') return "a pattern starts with /";
    if (p.len > PATTERN_MAX) return "the pattern is too long";
    for (size_t i = 0; i < p.len; i++) {
        unsigned char c = (unsigned char)p.at[i];
        if (c < 0x20 || c == 0x7f) return "a control byte is in the pattern";
        if (c == '?' || c == '#') return "a pattern has no ? and no #";
        if (c == '%' && (p.len - i < 3 || p.at[i + 1] != '2' ||
                         (p.at[i + 2] != '5' && ascii_lower(p.at[i + 2]) != 'f')))
            return "a pattern is not percent-encoded, except that % is %25";
    }
    return NULL;
}

static bool is_dots(struct span s) {
    return span_eq(s, SPAN(".")) || span_eq(s, SPAN(".."));
}

const char *pattern_parse(struct span pattern, struct pattern *out) {
    const char *why = bad_bytes(pattern);
    if (why) return why;
    *out = (struct pattern){0};
    const char *at = pattern.at + 1, *end = pattern.at + pattern.len;
    for (bool last = false; !last;) {
        const char *slash = memchr(at, '/', (size_t)(end - at));
        struct span s = span_of(at, (size_t)((slash ? slash : end) - at));
        last = !slash;
        at += s.len + 1;
        if (out->segment_count == PATTERN_SEGMENTS_MAX)
            return "the pattern has too many segments";
        out->segments[out->segment_count++] = s;
        if (s.len == 0 && !last) return "the pattern has an empty segment";
        if (is_dots(s)) return "a path never has a . or .. segment";
        if (s.len == 0 || (s.at[0] != ':' && s.at[0] != '*')) continue;
        struct span name = span_of(s.at + 1, s.len - 1);
        if (s.at[0] == '*') {
            if (!last) return "*name takes the rest and has to be last";
            out->has_rest = true;
            if (name.len == 0) name = s;
        }
        if (name.len == 0) return "a param has no name";
        if (name.at != s.at && !name_ok(name))
            return "a param is a whole segment: a name of letters, digits and _";
        for (unsigned i = 0; i < out->param_count; i++)
            if (span_eq(out->names[i], name)) return "two params have the same name";
        if (out->param_count == PATTERN_PARAMS_MAX)
            return "the pattern has too many params";
        out->names[out->param_count++] = name;
    }
    return NULL;
}
