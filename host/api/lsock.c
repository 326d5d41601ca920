#include "api/lsock.h"

#include "api/timer_lua.h"
#include "base/check.h"
#include "base/err.h"
#include "base/fd.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

enum { MAGIC = 0x6c736f6b, PAUSE_NS = 5000000 };

#define FOREVER_S 1e9 /* some thirty years */

/* Their addresses are keys in the registry, and one in each metatable. */
static const char METATABLES[LSOCK_CLASSES], MARK;

static const char *const names[LSOCK_CLASSES] = {
    [TCP_MASTER] = "tcp{master}",
    [TCP_CLIENT] = "tcp{client}",
    [TCP_SERVER] = "tcp{server}",
    [UDP_UNCONNECTED] = "udp{unconnected}",
    [UDP_CONNECTED] = "udp{connected}",
    [STREAM_MASTER] = "unixstream{master}",
    [STREAM_CLIENT] = "unixstream{client}",
    [STREAM_SERVER] = "unixstream{server}",
    [DGRAM_UNCONNECTED] = "unixdgram{unconnected}",
    [DGRAM_CONNECTED] = "unixdgram{connected}",
};

static const char *name_of(unsigned classes) {
    switch (classes) {
    case TCP_ANY: return "tcp{any}";
    case UDP_ANY: return "udp{any}";
    case STREAM_ANY: return "unixstream{any}";
    case DGRAM_ANY: return "unixdgram{any}";
    default: return names[__builtin_ctz(classes)];
    }
}

/* Classes. */

/* Not under the names in the registry: LuaSocket's own C module would find them there.
 */
void lsock_define(lua_State *L, enum lsock_class class, const luaL_Reg *methods) {
    lua_newtable(L);
    lua_pushboolean(L, 1);
    lua_rawsetp(L, -2, &MARK);
    lua_newtable(L);
    lua_pushstring(L, names[class]);
    lua_setfield(L, -2, "class");
    for (; methods->name; methods++) {
        lua_pushcfunction(L, methods->func);
        lua_setfield(L, methods->name[0] == '_' ? -3 : -2, methods->name);
    }
    lua_setfield(L, -2, "__index");
    lua_rawsetp(L, LUA_REGISTRYINDEX, &METATABLES[class]);
}

struct lsock *lsock_new(lua_State *L, enum lsock_class class, int family) {
    struct lsock *s = lua_newuserdatauv(L, sizeof *s, 0);
    *s = (struct lsock){.magic = MAGIC,
                        .class = class,
                        .family = family,
                        .block = -1,
                        .total = -1,
                        .birthday = clock_ns()};
    fd_wait_init(&s->wait, -1);
    lsock_set_class(L, -1, class);
    return s;
}

static struct lsock *test(lua_State *L, int index) {
    struct lsock *s = lua_touserdata(L, index);
    if (!s || !lua_getmetatable(L, index)) return NULL;
    bool is = lua_rawgetp(L, -1, &MARK) == LUA_TBOOLEAN;
    lua_pop(L, 2);
    return is ? lsock_at(L, index) : NULL;
}

struct lsock *lsock_check(lua_State *L, int argument, unsigned classes) {
    struct lsock *s = test(L, argument);
    if (!s || !(classes & ONLY(s->class))) {
        lua_pushfstring(L, "%s expected", name_of(classes));
        luaL_argerror(L, argument, lua_tostring(L, -1));
    }
    return s;
}

struct lsock *lsock_at(lua_State *L, int index) {
    struct lsock *s = lua_touserdata(L, index);
    MAGIC_CHECK(s, MAGIC);
    return s;
}

void lsock_set_class(lua_State *L, int index, enum lsock_class class) {
    lsock_at(L, index)->class = class;
    index = lua_absindex(L, index);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &METATABLES[class]);
    lua_setmetatable(L, index);
}

/* The descriptor. */

int lsock_open(struct lsock *s, int family, int type) {
    lsock_close(s);
    int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    if (family == AF_INET6) {
        int only = 1;
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only);
    }
    lsock_adopt(s, fd);
    s->family = family;
    return 0;
}

void lsock_adopt(struct lsock *s, int fd) {
    fd_wait_set(&s->wait, fd);
    fd_wait_last(&s->wait); /* for lsock_begin */
}

void lsock_close(struct lsock *s) {
    int fd = s->wait.fd;
    fd_wait_done(&s->wait);
    fd_close(&fd);
}

/* Waiting. */

lua_KContext lsock_begin(lua_State *L, const struct lsock *s, int events) {
    if (waiter_is_set(events == EV_READ ? &s->wait.in.waiter : &s->wait.out.waiter))
        luaL_error(L, "another fiber is already %s it",
                   events == EV_READ ? "reading from" : "writing to");
    return s->total >= 0 ? clock_ns() : 0;
}

bool lsock_may_wait(const struct lsock *s) {
    return s->block != 0 && s->total != 0;
}

