#include "api/luasocket_udp_lua.h"

#include "api/lsock_dgram.h"
#include "api/lsock_inet.h"
#include "api/lsock_option.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

/* Methods. */

static int done(lua_State *L, int err) {
    return err ? lsock_fail(L, err) : lsock_ok(L);
}

static int connected(lua_State *L, int err) {
    if (!err) lsock_set_class(L, 1, UDP_CONNECTED);
    return done(L, err);
}

/* "*" makes it unconnected again. */
static int udp_setpeername(lua_State *L) {
    struct lsock *s = lsock_check(L, 1, UDP_ANY);
    const char *host = luaL_checkstring(L, 2);
    if (strcmp(host, "*") != 0)
        return lsock_connect(L, host, luaL_checkstring(L, 3), SOCK_DGRAM, connected);
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    if (s->wait.fd >= 0 && connect(s->wait.fd, &none, sizeof none) < 0)
        return lsock_fail(L, -errno);
    lsock_set_class(L, 1, UDP_UNCONNECTED);
    return lsock_ok(L);
}

static int udp_setsockname(lua_State *L) {
    lsock_check(L, 1, ONLY(UDP_UNCONNECTED));
    const char *host = luaL_checkstring(L, 2), *port = luaL_checkstring(L, 3);
    return lsock_bind(L, host, port, SOCK_DGRAM, done);
}

/* The stack: the socket, the data, the host and the port. */
static int sendto_on(lua_State *L, int status, lua_KContext start) {
    struct lsock *s = lsock_at(L, 1);
    bool late = lsock_late(L, status);
    struct sockaddr_storage to;
    socklen_t len;
    int err =
        lsock_literal(lua_tostring(L, 3), lua_tostring(L, 4), s->family, &to, &len);
    if (!err && s->family == AF_UNSPEC) err = lsock_open(s, to.ss_family, SOCK_DGRAM);
    if (err) return lsock_fail(L, err);
    for (;;) {
        err = lsock_try_sendto(L, s, &to, len);
        if (err != -EAGAIN) return lsock_datagram_sent(L, err);
        if (late || !lsock_wait(L, s, EV_WRITE, start, sendto_on))
            return lsock_fail(L, -ETIMEDOUT);
    }
}

static int udp_sendto(lua_State *L) {
    struct lsock *s = lsock_check(L, 1, ONLY(UDP_UNCONNECTED));
    for (int i = 2; i <= 4; i++) luaL_checkstring(L, i);
    return sendto_on(L, LUA_OK, lsock_begin(L, s, EV_WRITE));
}

static int udp_send(lua_State *L) {
    return lsock_send_datagram(L, lsock_check(L, 1, ONLY(UDP_CONNECTED)));
}

static int udp_receive(lua_State *L) {
    return lsock_receive_datagram(L, lsock_check(L, 1, UDP_ANY));
}

static int udp_receivefrom(lua_State *L) {
    return lsock_receivefrom_inet(L, lsock_check(L, 1, ONLY(UDP_UNCONNECTED)));
}

static int udp_getfamily(lua_State *L) {
    return lsock_getfamily(L, lsock_check(L, 1, UDP_ANY));
}

static int udp_getpeername(lua_State *L) {
    return lsock_getpeername(L, lsock_check(L, 1, ONLY(UDP_CONNECTED)));
}

static int udp_getsockname(lua_State *L) {
    return lsock_getsockname(L, lsock_check(L, 1, UDP_ANY));
}

static int udp_getoption(lua_State *L) {
    return lsock_getoption(L, lsock_check(L, 1, UDP_ANY), LSOCK_UDP);
}

static int udp_setoption(lua_State *L) {
    return lsock_setoption(L, lsock_check(L, 1, UDP_ANY), LSOCK_UDP);
}

/* Functions. */

static int make(lua_State *L, int family) {
    struct lsock *s = lsock_new(L, UDP_UNCONNECTED, family);
    int err = family == AF_UNSPEC ? 0 : lsock_open(s, family, SOCK_DGRAM);
    return err ? lsock_fail(L, err) : 1;
}

static int udp(lua_State *L) {
    return make(L, AF_UNSPEC);
}

static int udp4(lua_State *L) {
    return make(L, AF_INET);
}

static int udp6(lua_State *L) {
    return make(L, AF_INET6);
}

static const luaL_Reg methods[] = {
    LSOCK_METHODS,
    {"getfamily", udp_getfamily},
    {"getoption", udp_getoption},
    {"getpeername", udp_getpeername},
    {"getsockname", udp_getsockname},
    {"receive", udp_receive},
    {"receivefrom", udp_receivefrom},
    {"send", udp_send},
    {"sendto", udp_sendto},
    {"setoption", udp_setoption},
    {"setpeername", udp_setpeername},
    {"setsockname", udp_setsockname},
    {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"udp", udp}, {"udp4", udp4}, {"udp6", udp6}, {NULL, NULL}};

void luasocket_open_udp(lua_State *L) {
    lsock_define(L, UDP_UNCONNECTED, methods);
    lsock_define(L, UDP_CONNECTED, methods);
    luaL_setfuncs(L, functions, 0);
    lua_pushinteger(L, LSOCK_DATAGRAM);
    lua_setfield(L, -2, "_DATAGRAMSIZE");
}
