/* Any value of Forwarded or X-Forwarded-For: elements come from the end, within it and
 * without blanks around them; what is written in front changes nothing in the last one.
 * Build with -fsanitize=fuzzer,address,undefined from base/ and codec/. */
#include "codec/forwarded.h"

#include <stdlib.h>

static void check(bool holds) {
    if (!holds) abort();
}

static bool within(struct span s, struct span of) {
    return !s.len || (s.at >= of.at && s.at + s.len <= of.at + of.len);
}

static void look(struct span element) {
    struct forwarded_pairs pairs;
    struct forwarded_node node;
    bool secure;
    forwarded_node(element, &node);
    forwarded_scheme(element, &secure);
    if (!forwarded_pairs(element, &pairs)) return;
    check(within(pairs.client, element) && within(pairs.scheme, element) &&
          within(pairs.host, element));
    forwarded_node(pairs.client, &node);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *copy = malloc(size + 2), *longer = malloc(size + 2);
    if (size) memcpy(copy, data, size);
    struct span all = span_of(copy, size), rest = all, element, first = {0};
    for (size_t before = size + 1; forwarded_last(&rest, &element);) {
        check(element.len && within(element, all) && rest.len < before);
        check(element.at[0] != ' ' && element.at[element.len - 1] != ' ');
        if (!first.len) first = element;
        before = rest.len;
        look(element);
    }
    check(!rest.len);
    if (first.len) {
        size_t from = (size_t)(first.at - copy);
        longer[0] = '"';
        longer[1] = ',';
        memcpy(longer + 2, copy + from, size - from);
        rest = span_of(longer, size - from + 2);
        check(forwarded_last(&rest, &element) && span_eq(element, first));
    }
    free(copy);
    free(longer);
    return 0;
}
