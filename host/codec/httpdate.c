#include "codec/httpdate.h"

struct reader {
    const char *at, *end;
};

static bool literal(struct reader *r, const char *text) {
    size_t n = strlen(text);
    if ((size_t)(r->end - r->at) < n || memcmp(r->at, text, n) != 0) return false;
    r->at += n;
    return true;
}

/* One of the names, each so many bytes long; its position in *which. */
static bool name(struct reader *r, const char *names, size_t width, int *which) {
    if ((size_t)(r->end - r->at) < width) return false;
    for (*which = 0; names[(size_t)*which * width]; ++*which) {
        if (memcmp(r->at, names + (size_t)*which * width, width) != 0) continue;
        r->at += width;
        return true;
    }
    return false;
}

static bool digits(struct reader *r, int count, int *n) {
    *n = 0;
    for (; count > 0; count--, r->at++) {
        if (r->at == r->end || *r->at < '0' || *r->at > '9') return false;
        *n = *n * 10 + (*r->at - '0');
    }
    return true;
}

struct moment {
    int year, month, day, hour, minute, second; /* month from 0 */
};

static bool month(struct reader *r, struct moment *m) {
    return name(r, "JanFebMarAprMayJunJulAugSepOctNovDec", 3, &m->month);
}

static bool clock(struct reader *r, struct moment *m) {
    return digits(r, 2, &m->hour) && literal(r, ":") && digits(r, 2, &m->minute) &&
           literal(r, ":") && digits(r, 2, &m->second);
}

/* "Sun, 06 Nov 1994 08:49:37 GMT", behind the comma. */
static bool imf(struct reader *r, struct moment *m) {
    return literal(r, " ") && digits(r, 2, &m->day) && literal(r, " ") && month(r, m) &&
           literal(r, " ") && digits(r, 4, &m->year) && literal(r, " ") &&
           clock(r, m) && literal(r, " GMT");
}

/* "Sunday, 06-Nov-94 08:49:37 GMT", behind the comma. */
static bool rfc850(struct reader *r, struct moment *m) {
    return literal(r, " ") && digits(r, 2, &m->day) && literal(r, "-") && month(r, m) &&
           literal(r, "-") && digits(r, 2, &m->year) && literal(r, " ") &&
           clock(r, m) && literal(r, " GMT");
}

/* "Sun Nov  6 08:49:37 1994", behind the name of the day. */
static bool asctime_form(struct reader *r, struct moment *m) {
    if (!literal(r, " ") || !month(r, m) || !literal(r, " ")) return false;
    if (literal(r, " ") ? !digits(r, 1, &m->day) : !digits(r, 2, &m->day)) return false;
    return literal(r, " ") && clock(r, m) && literal(r, " ") && digits(r, 4, &m->year);
}

/* Days from 1970 to the first of March of that year, in which February is the last
   month of the year before. */
static int64_t days_to_march(int64_t year) {
    int64_t era = (year >= 0 ? year : year - 399) / 400, of_era = year - era * 400;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 - 719468;
}

static int64_t days(const struct moment *m) {
    static const short before[12] = {306, 337, 0,   31,  61,  92,
                                     122, 153, 184, 214, 245, 275};
    return days_to_march(m->year - (m->month < 2)) + before[m->month] + m->day - 1;
}

static bool is_leap(int year) {
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static bool exists(const struct moment *m) {
    static const char lengths[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int length = lengths[m->month] + (m->month == 1 && is_leap(m->year));
    return m->day >= 1 && m->day <= length && m->hour < 24 && m->minute < 60 &&
           m->second <= 60;
}

static int64_t seconds_of(const struct moment *m) {
    return ((days(m) * 24 + m->hour) * 60 + m->minute) * 60 + m->second;
}

static const int64_t FIFTY_YEARS = INT64_C(50) * 31556952;

/* The year of two digits is the latest that is not too far ahead. */
static void set_century(struct moment *m, int64_t now) {
    int last = m->year;
    m->year += 9900;
    while (m->year > last + 1900 && seconds_of(m) - now > FIFTY_YEARS) m->year -= 100;
}

bool httpdate_parse(struct span s, int64_t now, int64_t *seconds) {
    struct reader r = {s.at, s.at + s.len};
    struct moment m;
    int day;
    static const char *const whole[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                        "Thursday", "Friday", "Saturday"};
    bool is_whole = false;
    for (size_t i = 0; i < sizeof whole / sizeof *whole && !is_whole; i++)
        is_whole = literal(&r, whole[i]);
    if (is_whole) {
        if (!literal(&r, ",") || !rfc850(&r, &m)) return false;
        set_century(&m, now);
    } else if (!name(&r, "SunMonTueWedThuFriSat", 3, &day)) {
        return false;
    } else if (literal(&r, ",") ? !imf(&r, &m) : !asctime_form(&r, &m)) {
        return false;
    }
    if (r.at != r.end || !exists(&m)) return false;
    *seconds = seconds_of(&m);
    return true;
}
