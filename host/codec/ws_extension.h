/* What the two sides of a WebSocket agree on beyond its frames: permessage-deflate
 * (RFC 7692 7.1), which is the only extension there is here. A server chooses from what
 * a client offers; a client offers, and judges the answer.
 *
 * Pure. Any thread. */
#ifndef CODEC_WS_EXTENSION_H
#define CODEC_WS_EXTENSION_H

#include "base/span.h"

#include <stdint.h>

/* Also what a side would like: `on` false for no compression at all, takeovers that it
 * would allow, windows that it would not exceed. */
struct ws_terms {
    bool on;
    /* Messages may refer back to earlier ones: they get smaller and cost each end its
     * memory as long as the socket lives. */
    bool server_takeover, client_takeover;
    uint8_t server_bits, client_bits; /* of the window; 8 to 15 */
};

enum {
    WS_BITS_LEAST = 8,
    WS_BITS_MOST = 15,
    WS_EXTENSION_MAX = 160, /* bytes of an offer or an answer */
};

/* Chooses from one value of Sec-WebSocket-Extensions; while nothing is chosen go on
 * with the next field's. Offers that cannot be met, or are malformed as such, are
 * passed over (RFC 7692 5.1): then terms->on is false. Chosen, the value of the field
 * to answer with is put to answer, *n bytes. 0, or ERR_SYNTAX when the value is no list
 * of extensions (RFC 6455 9.1: answer 400). */
int ws_extension_choose(struct span offers, const struct ws_terms *wish,
                        struct ws_terms *terms, char answer[WS_EXTENSION_MAX],
                        size_t *n);

/* The value of the field that offers this; wish->on is true. */
size_t ws_extension_offer(const struct ws_terms *wish, char offer[WS_EXTENSION_MAX]);

/* Judges the value that a server answered to that offer. 0 and the terms, or ERR_SYNTAX
 * and a short static sentence: what was not offered, malformed, or a window that is not
 * kept to; the connection must be given up (RFC 7692 7.1). That the server says nothing
 * of a server_no_context_takeover, as some do, is not worth that. A client that offered
 * nothing passes a wish with `on` false. */
int ws_extension_accept(struct span answer, const struct ws_terms *wish,
                        struct ws_terms *terms, const char **why);

#endif
