/* Response heads and body framing of HTTP/1.1 (RFC 9112) as bytes.
 *
 * Each function appends to memory that the caller has reserved or to a queue, and keeps
 * nothing. Field values are checked: CR, LF and NUL never get through. Any thread. */
#ifndef CODEC_HTTP1_WRITE_H
#define CODEC_HTTP1_WRITE_H

#include "base/buf.h"
#include "base/span.h"

/* The reason phrase of RFC 9110 15 and the registry; "" when there is none. */
struct span http1_reason(int status);

/* True when a response of that status has no body (1xx, 204, 304: RFC 9110 6.4.1). */
static inline bool http1_bodiless(int status) {
    return status < 200 || status == 204 || status == 304;
}

/* True for a token, as field names are (RFC 9110 5.6.2). */
bool http1_is_token(struct span s);

/* True when the value holds no control byte but HTAB (RFC 9110 5.5). */
bool http1_is_value(struct span s);

/* Appends "name: value CRLF". 0, ERR_SYNTAX when one of them may not stand in a head,
 * or ERR_MEMORY. */
int http1_field(struct buf *out, struct span name, struct span value);

/* False for a field that frames, routes, authenticates or changes how the content is
 * read: it may not stand behind a body (RFC 9110 6.5.1). */
bool http1_may_trail(struct span name);

enum { HTTP1_HEAD_ROOM = 256 };

enum http1_framing { HTTP1_NO_BODY, HTTP1_LENGTH, HTTP1_CHUNKED, HTTP1_UNTIL_CLOSE };

struct http1_answer {
    int status;
    enum http1_framing framing;
    uint64_t length;  /* with HTTP1_LENGTH */
    struct span date; /* IMF-fixdate */
    struct span type; /* Content-Type, or empty */
    bool close;       /* say Connection: close */
    bool persist;     /* say Connection: keep-alive, for 1.0 */
};

/* Writes the status line and the fields of *a at `to`, which has HTTP1_HEAD_ROOM +
 * a->type.len bytes; the caller appends its own fields and the empty line. Returns the
 * bytes written. */
size_t http1_head(char *to, const struct http1_answer *a);

/* Decimal digits of n at `to` (20 bytes at most); how many. */
size_t http1_decimal(char *to, uint64_t n);

/* "1F40 CRLF" before a chunk of n bytes (18 bytes at most); how many. */
size_t http1_chunk_head(char *to, uint64_t n);

#endif
