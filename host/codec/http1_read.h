/* Bytes of an HTTP/1 connection into the events of its requests (RFC 9112). llhttp
 * parses; what it lets through and a careful server must refuse is refused here: the
 * head has to be, byte for byte, `method SP target SP HTTP/1.x CRLF *(name ":" OWS
 * value OWS CRLF) CRLF`, with one valid Host on 1.1 and no Transfer-Encoding on 1.0.
 *
 * Pull style: http1_read is called with what has come until it says HTTP1_MORE. It
 * allocates nothing, reads no clock, and holds no pointer into the caller's bytes
 * between calls. One thread at a time. */
#ifndef CODEC_HTTP1_READ_H
#define CODEC_HTTP1_READ_H

#include "codec/head.h"
#include "codec/head_memo.h"

#ifndef ATOLL_LLHTTP_PACKAGED
#define LLHTTP_STRICT_MODE                                                             \
    1 /* as the sources are compiled; the struct depends on it                         \
       */
#endif
#include <llhttp.h>

struct http1_limits {
    uint32_t request_line_max; /* bytes without CRLF; more is 414 */
    uint32_t
        header_bytes_max; /* bytes of all fields (and, apart, of all trailers); 431 */
    uint32_t header_count_max; /* fields; more is 431 */
};

enum http1_event {
    HTTP1_MORE,     /* all was used that can be; call again with more bytes */
    HTTP1_HEAD,     /* the head is complete; without has_body the request is, too */
    HTTP1_BODY,     /* a piece of the body */
    HTTP1_TRAILERS, /* a piece of the lines behind the last chunk, if there are any */
    HTTP1_END,      /* the body is complete */
    HTTP1_BAD,      /* answer with status and close; nothing more can be read */
};

struct http1_reader {
    /* First, since its callbacks get only this. Its data is the head, lent by
       http1_read_begin until HTTP1_HEAD; its content_length counts the bytes to come of
       the body or of its current chunk. */
    llhttp_t parser;
    const struct http1_limits *limits;
    const char *reason; /* of HTTP1_BAD: a short sentence; static storage */
    uint32_t parsed;    /* bytes seen of the head, the chunk line or the trailers */
    uint32_t line;      /* bytes of the request line with its CRLF; 0 while unknown */
    uint32_t extra;     /* bytes of chunk extensions so far, then lines of trailers */
    uint16_t status;    /* of HTTP1_BAD: 400, 414, 431, 501 or 505 */
    uint8_t state;
    struct head_habit habit;
    uint8_t detail; /* empty lines skipped; first chunk line; place in the trailers */
};

/* Ready for the first request of a connection. limits must outlive the reader; they are
 * at least 64 bytes, 0 bytes and 0 fields, and the bytes sum to less than 2 GiB. */
void http1_reader_init(struct http1_reader *r, const struct http1_limits *limits);

/* The next request's head goes into *head, whose fields array has field_capacity
 * entries (at least header_count_max), and whose memo may help. Called before the first
 * http1_read of each request; what remained unread of a body is skipped by nobody, so
 * read to HTTP1_END first. After HTTP1_BAD it does nothing. */
void http1_read_begin(struct http1_reader *r, struct head *head);

/* Reads on.
 *
 * Until HTTP1_HEAD, `at` is the start of the request and len counts all of its bytes
 * that have come so far, those seen before included: the caller keeps a head in one
 * piece. With HTTP1_MORE *used is 0, or the number of bytes of empty lines before the
 * request, which the caller drops; with HTTP1_HEAD *used is the head's length (plus
 * those) and head->base points into `at`.
 *
 * After it, `at` is the bytes not seen before; *used says how many are done with. With
 * HTTP1_BODY *body is a run inside `at`; call again at once, also with no bytes left,
 * since HTTP1_END may follow without any. With HTTP1_TRAILERS, too: the pieces together
 * are lines of `name: value CRLF`, well formed, and an empty one. Between requests the
 * answer is HTTP1_MORE and nothing is used. */
enum http1_event http1_read(struct http1_reader *r, const char *at, size_t len,
                            size_t *used, struct span *body);

#endif
