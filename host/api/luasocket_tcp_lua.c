#include "api/luasocket_tcp_lua.h"

#include "api/lsock_inet.h"
#include "api/lsock_io.h"
#include "api/lsock_option.h"

#include <sys/socket.h>

/* Methods. */

static int tcp_accept(lua_State *L) {
    return lsock_accept(L, lsock_check(L, 1, ONLY(TCP_SERVER)), TCP_CLIENT);
}

static int bound(lua_State *L, int err) {
    return err ? lsock_fail(L, err) : lsock_ok(L);
}

static int tcp_bind(lua_State *L) {
    lsock_check(L, 1, ONLY(TCP_MASTER));
    const char *host = luaL_checkstring(L, 2), *port = luaL_checkstring(L, 3);
    return lsock_bind(L, host, port, SOCK_STREAM, bound);
}

/* A client even when it failed: with a limit of 0 it is now being connected. */
static int connected(lua_State *L, int err) {
    lsock_set_class(L, 1, TCP_CLIENT);
    return bound(L, err);
}

static int tcp_connect(lua_State *L) {
    lsock_check(L, 1, TCP_ANY);
    const char *host = luaL_checkstring(L, 2), *port = luaL_checkstring(L, 3);
    return lsock_connect(L, host, port, SOCK_STREAM, connected);
}

static int tcp_getfamily(lua_State *L) {
    return lsock_getfamily(L, lsock_check(L, 1, TCP_ANY));
}

static int tcp_getoption(lua_State *L) {
    return lsock_getoption(L, lsock_check(L, 1, TCP_ANY), LSOCK_TCP);
}

static int tcp_getpeername(lua_State *L) {
    return lsock_getpeername(L, lsock_check(L, 1, TCP_ANY));
}

static int tcp_getsockname(lua_State *L) {
    return lsock_getsockname(L, lsock_check(L, 1, TCP_ANY));
}

static int tcp_getstats(lua_State *L) {
    return lsock_getstats(L, lsock_check(L, 1, ONLY(TCP_CLIENT)));
}

static int tcp_listen(lua_State *L) {
    return lsock_listen(L, lsock_check(L, 1, ONLY(TCP_MASTER)), TCP_SERVER);
}

static int tcp_receive(lua_State *L) {
    return lsock_receive(L, lsock_check(L, 1, ONLY(TCP_CLIENT)));
}

static int tcp_send(lua_State *L) {
    return lsock_send(L, lsock_check(L, 1, ONLY(TCP_CLIENT)));
}

static int tcp_setoption(lua_State *L) {
    return lsock_setoption(L, lsock_check(L, 1, TCP_ANY), LSOCK_TCP);
}

static int tcp_setstats(lua_State *L) {
    return lsock_setstats(L, lsock_check(L, 1, ONLY(TCP_CLIENT)));
}

static int tcp_shutdown(lua_State *L) {
    return lsock_shutdown(L, lsock_check(L, 1, ONLY(TCP_CLIENT)));
}

/* Functions. */

static int make(lua_State *L, int family) {
    struct lsock *s = lsock_new(L, TCP_MASTER, family);
    int err = family == AF_UNSPEC ? 0 : lsock_open(s, family, SOCK_STREAM);
    return err ? lsock_fail(L, err) : 1;
}

static int tcp(lua_State *L) {
    return make(L, AF_UNSPEC);
}

static int tcp4(lua_State *L) {
    return make(L, AF_INET);
}

static int tcp6(lua_State *L) {
    return make(L, AF_INET6);
}

/* socket.connect(host, port[, own host[, own port[, family]]]). The stack: the socket,
 * then these. */

static int dialled(lua_State *L, int err) {
    if (err) {
        lsock_close(lsock_at(L, 1));
        return lsock_fail(L, err);
    }
    lsock_set_class(L, 1, TCP_CLIENT);
    lua_pushvalue(L, 1);
    return 1;
}

static int own_end_bound(lua_State *L, int err) {
    if (err) return dialled(L, err);
    return lsock_connect(L, lua_tostring(L, 2), lua_tostring(L, 3), SOCK_STREAM,
                         dialled);
}

static int connect_new(lua_State *L) {
    static const char *const names[] = {"unspec", "inet", "inet6", NULL};
    static const int families[] = {AF_UNSPEC, AF_INET, AF_INET6};
    luaL_checkstring(L, 1);
    luaL_checkstring(L, 2);
    const char *host = luaL_optstring(L, 3, NULL), *port = luaL_optstring(L, 4, "0");
    int family = families[luaL_checkoption(L, 5, "unspec", names)];
    lua_settop(L, 4);
    lsock_new(L, TCP_MASTER, family);
    lua_insert(L, 1);
    if (host) return lsock_bind(L, host, port, SOCK_STREAM, own_end_bound);
    return own_end_bound(L, 0);
}

static const luaL_Reg methods[] = {
    LSOCK_METHODS,
    {"accept", tcp_accept},
    {"bind", tcp_bind},
    {"connect", tcp_connect},
    {"getfamily", tcp_getfamily},
    {"getoption", tcp_getoption},
    {"getpeername", tcp_getpeername},
    {"getsockname", tcp_getsockname},
    {"getstats", tcp_getstats},
    {"listen", tcp_listen},
    {"receive", tcp_receive},
    {"send", tcp_send},
    {"setoption", tcp_setoption},
    {"setpeername", tcp_connect},
    {"setsockname", tcp_bind},
    {"setstats", tcp_setstats},
    {"shutdown", tcp_shutdown},
    {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"connect", connect_new}, {"tcp", tcp}, {"tcp4", tcp4},
    {"tcp6", tcp6},           {NULL, NULL},
};

void luasocket_open_tcp(lua_State *L) {
    lsock_define(L, TCP_MASTER, methods);
    lsock_define(L, TCP_CLIENT, methods);
    lsock_define(L, TCP_SERVER, methods);
    luaL_setfuncs(L, functions, 0);
}
