/* "Did you mean": finds the known word that is nearest to a mistyped one. Swapped,
 * missing, added and wrong letters count one each; case, dashes and underscores count
 * nothing.
 *
 * The words of a table are offered one by one to a struct suggestion; its word is NULL
 * when none is near. Any thread. */
#ifndef PROCESS_SUGGEST_H
#define PROCESS_SUGGEST_H

struct suggestion {
    const char *wrong;
    const char *word; /* the nearest so far, as offered */
    unsigned distance;
};

static inline struct suggestion suggest_for(const char *wrong) {
    return (struct suggestion){wrong, 0, 0};
}

void suggest_offer(struct suggestion *s, const char *word);

#endif
