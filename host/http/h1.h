/* One HTTP/1 connection (RFC 9112): bytes of its stream into exchanges, their answers
 * into bytes, in order. Keep-alive, pipelining, 100-continue, half-closed clients, the
 * time limits, and an end that does not lose the last answer.
 *
 * Between requests it is some 450 bytes and a timer: no buffer, no exchange, no fiber.
 * What comes while an answer is being made waits in its input queue, up to a bound,
 * then in the kernel. It is freed at the end of the turn in which it closed. The
 * isolate's thread. */
#ifndef HTTP_H1_H
#define HTTP_H1_H

#include "http/client.h"
#include "http/exchange.h"
#include "http/front.h"
#include "net/stream.h"

enum h1_phase {
    H1_PROXY,  /* from a proxy, which says first for whom (h1_proxy.c) */
    H1_IDLE,   /* between requests, nothing has come */
    H1_HEAD,   /* a part of a head has come */
    H1_BODY,   /* the body is coming */
    H1_WAIT,   /* the request is whole, the answer is not */
    H1_LINGER, /* answered for the last time; what still comes is thrown away */
    H1_CLOSED,
};

enum h1_abort {
    H1_CUT = 1,
    H1_RESET, /* so that the end is not taken for that of the answer */
};

struct h1 {
    uint32_t magic;
    uint8_t phase;
    bool feeding;    /* output is flushed when the input has been dealt with */
    bool dispatched; /* the app has been told of x */
    bool eof;        /* the client has said its last */
    bool deaf;       /* its framing is in doubt: what still comes is thrown away */
    bool closing;    /* no further request is read; close once all is sent */
    uint8_t aborted; /* close at once: enum h1_abort */
    bool continued;  /* 100 Continue was sent, or is not waited for */
    uint32_t requests;
    struct front *front;
    struct loan *loan; /* NULL before it was first lent (loan.h) */
    struct stream stream;
    struct http1_reader reader;
    struct websocket *socket; /* that it is about to become, or NULL */
    struct exchange *x; /* from the first byte of its head to the end of its answer */
    struct buf in;
    struct timer timer;
    int64_t since; /* when the present phase began or last went on, ns */
    struct link member;
    struct deferred turn;
    union {
        struct grave grave; /* closed */
        struct post post;   /* on the way to another front */
        struct h1 *spare;   /* the next of the front's */
    } last;
    uint32_t discarded;
    struct client_address client;
};

/* Takes fd and reads at once; of a proxy's connection first who the client is. */
void h1_open(struct front *f, int fd, const struct sockaddr_storage *peer,
             struct guest *guest, bool proxy);

/* The connection of a stream of one's own making, for specs; NULL without memory. */
struct h1 *h1_open_memory(struct front *f, const struct stream_ops *ops);

/* The loop is told that a memory stream has more. */
void h1_poke(struct h1 *c);

/* Looks at its front's draining and leaving anew. */
void h1_recheck(struct h1 *c);

/* Goes on with what it has, after it has come to another front. */
void h1_run(struct h1 *c);

/* Out of the lists and timers of its front. */
void h1_unlink(struct h1 *c);

/* All that it was goes to its socket; what is left is to be closed. */
void h1_become_socket(struct h1 *c);

/* It is closed, and neither it nor x, its exchange if it has one, becomes a socket. */
void h1_lose_socket(struct h1 *c, struct exchange *x);

/* Bytes of further requests that are kept here, not in the kernel. */
enum { H1_PIPELINE_MAX = 64 * 1024 };

/* Most answers of requests on loan are made so soon that nobody needs to know before
 * whether the client has left. While so much has come behind the request that nothing
 * more would be read, waiting for longer would not tell either. */
bool h1_is_unheard(const struct h1 *c);

/* The app wants to know when the client leaves, and reading, which would tell, has to
 * pause; and whether the client has closed its side, behind what it has sent. */
bool h1_is_blind(const struct h1 *c);
void h1_starve(struct h1 *c);
bool h1_hangs_up(const struct h1 *c);

/* When it will have waited for too long, ns; 0: never. */
int64_t h1_deadline(const struct h1 *c);

/* Cuts it, whatever it does. */
void h1_cut(struct h1 *c);

/* What has come, n bytes, beside what came before. */
void h1_feed(struct h1 *c, const char *fresh, size_t n);

/* The proxy has said nothing in time. */
void h1_proxy_late(struct h1 *c);

extern const struct stream_user h1_user, h1_proxy_user;
extern const struct wire h1_wire;

#endif
