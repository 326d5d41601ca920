#include "base/check.h"
#include "http/h1.h"
#include "http/websocket.h"

/* The answer that a connection speaks another protocol from here on (RFC 9110, 7.8),
 * and the moment in which it does. */

int exchange_upgrade(struct exchange *x, struct websocket *w) {
    if (exchange_gone(x)) return ERR_CLOSED;
    if (x->phase != X_HEAD) return -EALREADY;
    if (x->wire != &h1_wire || stream_fd(&((struct h1 *)x->conn)->stream) < 0)
        return -ENOTSUP;
    if (http1_field(&x->fields, SPAN("Upgrade"), SPAN("websocket")) != 0 ||
        http1_field(&x->fields, SPAN("Connection"), SPAN("Upgrade")) != 0)
        return ERR_MEMORY;
    CHECK(x->body_complete);
    x->socket = w;
    x->close = false;
    int err = exchange_head(x, 101, SPAN(""), 0);
    if (err) {
        x->socket = NULL;
        return err;
    }
    exchange_end(x);
    return 0;
}

void h1_become_socket(struct h1 *c) {
    struct websocket *w = c->socket;
    c->socket = NULL;
    websocket_begin(w, c->front, &c->stream, &c->in);
}

void h1_lose_socket(struct h1 *c, struct exchange *x) {
    if (c->socket) websocket_lose(c->socket);
    if (x && x->socket) websocket_lose(x->socket);
    if (x) x->socket = NULL;
    c->socket = NULL;
}
