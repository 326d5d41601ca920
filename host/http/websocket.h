/* A WebSocket (RFC 6455), of either side: a stream that was HTTP until now, messages
 * that have come and wait to be taken, and an end with a code. It counts as one of its
 * front's connections, if it has a front, and lasts until both its user has let go of
 * it and its close is done.
 *
 * Reading pauses while much is waiting to be taken; sending never waits, but says when
 * the sender should. Pings are answered, and sent when nothing has come for long. An
 * idle one is this struct and a timer. The user's functions only take note: they may be
 * called from inside a call of the user's. The thread of its loop. */
#ifndef HTTP_WEBSOCKET_H
#define HTTP_WEBSOCKET_H

#include "codec/ws_frame.h"
#include "net/stream.h"

struct front;
struct packing;
struct record;
struct ws_pool;
struct ws_terms;
struct websocket;

struct websocket_limits {
    uint32_t message_max;  /* bytes */
    uint32_t queue_max;    /* bytes that wait to be taken before reading pauses */
    int64_t ping;          /* after so much silence, ns; 0: never */
    int64_t patience;      /* for the answer to a ping or a close, ns */
    int64_t write_timeout; /* ns; 0: none */
};

enum websocket_state {
    WEBSOCKET_NEW,     /* there is no stream yet */
    WEBSOCKET_OPEN,    /* messages go both ways */
    WEBSOCKET_CLOSING, /* our close is sent, or on its way */
    WEBSOCKET_PARTING, /* nothing is left but to see the peer go */
    WEBSOCKET_OVER,    /* the stream is gone */
};

struct websocket_user {
    void (*opened)(struct websocket *w);  /* the stream has come */
    void (*arrived)(struct websocket *w); /* a message, or the end of them */
    void (*drained)(struct websocket *w); /* output is below the low mark, or lost */
};

/* Somebody else who sends to it, such as a subscription. It goes along to other loops;
 * then, and when nothing can be sent any more, it is told. On the thread of the loop;
 * without one, ended may be called on any. */
struct websocket_source {
    struct link link;
    const struct websocket_source_ops *ops;
};

struct websocket_source_ops {
    void (*drained)(struct websocket_source *s); /* as the user's */
    void (*left)(struct websocket_source *s);
    void (*entered)(struct websocket_source *s, struct loop *l);
    /* It is not the websocket's any more, and gone at the end of the turn at the
       earliest. */
    void (*ended)(struct websocket_source *s, struct loop *l);
};

/* A whole one. */
struct websocket_message {
    struct websocket_message *next;
    uint32_t len, capacity;
    uint8_t kind; /* enum ws_kind */
    char bytes[];
};

struct websocket {
    uint32_t magic;
    uint8_t state; /* enum websocket_state */
    bool client;
    bool ended;            /* no further message will come */
    bool deaf;             /* what comes is not looked at */
    bool answered;         /* the peer's close has come */
    bool pinged;           /* and nothing was heard since */
    bool dropped;          /* the user has let go */
    bool full;             /* reading pauses until all that waits was taken */
    bool held;             /* for that reason something was not gone through */
    uint16_t code;         /* of its end, when it has ended */
    char *reason;          /* of its end, terminated; or NULL */
    struct front *front;   /* NULL: it belongs to none */
    struct record *record; /* of the request that it began as, or NULL */
    char *protocol;        /* that was agreed on, or NULL; both are its own */
    const struct websocket_user *ops;
    void *user; /* NULL when nobody is to be told */
    struct link sources;
    struct stream stream;
    struct ws_reader reader;
    struct packing *packing; /* of permessage-deflate; NULL: it was not agreed on */
    struct buf in;           /* not gone through, as too much waits */
    struct websocket_message *first, *last; /* to be taken */
    struct websocket_message *coming;
    size_t waiting; /* bytes of those to be taken */
    struct websocket_limits limits;
    int64_t since; /* it last heard something, pinged, or began to close; ns */
    struct timer timer;
    struct debt debt; /* its link: the front's sockets, or the loop's debts */
    union {
        struct deferred flush;
        struct grave grave; /* in the end */
    };
};

