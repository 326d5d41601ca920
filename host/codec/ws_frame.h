/* WebSocket frames (RFC 6455, 5) on wslay: bytes into pieces of messages and control
 * frames, and the heads of frames that are sent. What the RFC forbids is found here:
 * masks on the wrong side, reserved bits and opcodes, fragments out of order, control
 * frames that are long or in pieces, close codes that nobody may send, and, as soon as
 * its byte comes, text that is not UTF-8.
 *
 * A reader holds memory (some 4 KiB) only while it is in the middle of a frame; what
 * several of them hold in turn comes out of a struct ws_frames, where there is one. One
 * thread at a time. */
#ifndef CODEC_WS_FRAME_H
#define CODEC_WS_FRAME_H

#include "base/buf.h"
#include "base/span.h"
#include "codec/utf8.h"

enum ws_kind {
    WS_CONTINUATION = 0,
    WS_TEXT = 1,
    WS_BINARY = 2,
    WS_CLOSE = 8,
    WS_PING = 9,
    WS_PONG = 10
};

/* RFC 6455, 7.4.1, and the registry. */
enum ws_code {
    WS_NORMAL = 1000,
    WS_GOING_AWAY = 1001,
    WS_PROTOCOL_ERROR = 1002,
    WS_NO_CODE = 1005,  /* never on the wire: the peer named none */
    WS_ABNORMAL = 1006, /* never on the wire: it ended without a close frame */
    WS_BAD_DATA = 1007,
    WS_TOO_BIG = 1009,
    WS_INTERNAL = 1011,
    WS_RESTART = 1012,
    WS_TRY_LATER = 1013,
};

/* Whether the code may stand in a close frame. */
bool ws_code_is_sent(unsigned code);

enum { WS_HEAD_MAX = 14, WS_CONTROL_MAX = 125, WS_REASON_MAX = WS_CONTROL_MAX - 2 };

struct ws_context;

/* What the sockets of an isolate share; all zero at first. */
struct ws_frames {
    struct ws_context *spare;
    unsigned spare_count;
};

void ws_frames_done(struct ws_frames *f);

struct ws_reader {
    struct ws_context *context; /* NULL between frames */
    uint64_t left;              /* payload of the present frame */
    struct utf8_check text;
    uint8_t frame;      /* the present frame's opcode */
    uint8_t message;    /* enum ws_kind of the present message, or 0 */
    bool client;        /* frames must not be masked; else they must */
    bool compression;   /* was agreed: RSV1 may be set */
    bool compressed;    /* the present message is */
    bool in_frame, fin; /* the present frame is its message's last */
    bool begun;         /* a piece of the present message was told */
};

enum ws_event {
    WS_MORE,    /* all was gone through */
    WS_PIECE,   /* of a message; the last one has `last` set */
    WS_CONTROL, /* a whole control frame */
    WS_BAD,     /* close with `code`; nothing further can be read */
    WS_MEMORY,  /* there is none */
};

/* bytes is valid until the next call. */
struct ws_piece {
    enum ws_kind kind;
    bool first, last;
    bool compressed;   /* then text is not checked */
    struct span bytes; /* of WS_CLOSE: the reason */
    uint64_t missing;  /* bytes of this frame that are still to come */
    uint16_t code;     /* of WS_CLOSE: WS_NO_CODE when there is none; of WS_BAD */
    const char *why;   /* of WS_BAD: a sentence */
};

/* client: whether the reader is one. */
void ws_reader_init(struct ws_reader *r, bool client, bool compression);

/* Gives its memory back, to f or to the system. */
void ws_reader_done(struct ws_reader *r, struct ws_frames *f);

/* Goes on with *input, from which it takes bytes: all of it when nothing is told. May
 * be called again with nothing, for what was taken before. f may be NULL. */
enum ws_event ws_read(struct ws_reader *r, struct ws_frames *f, struct span *input,
                      struct ws_piece *p);

/* Writes the head of an unmasked frame for that payload at `to` (WS_HEAD_MAX bytes);
 * its length, or 0 without memory. rsv1: the payload is compressed. */
size_t ws_head(struct ws_frames *f, char *to, enum ws_kind kind, bool fin, bool rsv1,
               struct span payload);

/* Appends a whole frame, masked if that is asked for: 0 or ERR_MEMORY. */
int ws_append(struct ws_frames *f, struct buf *out, enum ws_kind kind, bool fin,
              bool rsv1, bool mask, struct span payload);

/* The payload of a close frame: at most WS_CONTROL_MAX bytes at `to`; how many. A
 * reason that is too long is cut where a character ends. With WS_NO_CODE there is
 * nothing. */
size_t ws_close_payload(char *to, unsigned code, struct span reason);

#endif
