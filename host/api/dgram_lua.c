#include "api/dgram_lua.h"

#include "api/resolve_lua.h"
#include "api/socket_lua.h"
#include "api/timer_lua.h"
#include "base/check.h"
#include "base/fd.h"
#include "base/ip.h"
#include "isolate/fd_wait.h"
#include "isolate/generation.h"
#include "isolate/isolate.h"
#include "net/bind.h"

#include <lauxlib.h>
#include <netinet/in.h>
#include <string.h>

enum { MAGIC = 0x6467726d, ROOM = 64 * 1024 /* more than any UDP datagram */ };

_Static_assert(ROOM <= (int)LOOP_LANDING, "a datagram fits into the landing");

static const char NAME[] = "atoll.udp";

struct dgram {
    uint32_t magic;
    int fd; /* -1 before it has a family, and when it is closed */
    bool closed, broadcast, reuseport;
    sa_family_t family;
    struct fd_wait wait;
    int64_t timeout; /* ns; SOCK_FOREVER */
    struct addr bound;
    struct bind_file file;
};

static struct dgram *check(lua_State *L) {
    struct dgram *d = luaL_checkudata(L, 1, NAME);
    MAGIC_CHECK(d, MAGIC);
    return d;
}

static int64_t deadline_of(lua_State *L, const struct dgram *d, int argument) {
    if (!lua_isnoneornil(L, argument)) return timer_check_deadline(L, argument);
    if (d->timeout == SOCK_FOREVER) return 0;
    return d->timeout == 0 ? 1 : clock_ns() + d->timeout;
}

static int dgram_close(lua_State *L) {
    struct dgram *d = check(L);
    if (d->fd >= 0) {
        fd_wait_done(&d->wait);
        bind_remove(&d->bound, d->file);
        fd_close(&d->fd);
    }
    d->closed = true;
    lua_pushboolean(L, 1);
    return 1;
}

/* ---- making one ---- */

static int own(struct dgram *d, int fd, sa_family_t family) {
    int err = d->broadcast && family == AF_INET
                  ? bind_option(fd, SOL_SOCKET, SO_BROADCAST, 1)
                  : 0;
    if (err) {
        fd_close(&fd);
        return err;
    }
    d->fd = fd;
    d->family = family;
    fd_wait_init(&d->wait, fd);
    return 0;
}

static int make(struct dgram *d, sa_family_t family) {
    if (d->fd >= 0) return 0;
    int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return fd < 0 ? -errno : own(d, fd, family);
}

static int make_bound(struct dgram *d, const struct addr *a) {
    int fd = bind_socket(a, SOCK_DGRAM, d->reuseport);
    int err = fd < 0 ? fd : own(d, fd, a->at.ss_family);
    if (err || !addr_is_unix(a)) return err;
    d->bound = *a;
    d->file = bind_file_of(a);
    return 0;
}

static int bind_failed(lua_State *L, int err, const char *why) {
    luaL_pushfail(L);
    lua_pushfstring(L, "cannot bind to %s: %s", lua_tostring(L, 1), why);
    lua_pushstring(L, err_name(err));
    return 3;
}

/* At 3 the handle, on top the query. */
static int found_local(lua_State *L, int status, lua_KContext context) {
    (void)context;
    const struct resolve_query *q = resolve_result(L, -1, status);
    if (q->err) return bind_failed(L, q->err, q->why);
    int err = make_bound(lua_touserdata(L, 3), &q->list[0]);
    if (err) return bind_failed(L, err, err_text(err));
    lua_pushvalue(L, 3);
    return 1;
}

static bool option(lua_State *L, const char *name) {
    bool is = !lua_isnil(L, 2) && lua_getfield(L, 2, name) && lua_toboolean(L, -1);
    lua_settop(L, 3);
    return is;
}

int dgram_udp(lua_State *L) {
    struct addr a;
    char name[ADDR_NAME], why[ADDR_WHY];
    uint16_t port;
    const char *text = luaL_optstring(L, 1, NULL);
    lua_settop(L, 2);
    if (!lua_isnil(L, 2)) luaL_checktype(L, 2, LUA_TTABLE);
    struct dgram *d = lua_newuserdatauv(L, sizeof *d, 0);
    *d = (struct dgram){.magic = MAGIC, .fd = -1, .timeout = SOCK_FOREVER};
    luaL_setmetatable(L, NAME);
    d->broadcast = option(L, "broadcast");
    d->reuseport = option(L, "reuseport");
    if (!text) return 1;
    int kind = addr_parse(text, &a, name, &port, why);
    if (kind < 0) return bind_failed(L, kind, why);
    if (kind == 0) return resolve_wait(L, name, AF_UNSPEC, port, 0, found_local, 0);
    int err = make_bound(d, &a);
    return err ? bind_failed(L, err, err_text(err)) : 1;
}

/* ---- addresses ---- */

