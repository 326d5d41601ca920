/* Listening and datagram sockets, bound to an address: non-blocking, close-on-exec. A
 * unix socket's file is made with mode 0660, in place of one at which nobody listens
 * any more.
 *
 * For the program's own listeners and for those of its Lua code. Any thread. */
#ifndef NET_BIND_H
#define NET_BIND_H

#include "net/addr.h"

#include <sys/types.h>

enum { BIND_BACKLOG = 4096 }; /* the kernel cuts it to net.core.somaxconn */

/* A bound socket of the type (SOCK_STREAM or SOCK_DGRAM) that does not listen yet, or a
 * negative errno. */
int bind_socket(const struct addr *a, int type, bool reuseport);

/* What connections inherit from a listening TCP socket of the server, without a system
 * call for each: small answers go at once, and who has vanished without a word is
 * noticed though nothing is sent. 0 or a negative errno. */
int bind_server(int fd);

/* Which file a unix socket was bound to, so that only this one is removed. */
struct bind_file {
    dev_t device;
    ino_t inode;
};

struct bind_file bind_file_of(const struct addr *a);
void bind_remove(const struct addr *a, struct bind_file file);

/* 0 or a negative errno. */
int bind_option(int fd, int level, int option, int value);

#endif
