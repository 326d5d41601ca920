#include "codec/head.h"

static bool is_letter(char c) {
    return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
}

/* As span_case_eq, but quick where the letters are the same. */
static bool same_name(const char *a, const char *b, size_t len) {
    size_t i = 0;
    for (uint64_t x, y; i + 8 <= len; i += 8) {
        memcpy(&x, a + i, 8);
        memcpy(&y, b + i, 8);
        if ((x ^ y) & ~UINT64_C(0x2020202020202020)) return false;
        if (x != y) break;
    }
    for (; i < len; i++)
        if (a[i] != b[i] && ((a[i] ^ b[i]) != 0x20 || !is_letter(a[i]))) return false;
    return true;
}

bool head_find(const struct head *h, struct span name, unsigned *from,
               struct span *value) {
    const struct head_field *end = h->fields + h->field_count;
    for (const struct head_field *f = h->fields + *from; f < end; f++) {
        if (f->name_len != name.len || !same_name(h->base + f->name, name.at, name.len))
            continue;
        *from = (unsigned)(f - h->fields) + 1;
        *value = head_value(h, f);
        return true;
    }
    *from = h->field_count;
    return false;
}

bool head_lacks_length(const struct head *h) {
    struct span method = head_method(h), value;
    unsigned from = 0;
    if (h->minor != 0 || h->has_body) return false;
    return (span_eq(method, SPAN("POST")) || span_eq(method, SPAN("PUT")) ||
            span_eq(method, SPAN("PATCH"))) &&
           !head_find(h, SPAN("Content-Length"), &from, &value);
}

bool head_lists(struct span list, struct span element) {
    const char *at = list.at, *end = list.at + list.len;
    while (at < end) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        const char *to = comma ? comma : end, *next = comma ? comma + 1 : end;
        while (at < to && (*at == ' ' || *at == '\t')) at++;
        while (to > at && (to[-1] == ' ' || to[-1] == '\t')) to--;
        if (span_case_eq(span_of(at, (size_t)(to - at)), element)) return true;
        at = next;
    }
    return false;
}
