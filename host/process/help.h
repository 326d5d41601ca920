/* What `atoll help` and its kin print, and the table of verbs that it and the command
 * line share.
 *
 * Everything goes to the stream that is given: stdout when somebody asked, stderr when
 * the use was wrong. Supervisor's thread only. */
#ifndef PROCESS_HELP_H
#define PROCESS_HELP_H

#include <stdbool.h>
#include <stdio.h>

enum verb {
    VERB_SERVE,
    VERB_CHECK,
    VERB_ROUTES,
    VERB_RUN,
    VERB_TEST,
    VERB_HELP,
    VERB_VERSION,
    VERBS
};

/* What stands behind the verb: options anywhere and at most one word; options up to a
 * word, and the rest untouched; or all of it untouched. */
enum verb_takes { TAKES_WORD, TAKES_SCRIPT, TAKES_REST };

struct verb_row {
    const char *name;
    enum verb_takes takes;
    bool settings;    /* options for settings have a meaning */
    const char *word; /* "[APPDIR] [OPTION...]", as usage lines show it */
    const char *summary;
    const char *more; /* text of `atoll help VERB`, paragraphs separated by '\n' */
};

extern const struct verb_row verb_table[VERBS];

/* The verb of that name, or -1. */
int verb_find(const char *name);

/* The verb or topic of help nearest to a wrong one, or NULL. */
const char *verb_suggest(const char *wrong, bool topics);

/* All verbs. */
void help_usage(FILE *out);

void help_verb(FILE *out, enum verb verb);

/* "serve", "settings", "settings-file"; false when there is no such topic. */
bool help_topic(FILE *out, const char *topic);

/* "atoll 0.1.0 (Lua 5.4.4, libev 4.33, ...)". */
void help_version(FILE *out);

#endif
