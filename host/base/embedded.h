/* The Lua half of the program, compiled in: every module under lua/ as it stands in the
 * source tree, byte for byte. The build writes the table (contrib/embed); it never
 * changes while the program runs and is shared by all threads.
 *
 * Whoever looks a module up walks embedded_files until the entry whose name is NULL.
 * Any thread. */
#ifndef BASE_EMBEDDED_H
#define BASE_EMBEDDED_H

#include <stddef.h>

struct embedded_file {
    const char *name;   /* what require is given: "atoll.app", "atoll" for init.lua */
    const char *path;   /* "lua/atoll/app.lua"; the chunk is named "@" path */
    const char *source; /* its bytes, and a NUL behind them */
    size_t length;      /* bytes of source */
};

extern const struct embedded_file embedded_files[];

#endif
