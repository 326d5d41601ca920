/* The opening handshake of a WebSocket, both sides (RFC 6455 4): the key and what it is
 * answered with, whether a request asks for a WebSocket, and the subprotocol. The
 * extensions are ws_extension's.
 *
 * Pure; it reads heads that http1_read or http1_answer found well-formed. Whoever
 * answers writes the fields. Any thread. */
#ifndef CODEC_WS_HANDSHAKE_H
#define CODEC_WS_HANDSHAKE_H

#include "codec/head.h"

enum {
    WS_NONCE = 16,  /* random bytes of a key */
    WS_KEY = 24,    /* Sec-WebSocket-Key: they in base64 */
    WS_ACCEPT = 28, /* Sec-WebSocket-Accept */
    WS_VERSION = 13,
};

/* A client's key from random bytes. */
void ws_key(const unsigned char nonce[WS_NONCE], char out[WS_KEY]);

/* Exactly 16 bytes in base64, padded. */
bool ws_key_is_good(struct span key);

/* The value that answers a key, RFC 6455 4.2.2. */
void ws_accept(struct span key, char out[WS_ACCEPT]);

/* 0 when the request asks for a WebSocket as RFC 6455 4.2.1 demands; *key is then the
 * value of Sec-WebSocket-Key, in the head's bytes. Else the status to refuse with, and
 * *why is a short static sentence: 405 (the answer has Allow: GET), 426 (it has
 * Upgrade: websocket, Connection: Upgrade and Sec-WebSocket-Version: 13) or 400. */
int ws_request_check(const struct head *h, struct span *key, const char **why);

/* Whether it asks for one at all, well or not: for a route with both a GET handler and
 * a WebSocket. */
bool ws_request_asks(const struct head *h);

/* True when a comma-separated list of tokens, such as the value of Connection, has that
 * one, letter case aside. */
bool ws_list_has(struct span list, struct span token);

/* The next of a list of subprotocols (several fields: call for each value); *rest moves
 * behind it. Start with the whole value. False at the end. *token is empty where the
 * list is not one of tokens (RFC 6455 4.1, 10.), and then it is at its end, too. */
bool ws_protocol_next(struct span *rest, struct span *token);

/* The client's list is made of tokens, none of them twice. */
bool ws_protocols_are_good(const struct head *h);

/* True when the client's list has it; case counts (RFC 6455 1.9). A server goes through
 * its own, the most wanted first, and takes the first that the client has. */
bool ws_protocol_offered(const struct head *h, struct span protocol);

#endif
