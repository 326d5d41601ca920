#include "api/lsock_option.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

enum { TCP = LSOCK_TCP, UDP = LSOCK_UDP, STREAM = LSOCK_STREAM, DGRAM = LSOCK_DGRAM };

enum form { BOOLEAN, INTEGER, LINGER, INTERFACE, GROUP, GROUP6, DEVICE, ERROR };

static const struct option {
    const char *name;
    int level, number;
    enum form form;
    int set, get; /* the kinds of socket that have it */
} options[] = {
    {"broadcast", SOL_SOCKET, SO_BROADCAST, BOOLEAN, UDP, UDP},
    {"bindtodevice", SOL_SOCKET, SO_BINDTODEVICE, DEVICE, TCP | UDP, TCP | UDP},
    {"dontroute", SOL_SOCKET, SO_DONTROUTE, BOOLEAN, UDP, UDP},
    {"error", SOL_SOCKET, SO_ERROR, ERROR, 0, TCP | UDP},
    {"ip-add-membership", IPPROTO_IP, IP_ADD_MEMBERSHIP, GROUP, UDP, 0},
    {"ip-drop-membership", IPPROTO_IP, IP_DROP_MEMBERSHIP, GROUP, UDP, 0},
    {"ip-multicast-if", IPPROTO_IP, IP_MULTICAST_IF, INTERFACE, UDP, UDP},
    {"ip-multicast-loop", IPPROTO_IP, IP_MULTICAST_LOOP, BOOLEAN, UDP, UDP},
    {"ip-multicast-ttl", IPPROTO_IP, IP_MULTICAST_TTL, INTEGER, UDP, UDP},
    {"ipv6-add-membership", IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, GROUP6, UDP, 0},
    {"ipv6-drop-membership", IPPROTO_IPV6, IPV6_DROP_MEMBERSHIP, GROUP6, UDP, 0},
    {"ipv6-multicast-hops", IPPROTO_IPV6, IPV6_MULTICAST_HOPS, INTEGER, UDP, UDP},
    {"ipv6-multicast-loop", IPPROTO_IPV6, IPV6_MULTICAST_LOOP, BOOLEAN, UDP, UDP},
    {"ipv6-unicast-hops", IPPROTO_IPV6, IPV6_UNICAST_HOPS, INTEGER, UDP, UDP},
    {"ipv6-v6only", IPPROTO_IPV6, IPV6_V6ONLY, BOOLEAN, TCP | UDP, TCP | UDP},
    {"keepalive", SOL_SOCKET, SO_KEEPALIVE, BOOLEAN, TCP | STREAM, TCP},
    {"linger", SOL_SOCKET, SO_LINGER, LINGER, TCP | STREAM, TCP},
    {"recv-buffer-size", SOL_SOCKET, SO_RCVBUF, INTEGER, TCP | UDP, TCP | UDP},
    {"reuseaddr", SOL_SOCKET, SO_REUSEADDR, BOOLEAN, TCP | UDP | STREAM | DGRAM,
     TCP | UDP},
    {"reuseport", SOL_SOCKET, SO_REUSEPORT, BOOLEAN, TCP | UDP, TCP | UDP},
    {"send-buffer-size", SOL_SOCKET, SO_SNDBUF, INTEGER, TCP | UDP, TCP | UDP},
    {"tcp-defer-accept", IPPROTO_TCP, TCP_DEFER_ACCEPT, INTEGER, TCP, 0},
    {"tcp-fastopen", IPPROTO_TCP, TCP_FASTOPEN, INTEGER, TCP, 0},
    {"tcp-fastopen-connect", IPPROTO_TCP, TCP_FASTOPEN_CONNECT, INTEGER, TCP, 0},
    {"tcp-keepcnt", IPPROTO_TCP, TCP_KEEPCNT, INTEGER, TCP, TCP},
    {"tcp-keepidle", IPPROTO_TCP, TCP_KEEPIDLE, INTEGER, TCP, TCP},
    {"tcp-keepintvl", IPPROTO_TCP, TCP_KEEPINTVL, INTEGER, TCP, TCP},
    {"tcp-nodelay", IPPROTO_TCP, TCP_NODELAY, BOOLEAN, TCP, TCP},
};

union value {
    int number;
    struct linger linger;
    struct in_addr address;
    struct ip_mreq group;
    struct ipv6_mreq group6;
    char device[IFNAMSIZ];
};

static const struct option *check_option(lua_State *L, int kind, bool set) {
    const char *name = luaL_checkstring(L, 2);
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        const struct option *o = &options[i];
        if (strcmp(o->name, name) == 0 && ((set ? o->set : o->get) & kind)) return o;
    }
    lua_pushfstring(L, "unsupported option `%s'", name);
    luaL_argerror(L, 2, lua_tostring(L, -1));
    return NULL;
}

/* Setting. */

static void check_field(lua_State *L, const char *name, int type, const char *what) {
    if (lua_getfield(L, 3, name) != type) luaL_argerror(L, 3, what);
}

static struct in_addr check_address(lua_State *L, int index, const char *what) {
    struct in_addr a = {htonl(INADDR_ANY)};
    const char *text = lua_tostring(L, index);
    if (!text || (strcmp(text, "*") != 0 && !inet_aton(text, &a)))
        luaL_argerror(L, 3, what);
    return a;
}

