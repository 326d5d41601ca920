/* What time it is, and the texts of it that HTTP and logs need. Dates are worked out
 * by hand: gmtime and strftime take locks and locales and cost a microsecond, and a
 * Date header or an access line must cost nothing when its second has been seen.
 *
 * A clock_date belongs to one isolate and is reformatted when the second changes.
 * Seconds before 1970 and after 9999 are clamped, so the widths below always hold. Any
 * thread; a struct clock_date one thread at a time. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include "base/span.h"

#include <stdint.h>
#include <time.h>

#define CLOCK_SECOND INT64_C(1000000000) /* in nanoseconds */
#define CLOCK_MS INT64_C(1000000)

/* Monotonic nanoseconds; for durations and deadlines. */
static inline int64_t clock_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * CLOCK_SECOND + t.tv_nsec;
}

/* Nanoseconds since 1970 (UTC); for texts only, since it may jump. */
static inline int64_t clock_wall_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return t.tv_sec * CLOCK_SECOND + t.tv_nsec;
}

struct clock_civil {
    int year, month, day; /* month and day from 1 */
    int hour, minute, second;
    int weekday; /* 0 is Sunday */
};

void clock_civil(int64_t seconds, struct clock_civil *out);

/* Lengths of the texts; none is terminated. */
enum { CLOCK_IMF_LEN = 29, CLOCK_RFC3339_LEN = 24, CLOCK_APACHE_LEN = 28 };

/* "Sun, 06 Nov 1994 08:49:37 GMT", the IMF-fixdate of RFC 9110 5.6.7. */
void clock_imf(char out[CLOCK_IMF_LEN], int64_t seconds);

/* "2026-11-21T10:11:53.123Z". */
void clock_rfc3339(char out[CLOCK_RFC3339_LEN], int64_t wall_ns);

/* "[21/Nov/2026:10:11:53 +0000]". */
void clock_apache(char out[CLOCK_APACHE_LEN], int64_t seconds);

/* A zeroed one is ready. */
struct clock_date {
    time_t second;
    char text[30]; /* terminated */
};

void clock_date_set(struct clock_date *d, time_t now);

/* The Date header's value; valid until the next call with another second. */
static inline struct span clock_date_at(struct clock_date *d, time_t now) {
    if (__builtin_expect(d->second != now || d->text[0] == 0, 0))
        clock_date_set(d, now);
    return span_of(d->text, CLOCK_IMF_LEN);
}

#endif
