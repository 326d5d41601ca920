/* Dates as HTTP has them (RFC 9110 5.6.7), read in all three forms: those that are
 * sent today, and the two of old that recipients still have to know. Written they are
 * by clock_imf of base/clock.h.
 *
 * Any thread. */
#ifndef CODEC_HTTPDATE_H
#define CODEC_HTTPDATE_H

#include "base/span.h"

#include <stdint.h>

/* Seconds since 1970; false when it is no date. now, in the same seconds, settles the
 * century of a year of two digits: none lies more than 50 years ahead. */
bool httpdate_parse(struct span s, int64_t now, int64_t *seconds);

#endif
