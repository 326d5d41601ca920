/* Any value of Range, against content of any size: what comes out is there, disjoint,
 * and in bounds. The first eight bytes are the size. Build with
 * -fsanitize=fuzzer,address,undefined from base/ and codec/. */
#include "codec/range.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct range out[RANGES_MAX];
    unsigned count;
    uint64_t total, sum = 0;
    if (size < sizeof total) return 0;
    memcpy(&total, data, sizeof total);
    if (total > INT64_MAX) total >>= data[0] % 64 | 1;
    char *value = malloc(size);
    size_t len = size - sizeof total;
    memcpy(value, data + sizeof total, len);
    enum range_result result = range_parse(span_of(value, len), total, out, &count);
    if (count > RANGES_MAX || (result == RANGE_PARTS) != (count > 0)) {
        if (result != RANGE_WHOLE) abort();
        count = 0;
    }
    if (result == RANGE_WHOLE) count = 0; /* found before it gave up */
    for (unsigned i = 0; i < count; i++) {
        if (!out[i].len || out[i].first >= total || out[i].len > total - out[i].first)
            abort();
        sum += out[i].len;
        for (unsigned k = 0; k < i; k++)
            if (out[i].first < out[k].first + out[k].len &&
                out[k].first < out[i].first + out[i].len)
                abort();
    }
    if (sum > total) abort();
    free(value);
    return 0;
}
