/* Numbers as decimal text, both ways, in the grammar that JSON and Lua share. A double
 * is written with the fewest digits that read back as the same double (the one nearest
 * to it where several would do), by Giulietti's Schubfach; an integer stays an integer.
 *
 * Writers put at most DECIMAL_MAX bytes at `to`, no NUL, and return the end. Neither
 * way depends on the locale. Any thread. */
#ifndef CODEC_DECIMAL_H
#define CODEC_DECIMAL_H

#include "base/span.h"

#include <stdint.h>

enum {
    DECIMAL_MAX = 32,
    DECIMAL_LITERAL_MAX = 1000, /* bytes that decimal_read takes */
};

char *decimal_integer(char *to, int64_t n);

/* d is finite. A number without fraction or exponent gets ".0" when point. */
char *decimal_double(char *to, double d, bool point);

/* The same with 1 to 17 significant digits, as "%.*g" has them. */
char *decimal_rounded(char *to, double d, int digits, bool point);

/* The double nearest to a literal that the grammar of RFC 8259 6 accepts; infinite when
 * it is out of range. literal.len <= DECIMAL_LITERAL_MAX. */
double decimal_read(struct span literal);

#endif
