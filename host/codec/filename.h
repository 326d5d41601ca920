/* The name of a file that the path of a request stands for, or none: what could lead
 * somewhere else than it seems to, or is hidden, has no name.
 *
 * A name begins with "/" and has no segment that begins with a dot, but .well-known, no
 * empty one but the last, no backslash and no zero byte: appended to a directory it can
 * only mean what is below it, links aside. Any thread. */
#ifndef CODEC_FILENAME_H
#define CODEC_FILENAME_H

#include "base/span.h"

/* path is decoded, but for %2F and %25, as of target.h; any other bytes do no harm. Its
 * name, with a zero behind it, at `to`; how long it is, 0: it has none, or there is no
 * room. */
size_t filename_of(struct span path, char *to, size_t room);

#endif
