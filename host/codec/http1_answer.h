/* Bytes of an HTTP/1 connection into the answer to a request of ours (RFC 9112), as a
 * client that trusts no server reads them. Whatever two readers could understand
 * differently is refused: bare CR or LF, folded lines, white space before a colon, two
 * lengths, a length beside Transfer-Encoding, numbers that overflow.
 *
 * A head, and a section of trailers, is reported when it is whole, and then every line
 * of it is known to be `name: value CRLF`, so answer_field can go through it. Until
 * then nothing is consumed, and the caller comes again with the same bytes and more; a
 * body is consumed as it comes. Nothing is kept but offsets and counts. One thread at a
 * time. */
#ifndef CODEC_HTTP1_ANSWER_H
#define CODEC_HTTP1_ANSWER_H

#include "base/span.h"

#include <stdint.h>

enum {
    ANSWER_HEAD_MAX = 64 * 1024, /* bytes of all heads of an answer */
    ANSWER_FIELDS_MAX = 256,     /* of a head, or of the trailers */
    ANSWER_INTERIM_MAX = 16,     /* 1xx before the answer itself */
    ANSWER_EXTENSION_MAX = 4096, /* bytes of all chunk extensions of a body */
};

enum answer_event {
    ANSWER_MORE,     /* more bytes are needed */
    ANSWER_INTERIM,  /* a 1xx was consumed; head.status says which */
    ANSWER_HEAD,     /* the head was consumed: the first head.len bytes */
    ANSWER_BODY,     /* *body is a piece of the body, within what was consumed */
    ANSWER_TRAILERS, /* *body is the lines of the trailers */
    ANSWER_END,      /* the answer is complete */
    ANSWER_BAD,      /* why says what is wrong; the connection is of no more use */
};

enum answer_framing {
    ANSWER_NO_BODY,
    ANSWER_LENGTH,
    ANSWER_CHUNKED,
    ANSWER_UNTIL_CLOSE,
    ANSWER_TUNNEL, /* a CONNECT or an upgrade was granted: what follows is no HTTP */
};

enum answer_coding { ANSWER_IDENTITY, ANSWER_GZIP, ANSWER_DEFLATE, ANSWER_UNKNOWN };

/* Of the last head. */
struct answer_head {
    uint32_t len;                        /* bytes, the empty line included */
    uint32_t fields, reason, reason_len; /* offsets from the head's first byte */
    uint16_t status;
    uint8_t minor; /* HTTP/1.minor; what is above 1 is read as 1 */
    bool keep_alive;
    enum answer_framing framing;
    enum answer_coding coding; /* Content-Encoding */
    uint64_t length;           /* with ANSWER_LENGTH */
};

enum answer_to { ANSWER_TO_ANY, ANSWER_TO_HEAD, ANSWER_TO_CONNECT, ANSWER_TO_UPGRADE };

struct answer_reader {
    uint8_t state, to, interim;
    bool in_extension;
    uint16_t field_count;
    uint32_t line;  /* offset of the line that is not whole yet */
    uint32_t heads; /* bytes of the heads and trailers that were consumed */
    uint32_t extension;
    uint64_t left; /* of the body or of the chunk */
    struct answer_head head;
    /* gathered from the fields of a head */
    uint64_t length;
    uint8_t lengths, encodings, digits;
    bool close, keep;
    const char *why; /* with ANSWER_BAD: a short static sentence */
};

/* Before each request. */
void answer_begin(struct answer_reader *r, enum answer_to to);

/* Looks at len bytes and tells the first event in them; *used of them are done with.
 * Call again with the rest until ANSWER_MORE; after ANSWER_END there may be bytes that
 * nobody asked for. */
enum answer_event answer_read(struct answer_reader *r, const char *at, size_t len,
                              size_t *used, struct span *body);

/* The peer has closed: ANSWER_END where that ends the body, else ANSWER_BAD. */
enum answer_event answer_end(struct answer_reader *r);

/* The field at *rest, which moves behind it; false at the end. For the lines behind
 * the status line of a head that was reported, and for trailers. */
bool answer_field(struct span *rest, struct span *name, struct span *value);

#endif
