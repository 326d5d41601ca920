/* The apps of a host that has several: `apps` in the config file, a list of tables.
 * Each has a dir, relative to the file; a host, a path or both, unless it is to have
 * whatever the others do not; and settings of its own, which go before the host's,
 * wherever those come from. What belongs to the sockets and to the process is the
 * host's alone.
 *
 * For settings_load, which has set all else. Any thread. */
#ifndef PROCESS_SETTINGS_APPS_H
#define PROCESS_SETTINGS_APPS_H

#include "process/settings.h"
#include "process/settings_read.h"

/* Makes s->apps from those entries that are theirs. 0, or -1 with the problem. */
int settings_apps_load(struct settings *s, const char *config,
                       const struct settings_entry *entries, size_t count,
                       struct problem *p);

/* For settings_keep: other apps than before take a new start of the program. */
int settings_apps_keep(struct settings *fresh, const struct settings *running,
                       void changed(const struct setting *row));

/* The key nearest to a wrong one, or NULL; inside of an app or beside them. */
const char *settings_apps_suggest(const char *wrong, bool inside);

/* Whether each has a directory with an app in it: 0, or -1 with the problem. */
int settings_apps_check(const struct settings *s, struct problem *p);

/* ---- of settings_load.c ---- */

/* One value from the file; the problem has no place yet. */
int settings_entry_load(struct settings *s, const struct settings_entry *e,
                        struct problem *p);
/* "auto" becomes a number. */
void settings_count_isolates(struct settings *s);
void settings_share_memory(struct settings *s); /* when its apps are known */

#endif
