/* A connection that has sent its end and waits for the peer's. Closing a descriptor
 * while bytes are unread, or still come, resets the connection (RFC 9293, 3.10.7), and
 * then what is on its way to the peer is lost. A server of TLS sends a client bytes
 * that nobody has asked for: session tickets.
 *
 * It drops what comes, and closes when the peer does, or after a few seconds; until
 * then the loop has a debt. Used by stream_tls. The loop's thread. */
#ifndef NET_PARTING_H
#define NET_PARTING_H

#include "net/loop.h"

/* Takes fd, whose sending side is shut. Without memory it is closed at once. */
void parting_start(struct loop *l, int fd);

#endif
