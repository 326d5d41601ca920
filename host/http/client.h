/* Who sends a request: the peer of its connection, or whom a proxy names in front of
 * the connection (codec/proxy_protocol.h) or in the request (codec/forwarded.h). A
 * request's word counts only if it comes from an address in the front's limits.trusted,
 * and then each name that it gives counts as far as the one behind it is trusted: the
 * right-most address that is not is the client's.
 *
 * Nothing is worked out before somebody asks, and nothing is kept, but of a request
 * that leaves its front or its connection. Of one made of a record (record.h) it is
 * what it was. The thread of the exchange. */
#ifndef HTTP_CLIENT_H
#define HTTP_CLIENT_H

#include "base/span.h"
#include "net/cidr.h"

struct exchange;

/* Whose headers are believed, and which: a proxy passes on what it does not know. */
enum client_headers { CLIENT_X_FORWARDED, CLIENT_FORWARDED };

struct client_trust {
    struct cidr_list proxies;
    enum client_headers headers;
};

/* An address as connections keep it. */
struct client_address {
    uint8_t family;  /* AF_UNSPEC: not known, or none at all */
    bool named : 1;  /* by a proxy, in front of the connection */
    bool secure : 1; /* it came there over TLS, said the proxy */
    bool masked : 1; /* the proxy's own, in place of one that it does not know */
    uint16_t port;   /* 0: not known */
    uint8_t bytes[16];
};

enum { CLIENT_TEXT = 80, CLIENT_ID = 64 };

/* peer may be NULL. */
struct client_address client_address(const struct sockaddr_storage *peer);

/* "127.0.0.1:40312", "[::1]:40312", "unix:"; without the port where that is not known
 * or not wanted. Its length; to has room for CLIENT_TEXT. */
size_t client_text(const struct client_address *a, bool port, char *to);

/* The client as client_text has it, and without its port; 0 when nobody knows it any
 * more. */
size_t client_remote(const struct exchange *x, char *to);
size_t client_logged(const struct exchange *x, char *to);

/* Its address alone: "127.0.0.1", "::1"; 0 when there is none. */
size_t client_ip(const struct exchange *x, char *to);

/* Whom the connection is from, the proxy's address and not the client's. */
size_t client_peer(const struct exchange *x, char *to);

/* Whether it came over TLS, to here or to the proxy. */
bool client_is_secure(const struct exchange *x);

/* The host that it wanted, with its port if that was told; empty without. */
struct span client_host(const struct exchange *x);

/* The id that a proxy has given the request; empty without. */
struct span client_request_id(const struct exchange *x);

/* From now on all this is what it is now, whatever front the request comes to, and even
 * when the connection has gone. 0 or ERR_MEMORY: nothing is kept. */
int client_keep(struct exchange *x);

#endif
