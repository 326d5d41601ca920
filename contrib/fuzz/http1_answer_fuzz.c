/* Feeds an answer_reader the input whole, byte by byte, and cut at places that the
 * first byte picks, and compares the accounts; what a head may not hold is checked by
 * answer_feed. The second byte picks the request's kind. Build with
 * -fsanitize=fuzzer,address,undefined from base/ and codec/. */
#include "../../spec/unit/answer_feed.h"

static char *account(enum answer_to to, const char *at, size_t len, size_t step,
                     uint32_t seed) {
    struct answer_feed f;
    feed_init(&f, to);
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
    enum answer_to to = data[1] % 4;
    const char *at = (const char *)data + 2;
    size_t len = size - 2;
    char *whole = account(to, at, len, len, 0), *each = account(to, at, len, 1, 0);
    char *some = account(to, at, len, 0, data[0]);
    if (strcmp(whole, each) != 0 || strcmp(whole, some) != 0) {
        fprintf(stderr, "whole: %s\neach:  %s\nsome:  %s\n", whole, each, some);
        abort();
    }
    free(whole);
    free(each);
    free(some);
    return 0;
}
