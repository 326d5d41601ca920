/* The Cookie header of a request (RFC 6265 4.2, 5.4), walked: pairs between semicolons,
 * as browsers send them and not more strictly. In time that grows with its length only.
 *
 * Names and values are spans of the header, without white space around them and values
 * without quotes; what has no name, or one with white space inside, is skipped. Any
 * thread. */
#ifndef CODEC_COOKIES_H
#define CODEC_COOKIES_H

#include "base/span.h"

/* Takes the next cookie off *rest; false when nothing is left. */
bool cookies_next(struct span *rest, struct span *name, struct span *value);

#endif
