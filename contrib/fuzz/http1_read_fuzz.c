/* Feeds an http1_reader the input whole, byte by byte, and cut at places that the first
 * byte picks, and with a memo that knows its fields, and compares the accounts. The
 * second byte picks limits; what a head may not hold is checked by http1_feed. Build
 * with -fsanitize=fuzzer,address,undefined from base/, codec/ and llhttp. */
#include "../../spec/unit/http1_feed.h"

#include <stdint.h>

static const struct http1_limits limits[] = {
    {256, 1024, 16},
    {64, 32, 2},
    {64, 0, 0},
    {8192, 65536, FEED_FIELDS},
};

/* Pieces of step bytes, and when step is 0 of a few each, as seed says. */
static char *account(struct head_memo *memo, const struct http1_limits *l,
                     const char *at, size_t len, size_t step, uint32_t seed) {
    struct http1_feed f;
    feed_init(&f, l);
    f.head.memo = memo;
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
    struct head_memo memo = {0};
    feed_teach(&memo, l, span_of(at, len));
    char *whole = account(NULL, l, at, len, len, 0);
    char *each = account(NULL, l, at, len, 1, 0);
    char *some = account(&memo, l, at, len, 0, data[0]);
    char *known = account(&memo, l, at, len, len, 0);
    if (strcmp(whole, each) != 0 || strcmp(whole, some) != 0 ||
        strcmp(whole, known) != 0) {
        fprintf(stderr, "whole: %s\neach:  %s\nsome:  %s\nknown: %s\n", whole, each,
                some, known);
        abort();
    }
    free(known);
    head_memo_done(&memo);
    free(whole);
    free(each);
    free(some);
    return 0;
}
