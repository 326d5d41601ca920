/* Open files of atoll.fs: read in any portion, written, positioned, through the pool
 * for files. Reading is ahead, in pieces of 64 KiB, so that lines cost one errand for
 * many.
 *
 * A file does one thing at a time: fibers that use the same one have their turns in the
 * order of coming. Cancelling a fiber takes nothing from the others: what it had begun
 * is finished first. The thread that the state is on. */
#ifndef API_FILE_LUA_H
#define API_FILE_LUA_H

#include <lua.h>

/* Makes the files' metatable. */
int file_open_library(lua_State *L);

/* open(path[, mode[, options]]), tempfile([directory]) */
int file_open(lua_State *L);
int file_tempfile(lua_State *L);

/* The argument, or where temporary files go: $TMPDIR or /tmp. */
const char *file_temporary_directory(lua_State *L, int argument);

#endif
