/* Whatever a client has sent, its line in the access log is one line of printable
 * ASCII that ends where it should: no quote, newline or terminal's command gets
 * through. The first bytes are numbers, the rest is divided among the texts. Build with
 * -fsanitize=fuzzer,address,undefined from base/ and http/access.c. */
#include "http/access.h"

#include <stdlib.h>

enum { NUMBERS = 16 };

static void check(bool holds) {
    if (!holds) abort();
}

/* The next text, up to a NUL, in memory of its own. */
static struct span take(struct span *rest) {
    const char *end = rest->len ? memchr(rest->at, 0, rest->len) : NULL;
    size_t n = end ? (size_t)(end - rest->at) : rest->len;
    char *copy = malloc(n ? n : 1);
    if (n) memcpy(copy, rest->at, n);
    *rest = span_of(rest->at + n + (end != NULL), rest->len - n - (end != NULL));
    return span_of(copy, n);
}

/* Quotes that no backslash precedes. */
static unsigned quotes(const char *line, size_t n) {
    unsigned count = 0;
    for (size_t i = 0; i < n; i++) {
        if (line[i] == '\\')
            i++;
        else if (line[i] == '"')
            count++;
    }
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < NUMBERS) return 0;
    struct span rest = span_of((const char *)data + NUMBERS, size - NUMBERS);
    struct span texts[6];
    for (int i = 0; i < 6; i++) texts[i] = take(&rest);
    struct access_entry e = {.remote = texts[0],
                             .method = texts[1],
                             .target = texts[2],
                             .referer = texts[3],
                             .user_agent = texts[4],
                             .request_id = texts[5],
                             .major = data[0] % 10,
                             .minor = data[1] % 10,
                             .status = (unsigned short)(data[2] << 8 | data[3])};
    memcpy(&e.bytes_out, data + 4, 8);
    memcpy(&e.duration_ns, data + 8, 8);
    e.wall_ns = (int64_t)(e.bytes_out >> 2);
    for (int format = ACCESS_COMBINED; format <= ACCESS_JSON; format++) {
        struct access a = {.format = (enum access_format)format, .second = -1};
        char *out = malloc(ACCESS_LINE_MAX);
        size_t n = access_line(&a, &e, out);
        check(n > 0 && n <= ACCESS_LINE_MAX && memchr(out, '\n', n) == out + n - 1);
        for (size_t i = 0; i + 1 < n; i++)
            check((out[i] >= ' ' && out[i] != 0x7f) || format == ACCESS_JSON);
        for (size_t i = 0; i + 1 < n; i++) check((unsigned char)out[i] >= ' ');
        check(quotes(out, n) % 2 == 0);
        if (format == ACCESS_COMBINED) check(quotes(out, n) == 6);
        free(out);
    }
    for (int i = 0; i < 6; i++) free((char *)texts[i].at);
    return 0;
}
