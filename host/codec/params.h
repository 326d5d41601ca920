/* The parameters of a MIME header's value (RFC 2045 5.1, RFC 9110 5.6.6), as in
 * `form-data; name="a b"; filename=x` and `text/html; charset=utf-8`: walked, found,
 * and freed of their quotes.
 *
 * What browsers write is read the way they mean it, and not guessed at where it could
 * mean two things. Spans point into the value. Any thread. */
#ifndef CODEC_PARAMS_H
#define CODEC_PARAMS_H

#include "base/span.h"

struct param {
    struct span name;  /* a token */
    struct span value; /* as it came, without the quotes */
    bool quoted;
};

/* Splits what stands in front of the first ";", without spaces around it, off *rest. */
struct span params_begin(struct span *rest);

/* Takes the next parameter off *rest: 1, 0 at the end, -1 when it is malformed. */
int params_next(struct span *rest, struct param *p);

/* The one parameter of that name, whatever its case: 1, 0 when there is none, -1 when
 * there are two or the value is malformed. */
int params_find(struct span value, struct span name, struct param *p);

/* Writes the parameter's value to out, which has room for value.len bytes; its length.
 * In quotes \" and \\ lose their backslash, any other keeps it (file names of Windows),
 * and %22, %0D and %0A are what HTML makes of quotes and line ends. */
size_t params_decode(const struct param *p, char *out);

/* The same for an extended value, UTF-8''%e2%82%ac (RFC 8187); false when it is none
 * in UTF-8, or holds control bytes. */
bool params_decode_extended(const struct param *p, char *out, size_t *len);

#endif
