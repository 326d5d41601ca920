/* Whom a front lets in: not those who have as many connections as one client may, and
 * to what is for proxies nobody but these, who are counted by the clients that they
 * bring. Whoever is turned away is told so where that can be read, and the log says it
 * now and then.
 *
 * For front, when it accepts, and for h1, when a proxy has named its client. The
 * isolate's thread. */
#ifndef HTTP_ADMISSION_H
#define HTTP_ADMISSION_H

#include "http/front.h"

/* Whether fd, accepted from l, may come in, and *guest, which counts it, or NULL; else
 * it is closed. guest may be NULL where l is for proxies. */
bool admission_ask(struct front *f, const struct acceptor *l, int fd,
                   const struct sockaddr_storage *peer, struct guest **guest);

/* The same for a client that a proxy has named. */
bool admission_count(struct front *f, const struct client_address *client,
                     struct guest **guest);

/* Says why the peer's PROXY header is refused. */
void admission_refuse(struct front *f, const struct client_address *peer,
                      const char *why);

#endif
