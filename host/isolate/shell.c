#include "isolate/shell.h"

#include "base/fd.h"
#include "base/program.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <lualib.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char SHELL[] = "/bin/sh";

/* What io's functions take for a file. */
struct piped {
    luaL_Stream stream; /* first */
    pid_t pid;
};

static int start(pid_t *pid, const char *command, int fd, int as) {
    const char *argv[] = {"sh", "-c", "--", command, NULL};
    return program_start(pid, SHELL, (char *const *)(uintptr_t)argv, fd, as, false);
}

/* As luaL_execresult has it: with errno when there is no status. */
static int result(lua_State *L, int err, int status) {
    errno = -err;
    return luaL_execresult(L, err ? -1 : status);
}

static int execute(lua_State *L) {
    const char *command = luaL_optstring(L, 1, NULL);
    pid_t pid;
    int status = 0, err = start(&pid, command ? command : "exit 0", -1, -1);
    if (err == 0) err = program_wait(pid, &status);
    if (command) return result(L, err, status);
    lua_pushboolean(L, err == 0 && status == 0);
    return 1;
}

static int closed(lua_State *L) {
    struct piped *p = luaL_checkudata(L, 1, LUA_FILEHANDLE);
    int status = 0, lost = fclose(p->stream.f) == 0 ? 0 : -errno;
    int err = program_wait(p->pid, &status);
    return result(L, err == 0 && status == 0 ? lost : err, status);
}

/* The file for our end of the pipe, and the program with the other. 0 or a negative
 * errno, and nothing is open. */
static int open_both(struct piped *p, const char *command, bool reads) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) return -errno;
    int *ours = &ends[reads ? 0 : 1], *theirs = &ends[reads ? 1 : 0];
    FILE *f = fdopen(*ours, reads ? "r" : "w");
    int err = f ? 0 : -errno;
    if (f) err = start(&p->pid, command, *theirs, reads ? STDOUT_FILENO : STDIN_FILENO);
    fd_close(theirs);
    if (err == 0)
        p->stream.f = f;
    else if (f)
        fclose(f);
    else
        fd_close(ours);
    return err;
}

static int popened(lua_State *L) {
    const char *command = luaL_checkstring(L, 1);
    const char *mode = luaL_optstring(L, 2, "r");
    bool reads = strcmp(mode, "r") == 0;
    luaL_argcheck(L, reads || strcmp(mode, "w") == 0, 2, "invalid mode");
    struct piped *p = lua_newuserdatauv(L, sizeof *p, 0);
    *p = (struct piped){0};
    luaL_setmetatable(L, LUA_FILEHANDLE); /* closed, until there is a closef */
    fflush(NULL);                         /* what the program may read */
    int err = open_both(p, command, reads);
    if (err) {
        errno = -err;
        return luaL_fileresult(L, 0, command);
    }
    p->stream.closef = closed;
    return 1;
}

static void replace(lua_State *L, const char *library, const char *name,
                    lua_CFunction function) {
    lua_getglobal(L, library);
    lua_pushcfunction(L, function);
    lua_setfield(L, -2, name);
    lua_pop(L, 1);
}

int luaopen_atoll_shell(lua_State *L) {
    replace(L, LUA_OSLIBNAME, "execute", execute);
    replace(L, LUA_IOLIBNAME, "popen", popened);
    return 0;
}
