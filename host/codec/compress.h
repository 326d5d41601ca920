/* Compressing bodies: gzip by zlib, br by Brotli's encoder, which is loaded when it is
 * first needed and may be missing.
 *
 * What is added piece by piece comes out when the encoder likes to, at the end, or when
 * it is flushed, so that a reader has all that was added so far. The levels are those
 * beyond which a little less to send costs a lot more time. One thread at a time. */
#ifndef CODEC_COMPRESS_H
#define CODEC_COMPRESS_H

#include "base/buf.h"
#include "codec/coding.h"

#include <zlib.h>

enum pack_size {
    PACK_WHOLE,  /* some 260 KiB of memory */
    PACK_STREAM, /* there may be many, and long: gzip in 64 KiB */
};

enum pack_how { PACK_MORE, PACK_FLUSH, PACK_END };

struct packer {
    enum coding coding; /* CODING_IDENTITY: not open */
    z_stream z;
    void *brotli;
};

/* Whether this coding can be made here. */
bool packer_knows(enum coding c);

/* p is zero at first, or was closed. 0 or ERR_MEMORY. */
int packer_open(struct packer *p, enum coding c, enum pack_size size);

/* A gzip one that is at its end, or in the middle, begins anew. */
void packer_again(struct packer *p);

/* Appends to out what comes of it; 0 or ERR_MEMORY. */
int packer_add(struct packer *p, struct span in, enum pack_how how, struct buf *out);

void packer_close(struct packer *p);

/* All at once, without a packer. 0 or ERR_MEMORY. */
int pack_br(struct span in, struct buf *out);

#endif
