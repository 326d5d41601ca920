/* One request and its response, between a wire below (h1) and an app above. The wire
 * makes it when a head begins, hands it up when the head is complete, feeds the body,
 * and sends what the app answers; the app lets go of it with exchange_release when it
 * will not touch it again. Whichever of the two is done last returns it to the front's
 * pool.
 *
 * Functions pointing up (struct http_app) are called from the loop, never from inside a
 * call of the app's. What the head's spans point to stays put from the moment that
 * app->request has returned until the release (exchange_own). The isolate's thread. */
#ifndef HTTP_EXCHANGE_H
#define HTTP_EXCHANGE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "codec/head.h"
#include "codec/http1_write.h"
#include "codec/target.h"
#include "http/router.h"

#include <stdint.h>

struct exchange;
struct front;

struct http_app {
    /* A request's head has come, and as much of its body as came with it. */
    void (*request)(struct exchange *x);
    /* More of the body, its end, or body_status was set. */
    void (*body)(struct exchange *x);
    /* Output fell below the low mark, or all is sent. */
    void (*drained)(struct exchange *x);
    /* The client is gone: nothing can be sent or read any more. */
    void (*gone)(struct exchange *x);
    /* The same, or it has only closed its side, as all do that leave; told once, and
       not when the answer is complete. Also from inside exchange_end. */
    void (*left)(struct exchange *x);
};

struct wire {
    /* Sends the head; x->status, framing, length, fields are set. */
    int (*head)(struct exchange *x, struct span type);
    /* The head, all of the body and the end in one; false when the long way has to be
       gone. */
    bool (*whole)(struct exchange *x, struct span type, struct span body);
    enum io (*body)(struct exchange *x, struct span piece, size_t *taken);
    enum io (*file)(struct exchange *x, int file, uint64_t at, size_t n, size_t *taken);
    void (*end)(struct exchange *x);
    void (*abort)(struct exchange *x);
    /* The app wants more of the body than it was given. */
    void (*want)(struct exchange *x);
    /* Sends now what is queued. IO_AGAIN: not all, and drained will be called. */
    enum io (*flush)(struct exchange *x);
    /* x->watched was set. */
    void (*watch)(struct exchange *x);
};

enum exchange_phase { X_HEAD, X_SENDING, X_DONE };

/* A parameter of the route, as a place in the path. */
struct exchange_param {
    struct span name;
    uint32_t at, len;
};

enum { EXCHANGE_LENT = 1024, BODY_WINDOW = 64 * 1024 };

struct exchange {
    uint32_t magic;
    struct front *front;
    const struct wire *wire;
    void *conn;       /* the wire's; NULL when the client is gone or fully answered */
    void *handle;     /* the app's */
    const void *site; /* the app's, too: whose routes these are */
    bool held;        /* by the app */
    bool owned;       /* the head's bytes are in the arena */
    bool secure;      /* it came over TLS */
    bool left;        /* the client, before the answer was complete */
    bool watched;     /* the app wants to know of that soon, even while nobody reads */
    struct link member;
    struct arena arena;

    struct head head;
    struct target target;
    struct span route; /* the pattern; lives with the router, or empty */
    uint32_t handler;  /* the app's number for what answers */
    uint8_t param_count;
    uint16_t place; /* bytes of the path under which its app lies in the host */
    struct exchange_param params[ROUTER_PARAMS_MAX];
    uint64_t number; /* no two of a front have the same */
    int64_t started; /* monotonic ns */

    struct buf body;        /* received and not yet taken */
    struct buf trailers;    /* of its chunks, as they came; whole at the body's end */
    uint64_t body_received; /* bytes, those taken included */
    uint64_t body_max;
    uint64_t body_window; /* how much may wait here before reading pauses */
    bool body_complete;
    int body_status; /* why the body cannot be had: 400, 408, 413; else 0 */

    enum exchange_phase phase;
    int status;
    enum http1_framing framing;
    uint64_t length;   /* declared; counts down to 0 */
    uint64_t sent;     /* body bytes */
    struct buf fields; /* "Name: value CRLF" lines of the app's; then its trailers */
    bool close;
    bool plain;  /* not to be compressed */
    bool forced; /* what is being sent is taken, however much is unsent */
    struct file_sending *sending; /* a file (file.h), or NULL */
    struct websocket *socket;     /* that its connection becomes, or NULL */
    struct packing *packing;      /* compresses the body (packing.h), or NULL */
    struct {
        struct span remote;         /* empty: the connection tells, if there is one;
                                       else all of this counts, whatever that says */
        struct span peer, host, id; /* only with a remote; may be empty */
    } past;                         /* whose it was (client.h) */

    struct head_field field_space[];
};

