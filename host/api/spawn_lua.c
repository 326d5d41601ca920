#include "api/spawn_lua.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/program.h"
#include "isolate/budget.h"

#include <fcntl.h>
#include <lauxlib.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const char NAME[] = "atoll.child";

enum { ARGUMENTS = 64 };

struct child {
    pid_t pid; /* 0 when it was waited for */
    int code;
    int fd; /* the read end of its stderr */
    struct buf text;
};

static struct child *check(lua_State *L) {
    return luaL_checkudata(L, 1, NAME);
}

static int failure(lua_State *L, int err) {
    lua_pushnil(L);
    lua_pushstring(L, err_text(err));
    lua_pushstring(L, err_name(err));
    return 3;
}

/* Waits until fd is readable; false when the time is over. */
static bool wait_readable(int fd, int64_t until) {
    for (;;) {
        int64_t left = until - clock_ns();
        if (left < 0) left = 0;
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int n = poll(&p, 1, (int)((left + 999999) / 1000000));
        if (n > 0) return true;
        if (n == 0 || errno != EINTR) return false;
    }
}

static int64_t deadline(lua_State *L, int index) {
    lua_Number seconds = luaL_optnumber(L, index, 10);
    luaL_argcheck(L, seconds >= 0 && seconds < 1e6, index, "seconds");
    return clock_ns() + (int64_t)(seconds * (double)CLOCK_SECOND);
}

static int line(lua_State *L) {
    struct child *c = check(L);
    int64_t until = deadline(L, 2);
    for (;;) {
        char *end = buf_len(&c->text)
                        ? memchr(buf_data(&c->text), '\n', buf_len(&c->text))
                        : NULL;
        if (end) {
            size_t n = (size_t)(end - buf_data(&c->text));
            lua_pushlstring(L, buf_data(&c->text), n);
            buf_consume(&c->text, n + 1);
            return 1;
        }
        if (c->fd < 0 || !wait_readable(c->fd, until)) return 0;
        char *to = buf_reserve(&c->text, 4096);
        if (!to) return budget_raise(L);
        ssize_t n;
        do n = read(c->fd, to, 4096);
        while (n < 0 && errno == EINTR);
        if (n == 0) fd_close(&c->fd);
        if (n < 0) return failure(L, -errno);
        buf_commit(&c->text, (size_t)n);
    }
}

static int send_signal(lua_State *L) {
    static const char *const names[] = {"HUP",  "TERM", "INT",  "QUIT", "KILL",
                                        "USR1", "TTIN", "TTOU", NULL};
    static const int numbers[] = {SIGHUP,  SIGTERM, SIGINT,  SIGQUIT,
                                  SIGKILL, SIGUSR1, SIGTTIN, SIGTTOU};
    struct child *c = check(L);
    int signal = numbers[luaL_checkoption(L, 2, NULL, names)];
    if (!c->pid) return failure(L, -ESRCH);
    if (kill(c->pid, signal) < 0) return failure(L, -errno);
    lua_pushboolean(L, 1);
    return 1;
}

static bool reap(struct child *c, int flags) {
    int status;
    if (!c->pid || waitpid(c->pid, &status, flags) != c->pid) return !c->pid;
    c->pid = 0;
    c->code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return true;
}

static int wait_for(lua_State *L) {
    struct child *c = check(L);
    int64_t until = deadline(L, 2);
    if (c->pid) {
        int fd = (int)syscall(SYS_pidfd_open, c->pid, 0);
        if (fd < 0) return failure(L, -errno);
        bool ended = wait_readable(fd, until);
        close(fd);
        if (!ended || !reap(c, WNOHANG)) return 0;
    }
    lua_pushinteger(L, c->code);
    return 1;
}

static int collect(lua_State *L) {
    struct child *c = check(L);
    if (c->pid) {
        kill(c->pid, SIGKILL);
        reap(c, 0);
    }
    fd_close(&c->fd);
    buf_reset(&c->text);
    return 0;
}

static int get(lua_State *L) {
    struct child *c = check(L);
    const char *key = luaL_checkstring(L, 2);
    if (strcmp(key, "pid") != 0) {
        lua_pushvalue(L, 2);
        lua_rawget(L, lua_upvalueindex(1));
    } else if (c->pid) {
        lua_pushinteger(L, c->pid);
    } else {
        lua_pushnil(L);
    }
    return 1;
}

static int spawn(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    const char *argv[ARGUMENTS + 2] = {"atoll"};
    lua_Integer count = luaL_len(L, 1);
    luaL_argcheck(L, count <= ARGUMENTS, 1, "too many arguments");
    luaL_checkstack(L, (int)count + 8, "arguments");
    for (lua_Integer i = 1; i <= count; i++) {
        lua_geti(L, 1, i);
        argv[i] = luaL_checkstring(L, -1);
    }
    struct child *c = lua_newuserdatauv(L, sizeof *c, 0);
    *c = (struct child){.fd = -1};
    luaL_setmetatable(L, NAME);
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0) return failure(L, -errno);
    c->fd = fds[0];
    int err = program_start(&c->pid, "/proc/self/exe", (char *const *)(uintptr_t)argv,
                            fds[1], STDERR_FILENO, true);
    fd_close(&fds[1]);
    if (err) {
        c->pid = 0;
        return failure(L, err);
    }
    return 1;
}

static const luaL_Reg methods[] = {
    {"line", line}, {"signal", send_signal}, {"wait", wait_for}, {NULL, NULL}};

int luaopen_atoll_core_spawn(lua_State *L) {
    luaL_newmetatable(L, NAME);
    luaL_newlib(L, methods);
    lua_pushcclosure(L, get, 1);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, collect);
    lua_setfield(L, -2, "__gc");
    lua_pushcfunction(L, collect);
    lua_setfield(L, -2, "__close");
    lua_pop(L, 1);
    lua_pushcfunction(L, spawn);
    return 1;
}
