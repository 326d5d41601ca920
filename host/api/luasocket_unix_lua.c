#include "api/libs.h"
#include "api/lsock_dgram.h"
#include "api/lsock_inet.h"
#include "api/lsock_io.h"
#include "api/lsock_option.h"
#include "base/err.h"

#include <stddef.h>
#include <string.h>
#include <sys/un.h>

/* A path as an address, in *to; its length, or 0 when it is too long. */
static socklen_t address(const char *path, struct sockaddr_storage *to) {
    struct sockaddr_un *un = (struct sockaddr_un *)to;
    size_t len = strlen(path);
    if (len >= sizeof un->sun_path) return 0;
    *to = (struct sockaddr_storage){.ss_family = AF_UNIX};
    memcpy(un->sun_path, path, len + 1);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

static int too_long(lua_State *L) {
    lua_pushnil(L);
    lua_pushliteral(L, "path too long");
    return 2;
}

/* What fails here costs the socket, as with LuaSocket. */
static int fail(lua_State *L, struct lsock *s, int err) {
    lsock_close(s);
    return lsock_fail(L, err);
}

static int bind_path(lua_State *L, struct lsock *s) {
    struct sockaddr_storage at;
    socklen_t len = address(luaL_checkstring(L, 2), &at);
    if (!len) return too_long(L);
    if (bind(s->wait.fd, (const struct sockaddr *)&at, len) < 0)
        return fail(L, s, -errno);
    return lsock_ok(L);
}

/* The kernel does not tell when a full backlog has room again. */
static int connect_on(lua_State *L, int status, lua_KContext start) {
    (void)status;
    struct lsock *s = lsock_at(L, 1);
    struct sockaddr_storage at;
    socklen_t len = address(lua_tostring(L, 2), &at);
    for (;;) {
        if (s->wait.fd < 0) return lsock_fail(L, ERR_CLOSED);
        if (connect(s->wait.fd, (const struct sockaddr *)&at, len) == 0) break;
        if (errno == EINTR) continue;
        if (errno != EAGAIN) return fail(L, s, -errno);
        if (!lsock_pause(L, s, start, connect_on)) return fail(L, s, -ETIMEDOUT);
    }
    lsock_set_class(L, 1, s->class == STREAM_MASTER ? STREAM_CLIENT : DGRAM_CONNECTED);
    return lsock_ok(L);
}

static int connect_path(lua_State *L, struct lsock *s) {
    struct sockaddr_storage at;
    if (!address(luaL_checkstring(L, 2), &at)) return too_long(L);
    lsock_begin(L, s, EV_WRITE);
    return connect_on(L, LUA_OK, clock_ns());
}

static int getsockname_path(lua_State *L, struct lsock *s) {
    struct sockaddr_storage at;
    socklen_t len = sizeof at;
    if (getsockname(s->wait.fd, (struct sockaddr *)&at, &len) < 0)
        return lsock_fail(L, -errno);
    lsock_push_path(L, &at, len);
    return 1;
}

static int make(lua_State *L, enum lsock_class class, int type) {
    int err = lsock_open(lsock_new(L, class, AF_UNIX), AF_UNIX, type);
    return err ? lsock_fail(L, err) : 1;
}

/* Streams. */

static int stream_accept(lua_State *L) {
    return lsock_accept(L, lsock_check(L, 1, ONLY(STREAM_SERVER)), STREAM_CLIENT);
}

static int stream_bind(lua_State *L) {
    return bind_path(L, lsock_check(L, 1, ONLY(STREAM_MASTER)));
}

static int stream_connect(lua_State *L) {
    return connect_path(L, lsock_check(L, 1, ONLY(STREAM_MASTER)));
}

static int stream_getsockname(lua_State *L) {
    return getsockname_path(L, lsock_check(L, 1, STREAM_ANY));
}

static int stream_getstats(lua_State *L) {
    return lsock_getstats(L, lsock_check(L, 1, ONLY(STREAM_CLIENT)));
}

static int stream_listen(lua_State *L) {
    return lsock_listen(L, lsock_check(L, 1, ONLY(STREAM_MASTER)), STREAM_SERVER);
}

static int stream_receive(lua_State *L) {
    return lsock_receive(L, lsock_check(L, 1, ONLY(STREAM_CLIENT)));
}

static int stream_send(lua_State *L) {
    return lsock_send(L, lsock_check(L, 1, ONLY(STREAM_CLIENT)));
}

static int stream_setoption(lua_State *L) {
    return lsock_setoption(L, lsock_check(L, 1, STREAM_ANY), LSOCK_STREAM);
}

static int stream_setstats(lua_State *L) {
    return lsock_setstats(L, lsock_check(L, 1, ONLY(STREAM_CLIENT)));
}

static int stream_shutdown(lua_State *L) {
    return lsock_shutdown(L, lsock_check(L, 1, ONLY(STREAM_CLIENT)));
}

static int stream(lua_State *L) {
    return make(L, STREAM_MASTER, SOCK_STREAM);
}

/* Datagrams. */

static int dgram_bind(lua_State *L) {
    return bind_path(L, lsock_check(L, 1, ONLY(DGRAM_UNCONNECTED)));
}

static int dgram_connect(lua_State *L) {
    return connect_path(L, lsock_check(L, 1, ONLY(DGRAM_UNCONNECTED)));
}

static int dgram_getsockname(lua_State *L) {
    return getsockname_path(L, lsock_check(L, 1, DGRAM_ANY));
}

static int dgram_receive(lua_State *L) {
    return lsock_receive_datagram(L, lsock_check(L, 1, DGRAM_ANY));
}

static int dgram_receivefrom(lua_State *L) {
    return lsock_receivefrom_unix(L, lsock_check(L, 1, ONLY(DGRAM_UNCONNECTED)));
}

static int dgram_send(lua_State *L) {
    return lsock_send_datagram(L, lsock_check(L, 1, ONLY(DGRAM_CONNECTED)));
}

/* A receiver that is full is no event of the sender's either. */
static int sendto_on(lua_State *L, int status, lua_KContext start) {
    (void)status;
    struct lsock *s = lsock_at(L, 1);
    struct sockaddr_storage to;
    socklen_t len = address(lua_tostring(L, 3), &to);
    for (;;) {
        int err = lsock_try_sendto(L, s, &to, len);
        if (err != -EAGAIN) return lsock_datagram_sent(L, err);
        if (!lsock_pause(L, s, start, sendto_on)) return lsock_fail(L, -ETIMEDOUT);
    }
}

static int dgram_sendto(lua_State *L) {
    struct lsock *s = lsock_check(L, 1, ONLY(DGRAM_UNCONNECTED));
    struct sockaddr_storage to;
    luaL_checkstring(L, 2);
    if (!address(luaL_checkstring(L, 3), &to)) return too_long(L);
    lsock_begin(L, s, EV_WRITE);
    return sendto_on(L, LUA_OK, clock_ns());
}

static int dgram_setoption(lua_State *L) {
    return lsock_setoption(L, lsock_check(L, 1, DGRAM_ANY), LSOCK_DGRAM);
}

static int dgram(lua_State *L) {
    return make(L, DGRAM_UNCONNECTED, SOCK_DGRAM);
}

/* The module. */

/* socket.unix() is the old way to say socket.unix.stream(). */
static int call(lua_State *L) {
    return stream(L);
}

static const luaL_Reg stream_methods[] = {
    LSOCK_METHODS,
    {"accept", stream_accept},
    {"bind", stream_bind},
    {"connect", stream_connect},
    {"getsockname", stream_getsockname},
    {"getstats", stream_getstats},
    {"listen", stream_listen},
    {"receive", stream_receive},
    {"send", stream_send},
    {"setoption", stream_setoption},
    {"setpeername", stream_connect},
    {"setsockname", stream_bind},
    {"setstats", stream_setstats},
    {"shutdown", stream_shutdown},
    {NULL, NULL},
};

static const luaL_Reg dgram_methods[] = {
    LSOCK_METHODS,
    {"bind", dgram_bind},
    {"connect", dgram_connect},
    {"getsockname", dgram_getsockname},
    {"receive", dgram_receive},
    {"receivefrom", dgram_receivefrom},
    {"send", dgram_send},
    {"sendto", dgram_sendto},
    {"setoption", dgram_setoption},
    {"setpeername", dgram_connect},
    {"setsockname", dgram_bind},
    {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"dgram", dgram}, {"stream", stream}, {"tcp", stream}, {"udp", dgram}, {NULL, NULL},
};

int luaopen_socket_unix(lua_State *L) {
    lsock_define(L, STREAM_MASTER, stream_methods);
    lsock_define(L, STREAM_CLIENT, stream_methods);
    lsock_define(L, STREAM_SERVER, stream_methods);
    lsock_define(L, DGRAM_UNCONNECTED, dgram_methods);
    lsock_define(L, DGRAM_CONNECTED, dgram_methods);
    luaL_newlib(L, functions);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, call);
    lua_setfield(L, -2, "__call");
    lua_setmetatable(L, -2);
    return 1;
}
