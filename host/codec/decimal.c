#include "codec/decimal.h"

#include "base/check.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* decimal_digits is from R. Giulietti, "The Schubfach way to render doubles" (2020);
 * the names of its variables are his: c*2^q is the double, cb its quadruple, cbl and
 * cbr the borders of what rounds to it, k the exponent of ten, h the shift that aligns
 * both. */

static const char pairs[] = "00010203040506070809101112131415161718192021222324"
                            "25262728293031323334353637383940414243444546474849"
                            "50515253545556575859606162636465666768697071727374"
                            "75767778798081828384858687888990919293949596979899";

struct power {
    uint64_t high, low;
};

enum { POWER_MIN = -292 };

static const struct power powers[] = {
#define P(high, low) {high, low},
#include "codec/decimal_powers.def"
#undef P
};

static char *digits(char *to, uint64_t n) {
    char text[20], *at = text + sizeof text;
    while (n >= 100) {
        at -= 2;
        memcpy(at, pairs + n % 100 * 2, 2);
        n /= 100;
    }
    if (n >= 10) {
        at -= 2;
        memcpy(at, pairs + n * 2, 2);
    } else {
        *--at = (char)('0' + n);
    }
    size_t len = (size_t)(text + sizeof text - at);
    memcpy(to, at, len);
    return to + len;
}

char *decimal_integer(char *to, int64_t n) {
    if (n >= 0) return digits(to, (uint64_t)n);
    *to = '-';
    return digits(to + 1, 0 - (uint64_t)n);
}

/* The high bits of power * cp, the last of them 1 if any below was. */
static uint64_t round_to_odd(struct power power, uint64_t cp) {
    __extension__ typedef unsigned __int128 wide;
    uint64_t low = (uint64_t)((wide)power.low * cp >> 64);
    wide high = (wide)power.high * cp + low;
    return (uint64_t)(high >> 64) | ((uint64_t)high > 1);
}

/* The digits of a positive double as an integer; *exponent is that of ten. */
static uint64_t shortest(uint64_t bits, int *exponent) {
    uint64_t fraction = bits & ((UINT64_C(1) << 52) - 1);
    int biased = (int)(bits >> 52);
    uint64_t c = biased ? fraction | UINT64_C(1) << 52 : fraction;
    int q = (biased ? biased : 1) - 1075;
    bool odd = c & 1, closer = fraction == 0 && biased > 1;
    /* floor(log10(2^q)), of 3/4 of it when the lower border is the closer one */
    int k = (q * 1262611 - (closer ? 524031 : 0)) >> 22;
    int h = q + ((-k * 1741647) >> 19) + 1;
    struct power power = powers[-k - POWER_MIN];
    uint64_t lower = round_to_odd(power, (4 * c - 2 + closer) << h) + odd;
    uint64_t vb = round_to_odd(power, (4 * c) << h);
    uint64_t upper = round_to_odd(power, (4 * c + 2) << h) - odd;
    uint64_t s = vb / 4;
    *exponent = k;
    if (s >= 10) {
        uint64_t tenth = s / 10;
        bool down = lower <= 40 * tenth, up = 40 * tenth + 40 <= upper;
        if (down != up) {
            *exponent = k + 1;
            return tenth + up;
        }
    }
    bool down = lower <= 4 * s, up = 4 * s + 4 <= upper;
    if (down != up) return s + up;
    uint64_t middle = 4 * s + 2;
    return s + (vb > middle || (vb == middle && (s & 1)));
}

/* Prices and the like without the long way: n has at most 15 digits and the quotient of
 * the exact n and the exact power of ten is rounded once, as is what a reader makes of
 * the text; at so few digits no other text of that length gives d. */
static bool few_decimals(double d, uint64_t *n, int *exponent) {
    if (!(d >= 0.01 && d < 1e11)) return false;
    *n = (uint64_t)(d * 100 + 0.5);
    *exponent = -2;
    if ((double)*n / 100 == d) return true;
    *n = (uint64_t)(d * 10000 + 0.5);
    *exponent = -4;
    return (double)*n / 10000 == d;
}

static char *scientific(char *to, const char *text, int count, int exponent) {
    *to++ = text[0];
    if (count > 1) {
        *to++ = '.';
        memcpy(to, text + 1, (size_t)count - 1);
        to += count - 1;
    }
    *to++ = 'e';
    return decimal_integer(to, exponent);
}

