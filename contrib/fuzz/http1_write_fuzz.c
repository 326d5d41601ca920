/* Fields and heads of answers from any bytes: what is written is one field, one head,
 * whatever is in it, and is refused where it could not be. The first bytes are the
 * answer's numbers; lines of name NUL value follow. Build with
 * -fsanitize=fuzzer,address,undefined from base/ and codec/. */
#include "codec/http1_write.h"

#include <stdlib.h>

enum { NUMBERS = 12 };

static void check(bool holds) {
    if (!holds) abort();
}

static unsigned count(struct span s, char c) {
    unsigned n = 0;
    for (size_t i = 0; i < s.len; i++) n += s.at[i] == c;
    return n;
}

static void field(struct span name, struct span value) {
    struct buf out;
    buf_init(&out);
    int err = http1_field(&out, name, value);
    check((err == 0) == (http1_is_token(name) && http1_is_value(value)));
    if (err == 0) {
        struct span s = buf_span(&out);
        check(s.len == name.len + value.len + 4 && name.len > 0);
        check(memcmp(s.at + s.len - 2, "\r\n", 2) == 0);
        check(count(s, '\r') == 1 && count(s, '\n') == 1 && count(s, 0) == 0);
        check(memchr(s.at, ':', s.len) == s.at + name.len);
    } else {
        check(buf_len(&out) == 0);
    }
    http1_may_trail(name);
    buf_reset(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < NUMBERS) return 0;
    struct http1_answer a = {.status = 100 + (data[0] << 8 | data[1]) % 900,
                             .framing = data[2] % (HTTP1_UNTIL_CLOSE + 1),
                             .date = SPAN("Sat, 21 Nov 2026 10:11:53 GMT"),
                             .close = data[3] & 1,
                             .persist = data[3] & 2};
    memcpy(&a.length, data + 4, 8);
    if (data[3] & 4) a.type = SPAN("text/plain");
    char *head = malloc(HTTP1_HEAD_ROOM + a.type.len);
    struct span s = span_of(head, http1_head(head, &a));
    check(s.len <= HTTP1_HEAD_ROOM + a.type.len);
    check(s.len > 17 && memcmp(s.at, "HTTP/1.1 ", 9) == 0);
    check(count(s, '\r') == count(s, '\n') && !memmem(s.at, s.len, "\r\n\r\n", 4));
    check(memcmp(s.at + s.len - 2, "\r\n", 2) == 0);
    free(head);
    char text[24];
    size_t n = http1_decimal(text, a.length);
    check(n >= 1 && n <= 20);
    text[n] = '\0';
    check(strtoull(text, NULL, 10) == a.length);
    n = http1_chunk_head(text, a.length);
    check(n >= 3 && n <= 18 && memcmp(text + n - 2, "\r\n", 2) == 0);
    text[n] = '\0';
    check(strtoull(text, NULL, 16) == a.length);
    struct span rest = span_of((const char *)data + NUMBERS, size - NUMBERS);
    while (rest.len) {
        const char *nul = memchr(rest.at, 0, rest.len);
        size_t name = nul ? (size_t)(nul - rest.at) : rest.len;
        size_t value = nul ? rest.len - name - 1 : 0;
        const char *next = value > 8 ? memchr(nul + 1, '\n', value) : NULL;
        if (next && next > nul + 4) value = (size_t)(next - nul - 1);
        field(span_of(rest.at, name), span_of(nul ? nul + 1 : "", value));
        size_t used = name + (nul != NULL) + value;
        rest = span_of(rest.at + used, rest.len - used);
    }
    return 0;
}
