/* The Lua half of the program, compiled in: every module under lua/ as bytecode of the
 * Lua that the program is linked with, with the names and lines that errors tell. The
 * build writes the table (contrib/embed.c); it never changes while the program runs and
 * is shared by all threads.
 *
 * Whoever looks a module up walks embedded_files until the entry whose name is NULL.
 * Any thread. */
#ifndef BASE_EMBEDDED_H
#define BASE_EMBEDDED_H

#include <stddef.h>

struct embedded_file {
    const char *name; /* what require is given: "atoll.app", "atoll" for init.lua */
    const char *path; /* "lua/atoll/app.lua"; the chunk is named "@" path */
    const unsigned char *code;
    size_t length; /* bytes of code */
};

extern const struct embedded_file embedded_files[];

#endif