/* Without a stream. NULL without memory. */
struct websocket *websocket_new(bool client, const struct websocket_limits *limits,
                                const struct websocket_user *ops, void *user);

/* Messages are compressed on these terms; before it begins. 0 or ERR_MEMORY. */
int websocket_agree(struct websocket *w, const struct ws_terms *terms);

/* Takes an HTTP connection's stream, and what has come behind the head; with f it is
 * one of that front's connections, besides the one that it was. */
void websocket_begin(struct websocket *w, struct front *f, struct stream *s,
                     struct buf *in);

/* There will be no stream: it is over, with WS_ABNORMAL. */
void websocket_lose(struct websocket *w);

/* The user lets go of it; when it is still open, it is closed with that code. It is
 * freed at the end of a turn. */
void websocket_drop(struct websocket *w, unsigned code);

/* Queues a message, or a ping (at most WS_CONTROL_MAX bytes). 0, ERR_CLOSED when it is
 * not open, ERR_MEMORY. */
int websocket_send(struct websocket *w, enum ws_kind kind, struct span bytes);

/* The same for a whole frame of a server, as ws_append makes it. packed ones only where
 * that is how they are agreed on: without takeover, with the largest window. */
int websocket_send_frame(struct websocket *w, struct span frame);
bool websocket_takes_packed(const struct websocket *w);

/* True when a sender should wait for drained. */
static inline bool websocket_is_full(struct websocket *w) {
    return w->state == WEBSOCKET_OPEN && stream_full(&w->stream);
}

/* The oldest message, which is the caller's to free; NULL: there is none now. */
struct websocket_message *websocket_take(struct websocket *w);

/* The user has seen that no message is to come: what it has sent until now was before
 * our answer to the peer's close. If the user does not look, it is given all the same,
 * somewhat later. */
void websocket_answer(struct websocket *w);

/* Begins the close: no message comes or goes any more. With `hear` what the peer sends
 * until it closes, too, can still be taken. */
void websocket_close(struct websocket *w, unsigned code, struct span reason, bool hear);

/* Leaves its loop and its front with all it has; it is open. Whoever has it then brings
 * it to a loop and gives it a user, or abandons it, on whatever thread. */
void websocket_leave(struct websocket *w);
void websocket_abandon(struct websocket *w);
void websocket_enter(struct websocket *w, struct loop *l, struct front *f, void *user);

/* ---- for websocket_input and websocket_pack ---- */

/* A piece of a compressed message. */
void websocket_unpack(struct websocket *w, const struct ws_piece *p);
/* Whether bytes are to be sent packed, and then what *bytes are so, until the next call
 * of websocket_packed. */
bool websocket_pack(struct websocket *w, struct span *bytes);
void websocket_packed(struct websocket *w);
void websocket_unpacking_over(struct websocket *w);
/* A whole message of that kind, or a piece, has come. */
void websocket_add(struct websocket *w, enum ws_kind kind, struct span bytes,
                   uint64_t missing, bool last);

struct ws_frames *websocket_frames(const struct websocket *w);
/* No further message comes; the first to say why is right. */
void websocket_end(struct websocket *w, unsigned code, struct span reason);
/* Queues our close. */
void websocket_send_close(struct websocket *w, unsigned code, struct span reason);
/* What the peer has sent cannot be gone on with. */
void websocket_fail(struct websocket *w, unsigned code, const char *why);
/* Goes through what was held, then through what is fresh, and settles. */
void websocket_feed(struct websocket *w, struct span fresh);
/* Sends, and decides what comes next. Soon: later in this turn. */
void websocket_settle(struct websocket *w);
void websocket_soon(struct websocket *w);

/* ---- for front ---- */

/* It stops, and says so; it ends now. */
void websocket_drain(struct websocket *w);
void websocket_cut(struct websocket *w);

#endif
