/* atoll.fs: files and directories by name, through the pool for files, so that a slow
 * disk holds up nobody but the fiber that asked.
 *
 * Each call is one errand: a copy of its arguments, the work on a thread, the answer as
 * Lua values. While an app loads the work is done at once. The thread that the state is
 * on. */
#ifndef API_FS_LUA_H
#define API_FS_LUA_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

/* What whole reads and listings may bring, in bytes, unless the caller says more. */
enum { FS_MAX = 64 * 1024 * 1024 };

int luaopen_atoll_fs(lua_State *L);

/* nil, "path: sentence", code. */
int fs_failure(lua_State *L, const char *path, int err);

/* The argument as a path; raises when it has a zero byte. */
const char *fs_check_path(lua_State *L, int argument);

/* The argument as a number of bytes, up to what a buffer can hold; fallback when nil.
 */
size_t fs_opt_bytes(lua_State *L, int argument, size_t fallback);

/* The argument as options: nil or a table with no other keys than these; the list ends
 * with NULL. */
void fs_check_options(lua_State *L, int argument, const char *const *names);
bool fs_option(lua_State *L, int argument, const char *name);

/* Permissions: the option `mode`, a number or a text with octal digits. */
mode_t fs_option_mode(lua_State *L, int argument, mode_t fallback);

/* Pushes what stat says as a table. */
void fs_push_stat(lua_State *L, const struct stat *st);

#endif
