/* Any bytes as a PROXY header: read whole and from every beginning it comes to the
 * same, what is found lies within, and a header is within its bounds. Behind a header
 * anything may follow. Build with -fsanitize=fuzzer,address,undefined from base/ and
 * codec/. */
#include "codec/proxy_protocol.h"

#include <stdlib.h>

static void check(bool holds) {
    if (!holds) abort();
}

static bool within(struct span s, const char *at, size_t n) {
    return !s.len || (s.at >= at && s.at + s.len <= at + n);
}

static void check_done(const struct proxy_header *h, const char *at, size_t used) {
    check(used <= PROXY_HEADER_MAX && (h->version != 1 || used <= PROXY_V1_MAX));
    check(h->version == 1 || h->version == 2);
    check(!h->local || h->family == PROXY_NOBODY);
    check(h->family <= PROXY_UNIX);
    check(within(h->source_path, at, used) && h->source_path.len <= 108);
    check(within(h->target_path, at, used) && h->target_path.len <= 108);
    check(within(h->alpn, at, used) && within(h->authority, at, used));
    check(within(h->unique_id, at, used) && h->unique_id.len <= 128);
    check(within(h->tls_version, at, used) && within(h->tls_name, at, used));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct proxy_header h;
    size_t used, part_used;
    const char *why, *part_why;
    char *copy = malloc(size + !size); /* ends where the input does */
    if (size) memcpy(copy, data, size);
    enum proxy_result result = proxy_read(copy, size, &h, &used, &why);
    check(result == PROXY_DONE ? used > 0 && used <= size
                               : !used || result == PROXY_BAD);
    check((result == PROXY_BAD) == (why[0] != 0));
    check(result != PROXY_MORE || size < PROXY_HEADER_MAX);
    if (result == PROXY_DONE) check_done(&h, copy, used);
    for (size_t n = 0; n < size && n < 512; n++) {
        enum proxy_result part = proxy_read(copy, n, &h, &part_used, &part_why);
        if (part == PROXY_MORE) continue;
        check(part == result && (part == PROXY_BAD || part_used == used));
        break;
    }
    free(copy);
    return 0;
}
