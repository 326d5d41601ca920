#include "api/luasocket_dns_lua.h"

#include "api/lsock_inet.h"
#include "api/resolve_lua.h"
#include "base/err.h"

#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LINE = 1024 };

/* The name of an address in the hosts file. */
static bool name_in_hosts(const char *address, char name[LINE]) {
    FILE *hosts = fopen("/etc/hosts", "re");
    char line[LINE];
    bool found = false;
    while (hosts && !found && fgets(line, sizeof line, hosts)) {
        char *rest, *host, *at;
        line[strcspn(line, "#\n")] = 0;
        at = strtok_r(line, " \t", &rest);
        host = at && strcmp(at, address) == 0 ? strtok_r(NULL, " \t", &rest) : NULL;
        if (host) memcpy(name, host, strlen(host) + 1);
        found = host != NULL;
    }
    if (hosts) fclose(hosts);
    return found;
}

static int failed(lua_State *L, const struct resolve_query *q, bool host) {
    if (q->err == ERR_NOT_FOUND && host) {
        lua_pushnil(L);
        lua_pushliteral(L, "host not found");
        return 2;
    }
    return lsock_fail(L,
                      q->err == -ETIMEDOUT || q->err == ERR_NAMES ? -EAGAIN : q->err);
}

/* Pushes the address, without its port, as text. */
static const char *push_text(lua_State *L, const struct addr *a) {
    int port;
    lsock_push_address(L, &a->at, a->len, &port);
    return lua_tostring(L, -1);
}

/* The table that goes with a name: its name, other names, addresses. */
static void push_resolved(lua_State *L, const struct resolve_query *q,
                          const char *name) {
    lua_createtable(L, 0, 3);
    lua_pushstring(L, name);
    lua_setfield(L, -2, "name");
    lua_newtable(L);
    lua_setfield(L, -2, "alias");
    lua_createtable(L, (int)q->count, 0);
    for (unsigned i = 0; i < q->count; i++) {
        push_text(L, &q->list[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "ip");
}

/* toip(name) -> address, table; the older IPv4 only. */

static int toip_resolved(lua_State *L, int status, lua_KContext context) {
    (void)context;
    const struct resolve_query *q = resolve_result(L, -1, status);
    if (q->err) return failed(L, q, true);
    push_text(L, &q->list[0]);
    push_resolved(L, q, lua_tostring(L, 1));
    return 2;
}

static int toip(lua_State *L) {
    const char *name = luaL_checkstring(L, 1);
    lua_settop(L, 1);
    return resolve_wait(L, name, AF_INET, 0, 0, toip_resolved, 0);
}

/* tohostname(address or name) -> name, table */

static int tohostname_resolved(lua_State *L, int status, lua_KContext context) {
    (void)context;
    char name[LINE];
    const struct resolve_query *q = resolve_result(L, -1, status);
    if (q->err) return failed(L, q, true);
    const char *given = lua_tostring(L, 1), *text = push_text(L, &q->list[0]);
    if (strcmp(given, text) != 0) {
        lua_pushvalue(L, 1);
    } else if (name_in_hosts(text, name)) {
        lua_pushstring(L, name);
    } else {
        lua_pushnil(L);
        lua_pushliteral(L, "host not found");
        return 2;
    }
    push_resolved(L, q, lua_tostring(L, -1));
    return 2;
}

static int tohostname(lua_State *L) {
    const char *name = luaL_checkstring(L, 1);
    lua_settop(L, 1);
    return resolve_wait(L, name, AF_INET, 0, 0, tohostname_resolved, 0);
}

/* getaddrinfo(name) -> list of { family =, addr = } */

static int getaddrinfo_resolved(lua_State *L, int status, lua_KContext context) {
    (void)context;
    const struct resolve_query *q = resolve_result(L, -1, status);
    if (q->err) return failed(L, q, false);
    lua_createtable(L, (int)q->count, 0);
    for (unsigned i = 0; i < q->count; i++) {
        lua_createtable(L, 0, 2);
        lua_pushstring(L, q->list[i].at.ss_family == AF_INET6 ? "inet6" : "inet");
        lua_setfield(L, -2, "family");
        push_text(L, &q->list[i]);
        lua_setfield(L, -2, "addr");
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

static int getaddrinfo_of(lua_State *L) {
    const char *name = luaL_checkstring(L, 1);
    lua_settop(L, 1);
    return resolve_wait(L, name, AF_UNSPEC, 0, 0, getaddrinfo_resolved, 0);
}

/* getnameinfo(host, service) -> list of names, name of the service; either may be nil.
 */

static int push_service(lua_State *L) {
    if (lua_isnil(L, 2)) return 0;
    char room[LINE];
    struct servent entry, *found = NULL;
    int port = lsock_port(lua_tostring(L, 2), SOCK_STREAM);
    getservbyport_r(htons((uint16_t)port), "tcp", &entry, room, sizeof room, &found);
    if (found)
        lua_pushstring(L, found->s_name);
    else
        lua_pushfstring(L, "%d", port);
    return 1;
}

static int getnameinfo_resolved(lua_State *L, int status, lua_KContext context) {
    (void)context;
    char name[LINE];
    const struct resolve_query *q = resolve_result(L, -1, status);
    if (q->err) return failed(L, q, false);
    lua_createtable(L, (int)q->count, 0);
    for (unsigned i = 0; i < q->count; i++) {
        if (name_in_hosts(push_text(L, &q->list[i]), name)) {
            lua_pop(L, 1);
            lua_pushstring(L, name);
        }
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1 + push_service(L);
}

static int getnameinfo_of(lua_State *L) {
    const char *host = luaL_optstring(L, 1, NULL);
    const char *service = luaL_optstring(L, 2, NULL);
    if (!host && !service) return luaL_error(L, "host and serv cannot be both nil");
    if (service && lsock_port(service, SOCK_STREAM) < 0)
        return lsock_fail(L, -ESOCKTNOSUPPORT);
    lua_settop(L, 2);
    if (host) return resolve_wait(L, host, AF_UNSPEC, 0, 0, getnameinfo_resolved, 0);
    lua_newtable(L);
    return 1 + push_service(L);
}

static int gethostname_of(lua_State *L) {
    char name[256 + 1] = "";
    if (gethostname(name, sizeof name - 1) < 0) return lsock_fail(L, -errno);
    lua_pushstring(L, name);
    return 1;
}

static const luaL_Reg functions[] = {
    {"getaddrinfo", getaddrinfo_of},
    {"gethostname", gethostname_of},
    {"getnameinfo", getnameinfo_of},
    {"tohostname", tohostname},
    {"toip", toip},
    {NULL, NULL},
};

void luasocket_open_dns(lua_State *L) {
    luaL_newlib(L, functions);
    lua_setfield(L, -2, "dns");
}
