/* Any target, and any bytes as a path: the name that comes of it stays below a
 * directory and shows nothing hidden. Build with -fsanitize=fuzzer,address,undefined
 * from base/ and codec/. */
#include "codec/filename.h"
#include "codec/target.h"

#include <stdint.h>
#include <stdlib.h>

static void check(struct span path) {
    static char name[512];
    size_t n = filename_of(path, name, sizeof name);
    if (n == 0) return;
    if (n >= sizeof name || name[n] != 0 || strlen(name) != n || name[0] != '/')
        abort();
    if (strchr(name, '\\') || strstr(name, "//")) abort();
    for (const char *dot = name; (dot = strstr(dot, "/.")); dot++)
        if (strncmp(dot, "/.well-known", 12) != 0 || (dot[12] && dot[12] != '/'))
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *raw = malloc(size + 1), *scratch = malloc(size + 1);
    struct target t;
    const char *why;
    memcpy(raw, data, size);
    check(span_of(raw, size));
    if (target_parse(span_of(raw, size), false, scratch, &t, &why) == 0) check(t.path);
    free(raw);
    free(scratch);
    return 0;
}
