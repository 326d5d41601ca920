/* What one isolate shows to the network: its clones of the listeners, its live
 * connections, the limits they keep, the pools they draw from, and its part in the
 * crew, the fronts of all isolates of a host that share the listeners.
 *
 * Accepting is fair: one isolate is woken for each connection (EPOLLEXCLUSIVE), takes
 * one at a time, and hands it to a sleeping isolate that has clearly fewer; while it
 * works, others look for themselves at what it has left in the queue. Connections that
 * have piled up all the same go elsewhere when they have been answered. The isolate's
 * thread, but for what says otherwise. */
#ifndef HTTP_FRONT_H
#define HTTP_FRONT_H

#include "codec/head_memo.h"
#include "codec/http1_read.h"
#include "codec/ws_deflate.h"
#include "http/access.h"
#include "http/client.h"
#include "http/exchange.h"
#include "http/websocket.h"
#include "net/census.h"
#include "net/listen.h"
#include "net/loop.h"
#include "net/stream.h"
#include "net/tls_ctx.h"

#include <stdatomic.h>

struct h1;
struct lender;

enum { FRONT_TYPES = 512 };

struct front_limits {
    struct http1_limits head;
    uint64_t body_max;                                               /* bytes */
    int64_t head_timeout, body_timeout, idle_timeout, write_timeout; /* ns */
    uint32_t body_rate;               /* bytes a second at least; 0: any */
    uint32_t requests_per_connection; /* 0: no limit */
    uint32_t connections_max;         /* of the whole crew; 0: no limit */
    uint32_t connections_per_address; /* the same of one client */
    uint32_t open_files;              /* kept open to be sent again; 0: none */
    struct websocket_limits websocket;
    bool compress; /* answers of these types, from so many bytes on */
    uint64_t compress_min;
    struct client_trust trust;        /* proxies, which may say who their clients are */
    char compress_types[FRONT_TYPES]; /* as of mime_matches */
};

enum { CREW_MAX = 1024, HAND_OVER_LEAD = 5, MOVE_LEAD = 2, ACCEPT_BATCH = 16 };

/* Where a front listens: a socket to clone. */
struct front_door {
    int fd;
    bool proxy; /* for proxies that are trusted, which begin with a PROXY header */
};

/* For who finds no room. */
#define FRONT_FAREWELL                                                                 \
    "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\n"      \
    "Content-Length: 0\r\n\r\n"

/* Shared by all fronts; made before any and freed after all. */
struct crew {
    _Atomic(struct front *) fronts[CREW_MAX]; /* that accept; others are NULL */
    bool taken[CREW_MAX];                     /* places; of who makes the fronts */
    atomic_uint count;                        /* places in use, holes included */
    atomic_uint backlog;   /* some front has left connections in a queue */
    bool exclusive;        /* one listening socket for all, EPOLLEXCLUSIVE */
    struct census *census; /* of clients; NULL: there is no limit for each */
};

struct front {
    uint32_t magic;
    struct loop *loop;
    struct crew *crew;
    unsigned place;
    const struct http_app *app;
    void *app_data;
    struct front_limits limits;
    struct acceptor *listeners;
    unsigned listener_count;
    struct link conns;   /* live h1 */
    struct link sockets; /* live websockets, that were connections */
    struct ws_frames frames;
    struct ws_pool windows;
    struct lender *lender; /* of connections on loan; NULL before the first */
    struct h1 *spare;
    unsigned spare_count;
    unsigned freed; /* connections, since their memory went back to the system */
    struct head_memo memo;
    struct exchange *pool;
    unsigned pool_count;
    unsigned exchanges;          /* out of the pool */
    struct shelf *shelf;         /* of open files; NULL before the first */
    struct packing_kit *packing; /* NULL before it is needed */
    uint64_t requests, id_base;
    struct access *access; /* NULL: no access log */
    struct tls_ctx *tls;   /* of all its listeners; NULL: plain */
    ev_prepare before_sleep;
    bool accepting;
    bool full;          /* waits for a connection to go */
    bool draining;      /* answers say Connection: close */
    bool leaving;       /* idle connections go to other fronts */
    bool over;          /* cut: nothing can be served any more */
    unsigned surplus;   /* connections to give away when they are idle */
    int64_t look_again; /* at the surplus, ns */
    int64_t full_told, greedy_told, refused_told,
        starved_told;                  /* ns; not before then */
    unsigned greedy, refused, starved; /* turned away or closed since then */
    int64_t drain_since, drain_grace;  /* ns */
    _Alignas(64) atomic_uint load;     /* connections, and those on their way here */
    atomic_uint expected;              /* requests on their way here (usher.h) */
};

/* crew: NULL for a front that accepts nothing and takes requests on loan (loan.h).
 * All fronts of a crew are made and done by one thread; others know of one from its
 * start until it drains, leaves or is cut, and may still be looking at it in the turn
 * in which they learn that.
 *
 * 0 or a negative errno. */
int front_init(struct front *f, struct loop *l, struct crew *crew,
               const struct front_limits *limits, const struct http_app *app,
               void *app_data);
int front_listen(struct front *f, const struct front_door *doors, unsigned count);

/* Its listeners speak TLS. Before front_listen. */
void front_protect(struct front *f, struct tls_ctx *tls);

/* On the isolate's thread, when its loop is about to run. */
void front_start(struct front *f);

/* Its WebSockets are closed with 1001. */
void front_end_sockets(struct front *f);

/* Accepts what is queued, then no more; answers say Connection: close; idle connections
 * are closed after grace ns. */
void front_drain(struct front *f, int64_t grace);

/* Other limits from now on. */
void front_limit(struct front *f, const struct front_limits *limits);

/* Closes whatever is left, and what may still be handed over. */
void front_cut(struct front *f);
void front_done(struct front *f);

/* Gives all connections that are idle to others of the crew, and those that become idle
 * later; stops accepting. */
void front_leave(struct front *f);

/* ---- any thread, while the front is known ---- */

/* Requests that it has been given and has not yet looked at. */
unsigned front_expected(const struct front *f);
/* False when it has been in one turn for patience ns or more. */
bool front_is_prompt(struct front *f, int64_t patience);
/* The crew's least busy front, of those that are prompt if any is; NULL: none accepts.
 */
struct front *front_lightest(struct crew *crew, int64_t patience);

/* Tells, once in a while, that there is no memory for what a client wants, whose
 * connection is closed, or who gets 503. */
void front_starved(struct front *f);

/* ---- for h1 ---- */
void front_closed(struct front *f); /* a connection has gone */
/* Where an idle connection of f, which has a surplus, is to go, or NULL. */
struct front *front_elsewhere(struct front *f);
/* An h1's memory, and back. */
struct h1 *front_take_spare(struct front *f);
void front_keep_spare(struct front *f, struct h1 *c);

#endif