static void check_group(lua_State *L, struct ip_mreq *to) {
    luaL_checktype(L, 3, LUA_TTABLE);
    check_field(L, "multiaddr", LUA_TSTRING, "string 'multiaddr' field expected");
    if (!inet_aton(lua_tostring(L, -1), &to->imr_multiaddr))
        luaL_argerror(L, 3, "invalid 'multiaddr' ip address");
    check_field(L, "interface", LUA_TSTRING, "string 'interface' field expected");
    to->imr_interface = check_address(L, -1, "invalid 'interface' ip address");
}

static void check_group6(lua_State *L, struct ipv6_mreq *to) {
    luaL_checktype(L, 3, LUA_TTABLE);
    check_field(L, "multiaddr", LUA_TSTRING, "string 'multiaddr' field expected");
    if (inet_pton(AF_INET6, lua_tostring(L, -1), &to->ipv6mr_multiaddr) != 1)
        luaL_argerror(L, 3, "invalid 'multiaddr' ip address");
    to->ipv6mr_interface = 0;
    if (lua_getfield(L, 3, "interface") == LUA_TNIL) return;
    if (!lua_isnumber(L, -1)) luaL_argerror(L, 3, "number 'interface' field expected");
    to->ipv6mr_interface = (unsigned)lua_tointeger(L, -1);
}

static void check_linger(lua_State *L, struct linger *to) {
    luaL_checktype(L, 3, LUA_TTABLE);
    check_field(L, "on", LUA_TBOOLEAN, "boolean 'on' field expected");
    to->l_onoff = lua_toboolean(L, -1);
    check_field(L, "timeout", LUA_TNUMBER, "number 'timeout' field expected");
    lua_Number seconds = lua_tonumber(L, -1);
    luaL_argcheck(L, seconds >= 0 && seconds <= UINT16_MAX, 3,
                  "'timeout' out of range");
    to->l_linger = (int)seconds;
}

static int check_number(lua_State *L) {
    lua_Number n = luaL_checknumber(L, 3);
    luaL_argcheck(L, n >= INT32_MIN && n <= INT32_MAX, 3, "number out of range");
    return (int)n;
}

/* The size of what is in *v. */
static socklen_t check_value(lua_State *L, const struct option *o, union value *v) {
    switch (o->form) {
    case BOOLEAN:
        luaL_checktype(L, 3, LUA_TBOOLEAN);
        v->number = lua_toboolean(L, 3);
        return sizeof v->number;
    case LINGER: check_linger(L, &v->linger); return sizeof v->linger;
    case INTERFACE:
        luaL_checkstring(L, 3);
        v->address = check_address(L, 3, "ip expected");
        return sizeof v->address;
    case GROUP: check_group(L, &v->group); return sizeof v->group;
    case GROUP6: check_group6(L, &v->group6); return sizeof v->group6;
    case DEVICE: {
        size_t len;
        const char *name = luaL_checklstring(L, 3, &len);
        luaL_argcheck(L, len < sizeof v->device, 3, "name of a device expected");
        memcpy(v->device, name, len + 1);
        return (socklen_t)len + 1;
    }
    default: v->number = check_number(L); return sizeof v->number;
    }
}

int lsock_setoption(lua_State *L, struct lsock *s, enum lsock_kind kind) {
    const struct option *o = check_option(L, kind, true);
    union value v;
    memset(&v, 0, sizeof v);
    socklen_t size = check_value(L, o, &v);
    if (setsockopt(s->wait.fd, o->level, o->number, &v, size) == 0) return lsock_ok(L);
    lua_pushnil(L);
    lua_pushliteral(L, "setsockopt failed");
    return 2;
}

/* Getting. */

int lsock_getoption(lua_State *L, struct lsock *s, enum lsock_kind kind) {
    const struct option *o = check_option(L, kind, false);
    union value v;
    memset(&v, 0, sizeof v);
    socklen_t size = sizeof v;
    if (getsockopt(s->wait.fd, o->level, o->number, &v, &size) < 0) {
        lua_pushnil(L);
        lua_pushliteral(L, "getsockopt failed");
        return 2;
    }
    char text[INET_ADDRSTRLEN];
    switch (o->form) {
    case BOOLEAN: lua_pushboolean(L, v.number != 0); break;
    case LINGER:
        lua_createtable(L, 0, 2);
        lua_pushboolean(L, v.linger.l_onoff != 0);
        lua_setfield(L, -2, "on");
        lua_pushinteger(L, v.linger.l_linger);
        lua_setfield(L, -2, "timeout");
        break;
    case INTERFACE:
        lua_pushstring(L, inet_ntop(AF_INET, &v.address, text, sizeof text));
        break;
    case DEVICE: lua_pushlstring(L, v.device, strnlen(v.device, IFNAMSIZ)); break;
    case ERROR:
        if (v.number)
            lua_pushstring(L, lsock_text(-v.number));
        else
            lua_pushnil(L);
        break;
    default: lua_pushinteger(L, v.number);
    }
    return 1;
}
