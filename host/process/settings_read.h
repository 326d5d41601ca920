/* Reads a config file: a Lua chunk that returns a table, run in a state of its own with
 * nothing in reach but env(name, default), tonumber, tostring, string, table and math.
 * Only text is loaded, a chunk that runs too long or takes too much memory is an
 * error, and every message names the file and, where there is one, the line.
 *
 * It knows nothing about settings: keys and values come back as texts for
 * settings_load, which checks them. Here alone in this layer Lua is included. Any
 * thread. */
#ifndef PROCESS_SETTINGS_READ_H
#define PROCESS_SETTINGS_READ_H

#include "base/arena.h"
#include "process/problem.h"

#include <stdbool.h>

/* All texts live in the arena. */
struct settings_entry {
    const char *key;
    const char *value; /* numbers and booleans as they are written */
    const char *place; /* "atoll.lua:3"; without the line when it was not found */
    const char *wrong; /* what the value is when no text stands for it: "a function" */
    bool listed;       /* one element of a list */
    bool empty;        /* a table without anything in it */
    int line;          /* 0 when it was not found */
    /* 0; or of the element of `apps` with this number, 1 and up, which is a table: each
       of its fields, and an entry without a key for the element itself. */
    unsigned app;
};

/* In the order of their lines. 0, or -1 with a problem of code EX_CONFIG (EX_NOPERM
 * when the file may not be read). */
int settings_read(const char *path, struct arena *memory,
                  struct settings_entry **entries, size_t *count, struct problem *p);

/* "Lua 5.4.4": what the program was compiled with. */
const char *settings_read_lua(void);

#endif
