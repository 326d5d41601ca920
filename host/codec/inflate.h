/* Content codings undone: gzip (RFC 1952, several members too) and deflate, which is
 * zlib's format (RFC 1950) and from some servers the bare stream (RFC 1951).
 *
 * The caller gives room for so much at a time, so a body that grows a thousandfold can
 * be stopped, or taken in pieces, before it has taken memory. One thread at a time. */
#ifndef CODEC_INFLATE_H
#define CODEC_INFLATE_H

#include "base/span.h"

#include <stdint.h>
#include <zlib.h>

enum inflate_format { INFLATE_GZIP, INFLATE_DEFLATE };

struct inflater {
    z_stream z;
    enum inflate_format format;
    bool open;  /* z is initialised */
    bool begun; /* the format of a deflate is known; a member has begun */
    bool over;  /* at the end of a member */
};

enum inflate_result {
    INFLATE_OK,   /* the room is full, or more input is needed */
    INFLATE_BAD,  /* not that format */
    INFLATE_FULL, /* no memory */
};

void inflate_init(struct inflater *i, enum inflate_format format);

/* May be called again, and before inflate_init's first use on zeroed memory. */
void inflate_done(struct inflater *i);

/* Takes from *in, which moves, and puts *n bytes at out, at most room, which is not 0.
 * With INFLATE_OK and *n below room more input is needed; up to 1 byte of *in may be
 * left. */
enum inflate_result inflate_step(struct inflater *i, struct span *in, char *out,
                                 size_t room, size_t *n);

/* Nothing is missing at the end of all input. An empty input is complete. */
bool inflate_complete(const struct inflater *i);

#endif