/* For the wire. A fresh one with x->head ready for http1_read_begin, or NULL. */
struct exchange *exchange_new(struct front *f, const struct wire *wire, void *conn);
/* For the wire: the client has closed its side, or is gone. */
void exchange_leave(struct exchange *x);
/* The wire has nothing to do with it any more. */
void exchange_part(struct exchange *x);
/* Of no front; nobody has it. */
void exchange_free(struct exchange *x);
/* Moves the head's bytes, and what points into them, into the arena; 0, or ERR_MEMORY
 * with an empty head. */
int exchange_own(struct exchange *x);
/* Splits the target; 0 or ERR_SYNTAX with *why. */
int exchange_target(struct exchange *x, const char **why);

/* ---- for the app ---- */

static inline bool exchange_gone(const struct exchange *x) {
    return !x->conn;
}

void exchange_release(struct exchange *x);

/* What names the request in logs: 16 hex digits, written to own, or the id that a proxy
 * has given it, within its head. */
struct span exchange_id(const struct exchange *x, char own[16]);
void exchange_id_of(uint64_t number, char id[16]);

static inline struct span exchange_param(const struct exchange *x, unsigned i) {
    return span_of(x->target.path.at + x->params[i].at, x->params[i].len);
}

/* Adds a field to the response. 0, ERR_SYNTAX (control bytes, not a token), ERR_MEMORY,
 * or -EPERM for those that belong to the host: Transfer-Encoding, Content-Length on a
 * body of known length, Connection other than close. Content-Length sets x->length for
 * a stream. */
int exchange_field(struct exchange *x, struct span name, struct span value);

/* The first field of that name that was added so far. */
bool exchange_find_field(const struct exchange *x, struct span name,
                         struct span *value);

/* Drops the fields added so far, for another answer instead. */
void exchange_restart(struct exchange *x);

/* Sends the head: length >= 0, or -1 for a body whose end is told by exchange_end. 0,
 * ERR_CLOSED when the client is gone, -EALREADY when a head was sent. */
int exchange_head(struct exchange *x, int status, struct span type, int64_t length);

/* Sends a piece of the body. *taken says how much of it; with IO_AGAIN the rest (maybe
 * nothing) must wait for drained, with IO_OK until others had their turn. IO_FAIL: the
 * client is gone. A body that a HEAD
 * request or the status does not allow is taken and dropped. */
enum io exchange_body(struct exchange *x, struct span piece, size_t *taken);

/* Sends n bytes of a file from `at` on as a piece of a body of known length, as
 * exchange_body does; what io means stream_sendfile says. */
enum io exchange_file(struct exchange *x, int file, uint64_t at, size_t n,
                      size_t *taken);

/* Sends a whole answer: head and body, and the end when all of the body was taken. If
 * *taken is less, the rest goes on with exchange_body. When the
 * body could not be sent *taken is all of it, and what is left is to end. Returns what
 * exchange_head does. */
int exchange_answer(struct exchange *x, int status, struct span type, struct span body,
                    size_t *taken);

/* Answers with 101, and the connection becomes w when that is sent: 0, ERR_CLOSED,
 * -EALREADY, ERR_MEMORY, or -ENOTSUP where there is no connection (a test's). Fields
 * may have been added. w is websocket_lose's if it does not come to that. */
int exchange_upgrade(struct exchange *x, struct websocket *w);

/* Sends now what would go out at the end of the turn. IO_OK: all of it is the kernel's;
 * IO_AGAIN: drained will be called; IO_FAIL: the client is gone. */
enum io exchange_flush(struct exchange *x);

/* Whether the client takes trailers, which can only be sent behind chunks. */
bool exchange_takes_trailers(const struct exchange *x);
/* Adds one, between the head and the end. 0, ERR_SYNTAX or ERR_MEMORY. */
int exchange_trailer(struct exchange *x, struct span name, struct span value);

/* app->left is to come soon, whatever the connection is doing. */
void exchange_watch(struct exchange *x);

/* The response is complete. A stream shorter than its declared length is cut. */
void exchange_end(struct exchange *x);

/* Cuts the connection so that nobody takes half an answer for a whole one. */
void exchange_abort(struct exchange *x);

/* A whole answer in plain text from the host itself: "404 Not Found\n" and *detail.
 * Ends the response; aborts when a head was sent before. */
void exchange_fail(struct exchange *x, int status, struct span detail);

/* The same with 503, for want of memory, of which the log is told. */
void exchange_starve(struct exchange *x);

/* What has come of the request's body and was not taken; valid until the next call or
 * turn. The app takes with exchange_body_take. */
static inline struct span exchange_body_ready(const struct exchange *x) {
    return buf_span(&x->body);
}

void exchange_body_take(struct exchange *x, size_t n);

/* Lets up to `window` bytes gather before reading pauses, and asks for them. */
void exchange_body_want(struct exchange *x, uint64_t window);

#endif
