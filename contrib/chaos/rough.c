/* rough: what a program may do to another one, for Lua.
 *
 *   start(log, { program, argument... }) -> pid    its output goes to the file; it gets
 *                                                  TERM when we end
 *   reap(pid) -> code, signal                      nil while it runs
 *   kill(pid, number) -> whether it was there
 *   files(pid, soft) -> soft                       sets its limit of open files, gives
 *                                                  the one before; nil when it is gone
 *   abort(fd)                                      closing it resets the connection
 *
 * Wrong arguments raise; what fails is nil, message. Any thread. */
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <lua.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ARGUMENTS_MAX = 100 };

int luaopen_rough(lua_State *L);

static int failed(lua_State *L) {
    int err = errno;
    lua_pushnil(L);
    lua_pushstring(L, strerror(err));
    return 2;
}

/* The child's half, between fork and exec. */
static void become(const char *log, char **argv) {
    int in = open("/dev/null", O_RDONLY);
    int out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    sigset_t none;
    if (in < 0 || out < 0) _exit(127);
    dup2(in, 0);
    dup2(out, 1);
    dup2(out, 2);
    if (in > 2) close(in);
    if (out > 2) close(out);
    for (int i = 1; i < NSIG; i++) signal(i, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    execv(argv[0], argv);
    _exit(127);
}

static int start(lua_State *L) {
    const char *log = luaL_checkstring(L, 1);
    char *argv[ARGUMENTS_MAX + 1];
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_Unsigned n = lua_rawlen(L, 2);
    luaL_argcheck(L, n > 0 && n <= ARGUMENTS_MAX, 2, "some arguments, not too many");
    luaL_checkstack(L, (int)n + 4, NULL);
    for (lua_Unsigned i = 0; i < n; i++) {
        lua_rawgeti(L, 2, (lua_Integer)i + 1);
        argv[i] = (char *)luaL_checkstring(L, -1);
    }
    argv[n] = NULL;
    pid_t pid = fork();
    if (pid < 0) return failed(L);
    if (pid == 0) become(log, argv);
    lua_pushinteger(L, pid);
    return 1;
}

static int reap(lua_State *L) {
    pid_t pid = (pid_t)luaL_checkinteger(L, 1);
    int status;
    pid_t got = waitpid(pid, &status, WNOHANG);
    if (got < 0) return failed(L);
    if (got == 0) return 0;
    lua_pushinteger(L, WIFEXITED(status) ? WEXITSTATUS(status) : 0);
    lua_pushinteger(L, WIFSIGNALED(status) ? WTERMSIG(status) : 0);
    return 2;
}

static int send_signal(lua_State *L) {
    pid_t pid = (pid_t)luaL_checkinteger(L, 1);
    int number = (int)luaL_checkinteger(L, 2);
    luaL_argcheck(L, pid > 1, 1, "one process");
    lua_pushboolean(L, kill(pid, number) == 0);
    return 1;
}

static int files(lua_State *L) {
    pid_t pid = (pid_t)luaL_checkinteger(L, 1);
    lua_Integer soft = luaL_checkinteger(L, 2);
    struct rlimit before, limit;
    if (prlimit(pid, RLIMIT_NOFILE, NULL, &before) < 0) return failed(L);
    limit = before;
    limit.rlim_cur = (rlim_t)soft < before.rlim_max ? (rlim_t)soft : before.rlim_max;
    if (prlimit(pid, RLIMIT_NOFILE, &limit, NULL) < 0) return failed(L);
    lua_pushinteger(L, (lua_Integer)before.rlim_cur);
    return 1;
}

static int abort_connection(lua_State *L) {
    int fd = (int)luaL_checkinteger(L, 1);
    struct linger now = {.l_onoff = 1};
    if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now) < 0) return failed(L);
    lua_pushboolean(L, 1);
    return 1;
}

__attribute__((visibility("default"))) int luaopen_rough(lua_State *L) {
    static const luaL_Reg functions[] = {{"start", start},
                                         {"reap", reap},
                                         {"kill", send_signal},
                                         {"files", files},
                                         {"abort", abort_connection},
                                         {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
