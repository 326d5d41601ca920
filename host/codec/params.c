#include "codec/params.h"

#include "codec/utf8.h"

static bool is_space(char c) {
    return c == ' ' || c == '\t';
}

/* RFC 9110 5.6.2 */
static bool is_token(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

static void skip_spaces(struct span *s) {
    while (s->len && is_space(*s->at)) *s = span_of(s->at + 1, s->len - 1);
}

static struct span take(struct span *s, size_t n) {
    struct span taken = span_of(s->at, n);
    *s = span_of(s->at + n, s->len - n);
    return taken;
}

struct span params_begin(struct span *rest) {
    size_t n = 0;
    skip_spaces(rest);
    while (n < rest->len && rest->at[n] != ';') n++;
    struct span first = take(rest, n);
    while (first.len && is_space(first.at[first.len - 1])) first.len--;
    return first;
}

/* The length of a quoted value that begins behind its quote, or -1. The last quote of
 * all ends it even behind a backslash: that is a file name which ends in one. */
static long quoted_length(struct span s) {
    while (s.len && is_space(s.at[s.len - 1])) s.len--;
    for (size_t i = 0; i < s.len; i++) {
        if (s.at[i] == '"') return (long)i;
        if (s.at[i] == '\\' && i + 2 < s.len &&
            (s.at[i + 1] == '"' || s.at[i + 1] == '\\'))
            i++;
    }
    return -1;
}

int params_next(struct span *rest, struct param *p) {
    skip_spaces(rest);
    while (rest->len && *rest->at == ';') {
        take(rest, 1);
        skip_spaces(rest);
    }
    if (!rest->len) return 0;
    size_t n = 0;
    while (n < rest->len && is_token(rest->at[n])) n++;
    p->name = take(rest, n);
    if (n == 0 || !rest->len || *rest->at != '=') return -1;
    take(rest, 1);
    p->quoted = rest->len && *rest->at == '"';
    if (p->quoted) {
        take(rest, 1);
        long length = quoted_length(*rest);
        if (length < 0) return -1;
        p->value = take(rest, (size_t)length);
        take(rest, 1);
    } else {
        for (n = 0; n < rest->len && rest->at[n] != ';' && !is_space(rest->at[n]); n++)
            if (rest->at[n] == '"') return -1;
        p->value = take(rest, n);
    }
    skip_spaces(rest);
    return !rest->len || *rest->at == ';' ? 1 : -1;
}

int params_find(struct span value, struct span name, struct param *p) {
    struct param each;
    int found = 0, more;
    params_begin(&value);
    while ((more = params_next(&value, &each)) > 0) {
        if (!span_case_eq(each.name, name)) continue;
        if (found) return -1;
        found = 1;
        *p = each;
    }
    return more < 0 ? -1 : found;
}

size_t params_decode(const struct param *p, char *out) {
    const char *at = p->value.at, *end = at + p->value.len;
    char *to = out;
    if (!p->quoted) {
        if (p->value.len) memcpy(out, at, p->value.len);
        return p->value.len;
    }
    while (at < end) {
        if (*at == '\\' && end - at > 1 && (at[1] == '"' || at[1] == '\\')) {
            *to++ = at[1];
            at += 2;
        } else if (*at == '%' && end - at > 2 &&
                   ((at[1] == '2' && at[2] == '2') ||
                    (at[1] == '0' && (at[2] | 32) == 'd') ||
                    (at[1] == '0' && (at[2] | 32) == 'a'))) {
            *to++ = (char)(at[1] == '2' ? '"' : (at[2] | 32) == 'd' ? '\r' : '\n');
            at += 3;
        } else {
            *to++ = *at++;
        }
    }
    return (size_t)(to - out);
}

static bool utf8_valid(struct span s) {
    const char *at = s.at, *end = at + s.len;
    while (at < end) {
        size_t n = (unsigned char)*at < 0x80 ? 1 : utf8_sequence(at, end);
        if (n == 0) return false;
        at += n;
    }
    return true;
}

static int hex(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool params_decode_extended(const struct param *p, char *out, size_t *len) {
    struct span v = p->value;
    if (p->quoted || v.len < 7 || !span_case_eq(span_of(v.at, 6), SPAN("utf-8'")))
        return false;
    const char *end = v.at + v.len, *at = memchr(v.at + 6, '\'', v.len - 6);
    if (!at) return false;
    char *to = out;
    while (++at < end) { /* behind the language */
        if (*at != '%') {
            if (!is_token(*at) || *at == '*' || *at == '\'') return false;
            *to++ = *at;
            continue;
        }
        if (end - at < 3 || hex(at[1]) < 0 || hex(at[2]) < 0) return false;
        int c = hex(at[1]) << 4 | hex(at[2]);
        if (c < 0x20 || c == 0x7f) return false;
        *to++ = (char)c;
        at += 2;
    }
    *len = (size_t)(to - out);
    return utf8_valid(span_of(out, *len));
}
