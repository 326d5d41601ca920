#include "codec/target.h"

#include "base/err.h"
#include "codec/authority.h"

#include <stdint.h>

static int hex(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that an escape at `at` stands for, or -1 when it is none. */
static int escaped(const char *at, const char *end) {
    if (end - at < 3 || *at != '%') return -1;
    int high = hex(at[1]), low = hex(at[2]);
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

static int refuse(const char *reason, const char **why) {
    *why = reason;
    return ERR_SYNTAX;
}

/* Only visible ASCII may stand in a target, and no fragment (RFC 9112 3.2). */
static bool visible(char c) {
    return c > ' ' && c < 0x7f && c != '#';
}

/* Visible, and nothing in a path to look at twice. */
static const bool ordinary[256] = {
    ['!' ... '"'] = true, ['$'] = true,         ['&' ... '-'] = true,
    ['/' ... '>'] = true, ['@' ... '~'] = true,
};

enum dots { NO_DOTS, DROPPED, ABOVE_ROOT };

/* A segment has ended: it starts at start of out, behind a "/", and ends at *len. When
 * it is "." it is dropped, when ".." the one before goes, too; *len is then behind the
 * slash where the next begins. */
static enum dots drop_dots(const char *out, size_t start, size_t *len) {
    size_t n = *len - start, slash;
    if (n == 0 || n > 2 || out[start] != '.' || out[start + n - 1] != '.')
        return NO_DOTS;
    *len = start;
    if (n == 1) return DROPPED;
    if (start == 1) return ABOVE_ROOT;
    for (slash = start - 2; out[slash] != '/';) slash--;
    *len = slash + 1;
    return DROPPED;
}

/* Decodes path, which starts with "/", into out and removes its dot segments, also
 * those that were written with escapes (RFC 3986 5.2.4, 6.2.2). */
static int normalise(struct span path, char *out, struct span *result,
                     const char **why) {
    const char *at = path.at + 1, *end = path.at + path.len;
    size_t len = 1, start = 1;
    out[0] = '/';
    for (;;) {
        if (at == end || *at == '/') {
            enum dots dots = drop_dots(out, start, &len);
            if (dots == ABOVE_ROOT) return refuse("path above the root", why);
            if (at == end) break;
            if (dots == NO_DOTS) out[len++] = '/';
            start = len;
            at++;
        } else if (*at != '%') {
            out[len++] = *at++;
        } else {
            int c = escaped(at, end);
            if (c < 0) return refuse("malformed escape in the path", why);
            if (c == 0) return refuse("NUL in the path", why);
            if (c == '/' || c == '%')
                memcpy(out + len, at, 3), len += 3;
            else
                out[len++] = (char)c;
            at += 3;
        }
    }
    *result = span_of(out, len);
    return 0;
}

/* rest is what stands behind the path. */
static int split_query(struct span rest, struct target *out, const char **why) {
    for (size_t i = 0; i < rest.len; i++)
        if (!ordinary[(unsigned char)rest.at[i]] && !visible(rest.at[i]))
            return refuse("bad byte in the target", why);
    if (rest.len > 0) out->query = span_of(rest.at + 1, rest.len - 1);
    return 0;
}

/* raw starts with "/". */
static int split_path(struct span raw, char *scratch, struct target *out,
                      const char **why) {
    const char *at = raw.at, *end = raw.at + raw.len;
    bool plain = true;
    for (; at < end; at++) {
        if (ordinary[(unsigned char)*at]) continue;
        if (*at == '?') break;
        if (!visible(*at)) return refuse("bad byte in the target", why);
        if (*at == '%' || (*at == '.' && at[-1] == '/')) plain = false;
    }
    struct span path = span_of(raw.at, (size_t)(at - raw.at));
    out->path = path;
    int err = split_query(span_of(at, (size_t)(end - at)), out, why);
    if (err || plain) return err;
    if (!scratch) return -ENOBUFS;
    err = normalise(path, scratch, &out->path, why);
    if (err == 0 && span_eq(out->path, path)) out->path = path;
    return err;
}

static bool is_alpha(char c) {
    c = ascii_lower(c);
    return c >= 'a' && c <= 'z';
}

/* Length of the scheme, or 0 when "://" does not follow. */
static size_t scheme_length(struct span s) {
    size_t n = 0;
    if (s.len == 0 || !is_alpha(s.at[0])) return 0;
    while (n < s.len && (is_alpha(s.at[n]) || (s.at[n] >= '0' && s.at[n] <= '9') ||
                         s.at[n] == '+' || s.at[n] == '-' || s.at[n] == '.'))
        n++;
    return s.len - n >= 3 && memcmp(s.at + n, "://", 3) == 0 ? n : 0;
}

static int split_absolute(struct span raw, char *scratch, struct target *out,
                          const char **why) {
    struct span host, port;
    size_t scheme = scheme_length(raw), i = scheme + 3;
    if (scheme == 0) return refuse("target of unknown form", why);
    while (i < raw.len && raw.at[i] != '/' && raw.at[i] != '?' && raw.at[i] != '#') i++;
    out->form = TARGET_ABSOLUTE;
    out->scheme = span_of(raw.at, scheme);
    out->authority = span_of(raw.at + scheme + 3, i - scheme - 3);
    if (!authority_parse(out->authority, &host, &port))
        return refuse("bad authority in the target", why);
    if (i < raw.len && raw.at[i] == '/')
        return split_path(span_of(raw.at + i, raw.len - i), scratch, out, why);
    if (!scratch) return -ENOBUFS;
    scratch[0] = '/'; /* RFC 9112 3.2.1 */
    out->path = span_of(scratch, 1);
    return split_query(span_of(raw.at + i, raw.len - i), out, why);
}

int target_parse(struct span raw, bool is_connect, char *scratch, struct target *out,
                 const char **why) {
    struct span host, port;
    *out = (struct target){.form = TARGET_ORIGIN};
    if (is_connect) {
        out->form = TARGET_AUTHORITY;
        out->authority = raw;
        if (!authority_parse(raw, &host, &port) || port.len == 0)
            return refuse("bad authority in the target", why);
        return 0;
    }
    if (raw.len > 0 && raw.at[0] == '/') return split_path(raw, scratch, out, why);
    if (span_eq(raw, SPAN("*"))) {
        out->form = TARGET_ASTERISK;
        out->path = raw;
        return 0;
    }
    return split_absolute(raw, scratch, out, why);
}

bool target_plain(struct span path) {
    const char *at = path.at, *end = path.at + path.len;
    if (path.len == 0) return true;
    for (; (at = memchr(at, '%', (size_t)(end - at))); at++)
        if (escaped(at, end) >= 0) return false;
    return true;
}

size_t target_decode(struct span s, bool plus, char *out) {
    const char *at = s.at, *end = s.at + s.len;
    char *to = out;
    while (at < end) {
        int c = escaped(at, end);
        if (c >= 0)
            *to++ = (char)c, at += 3;
        else if (plus && *at == '+')
            *to++ = ' ', at++;
        else
            *to++ = *at++;
    }
    return (size_t)(to - out);
}

bool query_next(struct span *rest, struct span *name, struct span *value) {
    while (rest->len > 0) {
        const char *at = rest->at, *end = at + rest->len;
        const char *amp = memchr(at, '&', rest->len);
        const char *stop = amp ? amp : end;
        *rest = amp ? span_of(amp + 1, (size_t)(end - amp - 1)) : span_of(end, 0);
        if (stop == at) continue;
        const char *equals = memchr(at, '=', (size_t)(stop - at));
        *name = span_of(at, (size_t)((equals ? equals : stop) - at));
        *value = equals ? span_of(equals + 1, (size_t)(stop - equals - 1))
                        : span_of(stop, 0);
        return true;
    }
    return false;
}
