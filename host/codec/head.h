/* The head of a request as parsed: where its parts stand in the bytes that came, and
 * what they mean for the framing. Parts are offsets from `base`, so the bytes may be
 * moved (from the shared read buffer to memory of the exchange's own) by setting
 * `base`.
 *
 * http1_read fills it; the exchange owns it and the array of fields. A new one is all
 * zero but for these and the memo. Field names are
 * compared without regard to case, values come without white space around them, and no
 * value holds CR, LF or NUL. One thread at a time. */
#ifndef CODEC_HEAD_H
#define CODEC_HEAD_H

#include "base/span.h"

#include <stdint.h>

struct head_field {
    uint32_t name, value; /* offsets from base */
    uint32_t value_len;
    uint16_t name_len;
};

enum { HEAD_KNOWN_HOST = 47 };

struct head_memo;

struct head {
    const char *base;
    uint32_t len; /* bytes of the whole head, the empty line included */
    uint32_t method_len;
    uint32_t target, target_len;       /* request-target as it came */
    uint32_t authority, authority_len; /* value of Host; 0 and 0 when absent */
    uint16_t field_count;
    uint8_t method;  /* an llhttp_method_t */
    uint8_t minor;   /* HTTP/1.minor */
    bool keep_alive; /* as version and Connection say, RFC 9112 9.3 */
    bool has_body;   /* Content-Length above 0, or chunked */
    bool chunked;
    bool expect_continue; /* Expect: 100-continue on HTTP/1.1 */
    bool expect_unknown;  /* any other expectation: 417 */
    bool plain; /* the target is known to be a path that target_parse leaves as it is */
    uint64_t content_length; /* bytes; 0 when chunked */
    /* From here on from request to request. */
    struct head_field *fields;
    struct head_memo *memo; /* of who owns it, or NULL */
    uint16_t field_capacity;
    uint8_t known_len; /* a Host that was found valid, not to be parsed again */
    char known_host[HEAD_KNOWN_HOST];
};

static inline struct span head_method(const struct head *h) {
    return span_of(h->base, h->method_len);
}

static inline struct span head_target(const struct head *h) {
    return span_of(h->base + h->target, h->target_len);
}

static inline struct span head_name(const struct head *h, const struct head_field *f) {
    return span_of(h->base + f->name, f->name_len);
}

static inline struct span head_value(const struct head *h, const struct head_field *f) {
    return span_of(h->base + f->value, f->value_len);
}

/* The first field of that name at or after *from, which is set behind it; false when
 * there is none. Start with *from = 0 and call again for repeated fields. */
bool head_find(const struct head *h, struct span name, unsigned *from,
               struct span *value);

/* Whether a comma-separated list has that element, in any case. */
bool head_lists(struct span list, struct span element);

/* True for a request of HTTP/1.0 that should say its content's length and does not, so
 * that nobody can tell what is behind the head (RFC 1945 8.3, RFC 9110 15.5.12). */
bool head_lacks_length(const struct head *h);

#endif
