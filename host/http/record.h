/* What is kept of a request whose connection has become something else: its head, whose
 * it was, its route. Small, plain memory of no front and no router, so it goes where
 * its socket goes; whoever wants to look at the request again gets an exchange made of
 * it that has ended, and is of nobody. Fields that only the handshake needed are left
 * out.
 *
 * Any thread, one at a time. */
#ifndef HTTP_RECORD_H
#define HTTP_RECORD_H

#include "http/exchange.h"

struct record {
    uint64_t number; /* the request's, from which its id is made */
    int64_t started;
    uint32_t size; /* bytes of all of this */
    uint16_t head_len, target, target_len, route_len;
    uint16_t host_len;
    uint8_t method_len, remote_len, peer_len, id_len, param_count;
    bool secure;
    struct exchange_param params[]; /* behind them: head, route, remote, peer, host, id,
                                       names */
};

/* malloc's; NULL without memory. */
struct record *record_new(const struct exchange *x);

struct span record_method(const struct record *r);
struct span record_target(const struct record *r);
struct span record_route(const struct record *r);
/* As exchange_id. */
struct span record_id(const struct record *r, char own[16]);

/* The bytes that an exchange needs, and the exchange, made in them, which are aligned
 * for any type. NULL when the head cannot be read again. Nothing of it has to be freed.
 */
size_t record_room(const struct record *r);
struct exchange *record_open(const struct record *r, void *room);

#endif
