/* A program of its own in place of an app: a script, or busted, in one isolate or in
 * several, without a supervisor. It ends when the function of every isolate has ended,
 * or at once when one of them fails or says so.
 *
 * A signal that would end a process cancels what runs, so that it can clean up, and
 * then ends this process as it would have; the second one does at once. What a script
 * listens for it is told instead. The thread that runs the process. */
#ifndef PROCESS_RUNNER_H
#define PROCESS_RUNNER_H

#include "process/settings.h"

struct script {
    const char *file;   /* or NULL */
    const char *module; /* to be required in its place */
    int argc;
    char **argv;
    unsigned isolates;
};

/* The exit code. */
int runner_run(const struct settings *s, const struct script *script);

#endif