char *decimal_double(char *to, double d, bool point) {
    uint64_t bits;
    memcpy(&bits, &d, sizeof bits);
    if (bits >> 63) *to++ = '-';
    bits &= ~(UINT64_C(1) << 63);
    d = fabs(d);
    if (d < 9007199254740992.0 && (double)(int64_t)d == d) {
        to = digits(to, (uint64_t)d);
        if (!point) return to;
        memcpy(to, ".0", 2);
        return to + 2;
    }
    int exponent;
    uint64_t n;
    if (!few_decimals(d, &n, &exponent)) n = shortest(bits, &exponent);
    if (n % 100000000 == 0) {
        n /= 100000000;
        exponent += 8;
    }
    for (; n % 10 == 0; exponent++) n /= 10;
    char text[20];
    int count = (int)(digits(text, n) - text), whole = count + exponent;
    if (whole < -4 || whole > 16) return scientific(to, text, count, whole - 1);
    if (whole <= 0) {
        memcpy(to, "0.0000", 6);
        to += 2 - whole;
        memcpy(to, text, (size_t)count);
        return to + count;
    }
    if (exponent >= 0) { /* above 2^53, so there are digits enough for no fraction */
        memcpy(to, text, (size_t)count);
        memset(to + count, '0', (size_t)exponent);
        to += whole;
        memcpy(to, ".0", 2);
        return to + (point ? 2 : 0);
    }
    memcpy(to, text, (size_t)whole);
    to[whole] = '.';
    memcpy(to + whole + 1, text + whole, (size_t)(count - whole));
    return to + count + 1;
}

/* What printf and strtod take for the point; one that is not a byte is no point. */
static char locale_point(void) {
    const char *point = localeconv()->decimal_point;
    return point[0] && !point[1] ? point[0] : '.';
}

char *decimal_rounded(char *to, double d, int count, bool point) {
    CHECK(count >= 1 && count <= 17);
    char text[DECIMAL_MAX], local = locale_point();
    int n = snprintf(text, sizeof text, "%.*g", count, d);
    CHECK(n > 0 && n < DECIMAL_MAX - 2);
    bool whole = true;
    for (int i = 0; i < n; i++) {
        if (text[i] == local) text[i] = '.';
        if (text[i] == '.' || text[i] == 'e') whole = false;
    }
    memcpy(to, text, (size_t)n);
    to += n;
    if (!whole || !point) return to;
    memcpy(to, ".0", 2);
    return to + 2;
}

/* Few digits and a small exponent: one rounding, of an exact product or quotient of two
 * exact doubles (W. Clinger, 1990). Everything else goes through strtod. */
static bool read_exact(struct span literal, double *out) {
    static const double tens[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                  1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                  1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    const char *at = literal.at, *end = at + literal.len;
    bool negative = at < end && *at == '-';
    if (negative) at++;
    uint64_t n = 0;
    int exponent = 0, written = 0;
    if (end - at > 24) return false;
    for (int fraction = 0; at < end && *at != 'e' && *at != 'E'; at++) {
        if (*at == '.') {
            fraction = 1;
            continue;
        }
        if (n >= UINT64_C(1) << 53) return false;
        n = n * 10 + (uint64_t)(*at - '0');
        exponent -= fraction;
    }
    if (at < end) {
        at++;
        bool down = *at == '-';
        if (*at == '-' || *at == '+') at++;
        for (; at < end; at++) {
            if (written > 1000) return false;
            written = written * 10 + (*at - '0');
        }
        exponent += down ? -written : written;
    }
    if (n > UINT64_C(1) << 53 || exponent < -22 || exponent > 22) return false;
    double d = (double)n;
    d = exponent < 0 ? d / tens[-exponent] : d * tens[exponent];
    *out = negative ? -d : d;
    return true;
}

double decimal_read(struct span literal) {
    double d;
    if (read_exact(literal, &d)) return d;
    CHECK(literal.len <= DECIMAL_LITERAL_MAX);
    char text[DECIMAL_LITERAL_MAX + 1], local = locale_point();
    memcpy(text, literal.at, literal.len);
    text[literal.len] = '\0';
    char *point = local == '.' ? NULL : memchr(text, '.', literal.len);
    if (point) *point = local;
    return strtod(text, NULL);
}
