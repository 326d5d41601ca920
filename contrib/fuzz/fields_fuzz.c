/* Reads the input as the head of a request, and then all that is read out of the fields
 * of one: conditions, the range, what it takes and asks for, a WebSocket. Each is right
 * by what its header promises. Build with -fsanitize=fuzzer,address,undefined from
 * base/, codec/ and llhttp. */
#include "codec/coding.h"
#include "codec/condition.h"
#include "codec/http1_read.h"
#include "codec/mime.h"
#include "codec/range.h"
#include "codec/ws_handshake.h"

#include <stdlib.h>

enum { FIELDS = 32, SIZE = 1000, NOW = 1800000000 };

static void check(bool holds) {
    if (!holds) abort();
}

static void conditions(const struct head *h, const struct validators *v) {
    struct span value;
    unsigned from = 0;
    enum condition c = condition_check(h, v);
    bool counts = condition_range(h, v);
    check(c <= CONDITION_FAILED);
    if (!head_find(h, SPAN("If-Range"), &from, &value)) check(counts);
    bool none = true;
    static const struct span names[] = {SPAN("If-Match"), SPAN("If-None-Match"),
                                        SPAN("If-Modified-Since"),
                                        SPAN("If-Unmodified-Since")};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        from = 0;
        none = none && !head_find(h, names[i], &from, &value);
    }
    if (none) check(c == CONDITION_MET);
    /* Nobody is told that what is not there has not changed. */
    if (!v->etag.len && v->modified < 0) {
        from = 0;
        if (!head_find(h, SPAN("If-None-Match"), &from, &value))
            check(c != CONDITION_NOT_MODIFIED);
    }
}

static void ranges(const struct head *h) {
    struct range out[RANGES_MAX];
    struct span value;
    unsigned from = 0, count = 0;
    while (head_find(h, SPAN("Range"), &from, &value)) {
        if (range_parse(value, SIZE, out, &count) != RANGE_PARTS) continue;
        check(count >= 1 && count <= RANGES_MAX);
        for (unsigned i = 0; i < count; i++)
            check(out[i].len && out[i].first + out[i].len <= SIZE);
    }
}

static void websocket(const struct head *h) {
    struct span key;
    const char *why = NULL;
    char accept[WS_ACCEPT];
    int status = ws_request_check(h, &key, &why);
    if (status) {
        check(why && (status == 400 || status == 405 || status == 426));
    } else {
        check(ws_request_asks(h) && ws_key_is_good(key) && ws_protocols_are_good(h));
        check(h->minor == 1 && !h->has_body);
        ws_accept(key, accept);
    }
    if (ws_protocol_offered(h, SPAN("chat"))) {
        unsigned from = 0;
        struct span value;
        check(head_find(h, SPAN("sec-websocket-protocol"), &from, &value));
    }
    check(!ws_protocol_offered(h, SPAN("")));
}

static void codings(const struct head *h) {
    struct coding_weights w;
    coding_accepted(h, &w);
    for (unsigned set = 0; set < 1u << CODINGS; set++) {
        enum coding c = coding_choose(&w, set);
        check(c == CODING_IDENTITY || ((set >> c & 1) && w.at[c]));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct http1_limits limits = {256, 1024, FIELDS};
    struct head_field fields[FIELDS];
    struct head h = {.fields = fields, .field_capacity = FIELDS};
    struct http1_reader reader;
    struct span body, type;
    size_t used;
    unsigned from = 0;
    char *copy = malloc(size ? size : 1);
    if (size) memcpy(copy, data, size);
    http1_reader_init(&reader, &limits);
    http1_read_begin(&reader, &h);
    if (http1_read(&reader, copy, size, &used, &body) == HTTP1_HEAD) {
        struct validators all[] = {
            {.etag = SPAN("\"tag\""), .modified = NOW - 100, .now = NOW},
            {.etag = SPAN("W/\"tag\""), .modified = -1, .now = NOW},
            {.modified = NOW, .now = NOW},
            {.modified = -1, .now = NOW},
        };
        for (size_t i = 0; i < sizeof all / sizeof *all; i++) conditions(&h, &all[i]);
        ranges(&h);
        websocket(&h);
        codings(&h);
        head_lacks_length(&h);
        if (head_find(&h, SPAN("Content-Type"), &from, &type)) {
            mime_matches(SPAN("text/* application/json"), type);
            mime_is_packed(type);
        }
    }
    free(copy);
    return 0;
}
