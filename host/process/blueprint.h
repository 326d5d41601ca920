/* What generations are made from: one snapshot of the settings, the app's directory and
 * the options derived from both. Each load makes one; it lives until the last
 * generation made from it has been closed.
 *
 * Any thread may release; the rest is the main thread's. */
#ifndef PROCESS_BLUEPRINT_H
#define PROCESS_BLUEPRINT_H

#include "api/app_lua.h"
#include "api/multipart_lua.h"
#include "http/front.h"
#include "process/settings.h"

#include <stdatomic.h>

struct blueprint {
    atomic_uint references;
    struct settings *settings; /* owned when loaded by a reload, else NULL */
    char *appdir;              /* owned; NULL for a script */
    char *prefix;              /* owned; NULL when it has the whole host */
    struct app_options options;
    struct generation_plan plan;
    struct blocking_site *blocking; /* of this snapshot */
    struct front_limits limits;
    struct form_limits forms;
    char *form_directory; /* of forms */
};

/* One reference; settings are borrowed unless own. appdir is copied. plan.commons is
 * the caller's to set. NULL without memory: own settings are freed then, too. */
struct blueprint *blueprint_new(struct settings *settings, bool own,
                                const char *appdir);

/* All of the app is to lie under that path, if it is not empty; copied. False without
 * memory. */
bool blueprint_under(struct blueprint *b, const char *prefix);

/* A generation, holding a reference; NULL with *error. */
struct generation *blueprint_build(struct blueprint *b, uint64_t number,
                                   struct buf *error);
void blueprint_release(struct blueprint *b);

#endif
