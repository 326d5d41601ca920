/* From a child of the supervisor to a host: the steps between fork, or the exec of a
 * program file that is tried, and host_main, in the order in which they must come.
 *
 * The log is opened by whoever is still root. The thread that runs the process. */
#ifndef PROCESS_HATCH_H
#define PROCESS_HATCH_H

#include "process/bequest.h"
#include "process/heritage.h"
#include "process/privileges.h"

/* As the settings say, its files made over to who. */
int hatch_log(const struct settings *s, const struct identity *who, struct problem *p);

/* The log is open; nothing of the supervisor's alone is. */
_Noreturn void hatch(struct heritage *h, const struct identity *who);

/* What a host needs to begin, where the program was executed for it. */
struct hatchling {
    struct settings *settings;
    const struct settings_source *source;
    const char *app, *app_path; /* as of struct supervised */
    struct bequest *bequest;
};

/* In a program that is tried: -1 with the problem, or not at all. */
int hatch_tried(const struct hatchling *what, struct problem *p);

#endif
