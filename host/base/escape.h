/* Makes any bytes fit to stand in a log: whoever wrote them, they cannot end the line,
 * close the quotes, or speak to a terminal. What is written is whole: neither an escape
 * nor a UTF-8 character is ever cut in the middle.
 *
 * Clean text, which nearly all is, goes through sixteen bytes at a time. Any thread. */
#ifndef BASE_ESCAPE_H
#define BASE_ESCAPE_H

#include "base/span.h"

enum escape_mode {
    /* UTF-8 passes; control bytes (C1 and DEL too) and broken UTF-8 become \xHH. */
    ESCAPE_PLAIN,
    /* Between quotes, ASCII only: also \" and \\, and every byte from 0x7f is \xHH. */
    ESCAPE_QUOTED,
    /* Inside a JSON string (RFC 8259 7); broken UTF-8 becomes the text \xHH. */
    ESCAPE_JSON,
};

/* Writes s to out as far as it fits in room. Bytes written; *taken is how many of s
 * they stand for. */
size_t escape(char *out, size_t room, struct span s, enum escape_mode mode,
              size_t *taken);

/* Bytes of the UTF-8 character (RFC 3629) that s begins with; 0 if it is none. */
size_t utf8_length(struct span s);

#endif
