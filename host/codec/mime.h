/* What a file is, by the end of its name: about a hundred types, those that the web is
 * made of; text says that it is UTF-8. And which types are worth compressing.
 *
 * Any thread. */
#ifndef CODEC_MIME_H
#define CODEC_MIME_H

#include "base/span.h"

/* A Content-Type; static. What is not known is application/octet-stream. */
struct span mime_of(struct span path);

/* True for what is compressed in itself, as pictures, films and archives are. */
bool mime_is_packed(struct span type);

/* True when one of the patterns, separated by blanks or commas, is the type without its
 * parameters; a pattern may begin or end with a star, for any text there. */
bool mime_matches(struct span patterns, struct span type);

#endif
