/* File descriptors: the few things that everybody does to them, done right once. All
 * that is made here is close-on-exec, and whatever fails returns a negative errno. Any
 * thread. */
#ifndef BASE_FD_H
#define BASE_FD_H

#include <stdbool.h>
#include <stddef.h>

int fd_cloexec(int fd, bool on);
int fd_nonblock(int fd, bool on);

/* A close-on-exec duplicate with a number of at least 3, or a negative errno. */
int fd_dup(int fd);

/* Closes *fd unless it is negative and makes it -1; errno stays as it was. Never
 * retried: on Linux the number is free again even after EINTR, and may by then be
 * another thread's. */
void fd_close(int *fd);

/* Writes all of it, waiting as long as it takes, whether or not fd is non-blocking.
 * 0 or a negative errno. For the supervisor and tools; never for an isolate. */
int fd_write_all(int fd, const void *data, size_t len);

/* How many descriptors this process has open; a negative errno without /proc. */
int fd_count(void);

#endif
