#include "process/suggest.h"

#include "base/span.h"

#include <string.h>

enum { WORD_MAX = 40 }; /* longer ones are nobody's slip of the finger */

static char plain(char c) {
    return c == '-' ? '_' : ascii_lower(c);
}

static unsigned least(unsigned a, unsigned b) {
    return a < b ? a : b;
}

/* The edits between the words with swaps of neighbours, row by row. */
static unsigned distance(const char *a, size_t a_len, const char *b, size_t b_len) {
    unsigned rows[3][WORD_MAX + 1];
    for (size_t j = 0; j <= b_len; j++) rows[0][j] = (unsigned)j;
    for (size_t i = 1; i <= a_len; i++) {
        unsigned *row = rows[i % 3], *above = rows[(i + 2) % 3];
        const unsigned *two_above = rows[(i + 1) % 3];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b_len; j++) {
            char ai = plain(a[i - 1]), bj = plain(b[j - 1]);
            row[j] = least(least(row[j - 1], above[j]) + 1, above[j - 1] + (ai != bj));
            if (i > 1 && j > 1 && ai == plain(b[j - 2]) && plain(a[i - 2]) == bj)
                row[j] = least(row[j], two_above[j - 2] + 1);
        }
    }
    return rows[a_len % 3][b_len];
}

void suggest_offer(struct suggestion *s, const char *word) {
    size_t wrong_len = strlen(s->wrong), len = strlen(word);
    if (wrong_len > WORD_MAX || len > WORD_MAX || len == 0) return;
    unsigned d = distance(s->wrong, wrong_len, word, len);
    unsigned longer = (unsigned)(wrong_len > len ? wrong_len : len);
    /* The start of a long word is meant as that word. */
    if (d > 2 && wrong_len >= 4 && wrong_len < len &&
        distance(s->wrong, wrong_len, word, wrong_len) == 0)
        d = 2;
    if (d > (longer <= 3 ? 1 : longer <= 8 ? 2 : 3)) return;
    if (s->word && d >= s->distance) return;
    s->word = word;
    s->distance = d;
}
