/* The command line, taken apart: which verb, what it is about, and the settings that
 * were given, in their order. Long options come from the table of settings; values are
 * checked later, by settings_load.
 *
 * `--x=y` and `--x y` are the same, dashes and underscores in long options too, `--`
 * ends the options, `-n4` and `-n 4` are the same. An option for a yes or no may stand
 * alone, and `--no-x` is its opposite. Supervisor's thread only. */
#ifndef PROCESS_OPTIONS_H
#define PROCESS_OPTIONS_H

#include "process/help.h"
#include "process/settings.h"

struct options {
    enum verb verb;
    bool asked_help;    /* --help behind the verb */
    const char *word;   /* APPDIR, SCRIPT or the topic of help; NULL when not given */
    const char *config; /* NULL when not given */
    char **rest;        /* arguments of SCRIPT or busted, ending in NULL */
    int rest_count;
    struct setting_given *given;
    size_t given_count;
};

/* Texts are borrowed from argv. 0, or -1 with a problem of code EX_USAGE. */
int options_parse(struct options *o, int argc, char **argv, struct problem *p);

void options_done(struct options *o);

#endif
