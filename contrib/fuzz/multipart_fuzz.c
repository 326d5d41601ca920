/* Reads the input as a form, whole and in small pieces, each in memory of its own, and
 * compares all that is found; checks what multipart.h and params.h promise. The first
 * line is the Content-Type, with the first byte the size of the pieces. Build with
 * -fsanitize=fuzzer,address,undefined from base/ and codec/. */
#include "codec/multipart.h"

#include <stdint.h>
#include <stdlib.h>

static const struct multipart_limits limits = {20, 500, 100};

static void check(bool holds) {
    if (!holds) abort();
}

static void put(struct buf *out, struct span s) {
    check(s.len == 0 || buf_append(out, s.at, s.len) == 0);
    check(buf_append(out, "|", 1) == 0);
}

static void put_param(struct buf *out, const struct param *p, bool extended) {
    char *text = malloc(p->value.len);
    size_t n;
    if (extended)
        check(params_decode_extended(p, text, &n));
    else
        n = params_decode(p, text);
    check(n <= p->value.len);
    put(out, span_of(text, n));
    free(text);
}

static void put_part(struct buf *out, const struct multipart *m) {
    struct span name, value;
    struct param p = {.value = {NULL, 0}};
    size_t from = 0;
    bool extended;
    put(out, SPAN("part"));
    while (multipart_field(m, &from, &name, &value)) {
        check(name.len > 0 && !memchr(value.at, '\n', value.len));
        put(out, name);
        put(out, value);
        while (params_next(&value, &p) > 0) put_param(out, &p, false);
    }
    multipart_name(m, &p);
    check(p.value.at && p.value.len <= limits.name_max);
    put_param(out, &p, false);
    if (multipart_file_name(m, &p, &extended)) put_param(out, &p, extended);
}

static void read_form(struct span type, struct span body, size_t piece,
                      struct buf *out) {
    struct multipart m;
    bool broken = multipart_init(&m, type, &limits) != 0, in_data = false;
    for (size_t at = 0; !broken && at < body.len;) {
        size_t n = body.len - at < piece ? body.len - at : piece, done = 0, used;
        char *copy = malloc(n);
        memcpy(copy, body.at + at, n);
        enum multipart_event event;
        do {
            struct span data = span_of(NULL, 0);
            event = multipart_read(&m, copy + done, n - done, &used, &data);
            check(used <= n - done);
            done += used;
            /* The data's pieces may differ, all of it may not. */
            if (event == MULTIPART_DATA) {
                check(data.len > 0 && buf_append(out, data.at, data.len) == 0);
                in_data = true;
            }
            if (event != MULTIPART_DATA && event != MULTIPART_MORE && in_data) {
                put(out, SPAN(""));
                in_data = false;
            }
            if (event == MULTIPART_PART) put_part(out, &m);
            if (event == MULTIPART_OVER) put(out, SPAN("over"));
            if (event == MULTIPART_END) put(out, SPAN("end"));
            if (event == MULTIPART_BAD) put(out, span_str(m.reason));
        } while (event != MULTIPART_MORE && event != MULTIPART_BAD);
        broken = event == MULTIPART_BAD;
        check(broken || done == n);
        free(copy);
        at += n;
    }
    put(out, multipart_complete(&m) ? SPAN("complete") : SPAN("not complete"));
    multipart_done(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    const char *type = (const char *)data + 1, *end = (const char *)data + size;
    const char *line = memchr(type, '\n', size - 1);
    if (!line) return 0;
    struct span t = span_of(type, (size_t)(line - type));
    struct span body = span_of(line + 1, (size_t)(end - line - 1));
    struct buf whole, cut;
    buf_init(&whole);
    buf_init(&cut);
    read_form(t, body, body.len + 1, &whole);
    read_form(t, body, 1 + data[0] % 16, &cut);
    check(span_eq(buf_span(&whole), buf_span(&cut)));
    buf_reset(&whole);
    buf_reset(&cut);
    return 0;
}