bool lsock_deadline(const struct lsock *s, int64_t start, int64_t *deadline) {
    *deadline = 0;
    if (!lsock_may_wait(s)) return false;
    bool block = s->block > 0 && s->block < FOREVER_S;
    bool total = s->total > 0 && s->total < FOREVER_S;
    if (!block && !total) return true;
    int64_t now = clock_ns();
    if (block) *deadline = now + (int64_t)(s->block * 1e9);
    if (total) {
        int64_t end = start + (int64_t)(s->total * 1e9);
        if (!block || end < *deadline) *deadline = end;
    }
    return *deadline > now;
}

/* lua_yieldk, at the bottom of the park, does not return in a C function. */
bool lsock_wait(lua_State *L, struct lsock *s, int events, lua_KContext start,
                lua_KFunction k) {
    int64_t deadline;
    if (!lsock_deadline(s, start, &deadline)) return false;
    if (fd_wait_must_block(L)) return fd_wait_block(L, &s->wait, events, deadline);
    fd_wait_park(L, &s->wait, events, deadline, k, start);
    return false;
}

bool lsock_pause(lua_State *L, struct lsock *s, lua_KContext start, lua_KFunction k) {
    int64_t now = clock_ns(), until = now + PAUSE_NS;
    double least =
        s->total < 0 || (s->block >= 0 && s->block < s->total) ? s->block : s->total;
    if (least == 0) return false;
    if (least > 0 && least < FOREVER_S) {
        int64_t end = start + (int64_t)(least * 1e9);
        if (end <= now) return false;
        if (end < until) until = end;
    }
    if (fd_wait_must_block(L)) {
        timer_sleep(L, until);
        return true;
    }
    sched_park(L, NULL, until, k, start);
    return false;
}

bool lsock_late(lua_State *L, int status) {
    return status == LUA_YIELD && sched_woke(L) == WAKE_TIMEOUT;
}

/* Errors. */

int lsock_error(int error) {
    switch (error) {
    case EPIPE:
    case ECONNRESET:
    case ECONNABORTED: return ERR_CLOSED;
    default: return -error;
    }
}

const char *lsock_text(int err) {
    switch (err) {
    case ERR_CLOSED: return "closed";
    case ERR_NOT_FOUND: return "host or service not provided, or not known";
    case ERR_MEMORY: return "memory allocation failure";
    case -EAGAIN: return "temporary failure in name resolution";
    case -ESOCKTNOSUPPORT: return "service not supported for socket type";
    case -ETIMEDOUT: return "timeout";
    case -EADDRINUSE: return "address already in use";
    case -EISCONN: return "already connected";
    case -EACCES: return "permission denied";
    case -ECONNREFUSED: return "connection refused";
    case -ECONNABORTED:
    case -ECONNRESET: return "closed";
    default: {
        const char *text = err < 0 && err > -4096 ? strerrordesc_np(-err) : NULL;
        return text ? text : err_text(err);
    }
    }
}

int lsock_fail(lua_State *L, int err) {
    lua_pushnil(L);
    lua_pushstring(L, lsock_text(err));
    return 2;
}

int lsock_ok(lua_State *L) {
    lua_pushinteger(L, 1);
    return 1;
}

/* Methods. */

static struct lsock *check_any(lua_State *L) {
    struct lsock *s = test(L, 1);
    if (!s) luaL_typeerror(L, 1, "socket");
    return s;
}

int lsock_lua_close(lua_State *L) {
    lsock_close(check_any(L));
    return lsock_ok(L);
}

int lsock_lua_collect(lua_State *L) {
    struct lsock *s = check_any(L);
    lsock_close(s);
    buf_reset(&s->in);
    return 0;
}

int lsock_lua_getfd(lua_State *L) {
    lua_pushinteger(L, check_any(L)->wait.fd);
    return 1;
}

/* The one that it had is now somebody else's: so LuaSec takes it, leaving -1 here. */
int lsock_lua_setfd(lua_State *L) {
    struct lsock *s = check_any(L);
    lua_Number n = luaL_checknumber(L, 2);
    int fd = n >= 0 && n <= INT32_MAX ? (int)n : -1;
    if (fd >= 0) fd_nonblock(fd, true);
    lsock_adopt(s, fd);
    return 0;
}

int lsock_lua_dirty(lua_State *L) {
    lua_pushboolean(L, buf_len(&check_any(L)->in) > 0);
    return 1;
}

int lsock_lua_settimeout(lua_State *L) {
    struct lsock *s = check_any(L);
    double seconds = luaL_optnumber(L, 2, -1);
    const char *mode = luaL_optstring(L, 3, "b");
    luaL_argcheck(L, *mode == 'b' || *mode == 't' || *mode == 'r', 3,
                  "invalid timeout mode");
    *(*mode == 'b' ? &s->block : &s->total) = seconds;
    return lsock_ok(L);
}

int lsock_lua_gettimeout(lua_State *L) {
    struct lsock *s = check_any(L);
    lua_pushnumber(L, s->block);
    lua_pushnumber(L, s->total);
    return 2;
}

int lsock_lua_tostring(lua_State *L) {
    struct lsock *s = check_any(L);
    lua_pushfstring(L, "%s: %p", names[s->class], (void *)s);
    return 1;
}
