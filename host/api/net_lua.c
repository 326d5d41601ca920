#include "api/net_lua.h"

#include "api/dgram_lua.h"
#include "api/listener_lua.h"
#include "api/resolve_lua.h"
#include "api/socket_lua.h"
#include "api/timer_lua.h"
#include "api/tls_lua.h"
#include "base/check.h"
#include "base/fd.h"
#include "isolate/closing.h"
#include "isolate/fd_wait.h"
#include "isolate/isolate.h"
#include "net/dial.h"
#include "net/stream_tls.h"

#include <lauxlib.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

enum { MAGIC = 0x636f6e6e };

static const char CONNECTING[] = "atoll.net.connecting";

/* On the stack of a connect. */
enum { ADDRESS = 1, OPTIONS, STATE };

/* User values of the state. */
enum { CONTEXT = 1, PEER, SHAKING };

struct connecting {
    uint32_t magic;
    struct waiter waiter;
    struct dial *dial;
    int64_t deadline;
    int family;
    struct socket_options options;
    struct dial_plan plan;
    struct addr from;
    struct addr literal[2];
    bool done;
    struct tls_ctx *tls; /* or NULL; lives in the user value */
    int outcome; /* a descriptor, until somebody takes it, or a negative errno */
};

static int connecting_close(lua_State *L) {
    struct connecting *c = luaL_checkudata(L, 1, CONNECTING);
    MAGIC_CHECK(c, MAGIC);
    dial_free(c->dial);
    c->dial = NULL;
    fd_close(&c->outcome);
    if (lua_getiuservalue(L, 1, SHAKING) != LUA_TUSERDATA) return 0;
    struct sock *s = *(struct sock **)lua_touserdata(L, -1);
    if (s && !stream_tls_is_made(&s->stream)) sock_close(s);
    return 0;
}

static int connect_failed(lua_State *L, int err, const char *why) {
    luaL_pushfail(L);
    lua_pushfstring(L, "cannot connect to %s: %s", lua_tostring(L, ADDRESS), why);
    lua_pushstring(L, err_name(err));
    return 3;
}

static int finish(lua_State *L, struct connecting *c) {
    if (c->outcome < 0) return connect_failed(L, c->outcome, err_text(c->outcome));
    struct sock **box = socket_push(L);
    int fd = c->outcome;
    c->outcome = -1;
    if (socket_open(L, box, fd) != 0)
        return connect_failed(L, ERR_MEMORY, err_text(ERR_MEMORY));
    (*box)->line_max = c->options.line_max;
    if (c->options.keepalive) socket_keepalive(fd, c->options.keepalive);
    lua_getiuservalue(L, STATE, PEER);
    const char *peer = lua_tostring(L, -1);
    lua_insert(L, -2);
    if (peer && !((*box)->peer = strdup(peer)))
        return connect_failed(L, ERR_MEMORY, err_text(ERR_MEMORY));
    if (!c->tls) return 1;
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, STATE, SHAKING);
    lua_pushfstring(L, "cannot connect to %s: ", lua_tostring(L, ADDRESS));
    lua_insert(L, -2);
    lua_pushvalue(L, -1);
    return tls_begin(L, c->tls, peer, c->deadline);
}

static void dialled(struct dial *d, int outcome) {
    struct connecting *c = dial_user(d);
    MAGIC_CHECK(c, MAGIC);
    c->dial = NULL;
    dial_free(d);
    c->outcome = outcome;
    c->done = true;
    sched_wake(&c->waiter, WAKE_EVENT);
}

static int connected(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    struct connecting *c = lua_touserdata(L, STATE);
    if (!c->done) return connect_failed(L, ETIMEDOUT, "timed out");
    return finish(L, c);
}

static int dial(lua_State *L, struct connecting *c) {
    if (fd_wait_must_block(L)) {
        fd_wait_say_blocks(L);
        c->outcome = dial_now(&c->plan, c->deadline);
        return finish(L, c);
    }
    sched_check_waitable(L);
    int outcome = dial_start(&c->dial, sched_of(L)->loop, &c->plan, dialled, c);
    if (outcome == -EINPROGRESS)
        return sched_park(L, &c->waiter, c->deadline, connected, 0);
    c->outcome = outcome;
    return finish(L, c);
}

static int looked_up(lua_State *L, int status, lua_KContext context) {
    (void)context;
    const struct resolve_query *q = resolve_result(L, -1, status);
    struct connecting *c = lua_touserdata(L, STATE);
    if (q->err) return connect_failed(L, q->err, q->why);
    c->plan.list = q->list;
    c->plan.count = q->count < DIAL_MAX ? q->count : DIAL_MAX;
    return dial(L, c); /* the query stays on the stack */
}

