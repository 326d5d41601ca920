#include "http/vhost.h"

#include "codec/authority.h"

/* Without the port, and without the dot that ends a name at the root of all names. */
static struct span bare(struct span s) {
    size_t n = 0;
    if (s.len && *s.at == '[')
        while (n < s.len && s.at[n++] != ']') {
        }
    else
        while (n < s.len && s.at[n] != ':') n++;
    if (n > 1 && s.at[n - 1] == '.') n--;
    return span_of(s.at, n);
}

static bool is_wild(struct span host) {
    return host.len > 2 && host.at[0] == '*';
}

/* How exact the host is, or -1 where it does not fit. */
static int fits_host(struct span host, struct span name) {
    if (!host.len) return 0;
    if (!is_wild(host)) return span_case_eq(host, name) ? 1 << 16 : -1;
    struct span below = span_of(host.at + 1, host.len - 1); /* ".example.org" */
    if (name.len <= below.len) return -1;
    struct span end = span_of(name.at + name.len - below.len, below.len);
    return span_case_eq(below, end) ? (int)below.len : -1;
}

static bool fits_path(struct span prefix, struct span path) {
    if (!prefix.len || span_eq(path, SPAN("*"))) return true;
    return path.len >= prefix.len && memcmp(path.at, prefix.at, prefix.len) == 0 &&
           (path.len == prefix.len || path.at[prefix.len] == '/');
}

int vhost_find(const struct vhost *all, unsigned count, struct span authority,
               struct span path) {
    struct span name = bare(authority);
    int best = -1, exact = -1;
    for (unsigned i = 0; i < count; i++) {
        const struct vhost *v = &all[i];
        int now = fits_host(v->host, name);
        if (now < exact || now < 0 || !fits_path(v->path, path)) continue;
        if (now == exact && v->path.len <= all[best].path.len) continue;
        best = (int)i;
        exact = now;
    }
    return best;
}

bool vhost_host_ok(struct span s) {
    struct span host, port;
    if (s.len > 2 && s.at[0] == '*' && s.at[1] == '.') s = span_of(s.at + 2, s.len - 2);
    if (!s.len || s.len > 255 || memchr(s.at, '*', s.len)) return false;
    return authority_parse(s, &host, &port) && host.len == s.len &&
           s.at[s.len - 1] != '.' && s.at[0] != '.';
}

/* Nothing that a path never holds, and no sigil of a route's pattern. */
bool vhost_path_ok(struct span s) {
    size_t from = 1;
    if (!s.len || *s.at != '/' || s.len > 1024) return false;
    for (size_t i = 1; i <= s.len; i++) {
        unsigned char c = i < s.len ? (unsigned char)s.at[i] : '/';
        if (c <= ' ' || c == 0x7f || strchr("%?#:*", c)) return false;
        if (c != '/') continue;
        struct span segment = span_of(s.at + from, i - from);
        if (!segment.len || span_eq(segment, SPAN(".")) || span_eq(segment, SPAN("..")))
            return false;
        from = i + 1;
    }
    return true;
}
