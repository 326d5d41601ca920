#include "codec/filename.h"

static bool is_hidden(struct span rest) {
    const char *slash = memchr(rest.at, '/', rest.len);
    if (slash) rest.len = (size_t)(slash - rest.at);
    return rest.at[0] == '.' && !span_eq(rest, SPAN(".well-known"));
}

size_t filename_of(struct span path, char *to, size_t room) {
    size_t n = 0;
    if (path.len == 0 || path.at[0] != '/') return 0;
    for (size_t i = 0; i < path.len; i++) {
        char c = path.at[i];
        if (n + 1 >= room || c == '\\' || c == 0) return 0;
        if (i > 0 && path.at[i - 1] == '/' &&
            (c == '/' || is_hidden(span_of(path.at + i, path.len - i))))
            return 0;
        to[n++] = c;
        /* The only escapes that are left in a path. */
        if (c != '%' || path.len - i < 3 || path.at[i + 1] != '2') continue;
        if (ascii_lower(path.at[i + 2]) == 'f') return 0;
        if (path.at[i + 2] == '5') i += 2;
    }
    to[n] = 0;
    return n;
}
