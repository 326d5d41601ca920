/* The messages of permessage-deflate (RFC 7692 7.2): bare deflate whose end, the bytes
 * 00 00 ff ff of an empty block, is left away.
 *
 * A side without takeover has no context but while a message is half through: it
 * borrows one from the pool of its thread, so an idle socket costs nothing and a busy
 * one no more than a reset. One with takeover keeps its own, about 300 KiB to deflate
 * and 40 to inflate. Contexts are plain memory: a packer or unpacker may go to another
 * thread and use that one's pool. One thread at a time. */
#ifndef CODEC_WS_DEFLATE_H
#define CODEC_WS_DEFLATE_H

#include "base/buf.h"
#include "codec/ws_extension.h"

struct ws_window;

enum { WS_POOL_UNPACKERS = 4 };

/* Windows at rest; all zero at first. */
struct ws_pool {
    struct ws_window *packer, *unpackers[WS_POOL_UNPACKERS];
};

/* Frees what it holds; it can be used again. */
void ws_pool_drain(struct ws_pool *pool);

enum ws_packed {
    WS_PACKED_OK,
    WS_PACKED_NOT,       /* not worth it: send the message as it is, without RSV1 */
    WS_PACKED_BAD,       /* not deflate: close with 1007 */
    WS_PACKED_TOO_LARGE, /* more than the limit: close with 1009 */
    WS_PACKED_NO_MEMORY,
};

/* Messages below this are not compressed: they fit a packet anyhow. */
enum { WS_PACK_LEAST = 1024 };

struct ws_packer {
    struct ws_window *own;
    uint8_t bits;
    bool takeover;
};

/* For the terms of the sending side: of the server at the server. */
void ws_packer_init(struct ws_packer *p, bool takeover, unsigned bits);
void ws_packer_done(struct ws_packer *p);

/* Appends a whole message, packed, to out: WS_PACKED_OK. With WS_PACKED_NOT (it is
 * small or does not shrink) and WS_PACKED_NO_MEMORY out is as it was. */
enum ws_packed ws_pack(struct ws_packer *p, struct ws_pool *pool, struct span message,
                       struct buf *out);

struct ws_unpacker {
    struct ws_window *context; /* own, or borrowed until the message ends */
    size_t size;               /* bytes that the message has grown to */
    uint8_t bits;
    bool takeover;
    bool begun; /* the message has had a byte */
};

/* For the terms of the other side. */
void ws_unpacker_init(struct ws_unpacker *u, bool takeover, unsigned bits);

/* At the socket's end, whatever stood open; pool may be NULL. May be called again. */
void ws_unpacker_done(struct ws_unpacker *u, struct ws_pool *pool);

/* Takes a piece of a message's payload, the last one or not, and appends what it
 * inflates to; a message of more than `max` bytes is WS_PACKED_TOO_LARGE as soon as it
 * is, having cost no more than that. After anything but WS_PACKED_OK the socket is to
 * be closed. */
enum ws_packed ws_unpack(struct ws_unpacker *u, struct ws_pool *pool, struct span piece,
                         bool last, size_t max, struct buf *out);

#endif
