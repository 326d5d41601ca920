/* Feeds an http1_reader the input whole, byte by byte, and cut at places that the first
 * byte picks, and compares the accounts. The second byte picks limits; what a head may
 * not hold is checked by http1_feed. Build with -fsanitize=fuzzer,address,undefined
 * from base/, codec/ and llhttp. */
#include "../../spec/unit/http1_feed.h"

#include <stdint.h>

static const struct http1_limits limits[] = {
    {256, 1024, 16},
    {64, 32, 2},
    {64, 0, 0},
    {8192, 65536, FEED_FIELDS},
};

/* Pieces of step bytes, and when step is 0 of a few each, as seed says. */
static char *account(const struct http1_limits *l, const char *at, size_t len,
                     size_t step, uint32_t seed) {
    struct http1_feed f;
    feed_init(&f, l);
    while (len > 0) {
        size_t n = step;
        if (n == 0) {
            seed = seed * 1664525 + 1013904223;
            n = 1 + (seed >> 24) % 29;
        }
        if (n > len) n = len;
        feed(&f, at, n);
        at += n;
        len -= n;
    }
    return feed_done(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 3) return 0;
    const struct http1_limits *l = limits + data[1] % 4;
    const char *at = (const char *)data + 2;
    size_t len = size - 2;
    char *whole = account(l, at, len, len, 0), *each = account(l, at, len, 1, 0);
    char *some = account(l, at, len, 0, data[0]);
    if (strcmp(whole, each) != 0 || strcmp(whole, some) != 0) {
        fprintf(stderr, "whole: %s\neach:  %s\nsome:  %s\n", whole, each, some);
        abort();
    }
    free(whole);
    free(each);
    free(some);
    return 0;
}
