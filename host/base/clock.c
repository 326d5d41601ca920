#include "base/clock.h"

#include <string.h>

static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
static const char *const weekdays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};

/* 9999-12-31T23:59:59Z, the last second whose year has four digits. */
#define LAST_SECOND INT64_C(253402300799)

/* Days are counted from 1 March of year 0, so that the leap day is the last of its
 * year and the lengths of the months follow one line: (153 m + 2) / 5. */
void clock_civil(int64_t seconds, struct clock_civil *out) {
    if (seconds < 0) seconds = 0;
    if (seconds > LAST_SECOND) seconds = LAST_SECOND;
    unsigned days = (unsigned)(seconds / 86400);
    unsigned rest = (unsigned)(seconds % 86400);

    unsigned shifted = days + 719468; /* from 0000-03-01 to 1970-01-01 */
    unsigned era = shifted / 146097;  /* of 400 years */
    unsigned of_era = shifted % 146097;
    unsigned year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    unsigned of_year = of_era - (365 * year + year / 4 - year / 100);
    unsigned month = (5 * of_year + 2) / 153; /* 0 is March */

    out->day = (int)(of_year - (153 * month + 2) / 5 + 1);
    out->month = (int)(month < 10 ? month + 3 : month - 9);
    out->year = (int)(year + era * 400 + (month >= 10));
    out->hour = (int)(rest / 3600);
    out->minute = (int)(rest / 60 % 60);
    out->second = (int)(rest % 60);
    out->weekday = (int)((days + 4) % 7); /* 1970 began on a Thursday */
}

static char *put_text(char *out, const char *text, size_t n) {
    memcpy(out, text, n);
    return out + n;
}

static char *put_digits(char *out, int value, int width) {
    for (int i = width - 1; i >= 0; i--) {
        out[i] = (char)('0' + value % 10);
        value /= 10;
    }
    return out + width;
}

static char *put_clock(char *out, const struct clock_civil *c) {
    out = put_digits(out, c->hour, 2);
    *out++ = ':';
    out = put_digits(out, c->minute, 2);
    *out++ = ':';
    return put_digits(out, c->second, 2);
}

void clock_imf(char out[CLOCK_IMF_LEN], int64_t seconds) {
    struct clock_civil c;
    clock_civil(seconds, &c);
    out = put_text(out, weekdays[c.weekday], 3);
    out = put_text(out, ", ", 2);
    out = put_digits(out, c.day, 2);
    *out++ = ' ';
    out = put_text(out, months[c.month - 1], 3);
    *out++ = ' ';
    out = put_digits(out, c.year, 4);
    *out++ = ' ';
    out = put_clock(out, &c);
    put_text(out, " GMT", 4);
}

void clock_rfc3339(char out[CLOCK_RFC3339_LEN], int64_t wall_ns) {
    struct clock_civil c;
    if (wall_ns < 0) wall_ns = 0;
    clock_civil(wall_ns / CLOCK_SECOND, &c);
    out = put_digits(out, c.year, 4);
    *out++ = '-';
    out = put_digits(out, c.month, 2);
    *out++ = '-';
    out = put_digits(out, c.day, 2);
    *out++ = 'T';
    out = put_clock(out, &c);
    *out++ = '.';
    out = put_digits(out, (int)(wall_ns % CLOCK_SECOND / CLOCK_MS), 3);
    *out = 'Z';
}

void clock_apache(char out[CLOCK_APACHE_LEN], int64_t seconds) {
    struct clock_civil c;
    clock_civil(seconds, &c);
    *out++ = '[';
    out = put_digits(out, c.day, 2);
    *out++ = '/';
    out = put_text(out, months[c.month - 1], 3);
    *out++ = '/';
    out = put_digits(out, c.year, 4);
    *out++ = ':';
    out = put_clock(out, &c);
    put_text(out, " +0000]", 7);
}

void clock_date_set(struct clock_date *d, time_t now) {
    d->second = now;
    clock_imf(d->text, now);
    d->text[CLOCK_IMF_LEN] = 0;
}
