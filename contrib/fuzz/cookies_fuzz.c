/* Reads the input as a Cookie header and compares with a model that looks at one byte
 * after the other. Build with -fsanitize=fuzzer,address,undefined from base/ and
 * codec/. */
#include "codec/cookies.h"

#include <stdint.h>
#include <stdlib.h>

static void check(bool holds) {
    if (!holds) abort();
}

static bool blank(char c) {
    return c == ' ' || c == '\t';
}

/* The next pair that ends before `size`; false when there is none. */
static bool model(const char *at, size_t size, size_t *i, struct span *name,
                  struct span *value) {
    while (*i < size) {
        size_t start = *i, equals = SIZE_MAX, stop = start;
        for (; stop < size && at[stop] != ';'; stop++)
            if (at[stop] == '=' && equals == SIZE_MAX) equals = stop;
        *i = stop + 1;
        if (equals == SIZE_MAX) continue;
        size_t from = start, to = equals, v = equals + 1, end = stop;
        for (; from < to && blank(at[from]); from++) continue;
        for (; to > from && blank(at[to - 1]); to--) continue;
        for (; v < end && blank(at[v]); v++) continue;
        for (; end > v && blank(at[end - 1]); end--) continue;
        bool good = to > from;
        for (size_t k = from; k < to; k++)
            good = good && (unsigned char)at[k] > 32 && at[k] != 127;
        if (!good) continue;
        if (end > v + 1 && at[v] == '"' && at[end - 1] == '"') v++, end--;
        *name = span_of(at + from, to - from);
        *value = span_of(at + v, end - v);
        return true;
    }
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *at = (const char *)data;
    struct span rest = span_of(at, size), name, value, model_name, model_value;
    size_t i = 0;
    while (cookies_next(&rest, &name, &value)) {
        check(model(at, size, &i, &model_name, &model_value));
        check(name.at == model_name.at && name.len == model_name.len);
        check(value.at == model_value.at && value.len == model_value.len);
    }
    check(!model(at, size, &i, &model_name, &model_value));
    return 0;
}