/* An IPv4 address as a socket of the other family wants it (RFC 4291 2.5.5.2). */
static void fit(const struct dgram *d, struct addr *a) {
    if (d->family != AF_INET6 || a->at.ss_family != AF_INET) return;
    struct sockaddr_in v4 = *(struct sockaddr_in *)&a->at;
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = v4.sin_port};
    v6.sin6_addr.s6_addr[10] = v6.sin6_addr.s6_addr[11] = 0xff;
    memcpy(&v6.sin6_addr.s6_addr[12], &v4.sin_addr, 4);
    *a = (struct addr){.len = sizeof v6};
    memcpy(&a->at, &v6, sizeof v6);
}

static void unfit(struct addr *a) {
    const struct sockaddr_in6 v6 = *(struct sockaddr_in6 *)&a->at;
    const unsigned char *within = ip_v4_within(&v6.sin6_addr);
    if (a->at.ss_family != AF_INET6 || !within) return;
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = v6.sin6_port};
    memcpy(&v4.sin_addr, within, 4);
    *a = (struct addr){.len = sizeof v4};
    memcpy(&a->at, &v4, sizeof v4);
}

/* What a socket of a family that is known can use of a name's addresses. */
static const struct addr *choose(const struct dgram *d, const struct resolve_query *q) {
    for (unsigned i = 0; i < q->count; i++)
        if (d->fd < 0 || d->family == q->list[i].at.ss_family) return &q->list[i];
    return &q->list[0];
}

/* ---- sending: the handle, the data, the address; behind them a query ---- */

enum { DATA = 2, TO, QUERY };

static int send_on(lua_State *L, int status, lua_KContext deadline) {
    struct dgram *d = check(L);
    size_t len;
    const char *data = lua_tolstring(L, DATA, &len);
    bool late = sched_is_late(L, status, deadline);
    struct addr to = {.len = 0};
    if (status == LUA_OK && sched_overstays(L))
        return sched_park(L, NULL, 1, send_on, deadline);
    if (lua_gettop(L) >= QUERY) {
        to = *choose(d, resolve_result(L, QUERY, LUA_OK));
    } else if (!lua_isnil(L, TO)) {
        char name[ADDR_NAME], why[ADDR_WHY];
        uint16_t port;
        addr_parse(lua_tostring(L, TO), &to, name, &port, why);
    }
    for (;;) {
        if (d->closed) return socket_failure(L, ERR_CLOSED);
        int err = to.len ? make(d, to.at.ss_family) : d->fd < 0 ? -EDESTADDRREQ : 0;
        if (err) return socket_failure(L, err);
        if (to.len) fit(d, &to);
        ssize_t n = sendto(d->fd, data, len, MSG_NOSIGNAL,
                           to.len ? (struct sockaddr *)&to.at : NULL, to.len);
        if (n >= 0) {
            lua_pushboolean(L, 1);
            return 1;
        }
        if (errno == EINTR) continue;
        if (errno != EAGAIN) return socket_failure(L, -errno);
        if (late) return socket_timed_out(L);
        if (!fd_wait_must_block(L))
            return fd_wait_park(L, &d->wait, EV_WRITE, deadline, send_on, deadline);
        late = !fd_wait_block(L, &d->wait, EV_WRITE, deadline);
    }
}

static int send_failed(lua_State *L, const char *what, int err, const char *why) {
    luaL_pushfail(L);
    lua_pushfstring(L, "cannot %s %s: %s", what, lua_tostring(L, -2), why);
    lua_pushstring(L, err_name(err));
    return 3;
}

static int found_peer(lua_State *L, int status, lua_KContext deadline) {
    const struct resolve_query *q = resolve_result(L, QUERY, status);
    if (q->err) {
        lua_settop(L, TO);
        return send_failed(L, "send to", q->err, q->why);
    }
    return send_on(L, LUA_OK, deadline);
}

static int dgram_send(lua_State *L) {
    struct dgram *d = check(L);
    luaL_checkstring(L, DATA);
    const char *text = luaL_optstring(L, TO, NULL);
    int64_t deadline = deadline_of(L, d, 4);
    struct addr to;
    char name[ADDR_NAME], why[ADDR_WHY];
    uint16_t port;
    lua_settop(L, TO);
    if (d->closed) return socket_failure(L, ERR_CLOSED);
    int kind = text ? addr_parse(text, &to, name, &port, why) : 1;
    if (kind < 0) return send_failed(L, "send to", kind, why);
    if (kind == 0)
        return resolve_wait(L, name, AF_UNSPEC, port, deadline, found_peer, deadline);
    return send_on(L, LUA_OK, (lua_KContext)deadline);
}

/* ---- receiving ---- */

