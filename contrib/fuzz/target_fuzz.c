/* Splits the input as a target, and as a CONNECT's, and checks what target.h promises
 * of the parts; then walks and decodes it as a query. Build with
 * -fsanitize=fuzzer,address,undefined from base/ and codec/. */
#include "base/err.h"
#include "codec/target.h"

#include <stdint.h>
#include <stdlib.h>

static void check(bool holds) {
    if (!holds) abort();
}

static bool inside(struct span s, const char *at, size_t len) {
    return s.at >= at && s.at + s.len <= at + len;
}

static void check_path(struct span path) {
    const char *end = path.at + path.len;
    check(path.len > 0 && path.at[0] == '/' && !memchr(path.at, 0, path.len));
    for (const char *at = path.at, *slash = at; slash; at = slash) {
        at++;
        slash = memchr(at, '/', (size_t)(end - at));
        struct span segment = span_of(at, (size_t)((slash ? slash : end) - at));
        check(!span_eq(segment, SPAN(".")) && !span_eq(segment, SPAN("..")));
    }
    /* What is left of escapes is "%2F" and "%25". */
    for (const char *at = path.at; (at = memchr(at, '%', (size_t)(end - at))); at++)
        check(end - at >= 3 && at[1] == '2' && (at[2] == '5' || (at[2] | 32) == 'f'));
    char *final = malloc(path.len);
    size_t len = target_decode(path, false, final);
    check(len <= path.len && target_plain(path) == (len == path.len));
    free(final);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *bytes = (const char *)data;
    struct span raw = span_of(bytes, size), rest = raw, name, value;
    char *scratch = malloc(size), *again = malloc(size);
    const char *why = NULL;
    struct target t;
    int err = target_parse(raw, false, scratch, &t, &why);
    check(err == 0 ? true : err == ERR_SYNTAX && why);
    if (err == 0 && t.form != TARGET_ASTERISK) {
        check_path(t.path);
        check(inside(t.path, bytes, size) || inside(t.path, scratch, size));
        check(t.query.at == NULL || inside(t.query, bytes, size));
        check((t.form == TARGET_ABSOLUTE) == (t.authority.len > 0));
    }
    if (target_parse(raw, true, scratch, &t, &why) == 0)
        check(t.form == TARGET_AUTHORITY && inside(t.authority, bytes, size));
    size_t left = size + 1;
    while (query_next(&rest, &name, &value)) {
        check(rest.len < left && inside(name, bytes, size));
        check(value.len == 0 || inside(value, bytes, size));
        left = rest.len;
        size_t n = target_decode(name, true, again);
        check(n <= name.len);
        memcpy(scratch, name.at, name.len);
        check(target_decode(span_of(scratch, name.len), true, scratch) == n);
        check(n == 0 || memcmp(scratch, again, n) == 0);
    }
    free(scratch);
    free(again);
    return 0;
}
