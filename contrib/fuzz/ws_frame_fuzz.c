/* Feeds a ws_reader the input whole, byte by byte, and cut at places that the first
 * byte picks, and compares the accounts. The second byte picks the side and whether
 * compression was agreed. Build with -fsanitize=fuzzer,address,undefined from base/ and
 * codec/. */
#include "../../spec/unit/ws_feed.h"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 3) return 0;
    bool client = data[1] & 1, compression = data[1] & 2;
    const char *at = (const char *)data + 2;
    size_t n = size - 2;
    char *whole = ws_account(at, n, n, 0, client, compression);
    char *each = ws_account(at, n, 1, 0, client, compression);
    char *some = ws_account(at, n, 0, data[0], client, compression);
    if (strcmp(whole, each) != 0 || strcmp(whole, some) != 0) {
        fprintf(stderr, "whole: %s\neach:  %s\nsome:  %s\n", whole, each, some);
        abort();
    }
    free(whole);
    free(each);
    free(some);
    return 0;
}
