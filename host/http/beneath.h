/* Opens a file below a directory so that no name, no link, and nobody who changes
 * directories meanwhile leads out of it. What is opened is open for reading, and never
 * blocks: it may be a pipe or a device all the same, and has to be looked at.
 *
 * With openat2 the kernel sees to it; without (before Linux 5.6, or forbidden) the
 * directories on the way are opened one from the other. Any thread. */
#ifndef HTTP_BENEATH_H
#define HTTP_BENEATH_H

#include <stdbool.h>

/* root is absolute, name begins with "/" and has no dot segments. Without links none is
 * followed below the root, with them those that stay inside. The descriptor, or a
 * negative errno: -EXDEV or -ELOOP for what leads out. */
int beneath_open(const char *root, const char *name, bool links);

/* The same of any path, wherever it leads. */
int beneath_open_any(const char *path);

#endif
