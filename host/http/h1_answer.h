/* The answers of an HTTP/1 connection: heads, bodies whole or in chunks, 100 Continue,
 * as the exchange asks for them (h1_wire in h1.h), and the line in the access log.
 *
 * Nothing is sent from here but large bodies: the rest waits in the stream's queue
 * until h1 has dealt with its input, or to the end of the loop's turn. The isolate's
 * thread. */
#ifndef HTTP_H1_ANSWER_H
#define HTTP_H1_ANSWER_H

#include "http/exchange.h"

struct h1;

enum { H1_DISCARD_MAX = 256 * 1024 }; /* of an unread body, to keep the connection */

/* A body still on its way that is too long to be read only to be thrown away, or that
 * the client holds back until it is told to go on, costs the connection. */
bool h1_body_in_the_way(const struct h1 *c, const struct exchange *x);

void h1_write_access(struct h1 *c, struct exchange *x);

#endif