static int receive_on(lua_State *L, int status, lua_KContext deadline) {
    struct dgram *d = check(L);
    struct sched *s = sched_of(L);
    bool late = sched_is_late(L, status, deadline);
    if (status == LUA_OK && sched_overstays(L))
        return sched_park(L, NULL, 1, receive_on, deadline);
    lua_settop(L, 1);
    char *room = s ? loop_landing(s->loop) : lua_newuserdatauv(L, ROOM, 0);
    if (!room) return socket_failure(L, ERR_MEMORY);
    for (;;) {
        struct addr from = {.len = sizeof from.at};
        char text[ADDR_TEXT];
        if (d->closed) return socket_failure(L, ERR_CLOSED);
        if (d->fd < 0) return socket_failure(L, -ENOTCONN);
        ssize_t n = recvfrom(d->fd, room, ROOM, MSG_TRUNC, (struct sockaddr *)&from.at,
                             &from.len);
        if (n > ROOM) return socket_failure(L, -EMSGSIZE);
        if (n >= 0) {
            if (from.len == 0) from.at.ss_family = d->family; /* it has no name */
            unfit(&from);
            lua_pushlstring(L, room, (size_t)n);
            lua_pushstring(L, addr_text(&from, text));
            return 2;
        }
        if (errno == EINTR) continue;
        if (errno != EAGAIN) return socket_failure(L, -errno);
        if (late) return socket_timed_out(L);
        if (!fd_wait_must_block(L))
            return fd_wait_park(L, &d->wait, EV_READ, deadline, receive_on, deadline);
        late = !fd_wait_block(L, &d->wait, EV_READ, deadline);
    }
}

static int dgram_receive(lua_State *L) {
    struct dgram *d = check(L);
    return receive_on(L, LUA_OK, (lua_KContext)deadline_of(L, d, 2));
}

/* ---- the rest ---- */

static int connect_to(lua_State *L, struct dgram *d, struct addr a) {
    int err = make(d, a.at.ss_family);
    if (!err) fit(d, &a);
    if (!err && connect(d->fd, (const struct sockaddr *)&a.at, a.len) < 0) err = -errno;
    lua_settop(L, 2);
    if (err) return send_failed(L, "connect to", err, err_text(err));
    lua_pushboolean(L, 1);
    return 1;
}

static int found_other(lua_State *L, int status, lua_KContext context) {
    (void)context;
    struct dgram *d = check(L);
    const struct resolve_query *q = resolve_result(L, 3, status);
    lua_pushvalue(L, 2);
    if (q->err) return send_failed(L, "connect to", q->err, q->why);
    if (d->closed) return socket_failure(L, ERR_CLOSED);
    return connect_to(L, d, *choose(d, q));
}

static int dgram_connect(lua_State *L) {
    struct dgram *d = check(L);
    const char *text = luaL_checkstring(L, 2);
    int64_t deadline = deadline_of(L, d, 3);
    struct addr a;
    char name[ADDR_NAME], why[ADDR_WHY];
    uint16_t port;
    lua_settop(L, 2);
    if (d->closed) return socket_failure(L, ERR_CLOSED);
    int kind = addr_parse(text, &a, name, &port, why);
    if (kind < 0) return send_failed(L, "connect to", kind, why);
    if (kind == 0)
        return resolve_wait(L, name, AF_UNSPEC, port, deadline, found_other, 0);
    return connect_to(L, d, a);
}

static int push_name(lua_State *L, int (*get)(int fd, struct addr *out)) {
    const struct dgram *d = check(L);
    struct addr a;
    char text[ADDR_TEXT];
    if (d->closed) return socket_failure(L, ERR_CLOSED);
    int err = d->fd < 0 ? -ENOTCONN : get(d->fd, &a);
    if (err) return socket_failure(L, err);
    unfit(&a);
    lua_pushstring(L, addr_text(&a, text));
    return 1;
}

static int dgram_name(lua_State *L) {
    return push_name(L, addr_of_socket);
}

static int dgram_peer(lua_State *L) {
    return push_name(L, addr_of_peer);
}

static int dgram_settimeout(lua_State *L) {
    check(L)->timeout = socket_check_timeout(L, 2);
    lua_pushboolean(L, 1);
    return 1;
}

static int dgram_fd(lua_State *L) {
    const struct dgram *d = check(L);
    if (d->fd < 0) return socket_failure(L, d->closed ? ERR_CLOSED : -ENOTCONN);
    lua_pushinteger(L, d->fd);
    return 1;
}

static int dgram_text(lua_State *L) {
    const struct dgram *d = check(L);
    lua_pushfstring(L, d->closed ? "udp (closed)" : "udp (%d): %p", d->fd,
                    (const void *)d);
    return 1;
}

static const luaL_Reg methods[] = {
    {"close", dgram_close}, {"connect", dgram_connect},
    {"fd", dgram_fd},       {"name", dgram_name},
    {"peer", dgram_peer},   {"receive", dgram_receive},
    {"send", dgram_send},   {"settimeout", dgram_settimeout},
    {NULL, NULL},
};

static const luaL_Reg metamethods[] = {
    {"__close", dgram_close},
    {"__gc", dgram_close},
    {"__tostring", dgram_text},
    {NULL, NULL},
};

int luaopen_atoll_dgram(lua_State *L) {
    if (luaL_newmetatable(L, NAME)) {
        luaL_setfuncs(L, metamethods, 0);
        luaL_newlib(L, methods);
        lua_setfield(L, -2, "__index");
    }
    lua_pop(L, 1);
    return 0;
}
