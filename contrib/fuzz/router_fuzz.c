/* Feeds the router tables and paths made of the input, and compares each answer with
 * that of a matcher too simple to be wrong. An input is lines: a byte for the method
 * and a pattern add a route; `?`, such a byte and a path ask for one. Build with
 * -fsanitize=fuzzer,address,undefined from base/, http/router.c and http/pattern.c. */
#include "http/router.h"

#include <stdlib.h>

enum { ROUTES_MAX = 64 };

static struct span method_of(char c) {
    static const struct span methods[] = {SPAN("GET"), SPAN("HEAD"), SPAN("POST"),
                                          SPAN("*")};
    return methods[(unsigned char)c % 4];
}

static struct span segment(struct span s) {
    const char *slash = s.len ? memchr(s.at, '/', s.len) : NULL;
    return span_of(s.at, slash ? (size_t)(slash - s.at) : s.len);
}

/* Whether pattern takes path; class gets a digit for each segment, the smaller the more
 * preferred. Both come without their first slash. */
static bool takes(struct span pattern, struct span path, char *class) {
    for (;; class ++) {
        struct span p = segment(pattern), s = segment(path);
        bool pattern_ends = p.len == pattern.len, path_ends = s.len == path.len;
        if (p.len && p.at[0] == '*') {
            class[0] = '3';
            class[1] = '\0';
            return true;
        }
        if (p.len && p.at[0] == ':') {
            if (s.len == 0) return false;
            class[0] = '2';
        } else {
            if (!span_eq(p, s)) return false;
            class[0] = '1';
        }
        if (pattern_ends || path_ends) {
            class[1] = '\0';
            return pattern_ends && path_ends;
        }
        pattern = span_of(pattern.at + p.len + 1, pattern.len - p.len - 1);
        path = span_of(path.at + s.len + 1, path.len - s.len - 1);
    }
}

static int rank(struct span route, struct span asked) {
    if (span_eq(route, asked)) return 3;
    if (span_eq(route, SPAN("GET")) && span_eq(asked, SPAN("HEAD"))) return 2;
    return span_eq(route, SPAN("*")) ? 1 : 0;
}

static void ask(const struct router *r, struct span method, struct span path) {
    char best[PATTERN_SEGMENTS_MAX + 2] = "", class[PATTERN_SEGMENTS_MAX + 2];
    enum route_outcome outcome = ROUTE_NO_PATH;
    struct route_entry want = {0};
    for (uint32_t i = 0; path.len && path.at[0] == '/' && i < router_count(r); i++) {
        struct route_entry e = router_entry(r, i);
        if (!takes(span_of(e.pattern.at + 1, e.pattern.len - 1),
                   span_of(path.at + 1, path.len - 1), class))
            continue;
        int own = rank(e.method, method);
        if (outcome == ROUTE_NO_PATH) outcome = ROUTE_NO_METHOD;
        if (own == 0) continue;
        int order = outcome == ROUTE_FOUND ? strcmp(class, best) : -1;
        if (order > 0 || (order == 0 && own <= rank(want.method, method))) continue;
        outcome = ROUTE_FOUND;
        want = e;
        strcpy(best, class);
    }
    struct route_match m;
    router_match(r, method, path, &m);
    if (m.outcome != outcome || m.visited > router_size(r)) abort();
    if (outcome == ROUTE_FOUND && m.handler != want.handler) abort();
    for (unsigned i = 0; i < m.param_count; i++)
        if (m.params[i].value.at < path.at ||
            m.params[i].value.at + m.params[i].value.len > path.at + path.len)
            abort();
    char allow[ROUTER_ALLOW_MAX];
    if ((router_allow(r, path, allow) == 0) != (outcome == ROUTE_NO_PATH)) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct router *r = router_new();
    const char *at = (const char *)data, *end = at + size, *why;
    for (int compiled = 0; at < end;) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        struct span line = span_of(at, (size_t)((stop ? stop : end) - at));
        at += line.len + 1;
        bool question = line.len && line.at[0] == '?';
        if (question) line = span_of(line.at + 1, line.len - 1);
        if (line.len < 1) continue;
        struct span method = method_of(line.at[0]);
        line = span_of(line.at + 1, line.len - 1);
        if (question) {
            if (!compiled++ && router_compile(r)) abort();
            ask(r, method, line);
        } else if (!compiled && router_count(r) < ROUTES_MAX) {
            router_add(r, method, line, router_count(r), &why);
        }
    }
    router_free(r);
    return 0;
}