/* connect(":80") means this machine. */
static unsigned this_machine(struct addr *list) {
    char why[ADDR_WHY], text[ADDR_TEXT];
    struct addr all = list[0];
    in_port_t port = all.at.ss_family == AF_INET6
                         ? ((struct sockaddr_in6 *)&all.at)->sin6_port
                         : ((struct sockaddr_in *)&all.at)->sin_port;
    snprintf(text, sizeof text, "127.0.0.1:%u", ntohs(port));
    unsigned count = addr_resolve(text, &list[0], 1, why) == 1;
    if (all.both) {
        snprintf(text, sizeof text, "[::1]:%u", ntohs(port));
        count += addr_resolve(text, &list[count], 1, why) == 1;
    }
    return count;
}

/* host, port -> the text of one address */
static void join_address(lua_State *L) {
    const char *host = luaL_checkstring(L, 1);
    if (lua_type(L, 2) != LUA_TNUMBER && lua_type(L, 2) != LUA_TSTRING) return;
    bool v6 = strchr(host, ':') && host[0] != '[';
    lua_pushfstring(L, v6 ? "[%s]:%s" : "%s:%s", host, lua_tostring(L, 2));
    lua_replace(L, 1);
    lua_remove(L, 2);
}

static void read_options(lua_State *L, struct connecting *c) {
    static const char *const own[] = {"bind", "family", "timeout", "tls", NULL};
    char name[ADDR_NAME], why[ADDR_WHY];
    uint16_t port;
    socket_read_options(L, OPTIONS, &c->options, own);
    c->plan.nodelay = c->options.nodelay;
    if (lua_isnil(L, OPTIONS)) return;
    lua_getfield(L, OPTIONS, "timeout");
    c->deadline = timer_opt_deadline(L, lua_gettop(L));
    lua_getfield(L, OPTIONS, "family");
    c->family = resolve_check_family(L, lua_gettop(L));
    if (lua_getfield(L, OPTIONS, "bind") != LUA_TNIL) {
        const char *text = luaL_checkstring(L, -1);
        if (addr_parse(text, &c->from, name, &port, why) != 1)
            luaL_error(L, "bind: '%s' is no address of this machine", text);
        c->plan.from = &c->from;
    }
    lua_pop(L, 3);
}

/* The name that TLS verifies, and a later starttls. False with a sentence in why when
 * files cannot be read. */
static bool prepare_tls(lua_State *L, struct connecting *c, const char *name,
                        char why[TLS_WHY]) {
    bool wanted = !lua_isnil(L, OPTIONS) &&
                  lua_getfield(L, OPTIONS, "tls") != LUA_TNIL &&
                  (!lua_isboolean(L, -1) || lua_toboolean(L, -1));
    if (wanted) {
        int options = lua_gettop(L);
        c->tls = tls_push_ctx(L, options, TLS_CLIENT, why);
        if (!c->tls) return false;
        lua_setiuservalue(L, STATE, CONTEXT);
        tls_push_name(L, options, name);
    } else {
        lua_pushstring(L, name);
    }
    lua_setiuservalue(L, STATE, PEER);
    lua_settop(L, STATE);
    return true;
}

static int net_connect(lua_State *L) {
    char name[ADDR_NAME], why[TLS_WHY], host[ADDR_TEXT];
    uint16_t port;
    join_address(L);
    lua_settop(L, OPTIONS);
    struct connecting *c = lua_newuserdatauv(L, sizeof *c, 3);
    *c = (struct connecting){.magic = MAGIC, .outcome = -1};
    luaL_setmetatable(L, CONNECTING);
    read_options(L, c);
    lua_toclose(L, STATE);
    const char *text = lua_tostring(L, ADDRESS);
    int kind = addr_parse(text, c->literal, name, &port, why);
    if (kind < 0) return connect_failed(L, kind, why);
    if (kind > 0) addr_host(c->literal, host);
    if (!prepare_tls(L, c,
                     kind == 0                  ? name
                     : addr_is_unix(c->literal) ? NULL
                                                : host,
                     why))
        return connect_failed(L, ERR_TLS, why);
    if (kind == 0)
        return resolve_wait(L, name, c->family, port, c->deadline, looked_up, 0);
    c->plan.list = c->literal;
    c->plan.count = text[0] == ':' ? this_machine(c->literal) : 1;
    return dial(L, c);
}

static const luaL_Reg functions[] = {
    {"connect", net_connect}, {"listen", listener_listen}, {"listener", listener_clone},
    {"resolve", resolve_lua}, {"udp", dgram_udp},          {NULL, NULL},
};

int luaopen_atoll_net(lua_State *L) {
    luaopen_atoll_socket(L);
    luaopen_atoll_listener(L);
    luaopen_atoll_dgram(L);
    closing_kind(L, CONNECTING, connecting_close);
    luaL_newlib(L, functions);
    return 1;
}
