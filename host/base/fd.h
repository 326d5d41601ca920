/* File descriptors: the few things that everybody does to them, done right once. All
 * that is made here is close-on-exec, and whatever fails returns a negative errno.
 *
 * Descriptors travel to another process over a unix socket (fd_send, fd_recv), beside
 * at least one byte of data, which is what keeps them from being lost. The receiver
 * owns what it got; the sender keeps its own. Any thread. */
#ifndef BASE_FD_H
#define BASE_FD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { FD_SEND_MAX = 253 }; /* in one message; the kernel's SCM_MAX_FD */

int fd_cloexec(int fd, bool on);
int fd_nonblock(int fd, bool on);

/* A close-on-exec duplicate with a number of at least 3, or a negative errno. */
int fd_dup(int fd);

/* Closes *fd unless it is negative and makes it -1; errno stays as it was. Never
 * retried: on Linux the number is free again even after EINTR, and may by then be
 * another thread's. */
void fd_close(int *fd);

/* Sends len (at least 1) bytes and count descriptors as one message. 0 or a negative
 * errno; on a stream socket all bytes have gone or it is an error (-EMSGSIZE when
 * the socket took a part: the peers are out of step and it must be closed). */
int fd_send(int socket, const void *data, size_t len, const int *fds, size_t count);

/* Receives at most size bytes and at most *count descriptors; sets *count to how many
 * came. Bytes received, 0 at end of file, or a negative errno; -EMSGSIZE when more
 * descriptors came than were asked for (all are then closed). */
ssize_t fd_recv(int socket, void *data, size_t size, int *fds, size_t *count);

/* Writes all of it, waiting as long as it takes, whether or not fd is non-blocking.
 * 0 or a negative errno. For the supervisor and tools; never for an isolate. */
int fd_write_all(int fd, const void *data, size_t len);

/* How many descriptors this process has open; a negative errno without /proc. */
int fd_count(void);

#endif
